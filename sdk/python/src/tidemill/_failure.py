"""Why an event was not handled.

`reject` and `retry` raise, they do not return: a forgotten `raise` would acknowledge an event that nobody handled.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

__all__ = ["Failure", "Reject", "Retry", "reject", "retry"]

# What a `u32` of milliseconds holds: 49 days.
_MAX_DELAY = 2**32 - 1


class Failure(Exception):
    """What `Reject` and `Retry` have in common: the reason, which stands in the log and in the dead letter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Reject(Failure):
    """Trying again will not help: the event is dead-lettered at once, with this reason."""


class Retry(Failure):
    """Trying again may help. When the attempts are used up, the event is dead-lettered.

    `after` is the shortest time until the next attempt, in milliseconds or as a `timedelta`; the route's backoff, where
    that is longer.
    """

    def __init__(self, reason: str, after: int | timedelta | None = None) -> None:
        super().__init__(reason)
        self.after = None if after is None else _milliseconds(after)


def reject(reason: str) -> NoReturn:
    """Ends the call by raising `Reject`: the event is dead-lettered at once, with this reason.

    It never returns, so it may stand where a value is missing:

        customer = order.customer or reject("an order needs a customer")
    """
    raise Reject(reason)


def retry(reason: str, after: int | timedelta | None = None) -> NoReturn:
    """Ends the call by raising `Retry`: the event is tried again, after the route's backoff or `after`, whichever is longer.

    `after` is in milliseconds, or a `timedelta`.

        retry("the ledger is closed", after=timedelta(seconds=30))
    """
    raise Retry(reason, after)


def _milliseconds(after: int | timedelta) -> int:
    delay = after // timedelta(milliseconds=1) if isinstance(after, timedelta) else int(after)
    if delay < 0:
        raise ValueError(f"a delay cannot be negative: {after}")
    return min(delay, _MAX_DELAY)
