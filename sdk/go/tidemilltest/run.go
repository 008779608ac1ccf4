package tidemilltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemill.dev/tidemill/internal/encode"
	"tidemill.dev/tidemill/log"
)

// A Run is what came of one call. Its methods that begin with Assert end the test when they find something else.
type Run struct {
	Outcome Outcome
	// What is published. Empty unless the call is done.
	Emits []*Emit
	// The whole state after the call. As before it unless the call is done.
	State map[string][]byte
	Logs  []Line

	documents map[string]*collection
	t         testing.TB
}

// An Outcome is how a call ended.
type Outcome struct {
	Ended Ended
	// Why, unless the call is done.
	Reason string
	// The delay that a retry asks for; 0 for none.
	After time.Duration
}

// Ended is the ways in which a call ends.
type Ended int

const (
	// Done: the function returned nil, and what it wanted was granted.
	Done Ended = iota
	// Retried: it returned an error that means retry.
	Retried
	// Rejected: it returned a rejection, or the data did not fit.
	Rejected
	// Panicked: it panicked. In the host that ends the instance, and the event is retried.
	Panicked
	// Refused: an emit or a document was refused, so the call failed, whatever the function returned.
	Refused
)

// An Emit is an event that was published.
type Emit struct {
	// The NATS subject.
	To              string
	Kind            string
	Subject         string
	DataContentType string
	DataSchema      string
	Extensions      map[string]string
	Data            []byte

	t testing.TB
}

// An Answer is what came of a question.
type Answer struct {
	// JSON; nil if the question failed.
	Data []byte
	// Why it failed, as whoever asked is told; for a query that writes, the refusal.
	Reason string

	t testing.TB
}

// A Line is a line of the log.
type Line struct {
	Level   log.Level
	Message string
	Fields  map[string]string
}

// AssertDone checks that the call is done.
func (r *Run) AssertDone() *Run {
	r.t.Helper()
	if r.Outcome.Ended != Done {
		r.t.Fatalf("expected the call to be done, but %s", r.Outcome)
	}
	return r
}

// AssertRetry checks that the call asked for a retry, with a reason that contains part.
func (r *Run) AssertRetry(part string) *Run {
	r.t.Helper()
	return r.assertEnded(Retried, part)
}

// AssertRejected checks that the event was rejected, with a reason that contains part.
func (r *Run) AssertRejected(part string) *Run {
	r.t.Helper()
	return r.assertEnded(Rejected, part)
}

// AssertPanicked checks that the call panicked, with a message that contains part.
func (r *Run) AssertPanicked(part string) *Run {
	r.t.Helper()
	return r.assertEnded(Panicked, part)
}

// AssertRefused checks that the call failed because of a refusal that contains part.
func (r *Run) AssertRefused(part string) *Run {
	r.t.Helper()
	return r.assertEnded(Refused, part)
}

func (r *Run) assertEnded(expected Ended, part string) *Run {
	r.t.Helper()
	if r.Outcome.Ended != expected || !strings.Contains(r.Outcome.Reason, part) {
		r.t.Fatalf("expected the call to be %s because of %q, but %s", expected, part, r.Outcome)
	}
	return r
}

// AssertNoEmits checks that nothing is published.
func (r *Run) AssertNoEmits() *Run {
	r.t.Helper()
	if len(r.Emits) > 0 {
		r.t.Fatalf("expected no emits, but found %q", r.kinds())
	}
	return r
}

// Emitted gives the only emit of a type.
func (r *Run) Emitted(kind string) *Emit {
	r.t.Helper()
	var found []*Emit
	for _, emit := range r.Emits {
		if emit.Kind == kind {
			found = append(found, emit)
		}
	}
	if len(found) != 1 {
		r.t.Fatalf("expected one emit of type %s, but found %q; %s", kind, r.kinds(), r.Outcome)
	}
	return found[0]
}

// AssertState checks what the state holds under a key after the call, as JSON; nil: nothing.
func (r *Run) AssertState(key string, expected any) *Run {
	r.t.Helper()
	assertJSON(r.t, fmt.Sprintf("the state's value of %q", key), r.State[key], expected)
	return r
}

// AssertDocument checks a document after the call; nil: there is none.
func (r *Run) AssertDocument(collection, key string, expected any) *Run {
	r.t.Helper()
	what := fmt.Sprintf("the document %q of the collection %q", key, collection)
	assertJSON(r.t, what, r.collection(collection).documents[key], expected)
	return r
}

// AssertKeys checks that a collection has exactly these keys after the call, given in byte order.
func (r *Run) AssertKeys(collection string, expected ...string) *Run {
	r.t.Helper()
	if found := slices.Sorted(maps.Keys(r.collection(collection).documents)); !slices.Equal(found, expected) {
		r.t.Fatalf("expected the keys %q in the collection %q, but found %q", expected, collection, found)
	}
	return r
}

// Logged says whether a line of this level contains part.
func (r *Run) Logged(level log.Level, part string) bool {
	return slices.ContainsFunc(r.Logs, func(line Line) bool {
		return line.Level == level && strings.Contains(line.Message, part)
	})
}

func (r *Run) kinds() []string {
	kinds := make([]string, len(r.Emits))
	for i, emit := range r.Emits {
		kinds[i] = emit.Kind
	}
	return kinds
}

func (r *Run) collection(name string) *collection {
	r.t.Helper()
	found := r.documents[name]
	if found == nil {
		r.t.Fatalf("there is no collection %q: the harness's Collection declares one", name)
	}
	return found
}

// String says it in a sentence.
func (o Outcome) String() string {
	if o.Ended == Done {
		return "it was done"
	}
	return fmt.Sprintf("it was %s: %s", o.Ended, o.Reason)
}

// String is the word for it.
func (e Ended) String() string {
	return [...]string{"done", "retried", "rejected", "a panic", "refused"}[e]
}

// AssertData checks the data as JSON.
func (e *Emit) AssertData(expected any) *Emit {
	e.t.Helper()
	assertJSON(e.t, "the data of the emitted "+e.Kind, e.Data, expected)
	return e
}

// Decode reads the data as JSON.
func (e *Emit) Decode(target any) {
	e.t.Helper()
	if err := json.Unmarshal(e.Data, target); err != nil {
		e.t.Fatalf("the data of the emitted %s is not what the test expects: %v", e.Kind, err)
	}
}

// AssertAnswer checks the answer as JSON.
func (a *Answer) AssertAnswer(expected any) *Answer {
	a.t.Helper()
	if a.Data == nil {
		a.t.Fatalf("expected an answer, but the question failed: %s", a.Reason)
	}
	assertJSON(a.t, "the answer", a.Data, expected)
	return a
}

// AssertFailed checks that the question failed, with a reason that contains part.
func (a *Answer) AssertFailed(part string) *Answer {
	a.t.Helper()
	if a.Data != nil || !strings.Contains(a.Reason, part) {
		a.t.Fatalf("expected the question to fail because of %q, but found %s%s", part, a.Reason, a.Data)
	}
	return a
}

// Compares by what the JSON means, not by how it is written. No text is nil's.
func assertJSON(t testing.TB, what string, found []byte, expected any) {
	t.Helper()
	wanted, err := encode.Data(expected)
	if err != nil {
		t.Fatalf("the test's value cannot be written as JSON: %v", err)
	}
	if found == nil || wanted == nil {
		if found != nil || wanted != nil {
			t.Fatalf("expected %s to be %s, but found %s", what, shown(wanted), shown(found))
		}
		return
	}
	var one, other any
	if err := json.Unmarshal(found, &one); err != nil {
		t.Fatalf("%s is no JSON: %q", what, found)
	}
	if err := json.Unmarshal(wanted, &other); err != nil {
		t.Fatalf("what the test expects is no JSON: %q", wanted)
	}
	if !reflect.DeepEqual(one, other) {
		t.Fatalf("expected %s to be %s, but found %s", what, wanted, found)
	}
}

func shown(text []byte) string {
	if text == nil {
		return "nothing"
	}
	return string(text)
}
