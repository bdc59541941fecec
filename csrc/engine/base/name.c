/* name.c: the table of interned strings.
 *
 * Entries are dense, in order of first use; their text lies in an arena and never
 * moves. The index is a power-of-two table of entry numbers + 1 (0 = empty) with linear
 * probing, at most half full; each entry keeps its hash, so that growing compares no
 * text. Names made by joining are ordinary names; a map remembers (parent, child) ->
 * joined. */
#include "base/name.h"

#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

enum { NAME_TEXT_BLOCK = 4096 };

typedef struct name_entry {
    const char *text;
    uint32_t len;
    uint32_t hash;
    bool slash;
} name_entry;

struct ct_names {
    name_entry *entries;
    size_t count;
    size_t cap;
    uint32_t *index;
    size_t index_cap; /* power of two, or 0 */
    ct_map joined;    /* parent << 32 | child */
    ct_arena text;
};

ct_status
ct_names_new(ct_names **out, ct_err *err)
{
    ct_names *t = ct_calloc(1, sizeof *t);
    if (t == NULL) {
        return ct_fail_mem(err);
    }
    ct_arena_init(&t->text, NAME_TEXT_BLOCK);
    *out = t;
    return CT_OK;
}

void
ct_names_free(ct_names *t)
{
    if (t == NULL) {
        return;
    }
    ct_arena_deinit(&t->text);
    ct_map_deinit(&t->joined);
    ct_free(t->index);
    ct_free(t->entries);
    ct_free(t);
}

static ct_name
names_lookup(const ct_names *t, const char *text, size_t len, uint32_t hash)
{
    if (t->index_cap == 0) {
        return CT_NAME_NONE;
    }
    size_t mask = t->index_cap - 1;
    for (size_t i = hash & mask; t->index[i] != 0; i = (i + 1) & mask) {
        const name_entry *e = &t->entries[t->index[i] - 1];
        if (e->hash == hash && e->len == len && memcmp(e->text, text, len) == 0) {
            return t->index[i] - 1;
        }
    }
    return CT_NAME_NONE;
}

static void
index_place(uint32_t *index, size_t cap, uint32_t hash, ct_name n)
{
    size_t i = hash & (cap - 1);
    while (index[i] != 0) {
        i = (i + 1) & (cap - 1);
    }
    index[i] = n + 1;
}

static ct_status
index_grow(ct_names *t, ct_err *err)
{
    size_t cap = t->index_cap > 0 ? t->index_cap * 2 : 32;
    uint32_t *index = ct_calloc(cap, sizeof *index);
    if (index == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t n = 0; n < t->count; n++) {
        index_place(index, cap, t->entries[n].hash, (ct_name)n);
    }
    ct_free(t->index);
    t->index = index;
    t->index_cap = cap;
    return CT_OK;
}

ct_status
ct_names_intern(ct_names *t, const char *text, size_t len, ct_name *out, ct_err *err)
{
    if (len == 0) {
        text = ""; /* memcmp and memchr want a pointer even for nothing */
    }
    uint32_t hash = (uint32_t)ct_hash_bytes(text, len);
    ct_name n = names_lookup(t, text, len, hash);
    if (n != CT_NAME_NONE) {
        *out = n;
        return CT_OK;
    }
    if (len >= UINT32_MAX || t->count >= CT_NAME_NONE - 1) {
        return ct_fail(err, CT_EINVAL, "name",
                       "too long or too many names: length %zu, "
                       "%zu names known",
                       len, t->count);
    }
    ct_status st = CT_OK;
    if ((t->count + 1) * 2 > t->index_cap) {
        st = index_grow(t, err);
        if (st != CT_OK) {
            return st;
        }
    }
    st = ct_grow((void **)&t->entries, &t->cap, t->count + 1, sizeof *t->entries, err);
    if (st != CT_OK) {
        return st;
    }
    const char *copy = ct_arena_strndup(&t->text, text, len);
    if (copy == NULL) {
        return ct_fail_mem(err);
    }
    n = (ct_name)t->count++;
    t->entries[n] =
        (name_entry){copy, (uint32_t)len, hash, memchr(text, '/', len) != NULL};
    index_place(t->index, t->index_cap, hash, n);
    *out = n;
    return CT_OK;
}

ct_name
ct_names_find(const ct_names *t, const char *text, size_t len)
{
    if (len == 0) {
        text = "";
    }
    return names_lookup(t, text, len, (uint32_t)ct_hash_bytes(text, len));
}

const char *
ct_names_text(const ct_names *t, ct_name n)
{
    assert(n < t->count);
    return t->entries[n].text;
}

size_t
ct_names_len(const ct_names *t, ct_name n)
{
    assert(n < t->count);
    return t->entries[n].len;
}

bool
ct_names_has_slash(const ct_names *t, ct_name n)
{
    assert(n < t->count);
    return t->entries[n].slash;
}

size_t
ct_names_count(const ct_names *t)
{
    return t->count;
}

ct_status
ct_names_join(ct_names *t, ct_name parent, ct_name child, ct_name *out, ct_err *err)
{
    uint64_t key = (uint64_t)parent << 32 | child;
    if (ct_map_get(&t->joined, key, out)) {
        return CT_OK;
    }
    size_t head = ct_names_len(t, parent);
    size_t tail = ct_names_len(t, child);
    char *text = ct_alloc(head + tail + 2);
    if (text == NULL) {
        return ct_fail_mem(err);
    }
    memcpy(text, ct_names_text(t, parent), head);
    text[head] = '/';
    memcpy(text + head + 1, ct_names_text(t, child), tail + 1);
    ct_name n = CT_NAME_NONE;
    ct_status st = ct_names_intern(t, text, head + 1 + tail, &n, err);
    if (st == CT_OK) {
        st = ct_map_put(&t->joined, key, n, err);
    }
    ct_free(text);
    if (st == CT_OK) {
        *out = n;
    }
    return st;
}
