"""The read model of a test: collections in a dict, with the host's rules about them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tidemill._json import dumps, loads
from tidemill.read_model import ReadModelError
from tidemill.testing._rules import check_document_key

__all__ = ["Collection", "find", "write"]

# The largest document that a default host accepts, and the longest text that it indexes.
_MAX_DOCUMENT_BYTES = 512 * 1024
_MAX_INDEXED_BYTES = 512


@dataclass
class Collection:
    """The fields that a collection is indexed by, and its documents by key."""

    indexes: list[str] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)


def write(collection: Collection, name: str, key: str, body: bytes) -> None:
    """Sets a document, if the host would."""
    check_document_key(key)
    if len(body) > _MAX_DOCUMENT_BYTES:
        raise ReadModelError("limit", f"the limit `document` of {_MAX_DOCUMENT_BYTES} is used up")
    document = loads(body.decode())
    if not isinstance(document, dict):
        raise _refused(name, f"expected a JSON object, found {body.decode()}")
    for indexed in collection.indexes:
        value = _at(document, indexed)
        length = len(value.encode()) if isinstance(value, str) else 0
        if length > _MAX_INDEXED_BYTES:
            raise _refused(
                name,
                f"its indexed field `{indexed}` holds a text of {length} bytes, at most {_MAX_INDEXED_BYTES} can be indexed",
            )
    collection.documents[key] = dumps(document)


def find(
    collection: Collection, name: str, indexed: str, value: bytes, after: str | None, limit: int
) -> list[tuple[str, bytes]]:
    """The documents whose indexed field has a value, in the order of their keys."""
    if indexed not in collection.indexes:
        raise ReadModelError(
            "no-index",
            f"the field `{indexed}` of the collection `{name}` is not indexed; "
            f"`projections[].collections.{name}.indexes: [{indexed}]` in runtime.yaml would index it",
        )
    wanted = _indexed(json.loads(value))
    found = []
    for key in sorted(collection.documents):
        if after is None or key > after:
            body = collection.documents[key]
            at = _at(json.loads(body), indexed)
            if at is not _ABSENT and _indexed(at) == wanted:
                found.append((key, body))
    return found[:limit]


_ABSENT: Any = object()


def _at(document: Any, path: str) -> Any:
    """The value at a path like `address.city`."""
    for name in path.split("."):
        if not isinstance(document, dict) or name not in document:
            return _ABSENT
        document = document[name]
    return document


def _indexed(value: Any) -> Any:
    """What an index makes of a value: numbers are 64-bit floats, and all lists and objects are alike."""
    if isinstance(value, bool) or value is None:
        return ("constant", value)
    if isinstance(value, (int, float)):
        return ("number", float(value))
    if isinstance(value, str):
        return ("text", value)
    return ("compound",)


def _refused(collection: str, why: str) -> ReadModelError:
    return ReadModelError("invalid", f"a document of the collection `{collection}` is refused: {why}")
