package tidemilltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"tidemill.dev/tidemill/internal/contract"
)

// The largest document that a default host accepts, and the longest text that it indexes.
const (
	maxDocumentBytes = 512 << 10
	maxIndexedBytes  = 512
)

func (s *stand) ReadModelGet(name, key string) ([]byte, *contract.ReadModelError) {
	found, failure := s.open(name, key)
	if failure != nil {
		return nil, failure
	}
	return slices.Clone(found.documents[key]), nil
}

func (s *stand) ReadModelPut(name, key string, body []byte) *contract.ReadModelError {
	return s.write(name, key, func(found *collection) *contract.ReadModelError {
		if failure := found.check(name, body); failure != nil {
			return failure
		}
		found.documents[key] = slices.Clone(body)
		return nil
	})
}

func (s *stand) ReadModelDelete(name, key string) *contract.ReadModelError {
	return s.write(name, key, func(found *collection) *contract.ReadModelError {
		delete(found.documents, key)
		return nil
	})
}

func (s *stand) ReadModelFind(name, field string, value []byte, after string, limit uint32) ([]contract.Document, *contract.ReadModelError) {
	found, failure := s.declared(name)
	if failure != nil {
		return nil, failure
	}
	if !slices.Contains(found.indexes, field) {
		return nil, refused(contract.ReadModelErrorNoIndex, "the field `%s` of the collection `%s` is not indexed; "+
			"`projections[].collections.%s.indexes: [%s]` in runtime.yaml would index it", field, name, name, field)
	}
	var wanted any
	if err := json.Unmarshal(value, &wanted); err != nil {
		return nil, refused(contract.ReadModelErrorInvalid,
			"a value to search for is refused: expected JSON that can be indexed, found no JSON: %v", err)
	}
	var documents []contract.Document
	for _, key := range slices.Sorted(maps.Keys(found.documents)) {
		body := found.documents[key]
		if is, has := at(body, field); has && (after == "" || key > after) && isSame(is, wanted) {
			documents = append(documents, contract.Document{Key: key, Body: slices.Clone(body)})
		}
	}
	return documents[:min(len(documents), int(min(limit, maxList)))], nil
}

func (s *stand) declared(name string) (*collection, *contract.ReadModelError) {
	if s.world.role != roleProjection {
		panic("only a projection has a read model; the host refuses a handler that uses it")
	}
	if s.world.unavailable {
		return nil, refused(contract.ReadModelErrorUnavailable, "the read model is unavailable: the harness says so")
	}
	found := s.world.collections[name]
	if found == nil {
		return nil, refused(contract.ReadModelErrorNoCollection, "the collection `%s` is not declared; "+
			"`projections[].collections.%s` in runtime.yaml would declare it", name, name)
	}
	return found, nil
}

func (s *stand) open(name, key string) (*collection, *contract.ReadModelError) {
	found, failure := s.declared(name)
	if failure != nil {
		return nil, failure
	}
	if wrong := checkKey(key, "a document's key"); wrong != "" {
		return nil, refused(contract.ReadModelErrorInvalid, "%s", wrong)
	}
	return found, nil
}

// Writes, or remembers the refusal: it fails the call, whatever the plugin makes of it.
func (s *stand) write(name, key string, write func(*collection) *contract.ReadModelError) *contract.ReadModelError {
	found, failure := s.open(name, key)
	switch {
	case failure != nil:
	case s.origin == nil:
		failure = refused(contract.ReadModelErrorReadOnly, "a query reads documents and writes none")
	default:
		failure = write(found)
	}
	if failure != nil && failure.Case != contract.ReadModelErrorUnavailable {
		s.refuse(failure.Value)
	}
	return failure
}

func (c *collection) check(name string, body []byte) *contract.ReadModelError {
	invalid := func(format string, args ...any) *contract.ReadModelError {
		why := fmt.Sprintf(format, args...)
		return refused(contract.ReadModelErrorInvalid, "a document of the collection `%s` is refused: %s", name, why)
	}
	if len(body) > maxDocumentBytes {
		return refused(contract.ReadModelErrorLimit, "the limit `document` of %d is used up", maxDocumentBytes)
	}
	var document any
	if err := json.Unmarshal(body, &document); err != nil {
		return invalid("expected a JSON object, found no JSON: %v", err)
	}
	if _, isObject := document.(map[string]any); !isObject {
		return invalid("expected a JSON object, found %s", body)
	}
	for _, field := range c.indexes {
		if value, _ := at(body, field); len(textOf(value)) > maxIndexedBytes {
			return invalid("its indexed field `%s` holds a text of %d bytes, at most %d can be indexed",
				field, len(textOf(value)), maxIndexedBytes)
		}
	}
	return nil
}

func textOf(value any) string {
	text, _ := value.(string)
	return text
}

// The value at a path like "address.city".
func at(document []byte, path string) (value any, has bool) {
	if err := json.Unmarshal(document, &value); err != nil {
		return nil, false
	}
	for name := range strings.SplitSeq(path, ".") {
		object, isObject := value.(map[string]any)
		if !isObject {
			return nil, false
		}
		if value, has = object[name]; !has {
			return nil, false
		}
	}
	return value, true
}

// Whether an index takes two values for the same: all lists and objects are.
func isSame(one, other any) bool {
	return isCompound(one) && isCompound(other) || reflect.DeepEqual(one, other)
}

func isCompound(value any) bool {
	switch value.(type) {
	case []any, map[string]any:
		return true
	default:
		return false
	}
}

func refused(kind contract.ReadModelErrorCase, format string, args ...any) *contract.ReadModelError {
	return &contract.ReadModelError{Case: kind, Value: fmt.Sprintf(format, args...)}
}
