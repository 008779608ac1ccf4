"""Lines for the host's log: a sentence, then fields.

    log.info("checked the order")
    log.warn(f"{items} items are out of stock", order=order.id, warehouse="north")

The host adds plugin, route and event id. Unlike an effect a line is written whether the call succeeds or not, and the last
lines of a failed call go into its dead letter. `print` writes to the log, too, as `info`, and what goes to `sys.stderr`
as `warn`.
"""

from __future__ import annotations

from tidemill import _host
from tidemill._host import Level, shown

__all__ = ["Level", "debug", "error", "info", "trace", "warn", "write"]


def trace(message: str, /, **fields: object) -> None:
    """A line for whoever follows a single step."""
    write("trace", message, **fields)


def debug(message: str, /, **fields: object) -> None:
    """A line for whoever looks for a mistake."""
    write("debug", message, **fields)


def info(message: str, /, **fields: object) -> None:
    """A line about what happens."""
    write("info", message, **fields)


def warn(message: str, /, **fields: object) -> None:
    """A line about what is not as it should be."""
    write("warn", message, **fields)


def error(message: str, /, **fields: object) -> None:
    """A line about what a person must look after."""
    write("error", message, **fields)


def write(level: Level, message: str, /, **fields: object) -> None:
    """A line of a level."""
    _host.current.log(level, shown(message), {shown(name): shown(value) for name, value in fields.items()})
