//go:build wasip1

package abi

import "unsafe"

// New is room for a value that the host reads during the call.
func New(size, align uintptr) unsafe.Pointer {
	return incoming.alloc(align, size)
}

// PutUint8 writes a byte: a case, or a boolean.
func PutUint8(at unsafe.Pointer, offset uintptr, value uint8) {
	*(*uint8)(unsafe.Add(at, offset)) = value
}

// PutUint32 writes a number.
func PutUint32(at unsafe.Pointer, offset uintptr, value uint32) {
	*(*uint32)(unsafe.Add(at, offset)) = value
}

// PutString writes where a text is.
func PutString(at unsafe.Pointer, offset uintptr, value string) {
	PutUint32(at, offset, pin(unsafe.Pointer(unsafe.StringData(value))))
	PutUint32(at, offset+4, uint32(len(value)))
}

// PutBytes writes where a list of bytes is.
func PutBytes(at unsafe.Pointer, offset uintptr, value []byte) {
	PutUint32(at, offset, pin(unsafe.Pointer(unsafe.SliceData(value))))
	PutUint32(at, offset+4, uint32(len(value)))
}

// PutOptionString writes where a text is; the empty text is none.
func PutOptionString(at unsafe.Pointer, offset uintptr, value string) {
	PutUint8(at, offset, uint8(Some(value != "")))
	PutString(at, offset+4, value)
}

// PutOptionUint32 writes a number, if there is one.
func PutOptionUint32(at unsafe.Pointer, offset uintptr, value *uint32) {
	PutUint8(at, offset, uint8(Some(value != nil)))
	if value != nil {
		PutUint32(at, offset+4, *value)
	}
}

// PutList writes the items of a list, each of size bytes, and where they are.
func PutList[T any](at unsafe.Pointer, offset, size, align uintptr, values []T, item func(unsafe.Pointer, uintptr, T)) {
	PutUint32(at, offset, uint32(uintptr(Items(size, align, values, item))))
	PutUint32(at, offset+4, uint32(len(values)))
}

// Items writes the items of a list, each of size bytes.
func Items[T any](size, align uintptr, values []T, item func(unsafe.Pointer, uintptr, T)) unsafe.Pointer {
	first := New(size*uintptr(len(values)), align)
	for i, value := range values {
		item(first, uintptr(i)*size, value)
	}
	return first
}

// Some is the case of an option.
func Some(some bool) uint32 {
	if some {
		return 1
	}
	return 0
}

// Data is where the bytes of a list are.
func Data(value []byte) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(value))
}
