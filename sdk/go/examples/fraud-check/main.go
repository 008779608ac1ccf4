// Marks large orders as risky.
package main

import (
	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/config"
	"tidemill.dev/tidemill/emit"
	"tidemill.dev/tidemill/handler"
	"tidemill.dev/tidemill/log"
	"tidemill.dev/tidemill/state"
)

type Order struct {
	ID    string  `json:"id"`
	Total float64 `json:"total"`
}

type Checked struct {
	Order string `json:"order"`
	Risk  string `json:"risk"`
}

func main() { handler.Handle(check) }

func check(ctx *tidemill.Context, event tidemill.Event[Order]) error {
	threshold, err := config.Or("threshold", 1000.0)
	if err != nil {
		return err
	}
	order := event.Data
	if order.Total < 0 {
		return tidemill.Reject("a total cannot be negative")
	}
	if order.Total < threshold {
		return nil
	}
	seen, err := state.Update("large-orders", func(seen int) int { return seen + 1 })
	if err != nil {
		return err
	}
	log.Info("a large order", "order", order.ID, "seen", seen)
	return emit.Send(emit.Event{
		To:   "fraud.checked",
		Kind: "FraudChecked",
		Data: Checked{Order: order.ID, Risk: "high"},
	})
}
