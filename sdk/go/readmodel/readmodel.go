// Package readmodel is the documents of a projection: collections of JSON objects, found by key or by an indexed field.
//
// Collections and their indexes are declared in runtime.yaml, under the projection. An event sees its own writes and those of all
// events before it. A refused write fails the event, even if the projection ignores it; a refused read is its own to judge.
//
//	customer, err := readmodel.Update("customers", id, func(customer Customer) Customer {
//		customer.Orders++
//		return customer
//	})
package readmodel

import (
	"errors"
	"fmt"
	"iter"

	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/decode"
	"tidemill.dev/tidemill/internal/encode"
	"tidemill.dev/tidemill/internal/refused"
)

// How many documents Find asks the host for at once.
const page = 100

// Why the host does not do what it is asked: [errors.Is] tells.
var (
	// ErrNoCollection: the collection is not declared. The error names the line that would declare it.
	ErrNoCollection = errors.New("the collection is not declared")
	// ErrNoIndex: the field is not indexed. The error names the line that would index it.
	ErrNoIndex = errors.New("the field is not indexed")
	// ErrInvalid: the document is no JSON object, or a key, a field or a value breaks a rule: keys have 1 to 256 bytes and no
	// control characters.
	ErrInvalid = errors.New("the document or its key breaks a rule")
	// ErrReadOnly: queries read and do not write.
	ErrReadOnly = errors.New("a query reads documents and writes none")
	// ErrLimit: a limit is used up: the size of a document, the bytes or the number of writes of an event. The error names it.
	ErrLimit = errors.New("a limit on documents is used up")
	// ErrUnavailable: the store cannot be reached. The host folds the event again without counting an attempt, whatever it
	// returns.
	ErrUnavailable = errors.New("the read model is unavailable")
)

// A Document is one that was found.
type Document[T any] struct {
	Key  string
	Body T
}

// Get reads a document, and says whether there is one under the key.
func Get[T any](collection, key string) (document T, found bool, err error) {
	body, failure := contract.ReadModelGet(collection, key)
	if failure != nil || body == nil {
		return document, false, refusal(failure)
	}
	if err := decode.Plain(body, &document); err != nil {
		return document, false, unfit(collection, key, err)
	}
	return document, true, nil
}

// Put sets a document. It must be written as a JSON object.
func Put(collection, key string, document any) error {
	body, err := encode.JSON(document)
	if err != nil {
		return unfit(collection, key, err)
	}
	return refusal(contract.ReadModelPut(collection, key, body))
}

// Delete removes a document. Removing what is not there is no error.
func Delete(collection, key string) error {
	return refusal(contract.ReadModelDelete(collection, key))
}

// Update reads a document, changes it and writes it back; the zero value of T stands for one that is not there. It gives the new
// one.
func Update[T any](collection, key string, change func(T) T) (T, error) {
	document, _, err := Get[T](collection, key)
	if err != nil {
		return document, err
	}
	document = change(document)
	return document, Put(collection, key, document)
}

// Find goes through all documents whose indexed field ("status", "address.city") equals value, in the order of their keys. It
// fetches a page at a time, so an early end costs nothing; after an error there are no more.
//
//	for order, err := range readmodel.Find[Order]("orders", "status", "pending") {
//		if err != nil {
//			return err
//		}
func Find[T any](collection, field string, value any) iter.Seq2[Document[T], error] {
	return func(yield func(Document[T], error) bool) {
		wanted, err := encode.JSON(value)
		if err != nil {
			yield(Document[T]{}, unfit(collection, field, err))
			return
		}
		after := ""
		for {
			found, failure := contract.ReadModelFind(collection, field, wanted, after, page)
			if failure != nil {
				yield(Document[T]{}, refusal(failure))
				return
			}
			for _, it := range found {
				document := Document[T]{Key: it.Key}
				if err := decode.Plain(it.Body, &document.Body); err != nil {
					yield(document, unfit(collection, it.Key, err))
					return
				}
				if !yield(document, nil) {
					return
				}
				after = it.Key
			}
			if len(found) < page {
				return
			}
		}
	}
}

func unfit(collection, key string, err error) error {
	return fmt.Errorf("the document `%s` of the collection `%s`: %w", key, collection, err)
}

func refusal(failure *contract.ReadModelError) error {
	if failure == nil {
		return nil
	}
	kinds := map[contract.ReadModelErrorCase]error{
		contract.ReadModelErrorNoCollection: ErrNoCollection,
		contract.ReadModelErrorNoIndex:      ErrNoIndex,
		contract.ReadModelErrorInvalid:      ErrInvalid,
		contract.ReadModelErrorReadOnly:     ErrReadOnly,
		contract.ReadModelErrorLimit:        ErrLimit,
		contract.ReadModelErrorUnavailable:  ErrUnavailable,
	}
	return refused.New(kinds[failure.Case], failure.Value)
}
