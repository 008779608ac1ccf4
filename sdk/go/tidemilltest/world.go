package tidemilltest

import (
	"maps"
	"time"

	"tidemill.dev/tidemill/internal/contract"
)

// What kind of plugin is called. A component that imports what its kind has not is refused when it is loaded.
type role int

const (
	roleHandler role = iota
	roleProjection
)

// The milliseconds that a default host gives a call.
const timeLimit = 5000

// A world is what surrounds a plugin, and stays from call to call.
type world struct {
	role   role
	config map[string]string
	state  map[string][]byte
	// Nil: every subject is granted.
	grants      []string
	collections map[string]*collection
	now         string
	// Milliseconds.
	timeLeft uint32
	// Whether state and documents are out of reach.
	unavailable bool
}

// A collection has the fields that it is indexed by, and its documents by key.
type collection struct {
	indexes   []string
	documents map[string][]byte
}

func newWorld(role role) *world {
	return &world{
		role:        role,
		config:      map[string]string{},
		state:       map[string][]byte{},
		collections: map[string]*collection{},
		now:         "2026-01-01T00:00:00.000Z",
		timeLeft:    timeLimit,
	}
}

func (w *world) collection(name string) *collection {
	if w.collections[name] == nil {
		w.collections[name] = &collection{documents: map[string][]byte{}}
	}
	return w.collections[name]
}

// A copy that a call may change.
func (w *world) clone() *world {
	copied := *w
	copied.state = maps.Clone(w.state)
	copied.collections = make(map[string]*collection, len(w.collections))
	for name, it := range w.collections {
		copied.collections[name] = &collection{it.indexes, maps.Clone(it.documents)}
	}
	return &copied
}

func (w *world) stand() *stand {
	return &stand{world: w.clone()}
}

// A stand answers one call of a plugin in the host's place.
type stand struct {
	// As the call sees it.
	world *world
	emits []*Emit
	logs  []Line
	// The first refused effect: it fails the call, whatever the plugin makes of it.
	refusal string
	// Nil while a question is answered.
	origin *contract.Context
	drawn  uint64
}

func (s *stand) refuse(text string) {
	if s.refusal == "" {
		s.refusal = text
	}
}

func millis(delay *uint32) time.Duration {
	if delay == nil {
		return 0
	}
	return time.Duration(*delay) * time.Millisecond
}
