//go:build wasip1

// Package abi moves values between Go and the memory through which the host calls a component: the canonical ABI of the
// component model, as far as Tidemill's contract needs it.
//
// The host writes what it hands over, an event or the value of a key, into memory that it asks of the guest by calling the
// export cabi_realloc. While it does so, the guest may call nothing of the host: the component model forbids it, and whoever
// tries is stopped. Go's allocator reads the clock now and then, for the garbage collector's sake, and in WASI the clock is
// the host's. So a cabi_realloc that allocates on Go's heap works some hundred or thousand times and then ends the instance.
// This one does not enter Go's runtime. It hands out pieces of a region that the garbage collector does not know, one behind
// the other, and takes them back all at once.
//
// What follows from that: nothing in the region may be kept. What leaves this package is a copy on Go's heap, but for views,
// which say so.
package abi

import "unsafe"

const (
	pageBytes = 64 << 10

	// As much as nearly every call needs. It costs no byte of the component.
	firstBytes = pageBytes

	// What the WASI adapter in front of the module keeps for good: a page for its stack, a page for its state, and room to align
	// them.
	adapterBytes = 2*pageBytes + 1024
)

// An arena is memory that is handed out from its beginning to its end. It never moves and is never given back.
type arena struct {
	// What it begins with. All addresses are made from this pointer, and it is never set: setting a pointer may call the garbage
	// collector.
	region unsafe.Pointer
	// Where the part that is handed out now begins, counted from region, how much of it is in use, and how large it is.
	begin, used, size uintptr
}

var (
	// Of words, so that they are aligned.
	firstRegion   [firstBytes / 8]uint64
	adapterRegion [adapterBytes / 8]uint64

	// Initialized by the linker: the adapter asks for memory before Go's runtime has begun.
	incoming = arena{region: unsafe.Pointer(&firstRegion), size: firstBytes}
	adapter  = arena{region: unsafe.Pointer(&adapterRegion), size: adapterBytes}
)

// The host's way to memory for what it hands over.
//
//go:wasmexport cabi_realloc
//go:nosplit
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	return incoming.realloc(old, oldSize, align, size)
}

// The WASI adapter's way to memory, which it keeps.
//
//go:wasmexport cabi_realloc_adapter
//go:nosplit
func reallocAdapter(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	return adapter.realloc(old, oldSize, align, size)
}

//go:nosplit
func (a *arena) realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil && size <= oldSize {
		return old
	}
	made := a.alloc(align, size)
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(made), oldSize), unsafe.Slice((*byte)(old), oldSize))
	}
	return made
}

// Hands out a piece. Where the memory is used up, it goes on in a new part, at least twice as large, and leaves the rest of the
// old one alone: whatever an instance is given, it wastes less than it needs.
//
//go:nosplit
func (a *arena) alloc(align, size uintptr) unsafe.Pointer {
	start := aligned(a.used, align)
	if start+size > a.size {
		a.size = aligned(max(2*a.size, size), pageBytes)
		a.begin = moreMemory(a.size) - uintptr(a.region)
		start = 0
	}
	a.used = start + size
	return unsafe.Add(a.region, a.begin+start)
}

//go:nosplit
func aligned(size, align uintptr) uintptr {
	return (size + align - 1) &^ (align - 1)
}

// Takes memory from the end of the linear memory, as Go's heap does when it grows. Another way would not do: the heap would
// believe that what somebody else took is its own.
//
//go:nosplit
func moreMemory(size uintptr) uintptr {
	taken := sbrk(size)
	if taken == nil {
		Trap()
	}
	return uintptr(taken)
}

// It takes no lock and reads no clock. It may grow the stack, which might: so there is [room] when the host comes.
//
//go:linkname sbrk runtime.sbrk
func sbrk(n uintptr) unsafe.Pointer
