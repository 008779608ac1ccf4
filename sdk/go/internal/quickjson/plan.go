// Package quickjson reads and writes the JSON that most plugins have, several times as fast as encoding/json does.
//
// In WebAssembly encoding/json costs ten times what it costs natively: it calls a function for each byte, twice. For an event of
// 300 bytes that is more than everything else that happens to the event. This package has straight loops instead.
//
// It has no rules of its own. What it does not know for certain, it leaves to encoding/json: a single value of a type with
// methods, or all of it, by saying that it did nothing. So it knows no errors either; whoever is told "no" asks encoding/json,
// which has the words. The tests hold it against encoding/json, with texts and values made by chance.
package quickjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// What is nested deeper is left to encoding/json, which has a limit of its own.
const maxDepth = 500

// Room for as many items is made before it is known how many there are.
const someItems = 4

// A kind says how a type is read and written.
type kind uint8

const (
	// Read and written by encoding/json, value by value.
	foreign kind = iota
	text
	flag
	// Of eight bytes, and of less.
	whole
	integer
	natural
	float
	list
	object
	pointer
	// An interface without methods.
	anything
	// Keys are strings, values anything.
	dictionary
)

// A plan is what is known of a type.
type plan struct {
	kind kind
	typ  reflect.Type
	// Of a list's items, or of what a pointer points to.
	element *plan
	// Of a list: the array that its items are read into at first.
	someItems reflect.Type
	// Of an object.
	fields []field
	// What an interface has for its type: see planAndData.
	word unsafe.Pointer
	// Whether the type may have a way of writing itself that depends on where the value lies. Then all is left to encoding/json.
	moody bool
}

// A field is a field of a struct.
type field struct {
	name   string
	offset uintptr
	plan   *plan
	// Left out where it is empty.
	omitEmpty bool
	// `"name":`
	key string
}

var (
	plans  = map[reflect.Type]*plan{}
	planMu sync.Mutex

	anyType             = reflect.TypeFor[any]()
	dictionaryType      = reflect.TypeFor[map[string]any]()
	numberType          = reflect.TypeFor[json.Number]()
	unmarshalerType     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	marshalerType       = reflect.TypeFor[json.Marshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
)

// An interface without methods, as it lies in memory: a word for its type, and where its value is. A type that is a pointer, or as
// large as one, may lie in the second word itself.
type face struct {
	typ, data unsafe.Pointer
}

// Plans that were asked for lately, by the word for their type.
var recent [32]atomic.Pointer[plan]

// The plan of the type that is in an interface, and where its value is: what it points to, where it is a pointer. Nil for nil.
func planAndData(value any) (*plan, unsafe.Pointer) {
	in := (*face)(unsafe.Pointer(&value))
	if in.typ == nil {
		return nil, nil
	}
	slot := &recent[uintptr(in.typ)>>5%uintptr(len(recent))]
	if known := slot.Load(); known != nil && known.word == in.typ {
		return known, in.data
	}
	made := planOf(reflect.TypeOf(value), in.typ)
	slot.Store(made)
	return made, in.data
}

func planOf(typ reflect.Type, word unsafe.Pointer) *plan {
	planMu.Lock()
	defer planMu.Unlock()
	made := planFor(typ)
	if made.word == nil {
		made.word = word
	}
	return made
}

// Whether a value in an interface lies where its second word says.
func (p *plan) liesOutside() bool {
	return p.typ.Size() != unsafe.Sizeof(uintptr(0))
}

// The plan of a type, made if it is not there. A type that holds itself finds its own plan, which is not finished then.
func planFor(typ reflect.Type) *plan {
	if known := plans[typ]; known != nil {
		return known
	}
	made := &plan{typ: typ}
	plans[typ] = made
	if hasMethods(typ) {
		made.moody = isMoody(typ)
		return made
	}
	switch typ.Kind() {
	case reflect.String:
		if typ != numberType {
			made.kind = text
		}
	case reflect.Bool:
		made.kind = flag
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if made.kind = integer; typ.Size() == 8 {
			made.kind = whole
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		made.kind = natural
	case reflect.Float32, reflect.Float64:
		made.kind = float
	case reflect.Interface:
		if typ == anyType {
			made.kind = anything
		}
	case reflect.Map:
		if typ == dictionaryType {
			made.kind = dictionary
		}
	case reflect.Slice:
		// Bytes are written in base64.
		if typ.Elem().Kind() != reflect.Uint8 {
			made.kind, made.element = list, planFor(typ.Elem())
			made.someItems = reflect.ArrayOf(someItems, typ.Elem())
		}
	case reflect.Pointer:
		made.kind, made.element = pointer, planFor(typ.Elem())
	case reflect.Struct:
		made.fields = fieldsOf(typ)
		if made.fields != nil {
			made.kind = object
		}
	}
	if made.kind == foreign {
		made.moody = isMoody(typ)
	}
	return made
}

// Whether a type, or a pointer to it, reads or writes itself.
func hasMethods(typ reflect.Type) bool {
	all := []reflect.Type{unmarshalerType, textUnmarshalerType, marshalerType, textMarshalerType}
	return implements(typ, all...) || implements(reflect.PointerTo(typ), all...)
}

// Whether encoding/json writes a value in one way where it has an address, and in another where it has none: a type whose pointer
// has the method, or one that may hold such a type.
func isMoody(typ reflect.Type) bool {
	for _, it := range []reflect.Type{marshalerType, textMarshalerType} {
		if reflect.PointerTo(typ).Implements(it) && !typ.Implements(it) {
			return true
		}
	}
	holds := typ.Kind() == reflect.Struct || typ.Kind() == reflect.Array
	return holds && !implements(typ, marshalerType, textMarshalerType)
}

func implements(typ reflect.Type, any ...reflect.Type) bool {
	for _, it := range any {
		if typ.Implements(it) {
			return true
		}
	}
	return false
}

// The fields of a struct; nil where encoding/json has rules for them that are not worth knowing here.
func fieldsOf(typ reflect.Type) []field {
	fields := make([]field, 0, typ.NumField())
	names := map[string]bool{}
	for i := range typ.NumField() {
		it := typ.Field(i)
		tag := it.Tag.Get("json")
		if it.Anonymous {
			return nil
		}
		if tag == "-" || !it.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = it.Name
		}
		if !isPlain(name) || names[strings.ToLower(name)] || options != "" && options != "omitempty" {
			return nil
		}
		names[strings.ToLower(name)] = true
		found := field{name: name, offset: it.Offset, plan: planFor(it.Type), omitEmpty: options == "omitempty", key: `"` + name + `":`}
		if found.omitEmpty && (found.plan.kind == foreign || found.plan.kind == object) {
			return nil
		}
		fields = append(fields, found)
	}
	// One bit for each says which have been read.
	if len(fields) > 64 {
		return nil
	}
	return fields
}

// Whether a name stands in JSON as it is, and has no other way of being written that is taken for it, but for capitals.
func isPlain(name string) bool {
	for _, char := range []byte(name) {
		if !('a' <= char|0x20 && char|0x20 <= 'z' || '0' <= char && char <= '9' || char == '_' || char == '-' || char == '.') {
			return false
		}
	}
	return true
}
