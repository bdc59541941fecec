/* limiter.c: who is live, and whose completion is held back.
 *
 * Live ids lie densely in `slots`; `index` finds them by hash: a power-of-two table of slot
 * numbers + 1 (0 = empty), linear probing, at most half full. Removing shifts the run back
 * and moves the last slot into the gap, so that nothing ever needs a sweep. Ids up to
 * SMALL_ID bytes, which all generated ones are, lie in the slot itself: entering and
 * completing takes no memory once the tables have grown.
 *
 * Held completions (batch) stay live until they are flushed. Slots are only removed one by
 * one without batch, so slot numbers in `held` stay valid. */
#include "search/limiter.h"

#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { SMALL_ID = 23 };

typedef struct live_slot {
    uint64_t hash;
    char *big; /* owned text of a long id, else NULL */
    char small[SMALL_ID + 1];
    bool held;
} live_slot;

struct ct_limiter {
    int64_t max;
    bool batch;
    live_slot *slots;
    size_t count;
    size_t cap;
    uint32_t *index;
    size_t index_cap;
    uint32_t *held; /* slot numbers in order of completion; as much room as slots */
    size_t held_count;
};

static const char *
slot_text(const live_slot *s)
{
    return s->big != NULL ? s->big : s->small;
}

ct_status
ct_limiter_new(ct_limiter **out, int64_t max_concurrent, bool batch, ct_err *err)
{
    if (max_concurrent <= 0) {
        return ct_fail(err, CT_EINVAL, "max_concurrent",
                       "must be a positive number of trials, got %" PRId64,
                       max_concurrent);
    }
    ct_limiter *l = ct_calloc(1, sizeof *l);
    if (l == NULL) {
        return ct_fail_mem(err);
    }
    l->max = max_concurrent;
    l->batch = batch;
    *out = l;
    return CT_OK;
}

void
ct_limiter_free(ct_limiter *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->count; i++) {
        ct_free(l->slots[i].big);
    }
    ct_free(l->slots);
    ct_free(l->index);
    ct_free(l->held);
    ct_free(l);
}

/* ---- index ---- */

/* The place of the index that holds the id, or SIZE_MAX. */
static size_t
index_find(const ct_limiter *l, const char *id, uint64_t hash)
{
    if (l->count == 0) {
        return SIZE_MAX;
    }
    size_t mask = l->index_cap - 1;
    for (size_t i = hash & mask; l->index[i] != 0; i = (i + 1) & mask) {
        const live_slot *s = &l->slots[l->index[i] - 1];
        if (s->hash == hash && strcmp(slot_text(s), id) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void
index_place(uint32_t *index, size_t cap, uint64_t hash, size_t slot)
{
    size_t i = hash & (cap - 1);
    while (index[i] != 0) {
        i = (i + 1) & (cap - 1);
    }
    index[i] = (uint32_t)slot + 1;
}

/* Empties a place and shifts back those behind it that may lie nearer to their home. */
static void
index_remove(ct_limiter *l, size_t at)
{
    size_t mask = l->index_cap - 1;
    for (size_t i = (at + 1) & mask; l->index[i] != 0; i = (i + 1) & mask) {
        size_t home = l->slots[l->index[i] - 1].hash & mask;
        if (((i - home) & mask) >= ((i - at) & mask)) {
            l->index[at] = l->index[i];
            at = i;
        }
    }
    l->index[at] = 0;
}

static void
index_rebuild(ct_limiter *l)
{
    memset(l->index, 0, l->index_cap * sizeof *l->index);
    for (size_t i = 0; i < l->count; i++) {
        index_place(l->index, l->index_cap, l->slots[i].hash, i);
    }
}

/* Room for one more live id in all three tables; on failure nothing is lost. */
static ct_status
limiter_reserve(ct_limiter *l, ct_err *err)
{
    size_t need = l->count + 1;
    if (need <= l->cap) {
        return CT_OK;
    }
    size_t cap = l->cap == 0 ? 8 : l->cap * 2;
    if (cap > UINT32_MAX / 2) {
        return ct_fail_mem(err);
    }
    live_slot *slots = ct_realloc(l->slots, cap * sizeof *slots);
    if (slots == NULL) {
        return ct_fail_mem(err);
    }
    l->slots = slots;
    uint32_t *held = ct_realloc(l->held, cap * sizeof *held);
    if (held == NULL) {
        return ct_fail_mem(err);
    }
    l->held = held;
    uint32_t *index = ct_calloc(cap * 2, sizeof *index);
    if (index == NULL) {
        return ct_fail_mem(err);
    }
    ct_free(l->index);
    l->index = index;
    l->index_cap = cap * 2;
    l->cap = cap;
    index_rebuild(l);
    return CT_OK;
}

/* ---- slots ---- */

static void
slot_drop(ct_limiter *l, size_t place)
{
    size_t gone = l->index[place] - 1;
    size_t last = l->count - 1;
    index_remove(l, place);
    ct_free(l->slots[gone].big);
    if (gone != last) {
        size_t mask = l->index_cap - 1;
        size_t i = l->slots[last].hash & mask;
        while (l->index[i] != last + 1) {
            i = (i + 1) & mask;
        }
        l->index[i] = (uint32_t)gone + 1;
        l->slots[gone] = l->slots[last];
    }
    l->count = last;
}

bool
ct_limiter_full(const ct_limiter *l)
{
    return l->max <= 0 || (uint64_t)l->count >= (uint64_t)l->max;
}

ct_status
ct_limiter_enter(ct_limiter *l, const char *id, ct_err *err)
{
    size_t len = strlen(id);
    uint64_t hash = ct_hash_bytes(id, len);
    if (index_find(l, id, hash) != SIZE_MAX) {
        return ct_fail(err, CT_ESTATE, "trial_id",
                       "'%.100s' is live already; complete it before suggesting for it "
                       "again",
                       id);
    }
    ct_status st = limiter_reserve(l, err);
    if (st != CT_OK) {
        return st;
    }
    live_slot *s = &l->slots[l->count];
    s->big = NULL;
    if (len <= SMALL_ID) {
        memcpy(s->small, id, len + 1);
    } else {
        s->big = ct_strndup(id, len);
        if (s->big == NULL) {
            return ct_fail_mem(err);
        }
    }
    s->hash = hash;
    s->held = false;
    index_place(l->index, l->index_cap, hash, l->count);
    l->count++;
    return CT_OK;
}

bool
ct_limiter_has(const ct_limiter *l, const char *id)
{
    return index_find(l, id, ct_hash_bytes(id, strlen(id))) != SIZE_MAX;
}

ct_status
ct_limiter_complete(ct_limiter *l, const char *id, bool *known, size_t *ready,
                    ct_err *err)
{
    (void)err;
    size_t place = index_find(l, id, ct_hash_bytes(id, strlen(id)));
    *ready = 0;
    *known = place != SIZE_MAX;
    if (!*known) {
        return CT_OK;
    }
    if (!l->batch) {
        slot_drop(l, place);
        *ready = 1;
        return CT_OK;
    }
    uint32_t slot = l->index[place] - 1;
    if (!l->slots[slot].held) { /* a second completion changes nothing */
        l->slots[slot].held = true;
        l->held[l->held_count++] = slot;
    }
    *ready = l->held_count == l->count ? l->held_count : 0;
    return CT_OK;
}

const char *
ct_limiter_held(const ct_limiter *l, size_t i)
{
    assert(i < l->held_count);
    return slot_text(&l->slots[l->held[i]]);
}

size_t
ct_limiter_held_count(const ct_limiter *l)
{
    return l->held_count;
}

void
ct_limiter_flush(ct_limiter *l)
{
    size_t kept = 0;
    if (l->held_count == 0) {
        return;
    }
    for (size_t i = 0; i < l->count; i++) {
        if (l->slots[i].held) {
            ct_free(l->slots[i].big);
        } else {
            l->slots[kept++] = l->slots[i];
        }
    }
    l->count = kept;
    l->held_count = 0;
    index_rebuild(l);
}

void
ct_limiter_set_max(ct_limiter *l, int64_t max_concurrent)
{
    l->max = max_concurrent;
}

int64_t
ct_limiter_max(const ct_limiter *l)
{
    return l->max;
}

bool
ct_limiter_batch(const ct_limiter *l)
{
    return l->batch;
}

size_t
ct_limiter_live(const ct_limiter *l)
{
    return l->count;
}

const char *
ct_limiter_live_at(const ct_limiter *l, size_t i)
{
    assert(i < l->count);
    return slot_text(&l->slots[i]);
}
