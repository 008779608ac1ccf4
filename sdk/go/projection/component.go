//go:build wasip1

package projection

import (
	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/contract/eventprojection"
	"tidemill.dev/tidemill/internal/plugin"
)

var registered plugin.Call

func register(call plugin.Call) {
	if registered != nil {
		panic("a plugin has one projection: projection.Apply was called twice")
	}
	registered = call
}

func init() {
	eventprojection.Apply = func(event contract.Event, context contract.Context) *contract.Failure {
		defer plugin.Guard()
		plugin.Start()
		if registered == nil {
			panic("main did not call projection.Apply")
		}
		return plugin.Verdict(registered(event, context))
	}
}
