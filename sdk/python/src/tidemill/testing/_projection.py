"""One projection and the world around it: settings, and the documents that it folds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tidemill._event import Event
from tidemill._failure import Reject
from tidemill._json import dumps
from tidemill._plugin import consumer_of, query_of
from tidemill._verdict import verdict
from tidemill.testing._documents import Collection
from tidemill.testing._run import Run
from tidemill.testing._stage import Stage, settings
from tidemill.testing._world import TIME_LIMIT, Call, World

__all__ = ["ProjectionHarness"]


class ProjectionHarness:
    """A projection under test. Documents stay from one `apply` to the next.

    Args:
        projection: The function that is marked with `@projection`.
        collections: Each collection with the fields that it is indexed by, as `projections[].collections` in `runtime.yaml`
            declares them.
        documents: Documents that are there already, by collection and key.
        config: Settings, as they would stand under `plugins.settings.<plugin>.config` in `runtime.yaml`.
        name: The name of the projection.
        stream: The name of the stream.
        now: What `host.now` says: RFC 3339.
        time_left: What `host.time_left` says, in milliseconds. Without this it is the whole time limit, because time stands
            still in a harness.
        unavailable: Makes every document function fail, as if the store could not be reached.
    """

    def __init__(
        self,
        projection: Callable[..., None],
        *,
        collections: Mapping[str, Iterable[str]],
        documents: Mapping[str, Mapping[str, Any]] | None = None,
        config: Mapping[str, Any] | None = None,
        name: str = "test",
        stream: str = "TEST",
        now: str = "2026-01-01T00:00:00.000Z",
        time_left: int = TIME_LIMIT,
        unavailable: bool = False,
    ) -> None:
        world = World(
            role="projection",
            config=settings(config),
            now=now,
            time_left=time_left,
            unavailable=unavailable,
        )
        for collection, indexes in collections.items():
            world.collections[collection] = Collection(list(indexes))
        for collection, bodies in (documents or {}).items():
            known = world.collections[collection].documents
            known |= {key: dumps(body) for key, body in bodies.items()}
        self._stage = Stage(consumer_of(projection, "projection"), world, name, stream)

    def apply(self, event: Event[bytes], *, attempt: int = 1, max_attempts: int = 5) -> Run:
        """Folds one event and tells what came of it."""
        return self._stage.call(event, attempt, max_attempts)

    def query(self, query: Callable[..., Any], /, **params: Any) -> Any:
        """Asks a question about the documents: the function that is marked with `@query`, and its parameters.

        Parameters and answer go through JSON, as they do in the host.

        Raises:
            Reject: What the query rejects with; for one that writes, the refusal.
            Retry: What the query raises otherwise.
        """
        call = Call(self._stage.world, origin=None)
        with call:
            try:
                answer = dumps(query_of(query).answer(dumps(params)))
            except Exception as error:
                failure = verdict(error)
                if call.refused is None:
                    raise failure from (None if failure is error else error)
        if call.refused is not None:
            raise Reject(str(call.refused))
        return json.loads(answer)
