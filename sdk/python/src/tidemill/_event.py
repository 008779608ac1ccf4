"""What a call is about: the event, and where the call stands.

Both are frozen. A frozen dataclass's own `__init__` sets each field through `object.__setattr__`, which costs a component
3 µs an event; written out as below it costs one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, overload

from tidemill import _data

if TYPE_CHECKING:
    # Type checkers know this package without its being installed. Its `TypeVar` has the default that Python 3.13 brought.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=bytes)
else:
    from typing import TypeVar

    T = TypeVar("T")

U = TypeVar("U")

__all__ = ["Context", "Event"]


@dataclass(frozen=True)
class Event(Generic[T]):
    """A CloudEvents 1.0 event that has passed its JSON Schema, where one is registered.

    `Event[Order]` has its data read as an `Order` before the handler is called; what does not fit rejects the event.
    `Event` alone, which is `Event[bytes]`, has the bytes.
    """

    id: str
    """Unique together with `source`. A redelivery has the same id."""

    source: str

    kind: str
    """The CloudEvents attribute `type`, for example `OrderCreated`."""

    time: str | None
    """RFC 3339, as the producer wrote it."""

    subject: str | None
    """The CloudEvents attribute `subject`. Not the NATS subject."""

    datacontenttype: str | None

    dataschema: str | None

    extensions: Mapping[str, str]
    """Extension attributes by their lower-case names: `correlationid`, `traceparent`, and the producer's own."""

    data: T
    """The data, as the type that the handler's annotation names."""

    raw: bytes = field(repr=False)
    """The data, byte for byte as the producer sent it."""

    def __init__(
        self,
        id: str,
        source: str,
        kind: str,
        time: str | None,
        subject: str | None,
        datacontenttype: str | None,
        dataschema: str | None,
        extensions: Mapping[str, str],
        data: T,
        raw: bytes,
    ) -> None:
        fields = self.__dict__
        fields["id"] = id
        fields["source"] = source
        fields["kind"] = kind
        fields["time"] = time
        fields["subject"] = subject
        fields["datacontenttype"] = datacontenttype
        fields["dataschema"] = dataschema
        fields["extensions"] = extensions
        fields["data"] = data
        fields["raw"] = raw

    @overload
    def json(self) -> Any: ...

    @overload
    def json(self, shape: type[U]) -> U: ...

    def json(self, shape: Any = Any) -> Any:
        """Reads the data as JSON of a type, for plugins that take events of several types.

        Without a type it is what `json.loads` makes of it. What does not fit rejects the event, with the place and the
        reason.
        """
        return _data.read(self.raw, shape, "the event's data")


@dataclass(frozen=True)
class Context:
    """Where this call stands: which route, which attempt, how much time."""

    route: str
    """The route of `runtime.yaml` that delivers the event, or the projection that folds it."""

    attempt: int
    """1 for the first attempt."""

    max_attempts: int
    """After this attempt fails the event is dead-lettered."""

    stream: str
    """The stream of the original message. With `sequence` it names the event for ever, also after a retry or a redrive."""

    sequence: str
    """The sequence of the original message in its stream, as decimal text."""

    time_limit: int
    """Milliseconds that the call may take, counted from its start. A call that takes longer is interrupted."""

    def __init__(
        self, route: str, attempt: int, max_attempts: int, stream: str, sequence: str, time_limit: int
    ) -> None:
        fields = self.__dict__
        fields["route"] = route
        fields["attempt"] = attempt
        fields["max_attempts"] = max_attempts
        fields["stream"] = stream
        fields["sequence"] = sequence
        fields["time_limit"] = time_limit

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure of this call dead-letters the event."""
        return self.attempt >= self.max_attempts
