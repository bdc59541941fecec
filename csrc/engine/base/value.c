/* value.c: the JSON-like tree.
 *
 * Containers store their items inline and no capacity: a container of n items has room
 * for at least capacity_for(n), so it is reallocated exactly when n is 0 or a power of
 * two. Removing never shrinks, which keeps that true. Strings own their text. */
#include "base/value.h"

#include "base/base_int.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

ct_ref *
ct_ref_retain(ct_ref *r)
{
    (void)__atomic_add_fetch(&r->count, 1, __ATOMIC_RELAXED);
    return r;
}

void
ct_ref_release(ct_ref *r)
{
    if (r != NULL && __atomic_sub_fetch(&r->count, 1, __ATOMIC_ACQ_REL) == 0) {
        r->ops->release(r);
    }
}

ct_value
ct_nil(void)
{
    return (ct_value){.kind = CT_NIL, .len = 0, .u = {.i = 0}};
}

ct_value
ct_bool(bool b)
{
    return (ct_value){.kind = CT_BOOL, .len = 0, .u = {.b = b}};
}

ct_value
ct_i64(int64_t i)
{
    return (ct_value){.kind = CT_I64, .len = 0, .u = {.i = i}};
}

ct_value
ct_f64(double f)
{
    return (ct_value){.kind = CT_F64, .len = 0, .u = {.f = f}};
}

ct_value
ct_list(void)
{
    return (ct_value){.kind = CT_LIST, .len = 0, .u = {.items = NULL}};
}

ct_value
ct_tuple(void)
{
    return (ct_value){.kind = CT_TUPLE, .len = 0, .u = {.items = NULL}};
}

ct_value
ct_dict(void)
{
    return (ct_value){.kind = CT_DICT, .len = 0, .u = {.entries = NULL}};
}

ct_value
ct_of_ref(ct_ref *r)
{
    return (ct_value){.kind = CT_REF, .len = 0, .u = {.ref = r}};
}

ct_status
ct_str(ct_value *out, const char *text, size_t len, ct_err *err)
{
    if (len >= UINT32_MAX) {
        return ct_fail(err, CT_EINVAL, "", "a string of %zu bytes is too long", len);
    }
    char *copy = ct_strndup(text, len);
    if (copy == NULL) {
        return ct_fail_mem(err);
    }
    *out = (ct_value){.kind = CT_STR, .len = (uint32_t)len, .u = {.s = copy}};
    return CT_OK;
}

void
ct_value_deinit(ct_value *v)
{
    switch (v->kind) {
    case CT_STR:
        ct_free(v->u.s);
        break;
    case CT_LIST:
    case CT_TUPLE:
        for (uint32_t i = 0; i < v->len; i++) {
            ct_value_deinit(&v->u.items[i]);
        }
        ct_free(v->u.items);
        break;
    case CT_DICT:
        for (uint32_t i = 0; i < v->len; i++) {
            ct_value_deinit(&v->u.entries[i].value);
        }
        ct_free(v->u.entries);
        break;
    case CT_REF:
        ct_ref_release(v->u.ref);
        break;
    case CT_NIL:
    case CT_BOOL:
    case CT_I64:
    case CT_F64:
    case CT_KIND_COUNT:
        break;
    }
    *v = ct_nil();
}

/* ---- containers ---- */

/* 0, 2, 4, 8, 16… */
static size_t
capacity_for(size_t len)
{
    size_t cap = 2;
    if (len == 0) {
        return 0;
    }
    while (cap < len) {
        cap *= 2;
    }
    return cap;
}

static bool
at_capacity(uint32_t len)
{
    return len == 0 || (len >= 2 && (len & (len - 1)) == 0);
}

/* *block has room for one more item after this. */
static ct_status
room_for_one(void **block, uint32_t len, size_t size, ct_err *err)
{
    if (!at_capacity(len)) {
        return CT_OK;
    }
    if (len > UINT32_MAX / 2 || capacity_for((size_t)len + 1) > SIZE_MAX / size) {
        return ct_fail_mem(err);
    }
    void *old;
    memcpy(&old, block, sizeof old); /* see ct_grow on aliasing */
    void *p = ct_realloc(old, capacity_for((size_t)len + 1) * size);
    if (p == NULL) {
        return ct_fail_mem(err);
    }
    memcpy(block, &p, sizeof p);
    return CT_OK;
}

ct_status
ct_value_push(ct_value *list, ct_value *item, ct_err *err)
{
    assert(list->kind == CT_LIST || list->kind == CT_TUPLE);
    ct_status st =
        room_for_one((void **)&list->u.items, list->len, sizeof(ct_value), err);
    if (st != CT_OK) {
        ct_value_deinit(item);
        return st;
    }
    list->u.items[list->len++] = *item;
    *item = ct_nil();
    return CT_OK;
}

ct_status
ct_value_list_of(ct_value *out, ct_value *items, size_t n, ct_err *err)
{
    ct_status st = CT_OK;
    *out = ct_list();
    for (size_t i = 0; i < n; i++) {
        if (st == CT_OK) {
            st = ct_value_push(out, &items[i], err);
        } else {
            ct_value_deinit(&items[i]);
        }
    }
    if (st != CT_OK) {
        ct_value_deinit(out);
    }
    return st;
}

ct_status
ct_value_push_list(ct_value *list, ct_value *items, size_t n, ct_err *err)
{
    ct_value made;
    ct_status st = ct_value_list_of(&made, items, n, err);
    return st == CT_OK ? ct_value_push(list, &made, err) : st;
}

ct_status
ct_value_push_numbers(ct_value *list, const double *v, size_t n, ct_err *err)
{
    ct_value made = ct_list();
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < n; i++) {
        ct_value item = ct_f64(v[i]);
        st = ct_value_push(&made, &item, err);
    }
    if (st == CT_OK) {
        return ct_value_push(list, &made, err);
    }
    ct_value_deinit(&made);
    return st;
}

ct_status
base_value_append(ct_value *dict, ct_name key, ct_value *item, ct_err *err)
{
    assert(dict->kind == CT_DICT);
    ct_status st =
        room_for_one((void **)&dict->u.entries, dict->len, sizeof(ct_entry), err);
    if (st != CT_OK) {
        ct_value_deinit(item);
        return st;
    }
    dict->u.entries[dict->len++] = (ct_entry){key, *item};
    *item = ct_nil();
    return CT_OK;
}

ct_status
ct_value_put(ct_value *dict, ct_name key, ct_value *item, ct_err *err)
{
    ct_value *old = ct_value_get_mut(dict, key);
    if (old == NULL) {
        return base_value_append(dict, key, item, err);
    }
    ct_value_deinit(old);
    *old = *item;
    *item = ct_nil();
    return CT_OK;
}

ct_value *
ct_value_get_mut(ct_value *dict, ct_name key)
{
    assert(dict->kind == CT_DICT);
    for (uint32_t i = 0; i < dict->len; i++) {
        if (dict->u.entries[i].key == key) {
            return &dict->u.entries[i].value;
        }
    }
    return NULL;
}

const ct_value *
ct_value_get(const ct_value *dict, ct_name key)
{
    assert(dict->kind == CT_DICT);
    for (uint32_t i = 0; i < dict->len; i++) {
        if (dict->u.entries[i].key == key) {
            return &dict->u.entries[i].value;
        }
    }
    return NULL;
}

bool
ct_value_remove(ct_value *dict, ct_name key)
{
    ct_value *v = ct_value_get_mut(dict, key);
    if (v == NULL) {
        return false;
    }
    ct_value_deinit(v);
    ct_entry *e = dict->u.entries;
    size_t i = 0;
    while (e[i].key != key) {
        i++;
    }
    memmove(e + i, e + i + 1, (dict->len - i - 1) * sizeof *e);
    dict->len--;
    if (dict->len == 0) { /* an empty container owns no block */
        ct_free(e);
        dict->u.entries = NULL;
    }
    return true;
}

/* ---- whole trees ---- */

static ct_status
copy_items(ct_value *out, const ct_value *v, ct_err *err)
{
    if (v->len == 0) {
        return CT_OK;
    }
    out->u.items = ct_alloc(capacity_for(v->len) * sizeof(ct_value));
    if (out->u.items == NULL) {
        return ct_fail_mem(err);
    }
    for (; out->len < v->len; out->len++) { /* len counts what is complete */
        ct_status st =
            ct_value_copy(&out->u.items[out->len], &v->u.items[out->len], err);
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

static ct_status
copy_entries(ct_value *out, const ct_value *v, ct_err *err)
{
    if (v->len == 0) {
        return CT_OK;
    }
    out->u.entries = ct_alloc(capacity_for(v->len) * sizeof(ct_entry));
    if (out->u.entries == NULL) {
        return ct_fail_mem(err);
    }
    for (; out->len < v->len; out->len++) {
        const ct_entry *from = &v->u.entries[out->len];
        ct_entry *to = &out->u.entries[out->len];
        to->key = from->key;
        ct_status st = ct_value_copy(&to->value, &from->value, err);
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

ct_status
ct_value_copy(ct_value *out, const ct_value *v, ct_err *err)
{
    ct_value copy = *v;
    ct_status st = CT_OK;
    switch (v->kind) {
    case CT_STR:
        return ct_str(out, v->u.s, v->len, err);
    case CT_LIST:
    case CT_TUPLE:
        copy.len = 0;
        copy.u.items = NULL;
        st = copy_items(&copy, v, err);
        break;
    case CT_DICT:
        copy.len = 0;
        copy.u.entries = NULL;
        st = copy_entries(&copy, v, err);
        break;
    case CT_REF:
        (void)ct_ref_retain(v->u.ref);
        break;
    case CT_NIL:
    case CT_BOOL:
    case CT_I64:
    case CT_F64:
    case CT_KIND_COUNT:
        break;
    }
    if (st != CT_OK) {
        ct_value_deinit(&copy);
        return st;
    }
    *out = copy;
    return CT_OK;
}

/* i and f denote the same number, without rounding either. */
static bool
int_is_float(int64_t i, double f)
{
    return f >= -0x1p63 && f < 0x1p63 && (int64_t)f == i && trunc(f) == f;
}

static bool
is_number(const ct_value *v)
{
    return v->kind == CT_BOOL || v->kind == CT_I64 || v->kind == CT_F64;
}

static bool
is_list(const ct_value *v)
{
    return v->kind == CT_LIST || v->kind == CT_TUPLE;
}

static bool
numbers_equal(const ct_value *a, const ct_value *b)
{
    if (a->kind == CT_F64 && b->kind == CT_F64) {
        return a->u.f == b->u.f || (isnan(a->u.f) && isnan(b->u.f));
    }
    if (a->kind == CT_F64) {
        return int_is_float(b->kind == CT_BOOL ? b->u.b : b->u.i, a->u.f);
    }
    int64_t i = a->kind == CT_BOOL ? a->u.b : a->u.i;
    if (b->kind == CT_F64) {
        return int_is_float(i, b->u.f);
    }
    return i == (b->kind == CT_BOOL ? b->u.b : b->u.i);
}

static bool
dicts_equal(const ct_value *a, const ct_value *b)
{
    if (a->len != b->len) {
        return false;
    }
    for (uint32_t i = 0; i < a->len; i++) {
        const ct_entry *e = &a->u.entries[i];
        const ct_value *other = b->u.entries[i].key == e->key
                                    ? &b->u.entries[i].value /* usual: the same order */
                                    : ct_value_get(b, e->key);
        if (other == NULL || !ct_value_equal(&e->value, other)) {
            return false;
        }
    }
    return true;
}

bool
ct_value_equal(const ct_value *a, const ct_value *b)
{
    if (is_number(a) && is_number(b)) {
        return numbers_equal(a, b);
    }
    if (is_list(a) && is_list(b)) {
        bool same = a->len == b->len;
        for (uint32_t i = 0; same && i < a->len; i++) {
            same = ct_value_equal(&a->u.items[i], &b->u.items[i]);
        }
        return same;
    }
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case CT_STR:
        return a->len == b->len && memcmp(a->u.s, b->u.s, a->len) == 0;
    case CT_DICT:
        return dicts_equal(a, b);
    case CT_REF:
        return a->u.ref == b->u.ref || (a->u.ref->ops == b->u.ref->ops &&
                                        a->u.ref->ops->equal(a->u.ref, b->u.ref));
    case CT_NIL:
        return true;
    case CT_BOOL:
    case CT_I64:
    case CT_F64:
    case CT_LIST:
    case CT_TUPLE:
    case CT_KIND_COUNT:
        break;
    }
    return false;
}

bool
ct_value_number(const ct_value *v, double *out)
{
    switch (v->kind) {
    case CT_BOOL:
        *out = v->u.b ? 1.0 : 0.0;
        return true;
    case CT_I64:
        *out = (double)v->u.i;
        return true;
    case CT_F64:
        *out = v->u.f;
        return true;
    case CT_NIL:
    case CT_STR:
    case CT_LIST:
    case CT_TUPLE:
    case CT_DICT:
    case CT_REF:
    case CT_KIND_COUNT:
        break;
    }
    return false;
}

size_t
ct_value_bytes(const ct_value *v)
{
    size_t total = 0;
    if (v->kind == CT_STR) {
        return (size_t)v->len + 1;
    }
    if (is_list(v)) {
        total = capacity_for(v->len) * sizeof(ct_value);
        for (uint32_t i = 0; i < v->len; i++) {
            total += ct_value_bytes(&v->u.items[i]);
        }
    } else if (v->kind == CT_DICT) {
        total = capacity_for(v->len) * sizeof(ct_entry);
        for (uint32_t i = 0; i < v->len; i++) {
            total += ct_value_bytes(&v->u.entries[i].value);
        }
    }
    return total;
}
