package quickjson

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Write writes a value as a json.Encoder does that does not escape HTML, without the line end. If it says no, encoding/json has to.
func Write(value any) ([]byte, bool) {
	w := writer{text: make([]byte, 0, 128)}
	ok := w.dynamic(value)
	return w.text, ok
}

// A writer's methods say no where they do not know.
type writer struct {
	text  []byte
	depth int
}

// Writes a value whose type is not known before. The common ones do without a copy of the value.
func (w *writer) dynamic(value any) bool {
	switch value := value.(type) {
	case nil:
		w.word("null")
		return true
	case string:
		return w.string(value)
	case bool:
		w.text = strconv.AppendBool(w.text, value)
		return true
	case int:
		w.text = strconv.AppendInt(w.text, int64(value), 10)
		return true
	case int64:
		w.text = strconv.AppendInt(w.text, value, 10)
		return true
	case float64:
		return w.float(value, 64)
	case map[string]any:
		return w.dictionary(value)
	}
	plan, from := planAndData(value)
	switch {
	case plan.kind == pointer && from == nil:
		w.word("null")
		return true
	case plan.kind == pointer:
		return w.value(plan.element, from)
	case plan.liesOutside():
		return w.value(plan, from)
	default:
		copied := reflect.New(plan.typ)
		copied.Elem().Set(reflect.ValueOf(value))
		return w.value(plan, copied.UnsafePointer())
	}
}

func (w *writer) value(plan *plan, from unsafe.Pointer) bool {
	switch plan.kind {
	case text:
		return w.string(*(*string)(from))
	case flag:
		w.text = strconv.AppendBool(w.text, *(*bool)(from))
		return true
	case integer, whole:
		w.text = strconv.AppendInt(w.text, integerAt(plan.typ.Size(), from), 10)
		return true
	case natural:
		w.text = strconv.AppendUint(w.text, naturalAt(plan.typ.Size(), from), 10)
		return true
	case float:
		if plan.typ.Size() == 4 {
			return w.float(float64(*(*float32)(from)), 32)
		}
		return w.float(*(*float64)(from), 64)
	case object:
		return w.object(plan, from)
	case list:
		return w.list(plan, from)
	case pointer:
		to := *(*unsafe.Pointer)(from)
		if to == nil {
			w.word("null")
			return true
		}
		return w.down() && w.value(plan.element, to) && w.up()
	case anything:
		return w.down() && w.dynamic(*(*any)(from)) && w.up()
	case dictionary:
		return w.dictionary(*(*map[string]any)(from))
	default:
		return !plan.moody && w.foreign(reflect.NewAt(plan.typ, from).Elem().Interface())
	}
}

func (w *writer) word(word string) {
	w.text = append(w.text, word...)
}

func (w *writer) down() bool {
	w.depth++
	return w.depth < maxDepth
}

func (w *writer) up() bool {
	w.depth--
	return true
}

func (w *writer) foreign(value any) bool {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(value) != nil {
		return false
	}
	w.text = append(w.text, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
	return true
}

func (w *writer) object(plan *plan, from unsafe.Pointer) bool {
	if !w.down() {
		return false
	}
	separator := byte('{')
	for i := range plan.fields {
		field := &plan.fields[i]
		at := unsafe.Add(from, field.offset)
		if field.omitEmpty && isEmpty(field.plan, at) {
			continue
		}
		w.text = append(w.text, separator)
		w.word(field.key)
		if !w.value(field.plan, at) {
			return false
		}
		separator = ','
	}
	if separator == '{' {
		w.text = append(w.text, '{')
	}
	w.text = append(w.text, '}')
	return w.up()
}

func isEmpty(plan *plan, at unsafe.Pointer) bool {
	switch value := reflect.NewAt(plan.typ, at).Elem(); plan.kind {
	case text, list, dictionary:
		return value.Len() == 0
	case float:
		return value.Float() == 0
	default:
		return value.IsZero()
	}
}

func (w *writer) list(plan *plan, from unsafe.Pointer) bool {
	list := reflect.NewAt(plan.typ, from).Elem()
	if list.IsNil() {
		w.word("null")
		return true
	}
	if !w.down() {
		return false
	}
	first, size := list.UnsafePointer(), plan.element.typ.Size()
	w.text = append(w.text, '[')
	for i := range list.Len() {
		if i > 0 {
			w.text = append(w.text, ',')
		}
		if !w.value(plan.element, unsafe.Add(first, uintptr(i)*size)) {
			return false
		}
	}
	w.text = append(w.text, ']')
	return w.up()
}

func (w *writer) dictionary(members map[string]any) bool {
	if members == nil {
		w.word("null")
		return true
	}
	if !w.down() {
		return false
	}
	w.text = append(w.text, '{')
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if i > 0 {
			w.text = append(w.text, ',')
		}
		if !w.string(name) {
			return false
		}
		w.text = append(w.text, ':')
		if !w.dynamic(members[name]) {
			return false
		}
	}
	w.text = append(w.text, '}')
	return w.up()
}

func (w *writer) string(value string) bool {
	bytes := unsafe.Slice(unsafe.StringData(value), len(value))
	wide := false
	for at := plainEnd(bytes, 0); at < len(bytes); at = plainEnd(bytes, at+1) {
		if bytes[at] < utf8.RuneSelf {
			return w.foreign(value)
		}
		wide = true
	}
	// Two line separators are escaped, and what is no UTF-8 is replaced.
	if wide && (!utf8.ValidString(value) || strings.ContainsAny(value, "\u2028\u2029")) {
		return w.foreign(value)
	}
	w.text = append(w.text, '"')
	w.text = append(w.text, value...)
	w.text = append(w.text, '"')
	return true
}

// Whole numbers of a common size do without the search for the shortest digits.
func (w *writer) float(value float64, bits int) bool {
	if bits == 32 {
		return w.foreign(float32(value))
	}
	absolute := math.Abs(value)
	if whole := int64(value); absolute < 1<<53 && float64(whole) == value && (whole != 0 || !math.Signbit(value)) {
		w.text = strconv.AppendInt(w.text, whole, 10)
		return true
	}
	// Outside of these bounds, and where there is no number, JSON has other ways.
	if !(1e-6 <= absolute && absolute < 1e21) {
		return w.foreign(value)
	}
	w.text = strconv.AppendFloat(w.text, value, 'f', -1, 64)
	return true
}

func integerAt(size uintptr, at unsafe.Pointer) int64 {
	switch size {
	case 1:
		return int64(*(*int8)(at))
	case 2:
		return int64(*(*int16)(at))
	case 4:
		return int64(*(*int32)(at))
	default:
		return *(*int64)(at)
	}
}

func naturalAt(size uintptr, at unsafe.Pointer) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(at))
	case 2:
		return uint64(*(*uint16)(at))
	case 4:
		return uint64(*(*uint32)(at))
	default:
		return *(*uint64)(at)
	}
}
