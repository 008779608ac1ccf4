package tidemilltest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/queries"
	"tidemill.dev/tidemill/tidemilltest"
)

// A test that is meant to fail, and what it says then.
type failing struct {
	testing.TB
}

type said string

func (failing) Helper() {}

func (failing) Fatalf(format string, args ...any) { panic(said(fmt.Sprintf(format, args...))) }

func (failing) Fatal(args ...any) { panic(said(fmt.Sprint(args...))) }

func expectToFail(t *testing.T, part string, check func(testing.TB)) {
	t.Helper()
	defer func() {
		if text, isSaid := recover().(said); !isSaid || !strings.Contains(string(text), part) {
			t.Errorf("expected the test to fail with %q, found %q", part, text)
		}
	}()
	check(failing{t})
}

func TestAssertionsSayWhatTheyFound(t *testing.T) {
	handle := func(wish string) func(t testing.TB) *tidemilltest.Run {
		return func(t testing.TB) *tidemilltest.Run {
			return tidemilltest.NewHandler(t, puppet).State("count", 4).Handle(wishFor(wish))
		}
	}
	counted, rejected := handle("count"), handle("none")
	for part, check := range map[string]func(testing.TB){
		`expected the call to be done, but it was rejected: no such wish: none`:                func(t testing.TB) { rejected(t).AssertDone() },
		`expected the call to be rejected because of "x", but it was rejected: no such`:        func(t testing.TB) { rejected(t).AssertRejected("x") },
		`expected the call to be retried because of "", but it was done`:                       func(t testing.TB) { counted(t).AssertRetry("") },
		`expected the call to be a panic because of "", but it was done`:                       func(t testing.TB) { counted(t).AssertPanicked("") },
		`expected the call to be refused because of "", but it was done`:                       func(t testing.TB) { counted(t).AssertRefused("") },
		`expected no emits, but found ["Counted"]`:                                             func(t testing.TB) { counted(t).AssertNoEmits() },
		`expected one emit of type Told, but found ["Counted"]; it was done`:                   func(t testing.TB) { counted(t).Emitted("Told") },
		`expected the data of the emitted Counted to be 6, but found 5`:                        func(t testing.TB) { counted(t).Emitted("Counted").AssertData(6) },
		`expected the state's value of "count" to be 4, but found 5`:                           func(t testing.TB) { counted(t).AssertState("count", 4) },
		`expected the state's value of "count" to be nothing, but found 5`:                     func(t testing.TB) { counted(t).AssertState("count", nil) },
		`expected the state's value of "sum" to be 1, but found nothing`:                       func(t testing.TB) { counted(t).AssertState("sum", 1) },
		`there is no collection "things": the harness's Collection declares one`:               func(t testing.TB) { counted(t).AssertKeys("things") },
		`the data of the emitted Counted is not what the test expects: json: cannot unmarshal`: func(t testing.TB) { counted(t).Emitted("Counted").Decode(new(string)) },
		`the test's value cannot be written as JSON: json: unsupported type: chan int`:         func(t testing.TB) { tidemilltest.NewHandler(t, puppet).State("x", make(chan int)) },
		`a document is a JSON object, but the test gives [1]`:                                  func(t testing.TB) { tidemilltest.NewProjection(t, ledger).Document("c", "k", []int{1}) },
		`the projection answers no questions: Queries says which function does`:                func(t testing.TB) { tidemilltest.NewProjection(t, ledger).Ask("x", nil) },
		`expected an answer, but the question failed: nobody knows`:                            func(t testing.TB) { ask(t, nil, errors.New("nobody knows")).AssertAnswer(1) },
		`expected the answer to be 2, but found 1`:                                             func(t testing.TB) { ask(t, 1, nil).AssertAnswer(2) },
		`expected the question to fail because of "nobody", but found 1`:                       func(t testing.TB) { ask(t, 1, nil).AssertFailed("nobody") },
		`expected the question to fail because of "somebody", but found nobody knows`:          func(t testing.TB) { ask(t, nil, errors.New("nobody knows")).AssertFailed("somebody") },
		`expected the document "k" of the collection "c" to be nothing, but found {"a":1}`:     func(t testing.TB) { fold(t).AssertDocument("c", "k", nil) },
		`expected the keys ["x"] in the collection "c", but found ["k"]`:                       func(t testing.TB) { fold(t).AssertKeys("c", "x") },
	} {
		expectToFail(t, part, check)
	}
}

func ask(t testing.TB, value any, err error) *tidemilltest.Answer {
	projection := tidemilltest.NewProjection(t, ledger)
	return projection.Queries(func(*queries.Question) (any, error) { return value, err }).Ask("x", nil)
}

func fold(t testing.TB) *tidemilltest.Run {
	nothing := func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error { return nil }
	projection := tidemilltest.NewProjection(t, nothing).Document("c", "k", map[string]any{"a": 1})
	return projection.Apply(tidemilltest.Event{})
}
