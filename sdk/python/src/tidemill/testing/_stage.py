"""What the harnesses have in common: a world, and where the next call stands in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tidemill import _data
from tidemill._event import Context, Event
from tidemill._failure import Failure, Retry
from tidemill._json import dumps
from tidemill._plugin import Consumer
from tidemill._verdict import verdict
from tidemill.testing._run import Outcome, Run
from tidemill.testing._world import TIME_LIMIT, Call, World

__all__ = ["Stage", "settings"]


class Stage:
    """Makes one call after the other. What a call did stays only if it is done."""

    def __init__(self, consumer: Consumer, world: World, route: str, stream: str) -> None:
        self.consumer = consumer
        self.world = world
        self.route = route
        self.stream = stream
        self.sequence = 1

    def call(self, event: Event[bytes], attempt: int, max_attempts: int) -> Run:
        context = Context(self.route, attempt, max_attempts, self.stream, str(self.sequence), TIME_LIMIT)
        call = Call(self.world, (self.route, self.stream, context.sequence))
        error: BaseException | None = None
        with call:
            try:
                self.consumer.call(self._read(event), context)
            except (Exception, SystemExit) as raised:
                error = raised
                outcome = _outcome(verdict(raised))
            else:
                outcome = Outcome("done")
        if call.refused is not None:
            outcome = Outcome("refused", str(call.refused))
        if outcome.status == "done":
            self.world.state = call.world.state
            self.world.collections = call.world.collections
        if outcome.status in ("done", "rejected"):
            self.sequence += 1
        return Run(
            outcome,
            emits=call.emits if outcome.status == "done" else [],
            state=dict(self.world.state),
            documents={name: _documents(it.documents) for name, it in self.world.collections.items()},
            logs=call.logs,
            error=error,
        )

    def _read(self, event: Event[bytes]) -> Event[Any]:
        read = self.consumer.read
        if read is None:
            return event
        fields = vars(event) | {"data": _data.read_as(read, event.raw, "the event's data")}
        return Event(**fields)


def settings(config: Mapping[str, Any] | None) -> dict[str, str]:
    """Settings as the host gives them: texts as they stand, anything else as JSON."""
    return {key: value if isinstance(value, str) else dumps(value).decode() for key, value in (config or {}).items()}


def _outcome(failure: Failure) -> Outcome:
    if isinstance(failure, Retry):
        return Outcome("retry", failure.reason, failure.after)
    return Outcome("rejected", failure.reason)


def _documents(bodies: dict[str, bytes]) -> dict[str, Any]:
    return {key: json.loads(body) for key, body in bodies.items()}
