"""The host's rules about what a plugin hands over."""

from __future__ import annotations

import re

from tidemill._emit import EmitError
from tidemill.read_model import ReadModelError
from tidemill.state import StateError
from tidemill.testing._run import Emitted

__all__ = ["check_document_key", "check_emit", "check_state_key", "check_state_value"]

# The longest key, and the largest state value that a default host accepts.
_MAX_KEY_BYTES = 256
_MAX_VALUE_BYTES = 512 * 1024

_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


def check_emit(emitted: Emitted, grants: list[str] | None) -> None:
    """Refuses what the host would."""
    to = emitted.to
    if any(not token or re.search(r"[*>\s]", token) for token in to.split(".")):
        raise EmitError("invalid", f"`{to}` is not a subject")
    if not emitted.kind or len(emitted.kind.encode()) > 255 or _CONTROL.search(emitted.kind):
        raise EmitError(
            "invalid", f"an event needs a type of 1 to 255 printable characters, found `{emitted.kind[:64]}`"
        )
    for name in ("subject", "datacontenttype", "dataschema"):
        value = getattr(emitted, name)
        if value is not None and not (1 <= len(value.encode()) <= 1024 and not _CONTROL.search(value)):
            raise EmitError(
                "invalid",
                f"attribute `{name}` is refused: it must have 1 to 1024 bytes and no control characters, or be left out",
            )
    for name in emitted.extensions:
        if not re.fullmatch("[a-z0-9]+", name):
            raise EmitError(
                "invalid", f"the extension attribute `{name}` is refused: its name must be made of `a-z` and `0-9`"
            )
    if to.startswith(("$", "_INBOX", "_R_", "tidemill")):
        raise EmitError("not-granted", f"`{to}` belongs to the server and the host")
    if grants is not None and not any(_admits(pattern, to) for pattern in grants):
        raise EmitError(
            "not-granted",
            f'emitting to `{to}` is not granted; the route\'s `emits: ["{to}"]` in runtime.yaml would allow it',
        )


def check_state_key(key: str) -> None:
    problem = _key_problem(key, "a state key")
    if problem:
        raise StateError("invalid-key", problem)


def check_state_value(value: bytes) -> None:
    if len(value) > _MAX_VALUE_BYTES:
        raise StateError("limit", f"the limit `state_value` of {_MAX_VALUE_BYTES} is used up")


def check_document_key(key: str) -> None:
    problem = _key_problem(key, "a document's key")
    if problem:
        raise ReadModelError("invalid", problem)


def _key_problem(key: str, what: str) -> str | None:
    if 1 <= len(key.encode()) <= _MAX_KEY_BYTES and not _CONTROL.search(key):
        return None
    return f"`{key!r}` is not {what}: expected 1 to {_MAX_KEY_BYTES} bytes without control characters"


def _admits(pattern: str, subject: str) -> bool:
    """Whether a NATS subject pattern admits a subject."""
    wanted, found = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(found) <= len(wanted):
            return False
        found = found[: len(wanted)]
    return len(wanted) == len(found) and all(want in ("*", token) for want, token in zip(wanted, found, strict=True))
