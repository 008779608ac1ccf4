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
    _host.current.log("trace", shown(message), _shown(fields))


def debug(message: str, /, **fields: object) -> None:
    """A line for whoever looks for a mistake."""
    _host.current.log("debug", shown(message), _shown(fields))


def info(message: str, /, **fields: object) -> None:
    """A line about what happens."""
    _host.current.log("info", shown(message), _shown(fields))


def warn(message: str, /, **fields: object) -> None:
    """A line about what is not as it should be."""
    _host.current.log("warn", shown(message), _shown(fields))


def error(message: str, /, **fields: object) -> None:
    """A line about what a person must look after."""
    _host.current.log("error", shown(message), _shown(fields))


def write(level: Level, message: str, /, **fields: object) -> None:
    """A line of a level."""
    _host.current.log(level, shown(message), _shown(fields))


def _shown(fields: dict[str, object]) -> dict[str, str]:
    return {shown(name): shown(value) for name, value in fields.items()}
