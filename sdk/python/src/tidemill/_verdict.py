"""What becomes of an exception that leaves the author's code."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

from tidemill import log
from tidemill._failure import Failure, Retry

__all__ = ["BEGIN", "END", "places", "pretty", "traceback_of", "verdict"]

BEGIN, END = "--- what the module says", "--- that was it"
"""Around what is told about a module that cannot be a plugin, in everything else that a failed build prints."""

places: dict[str, str] = {}
"""How folders are called where they are seen by people, if that is not how the interpreter calls them."""

_OURS = os.path.dirname(__file__) + os.sep


def verdict(error: BaseException) -> Failure:
    """The failure that an exception stands for.

    Whoever knows that trying again is useless says so by `reject`. Everything else means retry; that is a mistake or a surprise,
    so the log is told where it happened.
    """
    if isinstance(error, Failure):
        return error
    for line in traceback_of(error):
        log.error(line)
    text = str(error)
    return Retry(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def traceback_of(error: BaseException) -> list[str]:
    """The lines of a traceback, from where the author's code begins; only the error itself where that was never reached."""
    told = traceback.TracebackException(type(error), error, _below_ours(error.__traceback__))
    text = "".join(told.format() if told.stack else told.format_exception_only())
    for place, shown in places.items():
        text = text.replace(f'File "{place}', f'File "{shown}')
    return text.splitlines()


def pretty(file: str) -> str:
    """A file as people call it."""
    for place, shown in places.items():
        if file.startswith(place):
            return shown + file.removeprefix(place)
    return file


def _below_ours(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_ours(file: str) -> bool:
    """Whether a frame is the SDK's, or the standard library's between it and the author's code."""
    return file.startswith((_OURS, "<frozen ", "/python/"))
