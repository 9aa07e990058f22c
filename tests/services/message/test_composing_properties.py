"""Whatever a mail is made of, the standard library reads the same out of its bytes."""

from collections import Counter
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from services.message.draft import Attachment, Sender, serialise
from tests.services.message.test_composing import make, read

# Everything that may stand in a header: no controls, no lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from('"\\(),:;<>@=?_.'))
BODY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))
LOCAL = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z0-9]{1,10})?", fullmatch=True)
ADDRESS = st.builds("{}@{}.example".format, LOCAL, st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True))
HIDDEN = ADDRESS.map("{}.hidden".format)
FILE = TEXT.map(lambda name: f"{name[:60].replace('/', '').replace(chr(92), '').strip()}.bin")
SENDER = st.builds(Sender, email=ADDRESS, name=TEXT.filter(lambda name: len(name) <= 255), reply_to=ADDRESS)
ATTACHMENT = st.builds(
    Attachment,
    FILE,
    st.binary(max_size=500),
    st.sampled_from(["application/octet-stream", "application/pdf", "image/png"]),
)
HEADERS = st.dictionaries(st.from_regex(r"X-[A-Z][a-z]{1,12}", fullmatch=True), TEXT, max_size=3)
MAIL = st.fixed_dictionaries(
    {"to": st.lists(ADDRESS, min_size=1, max_size=8), "subject": TEXT, "body": BODY.filter(str.strip)},
    optional={
        "html_body": BODY.map("<p>{}".format),
        "cc": st.lists(ADDRESS, max_size=4),
        "bcc": st.lists(HIDDEN, max_size=4),
        "reply_to": ADDRESS,
        "headers": HEADERS,
        "attachments": st.lists(ATTACHMENT, max_size=3),
    },
)


def addresses(message: EmailMessage, name: str) -> list[str]:
    """As the standard library reads them; none without the field."""
    found: tuple[Address, ...] = message[name].addresses if name in message else ()
    return [address.addr_spec for address in found]


def text_of(part: MIMEPart) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


# To shrink a mail that fails takes minutes, and its parts are small anyway.
@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(SENDER, MAIL)
def test_any_mail_reads_back_as_it_was_asked_for(sender: Sender, asked: dict[str, Any]) -> None:
    mail = make(**asked)
    octets = serialise(mail, sender)
    message = read(octets)
    to, cc, bcc = (list(dict.fromkeys(asked.get(name, ()))) for name in ("to", "cc", "bcc"))
    assert mail.recipients == tuple(dict.fromkeys([*to, *cc, *bcc]))
    assert (addresses(message, "To"), addresses(message, "Cc")) == (to, cc)
    assert addresses(message, "From") == [sender.email]
    assert addresses(message, "Reply-To") == [asked.get("reply_to") or sender.reply_to]
    assert message["Subject"] == asked["subject"]
    assert {name: message[name] for name in asked.get("headers", {})} == asked.get("headers", {})
    assert set(Counter(message.keys()).values()) == {1}
    assert "Bcc" not in message
    assert not any(address.encode() in octets for address in bcc)
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert text_of(plain).removesuffix("\n") == asked["body"].removesuffix("\n")
    assert (text_of(rich).removesuffix("\n") if rich else None) == (
        asked["html_body"].removesuffix("\n") if "html_body" in asked else None
    )
    attached = [
        (part.get_filename(), part.get_content_type(), part.get_content()) for part in message.iter_attachments()
    ]
    assert attached == [(file.filename, file.content_type, file.content) for file in asked.get("attachments", ())]


@settings(max_examples=80, deadline=None)
@given(SENDER, MAIL)
def test_any_mail_is_fit_for_every_server(sender: Sender, asked: dict[str, Any]) -> None:
    octets = serialise(make(**asked), sender)
    assert octets.isascii()
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
