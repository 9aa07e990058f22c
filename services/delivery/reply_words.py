"""The words of a server, in lower case, that decide what to do about a reply (services/delivery/retry_policy.py)."""

from typing import Final

TOO_FAST: Final = (
    r"too (?:many|much) (?:e?mails?|messages|concurrent)|throttl|(?:sending|message|e?mail) rate|rate ?(?:over)?limit"
    r"|too fast|(?:send|peak smtp relay) limit exceeded|excessive volume|too many errors|frequency limited"
    r"|exceeded permitted limits|server busy"
)
CROWDED: Final = (
    r"too many .*(?:connection|session)|(?:connection|session)s? .*(?:exceed|limit)|trop de connexions"
    r"|(?:connection|session)s? from your (?:host|ip)"
)
ALLOWANCE: Final = r"\b(?:daily|hourly|monthly|sending|quota)\b.*\b(?:exceeded|reached)|exceeded .*\bquota"
# At RCPT a quota may be the recipient's own.
OUR_ALLOWANCE: Final = (
    r"\b(?:daily|hourly|monthly|sending|submission|24-?hour)\b.*\b(?:limit|quota)|submissionquota|credits exceeded"
    r"|(?:e?mails?|messages?) per (?:minute|hour|day)"
    r"|too many messages this (?:hour|day)|\bsender(?:'s)?\b.{0,20}\bquota"
)
FULL: Final = r"mailbox (?:is )?full|over ?quota|quota exceeded|out of storage|storage allocation"
FLOODED: Final = r"receiving mail (?:at a rate|too quickly)|messages they can receive"
GREY: Final = r"gr[ae]y ?list|\bgr[ae]y\."
# Nobody is there: more than any other word, this is about the recipient. Not of a sender's domain.
NOBODY: Final = (
    r"^(?!.*\b(?:sender|from|helo)\b).*"
    r"(?:(?:user|recipient|mailbox|account|address) (?:is )?(?:unknown|not (?:found|known))"
    r"|(?:unknown|no such|invalid|unrouteable) (?:local )?(?:user|recipient|mailbox|account|address|person)"
    r"|(?:does not|doesn't) exist)"
)
# What is left for RFC 5321 4.2.3's own words, and for those who say no more than that.
NO_MAILBOX: Final = (
    r"^(?!.*(?:\bsender\b|\bspam|polic(?:y|ies)|not allowed to send|content|rule)).*"
    r"(?:mailbox (?:name )?(?:is )?(?:unavailable|not (?:available|allowed)|invalid)|user not local"
    r"|^\W*(?:5\.1\.0 )?address rejected\W*$)"
)
TOO_MUCH: Final = r"\b(?:size|large|big|long|exceed\w*|storage|allocation|limit|quota|maximum)\b"
# The recipient has us on a list, or takes mail from inside only: another recipient may fare better.
OWN_RULE: Final = (
    r"(?<!owned )(?:by|of) (?:the |this )?(?:recipient|user|mailbox)\b|recipient(?:'s)?\b.{0,40}\b(?:block|black|deny)"
    r"|inactive|suppress|sender was not authenticated by organization"
    r"|not authenticated for group|administrative prohibition"
)
NAME: Final = (
    r"\b(?:helo|ehlo)\b(?!.*\bfirst\b).*(?:reject|invalid|bad|denied|refus|required|not|does|mismatch|see rfc)"
    r"|(?:reject|invalid|bad|forged|bogus|unacceptable|wrong)\w* .*\b(?:helo|ehlo)\b|^\W*need fully-qualified hostname"
)
HOST: Final = (  # apart from block lists, whose words are in services/diagnosis/data/block_lists.json
    # But where its own lookup has failed for now, nothing is held against us.
    r"^(?!.*\btemporar\w* (?:error|failure|fault|problem)|.*\blookup (?:timeout|timed out|error)).*"
    r"(?:client host|blackhole|reverse[- ](?:dns|lookup|hostname|mapping|ip)|\brdns\b|\bptr\b|cannot find your"
    r"|ip name (?:possibly forged|lookup failed)|\bip=\S+ - a problem occurred"
    r"|\b(?:your|sending) (?:ip|host|server|network)\b|\bthis ip\b|traffic not accepted"
    r"|\bhost (?:is )?(?:rejected|not allowed|listed|blocked)|host not found for reverse"
    r"|\d+\.\d+\.\d+\.\d+\]?\W+(?:is )?(?:refused|rejected|not allowed))"
)
OWNER: Final = (
    r"not owned by|sender .*not logged in|send ?as ?denied|permissions? to send as|not one of your addresses"
    r"|not (?:allowed|authori[sz]ed) to send as"
)
MISMATCH: Final = (  # of a message, they may be about its header
    r"(?:sender|from) .*(?:mismatch|(?:does not|doesn.t) match|same as auth|be the same|with (?:your |the )?login)"
    r"|username and sender"
)
LOGIN: Final = (
    r"authenticat|\blog ?in\b|smtp auth|\bnot logged in|authorization required"
    r"|\bpop3?[- ]before|\bbefore[- ]smtp|\b(?:check|fetch|receive|retrieve) .{0,20}mail (?:first|before)"
)
