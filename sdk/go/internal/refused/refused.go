// Package refused holds the errors of what the host refuses: the host's own words, and what kind of refusal it is.
package refused

// New is an error that says text and is a kind.
func New(kind error, text string) error {
	return &refusal{kind, text}
}

type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }
