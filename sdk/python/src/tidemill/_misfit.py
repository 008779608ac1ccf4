"""A value that is not of the type that was expected, and where it is."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Misfit", "unexpected"]

# A longer value is cut where a misfit shows it.
_SHOWN = 40


class Misfit(Exception):
    """A value is not of the type that was expected."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str | int] = []

    def under(self, token: str | int) -> Misfit:
        """The same, seen from the object or list that holds the value under this name or index."""
        self.path.insert(0, token)
        return self

    def __str__(self) -> str:
        if not self.path:
            return self.problem
        pointer = "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in self.path)
        return f"`{pointer}`: {self.problem}"


def unexpected(expected: str, value: Any) -> Misfit:
    return Misfit(f"expected {expected}, found {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
