"""The whole story through HTTP, from set-up to a lost key, with a canary for each secret and all mistakes made."""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from itsdangerous import base64_decode

from tests import certificates, secret_story_oauth
from tests.live_server import DATABASE, Browser, LiveServer, start
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer
from tests.secret_canaries import (
    ANOTHER_KEY,
    FIRST_SMTP,
    KEYS,
    LAST_PASSWORD,
    NEW_PASSWORD,
    NEXT_KEY,
    OLD_PASSWORD,
    SECOND_SMTP,
    TYPED,
)
from tests.secret_encodings import CHALLENGE, SPEAKABLE, USERNAME
from tests.secret_scanner import Piece, cram_md5_answer
from tests.secret_story_ways import (
    API,
    BEARER,
    STREAM,
    CommandLine,
    as_bytes,
    echo_cram_md5,
    fallback,
    form_for,
    json_for,
    look_around,
    make_token,
    misuse_the_api,
    revoke_token,
    use_alerts,
    use_configs_api,
)
from tests.visitors import link_in

ALICE: Final = "alice@example.com"


class Story:
    """What one server went through: everything that it said or wrote, and every secret that there was."""

    def __init__(self, folder: Path, database: Path, command: Sequence[str], **variables: str) -> None:
        self.folder = folder
        self.pieces: list[Piece] = []
        own = certificates.client_pair()
        self._identity = {"client_certificate": own.certificate, "client_key": own.key}
        self.secrets: dict[str, set[str]] = {name: {value} for name, value in (KEYS | TYPED).items()}
        self.secrets |= secret_story_oauth.SECRETS | {
            "other APP_KEY": {NEXT_KEY, ANOTHER_KEY},
            "account password": {OLD_PASSWORD, NEW_PASSWORD, LAST_PASSWORD},
            "SMTP password": {FIRST_SMTP, SECOND_SMTP},
            "client key": set(own.key.splitlines()[1:2]),
            "CRAM-MD5 answer": {cram_md5_answer(USERNAME, FIRST_SMTP, CHALLENGE)},
        }
        shutil.copy(database, folder / DATABASE)
        self._command = command
        self._variables = {**KEYS, "SMTP_CA_FILE": str(certificates.ca_file()), **variables}
        self._sources = (f"127.0.1.{number}" for number in count(1))

    def play(self) -> None:
        with RecordingServer(users={"relay": KEYS["EMAIL_HOST_PASSWORD"]}) as relay:
            self._variables |= fallback(relay)
            with self._running() as server:
                admin = self._set_up(server)
                self._recover(server, admin, relay)
                self._configure(server, admin)
                self._use_a_token(server, admin)
                self._test_hostile_servers(server, admin)
                self._fail_to_recover(server, relay)
                self._change_account(admin)
                misuse_the_api(Browser(server, next(self._sources)))
                self._break_the_database(server, admin)
                self._connect_by_token(server, admin)
            self._rotate()
            self._variables |= {"APP_KEY": ANOTHER_KEY, "APP_KEY_PREVIOUS": ""}
            with self._running() as server:
                self._find_the_key_lost(server, admin)

    def leaked(self, name: str, value: str) -> None:
        """Take a value that came up on the way among the secrets."""
        self.secrets.setdefault(name, set()).add(value)

    @contextmanager
    def _running(self) -> Iterator[LiveServer]:
        with start(self._command, self.folder, **self._variables) as server:
            yield server
            self.pieces += server.evidence()
        self.pieces += [Piece("stdout", "end", bytes(server.stdout)), Piece("stderr", "end", bytes(server.stderr))]

    def _keep_cookies(self, browser: Browser) -> None:
        """Note the session's cookie, and the CSRF secret that the pages' cookie and the tokens in forms carry."""
        token = browser.csrf_token("/account")
        self.leaked("session cookie", browser.cookie("session"))
        self.leaked("CSRF secret", json.loads(base64_decode(token.partition(".")[0])))

    def _set_up(self, server: LiveServer) -> Browser:
        code = server.wait_for_output(r"Set-up code +((?:[A-Z2-9]{5}-?){4})")[1]
        self.leaked("set-up code", code)
        admin = Browser(server)
        person = {"username": "alice", "email": ALICE, "password": OLD_PASSWORD}
        assert admin.post_form("/setup", {**person, "code": "AAAAA-BBBBB-CCCCC-DDDDD"}).status == 422
        refused = {**person, "code": code, "password": TYPED["refused password"]}
        assert Browser(server).post_form("/setup", {**refused, "code": ""}).status == 422
        assert admin.post_form("/setup", {**person, "code": code}).status == 303
        assert admin.get("/settings/smtp").status == 200
        self._keep_cookies(admin)
        return admin

    def _sign_in(self, browser: Browser, password: str) -> None:
        fields = {"login": "alice", "password": password, "remember": "1"}
        assert browser.post_form("/login", fields).status == 303
        assert browser.get("/account").status == 200
        self._keep_cookies(browser)

    def _recover(self, server: LiveServer, admin: Browser, relay: RecordingServer) -> None:
        """Sign out, forget, get the mail through the server of `.env`, reset, sign in."""
        assert admin.post_form("/logout", {}, form="/account").status == 303
        stranger = Browser(server, next(self._sources))
        for login, password in (
            ("alice", TYPED["wrong password at sign-in"]),
            (TYPED["password typed as a name"], TYPED["wrong password at sign-in"]),
        ):
            assert stranger.post_form("/login", {"login": login, "password": password}).status == 401
        assert stranger.post_form("/forgot-password", {"email": TYPED["password typed as a name"]}).status == 422
        assert stranger.post_form("/forgot-password", {"email": ALICE}).status == 200
        mail = relay.wait_for_mail()[0]
        self.pieces.append(Piece("reset mail", "", mail.content))
        token = link_in(mail)[1]
        self.leaked("reset token", token)
        assert stranger.get(f"/reset-password?token={token}").status == 303
        assert stranger.post_form("/reset-password", {"password": TYPED["refused password"]}).status == 422
        assert stranger.post_form("/reset-password", {"password": NEW_PASSWORD}).status == 303
        assert stranger.get(f"/reset-password?token={token}").status == 303
        assert stranger.get("/reset-password").status == 410
        self.pieces.append(Piece("other mail", "notice", relay.wait_for_mail(2)[1].content))
        assert stranger.post_form("/login", {"login": "alice", "password": OLD_PASSWORD}).status == 401
        self._sign_in(admin, NEW_PASSWORD)

    def _configure(self, server: LiveServer, admin: Browser) -> None:
        """Save wrongly, save, test, send; by the page with one password, by the API with another."""
        script = Browser(server, next(self._sources))
        with (
            RecordingServer(tls=certificates.good_context(), users={USERNAME: FIRST_SMTP}) as first,
            RecordingServer(tls=certificates.good_context(), implicit=True, users={USERNAME: SECOND_SMTP}) as second,
        ):
            form = form_for(first, FIRST_SMTP, security="starttls") | self._identity
            new, page = "/settings/smtp/new", "/settings/smtp/1"
            for wrong in ({"smtp_port": "0"}, {"from_email": "nobody"}, {"security": "none", "smtp_server": "a.test"}):
                password = {"smtp_password": TYPED["SMTP password of a refused save"]}
                assert admin.post_form(new, {**form, **password, **wrong}).status == 422
                assert admin.post_form(f"{new}/test", {**form, **password, **wrong}, new).status == 422
            assert admin.post_form(new, form).status == 303
            assert admin.get(f"{page}/activate").status == 200  # who has not tested it is asked first
            assert admin.post_form(f"{page}/activate", {"asked": "1"}).status == 303
            assert admin.post_form(new, {**form, **password}).status == 422
            assert admin.post_form(page, {**form, **password, "version": "9"}).status == 409
            assert "Connection successful" in admin.post_form(f"{page}/test", form, page).text
            assert "Connection successful" in admin.post_form(f"{page}/test", form, page, Accept=STREAM).text
            assert "accepted" in admin.post_form(f"{page}/test", {**form, "send": "1"}, page).text
            change = json_for(second, SECOND_SMTP, use_ssl=True) | {"remove_client_certificate": True}
            assert script.post_json(API, as_bytes(change), **BEARER).status == 200
            assert script.send("POST", f"{API}/test", headers=BEARER).status == 200
            assert script.post_json(f"{API}/test", as_bytes({"to": ALICE}), **BEARER, Accept=STREAM).status == 200
            assert script.get(API, **BEARER).status == 200
            assert admin.get(page).status == 200
            mails = [*first.wait_for_mail(), *second.wait_for_mail()]
        self.pieces += [Piece("other mail", "test message", mail.content) for mail in mails]

    def _use_a_token(self, server: LiveServer, admin: Browser) -> None:
        """Make an API token, let a script work with it, revoke it; and look at everything."""
        script = Browser(server, next(self._sources))
        token = make_token(admin)
        self.leaked("API token", token)
        with RecordingServer(tls=certificates.good_context(), implicit=True, users={USERNAME: SECOND_SMTP}) as backup:
            change = json_for(backup, SECOND_SMTP, use_ssl=True) | self._identity
            use_configs_api(script, token, change, TYPED["SMTP password of a refused save"])
        use_alerts(admin)
        look_around(admin)
        revoke_token(admin, script, token)
        look_around(admin)

    @contextmanager
    def _command_line(self) -> Iterator[CommandLine]:
        line = CommandLine(self.folder, self._variables)
        yield line
        self.pieces += line.pieces

    def _test_hostile_servers(self, server: LiveServer, admin: Browser) -> None:
        """Servers that repeat the password in every encoding, wherever a server may say something."""
        echoes = [encode(FIRST_SMTP).decode() for encode in SPEAKABLE.values()]
        offer = "250-scripted.test\n250 AUTH PLAIN"
        with ScriptedServer({"EHLO": offer, "AUTH": [f"535 5.7.8 not {echo}" for echo in echoes]}) as refusing:
            for _ in echoes:
                self._assert_test_fails(server, refusing)
            form = form_for(refusing, FIRST_SMTP, security="none")
            for accept in ("text/html", STREAM):
                told = admin.post_form("/settings/smtp/1/test", form, "/settings/smtp/1", Accept=accept).text
                assert "Authentication failed" in told
        for verb, before, after in (
            ("GREETING", "220 ", ""),
            ("EHLO", "250-scripted.test\n250-X ", "\n250 AUTH PLAIN"),
            ("MAIL", "250 ", ""),
            ("RCPT", "550 ", ""),
        ):
            answers = [f"{before}{echo}{after}" for echo in echoes[:3]]
            with ScriptedServer({"EHLO": offer, "AUTH": "235 2.7.0 ok", verb: answers}) as talkative:
                for _ in answers:
                    browser = Browser(server, next(self._sources))
                    body = as_bytes(json_for(talkative, FIRST_SMTP, use_ssl=False))
                    assert browser.post_json(f"{API}/test", body, **BEARER).status in (200, 422)
        with ScriptedServer({"EHLO": "250-scripted.test\n250 AUTH CRAM-MD5", "AUTH": echo_cram_md5}) as digesting:
            self._assert_test_fails(server, digesting)

    def _assert_test_fails(self, server: LiveServer, mail_server: ScriptedServer) -> None:
        browser = Browser(server, next(self._sources))
        body = as_bytes(json_for(mail_server, FIRST_SMTP, use_ssl=False))
        answer = browser.post_json(f"{API}/test", body, **BEARER)
        assert (answer.status, "Authentication failed" in answer.text) == (422, True), answer.text

    def _fail_to_recover(self, server: LiveServer, relay: RecordingServer) -> None:
        """A reset mail through a saved server that refuses and repeats the password: it goes on by failover."""
        script = {"EHLO": "250-scripted.test\n250 AUTH PLAIN", "AUTH": f"535 5.7.8 not {SECOND_SMTP}"}
        with ScriptedServer(script) as refusing:
            browser = Browser(server, next(self._sources))
            change = json_for(refusing, SECOND_SMTP, use_ssl=False)
            assert browser.post_json(API, as_bytes(change), **BEARER).status == 200
            assert browser.post_form("/forgot-password", {"email": ALICE}).status == 200
            reset, notice = relay.wait_for_mail(4)[2:]
            self.leaked("reset token", link_in(reset)[1])
            self.pieces += [Piece("reset mail", "failover", reset.content), Piece("other mail", "", notice.content)]
            with self._command_line() as line:
                assert json.loads(line.run("smtp", "validate", "--json", code=3))["ok"] is False
                line.run("smtp", "test", "Primary", "--json", code=16)

    def _change_account(self, admin: Browser) -> None:
        wrong = TYPED["wrong current password"]
        passwords = {"current_password": wrong, "password": LAST_PASSWORD}
        assert admin.post_form("/account/password", passwords, "/account").status == 422
        email = {"email": "alice@example.org", "email_password": wrong}
        assert admin.post_form("/account/email", email, "/account").status == 422
        passwords["current_password"] = NEW_PASSWORD
        assert admin.post_form("/account/password", passwords, "/account").status == 303
        assert admin.get("/account").status == 200
        self._keep_cookies(admin)

    def _break_the_database(self, server: LiveServer, admin: Browser) -> None:
        """Values that the code cannot have written, so that it fails with a traceback."""
        script = Browser(server, next(self._sources))
        with self._sql() as database:
            before = database.execute("SELECT name, smtp_server FROM smtp_config").fetchone()
            database.execute("UPDATE smtp_config SET name = X'ff', smtp_server = X'ff'")
        assert admin.get("/settings/smtp").status == 500
        assert script.get(API, **BEARER).status == 500
        assert script.post_json(API, as_bytes({"smtp_password": FIRST_SMTP}), **BEARER).status == 500
        server.wait_for_output("unexpected_error")
        with self._sql() as database:
            database.execute("UPDATE smtp_config SET name = ?, smtp_server = ?", before)
            database.execute("ALTER TABLE account RENAME COLUMN last_sign_in_at TO gone")
        assert Browser(server).post_form("/login", {"login": "alice", "password": LAST_PASSWORD}).status == 503
        with self._sql() as database:
            database.execute("ALTER TABLE account RENAME COLUMN gone TO last_sign_in_at")

    def _connect_by_token(self, server: LiveServer, admin: Browser) -> None:
        script, stranger = (Browser(server, next(self._sources)) for _ in range(2))
        with self._command_line() as line:
            self._connect_page = secret_story_oauth.connect(
                admin, script, stranger, line, sources=self._sources, leaked=self.leaked
            )
        self._keep_cookies(admin)

    def _rotate(self) -> None:
        """Seal everything with another key, then look at it by every command."""
        self._variables |= {"APP_KEY": NEXT_KEY, "APP_KEY_PREVIOUS": KEYS["APP_KEY"]}
        with self._command_line() as line:
            assert len(json.loads(line.run("keys", "rotate", "--json"))["rotated"]) == 3
            assert len(json.loads(line.run("smtp", "list", "--json"))) == 3
            assert json.loads(line.run("smtp", "show", "Primary", "--json"))["needs_reentry"] is False
            line.run("smtp", "show", secret_story_oauth.NAME, "--json")
            line.run("smtp", "validate", "--json", code=3)  # the server is gone
            actions = {event["action"] for event in json.loads(line.run("audit", "--limit", "1000", "--json"))}
            assert {"key_rotated", "token_created", "token_revoked", "sign_in_failed", "tested"} <= actions

    def _find_the_key_lost(self, server: LiveServer, admin: Browser) -> None:
        """With another APP_KEY every session is over and the stored password cannot be read."""
        old, admin = admin, Browser(server)
        admin.cookies |= old.cookies
        assert admin.get("/settings/smtp").status == 303
        admin.cookies.clear()
        self._sign_in(admin, LAST_PASSWORD)
        assert "Restore APP_KEY" in admin.get("/settings/smtp").text
        script = Browser(server, next(self._sources))
        assert json.loads(script.get(API, **BEARER).body)["data"]["needs_reentry"] is True
        assert script.send("POST", f"{API}/test", headers=BEARER).status == 422
        assert script.post_json(API, as_bytes({"from_name": "Shop"}), **BEARER).status == 422
        assert admin.get(self._connect_page).status == 200
        look_around(admin)

    @contextmanager
    def _sql(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.folder / DATABASE)) as connection, connection:
            yield connection
