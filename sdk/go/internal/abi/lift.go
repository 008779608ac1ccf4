//go:build wasip1

package abi

import (
	"strings"
	"unsafe"
)

// All functions that read memory take a place and an offset, so that they can be passed to [List].

// Uint8 reads a byte: a case, or a boolean.
func Uint8(at unsafe.Pointer, offset uintptr) uint8 {
	return *(*uint8)(unsafe.Add(at, offset))
}

// Uint32 reads a number.
func Uint32(at unsafe.Pointer, offset uintptr) uint32 {
	return *(*uint32)(unsafe.Add(at, offset))
}

// Bool reads a boolean.
func Bool(at unsafe.Pointer, offset uintptr) bool {
	return Uint8(at, offset) != 0
}

// String copies a text.
func String(at unsafe.Pointer, offset uintptr) string {
	return StringAt(pointer(at, offset), Uint32(at, offset+4))
}

// StringAt copies the text that is there. Short texts share a piece of memory, because an event has a dozen of them and each piece
// costs more than its copy.
func StringAt(at unsafe.Pointer, length uint32) string {
	if length == 0 {
		return ""
	}
	if length > sharedBytes/4 {
		return strings.Clone(unsafe.String((*byte)(at), length))
	}
	if int(length) > len(shared) {
		shared = make([]byte, sharedBytes)
	}
	copied := shared[:length:length]
	shared = shared[length:]
	copy(copied, unsafe.Slice((*byte)(at), length))
	return unsafe.String(&copied[0], length)
}

// Whoever keeps a text keeps no more than this.
const sharedBytes = 512

// What is left of the present piece.
var shared []byte

// Bytes copies a list of bytes; it is never nil.
func Bytes(at unsafe.Pointer, offset uintptr) []byte {
	return BytesAt(pointer(at, offset), Uint32(at, offset+4))
}

// BytesAt copies the list of bytes that is there; it is never nil.
func BytesAt(at unsafe.Pointer, length uint32) []byte {
	copied := make([]byte, length)
	copy(copied, unsafe.Slice((*byte)(at), length))
	return copied
}

// View is a list of bytes where the host wrote it. It is gone when the call of the host ends.
func View(at unsafe.Pointer, offset uintptr) []byte {
	return unsafe.Slice((*byte)(pointer(at, offset)), Uint32(at, offset+4))
}

// OptionString copies a text; none is the empty text.
func OptionString(at unsafe.Pointer, offset uintptr) string {
	if !Bool(at, offset) {
		return ""
	}
	return String(at, offset+4)
}

// OptionBytes copies a list of bytes; none is nil.
func OptionBytes(at unsafe.Pointer, offset uintptr) []byte {
	if !Bool(at, offset) {
		return nil
	}
	return Bytes(at, offset+4)
}

// List reads a list whose items have size bytes.
func List[T any](at unsafe.Pointer, offset, size uintptr, item func(unsafe.Pointer, uintptr) T) []T {
	length := uintptr(Uint32(at, offset+4))
	if length == 0 {
		return nil
	}
	first := pointer(at, offset)
	items := make([]T, length)
	for i := range items {
		items[i] = item(first, uintptr(i)*size)
	}
	return items
}

// An address is 32 bits wide, a Go pointer 64. The sum is made from a pointer that is one, which the tools can follow.
func pointer(at unsafe.Pointer, offset uintptr) unsafe.Pointer {
	return unsafe.Add(at, int(Uint32(at, offset))-int(uintptr(at)))
}
