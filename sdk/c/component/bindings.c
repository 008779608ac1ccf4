// The generated bindings of the world that `-I` names, without their freeing.
//
// They take every argument and result for memory of `malloc`, and free the list of arguments themselves once it is read. All of it
// lies in the arena, which frees it when the call has returned.

#include <stdlib.h>

static inline void tm_component_leave(void *pointer) { (void)pointer; }
#define free tm_component_leave

#include "plugin.c"
