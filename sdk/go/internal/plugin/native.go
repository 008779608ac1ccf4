//go:build !wasip1

package plugin

import (
	"fmt"
	"os"
)

// Stray ends a plugin that was started like a program.
func Stray() {
	fmt.Fprintln(os.Stderr, "this is a plugin, not a program: `tidemill build` makes a component of it, and `go test` tests it")
	os.Exit(2)
}
