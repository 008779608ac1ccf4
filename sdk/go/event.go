package tidemill

// An Event is a CloudEvents 1.0 event that has passed its JSON Schema, where one is registered.
//
// T is what its data is: any type that encoding/json can fill, or [Raw] for the bytes. An attribute that the event does not
// have is empty.
type Event[T any] struct {
	// Unique together with Source. A redelivery has the same id.
	ID     string
	Source string
	// The CloudEvents attribute "type", for example "OrderCreated".
	Kind string
	// RFC 3339, as the producer wrote it.
	Time string
	// The CloudEvents attribute "subject": what the event is about. Not the NATS subject.
	Subject         string
	DataContentType string
	DataSchema      string
	// The extension attributes by their names, which are in lower case: "correlationid", "traceparent", the producer's own.
	Extensions map[string]string
	Data       T
}
