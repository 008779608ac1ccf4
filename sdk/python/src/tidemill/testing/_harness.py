"""One handler and the world around it: settings, state, and where the call stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidemill._event import Event
from tidemill._json import dumps
from tidemill._plugin import consumer_of
from tidemill.testing._run import Run
from tidemill.testing._stage import Stage, settings
from tidemill.testing._world import TIME_LIMIT, World

__all__ = ["Harness"]


class Harness:
    """A handler under test. State stays from one `handle` to the next, as it does in the host.

    Args:
        handler: The function that is marked with `@handler`.
        config: Settings, as they would stand under `plugins.settings.<plugin>.config` in `runtime.yaml`.
        state: What the state holds, by key. Bytes are taken as they are, anything else is written as JSON.
        emits: The subjects that may be emitted to, as the route's `emits` says. Without this every subject is granted.
        route: The name of the route.
        stream: The name of the stream.
        now: What `host.now` says: RFC 3339.
        time_left: What `host.time_left` says, in milliseconds. Without this it is the whole time limit, because time stands
            still in a harness.
        state_unavailable: Makes every state function fail, as if the store could not be reached.
    """

    def __init__(
        self,
        handler: Callable[..., None],
        *,
        config: Mapping[str, Any] | None = None,
        state: Mapping[str, Any] | None = None,
        emits: Iterable[str] | None = None,
        route: str = "test",
        stream: str = "TEST",
        now: str = "2026-01-01T00:00:00.000Z",
        time_left: int = TIME_LIMIT,
        state_unavailable: bool = False,
    ) -> None:
        world = World(
            role="handler",
            config=settings(config),
            state={key: value if isinstance(value, bytes) else dumps(value) for key, value in (state or {}).items()},
            grants=None if emits is None else list(emits),
            now=now,
            time_left=time_left,
            unavailable=state_unavailable,
        )
        self._stage = Stage(consumer_of(handler, "handler"), world, route, stream)

    def handle(self, event: Event[bytes], *, attempt: int = 1, max_attempts: int = 5) -> Run:
        """Gives the handler one event and tells what came of it.

        A call that ends settled (done or rejected) moves the stream's sequence on. After a retry the next call has the same
        sequence, and so the same stable ids: it stands for the redelivery.
        """
        return self._stage.call(event, attempt, max_attempts)
