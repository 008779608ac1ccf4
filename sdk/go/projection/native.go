//go:build !wasip1

package projection

import "tidemill.dev/tidemill/internal/plugin"

func register(plugin.Call) {
	plugin.Stray()
}
