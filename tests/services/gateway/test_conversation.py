"""The conversation, command by command, on a real connection."""

import base64

from services.gateway import conversation, wire
from tests.gateway import MAIL, RunningGateway, Talk, drafts, original, queued, stuffed, token_of
from tests.services.gateway.conftest import Alice
from tests.visitors import make_bob


def test_the_offers_are_those_of_a_submission_server_and_no_others(gateway: RunningGateway) -> None:
    with gateway.talk() as talk:
        assert talk.hello().split("\n") == [
            "250-mail.example.com", "250-PIPELINING", "250-SIZE 26214400", "250-8BITMIME", "250-SMTPUTF8",
            "250-ENHANCEDSTATUSCODES", "250 AUTH PLAIN LOGIN",
        ]  # fmt: skip


def test_a_mail_is_queued_byte_for_byte_with_what_was_missing_before_it(talk: Talk) -> None:
    message = b"From: alice@example.com\r\nto:jane@example.org\r\nBcc: eve@example.org,\r\n kim@example.org\r\n"
    body = b"X-Odd :  a\r\n\tb\r\n\r\n.leading dot\r\n..two\r\n\r\nend"
    reply = talk.hand_over(message + body + b"\r\n")
    (draft,) = drafts()
    assert reply == f"250 2.0.0 Queued as {draft.mail_id}."
    lines = draft.rest.decode().split("\r\n")
    assert lines[0] == "Received: from client.example ([127.0.0.1])"
    assert lines[1] == f"\tby mail.example.com with ESMTPA id {draft.mail_id};"
    assert lines[3] == f"Message-ID: <{draft.mail_id}@mail.example.com>"
    assert lines[4].startswith("Date: ")
    assert original(draft, 5) == b"From: alice@example.com\r\nto:jane@example.org\r\n" + body + b"\r\n"
    (row,) = queued()
    assert [each["address"] for each in row.recipients] == ["jane@example.org"]


def test_a_date_and_a_message_id_that_are_there_stay(talk: Talk) -> None:
    message = b"Message-Id: <1@gitea.example>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n" + MAIL
    talk.hand_over(message)
    (draft,) = drafts()
    assert (draft.message_id, original(draft)) == ("<1@gitea.example>", message)


def test_an_account_signs_in_by_its_name_or_address(gateway: RunningGateway, alice: Alice) -> None:
    for login in ("alice", "ALICE", "alice@example.com", "Alice@Example.COM"):
        with gateway.talk() as talk:
            talk.hello()
            assert talk.sign_in(login, alice.token) == "235 2.7.0 Signed in."


def test_every_form_of_plain_and_login_is_understood(gateway: RunningGateway, alice: Alice) -> None:
    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    for first, *answers in (
        ["auth plain", coded(f"\0alice\0{alice.token}")],
        ["AUTH PLAIN " + coded(f"alice\0alice\0{alice.token}")],
        ["AUTH LOGIN", coded("alice"), coded(alice.token)],
        ["Auth Login " + coded("alice"), coded(alice.token)],
    ):
        with gateway.talk() as talk:
            talk.hello()
            replies = [talk.say(line) for line in (first, *answers)]
        assert replies[-1].startswith("235"), first
        assert all(reply.startswith("334 ") for reply in replies[:-1])


def test_a_sign_in_that_is_refused_says_which_of_its_parts_is_wrong(gateway: RunningGateway, alice: Alice) -> None:
    bob = make_bob()
    with gateway.talk() as talk:
        talk.hello()
        for login, token, words in (
            ("alice", "sealpost_nothing", "The account or the token is wrong."),
            ("nobody", alice.token, "The token belongs to another account."),
            ("alice", token_of(bob.id), "The token belongs to another account."),
            ("bob", token_of(bob.id, "read"), "The token does not have the scope send."),
        ):
            reply = talk.sign_in(login, token)
            assert reply.startswith(f"535 5.7.8 {words}"), reply
            assert token not in reply
        for line in ("AUTH PLAIN !", "AUTH PLAIN AGFs", "AUTH CRAM-MD5", "AUTH"):
            assert talk.say(line)[:1] == "5", line
        assert talk.say("AUTH LOGIN").startswith("334")
        assert talk.say("*") == "501 5.7.0 Signing in was cancelled."
        assert talk.sign_in("alice", alice.token).startswith("235")
        assert talk.sign_in("alice", alice.token) == "503 5.5.1 You are already signed in."


def test_nothing_is_taken_before_hello_and_sign_in(gateway: RunningGateway, alice: Alice) -> None:
    with gateway.talk() as talk:
        assert talk.say("MAIL FROM:<alice@example.com>").startswith("503 5.5.1")
        assert talk.say("AUTH PLAIN =").startswith("503 5.5.1")
        talk.hello()
        assert talk.say("MAIL FROM:<alice@example.com>").startswith("530 5.7.0 Sign in first")
        assert talk.say("RCPT TO:<jane@example.org>").startswith("503 5.5.1")
        assert talk.say("DATA").startswith("503 5.5.1")


def test_commands_may_come_all_at_once_and_several_mails_over_one_connection(talk: Talk) -> None:
    one = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<jane@example.org>\r\nRCPT TO:<bad>\r\nDATA\r\n"
    talk.send(b"RSET\r\nNOOP\r\n" + one)
    assert talk.codes(6) == [250, 250, 250, 250, 553, 354]
    talk.send(stuffed(MAIL) + b".\r\n" + one)
    assert talk.codes(5) == [250, 250, 250, 553, 354]
    talk.send(stuffed(MAIL) + b".\r\nQUIT\r\n")
    assert talk.codes(2) == [250, 221]
    assert talk.is_ended()
    assert len(queued()) == 2


def test_each_command_has_its_reply(gateway: RunningGateway, alice: Alice) -> None:
    for line, reply in (
        ("MAIL FROM:<a@example.com> SIZE=26214401", "552 5.3.4"),
        ("MAIL FROM:<a@example.com> SIZE=x", "501 5.5.4"),
        ("MAIL FROM:<a@example.com> SIZE=1 SIZE=2", "501 5.5.4"),
        ("MAIL FROM:<a@example.com> BODY=BINARYMIME", "555 5.5.4"),
        ("MAIL FROM:<a@example.com> MT-PRIORITY=3", "555 5.5.4"),
        ("MAIL FROM:<ü@example.com>", "553 5.6.7"),
        ("MAIL FROM:<ü@example.com> SMTPUTF8", "250 2.1.0"),
        ("MAIL FROM: <a@example.com> BODY=8BITMIME AUTH=<>", "250 2.1.0"),
        ("mail from:<a@example.com> body=8bitmime size=7 AUTH=a", "250 2.1.0"),
        ("MAIL FROM:<>", "250 2.1.0 OK."),
        ("MAIL FROM:<a@example.com> RET=HDRS ENVID=1", "250 2.1.0 OK, but no delivery notices"),
        ("MAIL FROM:a@example.com", "501 5.1.7"),
        ("MAIL TO:<a@example.com>", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
        ("VRFY jane", "252 2.5.2"),
        ("EXPN jane", "502 5.5.1"),
        ("BDAT 5 LAST", "502 5.5.1"),
        ("HELP", "214 2.0.0"),
        ("STARTTLS", "502 5.5.1"),
        ("EHLO", "501 5.5.4"),
        ("FOO", "500 5.5.2"),
        ("QUIT now", "501 5.5.4"),
    ):
        with gateway.talk() as talk:
            talk.hello()
            talk.sign_in("alice", alice.token)
            assert talk.say(line).startswith(reply), line


def test_recipients_are_told_of_notices_counted_and_written_once(talk: Talk) -> None:
    talk.say("MAIL FROM:<a@example.com> SMTPUTF8")
    notices = talk.say("RCPT TO:<jane@example.org> NOTIFY=FAILURE,DELAY ORCPT=rfc822;jane@example.org")
    assert notices == "250 2.1.5 OK, but no delivery notices are sent. See the mail log."
    assert talk.say("RCPT TO:<jane@EXAMPLE.org>").startswith("250")
    assert talk.say("RCPT TO:<kim@bücher.example>").startswith("250")
    for number in range(98):
        assert talk.say(f"RCPT TO:<u{number}@example.org>").startswith("250")
    assert talk.say("RCPT TO:<more@example.org>").startswith("452 4.5.3")
    assert talk.say("DATA").startswith("354")
    talk.send(MAIL + b".\r\n")
    talk.heard()
    (row,) = queued()
    assert [each["address"] for each in row.recipients[:2]] == ["jane@example.org", "kim@xn--bcher-kva.example"]
    assert len(row.recipients) == 100


def test_of_a_thousand_recipients_a_hundred_are_taken_and_the_others_put_off(talk: Talk) -> None:
    talk.send(b"MAIL FROM:<a@example.com>\r\n" + b"".join(b"RCPT TO:<u%d@example.org>\r\n" % n for n in range(1000)))
    assert talk.codes(1001) == [250] * 101 + [452] * 900
    assert talk.say("DATA").startswith("354")
    talk.send(MAIL + b".\r\n")
    assert talk.heard().startswith("250")
    assert len(queued()[0].recipients) == 100


def test_a_new_hello_or_rset_forgets_the_mail_and_nested_mail_is_refused(talk: Talk) -> None:
    for line in ("EHLO again.example", "RSET"):
        talk.say("MAIL FROM:<a@example.com>")
        assert talk.say("MAIL FROM:<a@example.com>").startswith("503 5.5.1")
        talk.say(line)
        assert talk.say("RCPT TO:<jane@example.org>").startswith("503 5.5.1")
    assert talk.say("HELO old.example") == "250 mail.example.com"
    assert talk.say("MAIL FROM:<a@example.com> SIZE=5").startswith("555")
    talk.hand_over()
    assert b"with SMTP id" in drafts()[0].rest


def test_a_command_with_other_line_ends_or_nul_is_none(talk: Talk) -> None:
    for line in (b"NOOP\n", b"NOOP\r\r\n", b"NO\0OP\r\n", b"NOOP\rRSET\r\n", b"NOOP \xff\r\n"):
        talk.send(line)
        assert talk.heard() == "500 5.5.2 End each command with CRLF, without CR, LF or NUL before."
    assert talk.say("NOOP").startswith("250")


def test_a_line_without_an_end_is_not_waited_for(talk: Talk) -> None:
    talk.send(b"x" * (wire.LONGEST_LINE + 100))
    assert talk.heard() == "500 5.5.2 The line is too long."
    assert talk.is_ended()


def test_whoever_only_makes_errors_or_never_sends_is_sent_away(gateway: RunningGateway, talk: Talk) -> None:
    for _ in range(conversation.MOST_COMMANDS - 2):
        assert talk.say("NOOP").startswith("250")
    assert talk.say("NOOP").startswith("421 4.7.0")
    assert talk.is_ended()
    with gateway.talk() as other:
        for _ in range(conversation.MOST_ERRORS):
            assert other.say("FOO").startswith("500")
        assert other.heard().startswith("421 4.7.0")
        assert other.is_ended()


def test_a_browser_that_was_led_here_is_sent_away_before_its_body_is_read(gateway: RunningGateway) -> None:
    with gateway.talk() as talk:
        talk.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nEHLO x\r\nMAIL FROM:<a@example.com>\r\n")
        assert talk.heard().startswith("421 5.5.1")
        assert talk.is_ended()


def test_whoever_closes_its_side_after_the_last_octet_is_answered(talk: Talk) -> None:
    talk.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<jane@example.org>\r\n")
    talk.codes(2)
    talk.send(b"DATA\r\n")
    talk.heard()
    talk.send(MAIL + b".\r\nQUIT\r\n")
    talk.socket.shutdown(1)
    assert talk.codes(2) == [250, 221]
