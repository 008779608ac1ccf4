package quickjson

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Everything that a plugin's types are made of, and what encoding/json has special rules for.
type everything struct {
	Text    string   `json:"text"`
	Flag    bool     `json:"flag,omitempty"`
	Whole   int64    `json:"whole"`
	Small   int8     `json:"small"`
	Natural uint16   `json:"natural,omitempty"`
	Float   float64  `json:"float"`
	Half    float32  `json:"half,omitempty"`
	List    []string `json:"list"`
	Items   []item   `json:"items,omitempty"`
	Pointer *item    `json:"pointer"`
	Deep    **int    `json:"deep,omitempty"`
	Any     any      `json:"any"`
	Map     map[string]any
	Counts  map[string]int `json:"counts"`
	Bytes   []byte         `json:"bytes"`
	Array   [2]bool        `json:"array"`
	Time    time.Time      `json:"time"`
	Address netip.Addr     `json:"address"`
	Raw     json.RawMessage
	Number  json.Number
	Kind    kindOfOurs `json:"kind-of.ours"`
	Nested  struct {
		A, B int
	}
	Skipped string `json:"-"`
	hidden  int
	Self    *everything `json:"self,omitempty"`
}

type item struct {
	SKU      string  `json:"sku"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

type kindOfOurs string

// Writes itself only where it has an address.
type moody struct {
	Value int
}

func (m *moody) MarshalJSON() ([]byte, error) { return []byte(`"moody"`), nil }

type inner struct {
	ID string `json:"id"`
}

// What is left to encoding/json as a whole.
type quirks struct {
	inner
	Quoted int `json:"quoted,string"`
	Moody  moody
	Twice  string `json:"TEXT"`
	Text   string `json:"text"`
}

// Targets of every kind.
var types = []reflect.Type{
	reflect.TypeFor[everything](), reflect.TypeFor[item](), reflect.TypeFor[quirks](), reflect.TypeFor[any](),
	reflect.TypeFor[[]item](), reflect.TypeFor[map[string]any](), reflect.TypeFor[map[string]item](), reflect.TypeFor[string](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](), reflect.TypeFor[float64](),
	reflect.TypeFor[float32](), reflect.TypeFor[bool](), reflect.TypeFor[*string](), reflect.TypeFor[moody](), reflect.TypeFor[time.Time](),
	reflect.TypeFor[struct{}](), reflect.TypeFor[[]struct{}](), reflect.TypeFor[[3]int](),
}

var texts = []string{
	`{"text":"a","flag":true,"whole":-7,"small":-128,"natural":65535,"float":1.5e3,"half":0.1,"list":["x","ü",""],"items":[{"sku":"A","quantity":2,"price":0.5},{}],
	 "pointer":{"sku":"B"},"deep":3,"any":{"a":[1,true,null,"x",{}]},"Map":{"k":1e2},"counts":{"a":1},"bytes":"aGk=","array":[true],"time":"2026-01-02T03:04:05Z",
	 "address":"::1","Raw":{"x" : 1},"Number":12.50,"kind-of.ours":"k","Nested":{"A":1,"B":2},"hidden":1,"Skipped":"x","self":{"text":"b"}}`,
	`{"sku":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","quantity":0,"price":-0,"unknown":["\u0041",{"a":"\\"},-1.5E+2]}`,
	`{"SKU":"case","Quantity":1}`, `{"sku":"one","sku":"two"}`, `{"s\u006bu":"escaped"}`, `{"ſku":"long s"}`, `{"quantity":null,"sku":null}`,
	`{"id":"i","quoted":"5","Moody":{"Value":1},"TEXT":"t","text":"u"}`,
	`[{"sku":"x"},null,{"price":1}]`, `[]`, ` [ 1 , 2 ] `, `{}`, ` { } `, `null`, `true`, `false`, `"text"`, `"\xff"`, "\"\u2028\"", `"a` + "\x01" + `"`,
	`0`, `-0`, `00`, `01`, `-`, `1.`, `.5`, `1e`, `1e5`, `1E-5`, `127`, `128`, `-128`, `-129`, `255`, `256`, `4294967295`, `4294967296`, `18446744073709551615`,
	`18446744073709551616`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `1e400`, `3.4e39`, `nul`, `nulll`, `tru`, `{"a"}`, `{"a":}`, `{"a":1,}`,
	`[1,]`, `[,1]`, `{"a":1]`, `{"a":"` + "\n" + `"}`, `"\u12"`, `"\x"`, `"`, ``, ` `, `{"a":1}}`, `[1] 2`, `{"a" "b"}`, `{1:2}`,
	strings.Repeat("[", 600) + strings.Repeat("]", 600), strings.Repeat(`{"self":`, 600) + "1" + strings.Repeat("}", 600), strings.Repeat("[", 11000),
	`"2026-01-02T03:04:05Z"`, `{"time":"no time"}`, `{"address":7}`, `{"bytes":"#"}`, `{"counts":{"a":"b"}}`, `{"deep":null}`, `{"array":[true,false,true]}`,
	"\ufeff{}", `{"sku":"` + "\xc3\x28" + `"}`, `{"` + "\xc3\x28" + `":1}`, `{"a":"\ud800"}`,
}

// If Read reads a text, it reads what encoding/json reads; and what encoding/json does not read, it does not.
func checkRead(t *testing.T, text []byte) (quick int) {
	t.Helper()
	for _, typ := range types {
		expected, found := reflect.New(typ), reflect.New(typ)
		if !Read(text, found.Interface()) {
			continue
		}
		quick++
		if err := json.Unmarshal(text, expected.Interface()); err != nil {
			t.Fatalf("%s was read as %s, but encoding/json says: %v", text, typ, err)
		}
		if !reflect.DeepEqual(expected.Interface(), found.Interface()) {
			t.Fatalf("%s was read as %s:\n%+v\nbut encoding/json reads\n%+v", text, typ, found.Elem(), expected.Elem())
		}
	}
	return quick
}

func TestWhatIsReadIsWhatEncodingJSONReads(t *testing.T) {
	for _, text := range texts {
		checkRead(t, []byte(text))
	}
}

func TestWhatIsDamagedIsReadByTheSameRules(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	bits := []string{`"`, `\`, `{`, `}`, `[`, `]`, `,`, `:`, ` `, `0`, `-`, `e`, `.`, `null`, `true`, "\x00", "\xff", "é", `\u00e9`, `"sku":`, `1`}
	quick := 0
	for range 20_000 {
		text := []byte(texts[chance.IntN(len(texts))])
		for range 1 + chance.IntN(3) {
			at := chance.IntN(len(text) + 1)
			switch chance.IntN(4) {
			case 0:
				text = text[:at]
			case 1:
				text = append(text[:at:at], text[min(len(text), at+1+chance.IntN(4)):]...)
			default:
				text = append(append(text[:at:at], bits[chance.IntN(len(bits))]...), text[at:]...)
			}
		}
		if len(text) < 2000 {
			quick += checkRead(t, text)
		}
	}
	if quick < 1000 {
		t.Errorf("only %d texts were read: the test says little", quick)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkRead(t, text) })
}

// If Write writes a value, it writes what encoding/json writes.
func checkWrite(t *testing.T, value any) (quick bool) {
	t.Helper()
	found, quick := Write(value)
	if !quick {
		return false
	}
	var expected bytes.Buffer
	encoder := json.NewEncoder(&expected)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatalf("%+v was written as %s, but encoding/json says: %v", value, found, err)
	}
	if text := strings.TrimSuffix(expected.String(), "\n"); text != string(found) {
		t.Fatalf("%+v was written as\n%s\nbut encoding/json writes\n%s", value, found, text)
	}
	return true
}

func TestWhatIsWrittenIsWhatEncodingJSONWrites(t *testing.T) {
	for _, value := range []any{
		nil, true, "", "<a> & é", "\"\\\n\x01\x7f", "\u2028", "\xff", 0, int8(-5), uint64(math.MaxUint64), int64(math.MinInt64), 1.5, -0.0, math.Copysign(0, -1),
		1e20, 1e21, 1e-6, 1e-7, 123456789.0, 9007199254740993.0, float32(0.1), float32(123456792), math.NaN(), math.Inf(1), kindOfOurs("x"), time.Unix(0, 0).UTC(),
		[]int(nil), []int{}, []int{1, 2}, []byte("hi"), [2]int{1, 2}, []any{1, "x", nil, []any{}}, map[string]any(nil), map[string]any{},
		map[string]any{"b": 1, "a": map[string]any{"x<": "y"}, "é": nil}, map[string]int{"b": 1, "a": 2}, map[int]string{2: "x"}, struct{}{}, &item{}, (*item)(nil),
		json.Number("1.50"), json.RawMessage(`{"a" : 1}`), moody{1}, &moody{1}, []moody{{1}}, map[string]moody{"a": {1}}, struct{ M moody }{}, &struct{ M moody }{},
		quirks{}, &quirks{}, []quirks{{}}, everything{}, &everything{Self: &everything{}}, func() {}, make(chan int), map[string]any{"f": func() {}},
		struct {
			A any     `json:",omitempty"`
			B float64 `json:"b,omitempty"`
			C *int    `json:"c,omitempty"`
		}{B: math.Copysign(0, -1)},
		struct {
			A time.Time `json:"a,omitzero"`
		}{}, struct{ A, a int }{1, 2}, netip.MustParseAddr("::1"),
	} {
		checkWrite(t, value)
	}
}

func TestWhatWasReadIsWrittenByTheSameRules(t *testing.T) {
	for _, text := range texts {
		for _, typ := range types {
			value := reflect.New(typ)
			_ = json.Unmarshal([]byte(text), value.Interface())
			checkWrite(t, value.Interface())
			checkWrite(t, value.Elem().Interface())
		}
	}
}

func TestWhatHoldsItselfEnds(t *testing.T) {
	circle := &everything{}
	circle.Self = circle
	if _, quick := Write(circle); quick {
		t.Error("a circle was written")
	}
	list := []any{nil}
	list[0] = list
	if _, quick := Write(list); quick {
		t.Error("a circle was written")
	}
}

// It would be right to leave all to encoding/json, and useless.
func TestWhatPluginsHaveIsDoneQuickly(t *testing.T) {
	text := []byte(`{"sku":"A-100","quantity":2,"price":22.5,"note":"äöü \"quoted\"","more":{"a":[1,2.5,null]}}`)
	var item item
	if !Read(text, &item) || item.SKU != "A-100" || item.Quantity != 2 || item.Price != 22.5 {
		t.Errorf("found %+v", item)
	}
	for _, value := range []any{item, &item, []any{item}, map[string]any{"item": item, "n": 1, "f": 0.5}, 7, "x", struct{ Items []any }{[]any{1}}} {
		if !checkWrite(t, value) {
			t.Errorf("%+v was left to encoding/json", value)
		}
	}
	var whatever any
	if !Read(text, &whatever) {
		t.Error("a value of unknown shape was left to encoding/json")
	}
}

func TestWhatIsNoPointerIsLeftAlone(t *testing.T) {
	if Read([]byte(`1`), 1) || Read([]byte(`1`), nil) || Read([]byte(`1`), (*int)(nil)) {
		t.Error("something was read")
	}
}

func BenchmarkRead(b *testing.B) {
	text := []byte(`{"text":"o-000042","items":[{"sku":"A-100","quantity":2,"price":22.50},{"sku":"B-200","quantity":1,"price":44.5}],"note":"please leave it","whole":14950}`)
	for b.Loop() {
		var target struct {
			Text  string `json:"text"`
			Items []item `json:"items"`
			Whole int64  `json:"whole"`
		}
		if !Read(text, &target) {
			b.Fatal("not read")
		}
	}
}
