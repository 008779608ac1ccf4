"""Data is read as a type; what does not fit names the place and the problem."""

import json
import unittest
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NewType, Optional, Union
from uuid import UUID

from tidemill import Reject
from tidemill._data import read
from tidemill._json import dumps


@dataclass
class Address:
    country: str = field(metadata={"json": "a/b"})


@dataclass
class Item:
    price: float

    def __post_init__(self) -> None:
        if self.price < 0:
            raise ValueError("a price cannot be negative")


@dataclass
class Order:
    id: str
    items: list[Item]
    address: Address | None
    priority: int = 3
    tags: list[str] = field(default_factory=list)


@dataclass
class Tree:
    name: str
    children: "list[Tree]" = field(default_factory=list)


class Color(Enum):
    RED = "red"
    GREEN = 2


CustomerId = NewType("CustomerId", str)


class Reading(unittest.TestCase):
    def test_objects_become_dataclasses(self):
        data = b'{"id":"o-1","items":[{"price":1.5},{"price":2}],"address":{"a/b":"DE"},"unknown":1}'
        self.assertEqual(read(data, Order, "it"), Order("o-1", [Item(1.5), Item(2.0)], Address("DE")))
        self.assertIsInstance(read(data, Order, "it").items[1].price, float)

    def test_what_may_be_missing_is_none_or_its_default(self):
        order = read(b'{"id":"o-1","items":[]}', Order, "it")
        self.assertEqual((order.address, order.priority, order.tags), (None, 3, []))

    def test_a_misfit_names_the_place_and_the_problem(self):
        for data, expected in [
            ('{"id":"1"}', "missing field `items`"),
            ('{"id":7,"items":[]}', "`/id`: expected a text, found 7"),
            ('{"id":["x"],"items":[]}', "`/id`: expected a text, found a list"),
            ('{"id":"1","items":{}}', "`/items`: expected a list, found an object"),
            ('{"id":"1","items":[{"price":1.5},{"price":"2"}]}', '`/items/1/price`: expected a number, found "2"'),
            ('{"id":"1","items":[{"price":1},{"x":{}}]}', "`/items/1`: missing field `price`"),
            ('{"id":"1","items":[{"price":-1}]}', "`/items/0`: a price cannot be negative"),
            ('{"id":"1","items":[],"address":{"a/b":true}}', "`/address/a~1b`: expected a text, found true"),
            ('{"id":"1","items":[],"priority":1.0}', "`/priority`: expected an integer, found 1.0"),
            ('{"id":"1","items":[],"priority":true}', "`/priority`: expected an integer, found true"),
            ('{"id":"1","items":[],"priority":null}', "`/priority`: expected an integer, found null"),
            ("[]", "expected an object, found a list"),
        ]:
            with self.subTest(data):
                self.assert_rejected(data.encode(), Order, f"the event's data does not fit: {expected}")

    def test_what_is_no_json_is_rejected_too(self):
        for data, expected in [
            (b'{"id":', "Expecting value: line 1 column 7 (char 6)"),
            (b"", "Expecting value: line 1 column 1 (char 0)"),
            (b"{} {}", "Extra data: line 1 column 4 (char 3)"),
            (b"NaN", "NaN is no JSON"),
            (b"[" * 100_000, "lists and objects are nested too deeply"),
            (b'"\xff"', "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"),
        ]:
            with self.subTest(data[:10]):
                self.assert_rejected(data, Any, f"the event's data is not JSON: {expected}")

    def test_blanks_around_json_are_allowed(self):
        self.assertEqual(read(b" \n [1] \r\n", list[int], "it"), [1])

    def test_many_types_can_be_read(self):
        moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        for shape, data, expected in [
            (Any, '{"a":[null]}', {"a": [None]}),
            (object, "1", 1),
            (None, "null", None),
            (bool, "false", False),
            (float, "2", 2.0),
            (list, "[1]", [1]),
            (list[Any], "[1]", [1]),
            (Sequence[int], "[1]", [1]),
            (tuple[str, int], '["a",1]', ("a", 1)),
            (tuple[int, ...], "[1,2,3]", (1, 2, 3)),
            (dict, '{"a":1}', {"a": 1}),
            (dict[str, Any], '{"a":1}', {"a": 1}),
            (Mapping[str, Item], '{"a":{"price":1}}', {"a": Item(1.0)}),
            (Optional[int], "null", None),
            (Union[int, str], '"a"', "a"),
            (int | list[int] | None, "[1]", [1]),
            (Literal["a", 1], "1", 1),
            (Annotated[int, "cents"], "1", 1),
            (CustomerId, '"c-1"', "c-1"),
            (Color, '"red"', Color.RED),
            (Color, "2", Color.GREEN),
            (Tree, '{"name":"a","children":[{"name":"b"}]}', Tree("a", [Tree("b")])),
            (datetime, '"2026-01-02T03:04:05Z"', moment),
            (date, '"2026-01-02"', date(2026, 1, 2)),
            (UUID, '"6f0c1b6e-52d4-4d0f-9a3b-7e15c0d284a1"', UUID("6f0c1b6e-52d4-4d0f-9a3b-7e15c0d284a1")),
            (Decimal, '"12.50"', Decimal("12.50")),
        ]:
            with self.subTest(shape):
                found = read(data.encode(), shape, "it")
                self.assertEqual((found, type(found)), (expected, type(expected)))

    def test_many_types_say_what_they_expect(self):
        for shape, data, expected in [
            (bool, "0", "expected true or false, found 0"),
            (None, "0", "expected null, found 0"),
            (float, "true", "expected a number, found true"),
            (float, "1" + "0" * 400, "expected a number that fits a float, found 1" + "0" * 39 + "…"),
            (dict[str, int], '{"a/~":"x"}', '`/a~1~0`: expected an integer, found "x"'),
            (tuple[int, int], "[1]", "expected a list of 2, found a list"),
            (tuple[int, ...], '[1,"2"]', '`/1`: expected an integer, found "2"'),
            (int | Item, '"x"', 'expected `int` or `Item`, found "x"'),
            (Literal["a", 1], "true", "expected one of 'a', 1, found true"),
            (Literal["a"], "[]", "expected one of 'a', found a list"),
            (Color, '"blue"', "expected one of 'red', 2, found \"blue\""),
            (datetime, '"soon"', 'expected a time as RFC 3339 writes it, found "soon"'),
            (Decimal, '"1,5"', 'expected a decimal number as a text, found "1,5"'),
            (int, json.dumps("ß" * 50), 'expected an integer, found "' + "ß" * 39 + "…"),
        ]:
            with self.subTest(shape):
                self.assert_rejected(data.encode(), shape, f"the event's data does not fit: {expected}")

    def test_a_type_that_cannot_be_read_is_the_authors_mistake(self):
        @dataclass
        class Odd:
            many: set[str]

        for _ in range(2):
            with self.assertRaisesRegex(
                TypeError, r"Odd`: `set\[str\]` cannot be read from JSON; what can are dataclasses"
            ):
                read(b"{}", Odd, "it")

    def assert_rejected(self, data: bytes, shape: Any, reason: str) -> None:
        with self.assertRaises(Reject) as caught:
            read(data, shape, "the event's data")
        self.assertEqual(caught.exception.reason, reason)


class Writing(unittest.TestCase):
    def test_values_are_written_as_they_are_read(self):
        for value in [
            Order("o-1", [Item(1.5)], Address("DE"), tags=["ä"]),
            Tree("a", [Tree("b")]),
            Color.RED,
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            date(2026, 1, 2),
            UUID("6f0c1b6e-52d4-4d0f-9a3b-7e15c0d284a1"),
            Decimal("12.50"),
        ]:
            with self.subTest(value):
                self.assertEqual(read(dumps(value), type(value), "it"), value)

    def test_json_is_short(self):
        self.assertEqual(dumps({"a": ["ä", None, 1.5]}), '{"a":["ä",null,1.5]}'.encode())

    def test_what_has_no_form_in_json_is_an_error(self):
        knot: list[Any] = []
        knot.append(knot)
        for value, error in [
            (object(), TypeError),
            (float("inf"), ValueError),
            ("\ud800", ValueError),
            (knot, ValueError),
        ]:
            with self.subTest(type(value)), self.assertRaises(error):
                dumps(value)


if __name__ == "__main__":
    unittest.main()
