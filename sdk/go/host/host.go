// Package host gives time, identity and randomness. They come from the host, so that a test or a replay can fix them.
package host

import (
	"time"

	"tidemill.dev/tidemill/internal/contract"
)

// Now gives the current time in UTC, in milliseconds.
func Now() time.Time {
	now, err := time.Parse(time.RFC3339, contract.HostNow())
	if err != nil {
		panic("the host's time is not RFC 3339, as the contract says it is: " + err.Error())
	}
	return now.UTC()
}

// StableID gives an id that is the same each time this event is handled by this route: a UUIDv5 of route, stream, sequence and
// name. Use it where a repeated call must make the same thing again.
func StableID(name string) string {
	return contract.HostStableID(name)
}

// TimeLeft gives what is left of the call's time limit, in whole milliseconds; zero while the plugin starts. It is meant for the
// timeouts of what may be slow: a request over HTTP that may take no longer than this ends in an error that the plugin can tell, and
// not in an interruption.
func TimeLeft() time.Duration {
	return time.Duration(contract.HostTimeLeft()) * time.Millisecond
}

// Random gives random bytes, at most 4096; cryptographically strong.
func Random(length int) []byte {
	return contract.HostRandom(uint32(max(length, 0)))
}
