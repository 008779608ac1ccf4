"""Events that a handler publishes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tidemill import _host
from tidemill._host import text
from tidemill._json import dumps

__all__ = ["EmitError", "emit"]


class EmitError(Exception):
    """Why an emit was refused.

    The host fails a call with a refused emit even if the handler goes on: half of what a handler wanted is never done.
    """

    def __init__(self, code: Literal["not-granted", "invalid", "limit"], message: str) -> None:
        super().__init__(message)
        self.code = code
        """`not-granted`: the text names the line of `runtime.yaml` that would allow it; `invalid`: a subject, type or
        attribute breaks a rule; `limit`: a limit on emits or their bytes is used up, the text names it."""


def emit(
    to: str,
    kind: str,
    data: Any,
    *,
    subject: str | None = None,
    datacontenttype: str | None = None,
    dataschema: str | None = None,
    extensions: Mapping[str, str] | None = None,
) -> None:
    """Publishes an event, once the handler has succeeded.

        emit("fraud.checked", "FraudChecked", {"order_id": "o-1", "risk": "high"})

    The host adds what is its own: a deterministic `id`, `source`, `time`, and the `correlationid`, `causationid` and
    `traceparent` of the event that is being handled.

    Args:
        to: The NATS subject to publish to. It must be granted: the route's `emits` in `runtime.yaml`.
        kind: The CloudEvents attribute `type`. Where a schema is registered for it, the data must match.
        data: Bytes are published as they are, anything else as JSON; dataclasses become objects.
        subject: The CloudEvents attribute `subject`: what the event is about. Not the NATS subject.
        datacontenttype: `application/json` when left out.
        dataschema: The schema that the data follows, where it is not the newest one of the type.
        extensions: Extension attributes of your own; their names are made of `a-z` and `0-9`.

    Raises:
        EmitError: The host refuses what is not granted, breaks a rule or exceeds a limit; then the call fails in any case.
        TypeError, ValueError: The data cannot be written as JSON.
    """
    if subject is not None:
        text(subject, "an emit's subject")
    if datacontenttype is not None:
        text(datacontenttype, "a content type")
    if dataschema is not None:
        text(dataschema, "a schema")
    own = {}
    if extensions:
        own = {text(name, "an extension's name"): text(value, "an extension") for name, value in extensions.items()}
    body = bytes(data) if isinstance(data, (bytes, bytearray, memoryview)) else dumps(data)
    _host.current.emit(
        text(to, "an emit's target"), text(kind, "an emit's type"), subject, datacontenttype, dataschema, own, body
    )
