// Package log writes lines to the host's log: a sentence, then fields.
//
//	log.Warn("an item is out of stock", "order", order.ID, "warehouse", "north")
//
// The host adds plugin, route and event id. Unlike an effect a line is written whether the call succeeds or not, and the last lines
// of a failed call go into its dead letter.
package log

import (
	"fmt"
	"strconv"

	"tidemill.dev/tidemill/internal/contract"
)

// A Level says how much a line matters.
type Level = contract.Level

// The levels, from the least to the most.
const (
	LevelTrace = contract.LevelTrace
	LevelDebug = contract.LevelDebug
	LevelInfo  = contract.LevelInfo
	LevelWarn  = contract.LevelWarn
	LevelError = contract.LevelError
)

// Trace writes a line for whoever follows a single step. The fields are names and values in turn.
func Trace(message string, fields ...any) { Write(LevelTrace, message, fields...) }

// Debug writes a line for whoever looks for a mistake.
func Debug(message string, fields ...any) { Write(LevelDebug, message, fields...) }

// Info writes a line about what happens.
func Info(message string, fields ...any) { Write(LevelInfo, message, fields...) }

// Warn writes a line about what is not as it should be.
func Warn(message string, fields ...any) { Write(LevelWarn, message, fields...) }

// Error writes a line about what a person must look after.
func Error(message string, fields ...any) { Write(LevelError, message, fields...) }

// Write writes a line at a level.
func Write(level Level, message string, fields ...any) {
	attributes := make([]contract.Attribute, 0, (len(fields)+1)/2)
	for len(fields) > 0 {
		name, isName := fields[0].(string)
		if !isName || len(fields) == 1 {
			// As log/slog does: a line with a mistake in it is better than none.
			attributes = append(attributes, contract.Attribute{Name: "!BADKEY", Value: text(fields[0])})
			fields = fields[1:]
			continue
		}
		attributes = append(attributes, contract.Attribute{Name: name, Value: text(fields[1])})
		fields = fields[2:]
	}
	contract.LogWrite(level, message, attributes)
}

func text(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case int:
		return strconv.Itoa(value)
	case int64:
		return strconv.FormatInt(value, 10)
	default:
		return fmt.Sprint(value)
	}
}
