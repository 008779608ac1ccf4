"""What came of one call, and assertions that say what was found instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tidemill._host import Level

__all__ = ["Emitted", "LogLine", "Outcome", "Run"]


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    status: Literal["done", "retry", "rejected", "refused"]
    """`retry` is also what an exception means that is neither `Reject` nor `Retry`. `refused`: an emit or the write of a
    document was refused, so the call failed, whatever the plugin did then."""

    reason: str = ""

    after: int | None = None
    """For `retry`: the milliseconds that were asked for."""


@dataclass(frozen=True)
class Emitted:
    """An event that was published."""

    to: str
    """The NATS subject."""

    kind: str
    subject: str | None
    datacontenttype: str | None
    dataschema: str | None
    extensions: Mapping[str, str]
    data: bytes

    def json(self) -> Any:
        """The data, read as JSON."""
        return json.loads(self.data)


@dataclass(frozen=True)
class LogLine:
    """A line of the log."""

    level: Level
    message: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """What came of one call."""

    outcome: Outcome

    emits: list[Emitted]
    """What is published. Empty unless the call is done."""

    state: dict[str, bytes]
    """The whole state after the call. As before it unless the call is done."""

    documents: dict[str, dict[str, Any]]
    """All documents after the call, by collection and key. As before it unless the call is done."""

    logs: list[LogLine]

    error: BaseException | None = field(default=None, repr=False)
    """What the plugin raised."""

    def assert_done(self) -> None:
        """The call succeeded."""
        self._assert_status("done", "the call to be done")

    def assert_retry(self, part: str = "") -> None:
        """The call asked for a retry, or broke, with a reason that contains `part`."""
        self._assert_status("retry", f"a retry because of {part!r}", part)

    def assert_rejected(self, part: str = "") -> None:
        """The call rejected the event, with a reason that contains `part`."""
        self._assert_status("rejected", f"a rejection because of {part!r}", part)

    def assert_refused(self, part: str = "") -> None:
        """An emit or the write of a document was refused, with a reason that contains `part`."""
        self._assert_status("refused", f"a refusal because of {part!r}", part)

    def assert_no_emits(self) -> None:
        """Nothing is published."""
        _expect(not self.emits, f"expected no emits, but found {self._kinds()}")

    def emitted(self, kind: str) -> Emitted:
        """The only emit of a type."""
        found = [emit for emit in self.emits if emit.kind == kind]
        if len(found) != 1:
            wanted = "an emit" if not found else "one emit"
            raise AssertionError(
                f"expected {wanted} of type {kind}, but found {self._kinds()} ({self.outcome})"
            ) from self.error
        return found[0]

    def state_json(self, key: str) -> Any:
        """A state value after the call, read as JSON; `None` where the key is absent."""
        value = self.state.get(key)
        return None if value is None else json.loads(value)

    def document(self, collection: str, key: str) -> Any:
        """A document after the call; `None` where there is none."""
        return self._collection(collection).get(key)

    def assert_keys(self, collection: str, expected: list[str]) -> None:
        """The collection has exactly these keys, given in byte order."""
        found = sorted(self._collection(collection))
        _expect(found == expected, f"expected the keys {expected} in {collection!r}, but found {found}")

    def logged(self, level: Level, part: str) -> bool:
        """Whether a line of this level contains `part`."""
        return any(line.level == level and part in line.message for line in self.logs)

    def _assert_status(self, status: str, expected: str, part: str = "") -> None:
        if self.outcome.status != status or part not in self.outcome.reason:
            # The exception's own traceback stands above this one in what a test runner shows.
            raise AssertionError(f"expected {expected}, but it ended as {self.outcome}") from self.error

    def _collection(self, name: str) -> dict[str, Any]:
        _expect(
            name in self.documents,
            f"there is no collection {name!r}: `ProjectionHarness(…, collections={{{name!r}: []}})` makes one",
        )
        return self.documents[name]

    def _kinds(self) -> list[str]:
        return [emit.kind for emit in self.emits]


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)
