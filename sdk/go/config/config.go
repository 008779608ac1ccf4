// Package config gives the plugin's own settings: plugins.settings.<plugin>.config of runtime.yaml, and the secrets that it is
// granted.
package config

import (
	"errors"
	"fmt"
	"reflect"

	"tidemill.dev/tidemill/internal/contract"
	"tidemill.dev/tidemill/internal/decode"
)

// ErrMissing: a setting is required and not there.
var ErrMissing = errors.New("the setting is missing")

// Get gives a setting, and says whether it is there. A text is given as it stands, if T is a kind of string; anything else is read
// as JSON.
func Get[T any](key string) (value T, found bool, err error) {
	text, found := Text(key)
	if !found {
		return value, false, nil
	}
	// A secret or a text may look like JSON: what is wanted decides, not what it looks like.
	if wanted := reflect.ValueOf(&value).Elem(); wanted.Kind() == reflect.String {
		wanted.SetString(text)
		return value, true, nil
	}
	if err := decode.Plain([]byte(text), &value); err != nil {
		// Without the value, which may be a secret, and without the cause's text, which may quote it.
		return value, false, fmt.Errorf("the setting `%s` is no %T (%d bytes found)", key, value, len(text))
	}
	return value, true, nil
}

// Or gives a setting, or the fallback where it is not there.
//
//	threshold, err := config.Or("threshold", 1000.0)
func Or[T any](key string, fallback T) (T, error) {
	value, found, err := Get[T](key)
	if err == nil && !found {
		return fallback, nil
	}
	return value, err
}

// Require gives a setting that must be there. Its error, returned, makes the event wait for the repair of runtime.yaml.
func Require[T any](key string) (T, error) {
	value, found, err := Get[T](key)
	if err == nil && !found {
		err = fmt.Errorf("%w: `plugins.settings.<plugin>.config.%s` in runtime.yaml sets it", ErrMissing, key)
	}
	return value, err
}

// Text gives a setting or a granted secret as the host gives it.
func Text(key string) (text string, found bool) {
	return contract.ConfigGet(key)
}

// Keys gives the names of all settings, without the secrets, in byte order.
func Keys() []string {
	return contract.ConfigKeys()
}
