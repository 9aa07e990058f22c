"""Whether a key may protect anything: long, varied, in no sample file; and whether chance made it, or a person."""

import re
from itertools import pairwise
from typing import Final

NEW_KEY_COMMAND: Final = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
SHORTEST_KEY: Final = 32
SHORTEST_RANDOM: Final = 22  # characters of base64 that 16 bytes take
FEWEST_DISTINCT_CHARACTERS: Final = 10
# Words that stand in sample files and tutorials; a random key has none of them.
PLACEHOLDERS: Final = (
    "changeme change-me change_me changethis change-this change_this replaceme replace-me replace_me "
    "replace-this replace_with replace-with your-secret your_secret yoursecret your-key your_key your-app "
    "your_app yourapp secretkey secret-key secret_key mysecret my-secret my_secret supersecret super-secret "
    "super_secret topsecret insecure default placeholder example sample generate-a generate_a generateme "
    "todo-set put-your put_your putyour enter-your enter_your notsecret not-secret not_secret password "
    "qwerty letmein 12345678 abcdefgh 01234567 development-key dev-key dev_key devkey test-key test_key "
    "testkey thisisa this-is-a this_is_a django-insecure a-random a-very a_very averylong random-string "
    "random_string randomstring app-key app_key appkey keyboard"
).split()


# The pairs of letters that are most frequent in English: chance gives one of them in eight, a phrase two of three.
_FREQUENT_PAIRS: Final = frozenset((
    "th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al de se le sa si ar ve ra ld "
    "ur ri ro li la el me ne co om ma pr pa ic ce ch ll ss io il ot ow wo ly no tr us be ac un mo em lo ho so"
).split())  # fmt: skip
_LEET: Final = str.maketrans("013457", "oleast")  # digits that stand for letters
_WORDLIKE: Final = 0.4  # of the pairs
_ENOUGH_PAIRS: Final = 12
_RAREST_CASE: Final = 0.15  # of the letters are capitals, or are not: in base64 it is half and half
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{22,}|[A-Za-z0-9_-]{22,})(={0,2})")


def weakness(key: str) -> str | None:
    """What makes a key or token unfit, as the end of a sentence, or None."""
    if len(key) < SHORTEST_KEY:
        return f"is shorter than {SHORTEST_KEY} characters"
    return _monotony(key)


def weakness_of_key(key: str) -> str | None:
    """The same for ``APP_KEY``, which may be as short as 16 bytes in base64."""
    if len(key) < (SHORTEST_RANDOM if human_hand(key) is None else SHORTEST_KEY):
        return f"is shorter than {SHORTEST_KEY} characters"
    return _monotony(key)


def human_hand(key: str) -> str | None:
    """What shows that a key is no random bytes, 16 or more, as hex or base64; the end of a sentence, or None.

    It is unstretched, so a phrase that a person can think of is one that a machine can guess.
    """
    if re.search(r"\s", key):
        return "has spaces"
    if not _is_hex(key) and not _is_base64(key):
        return "is neither hex nor base64 of 16 or more random bytes"
    if key in (key * 2)[1:-1]:
        return "says the same twice"
    is_wordlike = _is_wordlike(key) or _is_wordlike(key.translate(_LEET))
    return "is made of words" if is_wordlike and not _is_hex(key) else None


def _monotony(key: str) -> str | None:
    if len(set(key)) < FEWEST_DISTINCT_CHARACTERS:
        return "repeats too few different characters"
    if any(word in key.lower() for word in PLACEHOLDERS):
        return "looks like a placeholder from a sample file"
    return None


def _is_hex(key: str) -> bool:
    return bool(_HEX.fullmatch(key)) and any(letter.isalpha() for letter in key)


def _is_base64(key: str) -> bool:
    found = _BASE64.fullmatch(key)
    letters = [letter for letter in key if letter.isalpha()]
    if found is None or not letters or _is_hex(key.replace("-", "")):  # a UUID has 122 bits
        return False
    capitals = sum(letter.isupper() for letter in letters) / len(letters)
    is_padded_right = len(found[1]) in (0, -len(key.rstrip("=")) % 4)  # without padding it may be cut anywhere
    return is_padded_right and _RAREST_CASE <= capitals <= 1 - _RAREST_CASE


def _is_wordlike(key: str) -> bool:
    """Whether its letters follow each other as in words (of 64 random characters one in ten thousand does)."""
    pairs = [one + other for one, other in pairwise(key.lower()) if one.isalpha() and other.isalpha()]
    frequent = sum(pair in _FREQUENT_PAIRS for pair in pairs)
    return len(pairs) >= _ENOUGH_PAIRS and frequent >= _WORDLIKE * len(pairs)
