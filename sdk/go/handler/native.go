//go:build !wasip1

package handler

import "tidemill.dev/tidemill/internal/plugin"

func register(plugin.Call) {
	plugin.Stray()
}
