/* mem.h: the only way the engine takes memory, and arenas.
 *
 * ct_alloc and friends are malloc with one hook: in test builds (CT_TESTING) the n-th
 * request can be made to fail. Arenas serve memory that dies together (a turn, an
 * experiment). Under AddressSanitizer an arena gives each request its own block. */
#ifndef CT_BASE_MEM_H
#define CT_BASE_MEM_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *ct_alloc(size_t size); /* NULL when out of memory; size 0 gives a valid pointer */
void *ct_calloc(size_t count, size_t size); /* zeroed; NULL on overflow as well */
void *ct_realloc(void *p, size_t size);     /* on NULL the old block is still valid */
void ct_free(void *p);                      /* NULL is fine */
char *ct_strndup(const char *text, size_t len); /* adds the final NUL */

/* Makes *items able to hold need elements of the given size, growing by half; *cap is
 * updated. On failure nothing changed. */
ct_status ct_grow(void **items, size_t *cap, size_t need, size_t size, ct_err *err);

#ifdef CT_TESTING
/* The n-th request from now (1 = the next) fails, and only that one; 0 = none. */
void ct_mem_fail_at(uint64_t n);
/* Whether a failure was injected since the last ct_mem_fail_at. */
bool ct_mem_failed(void);
/* Blocks taken and not given back. */
int64_t ct_mem_live(void);
#endif

typedef struct ct_arena_block ct_arena_block;
typedef struct ct_arena {
    ct_arena_block *head;
    size_t block_size;
} ct_arena;

void ct_arena_init(ct_arena *a, size_t block_size);
/* Aligned to 16; NULL if out of memory. */
void *ct_arena_alloc(ct_arena *a, size_t size);
char *ct_arena_strndup(ct_arena *a, const char *text, size_t len);
void ct_arena_reset(ct_arena *a); /* forgets everything, keeps one block */
void ct_arena_deinit(ct_arena *a);

#endif
