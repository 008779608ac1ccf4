package tidemill

import (
	"errors"
	"fmt"
	"time"
)

// A Failure is an error that says what becomes of the event: trying again may help, or it will not.
//
// It may be wrapped: the outermost error's text is the reason, the Failure inside decides. An error without a Failure in it
// means retry.
type Failure struct {
	err    error
	reject bool
	after  *time.Duration
}

// Reject says that trying again will not help: the event is dead-lettered at once, with this reason.
func Reject(reason string) *Failure {
	return &Failure{err: errors.New(reason), reject: true}
}

// Rejectf is [Reject] with a reason made by [fmt.Errorf]; what %w names can be unwrapped.
func Rejectf(format string, args ...any) *Failure {
	return &Failure{err: fmt.Errorf(format, args...), reject: true}
}

// Retry says that trying again may help. When the attempts are used up, the event is dead-lettered.
//
//	return tidemill.Retry("the ledger is closed").After(30 * time.Second)
func Retry(reason string) *Failure {
	return &Failure{err: errors.New(reason)}
}

// Retryf is [Retry] with a reason made by [fmt.Errorf]; what %w names can be unwrapped.
func Retryf(format string, args ...any) *Failure {
	return &Failure{err: fmt.Errorf(format, args...)}
}

// After sets the shortest time until the next attempt; the route's backoff counts where that is longer. It changes nothing on
// a rejection.
func (f *Failure) After(delay time.Duration) *Failure {
	changed := *f
	changed.after = &delay
	return &changed
}

// Error is the reason.
func (f *Failure) Error() string {
	return f.err.Error()
}

// Unwrap is the error that the reason was made of.
func (f *Failure) Unwrap() error {
	return f.err
}

// IsReject says whether the event is dead-lettered at once.
func (f *Failure) IsReject() bool {
	return f.reject
}

// Delay is the shortest time until the next attempt, if there is one.
func (f *Failure) Delay() (delay time.Duration, asked bool) {
	if f.reject || f.after == nil {
		return 0, false
	}
	return *f.after, true
}
