// Package state is keyed state, for handlers. Each plugin has a namespace of its own, shared by all its routes and instances.
//
// A call sees its own writes; nobody else sees them before the call has succeeded and is committed, together with its emits. If
// somebody else changes a key between this call's reading and its commit, the host runs the call again on the new value. So read,
// compute, write is safe as it stands, and [Update] needs no loop:
//
//	seen, err := state.Update("orders/seen", func(seen int) int { return seen + 1 })
package state

import (
	"errors"
	"fmt"
	"iter"

	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/decode"
	"tidemill.dev/tidemill/internal/encode"
	"tidemill.dev/tidemill/internal/refused"
)

// MaxList is the most keys that one [List] gives.
const MaxList = 1000

// Why the host does not do what it is asked: [errors.Is] tells.
var (
	// ErrInvalidKey: the key breaks a rule: 1 to 256 bytes, no control characters.
	ErrInvalidKey = errors.New("the state's key breaks a rule")
	// ErrLimit: a limit is used up: the size of a value, the bytes or the number of writes of a call. The error names it.
	ErrLimit = errors.New("a limit on state is used up")
	// ErrUnavailable: the store cannot be reached. The host runs the call again without counting an attempt, whatever it returns.
	ErrUnavailable = errors.New("the state is unavailable")
)

// Get gives a key's value; nil where it has none.
func Get(key string) ([]byte, error) {
	value, failure := contract.StateGet(key)
	return value, refusal(failure)
}

// Put sets a key's value.
func Put(key string, value []byte) error {
	return refusal(contract.StatePut(key, value))
}

// Delete removes a key. Removing what is not there is no error.
func Delete(key string) error {
	return refusal(contract.StateDelete(key))
}

// CompareAndSet sets a key if its value is the expected one, and says whether it did. Nil stands for no value: the key is expected
// to be absent, or is removed.
func CompareAndSet(key string, expected, value []byte) (bool, error) {
	set, failure := contract.StateCompareAndSet(key, expected, value)
	return set, refusal(failure)
}

// List gives up to limit (at most [MaxList]) keys that begin with prefix, in byte order, after the key after; from the first one
// where that is empty.
func List(prefix, after string, limit int) ([]string, error) {
	keys, failure := contract.StateList(prefix, after, uint32(min(max(limit, 0), MaxList)))
	return keys, refusal(failure)
}

// Keys goes through all keys that begin with prefix, in byte order. It fetches a page at a time, so an early end costs nothing;
// after an error there are no more.
//
//	for key, err := range state.Keys("orders/") {
//		if err != nil {
//			return err
//		}
func Keys(prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		after := ""
		for {
			page, err := List(prefix, after, MaxList)
			if err != nil {
				yield("", err)
				return
			}
			for _, key := range page {
				if !yield(key, nil) {
					return
				}
				after = key
			}
			if len(page) < MaxList {
				return
			}
		}
	}
}

// GetJSON reads a key's value as JSON, and says whether there is one.
func GetJSON[T any](key string) (value T, found bool, err error) {
	text, err := Get(key)
	if err != nil || text == nil {
		return value, false, err
	}
	if err := decode.Plain(text, &value); err != nil {
		return value, false, unfit(key, err)
	}
	return value, true, nil
}

// PutJSON sets a key's value, written as JSON.
func PutJSON(key string, value any) error {
	text, err := encode.JSON(value)
	if err != nil {
		return unfit(key, err)
	}
	return Put(key, text)
}

// InsertJSON sets a key that has no value yet, and says whether it did. A key that has one keeps it.
func InsertJSON(key string, value any) (bool, error) {
	text, err := encode.JSON(value)
	if err != nil {
		return false, unfit(key, err)
	}
	return CompareAndSet(key, nil, text)
}

// Update reads a key as JSON, changes it and writes it back; the zero value of T stands for a key without a value. It gives the
// new value.
func Update[T any](key string, change func(T) T) (T, error) {
	value, _, err := GetJSON[T](key)
	if err != nil {
		return value, err
	}
	value = change(value)
	return value, PutJSON(key, value)
}

func unfit(key string, err error) error {
	return fmt.Errorf("the state's value of `%s`: %w", key, err)
}

func refusal(failure *contract.StateError) error {
	if failure == nil {
		return nil
	}
	switch failure.Case {
	case contract.StateErrorInvalidKey:
		return refused.New(ErrInvalidKey, failure.Value)
	case contract.StateErrorLimit:
		return refused.New(ErrLimit, failure.Value)
	default:
		return refused.New(ErrUnavailable, ErrUnavailable.Error()+": "+failure.Value)
	}
}
