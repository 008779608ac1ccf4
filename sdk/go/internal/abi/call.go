//go:build wasip1

package abi

import "unsafe"

// Result is where the results of a call lie: the host's, of an import, and ours, of an export. There is one such place, because
// between its filling and its reading nothing else runs.
var Result = unsafe.Pointer(&resultArea)

var resultArea [resultBytes / 8]uint64

const resultBytes = 64

// What was handed to the host as a bare address: an address does not keep a value alive, nor off the stack.
var pinned []unsafe.Pointer

// Enter begins a call of the host.
func Enter() {
	clear(pinned)
	pinned = pinned[:0]
}

// Leave ends a call of the host: what it handed over is gone.
func Leave() {
	incoming.used = 0
	room()
}

// A Place is how far the memory was used before a call to the host.
type Place struct {
	begin, used uintptr
	pinned      int
}

// Mark begins a call to the host.
func Mark() Place {
	room()
	return Place{incoming.begin, incoming.used, len(pinned)}
}

// Release ends a call to the host: what it answered is gone, and what it was handed is ours again. What the host handed over
// before is still there.
func (p Place) Release() {
	clear(pinned[p.pinned:])
	pinned = pinned[:p.pinned]
	if incoming.begin == p.begin {
		incoming.used = p.used
	} else {
		incoming.used = 0
	}
}

func pin(value unsafe.Pointer) uint32 {
	pinned = append(pinned, value)
	return uint32(uintptr(value))
}

// Trap ends the instance, at once and without a word.
func Trap()

// Sees to it that the stack has a KiB left.
func room()
