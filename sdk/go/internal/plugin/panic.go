package plugin

import (
	"fmt"
	"path"
	"runtime"
	"strings"
)

// Most frames that are shown: the host keeps only the last 4 KiB of a call's log.
const maxFrames = 16

// Report is what a log should hold of a panic: a line with the place and the message, then a line for each frame of the stack
// down to where the author's code was called. To be called by the deferred function that recovered.
func Report(panicked any) []string {
	frames := panickedFrames()
	if len(frames) == 0 {
		return []string{fmt.Sprintf("panicked at an unknown place: %v", panicked)}
	}
	lines := []string{fmt.Sprintf("panicked at %s: %v", place(frames[0]), panicked)}
	for _, frame := range frames[:min(len(frames), maxFrames)] {
		lines = append(lines, fmt.Sprintf("  at %s (%s)", frame.Function, place(frame)))
	}
	if more := len(frames) - maxFrames; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", more))
	}
	return lines
}

// The frames between the runtime's machinery and this package, which called the author's code.
func panickedFrames() []runtime.Frame {
	callers := make([]uintptr, 256)
	stack := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	here, more := stack.Next()
	var frames []runtime.Frame
	panicking := false
	for more {
		var frame runtime.Frame
		frame, more = stack.Next()
		switch {
		case strings.HasPrefix(frame.Function, "runtime."):
			panicking = true
		case !panicking:
			// Between this function and the deferred one that recovered.
		case path.Dir(frame.File) == path.Dir(here.File):
			return frames
		default:
			frames = append(frames, frame)
		}
	}
	return frames
}

func place(frame runtime.Frame) string {
	return fmt.Sprintf("%s:%d", path.Base(frame.File), frame.Line)
}
