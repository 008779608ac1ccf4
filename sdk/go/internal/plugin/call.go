// Package plugin stands between the contract's values and an author's functions. The same code runs in a component and in a test.
package plugin

import (
	"errors"
	"math"
	"slices"
	"time"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/decode"
)

// A Call gives one event to the author's function.
type Call func(event contract.Event, context contract.Context) error

// Typed makes a Call of a function that wants its data as T. Data that does not fit is rejected before the function is called.
func Typed[T any](function func(*tidemill.Context, tidemill.Event[T]) error) Call {
	return func(event contract.Event, context contract.Context) error {
		given := &given[T]{
			event: tidemill.Event[T]{
				ID:              event.ID,
				Source:          event.Source,
				Kind:            event.Kind,
				Time:            event.Time,
				Subject:         event.Subject,
				DataContentType: event.Datacontenttype,
				DataSchema:      event.Dataschema,
				Extensions:      contract.Extensions(event.Extensions),
			},
			context: tidemill.Context{
				Route:       context.Route,
				Attempt:     int(context.Attempt),
				MaxAttempts: int(context.MaxAttempts),
				Stream:      context.Stream,
				Sequence:    context.Sequence,
				TimeLimit:   time.Duration(context.TimeLimit) * time.Millisecond,
			},
		}
		if raw, ok := any(&given.event.Data).(*tidemill.Raw); ok {
			// The host's copy is gone when the call ends; this one the author may keep.
			*raw = slices.Clone(event.Data)
		} else if err := decode.JSON("the event's data", event.Data, &given.event.Data); err != nil {
			return tidemill.Rejectf("%w", err)
		}
		return function(&given.context, given.event)
	}
}

// What the author's function is given, in one piece of memory.
type given[T any] struct {
	event   tidemill.Event[T]
	context tidemill.Context
}

// Verdict is what the host is told: nothing for success. An error in which nobody decided means retry.
func Verdict(err error) *contract.Failure {
	if err == nil {
		return nil
	}
	var failure *tidemill.Failure
	if errors.As(err, &failure) && failure.IsReject() {
		return &contract.Failure{Case: contract.FailureReject, Reject: err.Error()}
	}
	retry := contract.Retry{Reason: err.Error()}
	if failure != nil {
		if delay, asked := failure.Delay(); asked {
			millis := uint32(min(max(delay.Milliseconds(), 0), math.MaxUint32))
			retry.Delay = &millis
		}
	}
	return &contract.Failure{Case: contract.FailureRetry, Retry: retry}
}
