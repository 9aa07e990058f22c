"""Which certificates are believed is decided here and not by the Python that runs, and each refusal has its words."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from services.diagnosis.diagnosis import diagnose
from services.diagnosis.picture import Picture
from services.smtp import trust
from services.smtp.settings import Security, SmtpSettings
from tests.private_authorities import Certified, authority_right, limited_to, named, signing_only
from tests.scripted_server import ScriptedServer
from utils.errors import Fault, Misconfigured, Phase

ROOT = Path(__file__).parents[3]
OLDEST = (3, 11)
ASK = """
import json, socket, ssl, sys
from pathlib import Path
from services.smtp import trust as smtp_trust

def verdict(port, ca_file):
    context = smtp_trust.verifying_context(Path(ca_file))
    try:
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            with context.wrap_socket(sock, server_hostname="localhost"):
                return "holds"
    except ssl.SSLCertVerificationError as error:
        return smtp_trust.fault_of(error.verify_code, error.verify_message)

cases = json.load(sys.stdin)
context = smtp_trust.verifying_context(None)
print(json.dumps({
    "flags": int(context.verify_flags),
    "security level": context.security_level,
    "oldest version": context.minimum_version.name,
    "ciphers": [cipher["name"] for cipher in context.get_ciphers()],
    "verdicts": [verdict(*case) for case in cases],
}))
"""


class Shown(NamedTuple):
    """What a server shows, what the administrator has put into the file, and what comes of it."""

    chain: Path
    trusted: Path
    verdict: str


def _root(*more: tuple[x509.ExtensionType, bool]) -> Certified:
    return Certified("Handmade root", authority_right(), *more)


def _by(authority: Certified, verdict: str = "holds", *more: tuple[x509.ExtensionType, bool]) -> Shown:
    """A server's certificate by this authority, and the authority trusted."""
    return Shown(Certified("server", named(), *more, by=authority).chain_file(), authority.file(), verdict)


def _anchored(leaf: Certified, verdict: str = "holds") -> Shown:
    """A server's certificate that is trusted by itself."""
    return Shown(leaf.chain_file(), leaf.file(), verdict)


def _through(root: Certified, middle: Certified, verdict: str, trusted: Certified | None = None) -> Shown:
    """A server's certificate by an intermediate that the server shows too."""
    leaf = Certified("server", named(), by=middle)
    return Shown(leaf.chain_file(middle), (trusted or root).file(), verdict)


def _only_intermediate_trusted(*, shown: bool) -> Shown:
    middle = Certified("Intermediate", authority_right(), by=_root())
    leaf = Certified("server", named(), by=middle)
    return Shown(leaf.chain_file(*([middle] if shown else [])), middle.file(), "holds")


def _path_too_long() -> Shown:
    root = Certified("Root for one step", authority_right(path_length=0))
    return _through(root, Certified("Intermediate", authority_right(), by=root),
                    "comes through more authorities than one of them allows")  # fmt: skip


def _not_an_authority() -> Shown:
    root = _root()
    return _through(root, Certified("A mere server", named("other.example"), by=root),
                    "comes from a certificate that may not act as an authority")  # fmt: skip


def _sibling_of_an_anchor() -> Shown:
    root = _root()
    trusted = Certified("one server", named(), by=root)
    return Shown(Certified("another server", named(), by=root).chain_file(), trusted.file(),
                 "comes from an authority that this machine does not trust")  # fmt: skip


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
DECISIONS: dict[str, Callable[[], Shown]] = {
    "an authority without key identifiers": lambda: _by(_root()),
    "an authority whose basicConstraints are not critical": lambda: _by(
        Certified("Root", authority_right(critical=False))
    ),
    "an authority with keyUsage": lambda: _by(_root(signing_only(certificates_too=True))),
    "an authority with a key identifier, and a server without": lambda: _by(
        _root((x509.SubjectKeyIdentifier(b"12345678"), False))
    ),
    "only the intermediate is trusted, and shown": lambda: _only_intermediate_trusted(shown=True),
    "only the intermediate is trusted, and not shown": lambda: _only_intermediate_trusted(shown=False),
    "only the server's own certificate is trusted": lambda: _anchored(Certified("server", named(), by=_root())),
    "a trusted certificate that signs itself": lambda: _anchored(Certified("server", named())),
    "a trusted certificate with the rights of an authority": lambda: _anchored(
        Certified("server", named(), authority_right())
    ),
    "a trusted certificate that has expired": lambda: _anchored(
        Certified("server", named(), ends_in_days=-1), "has expired"
    ),
    "a trusted certificate for another name": lambda: _anchored(
        Certified("server", named("other.example")), "is for another name"
    ),
    "another certificate of the same authority as the trusted one": _sibling_of_an_anchor,
    "an authority that allows no other below it": _path_too_long,
    "a server's certificate that acts as an authority": _not_an_authority,
    "a name that the authority may not vouch for": lambda: _by(
        _root(limited_to(["example.com"])), "has a name that its authority may not vouch for"
    ),
    "a certificate for clients": lambda: _by(
        _root(),
        "is made for another purpose than a server's",
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ),
    "a critical extension that nobody knows": lambda: _by(
        _root(), "contains a critical extension that is not understood", (UNKNOWN_EXTENSION, True)
    ),
    "an extension that nobody knows": lambda: _by(_root(), "holds", (UNKNOWN_EXTENSION, False)),
    "an authority made anew under the same name": lambda: Shown(
        Certified("server", named(), by=_root()).chain_file(), _root().file(), "has a signature that is wrong"
    ),
    "an authority that is not in the file": lambda: Shown(
        Certified("server", named(), by=_root()).chain_file(),
        Certified("Another root", authority_right()).file(),
        "comes from an authority that this machine does not trust",
    ),
}  # fmt: skip


@cache
def interpreters() -> dict[str, str]:
    """Each version of Python from the oldest that is supported on, and where it is."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    on_path = filter(None, (shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 30)))
    for program in (*map(str, sorted(kept.glob("3.[1-9][1-9]*/bin/python"))), *on_path):
        tell = "import ssl, sys; print(*sys.version_info[:2])"
        done = subprocess.run([program, "-c", tell], capture_output=True, text=True, check=False)
        version = tuple(map(int, done.stdout.split())) if not done.returncode else (0, 0)
        if version >= OLDEST:
            found.setdefault(f"{version[0]}.{version[1]}", program)
    return found


@pytest.fixture(scope="module")
def asked() -> Iterator[tuple[list[tuple[int, str]], list[str]]]:
    """A server for each decision: where it listens and what is trusted; and the verdicts that are right."""
    with ExitStack() as held:
        shown = [make() for make in DECISIONS.values()]
        cases = []
        for case in shown:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # so that the weak one can be shown at all
            context.load_cert_chain(case.chain)
            server = held.enter_context(ScriptedServer(tls=context, implicit=True))
            cases.append((server.port, str(case.trusted)))
        yield cases, [case.verdict for case in shown]


@pytest.mark.parametrize("version", interpreters())
def test_every_interpreter_decides_alike(version: str, asked: tuple[list[tuple[int, str]], list[str]]) -> None:
    cases, verdicts = asked
    done = subprocess.run(
        [interpreters()[version], "-c", ASK],
        input=json.dumps(cases), capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert dict(zip(DECISIONS, told["verdicts"], strict=True)) == dict(zip(DECISIONS, verdicts, strict=True))
    assert told["flags"] == int(trust.VERIFY_FLAGS)
    assert (told["security level"], told["oldest version"]) == (2, "TLSv1_2")
    assert told["ciphers"] == [cipher["name"] for cipher in trust.verifying_context(None).get_ciphers()]


def test_the_flags_are_ours_whatever_the_context_began_with() -> None:
    flags = trust.verifying_context(None).verify_flags
    assert flags == ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    assert not flags & ssl.VERIFY_X509_STRICT


def test_keys_of_a_connection_are_written_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert trust.verifying_context(None).keylog_filename is None


def test_each_of_openssls_refusals_has_words_of_its_own() -> None:
    for code in range(1, 96):
        words = trust.fault_of(code, "as OpenSSL says it")
        assert "OpenSSL" not in words
        assert re.match(r"(?:is|has|contains|comes|claims|names|cannot|does|was) ", words), words


def test_a_refusal_that_is_newer_than_this_is_told_in_openssls_words() -> None:
    assert trust.fault_of(4711, "the moon is full") == "cannot be verified: the moon is full"


UNSPECIFIC = (1, 50, 69)


@pytest.mark.parametrize("host", ["mail.example", "weak.mismatch.self-signed.example"])
def test_each_of_openssls_refusals_leads_to_a_remedy_whatever_the_host_is_called(host: str) -> None:
    def rule(code: int, name: str) -> str:
        settings = SmtpSettings(host=name, port=587, security=Security.STARTTLS, from_email="shop@sender.example")
        text = f"The certificate of {name} {trust.fault_of(code, '')}."
        return diagnose(Misconfigured(Phase.ENCRYPTION, Fault.TLS_CERTIFICATE, text), Picture(settings=settings)).rule

    for code in set(range(1, 96)) - set(UNSPECIFIC):
        assert rule(code, host) == rule(code, "x.example") != "cert-generic", code
