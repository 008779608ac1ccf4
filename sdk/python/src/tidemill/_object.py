"""The reader of an object, which most data is made of.

It is written as source and compiled, as `dataclasses` does with `__init__`: a loop over the members would take twice as long,
and that is time of each event. For a dataclass with the fields `sku: str` and `price: float = 0.0` it reads

    def read_object(value):
        if type(value) is not dict:
            raise unexpected("an object", value)
        try:
            member0 = value['sku']
        except KeyError as error:
            raise missing(error) from None
        member1 = value.get('price', absent)
        if type(member0) is not str:
            member0 = read0(member0)
        if member1 is absent:
            member1 = default1()
        elif type(member1) is not float:
            member1 = read1(member1)
        try:
            return make(member0, member1)
        except ValueError as error:
            raise Misfit(str(error)) from None
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tidemill._misfit import Misfit, unexpected

__all__ = ["Member", "object_reader"]


@dataclass(frozen=True)
class Member:
    """A member of an object."""

    key: str

    read: Callable[[Any], Any]

    kind: type | None
    """What `read` gives back as it is, if it gives anything back as it is: then it need not be called."""

    default: Callable[[], Any] | None
    """What makes the value where the member is absent. Where nothing does, the member must be there."""


def object_reader(name: str, make: Callable[..., Any], members: list[Member]) -> Callable[[Any], Any]:
    """A function that takes an object and calls `make` with its members' values."""
    known: dict[str, Any] = {
        "Misfit": Misfit,
        "absent": object(),
        "make": make,
        "missing": _missing,
        "unexpected": unexpected,
    }
    for index, member in enumerate(members):
        known |= {f"read{index}": _placed(member), f"kind{index}": member.kind, f"default{index}": member.default}
    exec(compile(_source(members), f"<the reader of {name}>", "exec"), known)
    read: Callable[[Any], Any] = known["read_object"]
    return read


def _source(members: list[Member]) -> str:
    lines = [
        "def read_object(value):",
        "    if type(value) is not dict:",
        "        raise unexpected('an object', value)",
    ]
    required = [index for index, member in enumerate(members) if member.default is None]
    if required:
        lines += ["    try:"]
        lines += [f"        member{index} = value[{members[index].key!r}]" for index in required]
        lines += ["    except KeyError as error:", "        raise missing(error) from None"]
    for index, member in enumerate(members):
        if member.default is not None:
            lines += [f"    member{index} = value.get({member.key!r}, absent)"]
    for index, member in enumerate(members):
        condition = "if"
        if member.default is not None:
            lines += [f"    if member{index} is absent:", f"        member{index} = default{index}()"]
            condition = "elif"
        test = f"type(member{index}) is not kind{index}" if member.kind else "True"
        lines += [f"    {condition} {test}:", f"        member{index} = read{index}(member{index})"]
    values = ", ".join(f"member{index}" for index in range(len(members)))
    lines += [
        "    try:",
        f"        return make({values})",
        # What a dataclass's `__post_init__` has against it.
        "    except ValueError as error:",
        "        raise Misfit(str(error)) from None",
    ]
    return "\n".join(lines)


def _placed(member: Member) -> Callable[[Any], Any]:
    """A member's reader, which knows where it is."""
    read, key = member.read, member.key

    def read_member(value: Any) -> Any:
        try:
            return read(value)
        except Misfit as misfit:
            raise misfit.under(key) from None

    return read_member


def _missing(error: KeyError) -> Misfit:
    return Misfit(f"missing field `{error.args[0]}`")
