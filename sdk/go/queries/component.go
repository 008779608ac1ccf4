//go:build wasip1

package queries

import (
	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/contract/queries"
	"tidemill.dev/tidemill/internal/encode"
	"tidemill.dev/tidemill/internal/plugin"
)

var registered func(*Question) (any, error)

func register(answer func(*Question) (any, error)) {
	if registered != nil {
		panic("a projection has one function for questions: queries.Answer was called twice")
	}
	registered = answer
}

func init() {
	queries.Query = func(name string, params []byte) (answer []byte, failure *contract.Failure) {
		plugin.Run(func() {
			if registered == nil {
				panic("main did not call queries.Answer")
			}
			value, err := registered(&Question{Name: name, Params: params})
			if err == nil {
				answer, err = encode.JSON(value)
			}
			failure = plugin.Verdict(err)
		})
		return answer, failure
	}
}
