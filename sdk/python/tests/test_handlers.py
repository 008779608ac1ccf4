"""The harness keeps the host's promises, and so do the functions that a handler calls through it."""

import unittest
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from tidemill import Context, EmitError, Event, Reject, Retry, config, emit, handler, host, log, reject, retry, state
from tidemill.config import ConfigError
from tidemill.state import StateError
from tidemill.testing import Harness, LogLine, Outcome, Run, make_event


@dataclass
class Wish:
    wish: str


@handler
def puppet(event: Event[Wish], context: Context) -> None:
    """A handler whose behaviour the event names, so that each test reads as one table of cause and effect."""
    match event.data.wish:
        case "count":
            count = state.update("count", lambda count: count + 1, int, 0)
            emit("counts.made", "Counted", count)
        case "count, then reject":
            state.put("count", "99")
            emit("counts.made", "Counted", 99)
            log.info(f"about to reject {event.id}", route=context.route, tries=context.attempt)
            reject("changed my mind")
        case "retry later":
            retry("not yet", after=timedelta(seconds=7))
        case "break":
            raise KeyError(event.kind)
        case "ignore a refusal":
            try:
                emit("secrets.told", "Told", None)
            except EmitError:
                pass
        case "id":
            state.put("id", host.stable_id("thing"))
            if not context.is_last_attempt:
                retry("once more")
        case "set once":
            emit("sets.made", "Set", state.compare_and_set("once", None, b"1"))
        case other:
            reject(f"no such wish: {other}")


def wish(wish: str) -> Event[bytes]:
    return make_event("Wish", Wish(wish))


def inside(body: Callable[[], Any], **world: Any) -> Run:
    """Runs `body` where a handler's body runs."""

    @handler
    def runs(event: Event) -> None:
        body()

    run = Harness(runs, **world).handle(make_event("Any"))
    if run.error is not None:
        raise run.error
    return run


class Calls(unittest.TestCase):
    def test_effects_of_a_done_call_stay(self):
        harness = Harness(puppet, state={"count": 4})
        run = harness.handle(wish("count"))
        run.assert_done()
        self.assertEqual(run.emitted("Counted").json(), 5)
        self.assertEqual(harness.handle(wish("count")).state_json("count"), 6)

    def test_effects_of_a_failed_call_vanish_and_its_log_stays(self):
        run = Harness(puppet, state={"count": 4}, route="demo").handle(wish("count, then reject"))
        run.assert_rejected("changed my mind")
        run.assert_no_emits()
        self.assertEqual(run.state_json("count"), 4)
        self.assertTrue(run.logged("info", "about to reject event-1"))
        self.assertEqual(run.logs, [LogLine("info", "about to reject event-1", {"route": "demo", "tries": "1"})])

    def test_a_retry_may_wish_for_a_delay(self):
        run = Harness(puppet).handle(wish("retry later"))
        self.assertEqual(run.outcome, Outcome("retry", "not yet", 7000))

    def test_any_other_exception_is_a_retry_and_its_traceback_is_logged(self):
        run = Harness(puppet).handle(wish("break"))
        self.assertEqual(run.outcome, Outcome("retry", "KeyError: 'Wish'"))
        told = [line.message for line in run.logs if line.level == "error"]
        self.assertEqual(told[0], "Traceback (most recent call last):")
        self.assertRegex(told[1], r'^  File ".*test_handlers.py", line \d+, in puppet$')
        self.assertIn("    raise KeyError(event.kind)", told)
        self.assertEqual(told[-1], "KeyError: 'Wish'")

    def test_data_that_does_not_fit_never_reaches_the_handler(self):
        run = Harness(puppet).handle(make_event("Wish", {"wish": 1}))
        run.assert_rejected("the event's data does not fit: `/wish`: expected a text, found 1")
        self.assertEqual(run.logs, [])

    def test_a_refused_emit_fails_the_call_even_if_it_is_ignored(self):
        run = Harness(puppet, emits=["counts.*"]).handle(wish("ignore a refusal"))
        run.assert_refused('`emits: ["secrets.told"]` in runtime.yaml would allow it')
        Harness(puppet, emits=["counts.*"]).handle(wish("count")).assert_done()
        Harness(puppet, emits=["counts.>"]).handle(wish("count")).assert_done()
        Harness(puppet, emits=["counts.made.>"]).handle(wish("count")).assert_refused()

    def test_a_stable_id_is_the_same_for_a_redelivery_and_another_for_the_next_event(self):
        harness = Harness(puppet, route="orders", stream="ORDERS")
        first = harness.handle(wish("id"), attempt=5).state["id"]
        harness.handle(wish("id"), attempt=1).assert_retry("once more")
        second = harness.handle(wish("id"), attempt=2, max_attempts=2).state["id"]
        self.assertNotEqual(first, second)
        # The host's own ids: UUIDv5 of route, stream and sequence.
        self.assertEqual(first, b"51f562cd-b7d0-5c7f-9a3a-46b7a480d658")

    def test_compare_and_set_sets_what_is_absent_once(self):
        harness = Harness(puppet)
        self.assertIs(harness.handle(wish("set once")).emitted("Set").json(), True)
        self.assertIs(harness.handle(wish("set once")).emitted("Set").json(), False)

    def test_a_failed_assertion_shows_what_was_raised(self):
        with self.assertRaises(AssertionError) as caught:
            Harness(puppet).handle(wish("break")).assert_done()
        self.assertIn("expected the call to be done, but it ended as Outcome(status='retry'", str(caught.exception))
        self.assertIsInstance(caught.exception.__cause__, KeyError)


class Functions(unittest.TestCase):
    def test_settings_are_read_as_texts_or_as_json(self):
        class Mode(Enum):
            STRICT = "strict"

        settings = {"text": "5", "mode": "strict", "list": [1, 2], "number": 1.5, "flag": True}

        def body() -> None:
            self.assertEqual(config.get("text"), "5")
            self.assertEqual(config.get("text", int), 5)
            self.assertEqual(config.get("mode", Mode), Mode.STRICT)
            self.assertEqual(config.get("list", list[int]), [1, 2])
            self.assertEqual(config.get("number", float), 1.5)
            self.assertIs(config.get("flag", bool), True)
            self.assertIsNone(config.get("nothing", bool))
            self.assertEqual(config.get("nothing", int, 7), 7)
            self.assertEqual(config.require("number", float), 1.5)
            self.assertEqual(config.keys(), ["flag", "list", "mode", "number", "text"])

        inside(body, config=settings)

    def test_a_setting_that_does_not_fit_is_an_error_without_its_value(self):
        with self.assertRaises(ConfigError) as caught:
            inside(lambda: config.get("token", int), config={"token": "s3cret"})
        told = "the setting `token`: a value of another type was expected (6 bytes found)"
        self.assertEqual(str(caught.exception), told)
        with self.assertRaisesRegex(ConfigError, "`plugins.settings.<plugin>.config.token` in runtime.yaml sets it"):
            inside(lambda: config.require("token"))

    def test_keys_are_listed_in_order_and_page_by_page(self):
        def body() -> None:
            for n in range(2500):
                state.put(f"many/{n:04}", b"x")
            state.put("other", b"x")
            keys = state.keys("many/")
            self.assertEqual((len(keys), keys[0], keys[2499]), (2500, "many/0000", "many/2499"))
            self.assertEqual(state.list("many/", "many/0002", 2), ["many/0003", "many/0004"])
            state.delete("many/0003")
            self.assertIsNone(state.get("many/0003"))
            self.assertTrue(state.insert_json("many/0003", {"a": 1}))
            self.assertFalse(state.insert_json("many/0003", {"a": 2}))
            self.assertEqual(state.get_json("many/0003"), {"a": 1})
            self.assertTrue(state.compare_and_set("many/0003", b'{"a":1}', None))
            self.assertIsNone(state.get_json("many/0003", Wish))

        inside(body)

    def test_state_errors_say_what_is_wrong(self):
        for body, code in [
            (lambda: state.put("", b"x"), "invalid-key"),
            (lambda: state.get("a\nb"), "invalid-key"),
            (lambda: state.put("big", bytes(600_000)), "limit"),
            (lambda: state.get_json("count", int), "unfit"),
        ]:
            with self.subTest(code), self.assertRaises(StateError) as caught:
                inside(body, state={"count": b"not JSON"})
            self.assertEqual(caught.exception.code, code)
        self.assertTrue(str(caught.exception).startswith("the state's value of `count`: Expecting value"))
        with self.assertRaisesRegex(StateError, "the state is unavailable"):
            inside(lambda: state.get("count"), state_unavailable=True)

    def test_an_emit_may_say_more_about_itself(self):
        run = inside(
            lambda: emit(
                "logs.written",
                "Written",
                bytearray(b"hello"),
                subject="l-1",
                datacontenttype="text/plain",
                dataschema="/schemas/1",
                extensions={"lines": "1"},
            )
        )
        told = run.emitted("Written")
        self.assertEqual((told.to, told.subject, told.datacontenttype), ("logs.written", "l-1", "text/plain"))
        self.assertEqual((told.dataschema, told.extensions, told.data), ("/schemas/1", {"lines": "1"}, b"hello"))

    def test_emits_that_break_a_rule_are_refused(self):
        for arguments, code, part in [
            (("a..b", "X", 1), "invalid", "is not a subject"),
            (("a.*", "X", 1), "invalid", "is not a subject"),
            (("a", "", 1), "invalid", "needs a type"),
            (("$SYS.a", "X", 1), "not-granted", "belongs to the server"),
        ]:
            with self.subTest(arguments), self.assertRaisesRegex(EmitError, part) as caught:
                inside(lambda: emit(*arguments))
            self.assertEqual(caught.exception.code, code)
        for more, part in [
            ({"subject": ""}, "attribute `subject`"),
            ({"extensions": {"a-b": "1"}}, "extension attribute `a-b`"),
        ]:
            with self.subTest(more), self.assertRaisesRegex(EmitError, part):
                inside(lambda: emit("a", "X", 1, **more))

    def test_what_cannot_cross_the_border_is_an_error_before_it_does(self):
        for body, error in [
            (lambda: emit("a", "X", object()), TypeError),
            (lambda: emit("a", "X", float("nan")), ValueError),
            (lambda: emit("a", "X", 1, subject=5), TypeError),
            (lambda: emit("a", "X", 1, subject="\udc00"), UnicodeEncodeError),
            (lambda: state.get(5), TypeError),
            (lambda: state.put("a", 5), TypeError),
            (lambda: host.random(4097), ValueError),
            (lambda: retry("x", after=-1), ValueError),
        ]:
            with self.subTest(error), self.assertRaises(error):
                inside(body)

    def test_log_lines_have_fields_and_never_break(self):
        run = inside(lambda: log.warn("half a \ud83d", order="o-1", message=None))
        self.assertEqual(run.logs, [LogLine("warn", "half a \\ud83d", {"order": "o-1", "message": "None"})])

    def test_time_and_chance_are_the_harness_own(self):
        drawn = []
        inside(lambda: drawn.append((host.now(), host.random(4), host.random(4))), now="2026-02-03T00:00:00.000Z")
        inside(lambda: drawn.append((host.now(), host.random(4), host.random(4))), now="2026-02-03T00:00:00.000Z")
        self.assertEqual(drawn[0], drawn[1])
        self.assertEqual((drawn[0][0], len(drawn[0][1])), ("2026-02-03T00:00:00.000Z", 4))
        self.assertNotEqual(drawn[0][1], drawn[0][2])

    def test_the_time_that_is_left_is_the_time_limit_unless_the_test_says_otherwise(self):
        left: list[int] = []
        inside(lambda: left.append(host.time_left()))
        inside(lambda: left.append(host.time_left()), time_left=250)
        self.assertEqual(left, [5000, 250])

    def test_outside_of_a_call_there_is_no_host(self):
        with self.assertRaisesRegex(RuntimeError, "the host can be asked only while an event is handled"):
            host.now()

    def test_failures_are_exceptions(self):
        self.assertEqual((Reject("no").reason, str(Retry("later", 5)), Retry("later", 5).after), ("no", "later", 5))
        self.assertEqual(Retry("later", timedelta(days=365)).after, 2**32 - 1)
        with self.assertRaises(Reject):
            None or reject("nothing there")


if __name__ == "__main__":
    unittest.main()
