package tidemill

import "time"

// A Context says where a call stands: which route, which attempt, how much time.
type Context struct {
	// The route of runtime.yaml that delivers the event, or the projection that folds it.
	Route string
	// 1 for the first attempt.
	Attempt int
	// After this attempt fails the event is dead-lettered.
	MaxAttempts int
	// The stream of the original message. With Sequence it names the event for ever, also after a retry or a redrive.
	Stream string
	// The sequence of the original message in its stream, as decimal text.
	Sequence string
	// How long the call may take, counted from its start. A call that takes longer is interrupted.
	TimeLimit time.Duration
}

// IsLastAttempt says whether a failure of this call dead-letters the event.
func (c *Context) IsLastAttempt() bool {
	return c.Attempt >= c.MaxAttempts
}
