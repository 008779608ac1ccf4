//go:build !wasip1

package contract

import "sync"

var (
	stage   sync.Mutex
	current Host
)

// With answers the calls of a plugin from a host while it runs. Others wait: a plugin's functions name no host, so there is one.
func With(stand Host, run func()) {
	stage.Lock()
	defer stage.Unlock()
	defer func() { current = nil }()
	current = stand
	run()
}

func host() Host {
	if current == nil {
		panic("outside of a plugin the host can be asked only inside of a harness: see tidemill.dev/tidemill/tidemilltest")
	}
	return current
}
