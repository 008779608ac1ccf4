package tidemilltest

import "tidemill.dev/tidemill/internal/contract"

// An Event is one to give to a plugin. What is left out has a plausible value.
type Event struct {
	ID              string
	Source          string
	Kind            string
	Time            string
	Subject         string
	DataContentType string
	DataSchema      string
	Extensions      map[string]string
	// Bytes, a [tidemill.Raw] or a [json.RawMessage] as they are, anything else as JSON; nil is no data.
	Data any
}

func (s *stage) event(event Event) contract.Event {
	s.t.Helper()
	return contract.Event{
		ID:              or(event.ID, "event-1"),
		Source:          or(event.Source, "/test"),
		Kind:            or(event.Kind, "Test"),
		Time:            or(event.Time, "2026-01-01T00:00:00Z"),
		Subject:         event.Subject,
		Datacontenttype: or(event.DataContentType, "application/json"),
		Dataschema:      event.DataSchema,
		Extensions:      contract.Attributes(event.Extensions),
		Data:            s.data(event.Data),
	}
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
