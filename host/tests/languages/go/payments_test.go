package main

import (
	"testing"
	"time"

	"tidemill.dev/tidemill/log"
	"tidemill.dev/tidemill/tidemilltest"
)

// Twice a mug for 450 and once a pot for 1900.
func payment() Payment {
	return Payment{
		ID:      "p-1",
		Account: "a-7",
		Amount:  2800,
		Items:   []Item{{SKU: "MUG-001", Quantity: 2, UnitPrice: 450}, {SKU: "POT-002", Quantity: 1, UnitPrice: 1900}},
	}
}

func requested(payment Payment) tidemilltest.Event {
	return tidemilltest.Event{Kind: "PaymentRequested", Data: payment}
}

func TestAPaymentIsRecordedAndReceipted(t *testing.T) {
	handler := tidemilltest.NewHandler(t, record).State("balance/a-7", 200).Emits("payments.recorded", "receipts.issued")
	run := handler.Handle(requested(payment())).AssertDone().AssertState("balance/a-7", 3000)

	recorded := run.Emitted("PaymentRecorded").AssertData(Recorded{ID: "p-1", Account: "a-7", Balance: 3000})
	if recorded.Subject != "a-7" {
		t.Errorf("found the subject %q", recorded.Subject)
	}
	receipt := run.Emitted("ReceiptIssued").AssertData(Receipt{ID: "p-1", Lines: 2, Amount: 2800})
	if receipt.Extensions["lines"] != "2" {
		t.Errorf("found %q", receipt.Extensions)
	}
	if !run.Logged(log.LevelInfo, "recorded a payment") || run.Logs[0].Fields["balance"] != "3000" {
		t.Errorf("found %v", run.Logs)
	}
	handler.Handle(requested(payment())).AssertState("balance/a-7", 5800)
}

func TestWhatDoesNotAddUpIsRejected(t *testing.T) {
	payment := payment()
	payment.Amount = 2801
	run := tidemilltest.NewHandler(t, record).Handle(requested(payment))
	run.AssertRejected("the amount is 2801, the items add up to 2800")
}

func TestWhatIsAboveTheLimitIsRejected(t *testing.T) {
	run := tidemilltest.NewHandler(t, record).Config("limit", 2799).Handle(requested(payment()))
	run.AssertRejected("2800 is above the limit of 2799")
	tidemilltest.NewHandler(t, record).Config("limit", 2800).Handle(requested(payment())).AssertDone()
}

func TestWhatCannotBeReadIsRejected(t *testing.T) {
	event := tidemilltest.Event{Kind: "PaymentRequested", Data: map[string]any{"amount": "2800"}}
	tidemilltest.NewHandler(t, record).Handle(event).AssertRejected("`/amount`: expected int64, found string")
}

func TestTheFirstAttemptMayAskForAnother(t *testing.T) {
	payment := payment()
	payment.Trouble = "retry"
	handler := tidemilltest.NewHandler(t, record)
	if run := handler.Handle(requested(payment)).AssertRetry("asked to be tried again"); run.Outcome.After != 10*time.Millisecond {
		t.Errorf("found a delay of %v", run.Outcome.After)
	}
	handler.Attempt(2).Handle(requested(payment)).AssertDone()
}

func TestAPanicLeavesNothingBehind(t *testing.T) {
	payment := payment()
	payment.Trouble = "throw"
	run := tidemilltest.NewHandler(t, record).Handle(requested(payment))
	run.AssertPanicked("boom").AssertNoEmits().AssertState("balance/a-7", nil)
}

func TestWhatIsIncompleteIsRejected(t *testing.T) {
	event := tidemilltest.Event{Kind: "PaymentRequested", Data: map[string]any{"payment_id": "p-9"}}
	tidemilltest.NewHandler(t, record).Handle(event).AssertRejected("a payment has an id, an account and items")
}
