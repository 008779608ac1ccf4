package tidemilltest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/emit"
	"tidemill.dev/tidemill/host"
	"tidemill.dev/tidemill/queries"
	"tidemill.dev/tidemill/readmodel"
	"tidemill.dev/tidemill/state"
	"tidemill.dev/tidemill/tidemilltest"
)

type account struct {
	Spent   int    `json:"spent"`
	Country string `json:"country"`
}

type spent struct {
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
}

// A projection that keeps what customers have spent, in a way that the event names.
func ledger(_ *tidemill.Context, event tidemill.Event[tidemill.Raw]) error {
	var spent spent
	if err := event.Data.Decode(&spent); err != nil {
		return err
	}
	_, err := readmodel.Update("accounts", spent.Customer, func(account account) account {
		account.Spent += spent.Amount
		if account.Country == "" {
			account.Country = "DE"
		}
		return account
	})
	if err != nil {
		return err
	}
	switch event.Kind {
	case "Spent":
		return nil
	case "SpentElsewhere":
		_ = readmodel.Put("elsewhere", spent.Customer, struct{}{})
		return nil
	case "SpentInCash":
		return tidemill.Reject("cash is not counted")
	case "SpentAndTold":
		return emit.Send(emit.Event{To: "spent.told", Kind: "Told"})
	case "SpentAndKept":
		return state.Put("spent", []byte("1"))
	default:
		panic("on " + event.Kind)
	}
}

func answer(question *queries.Question) (any, error) {
	switch question.Name {
	case "spent":
		var of struct {
			Country string `json:"country"`
		}
		if err := question.Decode(&of); err != nil {
			return nil, err
		}
		sum := 0
		for found, err := range readmodel.Find[account]("accounts", "country", of.Country) {
			if err != nil {
				return nil, err
			}
			sum += found.Body.Spent
		}
		return sum, nil
	case "reset":
		_ = readmodel.Delete("accounts", "c-1")
		return nil, nil
	case "id":
		return host.StableID("answer"), nil
	default:
		return nil, question.Unknown()
	}
}

func spending(kind, customer string, amount int) tidemilltest.Event {
	return tidemilltest.Event{Kind: kind, Data: spent{customer, amount}}
}

func newLedger(t *testing.T) *tidemilltest.Projection {
	return tidemilltest.NewProjection(t, ledger).Queries(answer).
		Collection("accounts", "country").
		Document("accounts", "c-1", account{10, "FR"})
}

func TestDocumentsOfAFoldedEventStay(t *testing.T) {
	ledger := newLedger(t)
	ledger.Apply(spending("Spent", "c-1", 5)).AssertDone()
	run := ledger.Apply(spending("Spent", "c-2", 7)).AssertDone()
	run.AssertDocument("accounts", "c-1", account{15, "FR"})
	run.AssertDocument("accounts", "c-2", map[string]any{"spent": 7, "country": "DE"})
	run.AssertDocument("accounts", "c-3", nil)
	run.AssertKeys("accounts", "c-1", "c-2")
}

func TestDocumentsOfAFailedEventVanish(t *testing.T) {
	ledger := newLedger(t)
	ledger.Apply(spending("SpentInCash", "c-2", 5)).AssertRejected("cash is not counted").AssertKeys("accounts", "c-1")
	ledger.Apply(spending("SpentInSecret", "c-2", 5)).AssertPanicked("on SpentInSecret").AssertKeys("accounts", "c-1")
}

func TestARefusedWriteFailsTheEventEvenIfItIsIgnored(t *testing.T) {
	run := newLedger(t).Apply(spending("SpentElsewhere", "c-1", 5))
	run.AssertRefused("`projections[].collections.elsewhere` in runtime.yaml would declare it")
	run.AssertDocument("accounts", "c-1", account{10, "FR"})
}

func TestDataThatDoesNotFitIsRejectedWithThePlace(t *testing.T) {
	event := tidemilltest.Event{Kind: "Spent", Data: map[string]any{"customer": "c-1", "amount": "much"}}
	newLedger(t).Apply(event).AssertRejected("the event's data does not fit: `/amount`: expected int, found string")
}

func TestWhatAProjectionMayNotImportPanics(t *testing.T) {
	newLedger(t).Apply(spending("SpentAndTold", "c-1", 5)).AssertPanicked("a projection emits nothing")
	newLedger(t).Apply(spending("SpentAndKept", "c-1", 5)).AssertPanicked("a projection has no state")
	handler := func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error {
		return readmodel.Delete("accounts", "c-1")
	}
	tidemilltest.NewHandler(t, handler).Handle(tidemilltest.Event{}).AssertPanicked("only a projection has a read model")
}

func TestQuestionsAreAnsweredFromTheDocuments(t *testing.T) {
	ledger := newLedger(t)
	for customer, amount := range map[string]int{"c-2": 1, "c-3": 2, "c-1": 4} {
		ledger.Apply(spending("Spent", customer, amount)).AssertDone()
	}
	for country, expected := range map[string]int{"DE": 3, "FR": 14, "JP": 0} {
		ledger.Ask("spent", map[string]any{"country": country}).AssertAnswer(expected)
	}
}

func TestQuestionsThatNobodyCanAnswerAreRejected(t *testing.T) {
	unfit := newLedger(t).Ask("spent", map[string]any{"country": 49})
	unfit.AssertFailed("the query's parameter object does not fit: `/country`: expected string, found number")
	newLedger(t).Ask("earned", nil).AssertFailed("there is no query `earned`")
}

func TestAQuestionThatWritesIsRefusedAndHasNoEvent(t *testing.T) {
	ledger := newLedger(t)
	ledger.Ask("reset", nil).AssertFailed("a query reads documents and writes none")
	func() {
		defer func() {
			if panicked := fmt.Sprint(recover()); !strings.Contains(panicked, "a query has no event") {
				t.Errorf("the host would trap, but found %s", panicked)
			}
		}()
		ledger.Ask("id", nil)
	}()
	ledger.Ask("spent", map[string]any{"country": "FR"}).AssertAnswer(10)
}

// Runs body where a projection's body runs, with the collection things, indexed by kind and place.city.
func folding(t *testing.T, body func()) *tidemilltest.Run {
	t.Helper()
	projection := tidemilltest.NewProjection(t, func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error {
		body()
		return nil
	})
	return projection.Collection("things", "kind", "place.city").Apply(tidemilltest.Event{})
}

type thing struct {
	Kind  any `json:"kind"`
	Place struct {
		City string `json:"city"`
	} `json:"place"`
}

func TestDocumentsAreFoundPageByPageInTheOrderOfTheirKeys(t *testing.T) {
	folding(t, func() {
		for number := range 250 {
			thing := thing{Kind: "odd"}
			if number%2 == 0 {
				thing.Kind = 1
			}
			thing.Place.City = fmt.Sprintf("c%d", number%3)
			must(t, readmodel.Put("things", fmt.Sprintf("t-%03d", number), thing))
		}
		keys := func(field string, value any) (keys []string) {
			for found, err := range readmodel.Find[thing]("things", field, value) {
				must(t, err)
				keys = append(keys, found.Key)
			}
			return keys
		}
		if even := keys("kind", 1.0); len(even) != 125 || even[0] != "t-000" || even[124] != "t-248" {
			t.Errorf("found %q", even)
		}
		if found := keys("place.city", "c2"); len(found) != 83 {
			t.Errorf("found %d", len(found))
		}
		if found := keys("kind", nil); len(found) != 0 {
			t.Errorf("found %q", found)
		}
		for found, err := range readmodel.Find[thing]("things", "kind", "odd") {
			if err != nil || found.Key != "t-001" || found.Body.Place.City != "c1" {
				t.Errorf("found %+v, %v", found, err)
			}
			break
		}
	}).AssertDone()
}

func TestReadModelErrorsSayWhatIsWrong(t *testing.T) {
	folding(t, func() {
		_, _, err := readmodel.Get[thing]("thing", "t")
		expectError(t, err, readmodel.ErrNoCollection, "the collection `thing` is not declared")
		_, _, err = readmodel.Get[thing]("things", "")
		expectError(t, err, readmodel.ErrInvalid, "`` is not a document's key")
		for _, err = range readmodel.Find[thing]("things", "colour", "red") {
			expectError(t, err, readmodel.ErrNoIndex, "`projections[].collections.things.indexes: [colour]`")
		}
		must(t, readmodel.Put("things", "t-1", map[string]any{"kind": "odd", "place": 7}))
		_, _, err = readmodel.Get[thing]("things", "t-1")
		if err == nil || !strings.HasPrefix(err.Error(), "the document `t-1` of the collection `things`: json: ") {
			t.Errorf("found %v", err)
		}
	}).AssertDone()
	long := func(field string, length int) any { return map[string]any{field: strings.Repeat("x", length)} }
	for _, it := range []struct {
		document any
		kind     error
	}{
		{7, readmodel.ErrInvalid},
		{[]int{1}, readmodel.ErrInvalid},
		{long("kind", 513), readmodel.ErrInvalid},
		{long("note", 600_000), readmodel.ErrLimit},
	} {
		folding(t, func() {
			if err := readmodel.Put("things", "t", it.document); !errors.Is(err, it.kind) {
				t.Errorf("found %v", err)
			}
		}).AssertRefused("")
	}
}

func expectError(t *testing.T, found, kind error, part string) {
	t.Helper()
	if !errors.Is(found, kind) || !strings.Contains(found.Error(), part) {
		t.Errorf("expected %q, found %v", part, found)
	}
}

func TestAnUnreachableReadModelIsARetry(t *testing.T) {
	newLedger(t).Unavailable().Apply(spending("Spent", "c-1", 5)).AssertRetry("the read model is unavailable")
}
