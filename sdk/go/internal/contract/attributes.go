package contract

import (
	"maps"
	"slices"
)

// Attributes lists extension attributes in the order of their names, so that the same call always emits the same.
func Attributes(extensions map[string]string) []Attribute {
	if len(extensions) == 0 {
		return nil
	}
	attributes := make([]Attribute, 0, len(extensions))
	for _, name := range slices.Sorted(maps.Keys(extensions)) {
		attributes = append(attributes, Attribute{Name: name, Value: extensions[name]})
	}
	return attributes
}

// Extensions finds extension attributes by their names; nil where there are none.
func Extensions(attributes []Attribute) map[string]string {
	if len(attributes) == 0 {
		return nil
	}
	extensions := make(map[string]string, len(attributes))
	for _, attribute := range attributes {
		extensions[attribute.Name] = attribute.Value
	}
	return extensions
}
