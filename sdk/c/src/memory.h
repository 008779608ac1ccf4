// The memory of a call; nothing for plugins.

#ifndef TIDEMILL_MEMORY_H
#define TIDEMILL_MEMORY_H

#include "../tidemill.h"

// Memory of the arena, not set to zero.
void *tm_memory_take(size_t size);

// Empties the arena: what the call was given and what it made is gone.
void tm_memory_release(void);

// Makes another arena (NULL: an empty one) the one that is used, and answers the one before. A component has only one; a test has
// one of its own beside that of the call.
typedef struct tm_memory tm_memory;
tm_memory *tm_memory_exchange(tm_memory *other);

// How a panic ends: in a component with a trap, in a test with the call.
TM_NO_RETURN void tm_memory_panic(tm_text message);

#endif
