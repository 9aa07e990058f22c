"""``/open/…``: the pixel of mails that are tracked. One image for whatever is asked for, and nobody is looked up."""

from typing import Final

from flask import Blueprint, Response, request

from blueprints import access
from blueprints.clients import client_address
from services.message import pixel
from services.outbox import opens

bp = Blueprint("open_pixel", __name__)

# One transparent point, in 43 octets (GIF89a).
GIF: Final = bytes.fromhex(
    "474946383961 01000100 800000 000000ffffff 21f90401000000 00 2c00000000 01000100 00 02 02 4401 00 3b"
)


@bp.get(f"{pixel.PATH}<path:filename>")
@access.public_alone
def show(filename: str) -> Response:
    """The image. Whether the id is a mail's is found out later, so that neither answer nor time tells it."""
    pixel_id = pixel.id_of(filename)
    if pixel_id and request.method == "GET":  # HEAD shows nothing to anybody
        opens.note(pixel_id, dict(request.headers), client_address())
    response = Response(GIF, mimetype="image/gif")
    response.headers["Cache-Control"] = "no-store"
    # Mail is read on pages of others, which may show it.
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response
