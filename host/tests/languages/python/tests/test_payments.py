import unittest
from typing import Any

from payments import Item, Payment, record
from tidemill import Event
from tidemill.testing import Harness, Outcome, make_event

ITEMS = [Item("A-100", 2, 2025), Item("B-200", 1, 10000)]


def requested(**changes: Any) -> Event[bytes]:
    payment = {"payment_id": "p-1", "account": "a-1", "amount": 14050, "items": ITEMS}
    return make_event("PaymentRequested", Payment(**payment | changes))


class Payments(unittest.TestCase):
    def test_a_payment_is_recorded_and_has_a_receipt(self):
        run = Harness(record, state={"balance/a-1": 50}).handle(requested())
        run.assert_done()
        recorded, receipt = run.emits
        self.assertEqual((recorded.to, recorded.kind, recorded.subject), ("payments.recorded", "PaymentRecorded", "a-1"))
        self.assertEqual(recorded.json(), {"payment_id": "p-1", "account": "a-1", "balance": 14100})
        self.assertEqual((receipt.to, receipt.kind, receipt.extensions), ("receipts.issued", "ReceiptIssued", {"lines": "2"}))
        self.assertEqual(receipt.json(), {"payment_id": "p-1", "lines": 2, "amount": 14050})
        self.assertEqual(run.state, {"balance/a-1": b"14100"})
        self.assertEqual(run.logs[0].message, "recorded a payment")
        self.assertEqual(run.logs[0].fields, {"payment_id": "p-1", "balance": "14100"})

    def test_balances_add_up(self):
        harness = Harness(record)
        harness.handle(requested()).assert_done()
        self.assertEqual(harness.handle(requested()).state_json("balance/a-1"), 28100)

    def test_what_does_not_add_up_or_is_too_much_is_rejected(self):
        run = Harness(record).handle(requested(amount=7))
        self.assertEqual(run.outcome, Outcome("rejected", "the amount is 7, the items add up to 14050"))
        run = Harness(record, config={"limit": 14049}).handle(requested())
        self.assertEqual(run.outcome, Outcome("rejected", "14050 is above the limit of 14049"))

    def test_what_is_no_payment_is_rejected(self):
        Harness(record).handle(make_event("PaymentRequested", b"{")).assert_rejected("the event's data is not JSON")
        run = Harness(record).handle(requested(payment_id=1))
        run.assert_rejected("the event's data does not fit: `/payment_id`: expected a text, found 1")

    def test_trouble_is_made_on_request(self):
        harness = Harness(record)
        run = harness.handle(requested(trouble="retry"))
        self.assertEqual(run.outcome, Outcome("retry", "asked to be tried again", 10))
        harness.handle(requested(trouble="retry"), attempt=2).assert_done()
        harness.handle(requested(trouble="throw")).assert_retry("RuntimeError: boom")


if __name__ == "__main__":
    unittest.main()
