"""The seam: everything that crosses the border between a plugin and its host passes through `current`.

There are three of them. Inside a component it is what componentize-py generates (`_component`), in a test the harness's
stand-in (`testing`). Where there is no call, which is while modules are imported, it is one that says so: a component is
a snapshot of the interpreter after its imports, and while it is made there is nobody to ask. So the code between the
author's handler and this module is the same in a test and in production.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

__all__ = ["NO_EMIT", "NO_READ_MODEL", "NO_STATE", "Host", "Level", "current", "no_call", "shown", "text"]

NO_EMIT = "a projection emits nothing; the host refuses one that would"
NO_STATE = (
    "this plugin has no state: a projection has only documents, and a handler's build found no module that imports "
    "`tidemill.state`"
)
NO_READ_MODEL = "only a projection has a read model; the host refuses a handler that uses it"

Level = Literal["trace", "debug", "info", "warn", "error"]


class Host(Protocol):
    """What a plugin may ask for. Texts and bytes are of exactly these types: what generated code cannot convert is a trap."""

    def emit(
        self,
        to: str,
        kind: str,
        subject: str | None,
        datacontenttype: str | None,
        dataschema: str | None,
        extensions: dict[str, str],
        data: bytes,
    ) -> None: ...
    def state_get(self, key: str) -> bytes | None: ...
    def state_put(self, key: str, value: bytes) -> None: ...
    def state_delete(self, key: str) -> None: ...
    def state_compare_and_set(self, key: str, expected: bytes | None, value: bytes | None) -> bool: ...
    def state_list(self, prefix: str, after: str | None, limit: int) -> list[str]: ...
    def document_get(self, collection: str, key: str) -> bytes | None: ...
    def document_put(self, collection: str, key: str, body: bytes) -> None: ...
    def document_delete(self, collection: str, key: str) -> None: ...
    def document_find(
        self, collection: str, field: str, value: bytes, after: str | None, limit: int
    ) -> list[tuple[str, bytes]]: ...
    def config_get(self, key: str) -> str | None: ...
    def config_keys(self) -> list[str]: ...
    def log(self, level: Level, message: str, fields: dict[str, str]) -> None: ...
    def now(self) -> str: ...
    def stable_id(self, name: str) -> str: ...
    def time_left(self) -> int: ...
    def random(self, length: int) -> bytes: ...


class NoCall:
    """The host outside of a call."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "the host can be asked only while an event is handled, not while modules are imported: what a plugin's build "
            "computes is the same for all events. Move this into the handler; in a test, into a harness of `tidemill.testing`"
        )


no_call: Any = NoCall()

current: Host = no_call


def shown(value: object) -> str:
    """A text that can cross the border, whatever is in it: a line about what is broken must not break."""
    text = str(value)
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def text(value: str, what: str) -> str:
    """The value, if it is a text that can cross the border.

    Raises:
        TypeError: It is no text.
        UnicodeEncodeError: It holds half a surrogate pair.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is a text, not {type(value).__name__}")
    # Most are ASCII, which the interpreter knows without a look at them.
    if not value.isascii():
        value.encode()
    return value
