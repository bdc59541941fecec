/* map.c: robin hood hashing.
 *
 * Slot i is empty (dist 0) or holds a key whose home slot is dist - 1 places to the
 * left. Going right from a home slot, the distances never fall by more than a fresh
 * home allows: a search may stop at the first slot that is closer to its home than the
 * key would be. Removing shifts the run back by one, so there are no tombstones. */
#include "base/map.h"

#include "base/mem.h"
#include "base/wide.h"

#include <string.h>

struct ct_map_slot {
    uint64_t key;
    uint32_t value;
    uint32_t dist;
};

uint64_t
ct_hash_u64(uint64_t x)
{
    x ^= x >>
         32; /* two rounds of xorshift and odd multiplication (Steele et al. 2014) */
    x *= 0xBF58476D1CE4E5B9ULL;
    x ^= x >> 29;
    x *= 0x94D049BB133111EBULL;
    x ^= x >> 32;
    return x;
}

static uint64_t
fold_mul(uint64_t a, uint64_t b)
{
    wide p = wide_mul(a, b);
    return p.hi ^ p.lo;
}

/* Folds 8 bytes at a time; the same on machines of one byte order, and never stored. */
uint64_t
ct_hash_bytes(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = 0x9E3779B97F4A7C15ULL ^ (uint64_t)len;
    uint64_t word;
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = fold_mul(h ^ word, 0xD6E8FEB86659FD93ULL);
    }
    if (left > 0) {
        word = 0;
        memcpy(&word, p, left);
        h = fold_mul(h ^ word, 0xA0761D6478BD642FULL);
    }
    return ct_hash_u64(h);
}

void
ct_map_deinit(ct_map *m)
{
    ct_free(m->slots);
    *m = (ct_map)CT_MAP_INIT;
}

/* Places a key that is not in the table; there is a free slot. */
static void
slots_place(ct_map_slot *slots, size_t mask, ct_map_slot item)
{
    size_t i = (size_t)ct_hash_u64(item.key) & mask;
    item.dist = 1;
    while (slots[i].dist != 0) {
        if (slots[i].dist < item.dist) {
            ct_map_slot evicted = slots[i];
            slots[i] = item;
            item = evicted;
        }
        i = (i + 1) & mask;
        item.dist++;
    }
    slots[i] = item;
}

static ct_status
map_resize(ct_map *m, ct_err *err)
{
    size_t cap = m->cap > 0 ? m->cap * 2 : 8;
    ct_map_slot *slots = ct_calloc(cap, sizeof *slots);
    if (slots == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].dist != 0) {
            slots_place(slots, cap - 1, m->slots[i]);
        }
    }
    ct_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return CT_OK;
}

static ct_map_slot *
map_find(const ct_map *m, uint64_t key)
{
    if (m->count == 0) {
        return NULL;
    }
    size_t mask = m->cap - 1;
    size_t i = (size_t)ct_hash_u64(key) & mask;
    for (uint32_t dist = 1; m->slots[i].dist >= dist; dist++) {
        if (m->slots[i].key == key) {
            return &m->slots[i];
        }
        i = (i + 1) & mask;
    }
    return NULL;
}

ct_status
ct_map_put(ct_map *m, uint64_t key, uint32_t value, ct_err *err)
{
    ct_map_slot *slot = map_find(m, key);
    if (slot != NULL) {
        slot->value = value;
        return CT_OK;
    }
    if (m->count + 1 > m->cap - m->cap / 8 - m->cap / 16) { /* load at most 13/16 */
        ct_status st = map_resize(m, err);
        if (st != CT_OK) {
            return st;
        }
    }
    slots_place(m->slots, m->cap - 1, (ct_map_slot){key, value, 1});
    m->count++;
    return CT_OK;
}

bool
ct_map_get(const ct_map *m, uint64_t key, uint32_t *value)
{
    const ct_map_slot *slot = map_find(m, key);
    if (slot == NULL) {
        return false;
    }
    *value = slot->value;
    return true;
}

bool
ct_map_remove(ct_map *m, uint64_t key)
{
    ct_map_slot *slot = map_find(m, key);
    if (slot == NULL) {
        return false;
    }
    size_t mask = m->cap - 1;
    size_t i = (size_t)(slot - m->slots);
    size_t next = (i + 1) & mask;
    while (m->slots[next].dist > 1) {
        m->slots[i] = m->slots[next];
        m->slots[i].dist--;
        i = next;
        next = (i + 1) & mask;
    }
    m->slots[i].dist = 0;
    m->count--;
    return true;
}
