"""How many mails may go: by minute and day through one configuration, by minute to one recipient domain.

The counts are where ``RATELIMIT_STORAGE_URI`` says: in the process, or shared by all processes in Redis. Queued and
direct mails, and connection tests, take their places in the same ones.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import structlog
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from utils import late
from utils.env_utils import Settings, get_settings

log = structlog.get_logger(__name__)

RESERVED: Final = 0.2  # of each allowance, for security mail
LEAST_WAIT: Final = 1.0  # seconds
STORAGE_SECONDS: Final = 0.5  # for an answer of the shared storage
AWAY_SECONDS: Final = 30.0  # until a storage that gave none is asked again
LOCAL_SHARE: Final = 4  # processes that the allowance is taken to be for, as long as they cannot count together
NAMESPACE: Final = "MAIL"
_WITHOUT_END: Final = 1_000_000  # places, for what is counted and never refused

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most mails that may go; 0 is no limit."""

    per_minute: int = 0
    per_day: int = 0
    per_minute_per_domain: int = 0

    def share(self) -> "Limits":
        """What one process may take on its own; at least one mail where there is a limit."""
        return Limits(**{name: -(-most // LOCAL_SHARE) for name, most in vars(self).items()})


def limits_of(emails_per_minute: int | None, emails_per_day: int | None) -> Limits:
    """A configuration's limits: its own, or the environment's where it has none."""
    ours = get_settings()
    return Limits(
        per_minute=emails_per_minute or ours.emails_per_minute,
        per_day=emails_per_day or ours.emails_per_day,
        per_minute_per_domain=ours.emails_per_minute_per_domain,
    )


def seconds_until_allowed(owner: str, limits: Limits, domains: Iterable[str], *, is_security: bool) -> float:
    """0 if one mail may go now, which is then counted, or the seconds after which to ask again.

    ``owner`` names the configuration, ``domains`` are the recipients'. A fifth of every allowance is kept for
    security mail. Never raises: without the shared storage, each process keeps to its share.
    """
    return _allowances().seconds_until_allowed(owner, limits, domains, is_security=is_security)


def charge(owner: str, limits: Limits, domains: Iterable[str]) -> None:
    """Count a mail that goes whatever the allowances say, so that others wait the longer. Never raises."""
    _allowances().charge(owner, limits, domains)


def domains_of(recipients: Iterable[str]) -> set[str]:
    """Each domain once: a mail is one mail to a domain, however many of its people it is for."""
    return {address.rpartition("@")[2] for address in recipients}


def _allowances() -> "Allowances":
    ours = get_settings()
    return _of_application.setdefault(ours, Allowances(ours.ratelimit_storage_uri))


class _Count(NamedTuple):
    """One count that a mail takes a place in."""

    limiter: RateLimiter
    item: RateLimitItem
    key: str


class _Counts:
    """The counts of one storage. Minutes and days are exact, which costs an entry for each mail.

    For domains, of which there can be any number, an estimate from two numbers does.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage: Any = storage  # of Memory and Redis, which count in both ways
        self._exact = MovingWindowRateLimiter(storage)
        self._estimated = SlidingWindowCounterRateLimiter(storage)

    def take(self, owner: str, limits: Limits, domains: Iterable[str], *, is_security: bool) -> float:
        """Take a place in every count, or in none and say how long to wait. Raises StorageError."""
        counts = list(self._counts(owner, limits, domains))
        waits = [wait for count in counts if (wait := _wait(count, is_security))]
        if waits:
            return max(waits)
        taken = [count.limiter.hit(count.item, count.key) for count in counts]
        return 0.0 if all(taken) else LEAST_WAIT  # another process was quicker

    def charge(self, owner: str, limits: Limits, domains: Iterable[str]) -> None:
        """Take a place in every count, be it one too many. Raises StorageError.

        The limiters take none beyond the limit, so this is what they do with another one.
        """
        for limiter, item, key in self._counts(owner, limits, domains):
            is_exact = limiter is self._exact
            take = self._storage.acquire_entry if is_exact else self._storage.acquire_sliding_window_entry
            take(item.key_for(key), _WITHOUT_END, item.get_expiry())

    def _counts(self, owner: str, limits: Limits, domains: Iterable[str]) -> Iterator[_Count]:
        if limits.per_minute:
            yield _Count(self._exact, RateLimitItemPerMinute(limits.per_minute, namespace=NAMESPACE), owner)
        if limits.per_day:
            yield _Count(self._exact, RateLimitItemPerDay(limits.per_day, namespace=NAMESPACE), owner)
        if limits.per_minute_per_domain:
            item = RateLimitItemPerMinute(limits.per_minute_per_domain, namespace=NAMESPACE)
            yield from (_Count(self._estimated, item, f"to:{domain}") for domain in sorted(set(domains)))


def _wait(count: _Count, is_security: bool) -> float:
    resets_at, remaining = count.limiter.get_window_stats(count.item, count.key)
    # Rounded down: of an allowance of less than five nothing is kept back.
    if remaining > (0 if is_security else int(count.item.amount * RESERVED)):
        return 0.0
    return min(max(resets_at - time.time(), LEAST_WAIT), count.item.get_expiry())


class Allowances:
    """The counts of one application in one process; usable from any thread. ``clock`` is monotonic, in seconds."""

    def __init__(self, storage_uri: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri = storage_uri
        self._clock = clock
        self._lock = Lock()  # no other thread takes what has just been looked at
        self._local: _Counts | None = None
        self._shared: _Counts | None = None
        self._away_until: float | None = None

    def seconds_until_allowed(self, owner: str, limits: Limits, domains: Iterable[str], *, is_security: bool) -> float:
        """See the function of this name."""
        domains = tuple(domains)
        wait = self._counted(limits, lambda counts, most: counts.take(owner, most, domains, is_security=is_security))
        return wait or 0.0

    def charge(self, owner: str, limits: Limits, domains: Iterable[str]) -> None:
        """See the function of this name."""
        domains = tuple(domains)
        self._counted(limits, lambda counts, most: counts.charge(owner, most, domains))

    def _counted(self, limits: Limits, count: Callable[["_Counts", Limits], T]) -> T | None:
        """What counting gives, in the shared storage or while that is away in our own; None without any limit."""
        if limits == Limits():
            return None
        with self._lock:
            if not self._uri.startswith("memory:"):
                if self._away_until is None or self._clock() >= self._away_until:
                    try:
                        counted = count(self._shared_counts(), limits)
                    except StorageError as error:
                        self._note_away(error)
                    else:
                        self._note_back()
                        return counted
                limits = limits.share()
            self._local = self._local or _Counts(MemoryStorage())
            return count(self._local, limits)

    def _shared_counts(self) -> _Counts:
        if self._shared is None:
            options = _options_of_redis() if self._uri.startswith("redis") else {}
            storage = storage_from_string(self._uri, wrap_exceptions=True, **options)
            self._shared = _Counts(storage)  # type: ignore[arg-type]
        return self._shared

    def _note_away(self, error: StorageError) -> None:
        if self._away_until is None:
            log.warning("limits_storage_away", kind=type(error.storage_error).__name__)
        self._away_until = self._clock() + AWAY_SECONDS

    def _note_back(self) -> None:
        if self._away_until is not None:
            log.info("limits_storage_back")
        self._away_until = None


def _options_of_redis() -> dict[str, Any]:
    no_backoff = late.load("redis.backoff").NoBackoff()
    retry = late.load("redis.retry").Retry(no_backoff, 1)  # a kept connection may have gone stale
    return {"socket_timeout": STORAGE_SECONDS, "socket_connect_timeout": STORAGE_SECONDS, "retry": retry}


# Per application, so that two in one process do not count each other's mails.
_of_application: WeakKeyDictionary[Settings, Allowances] = WeakKeyDictionary()
