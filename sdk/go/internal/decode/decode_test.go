package decode

import "testing"

type order struct {
	ID    string
	Items []struct {
		Price float64
	}
	Address *struct {
		Country string `json:"a/b"`
	}
	Count uint8
}

func TestAMisfitNamesThePlaceAndTheProblem(t *testing.T) {
	for data, expected := range map[string]string{
		`{"id":7,"items":[]}`:                 "it does not fit: `/id`: expected string, found number",
		`{"id":["x"],"items":[]}`:             "it does not fit: `/id`: expected string, found array",
		`{"id":"1","items":{"x":1}}`:          "it does not fit: `/items`: expected []struct { Price float64 }, found object",
		`{"x":[1,{"y":2}],"count":1000}`:      "it does not fit: `/count`: expected uint8, found number 1000",
		`{"items":[],"address":{"a/b":true}}`: "it does not fit: `/address/a~1b`: expected string, found bool",
		"{\"id\":\"}\\\"]\",\n \"items\": [ {\"price\": 1.5},\n {\"price\": \"2\"} ]}": "it does not fit: `/items/1/price`: expected float64, found string",
		`[]`:      "it does not fit: expected decode.order, found array",
		`"x"`:     "it does not fit: expected decode.order, found string",
		`{"id":`:  "it is not JSON: unexpected end of JSON input at byte 6",
		`{"id":x`: "it is not JSON: invalid character 'x' looking for beginning of value at byte 7",
		``:        "it is not JSON: unexpected end of JSON input at byte 0",
	} {
		var target order
		err := JSON("it", []byte(data), &target)
		if err == nil || err.Error() != expected {
			t.Errorf("%s\nexpected %s\nfound    %v", data, expected, err)
		}
	}
}

func TestWhatFitsIsRead(t *testing.T) {
	var target order
	if err := JSON("it", []byte(`{"id":"1","items":[{"price":2}],"more":null}`), &target); err != nil {
		t.Fatal(err)
	}
	if target.ID != "1" || len(target.Items) != 1 || target.Items[0].Price != 2 {
		t.Errorf("found %+v", target)
	}
}
