package tidemilltest

import (
	"fmt"
	"maps"
	"strconv"
	"testing"

	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/encode"
	"tidemill.dev/tidemill/internal/plugin"
)

// A stage is what surrounds a plugin under test, whatever kind of plugin it is: the world, and where the next call stands.
type stage struct {
	t        testing.TB
	world    *world
	context  contract.Context
	sequence int
}

func newStage(t testing.TB, role role) stage {
	context := contract.Context{Route: "test", Attempt: 1, MaxAttempts: 5, Stream: "TEST", TimeLimit: timeLimit}
	return stage{t: t, world: newWorld(role), context: context, sequence: 1}
}

func (s *stage) config(key string, value any) {
	s.t.Helper()
	if text, isText := value.(string); isText {
		s.world.config[key] = text
		return
	}
	s.world.config[key] = string(s.data(value))
}

// What a test gives as data: bytes as they are, anything else as JSON.
func (s *stage) data(value any) []byte {
	s.t.Helper()
	data, err := encode.Data(value)
	if err != nil {
		s.t.Fatalf("the test's value cannot be written as JSON: %v", err)
	}
	return data
}

// Makes one call. What it did stays only if it is done; the sequence goes on when the event is settled.
func (s *stage) run(call plugin.Call, event Event) *Run {
	s.t.Helper()
	given := s.event(event)
	s.context.Sequence = strconv.Itoa(s.sequence)
	stand := s.world.stand()
	stand.origin = &s.context
	var err error
	var panicked any
	contract.With(stand, func() {
		defer func() {
			if panicked = recover(); panicked != nil {
				for _, line := range plugin.Report(panicked) {
					stand.LogWrite(contract.LevelError, line, nil)
				}
			}
		}()
		err = call(given, s.context)
	})
	run := &Run{Outcome: outcome(plugin.Verdict(err), panicked, stand.refusal), Logs: stand.logs, t: s.t}
	if run.Outcome.Ended == Done {
		s.world, run.Emits = stand.world, stand.emits
		for _, emit := range run.Emits {
			emit.t = s.t
		}
	}
	if run.Outcome.Ended == Done || run.Outcome.Ended == Rejected {
		s.sequence++
	}
	run.State = maps.Clone(s.world.state)
	run.documents = s.world.clone().collections
	return run
}

// How a call ended, by the host's rules: a plugin that passes on a refusal, or ignores it, has met the refusal.
func outcome(failure *contract.Failure, panicked any, refusal string) Outcome {
	switch {
	case panicked != nil:
		return Outcome{Ended: Panicked, Reason: fmt.Sprint(panicked)}
	case failure != nil && failure.Case == contract.FailureReject:
		return Outcome{Ended: Rejected, Reason: failure.Reject}
	case refusal != "":
		return Outcome{Ended: Refused, Reason: refusal}
	case failure != nil:
		return Outcome{Ended: Retried, Reason: failure.Retry.Reason, After: millis(failure.Retry.Delay)}
	default:
		return Outcome{Ended: Done}
	}
}
