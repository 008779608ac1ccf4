//go:build wasip1

package plugin

import (
	_ "unsafe" // for go:linkname

	"tidemill.dev/tidemill/internal/abi"
	"tidemill.dev/tidemill/internal/contract"
)

var started bool

// Start has main say which functions are the plugin's, once.
func Start() {
	if !started {
		started = true
		authorMain()
	}
}

// Guard, deferred around the author's code, sends a panic to the log with its stack, and ends the instance: what it left half done,
// globals or a locked mutex, must not meet another event.
func Guard() {
	if panicked := recover(); panicked != nil {
		for _, line := range Report(panicked) {
			contract.LogWrite(contract.LevelError, line, nil)
		}
		abi.Trap()
	}
}

// Go builds a component as a library, and does not run a library's main. So the SDK does, when the host calls for the first time.
//
//go:linkname authorMain main.main
func authorMain()
