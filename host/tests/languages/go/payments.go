// Records payments: what each language does in the same way, so that one test can compare them.
package main

import (
	"strconv"
	"time"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/config"
	"tidemill.dev/tidemill/emit"
	"tidemill.dev/tidemill/handler"
	"tidemill.dev/tidemill/log"
	"tidemill.dev/tidemill/state"
)

// A Payment is what a PaymentRequested asks for. Amounts are in cents.
type Payment struct {
	ID      string `json:"payment_id"`
	Account string `json:"account"`
	Amount  int64  `json:"amount"`
	Items   []Item `json:"items"`
	Trouble string `json:"trouble"`
}

// An Item is one line of a payment.
type Item struct {
	SKU       string `json:"sku"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
}

// Recorded is the data of a PaymentRecorded.
type Recorded struct {
	ID      string `json:"payment_id"`
	Account string `json:"account"`
	Balance int64  `json:"balance"`
}

// Receipt is the data of a ReceiptIssued.
type Receipt struct {
	ID     string `json:"payment_id"`
	Lines  int    `json:"lines"`
	Amount int64  `json:"amount"`
}

func main() { handler.Handle(record) }

func record(ctx *tidemill.Context, event tidemill.Event[Payment]) error {
	payment := event.Data
	if err := validate(payment); err != nil {
		return err
	}
	if err := cause(payment.Trouble, ctx); err != nil {
		return err
	}
	balance, err := state.Update("balance/"+payment.Account, func(balance int64) int64 { return balance + payment.Amount })
	if err != nil {
		return err
	}
	err = emit.Send(emit.Event{
		To:      "payments.recorded",
		Kind:    "PaymentRecorded",
		Subject: payment.Account,
		Data:    Recorded{payment.ID, payment.Account, balance},
	})
	if err != nil {
		return err
	}
	lines := len(payment.Items)
	err = emit.Send(emit.Event{
		To:         "receipts.issued",
		Kind:       "ReceiptIssued",
		Extensions: map[string]string{"lines": strconv.Itoa(lines)},
		Data:       Receipt{payment.ID, lines, payment.Amount},
	})
	if err != nil {
		return err
	}
	log.Info("recorded a payment", "payment_id", payment.ID, "balance", balance)
	return nil
}

func validate(payment Payment) error {
	// A field that is not there is no misfit in Go, it has its zero value.
	if payment.ID == "" || payment.Account == "" || payment.Items == nil {
		return tidemill.Reject("a payment has an id, an account and items")
	}
	var sum int64
	for _, item := range payment.Items {
		sum += item.Quantity * item.UnitPrice
	}
	if sum != payment.Amount {
		return tidemill.Rejectf("the amount is %d, the items add up to %d", payment.Amount, sum)
	}
	limit, err := config.Or[int64]("limit", 100_000)
	if err != nil {
		return err
	}
	if payment.Amount > limit {
		return tidemill.Rejectf("%d is above the limit of %d", payment.Amount, limit)
	}
	return nil
}

var hoard [][]byte

// What a test wants to go wrong.
func cause(trouble string, ctx *tidemill.Context) error {
	switch trouble {
	case "retry":
		if ctx.Attempt == 1 {
			return tidemill.Retry("asked to be tried again").After(10 * time.Millisecond)
		}
	case "throw":
		panic("boom")
	case "spin":
		for {
		}
	case "memory":
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	}
	return nil
}
