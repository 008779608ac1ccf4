"""The inside of a component, with the generated stubs in place of what componentize-py generates there."""

import contextlib
import gc
import io
import sys
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.append(str(Path(__file__).resolve().parent.parent / "stubs"))

from componentize_py_types import Err
from wit_world.imports import config, emit, host, log, read_model, state, types

import tidemill
from tidemill import Context, EmitError, Event, _component, _host, _plugin, _verdict, handler, query
from tidemill.read_model import ReadModelError
from tidemill.state import StateError


@dataclass
class Order:
    id: str


def raw_event(data: bytes) -> types.Event:
    extensions = [types.Attribute("correlationid", "c-1"), types.Attribute("own", "x")]
    return types.Event("e-1", "/shop", "OrderCreated", "2026-01-01T00:00:00Z", None, None, "/1", extensions, data)


RAW_CONTEXT = types.Context("orders", 2, 5, "ORDERS", "7", 5000)


class Component(unittest.TestCase):
    def setUp(self):
        self.enterContext(mock.patch.object(_host, "current", _host.no_call))
        self.logged: list[tuple[str, str, list[types.Attribute]]] = []
        self.fake(log, "write", lambda *line: self.logged.append(line))

    def fake(self, interface: Any, name: str, function: Any) -> None:
        self.enterContext(mock.patch.object(interface, name, function))

    def handle(self, function: Any, data: bytes = b'{"id":"o-1"}') -> types.Failure | None:
        """What the host is answered."""
        consumer = _plugin.consumer_of(handler(function), "handler")
        with mock.patch.object(_component, "_consumer", consumer, create=True):
            try:
                _component.EventHandler().handle(raw_event(data), RAW_CONTEXT)
            except Err as error:
                return error.value
            return None


class Exports(Component):
    def test_an_event_arrives_as_it_is(self):
        seen: list[Any] = []

        def check(event: Event[Order], context: Context) -> None:
            seen.extend([event, context])

        self.assertIsNone(self.handle(check))
        event, context = seen
        self.assertEqual(
            (event.id, event.source, event.kind, event.time), ("e-1", "/shop", "OrderCreated", "2026-01-01T00:00:00Z")
        )
        self.assertEqual((event.subject, event.datacontenttype, event.dataschema), (None, None, "/1"))
        self.assertEqual(event.extensions, {"correlationid": "c-1", "own": "x"})
        self.assertEqual((event.data, event.raw), (Order("o-1"), b'{"id":"o-1"}'))
        self.assertEqual(context, Context("orders", 2, 5, "ORDERS", "7", 5000))
        self.assertFalse(context.is_last_attempt)

    def test_failures_are_the_contracts(self):
        def rejects(event: Event) -> None:
            tidemill.reject("half a \ud83d")

        def retries(event: Event) -> None:
            tidemill.retry("later", after=10)

        def breaks(event: Event) -> None:
            raise KeyError("id")

        def exits(event: Event) -> None:
            sys.exit(3)

        def wants_orders(event: Event[Order]) -> None: ...

        self.assertEqual(self.handle(rejects), types.Failure_Reject("half a \\ud83d"))
        self.assertEqual(self.handle(retries), types.Failure_Retry(types.Retry(10, "later")))
        self.assertEqual(self.logged, [])
        self.assertEqual(self.handle(breaks), types.Failure_Retry(types.Retry(None, "KeyError: 'id'")))
        self.assertEqual(self.logged[0], (log.Level.ERROR, "Traceback (most recent call last):", []))
        self.assertRegex(self.logged[1][1], r'test_component.py", line \d+, in breaks$')
        self.assertEqual(self.handle(exits), types.Failure_Retry(types.Retry(None, "SystemExit: 3")))
        misfit = types.Failure_Reject("the event's data does not fit: missing field `id`")
        self.assertEqual(self.handle(wants_orders, b"{}"), misfit)

    def test_an_import_that_comes_too_late_is_explained(self):
        def imports(event: Event) -> None:
            import there_is_no_such_module  # noqa: F401

        failure = self.handle(imports)
        self.assertEqual(failure.value.reason, "ModuleNotFoundError: No module named 'there_is_no_such_module'")
        self.assertIn("write the import at the top of a module", self.logged[-1][1])

    def test_used_up_memory_is_a_trap_that_the_host_names(self):
        def hoards(event: Event) -> None:
            raise MemoryError

        with self.assertRaises(MemoryError):
            self.handle(hoards)
        self.assertEqual(self.logged[-1][1], "MemoryError")

    def test_questions_are_answered_in_json(self):
        def spent(country: str) -> dict[str, Any]:
            return {"country": country, "orders": [Order("o-1")]}

        with mock.patch.dict(_plugin.queries, clear=True):
            query(spent)
            queries = _component.Queries()
            self.assertEqual(queries.query("spent", b'{"country":"DE"}'), b'{"country":"DE","orders":[{"id":"o-1"}]}')
            for name, params, reason in [
                ("spend", b"{}", "there is no query `spend`"),
                ("spent", b"{}", "the query's parameter object does not fit: missing field `country`"),
            ]:
                with self.subTest(name), self.assertRaises(Err) as caught:
                    queries.query(name, params)
                self.assertEqual(caught.exception.value, types.Failure_Reject(reason))


class Imports(Component):
    def inside(self, body: Any) -> None:
        def runs(event: Event) -> None:
            body()

        self.assertIsNone(self.handle(runs), self.logged)

    def test_asking_is_passed_on(self):
        asked: list[Any] = []
        answers = {
            (emit, "emit"): None,
            (state, "get"): b"1",
            (state, "put"): None,
            (state, "delete"): None,
            (state, "compare_and_set"): True,
            (state, "list"): ["a"],
            (read_model, "get"): b'{"a":1}',
            (read_model, "put"): None,
            (read_model, "delete"): None,
            (read_model, "find"): [read_model.Document("k", b'{"a":1}')],
            (config, "get"): "5",
            (config, "keys"): ["limit"],
            (host, "now"): "2026-01-01T00:00:00.000Z",
            (host, "stable_id"): "id-1",
            (host, "time_left"): 4990,
            (host, "random"): b"xy",
        }
        for (interface, name), answer in answers.items():
            short = interface.__name__.rpartition(".")[2]

            def fake(*given: Any, name: str = f"{short}.{name}", answer: Any = answer) -> Any:
                asked.append((name, *given))
                return answer

            self.fake(interface, name, fake)

        def body() -> None:
            tidemill.emit("a.b", "C", {"d": 1}, subject="s", extensions={"e": "f"})
            self.assertEqual(tidemill.state.get("k"), b"1")
            tidemill.state.put("k", "v")
            tidemill.state.delete("k")
            self.assertTrue(tidemill.state.compare_and_set("k", None, b"v"))
            self.assertEqual(tidemill.state.list("k"), ["a"])
            self.assertEqual(tidemill.read_model.get("c", "k"), {"a": 1})
            tidemill.read_model.put("c", "k", {"a": 2})
            tidemill.read_model.delete("c", "k")
            self.assertEqual([it.key for it in tidemill.read_model.find("c", "a", 1)], ["k"])
            self.assertEqual((tidemill.config.get("limit", int), tidemill.config.keys()), (5, ["limit"]))
            self.assertEqual(tidemill.host.now(), "2026-01-01T00:00:00.000Z")
            self.assertEqual((tidemill.host.stable_id("n"), tidemill.host.time_left()), ("id-1", 4990))
            self.assertEqual(tidemill.host.random(2), b"xy")
            tidemill.log.warn("careful", a=1)

        self.inside(body)
        outgoing = emit.Outgoing("a.b", "C", "s", None, None, [types.Attribute("e", "f")], b'{"d":1}')
        self.assertEqual(
            asked,
            [
                ("emit.emit", outgoing),
                ("state.get", "k"),
                ("state.put", "k", b"v"),
                ("state.delete", "k"),
                ("state.compare_and_set", "k", None, b"v"),
                ("state.list", "k", None, 1000),
                ("read_model.get", "c", "k"),
                ("read_model.put", "c", "k", b'{"a":2}'),
                ("read_model.delete", "c", "k"),
                ("read_model.find", "c", "a", b"1", None, 100),
                ("config.get", "limit"),
                ("config.keys",),
                ("host.now",),
                ("host.stable_id", "n"),
                ("host.time_left",),
                ("host.random", 2),
            ],
        )
        self.assertEqual(self.logged, [(log.Level.WARN, "careful", [types.Attribute("a", "1")])])

    def test_refusals_become_exceptions_with_the_contracts_words(self):
        for interface, name, refusal, ask, kind, code in [
            (
                emit,
                "emit",
                emit.EmitError_NotGranted("no"),
                lambda: tidemill.emit("a", "B", 1),
                EmitError,
                "not-granted",
            ),
            (emit, "emit", emit.EmitError_Limit("no"), lambda: tidemill.emit("a", "B", 1), EmitError, "limit"),
            (
                state,
                "get",
                state.StateError_InvalidKey("no"),
                lambda: tidemill.state.get(""),
                StateError,
                "invalid-key",
            ),
            (state, "put", state.StateError_Limit("no"), lambda: tidemill.state.put("a", b""), StateError, "limit"),
            (
                read_model,
                "put",
                read_model.ReadModelError_NoCollection("no"),
                lambda: tidemill.read_model.put("c", "k", {}),
                ReadModelError,
                "no-collection",
            ),
            (
                read_model,
                "find",
                read_model.ReadModelError_NoIndex("no"),
                lambda: list(tidemill.read_model.find("c", "a", 1)),
                ReadModelError,
                "no-index",
            ),
        ]:
            with self.subTest(code):
                self.fake(interface, name, mock.Mock(side_effect=Err(refusal)))

                def body() -> None:
                    with self.assertRaises(kind) as caught:
                        ask()
                    self.assertEqual((str(caught.exception), caught.exception.code), ("no", code))

                self.inside(body)

    def test_what_the_world_does_not_have_is_said(self):
        with mock.patch.object(_component, "state", _component._Missing(_host.NO_STATE)):

            def keeps(event: Event) -> None:
                tidemill.state.put("a", b"")

            failure = self.handle(keeps)
        self.assertIn("RuntimeError: this plugin has no state", failure.value.reason)


class Load(Component):
    def load(self, text: str) -> str:
        """Loads a module as a handler. Answers what is said."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            Path(folder, "plugin_under_test.py").write_text(text)
            stack.enter_context(mock.patch.object(sys, "path", [folder, *sys.path]))
            stack.enter_context(mock.patch.object(_plugin, "consumers", []))
            stack.enter_context(mock.patch.dict(_plugin.queries, clear=True))
            stack.enter_context(mock.patch.dict(_verdict.places, clear=True))
            stack.enter_context(mock.patch.object(_component, "_consumer", None, create=True))
            stack.enter_context(mock.patch.object(sys, "stdout", io.TextIOWrapper(io.BytesIO())))
            said = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            stack.callback(gc.unfreeze)
            stack.callback(sys.modules.pop, "plugin_under_test", None)
            try:
                _component.load("plugin_under_test", "handler", "src")
            except Exception:
                return said.getvalue()
            self.assertTrue(sys.stdout.line_buffering)
            return _component._consumer.function.__name__

    def test_the_handler_of_a_module_is_found(self):
        text = "from tidemill import Event, handler\n@handler\ndef check(event: Event) -> None: ..."
        self.assertEqual(self.load(text), "check")

    def test_what_is_wrong_with_a_module_is_told_between_marks(self):
        for text, expected in [
            ("", r"TypeError: the module `plugin_under_test` has no handler: write `@handler`"),
            (
                "1/0",
                r'(?s)Traceback.*plugin_under_test.py", line 1, in <module>\n.*\nZeroDivisionError: division by zero',
            ),
            (
                "from tidemill import host\nhost.now()",
                "RuntimeError: the host can be asked only while an event is handled",
            ),
            (
                "from tidemill import Event, handler\n@handler\ndef check(event: Event[set[str]]): ...",
                r"TypeError: .*plugin_under_test.py:2: `check`: `set\[str\]` cannot be read from JSON",
            ),
        ]:
            with self.subTest(expected):
                said = self.load(text)
                self.assertTrue(said.startswith(_verdict.BEGIN) and said.rstrip().endswith(_verdict.END), said)
                self.assertRegex(said, expected)


if __name__ == "__main__":
    unittest.main()
