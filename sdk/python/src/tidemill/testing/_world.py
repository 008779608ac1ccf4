"""What surrounds a plugin under test, and one call in it: the host's imports, answered from plain values."""

from __future__ import annotations

import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tidemill import _host
from tidemill._emit import EmitError
from tidemill._host import Level
from tidemill._plugin import Role
from tidemill.read_model import ReadModelError
from tidemill.state import StateError
from tidemill.testing import _rules
from tidemill.testing._documents import Collection, find, write
from tidemill.testing._run import Emitted, LogLine

__all__ = ["TIME_LIMIT", "Call", "World"]

TIME_LIMIT = 5000
"""A default host's time limit of a call, in milliseconds."""

# The host's own: with it the ids of a test are the ids of production, if route, stream and sequence are.
_STABLE_ID_NAMESPACE = uuid.UUID("6f0c1b6e-52d4-4d0f-9a3b-7e15c0d284a1")


@dataclass
class World:
    """What stays from call to call."""

    role: Role
    config: dict[str, str] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    grants: list[str] | None = None
    """`None`: every subject is granted."""
    collections: dict[str, Collection] = field(default_factory=dict)
    now: str = "2026-01-01T00:00:00.000Z"
    time_left: int = TIME_LIMIT
    unavailable: bool = False
    """Whether state and documents are out of reach."""


class Call:
    """One call: the world as the call sees it, and what the call did. It is the host while it lasts.

    `origin` is route, stream and sequence, from which stable ids are made; a question has none.
    """

    def __init__(self, world: World, origin: tuple[str, str, str] | None) -> None:
        self.world = deepcopy(world)
        self.origin = origin
        self.emits: list[Emitted] = []
        self.logs: list[LogLine] = []
        self.refused: Exception | None = None
        """The first refused effect: it fails the call, whatever the plugin makes of it."""
        self._drawn = 0

    def __enter__(self) -> Call:
        self._outer, _host.current = _host.current, self
        return self

    def __exit__(self, *_: object) -> None:
        _host.current = self._outer

    # === Handlers =====================================================================================================

    def emit(
        self,
        to: str,
        kind: str,
        subject: str | None,
        datacontenttype: str | None,
        dataschema: str | None,
        extensions: dict[str, str],
        data: bytes,
    ) -> None:
        if self.world.role != "handler":
            raise RuntimeError(_host.NO_EMIT)
        emitted = Emitted(to, kind, subject, datacontenttype, dataschema, extensions, data)
        try:
            _rules.check_emit(emitted, self.world.grants)
        except EmitError as refusal:
            self._refuse(refusal)
        self.emits.append(emitted)

    def state_get(self, key: str) -> bytes | None:
        return self._state(key).get(key)

    def state_put(self, key: str, value: bytes) -> None:
        _rules.check_state_value(value)
        self._state(key)[key] = value

    def state_delete(self, key: str) -> None:
        self._state(key).pop(key, None)

    def state_compare_and_set(self, key: str, expected: bytes | None, value: bytes | None) -> bool:
        _rules.check_state_value(value or b"")
        state = self._state(key)
        if state.get(key) != expected:
            return False
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
        return True

    def state_list(self, prefix: str, after: str | None, limit: int) -> list[str]:
        keys = sorted(key for key in self._state() if key.startswith(prefix) and (after is None or key > after))
        return keys[:limit]

    def _state(self, key: str | None = None) -> dict[str, bytes]:
        if self.world.role != "handler":
            raise RuntimeError(_host.NO_STATE)
        if key is not None:
            _rules.check_state_key(key)
        if self.world.unavailable:
            raise StateError("unavailable", "the state is unavailable: the harness says so")
        return self.world.state

    # === Projections ==================================================================================================

    def document_get(self, collection: str, key: str) -> bytes | None:
        _rules.check_document_key(key)
        return self._collection(collection).documents.get(key)

    def document_put(self, collection: str, key: str, body: bytes) -> None:
        try:
            write(self._collection_to_write(collection), collection, key, body)
        except ReadModelError as refusal:
            self._refuse(refusal)

    def document_delete(self, collection: str, key: str) -> None:
        try:
            _rules.check_document_key(key)
            self._collection_to_write(collection).documents.pop(key, None)
        except ReadModelError as refusal:
            self._refuse(refusal)

    def document_find(
        self, collection: str, field: str, value: bytes, after: str | None, limit: int
    ) -> list[tuple[str, bytes]]:
        return find(self._collection(collection), collection, field, value, after, limit)

    def _collection_to_write(self, name: str) -> Collection:
        collection = self._collection(name)
        if self.origin is None:
            raise ReadModelError("read-only", "a query reads documents and writes none")
        return collection

    def _collection(self, name: str) -> Collection:
        if self.world.role != "projection":
            raise RuntimeError(_host.NO_READ_MODEL)
        if self.world.unavailable:
            raise ReadModelError("unavailable", "the read model is unavailable: the harness says so")
        if name not in self.world.collections:
            raise ReadModelError(
                "no-collection",
                f"the collection `{name}` is not declared; `projections[].collections.{name}` in runtime.yaml would "
                "declare it",
            )
        return self.world.collections[name]

    # === Both =========================================================================================================

    def config_get(self, key: str) -> str | None:
        return self.world.config.get(key)

    def config_keys(self) -> list[str]:
        return sorted(self.world.config)

    def log(self, level: Level, message: str, fields: dict[str, str]) -> None:
        self.logs.append(LogLine(level, message, fields))

    def now(self) -> str:
        return self.world.now

    def stable_id(self, name: str) -> str:
        if self.origin is None:
            raise RuntimeError("a query has no event that a stable id could be made from")
        return str(uuid.uuid5(_STABLE_ID_NAMESPACE, "\0".join([*self.origin, name])))

    def time_left(self) -> int:
        """Time stands still in a harness."""
        return self.world.time_left

    def random(self, length: int) -> bytes:
        """The same bytes in every run of a test."""
        first, self._drawn = self._drawn, self._drawn + length
        return bytes(n * 167 % 256 for n in range(first + 1, self._drawn + 1))

    def _refuse(self, refusal: Any) -> NoReturn:
        if self.refused is None and refusal.code != "unavailable":
            self.refused = refusal
        raise refusal
