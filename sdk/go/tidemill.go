// Package tidemill is for plugins of Tidemill, the WebAssembly event runtime for NATS JetStream: what goes into a handler or a
// projection, and what comes out of it.
//
//	package main
//
//	func main() { handler.Handle(check) }
//
//	func check(ctx *tidemill.Context, event tidemill.Event[Order]) error {
//		if event.Data.Total < 0 {
//			return tidemill.Reject("a total cannot be negative")
//		}
//		return emit.Send(emit.Event{To: "orders.checked", Kind: "OrderChecked", Data: event.Data})
//	}
//
// Package handler, or projection and queries, makes a plugin of a program; which of them main imports decides what kind of plugin
// it is. Packages emit and state are what a handler may ask of the host, readmodel is what a projection may, config, log and host
// what both may. Package tidemilltest is the host's stand-in for go test.
//
// A plugin is built by "tidemill build", which needs Go 1.25 or newer and nothing else. There are no files and no network in it.
// Goroutines are there, but all of them share one thread, and they rest between two calls.
package tidemill
