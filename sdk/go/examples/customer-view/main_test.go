package main

import (
	"testing"

	"tidemill.dev/tidemill/tidemilltest"
)

func TestOrdersAreAddedUpByCustomer(t *testing.T) {
	view := tidemilltest.NewProjection(t, fold).Queries(answer).
		Collection("orders", "customer").
		Collection("customers")

	view.Apply(tidemilltest.Event{Kind: "OrderCreated", Data: Created{"o-1", "c-1", 750}}).AssertDone()
	run := view.Apply(tidemilltest.Event{Kind: "OrderCreated", Data: Created{"o-2", "c-1", 50}}).AssertDone()

	run.AssertKeys("orders", "o-1", "o-2")
	run.AssertDocument("customers", "c-1", Customer{Orders: 2, Spent: 800})
	view.Ask("largest-order", map[string]string{"customer": "c-1"}).AssertAnswer(750)
}
