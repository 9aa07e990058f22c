"""Whether a key may protect anything: long, varied, and in no sample file."""

from typing import Final

NEW_KEY_COMMAND: Final = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
SHORTEST_KEY: Final = 32
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


def weakness(key: str) -> str | None:
    """What makes a key unfit, as the end of a sentence, or None."""
    if len(key) < SHORTEST_KEY:
        return f"is shorter than {SHORTEST_KEY} characters"
    if len(set(key)) < FEWEST_DISTINCT_CHARACTERS:
        return "repeats too few different characters"
    if any(word in key.lower() for word in PLACEHOLDERS):
        return "looks like a placeholder from a sample file"
    return None
