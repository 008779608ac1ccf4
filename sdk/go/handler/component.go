//go:build wasip1

package handler

import (
	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/contract/eventhandler"
	"tidemill.dev/tidemill/internal/plugin"
)

var registered plugin.Call

func register(call plugin.Call) {
	if registered != nil {
		panic("a plugin has one handler: handler.Handle was called twice")
	}
	registered = call
}

func init() {
	eventhandler.Handle = func(event contract.Event, context contract.Context) *contract.Failure {
		defer plugin.Guard()
		plugin.Start()
		if registered == nil {
			panic("main did not call handler.Handle")
		}
		return plugin.Verdict(registered(event, context))
	}
}
