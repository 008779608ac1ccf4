// What Go cannot say.

#include "textflag.h"

// func Trap()
TEXT ·Trap(SB), NOSPLIT, $0-0
	UNDEF

// func room()
// The assembler checks the stack for the frame, as in front of every function that may grow it.
TEXT ·room(SB), 0, $1024-0
	RET
