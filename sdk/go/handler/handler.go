// Package handler makes a plugin that handles events.
package handler

import (
	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/internal/plugin"
)

// Handle says which function handles the plugin's events. It is called once, by main:
//
//	func main() { handler.Handle(check) }
//
//	func check(ctx *tidemill.Context, event tidemill.Event[Order]) error { ... }
//
// When the function returns nil, the emits and state writes of the call become durable together with the fact that the event is
// done, all of them or none. On an error, after a panic and after a timeout none of them happens. The same event may be given
// again, after a failure or a crash; effects of an earlier successful call are not doubled.
//
// An error means retry, unless there is a [tidemill.Reject] in it. Data that does not fit T rejects the event, with the place and
// the reason, before the function is called.
func Handle[T any](handle func(ctx *tidemill.Context, event tidemill.Event[T]) error) {
	register(plugin.Typed(handle))
}
