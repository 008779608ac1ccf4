"""What is marked is checked at once: a mistake is told where it stands, and not at the first event."""

import unittest
from dataclasses import dataclass
from typing import Any

from tidemill import Context, Event, _plugin, handler, projection, query
from tidemill._plugin import consumer_of, query_of
from tidemill.testing import Harness, ProjectionHarness, make_event


@dataclass
class Order:
    id: str


class Marks(unittest.TestCase):
    def test_a_marked_function_stays_the_function_that_it_was(self):
        def check(event: Event[Order], context: Context) -> None: ...

        self.assertIs(handler(check), check)

    def test_annotations_may_be_texts_and_the_context_left_out(self):
        for annotation, data in [
            ("Event[Order]", Order("o-1")),
            ("Event", b'{"id":"o-1"}'),
            ("Event[bytes]", b'{"id":"o-1"}'),
        ]:
            seen: list[Any] = []

            def check(event):
                seen.append(event.data)

            check.__annotations__ = {"event": annotation}
            with self.subTest(annotation):
                Harness(handler(check)).handle(make_event("OrderCreated", Order("o-1"))).assert_done()
                self.assertEqual(seen, [data])

    def test_functions_that_cannot_handle_events_are_refused(self):
        async def waits(event: Event) -> None: ...

        def yields(event: Event) -> Any:
            yield

        def takes_nothing() -> None: ...

        def takes_more(event: Event, context: Context, more: Any) -> None: ...

        def takes_any(*events: Event) -> None: ...

        for function, part in [
            (waits, r"test_marks.py:\d+: `waits` is `async`, but a plugin is called without an event loop"),
            (yields, "`yields` is a generator"),
            (takes_nothing, r"not `def takes_nothing\(\) -> None`"),
            (takes_more, "a projection has the parameters `event` and, if it wants, `context`"),
            (takes_any, r"not `def takes_any\(\*events"),
            (Order, "a function is expected"),
        ]:
            with self.subTest(part), self.assertRaisesRegex(TypeError, part):
                projection(function)

    def test_the_first_parameter_is_an_event(self):
        @handler
        def check(order: Order) -> None: ...

        with self.assertRaisesRegex(TypeError, "is an event: `order: Event.Order.`, where Order .* not `order: Order`"):
            consumer_of(check, "handler").read

        @handler
        def unknown(event: "Event[Nowhere]") -> None: ...  # noqa: F821

        with self.assertRaisesRegex(TypeError, "an annotation of `unknown` cannot be understood: name 'Nowhere'"):
            consumer_of(unknown, "handler").read

    def test_a_handler_returns_nothing(self):
        @handler
        def check(event: Event) -> Any:
            return ValueError("forgot to raise")

        run = Harness(check).handle(make_event("Any"))
        run.assert_retry(
            r"a handler returns nothing, but `check` returned ValueError('forgot to raise'); what fails is raised"
        )

    def test_a_harness_wants_what_is_marked(self):
        def check(event: Event) -> None: ...

        with self.assertRaisesRegex(TypeError, "`check` is not marked with `@handler`"):
            Harness(check)
        with self.assertRaisesRegex(TypeError, "`check` is not marked with `@projection`"):
            ProjectionHarness(handler(check), collections={})
        with self.assertRaisesRegex(TypeError, "`check` is not marked with `@query`"):
            query_of(check)

    def test_a_querys_parameters_are_named(self):
        def total(*orders: str) -> int: ...

        with self.assertRaisesRegex(TypeError, r"`total` has `\*orders: str`"):
            query(total)


class Plugins(unittest.TestCase):
    """What `tidemill.build` and the component make of an author's module."""

    def setUp(self):
        self.known = list(_plugin.consumers), dict(_plugin.queries)
        _plugin.consumers.clear()
        _plugin.queries.clear()

    def tearDown(self):
        _plugin.consumers[:] = self.known[0]
        _plugin.queries.clear()
        _plugin.queries.update(self.known[1])

    def test_a_plugin_has_one_handler_or_one_projection(self):
        with self.assertRaisesRegex(TypeError, "the module `shop` has no handler: write `@handler` above the function"):
            _plugin.only_consumer("shop", "handler")

        @handler
        def check(event: Event) -> None: ...

        self.assertIs(_plugin.only_consumer("shop", "handler").function, check)
        with self.assertRaisesRegex(
            TypeError, r"has one projection .*, but there is the handler `check` \(.*test_marks.py:"
        ):
            _plugin.only_consumer("shop", "projection")

        @handler
        def check_again(event: Event) -> None: ...

        with self.assertRaisesRegex(TypeError, "the handler `check` .*, the handler `check_again`"):
            _plugin.only_consumer("shop", "handler")

    def test_two_queries_of_one_name_are_a_mistake(self):
        def of_module(name: str):
            def spent() -> int: ...

            spent.__module__ = name
            return spent

        query(of_module("orders"))
        query(of_module("orders"))
        with self.assertRaisesRegex(TypeError, "there are two queries `spent`: .*test_marks.py"):
            query(of_module("customers"))

    def test_types_that_cannot_be_read_are_told_before_there_is_an_event(self):
        @handler
        def check(event: Event[set[str]]) -> None: ...

        with self.assertRaisesRegex(TypeError, r"`set\[str\]` cannot be read from JSON"):
            _plugin.prepare()


if __name__ == "__main__":
    unittest.main()
