"""How many mails may go: by minute and day through one configuration or of one account, by minute to one domain.

The counts are where ``RATELIMIT_STORAGE_URI`` says: in the process, or shared by all processes in Redis. Queued and
direct mails, and connection tests, take their places in the same ones.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar, cast
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


class Allowance(NamedTuple):
    """What may go of one owner, a configuration or an account; ``domains`` are the recipients'.

    ``is_shared``: security mail takes its places here as well, so that a fifth of them is kept for it.
    """

    owner: str
    limits: Limits
    domains: tuple[str, ...] = ()
    is_shared: bool = True


class NoPlace(NamedTuple):
    """Whose allowance has no place left, that of a day or of a minute, and the seconds after which to ask again.

    ``is_of_domain``: to another domain there may be one.
    """

    owner: str
    seconds: float
    is_daily: bool
    is_of_domain: bool = False


class Used(NamedTuple):
    """How many places were taken of an allowance, within a minute and within a day."""

    minute: int
    day: int


def limits_of(emails_per_minute: int | None, emails_per_day: int | None) -> Limits:
    """A configuration's limits: its own, or the environment's where it has none."""
    ours = get_settings()
    return Limits(
        per_minute=emails_per_minute or ours.emails_per_minute,
        per_day=emails_per_day or ours.emails_per_day,
        per_minute_per_domain=ours.emails_per_minute_per_domain,
    )


def take(allowances: Sequence[Allowance], *, is_security: bool) -> NoPlace | None:
    """Take a place in every one of these, or in none and say which has none left.

    Never raises: without the shared storage, each process keeps to its share.
    """
    return _allowances().take(allowances, is_security=is_security)


def charge(owner: str, limits: Limits, domains: Iterable[str] = ()) -> None:
    """Count a mail that goes whatever the allowances say, so that others wait the longer. Never raises."""
    _allowances().charge(owner, limits, domains)


def used(owner: str, limits: Limits) -> Used:
    """The places that were taken, where there is a limit, as this process knows it. Never raises."""
    return _allowances().used(owner, limits)


def domains_of(recipients: Iterable[str]) -> set[str]:
    """Each domain once: a mail is one mail to a domain, however many of its people it is for."""
    return {address.rpartition("@")[2] for address in recipients}


def _allowances() -> "Allowances":
    ours = get_settings()
    return _of_application.get(ours) or _of_application.setdefault(ours, Allowances(ours.ratelimit_storage_uri))


class _Kept:
    """Counts go on under the same key when the limit is set anew, so that nobody starts again with none."""

    __slots__ = ()

    def key_for(self, *identifiers: bytes | str | float) -> str:
        item = cast(RateLimitItem, self)
        return "/".join([item.namespace, *map(str, identifiers), item.GRANULARITY.name])


class _PerMinute(_Kept, RateLimitItemPerMinute):
    __slots__ = ()


class _PerDay(_Kept, RateLimitItemPerDay):
    __slots__ = ()


class _Count(NamedTuple):
    """One count that a mail takes a place in."""

    allowance: Allowance
    limiter: RateLimiter
    item: RateLimitItem
    key: str

    @property
    def is_daily(self) -> bool:
        return isinstance(self.item, _PerDay)

    @property
    def is_of_domain(self) -> bool:
        return self.key != self.allowance.owner


class _Counts:
    """The counts of one storage. Minutes and days are exact, which costs an entry for each mail.

    For domains, of which there can be any number, an estimate from two numbers does.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage: Any = storage  # of Memory and Redis, which count in both ways
        self._exact = MovingWindowRateLimiter(storage)
        self._estimated = SlidingWindowCounterRateLimiter(storage)

    def take(self, allowances: Iterable[Allowance], *, is_security: bool) -> NoPlace | None:
        """Take a place in every count, or in none and say which makes wait longest. Raises StorageError."""
        counts = [count for allowance in allowances for count in self._counts(allowance)]
        waits = [(wait, count) for count in counts if (wait := _wait(count, is_security))]
        if not waits:
            full = [count for count in counts if not count.limiter.hit(count.item, count.key)]
            waits = [(LEAST_WAIT, count) for count in full]  # another process was quicker
        if not waits:
            return None
        wait, count = max(waits, key=lambda each: each[0])
        return NoPlace(count.allowance.owner, wait, count.is_daily, count.is_of_domain)

    def charge(self, allowance: Allowance) -> None:
        """Take a place in every count, be it one too many. Raises StorageError.

        The limiters take none beyond the limit, so this is what they do with another one.
        """
        for _, limiter, item, key in self._counts(allowance):
            is_exact = limiter is self._exact
            take = self._storage.acquire_entry if is_exact else self._storage.acquire_sliding_window_entry
            take(item.key_for(key), _WITHOUT_END, item.get_expiry())

    def used(self, allowance: Allowance) -> Used:
        """How many places are taken. Raises StorageError."""
        found = {False: 0, True: 0}
        for count in self._counts(allowance):
            found[count.is_daily] = count.item.amount - count.limiter.get_window_stats(count.item, count.key)[1]
        return Used(minute=found[False], day=found[True])

    def _counts(self, allowance: Allowance) -> Iterator[_Count]:
        owner, limits = allowance.owner, allowance.limits
        if limits.per_minute:
            minute = _PerMinute(limits.per_minute, namespace=NAMESPACE)
            yield _Count(allowance, self._exact, minute, owner)
        if limits.per_day:
            yield _Count(allowance, self._exact, _PerDay(limits.per_day, namespace=NAMESPACE), owner)
        if limits.per_minute_per_domain:
            item = _PerMinute(limits.per_minute_per_domain, namespace=NAMESPACE)
            for domain in sorted(set(allowance.domains)):
                yield _Count(allowance, self._estimated, item, f"to:{domain}")


def _wait(count: _Count, is_security: bool) -> float:
    resets_at, remaining = count.limiter.get_window_stats(count.item, count.key)
    # Rounded down: of an allowance of less than five nothing is kept back.
    is_kept_back = count.allowance.is_shared and not is_security
    if remaining > (int(count.item.amount * RESERVED) if is_kept_back else 0):
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

    def take(self, allowances: Sequence[Allowance], *, is_security: bool) -> NoPlace | None:
        """See the function of this name."""
        return self._counted(allowances, lambda counts, most: counts.take(most, is_security=is_security))

    def charge(self, owner: str, limits: Limits, domains: Iterable[str] = ()) -> None:
        """See the function of this name."""
        self._counted([Allowance(owner, limits, tuple(domains))], lambda counts, most: counts.charge(most[0]))

    def used(self, owner: str, limits: Limits) -> Used:
        """See the function of this name."""
        return self._counted([Allowance(owner, limits)], lambda counts, most: counts.used(most[0])) or Used(0, 0)

    def _counted(
        self, allowances: Sequence[Allowance], count: Callable[["_Counts", Sequence[Allowance]], T]
    ) -> T | None:
        """What counting gives, in the shared storage or while that is away in our own; None without any limit."""
        allowances = [each for each in allowances if each.limits != Limits()]
        if not allowances:
            return None
        with self._lock:
            if not self._uri.startswith("memory:"):
                if self._away_until is None or self._clock() >= self._away_until:
                    try:
                        counted = count(self._shared_counts(), allowances)
                    except StorageError as error:
                        self._note_away(error)
                    else:
                        self._note_back()
                        return counted
                allowances = [each._replace(limits=each.limits.share()) for each in allowances]
            self._local = self._local or _Counts(MemoryStorage())
            return count(self._local, allowances)

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
