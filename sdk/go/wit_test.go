package tidemill_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A module on its own must hold everything that it is made from.
func TestTheCopyOfTheContractIsCurrent(t *testing.T) {
	names := map[string]bool{}
	for _, folder := range []string{"wit", "../../wit"} {
		found, err := filepath.Glob(filepath.Join(folder, "*.wit"))
		if err != nil || len(found) < 5 {
			t.Fatalf("the contract has several files, but %s has %q (%v)", folder, found, err)
		}
		for _, path := range found {
			names[filepath.Base(path)] = true
		}
	}
	for name := range names {
		ours, _ := os.ReadFile(filepath.Join("wit", name))
		theirs, _ := os.ReadFile(filepath.Join("../../wit", name))
		if !bytes.Equal(ours, theirs) {
			t.Errorf("sdk/go/wit/%s must be a copy of wit/%s", name, name)
		}
	}
}
