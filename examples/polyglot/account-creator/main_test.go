package main

import (
	"encoding/json"
	"testing"

	"tidemill.dev/tidemill/tidemilltest"
)

func validated(customer, email string) tidemilltest.Event {
	data := Customer{ID: customer, Name: "Ada", Email: email, Country: "GB"}
	return tidemilltest.Event{Kind: "CustomerValidated", Data: data}
}

func TestTheFirstCustomerGetsTheAddress(t *testing.T) {
	creator := tidemilltest.NewHandler(t, open).Emits("accounts.>")

	first := creator.Handle(validated("c-1", "ada@example.com")).AssertDone()
	var account Account
	if err := json.Unmarshal(first.State["email/ada@example.com"], &account); err != nil || account.ID == "" {
		t.Fatalf("found %+v, %v", account, err)
	}
	created := Created{Account: account.ID, Customer: "c-1", Name: "Ada", Email: "ada@example.com", Country: "GB"}
	if emit := first.Emitted("AccountCreated").AssertData(created); emit.Subject != account.ID {
		t.Errorf("found the subject %q", emit.Subject)
	}

	second := creator.Handle(validated("c-2", "Ada@Example.com")).AssertDone()
	second.AssertState("email/ada@example.com", account)
	rejected := Rejected{Customer: "c-2", Email: "Ada@Example.com", Reason: "email-taken"}
	if emit := second.Emitted("AccountRejected").AssertData(rejected); len(second.Emits) != 1 || emit.Subject != "c-2" {
		t.Errorf("found %d emits, the subject %q", len(second.Emits), emit.Subject)
	}
}

func TestACustomerWhoIsValidatedAgainKeepsTheAccount(t *testing.T) {
	creator := tidemilltest.NewHandler(t, open)
	creator.Handle(validated("c-1", "ada@example.com")).AssertDone()
	creator.Handle(validated("c-1", "ada@example.com")).AssertDone().AssertNoEmits()
}

func TestAnUnreachableStoreIsARetry(t *testing.T) {
	creator := tidemilltest.NewHandler(t, open).StateUnavailable()
	creator.Handle(validated("c-1", "ada@example.com")).AssertRetry("the state is unavailable")
}
