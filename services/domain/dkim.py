"""Whether a provider can sign with DKIM (RFC 6376) as a From domain: the public key in the DNS says so."""

from services.domain.records import DnsRecord, Finding, Grade, tags_of
from services.providers.registry import Provider
from services.smtp.dns import LookupFailed, Questions


def check(domain: str, provider: Provider | None, questions: Questions) -> Finding:
    """Look where ``provider`` usually has its keys; others cannot be known. Raises LookupFailed."""
    if not provider or not provider["selectors"]:
        text = (
            "Only the signer knows the key’s name. Send a test email and paste its headers to see whether it was "
            "signed for your domain."
        )
        return Finding(subject="DKIM", outcome=Grade.OPEN, text=text, host=f"_domainkey.{domain}", seen=(), add=())
    hosts = {f"{selector}._domainkey.{domain}": target for selector, target in provider["selectors"].items()}
    older = [f"{selector}._domainkey.{domain}" for selector in provider["old_selectors"]]
    keys: dict[str, str] = {}
    problem: LookupFailed | None = None
    for host in (*hosts, *older):
        try:
            keys.update((host, text) for text in questions.txt(host) if "p" in tags_of(text))
        except LookupFailed as error:
            problem = error
    usable = [host for host, key in keys.items() if tags_of(key)["p"]]
    if usable:
        text = f"{provider['house']} has a key to sign for {domain}."
        seen = tuple(f"{host}: {_shortened(keys[host])}" for host in usable)
        return Finding(subject="DKIM", outcome=Grade.GOOD, text=text, host=usable[0], seen=seen, add=())
    if problem:
        raise problem
    add = tuple(
        DnsRecord(host, "CNAME" if target else "TXT or CNAME", target.format(domain=domain), instead="")
        for host, target in hosts.items()
    )
    seen = tuple(f"{host}: {key}" for host, key in keys.items())
    text = _without_a_key(domain, provider["house"], is_revoked=bool(keys))
    return Finding(subject="DKIM", outcome=Grade.CHANGE, text=text, host=next(iter(hosts)), seen=seen, add=add)


def _without_a_key(domain: str, name: str, *, is_revoked: bool) -> str:
    if is_revoked:
        return f"The key of {name} is revoked: the record’s p is empty."
    return (
        f"Found no key where {name} usually has one, so it probably does not sign for {domain}. Look for DKIM or "
        f"domain authentication at {name}. A custom selector cannot be seen from here."
    )


def _shortened(key: str) -> str:
    return key if len(key) <= 80 else f"{key[:77]}…"  # noqa: PLR2004 - a line
