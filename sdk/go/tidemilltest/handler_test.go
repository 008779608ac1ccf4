package tidemilltest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/config"
	"tidemill.dev/tidemill/emit"
	"tidemill.dev/tidemill/host"
	"tidemill.dev/tidemill/log"
	"tidemill.dev/tidemill/state"
	"tidemill.dev/tidemill/tidemilltest"
)

type wish struct {
	Wish string `json:"wish"`
}

// A handler whose behaviour the event names, so that each test reads as cause and effect.
func puppet(ctx *tidemill.Context, event tidemill.Event[wish]) error {
	switch event.Data.Wish {
	case "count":
		count, err := state.Update("count", func(count int) int { return count + 1 })
		if err != nil {
			return err
		}
		return emit.Send(emit.Event{To: "counts.made", Kind: "Counted", Data: count})
	case "count, then reject":
		if err := state.PutJSON("count", 99); err != nil {
			return err
		}
		if err := emit.Send(emit.Event{To: "counts.made", Kind: "Counted", Data: 99}); err != nil {
			return err
		}
		log.Info("about to reject "+event.ID, "route", ctx.Route, "tries", ctx.Attempt)
		return tidemill.Reject("changed my mind")
	case "retry later":
		return fmt.Errorf("wishing: %w", tidemill.Retry("not yet").After(7*time.Second))
	case "fail":
		return errors.New("nobody knows why")
	case "panic":
		panic("on " + event.Kind)
	case "ignore a refusal":
		_ = emit.Send(emit.Event{To: "secrets.told", Kind: "Told"})
		return nil
	case "reject after a refusal":
		_ = emit.Send(emit.Event{To: "secrets.told", Kind: "Told"})
		return tidemill.Reject("nothing to tell")
	case "id":
		if err := state.Put("id", []byte(host.StableID("thing"))); err != nil {
			return err
		}
		if ctx.IsLastAttempt() {
			return nil
		}
		return tidemill.Retry("once more")
	case "set once":
		set, err := state.CompareAndSet("once", nil, []byte("1"))
		if err != nil {
			return err
		}
		return emit.Send(emit.Event{To: "sets.made", Kind: "Set", Data: set})
	default:
		return tidemill.Reject("no such wish: " + event.Data.Wish)
	}
}

func wishFor(text string) tidemilltest.Event {
	return tidemilltest.Event{Kind: "Wish", Data: wish{text}}
}

func TestEffectsOfADoneCallStay(t *testing.T) {
	puppet := tidemilltest.NewHandler(t, puppet).State("count", 4)
	run := puppet.Handle(wishFor("count")).AssertDone()
	run.Emitted("Counted").AssertData(5)
	puppet.Handle(wishFor("count")).AssertState("count", 6)
}

func TestEffectsOfAFailedCallVanishAndItsLogStays(t *testing.T) {
	run := tidemilltest.NewHandler(t, puppet).State("count", 4).Route("demo").Handle(wishFor("count, then reject"))
	run.AssertRejected("changed my mind").AssertNoEmits().AssertState("count", 4)
	if !run.Logged(log.LevelInfo, "about to reject event-1") {
		t.Errorf("found %v", run.Logs)
	}
	if fields := run.Logs[0].Fields; fields["route"] != "demo" || fields["tries"] != "1" {
		t.Errorf("found %v", fields)
	}
}

func TestErrorsBecomeWhatTheySay(t *testing.T) {
	retry := tidemilltest.NewHandler(t, puppet).Handle(wishFor("retry later")).Outcome
	expected := tidemilltest.Outcome{Ended: tidemilltest.Retried, Reason: "wishing: not yet", After: 7 * time.Second}
	if retry != expected {
		t.Errorf("found %+v", retry)
	}
	tidemilltest.NewHandler(t, puppet).Handle(wishFor("fail")).AssertRetry("nobody knows why")
}

func TestAPanicLeavesItsStackInTheLog(t *testing.T) {
	run := tidemilltest.NewHandler(t, puppet).Handle(wishFor("panic")).AssertPanicked("on Wish")
	if first := run.Logs[0].Message; !strings.HasPrefix(first, "panicked at handler_test.go:") || !strings.HasSuffix(first, ": on Wish") {
		t.Errorf("found %q", first)
	}
	if len(run.Logs) != 2 || !run.Logged(log.LevelError, "  at tidemill.dev/tidemill/tidemilltest_test.puppet (handler_test.go:") {
		t.Errorf("found %v", run.Logs)
	}
}

func TestDataThatDoesNotFitNeverReachesTheHandler(t *testing.T) {
	event := tidemilltest.Event{Kind: "Wish", Data: map[string]any{"wish": 1}}
	run := tidemilltest.NewHandler(t, puppet).Handle(event)
	run.AssertRejected("the event's data does not fit: `/wish`: expected string, found number")
	event = tidemilltest.Event{Kind: "Wish", Data: []byte("wish")}
	run = tidemilltest.NewHandler(t, puppet).Handle(event)
	run.AssertRejected("the event's data is not JSON: invalid character 'w' looking for beginning of value at byte 1")
}

func TestARefusedEmitFailsTheCallEvenIfItIsIgnored(t *testing.T) {
	run := tidemilltest.NewHandler(t, puppet).Emits("counts.*").Handle(wishFor("ignore a refusal"))
	run.AssertRefused("`emits: [\"secrets.told\"]`")
	tidemilltest.NewHandler(t, puppet).Emits("counts.*").Handle(wishFor("count")).AssertDone()
	tidemilltest.NewHandler(t, puppet).Emits("counts.*").Handle(wishFor("reject after a refusal")).AssertRejected("nothing to tell")
}

func TestGrantsAreSubjectPatterns(t *testing.T) {
	send := func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error {
		return emit.Send(emit.Event{To: "a.b.c", Kind: "X"})
	}
	for pattern, granted := range map[string]bool{
		"a.b.c": true, "a.*.c": true, "a.>": true, ">": true, "*.*.*": true,
		"a.b": false, "a.b.c.d": false, "a.*": false, "a.b.c.>": false, "b.>": false, "": false,
	} {
		run := tidemilltest.NewHandler(t, send).Emits(pattern).Handle(tidemilltest.Event{})
		if (run.Outcome.Ended == tidemilltest.Done) != granted {
			t.Errorf("%q: %s", pattern, run.Outcome)
		}
	}
}

func TestEmitsThatBreakARuleAreRefused(t *testing.T) {
	for _, it := range []struct {
		event    emit.Event
		kind     error
		expected string
	}{
		{emit.Event{To: "x"}, emit.ErrInvalid, "the emit to `x` has no type: the field Kind sets it"},
		{emit.Event{To: "x.*", Kind: "X"}, emit.ErrInvalid, "`x.*` is not a subject"},
		{emit.Event{To: "", Kind: "X"}, emit.ErrInvalid, "`` is not a subject"},
		{emit.Event{To: "$SYS.x", Kind: "X"}, emit.ErrNotGranted, "`$SYS.x` belongs to the server"},
	} {
		var found error
		send := func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error {
			found = emit.Send(it.event)
			return found
		}
		tidemilltest.NewHandler(t, send).Handle(tidemilltest.Event{}).AssertRefused(it.expected)
		if !errors.Is(found, it.kind) || found.Error() != it.expected {
			t.Errorf("found %v", found)
		}
	}
}

func TestAnEmitIsPublishedAsItWasMade(t *testing.T) {
	event := emit.Event{
		To: "a.b", Kind: "X", Subject: "c-1", DataContentType: "text/plain", DataSchema: "/schemas/X/2",
		Extensions: map[string]string{"lines": "3", "colour": "red"}, Data: []byte("<hello>"),
	}
	run := tidemilltest.NewHandler(t, func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error { return emit.Send(event) })
	found := run.Handle(tidemilltest.Event{}).Emitted("X")
	if found.To != "a.b" || found.Subject != "c-1" || found.DataContentType != "text/plain" || found.DataSchema != "/schemas/X/2" ||
		found.Extensions["lines"] != "3" || found.Extensions["colour"] != "red" || string(found.Data) != "<hello>" {
		t.Errorf("found %+v", found)
	}
}

func TestDataIsWrittenAsPeopleReadIt(t *testing.T) {
	inside(t, nil, func() {
		if err := emit.Send(emit.Event{To: "x", Kind: "X", Data: func() {}}); err == nil ||
			err.Error() != "the data of the emit to `x` cannot be written as JSON: json: unsupported type: func()" {
			t.Errorf("found %v", err)
		}
		if err := state.PutJSON("text", "Tom & <Jerry>"); err != nil {
			t.Fatal(err)
		}
		if text, _ := state.Get("text"); string(text) != `"Tom & <Jerry>"` {
			t.Errorf("found %s", text)
		}
	})
}

func TestAStableIDIsTheSameForARedeliveryAndAnotherForTheNextEvent(t *testing.T) {
	last := tidemilltest.NewHandler(t, puppet).Attempt(5)
	first := string(last.Handle(wishFor("id")).State["id"])
	if second := string(last.Handle(wishFor("id")).State["id"]); second == first {
		t.Errorf("both are %s", first)
	}
	// What the host gives for this route, stream and sequence.
	if first != "ddde2b0b-8f6f-5b70-947c-8baaa423e2f3" {
		t.Errorf("found %s", first)
	}
	again := tidemilltest.NewHandler(t, puppet)
	again.Handle(wishFor("id")).AssertRetry("once more")
	again.Attempt(5).Handle(wishFor("id"))
	if found := string(again.Handle(wishFor("id")).State["id"]); found == first {
		t.Error("the sequence did not go on")
	}
}

func TestCompareAndSetSetsWhatIsAbsentOnce(t *testing.T) {
	puppet := tidemilltest.NewHandler(t, puppet)
	puppet.Handle(wishFor("set once")).Emitted("Set").AssertData(true)
	puppet.Handle(wishFor("set once")).Emitted("Set").AssertData(false)
}

// Runs body where a handler's body runs.
func inside(t *testing.T, set func(*tidemilltest.Handler), body func()) {
	t.Helper()
	harness := tidemilltest.NewHandler(t, func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error {
		body()
		return nil
	})
	if set != nil {
		set(harness)
	}
	harness.Handle(tidemilltest.Event{}).AssertDone()
}

type mode string

func TestSettingsAreReadAsTextsOrAsJSON(t *testing.T) {
	set := func(h *tidemilltest.Handler) {
		h.Config("text", "5").Config("mode", "strict").Config("list", []int{1, 2}).Config("number", 1.5).Config("flag", true)
	}
	inside(t, set, func() {
		expect(t, "5")(config.Require[string]("text"))
		expect(t, 5)(config.Require[int]("text"))
		expect(t, mode("strict"))(config.Require[mode]("mode"))
		expect(t, 1.5)(config.Or("number", 7.0))
		expect(t, 7.0)(config.Or("nothing", 7.0))
		expect(t, true)(config.Require[bool]("flag"))
		if list, found, err := config.Get[[]int]("list"); err != nil || !found || !slices.Equal(list, []int{1, 2}) {
			t.Errorf("found %v, %v, %v", list, found, err)
		}
		if _, found, err := config.Get[bool]("nothing"); found || err != nil {
			t.Errorf("found %v, %v", found, err)
		}
		if keys := config.Keys(); !slices.Equal(keys, []string{"flag", "list", "mode", "number", "text"}) {
			t.Errorf("found %q", keys)
		}
	})
}

func expect[T comparable](t *testing.T, expected T) func(T, error) {
	return func(found T, err error) {
		t.Helper()
		if err != nil || found != expected {
			t.Errorf("expected %v, found %v, %v", expected, found, err)
		}
	}
}

func TestASettingThatDoesNotFitIsAnErrorWithoutItsValue(t *testing.T) {
	set := func(h *tidemilltest.Handler) { h.Config("token", "s3cret") }
	inside(t, set, func() {
		_, err := config.Require[int]("token")
		if err == nil || err.Error() != "the setting `token` is no int (6 bytes found)" {
			t.Errorf("found %v", err)
		}
		_, err = config.Require[int]("threshold")
		if !errors.Is(err, config.ErrMissing) || !strings.Contains(err.Error(), "`plugins.settings.<plugin>.config.threshold`") {
			t.Errorf("found %v", err)
		}
	})
}

func TestKeysAreListedInOrderAndPageByPage(t *testing.T) {
	inside(t, nil, func() {
		for n := range 2500 {
			must(t, state.Put(fmt.Sprintf("many/%04d", n), []byte("x")))
		}
		must(t, state.Put("other", nil))
		var keys []string
		for key, err := range state.Keys("many/") {
			must(t, err)
			keys = append(keys, key)
		}
		if len(keys) != 2500 || keys[0] != "many/0000" || keys[2499] != "many/2499" {
			t.Errorf("found %d keys", len(keys))
		}
		if some, err := state.List("many/", "many/0002", 2); err != nil || !slices.Equal(some, []string{"many/0003", "many/0004"}) {
			t.Errorf("found %q, %v", some, err)
		}
		must(t, state.Delete("many/0003"))
		if value, err := state.Get("many/0003"); value != nil || err != nil {
			t.Errorf("found %q, %v", value, err)
		}
		if value, err := state.Get("other"); value == nil || err != nil {
			t.Errorf("an empty value is a value, but found %q, %v", value, err)
		}
	})
}

func TestStateErrorsSayWhatIsWrong(t *testing.T) {
	set := func(h *tidemilltest.Handler) { h.State("count", []byte("not JSON")) }
	inside(t, set, func() {
		for err, kind := range map[error]error{
			state.Put("", nil):                      state.ErrInvalidKey,
			state.Delete("a\nb"):                    state.ErrInvalidKey,
			state.Put("big", make([]byte, 600_000)): state.ErrLimit,
		} {
			if !errors.Is(err, kind) {
				t.Errorf("found %v", err)
			}
		}
		_, _, err := state.GetJSON[int]("count")
		if err == nil || !strings.HasPrefix(err.Error(), "the state's value of `count`: invalid character") {
			t.Errorf("found %v", err)
		}
		inserted, err := state.InsertJSON("count", 1)
		if inserted || err != nil {
			t.Errorf("found %v, %v", inserted, err)
		}
	})
}

func TestAnUnreachableStoreIsARetry(t *testing.T) {
	run := tidemilltest.NewHandler(t, puppet).StateUnavailable().Handle(wishFor("count"))
	run.AssertRetry("the state is unavailable: the harness says so")
}

func TestTheHostsTimeAndRandomnessAreFixed(t *testing.T) {
	var first []byte
	for range 2 {
		set := func(h *tidemilltest.Handler) { h.Now("2026-11-21T10:00:00.250Z") }
		inside(t, set, func() {
			if now := host.Now(); !now.Equal(time.Date(2026, 11, 21, 10, 0, 0, 250_000_000, time.UTC)) {
				t.Errorf("found %v", now)
			}
			drawn := host.Random(16)
			if first == nil {
				first = drawn
			}
			if !slices.Equal(first, drawn) || slices.Equal(drawn, host.Random(16)) {
				t.Errorf("found %x after %x", drawn, first)
			}
		})
	}
}

func TestTheTimeThatIsLeftIsTheTimeLimitUnlessTheTestSaysOtherwise(t *testing.T) {
	var left, limit time.Duration
	ask := func(ctx *tidemill.Context, _ tidemill.Event[tidemill.Raw]) error {
		left, limit = host.TimeLeft(), ctx.TimeLimit
		return nil
	}
	tidemilltest.NewHandler(t, ask).Handle(tidemilltest.Event{}).AssertDone()
	if left != 5*time.Second || left != limit {
		t.Errorf("found %v of %v", left, limit)
	}
	tidemilltest.NewHandler(t, ask).TimeLeft(250 * time.Millisecond).Handle(tidemilltest.Event{}).AssertDone()
	if left != 250*time.Millisecond || limit != 5*time.Second {
		t.Errorf("found %v of %v", left, limit)
	}
}

func TestAMistakenFieldIsShown(t *testing.T) {
	run := tidemilltest.NewHandler(t, func(*tidemill.Context, tidemill.Event[tidemill.Raw]) error {
		log.Warn("a line", "error", errors.New("no"), 7)
		return nil
	}).Handle(tidemilltest.Event{})
	if fields := run.Logs[0].Fields; fields["error"] != "no" || fields["!BADKEY"] != "7" {
		t.Errorf("found %v", fields)
	}
}

func TestRawDataIsNeverParsed(t *testing.T) {
	var found tidemill.Event[tidemill.Raw]
	tidemilltest.NewHandler(t, func(_ *tidemill.Context, event tidemill.Event[tidemill.Raw]) error {
		found = event
		return nil
	}).Handle(tidemilltest.Event{
		ID: "e-1", Source: "/s", Kind: "K", Subject: "it", DataContentType: "image/png",
		Extensions: map[string]string{"traceparent": "00-1"}, Data: []byte("\xff{"),
	}).AssertDone()
	if string(found.Data) != "\xff{" || found.ID != "e-1" || found.Extensions["traceparent"] != "00-1" || found.Subject != "it" {
		t.Errorf("found %+v", found)
	}
}

func TestOutsideOfAHarnessThereIsNoHost(t *testing.T) {
	defer func() {
		if panicked := fmt.Sprint(recover()); !strings.Contains(panicked, "only inside of a harness") {
			t.Errorf("found %s", panicked)
		}
	}()
	host.Now()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
