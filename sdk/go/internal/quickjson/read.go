package quickjson

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"reflect"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Read reads JSON into what target points to, which holds the zero value of its type. If it says no, it has not, and what target
// points to is anything: encoding/json may find the text wrong, or read it.
func Read(data []byte, target any) bool {
	plan, to := planAndData(target)
	if plan == nil || plan.kind != pointer || to == nil {
		return false
	}
	r := reader{data: data}
	return r.value(plan.element, to) && r.isAtEnd()
}

// A reader goes through a text once. Its methods say no where they do not know; then the reader is of no use any more.
//
// Loops keep the place in a variable of their own: what is in memory costs in WebAssembly, what is local does not.
type reader struct {
	data  []byte
	at    int
	depth int
	// Where short texts are copied to.
	shared []byte
}

// Goes to what is next, and tells it; 0 at the end.
func (r *reader) next() byte {
	if at := r.at; at < len(r.data) && r.data[at] > ' ' {
		return r.data[at]
	}
	return r.nextBehindBlanks()
}

func (r *reader) nextBehindBlanks() byte {
	r.at = behindBlanks(r.data, r.at)
	return r.peek()
}

func behindBlanks(data []byte, at int) int {
	for at < len(data) {
		switch data[at] {
		case ' ', '\n', '\t', '\r':
			at++
		default:
			return at
		}
	}
	return at
}

func (r *reader) isAtEnd() bool {
	return behindBlanks(r.data, r.at) == len(r.data)
}

// Reads a value of a type. Null leaves it as it is, which is zero.
func (r *reader) value(plan *plan, to unsafe.Pointer) bool {
	char := r.next()
	if plan.kind == foreign {
		return r.foreign(plan, to)
	}
	if char == 'n' {
		return r.word("null")
	}
	switch plan.kind {
	case text:
		return char == '"' && r.text((*string)(to))
	case flag:
		*(*bool)(to) = char == 't'
		return char == 't' && r.word("true") || char == 'f' && r.word("false")
	case integer, whole:
		return r.integer(plan.typ.Size(), to)
	case natural:
		return r.natural(plan.typ.Size(), to)
	case float:
		return r.float(plan.typ.Size(), to)
	case list:
		return char == '[' && r.list(plan, to)
	case object:
		return char == '{' && r.object(plan, to)
	case pointer:
		made := reflect.New(plan.element.typ)
		*(*unsafe.Pointer)(to) = made.UnsafePointer()
		return r.value(plan.element, made.UnsafePointer())
	case anything:
		return r.anything((*any)(to))
	default:
		return char == '{' && r.dictionary((*map[string]any)(to))
	}
}

func (r *reader) foreign(plan *plan, to unsafe.Pointer) bool {
	start := behindBlanks(r.data, r.at)
	return r.skip() && json.Unmarshal(r.data[start:r.at], reflect.NewAt(plan.typ, to).Interface()) == nil
}

func (r *reader) word(word string) bool {
	end := skippedWord(r.data, r.at, word)
	if end < 0 {
		return false
	}
	r.at = end
	return true
}

// Goes one level down; whoever goes up again takes it back.
func (r *reader) down() bool {
	r.at++
	r.depth++
	return r.depth < maxDepth
}

// After an item of a list or an object: whether there is another one. Says no also to what is wrong.
func (r *reader) more(end byte) (more, ok bool) {
	char := r.next()
	r.at++
	if char == end {
		r.depth--
	}
	return char == ',', char == ',' || char == end
}

func (r *reader) object(plan *plan, to unsafe.Pointer) bool {
	if !r.down() {
		return false
	}
	if r.next() == '}' {
		_, ok := r.more('}')
		return ok
	}
	var seen uint64
	for expected := 0; ; {
		at, ok := r.member(plan, expected)
		if !ok {
			return false
		}
		if at < 0 {
			ok = r.skip()
		} else {
			// What stands there twice is merged, by rules.
			if seen&(1<<at) != 0 {
				return false
			}
			seen |= 1 << at
			expected = at + 1
			field := &plan.fields[at]
			ok = r.simple(field.plan.kind, unsafe.Add(to, field.offset)) || r.value(field.plan, unsafe.Add(to, field.offset))
		}
		if !ok {
			return false
		}
		if r.at < len(r.data) && r.data[r.at] == ',' {
			r.at++
			continue
		}
		if more, ok := r.more('}'); !more {
			return ok
		}
	}
}

// Reads a text of plain characters or a whole number of eight bytes, with nothing before it: most of what there is, in one step. Where
// it says no, it has not moved.
func (r *reader) simple(kind kind, to unsafe.Pointer) bool {
	data, at := r.data, r.at
	if at >= len(data) {
		return false
	}
	switch kind {
	case text:
		if data[at] != '"' {
			return false
		}
		end := plainEnd(data, at+1)
		if end == len(data) || data[end] != '"' {
			return false
		}
		*(*string)(to) = r.copied(data[at+1 : end])
		r.at = end + 1
		return true
	case whole:
		// No zero in front, no sign, no fraction, and few enough digits to fit.
		start := at
		sum := int64(0)
		for at < len(data) && data[at]-'0' <= 9 {
			sum = sum*10 + int64(data[at]-'0')
			at++
		}
		if at == start || at == len(data) || at-start > mostDigits || data[start] == '0' || data[at] != ',' && data[at] != '}' {
			return false
		}
		*(*int64)(to) = sum
		r.at = at
		return true
	default:
		return false
	}
}

// The field that is next, and the colon behind its name. Below 0: the object has none of this name. It says no where the name is a
// field's but for capitals.
func (r *reader) member(plan *plan, expected int) (at int, ok bool) {
	// What writes JSON mostly keeps the order of the fields, and writes no blanks.
	if expected < len(plan.fields) {
		key := plan.fields[expected].key
		if end := r.at + len(key); end <= len(r.data) && string(r.data[r.at:end]) == key {
			r.at = end
			return expected, true
		}
	}
	name, ok := r.name()
	if !ok {
		return 0, false
	}
	for i := range plan.fields {
		if plan.fields[i].name == string(name) {
			return i, true
		}
	}
	for i := range plan.fields {
		if len(plan.fields[i].name) == len(name) && equalsButForCapitals(plan.fields[i].name, name) {
			return 0, false
		}
	}
	return -1, true
}

func equalsButForCapitals(name string, found []byte) bool {
	for i := range found {
		if name[i]|0x20 != found[i]|0x20 {
			return false
		}
	}
	return true
}

// A member's name and the colon behind it.
func (r *reader) name() ([]byte, bool) {
	if r.next() != '"' {
		return nil, false
	}
	start := r.at + 1
	end := plainEnd(r.data, start)
	if end == len(r.data) || r.data[end] != '"' {
		return nil, false
	}
	r.at = end + 1
	if r.next() != ':' {
		return nil, false
	}
	r.at++
	return r.data[start:end], true
}

// Where something comes that does not stand in a text as it is, or that is not ASCII. Looks at eight bytes at once.
func plainEnd(data []byte, at int) int {
	for at+8 <= len(data) {
		if special := specials(binary.LittleEndian.Uint64(data[at:])); special != 0 {
			return at + bits.TrailingZeros64(special)/8
		}
		at += 8
	}
	for at < len(data) {
		if char := data[at]; char < 0x20 || char == '"' || char == '\\' || char >= utf8.RuneSelf {
			return at
		}
		at++
	}
	return at
}

// The highest bit of each byte that is a control character, a quote, a backslash or not ASCII. Those above the lowest one may be
// wrong: they are borrowed from.
func specials(eight uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := eight^ones*'"', eight^ones*'\\'
	return (eight | (eight-ones*0x20)&^eight | (quote-ones)&^quote | (backslash-ones)&^backslash) & high
}

// A slice, as it lies in memory.
type slice struct {
	first            unsafe.Pointer
	length, capacity int
}

func (r *reader) list(plan *plan, to unsafe.Pointer) bool {
	if !r.down() {
		return false
	}
	list := (*slice)(to)
	if r.next() == ']' {
		list.first = reflect.MakeSlice(plan.typ, 0, 0).UnsafePointer()
		_, ok := r.more(']')
		return ok
	}
	*list = slice{first: reflect.New(plan.someItems).UnsafePointer(), capacity: someItems}
	for {
		if list.length == list.capacity {
			items := reflect.NewAt(plan.typ, to).Elem()
			items.Grow(list.capacity)
		}
		at := unsafe.Add(list.first, uintptr(list.length)*plan.element.typ.Size())
		list.length++
		if !r.value(plan.element, at) {
			return false
		}
		if more, ok := r.more(']'); !more {
			return ok
		}
	}
}

func (r *reader) text(to *string) bool {
	start := r.at
	wide := false
	for at := start + 1; ; at++ {
		at = plainEnd(r.data, at)
		if at == len(r.data) {
			return false
		}
		switch char := r.data[at]; {
		case char == '"':
			r.at = at + 1
			// What is no UTF-8 is replaced, by rules.
			if wide && !utf8.Valid(r.data[start+1:at]) {
				return false
			}
			*to = r.copied(r.data[start+1 : at])
			return true
		case char >= utf8.RuneSelf:
			wide = true
		case char == '\\':
			return r.skip() && json.Unmarshal(r.data[start:r.at], to) == nil
		default:
			return false
		}
	}
}

// Short texts of a value share a piece of memory: a piece costs more than the copy. Whoever keeps a text keeps no more than that.
func (r *reader) copied(text []byte) string {
	const most = 512
	if len(text) == 0 {
		return ""
	}
	if len(text) > most/4 {
		return string(text)
	}
	if len(text) > len(r.shared) {
		r.shared = make([]byte, min(most, len(r.data)))
	}
	made := r.shared[:len(text):len(text)]
	r.shared = r.shared[len(text):]
	copy(made, text)
	return unsafe.String(&made[0], len(made))
}

// So many digits fit into eight bytes, whichever they are.
const mostDigits = 18

// Digits that fit, with nothing behind them that belongs to a number.
func (r *reader) digits() (uint64, bool) {
	data, at := r.data, r.at
	var sum uint64
	for at < len(data) {
		digit := data[at] - '0'
		if digit > 9 {
			break
		}
		sum = sum*10 + uint64(digit)
		at++
	}
	length := at - r.at
	if length == 0 || length > mostDigits || data[r.at] == '0' && length > 1 {
		return 0, false
	}
	r.at = at
	char := r.peek()
	return sum, char != '.' && char|0x20 != 'e'
}

func (r *reader) integer(size uintptr, to unsafe.Pointer) bool {
	negative := r.peek() == '-'
	if negative {
		r.at++
	}
	found, ok := r.digits()
	limit := uint64(1) << (size*8 - 1)
	if !ok || found >= limit {
		return false
	}
	value := int64(found)
	if negative {
		value = -value
	}
	switch size {
	case 1:
		*(*int8)(to) = int8(value)
	case 2:
		*(*int16)(to) = int16(value)
	case 4:
		*(*int32)(to) = int32(value)
	default:
		*(*int64)(to) = value
	}
	return true
}

func (r *reader) natural(size uintptr, to unsafe.Pointer) bool {
	value, ok := r.digits()
	if !ok || size < 8 && value >= 1<<(size*8) {
		return false
	}
	switch size {
	case 1:
		*(*uint8)(to) = uint8(value)
	case 2:
		*(*uint16)(to) = uint16(value)
	case 4:
		*(*uint32)(to) = uint32(value)
	default:
		*(*uint64)(to) = value
	}
	return true
}

func (r *reader) float(size uintptr, to unsafe.Pointer) bool {
	end := skippedNumber(r.data, r.at)
	if end < 0 {
		return false
	}
	value, err := strconv.ParseFloat(unsafe.String(&r.data[r.at], end-r.at), int(size)*8)
	r.at = end
	if size == 4 {
		*(*float32)(to) = float32(value)
	} else {
		*(*float64)(to) = value
	}
	return err == nil
}

func (r *reader) anything(to *any) bool {
	switch char := r.next(); char {
	case '{':
		var made map[string]any
		ok := r.dictionary(&made)
		*to = made
		return ok
	case '[':
		return r.items(to)
	case '"':
		var made string
		ok := r.text(&made)
		*to = made
		return ok
	case 't', 'f':
		*to = char == 't'
		return r.word("true") || r.word("false")
	case 'n':
		*to = nil
		return r.word("null")
	default:
		var made float64
		ok := r.float(8, unsafe.Pointer(&made))
		*to = made
		return ok
	}
}

func (r *reader) items(to *any) bool {
	if !r.down() {
		return false
	}
	items := []any{}
	if r.next() == ']' {
		*to = items
		_, ok := r.more(']')
		return ok
	}
	for {
		var item any
		if !r.anything(&item) {
			return false
		}
		items = append(items, item)
		if more, ok := r.more(']'); !more {
			*to = items
			return ok
		}
	}
}

func (r *reader) dictionary(to *map[string]any) bool {
	if !r.down() {
		return false
	}
	members := map[string]any{}
	*to = members
	if r.next() == '}' {
		_, ok := r.more('}')
		return ok
	}
	for {
		name, ok := r.name()
		if !ok {
			return false
		}
		var member any
		if !r.anything(&member) {
			return false
		}
		members[string(name)] = member
		if more, ok := r.more('}'); !more {
			return ok
		}
	}
}

// Passes over a value, of which it must be certain that it is JSON.
func (r *reader) skip() bool {
	at := skipped(r.data, behindBlanks(r.data, r.at))
	if at < 0 {
		return false
	}
	r.at = at
	return true
}

// Where a value ends that begins at a place; below 0 where that is not certain.
func skipped(data []byte, at int) int {
	// The lists and objects around the present value: one bit each, set for an object.
	var around uint64
	depth := 0
	for at < len(data) {
		switch char := data[at]; char {
		case '{', '[':
			if depth++; depth > 64 {
				return -1
			}
			around <<= 1
			end := byte(']')
			if char == '{' {
				around |= 1
				end = '}'
			}
			if at = behindBlanks(data, at+1); at == len(data) || data[at] != end {
				if char == '{' {
					at = skippedName(data, at)
				}
				if at < 0 {
					return -1
				}
				continue
			}
			at++
			depth--
			around >>= 1
		case '"':
			at = skippedText(data, at)
		case 't':
			at = skippedWord(data, at, "true")
		case 'f':
			at = skippedWord(data, at, "false")
		case 'n':
			at = skippedWord(data, at, "null")
		default:
			at = skippedNumber(data, at)
		}
		// Behind a value: the next one, or the ends of what is around it.
		for {
			if at < 0 || depth == 0 {
				return at
			}
			if at = behindBlanks(data, at); at == len(data) {
				return -1
			}
			isObject := around&1 != 0
			if char := data[at]; char == ',' {
				at = behindBlanks(data, at+1)
				if isObject {
					at = skippedName(data, at)
				}
				if at < 0 {
					return -1
				}
				break
			} else if isObject && char != '}' || !isObject && char != ']' {
				return -1
			}
			at++
			depth--
			around >>= 1
		}
	}
	return -1
}

// Passes over a member's name, the colon and the blanks behind it.
func skippedName(data []byte, at int) int {
	if at == len(data) || data[at] != '"' {
		return -1
	}
	if at = skippedText(data, at); at < 0 {
		return -1
	}
	if at = behindBlanks(data, at); at == len(data) || data[at] != ':' {
		return -1
	}
	return behindBlanks(data, at+1)
}

func skippedText(data []byte, at int) int {
	for at++; ; at++ {
		if at = plainEnd(data, at); at == len(data) {
			return -1
		}
		switch char := data[at]; {
		case char == '"':
			return at + 1
		case char >= utf8.RuneSelf:
		case char != '\\':
			return -1
		default:
			if at = escapeEnd(data, at+1); at < 0 {
				return -1
			}
		}
	}
}

// The last byte of an escape, of which the backslash is passed.
func escapeEnd(data []byte, at int) int {
	if at == len(data) {
		return -1
	}
	switch data[at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return at
	case 'u':
		if len(data) < at+5 {
			return -1
		}
		for _, char := range data[at+1 : at+5] {
			if !isHex(char) {
				return -1
			}
		}
		return at + 4
	default:
		return -1
	}
}

func isHex(char byte) bool {
	return '0' <= char && char <= '9' || 'a' <= char|0x20 && char|0x20 <= 'f'
}

func skippedWord(data []byte, at int, word string) int {
	if len(data)-at < len(word) || string(data[at:at+len(word)]) != word {
		return -1
	}
	return at + len(word)
}

// Passes over a number: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
func skippedNumber(data []byte, at int) int {
	if at < len(data) && data[at] == '-' {
		at++
	}
	whole := at
	if at = skippedDigits(data, at); at == whole || data[whole] == '0' && at > whole+1 {
		return -1
	}
	if at < len(data) && data[at] == '.' {
		fraction := at + 1
		if at = skippedDigits(data, fraction); at == fraction {
			return -1
		}
	}
	if at < len(data) && data[at]|0x20 == 'e' {
		if at++; at < len(data) && (data[at] == '+' || data[at] == '-') {
			at++
		}
		exponent := at
		if at = skippedDigits(data, at); at == exponent {
			return -1
		}
	}
	return at
}

func skippedDigits(data []byte, at int) int {
	for at < len(data) && data[at]-'0' <= 9 {
		at++
	}
	return at
}

func (r *reader) peek() byte {
	if r.at < len(r.data) {
		return r.data[r.at]
	}
	return 0
}
