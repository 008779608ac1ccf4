package tidemilltest

import (
	"encoding/json"
	"testing"
	"time"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/encode"
	"tidemill.dev/tidemill/internal/plugin"
	"tidemill.dev/tidemill/queries"
)

// A Projection is a projection's function under test, and the world around it: settings and documents. The documents of an event
// that was folded stay for the next one.
type Projection struct {
	stage  stage
	call   plugin.Call
	answer func(*queries.Question) (any, error)
}

// NewProjection puts a projection's function into a world without collections.
func NewProjection[T any](t testing.TB, apply func(*tidemill.Context, tidemill.Event[T]) error) *Projection {
	return &Projection{stage: newStage(t, roleProjection), call: plugin.Typed(apply)}
}

// Collection declares a collection with the fields that it is indexed by, as projections[].collections in runtime.yaml does.
func (p *Projection) Collection(name string, indexes ...string) *Projection {
	p.stage.world.collection(name).indexes = indexes
	return p
}

// Document puts a document that is there already, and declares its collection if nobody has.
func (p *Projection) Document(collection, key string, document any) *Projection {
	p.stage.t.Helper()
	body := p.stage.data(document)
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		p.stage.t.Fatalf("a document is a JSON object, but the test gives %s", body)
	}
	p.stage.world.collection(collection).documents[key] = body
	return p
}

// Config sets a setting, as it would stand under plugins.settings.<plugin>.config in runtime.yaml.
func (p *Projection) Config(key string, value any) *Projection {
	p.stage.t.Helper()
	p.stage.config(key, value)
	return p
}

// Queries sets the function that answers questions.
func (p *Projection) Queries(answer func(*queries.Question) (any, error)) *Projection {
	p.answer = answer
	return p
}

// Attempt sets which attempt the next calls are; otherwise it is the first one.
func (p *Projection) Attempt(attempt int) *Projection {
	p.stage.context.Attempt = uint32(attempt)
	return p
}

// Stream sets the name of the stream that the next events come from; otherwise it is "TEST".
func (p *Projection) Stream(stream string) *Projection {
	p.stage.context.Stream = stream
	return p
}

// Now sets what host.Now says, in RFC 3339.
func (p *Projection) Now(now string) *Projection {
	p.stage.world.now = now
	return p
}

// TimeLeft sets what host.TimeLeft says, in whole milliseconds; otherwise it is the call's time limit, because time stands still.
func (p *Projection) TimeLeft(left time.Duration) *Projection {
	p.stage.world.timeLeft = uint32(left.Milliseconds())
	return p
}

// Unavailable makes every function of package readmodel fail, as if the store could not be reached.
func (p *Projection) Unavailable() *Projection {
	p.stage.world.unavailable = true
	return p
}

// Apply folds one event and tells what came of it.
func (p *Projection) Apply(event Event) *Run {
	p.stage.t.Helper()
	return p.stage.run(p.call, event)
}

// Ask asks a question about the documents; params are written as a JSON object, nil as an empty one. A panic of the projection is
// the test's.
func (p *Projection) Ask(name string, params any) *Answer {
	t := p.stage.t
	t.Helper()
	if p.answer == nil {
		t.Fatal("the projection answers no questions: Queries says which function does")
	}
	if params == nil {
		params = struct{}{}
	}
	question := &queries.Question{Name: name, Params: p.stage.data(params)}
	stand := p.stage.world.stand()
	answer := &Answer{t: t}
	contract.With(stand, func() {
		value, err := p.answer(question)
		if err == nil {
			answer.Data, err = encode.JSON(value)
		}
		if err != nil {
			answer.Data, answer.Reason = nil, err.Error()
		}
	})
	if stand.refusal != "" {
		answer.Data, answer.Reason = nil, stand.refusal
	}
	return answer
}
