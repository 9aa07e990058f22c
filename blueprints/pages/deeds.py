"""What administrators do with an account or what is its own: a question first, then the deed, told above the list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from flask import Response, flash, make_response

from blueprints.access import require_recent_sign_in
from blueprints.way_back import to_list
from utils.errors import Conflict, InvalidInput, NotFound


class _Named(Protocol):
    @property
    def username(self) -> str: ...


T = TypeVar("T", bound=_Named)


@dataclass(frozen=True)
class Deed(Generic[T]):
    """Something to do by the account's id, what is told when it is done, and whether there is anything to do."""

    work: Callable[[int], T]
    done: str
    fits: Callable[[T], bool]


@dataclass(frozen=True, kw_only=True)
class Deeds(Generic[T]):
    """The deeds of one list by their names, with the pages of the question and of the list; that is at ``endpoint``."""

    by_name: Mapping[str, Deed[T]]
    get: Callable[[int], T]
    question: Callable[[T, str, dict[str, list[str]]], str]
    page: Callable[[dict[str, list[str]]], str]
    endpoint: str

    def ask(self, account_id: int, deed: str) -> str:
        """Ask first, and say what follows."""
        row = self.get(account_id)
        if not self._named(deed).fits(row):
            raise NotFound("This is already done.")
        return self.question(row, deed, {})

    def act(self, account_id: int, deed: str) -> Response:
        """Do it; what cannot be done is told above the list."""
        wanted = self._named(deed)
        try:
            require_recent_sign_in()
            row = wanted.work(account_id)
        except InvalidInput as refused:
            return make_response(self.question(self.get(account_id), deed, refused.errors), refused.status)
        except (Conflict, NotFound) as refused:
            return make_response(self.page({"form": [refused.message]}), refused.status)
        flash(wanted.done.format(row.username), "success")
        return to_list(self.endpoint)

    def _named(self, deed: str) -> Deed[T]:
        if deed not in self.by_name:
            raise NotFound("No such action.")
        return self.by_name[deed]
