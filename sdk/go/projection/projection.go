// Package projection makes a plugin that folds events into collections of documents.
package projection

import (
	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/internal/plugin"
)

// Apply says which function folds the projection's events into its documents, with package readmodel. It is called once, by main:
//
//	func main() { projection.Apply(fold) }
//
//	func fold(ctx *tidemill.Context, event tidemill.Event[Order]) error { ... }
//
// Events come one by one, in the order of their stream; between streams there is no order. What is written becomes durable
// together with the projection's position, so each event is folded exactly once. On an error, after a panic and after a timeout
// this event's writes are undone, and no others.
//
// A rebuild folds all events again, into empty collections: nothing but the event and the documents should decide what comes of
// it, neither the time nor chance.
//
// An error means retry, unless there is a [tidemill.Reject] in it. Data that does not fit T rejects the event, with the place and
// the reason, before the function is called; where events of several types are folded, T is [tidemill.Raw].
func Apply[T any](apply func(ctx *tidemill.Context, event tidemill.Event[T]) error) {
	register(plugin.Typed(apply))
}
