"""The inside of a component: exports and imports, between plain values and generated types.

`wit_world` and `componentize_py_types` exist only here. componentize-py generates them, imports the module that
`tidemill.build` writes, which calls `load`, and makes a snapshot of the interpreter. The snapshot is the component: every
instance begins where `load` ended.
"""

from __future__ import annotations

import gc
import importlib
import linecache
import re
import sys
from typing import Any, cast

from componentize_py_types import Err
from wit_world.imports import config, host, log, types

from tidemill import _host, _plugin
from tidemill._data import read_as
from tidemill._emit import EmitError
from tidemill._event import Context, Event
from tidemill._failure import Failure, Retry
from tidemill._host import Level
from tidemill._json import dumps
from tidemill._plugin import Consumer, Role
from tidemill._verdict import BEGIN, END, places, traceback_of, verdict
from tidemill.read_model import ReadModelError
from tidemill.state import StateError


class _Missing:
    """An interface that the component's world does not have."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self._why)


# What a plugin does not import it need not be granted, so a handler without state has a world without `state`.
try:
    from wit_world.imports import emit
except ImportError:
    emit = cast(Any, _Missing(_host.NO_EMIT))
try:
    from wit_world.imports import read_model
except ImportError:
    read_model = cast(Any, _Missing(_host.NO_READ_MODEL))
try:
    from wit_world.imports import state
except ImportError:
    state = cast(Any, _Missing(_host.NO_STATE))


# === Exports: componentize-py makes one of each that the world has ====================================================


class EventHandler:
    def handle(self, event: types.Event, context: types.Context) -> None:
        failure = _consume(event, context)
        if failure is not None:
            raise Err(_lowered(failure))


class EventProjection:
    def apply(self, event: types.Event, context: types.Context) -> None:
        failure = _consume(event, context)
        if failure is not None:
            raise Err(_lowered(failure))


class Queries:
    def query(self, name: str, params: bytes) -> bytes:
        _host.current = _component
        try:
            query = _plugin.queries.get(name)
            if query is None:
                raise _plugin.unknown(name)
            return dumps(query.answer(params))
        except (Exception, SystemExit) as error:
            failure = _failure_of(error)
        raise Err(_lowered(failure))


def _consume(event: types.Event, context: types.Context) -> Failure | None:
    _host.current = _component
    consumer = _consumer
    try:
        data: Any = event.data
        if consumer.read is not None:
            data = read_as(consumer.read, data, "the event's data")
        consumer.call(
            Event(
                event.id,
                event.source,
                event.kind,
                event.time,
                event.subject,
                event.datacontenttype,
                event.dataschema,
                {extension.name: extension.value for extension in event.extensions},
                data,
                event.data,
            ),
            Context(
                context.route,
                context.attempt,
                context.max_attempts,
                context.stream,
                context.sequence,
                context.time_limit,
            ),
        )
        return None
    except (Exception, SystemExit) as error:
        return _failure_of(error)


def _failure_of(error: BaseException) -> Failure:
    if isinstance(error, ImportError):
        error.add_note("modules are imported while the plugin is built: write the import at the top of a module")
    failure = verdict(error)
    if isinstance(error, MemoryError):
        # A trap: for that the host names the limit, and throws this instance away.
        raise MemoryError from None
    return failure


def _lowered(failure: Failure) -> types.Failure:
    reason = _host.shown(failure.reason)
    if isinstance(failure, Retry):
        return types.Failure_Retry(types.Retry(failure.after, reason))
    return types.Failure_Reject(reason)


# === Imports ==========================================================================================================


class _Component:
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
        attributes = _attributes(extensions)
        try:
            emit.emit(emit.Outgoing(to, kind, subject, datacontenttype, dataschema, attributes, data))
        except Err as error:
            raise EmitError(_code(error), error.value.value) from None

    def state_get(self, key: str) -> bytes | None:
        try:
            return state.get(key)
        except Err as error:
            raise _state_error(error) from None

    def state_put(self, key: str, value: bytes) -> None:
        try:
            state.put(key, value)
        except Err as error:
            raise _state_error(error) from None

    def state_delete(self, key: str) -> None:
        try:
            state.delete(key)
        except Err as error:
            raise _state_error(error) from None

    def state_compare_and_set(self, key: str, expected: bytes | None, value: bytes | None) -> bool:
        try:
            return state.compare_and_set(key, expected, value)
        except Err as error:
            raise _state_error(error) from None

    def state_list(self, prefix: str, after: str | None, limit: int) -> list[str]:
        try:
            return state.list(prefix, after, limit)
        except Err as error:
            raise _state_error(error) from None

    def document_get(self, collection: str, key: str) -> bytes | None:
        try:
            return read_model.get(collection, key)
        except Err as error:
            raise _read_model_error(error) from None

    def document_put(self, collection: str, key: str, body: bytes) -> None:
        try:
            read_model.put(collection, key, body)
        except Err as error:
            raise _read_model_error(error) from None

    def document_delete(self, collection: str, key: str) -> None:
        try:
            read_model.delete(collection, key)
        except Err as error:
            raise _read_model_error(error) from None

    def document_find(
        self, collection: str, field: str, value: bytes, after: str | None, limit: int
    ) -> list[tuple[str, bytes]]:
        try:
            found = read_model.find(collection, field, value, after, limit)
        except Err as error:
            raise _read_model_error(error) from None
        return [(document.key, document.body) for document in found]

    def config_get(self, key: str) -> str | None:
        return config.get(key)

    def config_keys(self) -> list[str]:
        return config.keys()

    def log(self, level: Level, message: str, fields: dict[str, str]) -> None:
        log.write(_LEVELS[level], message, _attributes(fields))

    def now(self) -> str:
        return host.now()

    def stable_id(self, name: str) -> str:
        return host.stable_id(name)

    def time_left(self) -> int:
        return host.time_left()

    def random(self, length: int) -> bytes:
        return host.random(length)


_component = _Component()

_LEVELS: dict[Level, log.Level] = {
    "trace": log.Level.TRACE,
    "debug": log.Level.DEBUG,
    "info": log.Level.INFO,
    "warn": log.Level.WARN,
    "error": log.Level.ERROR,
}


def _attributes(values: dict[str, str]) -> list[types.Attribute]:
    return [types.Attribute(name, value) for name, value in values.items()]


def _state_error(error: Err[Any]) -> StateError:
    return StateError(_code(error), error.value.value)


def _read_model_error(error: Err[Any]) -> ReadModelError:
    return ReadModelError(_code(error), error.value.value)


def _code(error: Err[Any]) -> Any:
    """`not-granted` for a generated `EmitError_NotGranted`."""
    case = type(error.value).__name__.partition("_")[2]
    return re.sub("(?<!^)(?=[A-Z])", "-", case).lower()


# === While it is built ================================================================================================

_consumer: Consumer


def load(module: str, role: Role, source: str) -> None:
    """Imports the author's module and prepares everything that an event then need not wait for.

    `source` is what the author calls the folder that the module lies in; here it is the first of the path, `/0`.
    """
    global _consumer
    # What an author prints belongs to the event that is handled, not to a later one that fills the buffer.
    cast(Any, sys.stdout).reconfigure(line_buffering=True)
    places["/0/"] = source + "/"
    try:
        importlib.import_module(module)
        _consumer = _plugin.only_consumer(module, role)
        _plugin.prepare()
    except Exception as error:
        print(BEGIN, *traceback_of(error), END, sep="\n", file=sys.stderr)
        raise
    # `datetime.strptime` imports it when it is called, which is too late.
    importlib.import_module("_strptime")
    _keep_sources()
    # Nothing of the snapshot ever becomes garbage. Without this the collector would look at all of it now and then, which
    # takes 10 ms and makes pages private to the instance that were shared by all.
    gc.collect()
    gc.freeze()


def _keep_sources() -> None:
    """Remembers the lines of all modules, for tracebacks: an instance has no files to read them from."""
    for known in list(sys.modules.values()):
        file = getattr(known, "__file__", None)
        if file and file.endswith(".py") and not file.startswith("/python/"):
            lines = linecache.getlines(file)
            # Without a time of change the cache does not look whether the file is still the same.
            linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
