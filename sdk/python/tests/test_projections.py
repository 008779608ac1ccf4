"""The harness of a projection keeps the host's promises about documents."""

import unittest
from dataclasses import dataclass
from typing import Any

from tidemill import Event, Reject, Retry, emit, host, projection, query, read_model, reject, state
from tidemill.read_model import ReadModelError
from tidemill.testing import ProjectionHarness, Run, make_event


@dataclass
class Account:
    spent: int
    country: str


@dataclass
class Spent:
    customer: str
    amount: int


@projection
def ledger(event: Event) -> None:
    """Keeps what customers have spent, in a way that the event names."""
    spent = event.json(Spent)
    account = read_model.get("accounts", spent.customer, Account, Account(0, "DE"))
    account.spent += spent.amount
    read_model.put("accounts", spent.customer, account)
    match event.kind:
        case "Spent":
            pass
        case "SpentElsewhere":
            try:
                read_model.put("elsewhere", spent.customer, {})
            except ReadModelError:
                pass
        case "SpentInCash":
            reject("cash is not counted")
        case "SpentAndTold":
            emit("spent.told", "Told", None)
        case "SpentAndKept":
            state.put("spent", b"1")
        case kind:
            raise LookupError(kind)


@query
def spent(country: str, least: int = 0) -> int:
    found = (account.body.spent for account in read_model.find("accounts", "country", country, Account))
    return sum(amount for amount in found if amount >= least)


@query
def reset() -> None:
    read_model.delete("accounts", "c-1")


@query
def accounts(country: str) -> list[Account]:
    return [account.body for account in read_model.find("accounts", "country", country, Account)]


@query
def answer_id() -> str:
    return host.stable_id("answer")


def spend(kind: str, customer: str, amount: Any) -> Event[bytes]:
    return make_event(kind, {"customer": customer, "amount": amount})


def harness(**world: Any) -> ProjectionHarness:
    return ProjectionHarness(
        ledger,
        collections={"accounts": ["country"]},
        documents={"accounts": {"c-1": Account(10, "FR")}},
        **world,
    )


class Folding(unittest.TestCase):
    def test_documents_of_a_folded_event_stay(self):
        view = harness()
        view.apply(spend("Spent", "c-1", 5)).assert_done()
        run = view.apply(spend("Spent", "c-2", 7))
        self.assertEqual(run.document("accounts", "c-1"), {"spent": 15, "country": "FR"})
        self.assertEqual(run.document("accounts", "c-2"), {"spent": 7, "country": "DE"})
        run.assert_keys("accounts", ["c-1", "c-2"])
        self.assertIsNone(run.document("accounts", "c-3"))
        with self.assertRaisesRegex(AssertionError, "there is no collection 'account'"):
            run.document("account", "c-1")

    def test_documents_of_a_failed_event_vanish(self):
        view = harness()
        run = view.apply(spend("SpentInCash", "c-2", 5))
        run.assert_rejected("cash is not counted")
        run.assert_keys("accounts", ["c-1"])
        run = view.apply(spend("SpentInSecret", "c-2", 5))
        run.assert_retry("LookupError: SpentInSecret")
        run.assert_keys("accounts", ["c-1"])

    def test_a_refused_write_fails_the_event_even_if_it_is_ignored(self):
        run = harness().apply(spend("SpentElsewhere", "c-1", 5))
        run.assert_refused("`projections[].collections.elsewhere` in runtime.yaml would declare it")
        self.assertEqual(run.document("accounts", "c-1")["spent"], 10)

    def test_data_that_does_not_fit_is_rejected_with_the_place(self):
        run = harness().apply(spend("Spent", "c-1", "much"))
        run.assert_rejected('the event\'s data does not fit: `/amount`: expected an integer, found "much"')

    def test_what_a_projection_may_not_import_is_an_error(self):
        harness().apply(spend("SpentAndTold", "c-1", 5)).assert_retry("a projection emits nothing")
        harness().apply(spend("SpentAndKept", "c-1", 5)).assert_retry("a projection has only documents")

    def test_an_unreachable_store_is_a_retry(self):
        run = harness(unavailable=True).apply(spend("Spent", "c-1", 5))
        run.assert_retry("ReadModelError: the read model is unavailable")


class Asking(unittest.TestCase):
    def test_questions_are_answered_from_the_documents(self):
        view = harness()
        for customer, amount in [("c-2", 1), ("c-3", 2), ("c-1", 4)]:
            view.apply(spend("Spent", customer, amount)).assert_done()
        self.assertEqual(view.query(spent, country="DE"), 3)
        self.assertEqual(view.query(spent, country="DE", least=2), 2)
        self.assertEqual(view.query(spent, country="FR"), 14)
        self.assertEqual(view.query(spent, country="JP"), 0)
        self.assertEqual(view.query(accounts, country="FR"), [{"spent": 14, "country": "FR"}])

    def test_parameters_that_do_not_fit_are_rejected(self):
        for params, problem in [
            ({}, "missing field `country`"),
            ({"country": 1}, "`/country`: expected a text, found 1"),
        ]:
            with self.subTest(problem), self.assertRaises(Reject) as caught:
                harness().query(spent, **params)
            self.assertEqual(str(caught.exception), f"the query's parameter object does not fit: {problem}")

    def test_a_question_that_writes_is_refused_and_has_no_event(self):
        with self.assertRaisesRegex(Reject, "a query reads documents and writes none"):
            harness().query(reset)
        with self.assertRaisesRegex(Retry, "RuntimeError: a query has no event that a stable id could be made from"):
            harness().query(answer_id)
        self.assertEqual(harness().query(spent, country="FR"), 10)


class Documents(unittest.TestCase):
    def test_documents_are_found_page_by_page_in_the_order_of_their_keys(self):
        def body() -> None:
            for number in range(250):
                kind = 1 if number % 2 == 0 else "odd"
                read_model.put("things", f"t-{number:03}", {"kind": kind, "place": {"city": f"c{number % 3}"}})
            keys = [found.key for found in read_model.find("things", "kind", 1.0)]
            self.assertEqual((len(keys), keys[0], keys[124]), (125, "t-000", "t-248"))
            self.assertEqual(len(list(read_model.find("things", "place.city", "c2"))), 83)
            self.assertEqual(list(read_model.find("things", "kind", None)), [])
            self.assertEqual(list(read_model.find("things", "kind", True)), [])
            first = next(read_model.find("things", "kind", "odd"))
            self.assertEqual((first.key, first.body["place"]["city"]), ("t-001", "c1"))
            changed = read_model.update("things", "t-001", lambda it: it | {"seen": True}, default={})
            self.assertEqual(changed["seen"], True)

        self.inside(body).assert_done()

    def test_read_model_errors_say_what_is_wrong(self):
        for body, code, part in [
            (lambda: read_model.get("thing", "t"), "no-collection", "`thing` is not declared"),
            (lambda: read_model.get("things", ""), "invalid", "is not a document's key"),
            (lambda: list(read_model.find("things", "color", "red")), "no-index", "`color` of the collection `things`"),
            (lambda: read_model.put("things", "t", [1]), "invalid", "expected a JSON object, found [1]"),
            (lambda: read_model.put("things", "t", {"kind": "x" * 513}), "invalid", "at most 512 can be indexed"),
            (lambda: read_model.put("things", "t", {"note": "x" * 600_000}), "limit", "the limit `document`"),
            (
                lambda: read_model.get("things", "odd", Account),
                "unfit",
                "`odd` of the collection `things`: missing field",
            ),
        ]:
            with self.subTest(code):
                run = self.inside(body)
                self.assertIsInstance(run.error, ReadModelError)
                self.assertEqual(run.error.code, code)
                self.assertIn(part, str(run.error))

    def inside(self, body: Any) -> Run:
        """Runs `body` where a projection's body runs."""

        @projection
        def runs(event: Event) -> None:
            body()

        documents = {"things": {"odd": {"kind": "none"}}}
        view = ProjectionHarness(runs, collections={"things": ["kind", "place.city"]}, documents=documents)
        return view.apply(make_event("Any"))


if __name__ == "__main__":
    unittest.main()
