// Opens an account for a validated customer, one per e-mail address.
//
// Two customers with the same address can arrive at the same moment, on two instances. Both see no account; both want to write
// the key. The host commits one of them and runs the other again, which then finds the address taken. The account's id is a
// stable id, so that a repeated call opens the same account and not a second one.
package main

import (
	"strings"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/emit"
	"tidemill.dev/tidemill/handler"
	"tidemill.dev/tidemill/host"
	"tidemill.dev/tidemill/state"
)

// A Customer is the data of a CustomerValidated.
type Customer struct {
	ID      string `json:"customer_id"`
	Name    string `json:"name"`
	Email   string `json:"email"`
	Country string `json:"country"`
}

// An Account is what the state holds under email/<address in lower case>.
type Account struct {
	ID       string `json:"account_id"`
	Customer string `json:"customer_id"`
}

// Created is the data of an AccountCreated.
type Created struct {
	Account  string `json:"account_id"`
	Customer string `json:"customer_id"`
	Name     string `json:"name"`
	Email    string `json:"email"`
	Country  string `json:"country"`
}

// Rejected is the data of an AccountRejected.
type Rejected struct {
	Customer string `json:"customer_id"`
	Email    string `json:"email"`
	Reason   string `json:"reason"`
}

func main() { handler.Handle(open) }

func open(_ *tidemill.Context, event tidemill.Event[Customer]) error {
	customer := event.Data
	key := "email/" + strings.ToLower(customer.Email)
	account := Account{ID: host.StableID("account"), Customer: customer.ID}
	opened, err := state.InsertJSON(key, account)
	if err != nil {
		return err
	}
	if opened {
		return tellOpened(account, customer)
	}
	owner, found, err := state.GetJSON[Account](key)
	switch {
	case err != nil:
		return err
	case !found:
		return tidemill.Retry("an account vanished between two looks at it")
	case owner.Customer == customer.ID:
		return nil
	default:
		return tellTaken(customer)
	}
}

func tellOpened(account Account, customer Customer) error {
	return emit.Send(emit.Event{
		To:      "accounts.created",
		Kind:    "AccountCreated",
		Subject: account.ID,
		Data: Created{
			Account:  account.ID,
			Customer: customer.ID,
			Name:     customer.Name,
			Email:    customer.Email,
			Country:  customer.Country,
		},
	})
}

func tellTaken(customer Customer) error {
	return emit.Send(emit.Event{
		To:      "accounts.rejected",
		Kind:    "AccountRejected",
		Subject: customer.ID,
		Data:    Rejected{Customer: customer.ID, Email: customer.Email, Reason: "email-taken"},
	})
}
