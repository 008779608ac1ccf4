"""The frame of a plugin: the functions that an author marks, and how they are called.

    @handler
    def handle(event: Event[Order], context: Context) -> None: ...

A marked function stays the function that it was. What its annotations say is looked up once, when the plugin is built or
first called, and not for each event.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args, get_origin

from tidemill import _data
from tidemill._event import Context, Event
from tidemill._failure import Reject
from tidemill._verdict import pretty

__all__ = [
    "Consumer",
    "Query",
    "Role",
    "consumer_of",
    "consumers",
    "handler",
    "only_consumer",
    "prepare",
    "projection",
    "queries",
    "query",
    "query_of",
    "unknown",
]

Role = Literal["handler", "projection"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

# Where the marks are kept.
_MARK = "__tidemill__"

consumers: list[Consumer] = []
"""What has been marked as a handler or a projection, in all modules that were imported."""

queries: dict[str, Query] = {}
"""What has been marked as a query, by name."""


def handler(function: F) -> F:
    """Marks the function that handles events. A plugin has one.

    It is given the event, and the context if it has a second parameter, and returns nothing:

        @handler
        def welcome(event: Event[Customer], context: Context) -> None: ...

    When it returns, the emits and state writes of this call become durable together with the fact that the event is done, all
    of them or none. When it raises, and after a timeout, none of them happens. The same event may be given again, after a
    failure or a crash; effects of an earlier successful call are not doubled.

    `reject` dead-letters the event at once, `retry` tries it again. Any other exception means retry; its traceback is logged.

    Raises:
        TypeError: The function cannot handle events; the text says why.
    """
    return _mark("handler", function)


def projection(function: F) -> F:
    """Marks the function that folds events into the documents of `read_model`. A plugin has one.

        @projection
        def fold(event: Event[Order], context: Context) -> None: ...

    Events come one by one, in the order of their stream; between streams there is no order. What is written becomes durable
    together with the projection's position, so each event is folded exactly once. When it raises, and after a timeout, this
    event's writes are undone, and no others.

    A rebuild folds all events again, into empty collections: nothing but the event and the documents should decide what comes
    of it, neither the time nor chance.

    Raises:
        TypeError: The function cannot fold events; the text says why.
    """
    return _mark("projection", function)


def query(function: F) -> F:
    """Marks a function that answers a question which the host's query API cannot answer, because it needs more than one document.

    The question is called as the function is. The parameters are members of a JSON object, read as their annotations say; what
    is returned is written as JSON:

        @query
        def spent(customer: str) -> float:
            return sum(order.body["total"] for order in read_model.find("orders", "customer", customer))

    It reads the read model as far as it has been folded; events may be folded between two reads. Writing is refused. What it
    raises is told to whoever asked; nothing is tried again.

    Raises:
        TypeError: The function cannot answer questions; the text says why.
    """
    name = function.__name__
    known = queries.get(name)
    if known is not None and known.function.__module__ != function.__module__:
        raise TypeError(f"there are two queries `{name}`: {_place(known.function)} and {_place(function)}")
    marked = queries[name] = Query(function)
    setattr(function, _MARK, marked)
    return function


@dataclass
class Consumer:
    """A function that is given events."""

    role: Role
    function: Callable[..., Any]
    takes_context: bool = field(init=False)

    def __post_init__(self) -> None:
        _check_plain(self.function)
        parameters = list(inspect.signature(self.function).parameters.values())
        if len(parameters) not in (1, 2) or any(it.kind is not it.POSITIONAL_OR_KEYWORD for it in parameters):
            name = self.function.__name__
            raise TypeError(
                f"a {self.role} has the parameters `event` and, if it wants, `context`: "
                f"`def {name}(event: Event, context: Context) -> None`, not `def {name}{inspect.signature(self.function)}`"
            )
        self.takes_context = len(parameters) == 2

    @cached_property
    def read(self) -> _data.Reader | None:
        """The reader of the event's data; none where it stays bytes."""
        parameter = next(iter(inspect.signature(self.function).parameters))
        shape = _hints(self.function).get(parameter, Event)
        if shape is Event or get_args(shape) == (bytes,):
            return None
        if get_origin(shape) is not Event:
            raise TypeError(
                f"{_place(self.function)}: the first parameter of a {self.role} is an event: `{parameter}: Event[Order]`, "
                f"where Order is what its data is; not `{parameter}: {getattr(shape, '__name__', shape)}`"
            )
        return _reading(self.function, lambda: _data.reader(get_args(shape)[0]))

    def call(self, event: Event[Any], context: Context) -> None:
        """Calls the function with an event whose data has been read."""
        returned = self.function(event, context) if self.takes_context else self.function(event)
        if returned is not None:
            raise TypeError(
                f"a {self.role} returns nothing, but `{self.function.__name__}` returned {returned!r}; what fails is raised"
            )


@dataclass
class Query:
    """A function that answers a question."""

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        _check_plain(self.function)
        for parameter in inspect.signature(self.function).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(
                    f"a query's parameters are named, but `{self.function.__name__}` has `{parameter}`: "
                    "each of them is a member of the JSON object that comes with the question"
                )

    @cached_property
    def read(self) -> _data.Reader:
        """The reader of the parameters' object, which gives them by their names."""
        hints = _hints(self.function)
        parameters = list(inspect.signature(self.function).parameters.values())
        names = [parameter.name for parameter in parameters]
        make = lambda *values: dict(zip(names, values, strict=True))  # noqa: E731
        members = _reading(
            self.function, lambda: [_data.member(it.name, hints.get(it.name, Any), _default(it)) for it in parameters]
        )
        return _data.object_reader(self.function.__name__, make, members)

    def answer(self, params: bytes) -> Any:
        """Calls the function with the parameters of a question."""
        return self.function(**_data.read_as(self.read, params, "the query's parameter object"))


def consumer_of(function: Callable[..., Any], role: Role) -> Consumer:
    """What a function was marked as, if it is of this role."""
    mark = getattr(function, _MARK, None)
    if isinstance(mark, Consumer) and mark.role == role:
        return mark
    raise TypeError(f"`{function.__name__}` is not marked with `@{role}`")


def query_of(function: Callable[..., Any]) -> Query:
    """The query that a function was marked as."""
    mark = getattr(function, _MARK, None)
    if isinstance(mark, Query):
        return mark
    raise TypeError(f"`{function.__name__}` is not marked with `@query`")


def only_consumer(module: str, role: Role) -> Consumer:
    """The one function that the plugin is called by."""
    found = [it for it in consumers if it.role == role]
    if len(found) == 1 and len(consumers) == 1:
        return found[0]
    if consumers:
        marked = ", ".join(f"the {it.role} `{it.function.__name__}` ({_place(it.function)})" for it in consumers)
        raise TypeError(
            f"a plugin of this kind has one {role} and nothing else that is given events, but there is {marked}"
        )
    raise TypeError(f"the module `{module}` has no {role}: write `@{role}` above the function that is given the events")


def prepare() -> None:
    """Makes all readers, and so finds types that cannot be read, before there is an event."""
    for consumer in consumers:
        consumer.read  # noqa: B018
    for query in queries.values():
        query.read  # noqa: B018


def unknown(name: str) -> Reject:
    """That there is no query of this name."""
    return Reject(f"there is no query `{name}`")


def _mark(role: Role, function: F) -> F:
    consumer = Consumer(role, function)
    setattr(function, _MARK, consumer)
    consumers.append(consumer)
    return function


def _check_plain(function: Callable[..., Any]) -> None:
    """A coroutine or a generator that is never run would be an event that is never handled."""
    if not inspect.isfunction(function):
        raise TypeError(f"a function is expected, not {function!r}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{_place(function)}: `{function.__name__}` is `async`, but a plugin is called without an event loop"
        )
    if inspect.isgeneratorfunction(function):
        raise TypeError(
            f"{_place(function)}: `{function.__name__}` is a generator, because it has a `yield`; a plain function is expected"
        )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{_place(function)}: an annotation of `{function.__name__}` cannot be understood: {error}"
        ) from None


def _default(parameter: inspect.Parameter) -> Callable[[], Any] | None:
    return None if parameter.default is parameter.empty else lambda: parameter.default


def _reading(function: Callable[..., Any], make: Callable[[], T]) -> T:
    try:
        return make()
    except TypeError as error:
        raise TypeError(f"{_place(function)}: `{function.__name__}`: {error}") from None


def _place(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{pretty(code.co_filename)}:{code.co_firstlineno}"
