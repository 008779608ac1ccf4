"""Keyed state. Each plugin has a namespace of its own, shared by all its routes and instances.

A call sees its own writes; nobody else sees them before the call has succeeded and is committed, together with its
emits. If somebody else changes a key between this call's reading and its commit, the host runs the call again on the new
value. So read, compute, write is safe as it stands, and `update` needs no loop:

    seen = state.update("orders/seen", lambda seen: seen + 1, default=0)
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from tidemill import _data, _host
from tidemill._host import text
from tidemill._json import dumps, loads

__all__ = [
    "MAX_LIST",
    "StateError",
    "compare_and_set",
    "delete",
    "get",
    "get_json",
    "insert_json",
    "keys",
    "list",
    "put",
    "put_json",
    "update",
]

MAX_LIST = 1000
"""The most keys that one `list` gives."""

T = TypeVar("T")


class StateError(Exception):
    """Why a state function did not do what was asked."""

    def __init__(self, code: Literal["invalid-key", "limit", "unavailable", "unfit"], message: str) -> None:
        super().__init__(message)
        self.code = code
        """`invalid-key`: a key has 1 to 256 bytes and no control characters; `limit`: a limit is used up, the text names
        it; `unavailable`: the store cannot be reached, and the host runs the call again without counting an attempt,
        whatever becomes of it; `unfit`: the value under the key is not what the handler expects."""


def get(key: str) -> bytes | None:
    """A key's value, if it has one."""
    return _host.current.state_get(text(key, "a state key"))


def put(key: str, value: bytes | str) -> None:
    """Sets a key's value."""
    _host.current.state_put(text(key, "a state key"), _bytes(value))


def delete(key: str) -> None:
    """Removes a key. Removing what is not there is no error."""
    _host.current.state_delete(text(key, "a state key"))


def compare_and_set(key: str, expected: bytes | str | None, value: bytes | str | None) -> bool:
    """Sets (or, if `value` is `None`, removes) a key if its value is `expected` (`None`: the key is absent).

    Says whether it did.
    """
    return _host.current.state_compare_and_set(
        text(key, "a state key"),
        None if expected is None else _bytes(expected),
        None if value is None else _bytes(value),
    )


def list(prefix: str = "", after: str | None = None, limit: int = MAX_LIST) -> builtins.list[str]:
    """Up to `limit` (at most `MAX_LIST`) keys that begin with `prefix`, in byte order, after the key `after`."""
    after = None if after is None else text(after, "a state key")
    return _host.current.state_list(text(prefix, "a prefix"), after, max(0, min(int(limit), MAX_LIST)))


def keys(prefix: str = "") -> builtins.list[str]:
    """All keys that begin with `prefix`, in byte order."""
    found: builtins.list[str] = []
    while True:
        page = list(prefix, found[-1] if found else None)
        found += page
        if len(page) < MAX_LIST:
            return found


@overload
def get_json(key: str) -> Any: ...


@overload
def get_json(key: str, shape: type[T]) -> T | None: ...


@overload
def get_json(key: str, shape: type[T], default: T) -> T: ...


def get_json(key: str, shape: Any = Any, default: Any = None) -> Any:
    """A key's value, read as JSON of a type; `default` where the key is absent.

    balance = state.get_json("balance/acc-1", int, 0)
    """
    value = get(key)
    if value is None:
        return default
    try:
        return _data.reader(shape)(loads(value.decode()))
    except (ValueError, _data.Misfit) as error:
        raise StateError("unfit", f"the state's value of `{key}`: {error}") from None


def put_json(key: str, value: Any) -> None:
    """Sets a key's value, written as JSON."""
    put(key, dumps(value))


def insert_json(key: str, value: Any) -> bool:
    """Sets a key that has no value yet. Says whether it did; a key that has one keeps it."""
    return compare_and_set(key, None, dumps(value))


@overload
def update(key: str, change: Callable[[Any], T]) -> T: ...


@overload
def update(key: str, change: Callable[[T], T], shape: type[T], default: T) -> T: ...


@overload
def update(key: str, change: Callable[[T], T], *, default: T) -> T: ...


def update(key: str, change: Callable[[Any], Any], shape: Any = Any, default: Any = None) -> Any:
    """Reads a key as JSON, changes it and writes it back. Gives the new value.

    `change` is given the value under the key, or `default` where the key is absent.
    """
    changed = change(get_json(key, shape, default))
    put_json(key, changed)
    return changed


def _bytes(value: bytes | str) -> bytes:
    if type(value) is bytes:
        return value
    return value.encode() if isinstance(value, str) else bytes(memoryview(value))
