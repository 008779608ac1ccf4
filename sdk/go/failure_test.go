package tidemill_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"tidemill.dev/tidemill"
)

func TestAFailureIsAnErrorThatCanBeWrapped(t *testing.T) {
	wrapped := fmt.Errorf("checking o-1: %w", tidemill.Reject("a total cannot be negative"))
	var failure *tidemill.Failure
	if !errors.As(wrapped, &failure) || !failure.IsReject() {
		t.Fatal("the rejection is not found")
	}
	if wrapped.Error() != "checking o-1: a total cannot be negative" {
		t.Errorf("found %q", wrapped)
	}
}

func TestWhatAFailureWasMadeOfIsFound(t *testing.T) {
	failure := tidemill.Retryf("the ledger of %s: %w", "c-1", fs.ErrNotExist)
	if failure.Error() != "the ledger of c-1: file does not exist" {
		t.Errorf("found %q", failure)
	}
	if !errors.Is(failure, fs.ErrNotExist) || failure.IsReject() {
		t.Error("the cause is not found")
	}
}

func TestADelayBelongsToARetryOnly(t *testing.T) {
	once := tidemill.Retry("x")
	if delay, asked := once.After(3 * time.Second).Delay(); !asked || delay != 3*time.Second {
		t.Errorf("found %v, %v", delay, asked)
	}
	if _, asked := once.Delay(); asked {
		t.Error("After changed the failure that it was called on")
	}
	if _, asked := tidemill.Reject("x").After(time.Second).Delay(); asked {
		t.Error("a rejection has a delay")
	}
}
