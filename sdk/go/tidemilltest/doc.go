// Package tidemilltest is the host's stand-in for go test: it calls a plugin's functions as the host does, without Wasm and without
// a server.
//
//	func TestALargeOrderIsReported(t *testing.T) {
//		run := tidemilltest.NewHandler(t, check).
//			Config("threshold", 500).
//			Handle(tidemilltest.Event{Kind: "OrderCreated", Data: Order{ID: "o-1", Total: 750}})
//
//		run.AssertDone()
//		run.Emitted("FraudChecked").AssertData(map[string]any{"order": "o-1", "risk": "high"})
//		run.AssertState("large-orders", 1)
//	}
//
// It keeps the host's promises: what a call did stays only if the call is done, an emit that is not granted fails the call, a
// redelivery has the same stable ids. Limits on time and memory it does not have.
package tidemilltest
