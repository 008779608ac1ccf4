// Package queries makes a projection answer questions that the host's query API cannot answer, because they need more than one
// document.
package queries

import (
	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/internal/decode"
)

// Answer says which function answers questions about the read model. It is called once, by main, beside projection.Apply:
//
//	func main() {
//		projection.Apply(fold)
//		queries.Answer(answer)
//	}
//
//	func answer(question *queries.Question) (any, error) {
//		switch question.Name {
//		case "spent":
//			...
//		default:
//			return nil, question.Unknown()
//		}
//	}
//
// What the function returns is written as JSON. It reads the read model as far as it has been folded; events may be folded between
// two reads. Writing is refused. Whoever asked is told the text of an error; nothing is tried again.
func Answer(answer func(question *Question) (any, error)) {
	register(answer)
}

// A Question is asked about the read model.
type Question struct {
	// What is asked.
	Name string
	// The parameters: a JSON object.
	Params tidemill.Raw
}

// Decode reads the parameters. What does not fit target is rejected, with the place and the reason.
func (q *Question) Decode(target any) error {
	if err := decode.JSON("the query's parameter object", q.Params, target); err != nil {
		return tidemill.Rejectf("%w", err)
	}
	return nil
}

// Unknown says that there is no query of this name.
func (q *Question) Unknown() error {
	return tidemill.Reject("there is no query `" + q.Name + "`")
}
