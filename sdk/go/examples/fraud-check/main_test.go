package main

import (
	"testing"

	"tidemill.dev/tidemill/tidemilltest"
)

func TestALargeOrderIsReported(t *testing.T) {
	run := tidemilltest.NewHandler(t, check).
		Config("threshold", 500).
		Handle(tidemilltest.Event{Kind: "OrderCreated", Data: Order{ID: "o-1", Total: 750}})

	run.AssertDone()
	run.Emitted("FraudChecked").AssertData(Checked{Order: "o-1", Risk: "high"})
	run.AssertState("large-orders", 1)
}
