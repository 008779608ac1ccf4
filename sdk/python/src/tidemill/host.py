"""Time, identity and randomness from the host."""

from __future__ import annotations

from tidemill import _host
from tidemill._host import text

__all__ = ["MAX_RANDOM", "now", "random", "stable_id", "time_left"]

MAX_RANDOM = 4096
"""The most bytes that one `random` gives."""


def now() -> str:
    """The current time, RFC 3339 in UTC with milliseconds; `datetime.fromisoformat` reads it."""
    return _host.current.now()


def stable_id(name: str) -> str:
    """An id that is the same each time this event is handled by this route: a UUIDv5 of route, stream, sequence and `name`.

    Use it where a repeated call must make the same thing again. A query has no event, and so no stable ids.
    """
    return _host.current.stable_id(text(name, "the name of a stable id"))


def time_left() -> int:
    """How many milliseconds are left of the call's time limit; 0 while the plugin starts.

    It is meant for the timeouts of what may be slow. A request over HTTP that may take no longer than this ends in an error that
    the plugin can tell, and not in an interruption.
    """
    return _host.current.time_left()


def random(length: int) -> bytes:
    """Random bytes, at most `MAX_RANDOM`; cryptographically strong."""
    if not 0 <= length <= MAX_RANDOM:
        raise ValueError(f"random bytes are asked for {MAX_RANDOM} at a time, not {length}")
    return _host.current.random(length)
