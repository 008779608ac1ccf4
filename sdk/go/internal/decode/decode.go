// Package decode reads JSON, and says precisely what does not fit.
package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"tidemill.dev/tidemill/internal/quickjson"
)

// Plain reads data as target, as json.Unmarshal does.
func Plain(data []byte, target any) error {
	to := reflect.ValueOf(target)
	if to.Kind() != reflect.Pointer || to.IsNil() || !to.Elem().IsZero() {
		return json.Unmarshal(data, target)
	}
	if quickjson.Read(data, target) {
		return nil
	}
	to.Elem().SetZero()
	return json.Unmarshal(data, target)
}

// JSON reads data as target. The error names what and, as a JSON pointer, the place in it.
func JSON(what string, data []byte, target any) error {
	err := Plain(data, target)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s is not JSON: %w at byte %d", what, err, syntax.Offset)
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		problem := fmt.Sprintf("expected %s, found %s", mistyped.Type, mistyped.Value)
		if place := pointerAt(data, mistyped.Offset); place != "" {
			problem = fmt.Sprintf("`%s`: %s", place, problem)
		}
		return &misfit{fmt.Sprintf("%s does not fit: %s", what, problem), err}
	}
	return fmt.Errorf("%s does not fit: %w", what, err)
}

// A misfit has a text of its own: that of encoding/json leaves out the index in a list.
type misfit struct {
	text  string
	cause error
}

func (m *misfit) Error() string { return m.text }
func (m *misfit) Unwrap() error { return m.cause }

// The JSON pointer of the value that ends at an offset, or begins there as a list or an object. The place is looked for only when
// something is wrong, because keeping track of it while reading would cost every event.
func pointerAt(data []byte, offset int64) string {
	decoder := json.NewDecoder(bytes.NewReader(data))
	var path trail
	for {
		token, err := decoder.Token()
		if err != nil {
			return ""
		}
		path.follow(token)
		if decoder.InputOffset() >= offset {
			return path.String()
		}
		path.leave(token)
	}
}

// A trail is the way from the whole value to the present one: a step for each list and object around it.
type trail []step

type step struct {
	isList bool
	// Of a list: the present item.
	index int
	// Of an object: the present member, and whether its name has been read and its value has not.
	name  string
	named bool
}

// Steps onto what a token begins or is.
func (t *trail) follow(token json.Token) {
	if t.isName() {
		last := &(*t)[len(*t)-1]
		last.name, _ = token.(string)
	}
}

// Goes on behind it.
func (t *trail) leave(token json.Token) {
	switch token {
	case json.Delim('['), json.Delim('{'):
		*t = append(*t, step{isList: token == json.Delim('[')})
		return
	case json.Delim(']'), json.Delim('}'):
		*t = (*t)[:len(*t)-1]
	}
	if len(*t) == 0 {
		return
	}
	last := &(*t)[len(*t)-1]
	if last.isList {
		last.index++
	} else {
		last.named = !last.named
	}
}

func (t *trail) isName() bool {
	if len(*t) == 0 {
		return false
	}
	last := (*t)[len(*t)-1]
	return !last.isList && !last.named
}

var escaped = strings.NewReplacer("~", "~0", "/", "~1")

func (t trail) String() string {
	var text strings.Builder
	for _, step := range t {
		text.WriteByte('/')
		if step.isList {
			text.WriteString(strconv.Itoa(step.index))
		} else {
			text.WriteString(escaped.Replace(step.name))
		}
	}
	return text.String()
}
