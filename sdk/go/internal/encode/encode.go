// Package encode writes JSON.
package encode

import (
	"bytes"
	"encoding/json"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/internal/quickjson"
)

// JSON writes a value as encoding/json does, but for <, > and &, which stay as they are: this JSON stands in no web page, and
// people read it in streams and dead letters.
func JSON(value any) ([]byte, error) {
	if text, done := quickjson.Write(value); done {
		return text, nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// Data gives bytes as they are and writes anything else as JSON; nil is no data.
func Data(value any) ([]byte, error) {
	switch value := value.(type) {
	case nil:
		return nil, nil
	case []byte:
		return value, nil
	case tidemill.Raw:
		return value, nil
	case json.RawMessage:
		return value, nil
	default:
		return JSON(value)
	}
}
