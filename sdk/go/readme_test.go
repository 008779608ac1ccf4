package tidemill_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the README shows is code that is compiled and tested, to the letter.
func TestTheReadmeShowsTheExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("examples/*/*.go")
	if err != nil || len(files) != 4 {
		t.Fatalf("expected four files, found %q, %v", files, err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(readme), "```go\n"+string(code)+"```\n") {
			t.Errorf("README.md does not show %s as it is", file)
		}
	}
}
