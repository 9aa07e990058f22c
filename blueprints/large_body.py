"""Bodies with files in them, which one route takes: read only once it is known who sends them, a few at a time.

A small one has come already, and costs nothing of this. A larger one holds a thread while it comes, and a large one is
in memory several times while it is read, written out and sealed, so that how many there are at once is bounded, as is
what is in them beside text.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

from flask import current_app, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from utils.errors import InvalidInput, MalformedInput, TooMany

NOT_JSON: Final = "The body is not valid JSON."
PATH: Final = "/api/messages/send-email"
LARGEST: Final = 40 * 1024 * 1024  # octets; 25 MB in base64, broken into lines, are 36
SMALL: Final = 128 * 1024  # octets up to which a body has come before a thread has it (``gunicorn_requests``)
LIGHT: Final = 1024 * 1024  # octets up to which a body needs a place only while it comes
PLACES: Final = 2  # large bodies at once in this process
LINE: Final = 2  # how many more may wait for a place, since each holds a thread
LINE_SECONDS: Final = 20.0
READING_SECONDS: Final = 120.0
MOST_VALUES: Final = 250_000  # in a body; 500 mails with all their fields and 100 recipients each are fewer
_PIECE: Final = 64 * 1024
_MARK: Final = "reads_its_body"
_FILE_MARK: Final = "takes_a_file"
# Each string as a whole, and what begins a value beside it. A quote that nothing closes takes the rest.
_TOKENS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,]', re.DOTALL)

_View = TypeVar("_View", bound=Callable[..., object])


class TooLarge(InvalidInput):
    """More than can be taken, so it is not read."""

    status = 413

    def __init__(self) -> None:
        sentence = f"The request is larger than {LARGEST // 2**20} MB. Attachments may have 25 MB together."
        super().__init__({"attachments": [sentence]}, "It is too large.")


class FileTooLarge(InvalidInput):
    """A file that its field does not take, and that is not read."""

    status = 413


class _Places:
    """Who has a large body in hand, and who waits for that."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._waiting = 0
        self._changed = threading.Condition()

    @contextmanager
    def one(self, holder: str) -> Iterator[None]:
        """A place for the block, one for each holder. Raises TooMany."""
        with self._changed:
            if not self._is_free(holder):
                self._wait(holder)
            self._taken[holder] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= Counter((holder,))  # which forgets who has none
                self._changed.notify_all()

    def _is_free(self, holder: str) -> bool:
        return not self._taken[holder] and self._taken.total() < PLACES

    def _wait(self, holder: str) -> None:
        is_free = False
        if self._waiting < LINE:
            self._waiting += 1
            try:
                is_free = self._changed.wait_for(lambda: self._is_free(holder), LINE_SECONDS)
            finally:
                self._waiting -= 1
        if not is_free:
            raise TooMany("Other emails with large attachments are being received. Send this one again.", 5)


_places: Final = _Places()


def reads_its_body(view: _View) -> _View:
    """Mark a view that reads the request's body itself, behind its guard."""
    setattr(view, _MARK, True)
    return view


def takes_a_file(field: str, sentence: str) -> Callable[[_View], _View]:
    """Mark a view that takes a small file: of a larger body the ``sentence`` is said, about this field."""

    def mark(view: _View) -> _View:
        setattr(view, _FILE_MARK, (field, sentence))
        return view

    return mark


def bound_for_view() -> None:
    """Let the view of this request take what it is marked for."""
    if _refusal_of_view():
        request.max_content_length = SMALL


def too_large_for_view() -> InvalidInput | None:
    """What is said of a body that was larger than its view takes, if that knows it better than anyone."""
    if refusal := _refusal_of_view():
        field, sentence = refusal
        return FileTooLarge({field: [sentence]}, sentence)
    return None


def _refusal_of_view() -> tuple[str, str] | None:
    found: tuple[str, str] | None = getattr(current_app.view_functions.get(request.endpoint or ""), _FILE_MARK, None)
    return found


def is_for_line(line: bytes) -> bool:
    """Whether a request with this first line may have a large body, below whatever path we are."""
    method, _, rest = line.partition(b" ")
    return method == b"POST" and rest.partition(b" ")[0].partition(b"?")[0].endswith(PATH.encode())


def is_read_by_view() -> bool:
    return hasattr(current_app.view_functions.get(request.endpoint or ""), _MARK)


@contextmanager
def text_of(holder: str) -> Iterator[str]:
    """The request's body, which is to be JSON. A large one holds a place, of ``holder``, until the block is over.

    Raises TooLarge, TooMany, MalformedInput, or UnsupportedMediaType for any content type but application/json.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    length = request.content_length
    if length is not None and length > LARGEST:
        raise TooLarge
    request.max_content_length = LARGEST
    with ExitStack() as place:
        if length is not None and length > SMALL:
            place.enter_context(_places.one(holder))
        body = _read(lambda: place.enter_context(_places.one(holder)) if length is None else None)
        if len(body) <= LIGHT:
            place.close()
        yield _text(body)


def _read(is_large: Callable[[], object]) -> bytearray:
    """The body; ``is_large`` is told once it is more than a small one."""
    body, until, is_small = bytearray(), time.monotonic() + READING_SECONDS, True
    try:
        while piece := request.stream.read(_PIECE):
            body += piece
            if is_small and len(body) > SMALL:
                is_small = False
                is_large()
            if time.monotonic() > until:
                raise MalformedInput("The body of the request arrived too slowly.")
    except RequestEntityTooLarge:
        raise TooLarge from None
    except OSError:  # it stopped in the middle, or is garbled
        raise MalformedInput("The body of the request is garbled, or did not arrive in time.") from None
    return body


def _text(body: bytearray) -> str:
    """What it says, if it holds no more values than any call needs: ten million take more memory than their text."""
    values = 0
    for token in _TOKENS.finditer(body):
        values += body[token.start()] != ord('"')
        if values > MOST_VALUES:
            raise MalformedInput(f"The body contains more than {MOST_VALUES} values.")
    try:
        text = body.decode()  # strictly UTF-8 (RFC 8259 8.1): in another encoding, the count above would be another
    except UnicodeDecodeError:
        raise MalformedInput(NOT_JSON) from None
    body.clear()
    return text
