"""Reading JSON as a type, and saying precisely what does not fit.

For each type a reader is made once: a function that takes a value of `json.loads` and gives one of the type. In a component
that happens while it is built, so an event costs no look at annotations. Readers do not know where they are; a `Misfit`
collects its path on the way up, so what fits pays nothing for it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import abc
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

from tidemill._failure import Reject
from tidemill._json import JSON_NAME, loads
from tidemill._misfit import Misfit, unexpected
from tidemill._object import Member, object_reader

__all__ = ["Misfit", "Reader", "member", "object_reader", "read", "read_as", "reader"]

Reader = Callable[[Any], Any]


def read(data: bytes, shape: Any, what: str) -> Any:
    """Reads JSON as a type, or rejects what `what` names."""
    return read_as(reader(shape), data, what)


def read_as(reader: Reader, data: bytes, what: str) -> Any:
    """The same with a reader that is there already."""
    try:
        value = loads(data.decode())
    except ValueError as error:
        raise Reject(f"{what} is not JSON: {error}") from None
    try:
        return reader(value)
    except Misfit as misfit:
        raise Reject(f"{what} does not fit: {misfit}") from None


def reader(shape: Any) -> Reader:
    """The reader of a type.

    Raises:
        TypeError: The type cannot be read from JSON.
    """
    try:
        return _readers[shape]
    except KeyError:
        pass
    # A type that holds itself finds this in place of the reader that is not there yet.
    _readers[shape] = lambda value: _readers[shape](value)
    try:
        made = _readers[shape] = _make(shape)
    except BaseException:
        del _readers[shape]
        raise
    return made


# === What can be read =================================================================================================


def _make(shape: Any) -> Reader:
    plain = _PLAIN.get(shape) if isinstance(shape, abc.Hashable) else None
    if plain is not None:
        return plain
    origin, arguments = get_origin(shape), get_args(shape)
    if origin is Annotated:
        return reader(arguments[0])
    if origin is Union or origin is types.UnionType:
        return _union(arguments)
    if origin is Literal:
        return _choice("one of " + ", ".join(map(repr, arguments)), {(type(it), it): it for it in arguments})
    if isinstance(shape, NewType):
        return reader(shape.__supertype__)
    if hasattr(shape, "__value__"):  # `type Name = …` of Python 3.12
        return reader(shape.__value__)
    if origin in (list, abc.Sequence):
        return _list(reader(arguments[0]))
    if origin is tuple:
        return _tuple(arguments)
    if origin in (dict, abc.Mapping) and arguments[0] is str:
        return _dict(reader(arguments[1]))
    if isinstance(shape, type) and issubclass(shape, Enum):
        return _choice(
            "one of " + ", ".join(repr(it.value) for it in shape), {(type(it.value), it.value): it for it in shape}
        )
    if dataclasses.is_dataclass(shape) and isinstance(shape, type):
        return _dataclass(shape)
    raise TypeError(
        f"{_named(shape)} cannot be read from JSON; what can are dataclasses, `str`, `int`, `float`, `bool`, `None`, `Any`, "
        "`list`, `tuple`, `dict` with `str` keys, unions, `Literal`, enums, `datetime`, `date`, `UUID` and `Decimal`"
    )


def member(key: str, shape: Any, default: Callable[[], Any] | None) -> Member:
    """A member of an object. One that may be `None` need not be there."""
    read = reader(shape)
    if default is None and (shape is None or types.NoneType in (shape, *get_args(shape))):
        default = _none
    return Member(key, read, _KINDS.get(read), default)


def _dataclass(shape: type) -> Reader:
    hints = typing.get_type_hints(shape, include_extras=True)
    fields = [field for field in dataclasses.fields(shape) if field.init]
    try:
        members = [member(it.metadata.get(JSON_NAME, it.name), hints[it.name], _default(it)) for it in fields]
    except TypeError as error:
        raise TypeError(f"{_named(shape)}: {error}") from None
    return object_reader(shape.__name__, _caller(shape, fields), members)


def _caller(shape: type, fields: list[dataclasses.Field[Any]]) -> Callable[..., Any]:
    if not any(field.kw_only for field in fields):
        return shape
    names = [field.name for field in fields]
    return lambda *values: shape(**dict(zip(names, values, strict=True)))


def _default(field: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    if field.default is not dataclasses.MISSING:
        default = field.default
        return lambda: default
    return None


def _union(arms: tuple[Any, ...]) -> Reader:
    readers = [reader(arm) for arm in arms if arm is not types.NoneType]
    allows_none = len(readers) < len(arms)

    def read_optional(value: Any) -> Any:
        return None if value is None else readers[0](value)

    def read_any(value: Any) -> Any:
        if value is None and allows_none:
            return None
        for read in readers:
            try:
                return read(value)
            except Misfit:
                pass
        raise unexpected(" or ".join(_named(arm) for arm in arms), value)

    return read_optional if len(readers) == 1 else read_any


def _list(read_item: Reader) -> Reader:
    if read_item is _anything:
        return _array

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise unexpected("a list", value)
        items: list[Any] = []
        try:
            for item in value:
                items.append(read_item(item))
        except Misfit as misfit:
            raise misfit.under(len(items)) from None
        return items

    return read


def _tuple(arguments: tuple[Any, ...]) -> Reader:
    if len(arguments) == 2 and arguments[1] is ...:
        read_list = _list(reader(arguments[0]))
        return lambda value: tuple(read_list(value))
    readers = [reader(argument) for argument in arguments]

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise unexpected(f"a list of {len(readers)}", value)
        items: list[Any] = []
        try:
            for read_item, item in zip(readers, value, strict=True):
                items.append(read_item(item))
        except Misfit as misfit:
            raise misfit.under(len(items)) from None
        return tuple(items)

    return read


def _dict(read_item: Reader) -> Reader:
    if read_item is _anything:
        return _object

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise unexpected("an object", value)
        name = ""
        members = {}
        try:
            for name, item in value.items():
                members[name] = read_item(item)
        except Misfit as misfit:
            raise misfit.under(name) from None
        return members

    return read


def _choice(expected: str, choices: dict[tuple[type, Any], Any]) -> Reader:
    """One of some values. The type belongs to the value: `True` is not 1 here."""

    def read(value: Any) -> Any:
        try:
            return choices[type(value), value]
        except (KeyError, TypeError):
            raise unexpected(expected, value) from None

    return read


def _exactly(kind: type, expected: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise unexpected(expected, value)
        return value

    return read


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is not int:
        raise unexpected("a number", value)
    try:
        return float(value)
    except OverflowError:
        raise unexpected("a number that fits a float", value) from None


def _from_text(parse: Callable[[str], Any], expected: str) -> Reader:
    def read(value: Any) -> Any:
        try:
            if type(value) is str:
                return parse(value)
        except (ValueError, InvalidOperation):
            pass
        raise unexpected(expected, value)

    return read


def _anything(value: Any) -> Any:
    return value


def _none() -> None:
    return None


def _named(shape: Any) -> str:
    return f"`{shape.__qualname__ if isinstance(shape, type) and not get_args(shape) else shape}`"


_text = _exactly(str, "a text")
_integer = _exactly(int, "an integer")
_boolean = _exactly(bool, "true or false")
_object = _exactly(dict, "an object")
_array = _exactly(list, "a list")
_null = _exactly(types.NoneType, "null")

_PLAIN: dict[Any, Reader] = {
    Any: _anything,
    object: _anything,
    str: _text,
    int: _integer,
    float: _float,
    bool: _boolean,
    None: _null,
    types.NoneType: _null,
    list: _array,
    dict: _object,
    datetime: _from_text(datetime.fromisoformat, "a time as RFC 3339 writes it"),
    date: _from_text(date.fromisoformat, "a date as RFC 3339 writes it"),
    UUID: _from_text(UUID, "a UUID"),
    Decimal: _from_text(Decimal, "a decimal number as a text"),
}

# What these readers give back as it is, if it is of this type.
_KINDS: dict[Reader, type] = {
    _text: str,
    _integer: int,
    _float: float,
    _boolean: bool,
    _object: dict,
    _array: list,
}

_readers: dict[Any, Reader] = {}
