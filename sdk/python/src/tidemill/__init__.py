"""Plugins for Tidemill, the WebAssembly event runtime for NATS JetStream, in Python.

    from dataclasses import dataclass
    from tidemill import Context, Event, config, emit, handler, log, reject, state

    @dataclass
    class Order:
        id: str
        total: float

    @handler
    def check(event: Event[Order], context: Context) -> None:
        order = event.data
        if order.total < 0:
            reject("a total cannot be negative")
        if order.total >= config.get("threshold", float, 1000.0):
            seen = state.update("large-orders", lambda seen: seen + 1, default=0)
            log.info("a large order", order=order.id, seen=seen)
            emit("fraud.checked", "FraudChecked", {"order": order.id, "risk": "high"})

In reading order: `handler`, or `projection` and `query`, mark the functions that the host calls. `Event` and `Context` are what
goes in, `reject` and `retry` what may come out. `emit` and `state` are what a handler may ask of the host, `read_model` is
what a projection may, `config`, `log` and `host` what both may. `tidemill.testing` is the host's stand-in for tests.
"""

from tidemill import config, host, log, read_model, state
from tidemill._emit import EmitError, emit
from tidemill._event import Context, Event
from tidemill._failure import Reject, Retry, reject, retry
from tidemill._plugin import handler, projection, query

__all__ = [
    "Context",
    "EmitError",
    "Event",
    "Reject",
    "Retry",
    "config",
    "emit",
    "handler",
    "host",
    "log",
    "projection",
    "query",
    "read_model",
    "reject",
    "retry",
    "state",
]
