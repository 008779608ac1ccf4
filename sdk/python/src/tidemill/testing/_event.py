"""Building the events of a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill._event import Event
from tidemill._json import dumps

__all__ = ["make_event"]


def make_event(
    kind: str,
    data: Any = b"",
    *,
    id: str = "event-1",
    source: str = "/test",
    time: str | None = "2026-01-01T00:00:00Z",
    subject: str | None = None,
    datacontenttype: str | None = "application/json",
    dataschema: str | None = None,
    extensions: Mapping[str, str] | None = None,
) -> Event[bytes]:
    """An event of a type. What is left out has a plausible value.

    `data` is written as JSON, dataclasses as objects; bytes are taken as they are, also if they are not JSON.
    """
    raw = data if isinstance(data, bytes) else dumps(data)
    return Event(
        id, source, kind, time, subject, datacontenttype, dataschema, dict(extensions or {}), data=raw, raw=raw
    )
