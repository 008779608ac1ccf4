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
	queries.Query = func(name string, params []byte) ([]byte, *contract.Failure) {
		defer plugin.Guard()
		plugin.Start()
		if registered == nil {
			panic("main did not call queries.Answer")
		}
		value, err := registered(&Question{Name: name, Params: params})
		if err != nil {
			return nil, plugin.Verdict(err)
		}
		answer, err := encode.JSON(value)
		return answer, plugin.Verdict(err)
	}
}
