// Package emit publishes events. It is for handlers.
package emit

import (
	"errors"
	"fmt"

	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/encode"
	"tidemill.dev/tidemill/internal/refused"
)

// An Event is published only after the handler has returned nil. The host adds what is its own: a deterministic id, the
// source, the time, and the correlationid, causationid and traceparent of the event that is being handled.
type Event struct {
	// The NATS subject to publish to. It must be granted: the route's "emits" in runtime.yaml.
	To string
	// The CloudEvents attribute "type". Where a schema is registered for it, the data must match.
	Kind string
	// The CloudEvents attribute "subject": what the event is about. Not the NATS subject. Empty for none.
	Subject string
	// "application/json" when left out.
	DataContentType string
	// The schema that the data follows, where it is not the newest one of the type. Empty for none.
	DataSchema string
	// Extension attributes of your own; their names are made of a-z and 0-9.
	Extensions map[string]string
	// Bytes, a [tidemill.Raw] or a [json.RawMessage] are published as they are. Anything else is written as JSON; nil is no data.
	Data any
}

// What an emit may be refused for: [errors.Is] tells. The host fails a call with a refused emit even if the handler returns nil:
// half of what a handler wanted is never done.
var (
	// ErrNotGranted: the subject is not granted. The error names the line of runtime.yaml that would allow it.
	ErrNotGranted = errors.New("the emit is not granted")
	// ErrInvalid: a subject, type or attribute breaks a rule.
	ErrInvalid = errors.New("the emit breaks a rule")
	// ErrLimit: a limit on emits or their bytes is used up. The error names it.
	ErrLimit = errors.New("a limit on emits is used up")
)

// Send hands an event to the host.
func Send(event Event) error {
	data, err := encode.Data(event.Data)
	if err != nil {
		return fmt.Errorf("the data of the emit to `%s` cannot be written as JSON: %w", event.To, err)
	}
	failure := contract.EmitEmit(contract.Outgoing{
		To:              event.To,
		Kind:            event.Kind,
		Subject:         event.Subject,
		Datacontenttype: event.DataContentType,
		Dataschema:      event.DataSchema,
		Extensions:      contract.Attributes(event.Extensions),
		Data:            data,
	})
	if failure == nil {
		return nil
	}
	switch failure.Case {
	case contract.EmitErrorNotGranted:
		return refused.New(ErrNotGranted, failure.Value)
	case contract.EmitErrorInvalid:
		return refused.New(ErrInvalid, failure.Value)
	default:
		return refused.New(ErrLimit, failure.Value)
	}
}
