package tidemilltest

import (
	"crypto/sha1"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"tidemill.dev/tidemill/internal/contract"
)

// The longest key, and the largest value or document, that a default host accepts.
const (
	maxKeyBytes   = 256
	maxValueBytes = 512 << 10
	maxList       = 1000
	maxRandom     = 4096
)

// The namespace of the host's stable ids.
var stableIDs = []byte{0x6f, 0x0c, 0x1b, 0x6e, 0x52, 0xd4, 0x4d, 0x0f, 0x9a, 0x3b, 0x7e, 0x15, 0xc0, 0xd2, 0x84, 0xa1}

// --- emit

func (s *stand) EmitEmit(event contract.Outgoing) *contract.EmitError {
	if s.world.role != roleHandler {
		panic("a projection emits nothing; the host refuses one that would")
	}
	if failure := checkEmit(event, s.world.grants); failure != nil {
		s.refuse(failure.Value)
		return failure
	}
	s.emits = append(s.emits, &Emit{
		To:              event.To,
		Kind:            event.Kind,
		Subject:         event.Subject,
		DataContentType: event.Datacontenttype,
		DataSchema:      event.Dataschema,
		Extensions:      contract.Extensions(event.Extensions),
		Data:            slices.Clone(event.Data),
	})
	return nil
}

func checkEmit(event contract.Outgoing, grants []string) *contract.EmitError {
	failure := func(kind contract.EmitErrorCase, format string, args ...any) *contract.EmitError {
		return &contract.EmitError{Case: kind, Value: fmt.Sprintf(format, args...)}
	}
	switch to := event.To; {
	case !isSubject(to):
		return failure(contract.EmitErrorInvalid, "`%s` is not a subject", to)
	case event.Kind == "":
		return failure(contract.EmitErrorInvalid, "the emit to `%s` has no type: the field Kind sets it", to)
	case strings.HasPrefix(to, "$"), strings.HasPrefix(to, "_INBOX"):
		return failure(contract.EmitErrorNotGranted, "`%s` belongs to the server", to)
	case grants != nil && !slices.ContainsFunc(grants, func(pattern string) bool { return admits(pattern, to) }):
		return failure(contract.EmitErrorNotGranted,
			"emitting to `%s` is not granted; the route's `emits: [\"%s\"]` in runtime.yaml would allow it", to, to)
	default:
		return nil
	}
}

func isSubject(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || strings.ContainsAny(token, "*> ") {
			return false
		}
	}
	return true
}

// Whether a NATS subject pattern admits a subject.
func admits(pattern, subject string) bool {
	tokens := strings.Split(subject, ".")
	for wanted := range strings.SplitSeq(pattern, ".") {
		switch {
		case len(tokens) == 0:
			return false
		case wanted == ">":
			return true
		case wanted != "*" && wanted != tokens[0]:
			return false
		}
		tokens = tokens[1:]
	}
	return len(tokens) == 0
}

// --- state

func (s *stand) StateGet(key string) ([]byte, *contract.StateError) {
	if failure := s.checkState(key); failure != nil {
		return nil, failure
	}
	return slices.Clone(s.world.state[key]), nil
}

func (s *stand) StatePut(key string, value []byte) *contract.StateError {
	if failure := s.checkState(key); failure != nil {
		return failure
	}
	if failure := checkValue(value); failure != nil {
		return failure
	}
	s.world.state[key] = append([]byte{}, value...)
	return nil
}

func (s *stand) StateDelete(key string) *contract.StateError {
	if failure := s.checkState(key); failure != nil {
		return failure
	}
	delete(s.world.state, key)
	return nil
}

func (s *stand) StateCompareAndSet(key string, expected, value []byte) (bool, *contract.StateError) {
	if failure := s.checkState(key); failure != nil {
		return false, failure
	}
	if failure := checkValue(value); failure != nil {
		return false, failure
	}
	found, exists := s.world.state[key]
	if exists != (expected != nil) || string(found) != string(expected) {
		return false, nil
	}
	if value == nil {
		delete(s.world.state, key)
	} else {
		s.world.state[key] = append([]byte{}, value...)
	}
	return true, nil
}

func (s *stand) StateList(prefix, after string, limit uint32) ([]string, *contract.StateError) {
	if failure := s.checkReachable(); failure != nil {
		return nil, failure
	}
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(s.world.state)) {
		if strings.HasPrefix(key, prefix) && (after == "" || key > after) {
			keys = append(keys, key)
		}
	}
	return keys[:min(len(keys), int(min(limit, maxList)))], nil
}

func (s *stand) checkState(key string) *contract.StateError {
	if wrong := checkKey(key, "a state key"); wrong != "" {
		return &contract.StateError{Case: contract.StateErrorInvalidKey, Value: wrong}
	}
	return s.checkReachable()
}

func (s *stand) checkReachable() *contract.StateError {
	if s.world.role != roleHandler {
		panic("a projection has no state, only documents; the host refuses one that uses it")
	}
	if s.world.unavailable {
		return &contract.StateError{Case: contract.StateErrorUnavailable, Value: "the harness says so"}
	}
	return nil
}

func checkValue(value []byte) *contract.StateError {
	if len(value) > maxValueBytes {
		text := fmt.Sprintf("the limit `state_value` of %d is used up", maxValueBytes)
		return &contract.StateError{Case: contract.StateErrorLimit, Value: text}
	}
	return nil
}

// State's keys and documents' keys keep the same rule.
func checkKey(key, what string) (wrong string) {
	isControl := func(char rune) bool { return char < 0x20 || 0x7f <= char && char < 0xa0 }
	if key == "" || len(key) > maxKeyBytes || !utf8.ValidString(key) || strings.ContainsFunc(key, isControl) {
		return fmt.Sprintf("`%s` is not %s: expected 1 to 256 bytes without control characters", quoted(key), what)
	}
	return ""
}

func quoted(key string) string {
	text := fmt.Sprintf("%q", key)
	return text[1 : len(text)-1]
}

// --- config, log, host

func (s *stand) ConfigGet(key string) (string, bool) {
	value, found := s.world.config[key]
	return value, found
}

func (s *stand) ConfigKeys() []string {
	return slices.Sorted(maps.Keys(s.world.config))
}

func (s *stand) LogWrite(level contract.Level, message string, fields []contract.Attribute) {
	s.logs = append(s.logs, Line{Level: level, Message: message, Fields: contract.Extensions(fields)})
}

func (s *stand) HostNow() string {
	return s.world.now
}

// HostStableID gives the very id that the host would give: a UUIDv5.
func (s *stand) HostStableID(name string) string {
	if s.origin == nil {
		panic("a query has no event that a stable id could be made from")
	}
	hash := sha1.New()
	hash.Write(stableIDs)
	fmt.Fprintf(hash, "%s\x00%s\x00%s\x00%s", s.origin.Route, s.origin.Stream, s.origin.Sequence, name)
	id := hash.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// HostTimeLeft gives what the test says: time stands still.
func (s *stand) HostTimeLeft() uint32 {
	return s.world.timeLeft
}

// HostRandom gives the same bytes in every run of a test.
func (s *stand) HostRandom(length uint32) []byte {
	if length > maxRandom {
		panic(fmt.Sprintf("host.Random gives at most %d bytes, the plugin asked for %d", maxRandom, length))
	}
	bytes := make([]byte, length)
	for i := range bytes {
		s.drawn++
		hash := fnv.New64a()
		fmt.Fprintf(hash, "random %d", s.drawn)
		bytes[i] = byte(hash.Sum64() >> 32)
	}
	return bytes
}
