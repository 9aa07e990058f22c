"""The open pixel: an image of one point, whose address tells us that a mail was opened. Only where it was asked for."""

import re
import secrets
from typing import Final

from utils.env_utils import get_base_url

PATH: Final = "/open/"
ID_BYTES: Final = 16
_ID: Final = re.compile(rf"([0-9a-f]{{{2 * ID_BYTES}}})\.gif")
_END: Final = re.compile(r"(?:</body\s*>\s*)?(?:</html\s*>\s*)?\Z", re.IGNORECASE)


def new_id() -> str:
    """An id that nobody has used and nobody can guess."""
    return secrets.token_hex(ID_BYTES)


def id_of(file_name: str) -> str | None:
    """The id that is asked for by the last part of a pixel's address; None if it can be none."""
    found = _ID.fullmatch(file_name)
    return found[1] if found else None


def with_pixel(html: str, pixel_id: str) -> str:
    """The HTML with the pixel at its end, where it moves nothing and nothing waits for it."""
    # Not hidden by a style: some readers load only what is shown.
    image = f'<img src="{get_base_url()}{PATH}{pixel_id}.gif" width="1" height="1" alt="" border="0">'
    end = _END.search(html)
    place = end.start() if end else len(html)
    return f"{html[:place]}{image}{html[place:]}"
