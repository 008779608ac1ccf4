package tidemilltest

import (
	"testing"
	"time"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/internal/plugin"
)

// A Handler is a handler's function under test, and the world around it: settings and state. What a call did stays for the next
// one, if the call was done.
type Handler struct {
	stage stage
	call  plugin.Call
}

// NewHandler puts a handler's function into an empty world, in which every emit is granted.
func NewHandler[T any](t testing.TB, handle func(*tidemill.Context, tidemill.Event[T]) error) *Handler {
	return &Handler{newStage(t, roleHandler), plugin.Typed(handle)}
}

// Config sets a setting, as it would stand under plugins.settings.<plugin>.config in runtime.yaml.
func (h *Handler) Config(key string, value any) *Handler {
	h.stage.t.Helper()
	h.stage.config(key, value)
	return h
}

// State sets what the state holds under a key: bytes as they are, anything else as JSON.
func (h *Handler) State(key string, value any) *Handler {
	h.stage.t.Helper()
	h.stage.world.state[key] = h.stage.data(value)
	return h
}

// Emits sets the subjects that may be emitted to, as the route's "emits" says.
func (h *Handler) Emits(patterns ...string) *Handler {
	h.stage.world.grants = append([]string{}, patterns...)
	return h
}

// Attempt sets which attempt the next calls are; otherwise it is the first one.
func (h *Handler) Attempt(attempt int) *Handler {
	h.stage.context.Attempt = uint32(attempt)
	return h
}

// MaxAttempts sets after how many attempts an event is dead-lettered; otherwise it is 5.
func (h *Handler) MaxAttempts(attempts int) *Handler {
	h.stage.context.MaxAttempts = uint32(attempts)
	return h
}

// Route sets the name of the route; otherwise it is "test".
func (h *Handler) Route(route string) *Handler {
	h.stage.context.Route = route
	return h
}

// Stream sets the name of the stream that the next events come from; otherwise it is "TEST".
func (h *Handler) Stream(stream string) *Handler {
	h.stage.context.Stream = stream
	return h
}

// Now sets what host.Now says, in RFC 3339.
func (h *Handler) Now(now string) *Handler {
	h.stage.world.now = now
	return h
}

// TimeLeft sets what host.TimeLeft says, in whole milliseconds; otherwise it is the call's time limit, because time stands still.
func (h *Handler) TimeLeft(left time.Duration) *Handler {
	h.stage.world.timeLeft = uint32(left.Milliseconds())
	return h
}

// StateUnavailable makes every function of package state fail, as if the store could not be reached.
func (h *Handler) StateUnavailable() *Handler {
	h.stage.world.unavailable = true
	return h
}

// Handle gives the handler one event and tells what came of it.
//
// A call that ends settled (done or rejected) moves the stream's sequence on. After a retry or a panic the next call has the same
// sequence, and so the same stable ids: it stands for the redelivery.
func (h *Handler) Handle(event Event) *Run {
	h.stage.t.Helper()
	return h.stage.run(h.call, event)
}
