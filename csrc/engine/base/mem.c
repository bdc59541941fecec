/* mem.c: malloc behind one hook, and arenas.
 *
 * In test builds (CT_TESTING) a request can be made to fail and live blocks are
 * counted. These counters are the engine's only static mutable data; they do not exist
 * in a release build. They are atomic because executors under test have threads.
 *
 * An arena is a list of blocks, the one in use at its head. A reset keeps the largest
 * block and lets the next one grow to what was needed in all, so that a turn which once
 * needed several blocks finds one large enough the next time. Under AddressSanitizer
 * each request is a block of its own, so that overruns inside an arena are seen. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_SINGLE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_SINGLE 1
#endif
#endif
#ifndef ARENA_SINGLE
#define ARENA_SINGLE 0
#endif

#ifdef CT_TESTING
#include <stdatomic.h>

static atomic_uint_fast64_t mem_countdown;
static atomic_bool mem_injected;
static atomic_int_fast64_t mem_blocks;

void
ct_mem_fail_at(uint64_t n)
{
    atomic_store(&mem_injected, false);
    atomic_store(&mem_countdown, n);
}

bool
ct_mem_failed(void)
{
    return atomic_load(&mem_injected);
}

int64_t
ct_mem_live(void)
{
    return (int64_t)atomic_load(&mem_blocks);
}

/* Whether this request is the one to fail. */
static bool
mem_refuse(void)
{
    uint_fast64_t n = atomic_load(&mem_countdown);
    while (n > 0) {
        if (atomic_compare_exchange_weak(&mem_countdown, &n, n - 1)) {
            if (n == 1) {
                atomic_store(&mem_injected, true);
                return true;
            }
            return false;
        }
    }
    return false;
}

static void *
mem_taken(void *p)
{
    if (p != NULL) {
        atomic_fetch_add(&mem_blocks, 1);
    }
    return p;
}

static void
mem_given_back(const void *p)
{
    if (p != NULL) {
        atomic_fetch_sub(&mem_blocks, 1);
    }
}
#else
static inline bool
mem_refuse(void)
{
    return false;
}

static inline void *
mem_taken(void *p)
{
    return p;
}

static inline void
mem_given_back(const void *p)
{
    (void)p;
}
#endif

void *
ct_alloc(size_t size)
{
    if (size > PTRDIFF_MAX || mem_refuse()) {
        return NULL;
    }
    return mem_taken(malloc(size > 0 ? size : 1));
}

void *
ct_calloc(size_t count, size_t size)
{
    if (count == 0 || size == 0) {
        count = 1;
        size = 1;
    }
    if (count > PTRDIFF_MAX / size || mem_refuse()) {
        return NULL;
    }
    return mem_taken(calloc(count, size));
}

void *
ct_realloc(void *p, size_t size)
{
    if (p == NULL) {
        return ct_alloc(size);
    }
    if (size > PTRDIFF_MAX || mem_refuse()) {
        return NULL;
    }
    return realloc(p, size > 0 ? size : 1);
}

void
ct_free(void *p)
{
    mem_given_back(p);
    free(p);
}

char *
ct_strndup(const char *text, size_t len)
{
    char *copy = len < SIZE_MAX ? ct_alloc(len + 1) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

ct_status
ct_grow(void **items, size_t *cap, size_t need, size_t size, ct_err *err)
{
    if (need <= *cap) {
        return CT_OK;
    }
    size_t grown = *cap + *cap / 2;
    size_t floor = size >= 64 ? 4 : 8;
    if (grown < floor) {
        grown = floor;
    }
    if (grown < need) {
        grown = need;
    }
    if (grown > SIZE_MAX / size) {
        return ct_fail_mem(err);
    }
    /* *items is any object pointer that the caller cast: copied, not dereferenced as
     * void *, so that the compiler need not believe the two types may alias. */
    void *old;
    memcpy(&old, items, sizeof old);
    void *p = ct_realloc(old, grown * size);
    if (p == NULL) {
        return ct_fail_mem(err);
    }
    memcpy(items, &p, sizeof p);
    *cap = grown;
    return CT_OK;
}

/* ---- arenas ---- */

struct ct_arena_block {
    ct_arena_block *next;
    size_t cap;
    size_t used;
};

enum {
    ARENA_ALIGN = 16,
    ARENA_HEADER =
        (sizeof(ct_arena_block) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN,
    ARENA_GROWTH_MAX = 1 << 20, /* a single huge turn must not inflate later blocks */
};

void
ct_arena_init(ct_arena *a, size_t block_size)
{
    a->head = NULL;
    a->block_size = block_size > ARENA_ALIGN ? block_size : ARENA_ALIGN;
}

static void *
block_take(ct_arena_block *b, size_t size)
{
    void *p = (char *)b + ARENA_HEADER + b->used;
    b->used += size;
    return p;
}

/* A new block that holds at least size. It becomes the head unless the request is so
 * large that this would waste the rest of the present head. */
static ct_arena_block *
arena_add_block(ct_arena *a, size_t size)
{
    bool alone = ARENA_SINGLE || size > a->block_size / 4;
    size_t cap = alone ? size : a->block_size;
    if (cap > SIZE_MAX - ARENA_HEADER) {
        return NULL;
    }
    ct_arena_block *b = ct_alloc(ARENA_HEADER + cap);
    if (b == NULL) {
        return NULL;
    }
    b->cap = cap;
    b->used = 0;
    if (alone && !ARENA_SINGLE && a->head != NULL) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    return b;
}

void *
ct_arena_alloc(ct_arena *a, size_t size)
{
    size_t need = size;
    if (!ARENA_SINGLE) { /* exact sizes let the sanitizer see an overrun of one byte */
        if (size > SIZE_MAX - ARENA_ALIGN) {
            return NULL;
        }
        need = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
        if (need == 0) {
            need = ARENA_ALIGN;
        }
    }
    ct_arena_block *b = a->head;
    if (ARENA_SINGLE || b == NULL || b->cap - b->used < need) {
        b = arena_add_block(a, need);
        if (b == NULL) {
            return NULL;
        }
    }
    return block_take(b, need);
}

char *
ct_arena_strndup(ct_arena *a, const char *text, size_t len)
{
    char *copy = len < SIZE_MAX ? ct_arena_alloc(a, len + 1) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

void
ct_arena_reset(ct_arena *a)
{
    if (ARENA_SINGLE) {
        ct_arena_deinit(a); /* so that use after the reset is seen */
        return;
    }
    ct_arena_block *keep = NULL;
    size_t total = 0;
    ct_arena_block *next;
    for (ct_arena_block *b = a->head; b != NULL; b = next) {
        next = b->next;
        total += b->used;
        if (keep == NULL) {
            keep = b;
        } else if (b->cap > keep->cap) {
            ct_free(keep);
            keep = b;
        } else {
            ct_free(b);
        }
    }
    a->head = keep;
    if (keep == NULL) {
        return;
    }
    keep->next = NULL;
    keep->used = 0;
    if (total > keep->cap && total <= ARENA_GROWTH_MAX && total > a->block_size) {
        a->block_size = total; /* the next block holds a whole turn, and is then kept */
    }
}

void
ct_arena_deinit(ct_arena *a)
{
    ct_arena_block *next;
    for (ct_arena_block *b = a->head; b != NULL; b = next) {
        next = b->next;
        ct_free(b);
    }
    a->head = NULL;
}
