"""The documents of a projection: collections of JSON objects, found by key or by an indexed field.

Collections and their indexes are declared in `runtime.yaml`, under the projection. An event sees its own writes and those of
all events before it. A refused write fails the event, even if the projection ignores it; a refused read is its own to judge.
Keys have 1 to 256 bytes and no control characters.

    @dataclass
    class Customer:
        name: str
        orders: int

    customer = read_model.get("customers", id, Customer)
    if customer:
        customer.orders += 1
        read_model.put("customers", id, customer)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

from tidemill import _data, _host
from tidemill._host import text
from tidemill._json import dumps, loads

__all__ = ["Document", "ReadModelError", "delete", "find", "get", "put", "update"]

# How many documents `find` asks the host for at once.
_PAGE = 100

T = TypeVar("T")


class ReadModelError(Exception):
    """Why a document function did not do what was asked."""

    def __init__(
        self,
        code: Literal["no-collection", "no-index", "invalid", "read-only", "limit", "unavailable", "unfit"],
        message: str,
    ) -> None:
        super().__init__(message)
        self.code = code
        """`no-collection`, `no-index`: not declared, the text names the line that would; `invalid`: the document is no JSON
        object, or a key, a field or a value breaks a rule; `read-only`: queries read and do not write; `limit`: a limit is
        used up, the text names it; `unavailable`: the store cannot be reached, and the host folds the event again without
        counting an attempt, whatever becomes of it; `unfit`: the document is not what the projection expects."""


@dataclass(frozen=True)
class Document(Generic[T]):
    """A document that was found."""

    key: str
    body: T


@overload
def get(collection: str, key: str) -> Any: ...


@overload
def get(collection: str, key: str, shape: type[T]) -> T | None: ...


@overload
def get(collection: str, key: str, shape: type[T], default: T) -> T: ...


def get(collection: str, key: str, shape: Any = Any, default: Any = None) -> Any:
    """A document, read as a type; `default` where there is none under the key."""
    body = _host.current.document_get(text(collection, "a collection"), text(key, "a document's key"))
    return default if body is None else _read(shape, collection, key, body)


def put(collection: str, key: str, document: Any) -> None:
    """Sets a document. It must be written as a JSON object: a `dict`, or a dataclass."""
    _host.current.document_put(text(collection, "a collection"), text(key, "a document's key"), dumps(document))


def delete(collection: str, key: str) -> None:
    """Removes a document. Removing what is not there is no error."""
    _host.current.document_delete(text(collection, "a collection"), text(key, "a document's key"))


@overload
def update(collection: str, key: str, change: Callable[[Any], T]) -> T: ...


@overload
def update(collection: str, key: str, change: Callable[[T], T], shape: type[T], default: T) -> T: ...


@overload
def update(collection: str, key: str, change: Callable[[T], T], *, default: T) -> T: ...


def update(collection: str, key: str, change: Callable[[Any], Any], shape: Any = Any, default: Any = None) -> Any:
    """Reads a document, changes it and writes it back. Gives the new one.

    `change` is given the document under the key, or `default` where there is none.
    """
    changed = change(get(collection, key, shape, default))
    put(collection, key, changed)
    return changed


@overload
def find(collection: str, field: str, value: Any) -> Iterator[Document[Any]]: ...


@overload
def find(collection: str, field: str, value: Any, shape: type[T]) -> Iterator[Document[T]]: ...


def find(collection: str, field: str, value: Any, shape: Any = Any) -> Iterator[Document[Any]]:
    """All documents whose indexed `field` (`status`, `address.city`) equals `value`, in the order of their keys.

    They are fetched a page at a time, so an early end costs nothing.

        for order in read_model.find("orders", "status", "pending"):
            log.info(f"{order.key} is pending")
    """
    text(collection, "a collection")
    text(field, "a field")
    wanted = dumps(value)
    last = None
    while True:
        page = _host.current.document_find(collection, field, wanted, last, _PAGE)
        for key, body in page:
            yield Document(key, _read(shape, collection, key, body))
        if len(page) < _PAGE:
            return
        last = page[-1][0]


def _read(shape: Any, collection: str, key: str, body: bytes) -> Any:
    try:
        return _data.reader(shape)(loads(body.decode()))
    except (ValueError, _data.Misfit) as error:
        raise ReadModelError("unfit", f"the document `{key}` of the collection `{collection}`: {error}") from None
