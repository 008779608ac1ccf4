// The memory of a call: an arena that is emptied when the call returns.
//
// One list of chunks, the newest first, each twice as large as the one before, up to a limit. Freeing nothing by itself and everything at once is
// what lets plugins free nothing; that the newest chunk is kept makes a reused instance allocate nothing at all.

#include "memory.h"

#include <stdlib.h>

enum {
    FIRST_CHUNK = 4 * 1024,       // a call with an event of 300 bytes needs about 3 KiB
    MOST_CHUNK = 1024 * 1024,     // from here on chunks grow no more: doubling would take what the memory limit still has
    KEPT_CHUNK = 256 * 1024,      // an instance that met one large event does not hold on to its memory for ever
    ALIGNMENT = _Alignof(max_align_t),
};

struct tm_memory {
    tm_memory *before;
    size_t size, used;
    _Alignas(max_align_t) char bytes[];
};

static tm_memory *newest;

void *tm_memory_take(size_t size) {
    if (size > SIZE_MAX / 4) tm_panic("%zu bytes are more than a call can have", size);
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!newest || newest->size - newest->used < size) {
        size_t room = newest ? newest->size * 2 : FIRST_CHUNK;
        if (room > MOST_CHUNK) room = MOST_CHUNK;
        if (room < size) room = size;
        tm_memory *added = malloc(sizeof(tm_memory) + room);
        if (!added) abort();  // nothing is left to say so with
        *added = (tm_memory){ .before = newest, .size = room };
        newest = added;
    }
    void *taken = newest->bytes + newest->used;
    newest->used += size;
    return taken;
}

void tm_memory_release(void) {
    tm_memory *kept = newest && newest->size <= KEPT_CHUNK ? newest : NULL;
    for (tm_memory *each = kept ? kept->before : newest, *before; each; each = before) {
        before = each->before;
        free(each);
    }
    newest = kept;
    if (!kept) return;
#ifndef __wasm__
    memset(kept->bytes, '~', kept->used);  // a test shall see that what a global points to is gone
#endif
    kept->before = NULL;
    kept->used = 0;
}

tm_memory *tm_memory_exchange(tm_memory *other) {
    tm_memory *before = newest;
    newest = other;
    return before;
}

void *tm_alloc(size_t size) { return memset(tm_memory_take(size), 0, size); }

tm_text tm_copy(tm_text text) {
    if (!text.ptr) return text;
    char *copy = tm_memory_take(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return (tm_text){ copy, text.len };
}
