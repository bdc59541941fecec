/* record.c: the tape of a result, its numbers, and its packed form.
 *
 * Packed form (integers are varints unless said otherwise):
 *
 *     record: number of fields, fields
 *     field:  tag byte = kind | 0x10 if a key follows | 0x20 for BOOL true
 *             key                      when 0x10 is set
 *             I64: zigzag; F64: 8 bytes of bits; STR: length, bytes;
 *             OBJ: length of text, length of pickle, text, pickle
 *
 * A reader accepts no other bits in a tag, no key within a list and none on END, a key
 * on everything else, and only balanced containers, at most CT_RECORD_DEPTH deep. So a
 * record that was unpacked can be walked without checks. */
#include "base/record.h"

#include "base/mem.h"
#include "base/wide.h"

#include <assert.h>
#include <string.h>

enum {
    TAG_KIND = 0x0F,
    TAG_KEY = 0x10,
    TAG_TRUE = 0x20,
    PACK_FIELD_MAX = 1 + 5 + 10 + 10, /* tag, key, two varints or eight bytes */
};

void
ct_record_deinit(ct_record *r)
{
    ct_free(r->fields);
    ct_buf_deinit(&r->text);
    *r = (ct_record)CT_RECORD_INIT;
}

void
ct_record_clear(ct_record *r)
{
    r->count = 0;
    r->depth = 0;
    ct_buf_clear(&r->text);
}

/* ---- building ---- */

static inline ct_status
record_add(ct_record *r, ct_field f, ct_err *err)
{
    if (r->count == r->cap) {
        ct_status st =
            ct_grow((void **)&r->fields, &r->cap, r->count + 1, sizeof *r->fields, err);
        if (st != CT_OK) {
            return st;
        }
    }
    r->fields[r->count++] = f;
    return CT_OK;
}

ct_status
ct_record_nil(ct_record *r, ct_name key, ct_err *err)
{
    return record_add(r, (ct_field){.key = key, .kind = CT_FIELD_NIL}, err);
}

ct_status
ct_record_bool(ct_record *r, ct_name key, bool v, ct_err *err)
{
    return record_add(r, (ct_field){.key = key, .kind = CT_FIELD_BOOL, .u.i = v}, err);
}

ct_status
ct_record_i64(ct_record *r, ct_name key, int64_t v, ct_err *err)
{
    return record_add(r, (ct_field){.key = key, .kind = CT_FIELD_I64, .u.i = v}, err);
}

ct_status
ct_record_f64(ct_record *r, ct_name key, double v, ct_err *err)
{
    return record_add(r, (ct_field){.key = key, .kind = CT_FIELD_F64, .u.f = v}, err);
}

/* Adds a field with its text and pickle; on failure nothing changed. */
static ct_status
record_add_text(ct_record *r, ct_field f, const void *text, size_t len,
                const void *extra, size_t extra_len, ct_err *err)
{
    if (len > UINT32_MAX || extra_len > UINT32_MAX) {
        return ct_fail(err, CT_EINVAL, "",
                       "a value of %zu bytes is too long for a result",
                       len > extra_len ? len : extra_len);
    }
    ct_status st = ct_buf_reserve(&r->text, len + extra_len, err);
    if (st != CT_OK) {
        return st;
    }
    f.len = (uint32_t)len;
    f.extra = (uint32_t)extra_len;
    f.u.at = r->text.len;
    st = record_add(r, f, err);
    if (st != CT_OK) {
        return st;
    }
    st = ct_buf_put(&r->text, text, len, err);
    if (st == CT_OK) {
        st = ct_buf_put(&r->text, extra, extra_len, err);
    }
    return st;
}

ct_status
ct_record_str(ct_record *r, ct_name key, const char *s, size_t len, ct_err *err)
{
    ct_field f = {.key = key, .kind = CT_FIELD_STR};
    return record_add_text(r, f, s, len, NULL, 0, err);
}

ct_status
ct_record_obj(ct_record *r, ct_name key, const char *json, size_t json_len,
              const void *pickle, size_t pickle_len, ct_err *err)
{
    ct_field f = {.key = key, .kind = CT_FIELD_OBJ};
    return record_add_text(r, f, json, json_len, pickle, pickle_len, err);
}

ct_status
ct_record_open(ct_record *r, ct_name key, ct_field_kind list_or_dict, ct_err *err)
{
    assert(list_or_dict == CT_FIELD_LIST || list_or_dict == CT_FIELD_DICT);
    if (r->depth >= CT_RECORD_DEPTH) {
        return ct_fail(err, CT_EINVAL, "result",
                       "is nested more than %d deep; report a flatter dict",
                       CT_RECORD_DEPTH);
    }
    ct_status st =
        record_add(r, (ct_field){.key = key, .kind = (uint8_t)list_or_dict}, err);
    if (st == CT_OK) {
        r->depth++;
    }
    return st;
}

ct_status
ct_record_end(ct_record *r, ct_err *err)
{
    assert(r->depth > 0);
    ct_status st =
        record_add(r, (ct_field){.key = CT_NAME_NONE, .kind = CT_FIELD_END}, err);
    if (st == CT_OK) {
        r->depth--;
    }
    return st;
}

ct_status
ct_record_config(ct_record *r, ct_name key, ct_err *err)
{
    return record_add(r, (ct_field){.key = key, .kind = CT_FIELD_CONFIG}, err);
}

/* ---- reading ---- */

const char *
ct_record_text(const ct_record *r, const ct_field *f)
{
    assert(f->kind == CT_FIELD_STR || f->kind == CT_FIELD_OBJ);
    return r->text.data != NULL ? (const char *)r->text.data + f->u.at : "";
}

static bool
opens(const ct_field *f)
{
    return f->kind == CT_FIELD_LIST || f->kind == CT_FIELD_DICT;
}

/* The index after the container that opens at i. */
static size_t
skip_container(const ct_record *r, size_t i)
{
    size_t depth = 0;
    do {
        if (opens(&r->fields[i])) {
            depth++;
        } else if (r->fields[i].kind == CT_FIELD_END) {
            depth--;
        }
        i++;
    } while (depth > 0 && i < r->count);
    return i;
}

const ct_field *
ct_record_find(const ct_record *r, ct_name key)
{
    const ct_field *found = NULL;
    size_t i = 0;
    while (i < r->count) {
        const ct_field *f = &r->fields[i];
        if (f->key == key) {
            found = f;
        }
        i = opens(f) ? skip_container(r, i) : i + 1;
    }
    return found;
}

bool
ct_field_number(const ct_field *f, double *out)
{
    switch ((ct_field_kind)f->kind) {
    case CT_FIELD_BOOL:
    case CT_FIELD_I64:
        *out = (double)f->u.i;
        return true;
    case CT_FIELD_F64:
        *out = f->u.f;
        return true;
    case CT_FIELD_NIL:
    case CT_FIELD_STR:
    case CT_FIELD_LIST:
    case CT_FIELD_DICT:
    case CT_FIELD_END:
    case CT_FIELD_CONFIG:
    case CT_FIELD_OBJ:
    case CT_FIELD_KIND_COUNT:
        break;
    }
    return false;
}

/* ---- metrics ---- */

/* One walk per level of nesting: flattening by level is what puts plain keys first. */
typedef struct flattening {
    const ct_record *record;
    ct_names *names;
    ct_metrics_buf *out;
    size_t deepest; /* of the dicts seen */
    bool clashes;   /* a local key has a slash: names may come twice */
} flattening;

/* Adds a metric. The first one of a name wins: it lies on the higher level, or has
 * fewer levels in its path. Names can only clash when a local key contains a slash. */
static ct_status
metrics_add(flattening *w, size_t level, ct_name name, double value, ct_err *err)
{
    ct_metrics_buf *out = w->out;
    if (level > 0 && w->clashes) {
        for (size_t i = 0; i < out->count; i++) {
            if (out->items[i].name == name) {
                return CT_OK;
            }
        }
    }
    ct_status st = CT_OK;
    if (out->count == out->cap) {
        st = ct_grow((void **)&out->items, &out->cap, out->count + 1,
                     sizeof *out->items, err);
    }
    if (st == CT_OK) {
        out->items[out->count++] = (ct_metric){name, value};
    }
    return st;
}

/* Adds the numbers that lie exactly `level` dicts deep. */
static ct_status
flatten_level(flattening *w, size_t level, ct_err *err)
{
    ct_name path[CT_RECORD_DEPTH + 1]; /* joined name of the dict at each depth */
    size_t depth = 0;
    size_t i = 0;
    while (i < w->record->count) {
        const ct_field *f = &w->record->fields[i];
        ct_name name = f->key;
        double value = 0.0;
        if (f->kind == CT_FIELD_END) {
            depth--;
            i++;
            continue;
        }
        bool number = ct_field_number(f, &value);
        bool dict = f->kind == CT_FIELD_DICT;
        if (level == 0 && ct_names_has_slash(w->names, name)) {
            w->clashes = true;
        }
        if (level > 0 && depth > 0 && (dict || (number && depth == level))) {
            ct_status st = ct_names_join(w->names, path[depth - 1], name, &name, err);
            if (st != CT_OK) {
                return st;
            }
        }
        if (number && depth == level) {
            ct_status st = metrics_add(w, level, name, value, err);
            if (st != CT_OK) {
                return st;
            }
        }
        if (dict && (level == 0 || depth < level)) {
            path[depth++] = name;
            w->deepest = depth > w->deepest ? depth : w->deepest;
            i++;
        } else {
            i = opens(f) ? skip_container(w->record, i) : i + 1;
        }
    }
    return CT_OK;
}

ct_status
ct_record_metrics(const ct_record *r, ct_names *names, ct_metrics_buf *out, ct_err *err)
{
    flattening w = {r, names, out, 0, false};
    out->count = 0;
    ct_status st = CT_OK;
    for (size_t level = 0; st == CT_OK && level <= w.deepest; level++) {
        st = flatten_level(&w, level, err);
    }
    return st;
}

void
ct_metrics_buf_deinit(ct_metrics_buf *b)
{
    ct_free(b->items);
    *b = (ct_metrics_buf){NULL, 0, 0};
}

/* ---- packed form ---- */

static uint64_t
zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t
unzigzag(uint64_t z)
{
    int64_t half = (int64_t)(z >> 1);
    return (z & 1U) != 0 ? -half - 1 : half;
}

/* The writers below append to a buffer in which room was reserved before. */
static void
raw_varint(ct_buf *b, uint64_t v)
{
    while (v >= 0x80U) {
        b->data[b->len++] = (uint8_t)(v | 0x80U);
        v >>= 7;
    }
    b->data[b->len++] = (uint8_t)v;
}

static void
raw_bytes(ct_buf *b, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}

static void
pack_field(const ct_record *r, const ct_field *f, ct_buf *b)
{
    unsigned tag = f->kind;
    tag |= f->key != CT_NAME_NONE ? TAG_KEY : 0U;
    tag |= f->kind == CT_FIELD_BOOL && f->u.i != 0 ? TAG_TRUE : 0U;
    b->data[b->len++] = (uint8_t)tag;
    if (f->key != CT_NAME_NONE) {
        raw_varint(b, f->key);
    }
    switch ((ct_field_kind)f->kind) {
    case CT_FIELD_I64:
        raw_varint(b, zigzag(f->u.i));
        break;
    case CT_FIELD_F64: {
        uint64_t bits;
        memcpy(&bits, &f->u.f, sizeof bits);
        le64_store(b->data + b->len, bits);
        b->len += sizeof bits;
        break;
    }
    case CT_FIELD_STR:
        raw_varint(b, f->len);
        raw_bytes(b, ct_record_text(r, f), f->len);
        break;
    case CT_FIELD_OBJ:
        raw_varint(b, f->len);
        raw_varint(b, f->extra);
        raw_bytes(b, ct_record_text(r, f), (size_t)f->len + f->extra);
        break;
    case CT_FIELD_NIL:
    case CT_FIELD_BOOL:
    case CT_FIELD_LIST:
    case CT_FIELD_DICT:
    case CT_FIELD_END:
    case CT_FIELD_CONFIG:
    case CT_FIELD_KIND_COUNT:
        break;
    }
}

ct_status
ct_record_pack(const ct_record *r, ct_buf *out, ct_err *err)
{
    assert(r->depth == 0);
    if (r->count > (SIZE_MAX - r->text.len) / PACK_FIELD_MAX - 1) {
        return ct_fail_mem(err);
    }
    ct_status st =
        ct_buf_reserve(out, (r->count + 1) * PACK_FIELD_MAX + r->text.len, err);
    if (st != CT_OK) {
        return st;
    }
    raw_varint(out, r->count);
    for (size_t i = 0; i < r->count; i++) {
        pack_field(r, &r->fields[i], out);
    }
    return CT_OK;
}

typedef struct unpacking {
    ct_record *out;
    ct_reader *in;
    const ct_name *map;
    size_t n_map;
    uint8_t in_list[CT_RECORD_DEPTH + 1]; /* per open container */
} unpacking;

static ct_status
corrupt(const unpacking *u, const char *what, ct_err *err)
{
    return ct_fail(err, CT_ECORRUPT, "", "a packed result is damaged at byte %zu: %s",
                   u->in->at, what);
}

static ct_status
unpack_key(const unpacking *u, ct_name *key, ct_err *err)
{
    uint64_t n = ct_read_varint(u->in);
    if (u->in->bad) {
        return corrupt(u, "it ends within a name", err);
    }
    bool known = u->map != NULL || u->n_map > 0 ? n < u->n_map : n < CT_NAME_NONE;
    *key = known ? (u->map != NULL ? u->map[n] : (ct_name)n) : CT_NAME_NONE;
    return *key != CT_NAME_NONE ? CT_OK : corrupt(u, "a name is not defined", err);
}

/* STR and OBJ: lengths, then bytes. */
static ct_status
unpack_text(const unpacking *u, ct_field f, ct_err *err)
{
    uint64_t len = ct_read_varint(u->in);
    uint64_t extra = f.kind == CT_FIELD_OBJ ? ct_read_varint(u->in) : 0;
    size_t left = u->in->len - u->in->at;
    if (u->in->bad || len > left || extra > left - len) {
        return corrupt(u, "a text is longer than the rest", err);
    }
    const uint8_t *p = u->in->data + u->in->at;
    ct_status st =
        record_add_text(u->out, f, p, (size_t)len, p + len, (size_t)extra, err);
    u->in->at += (size_t)(len + extra);
    return st;
}

static ct_status
unpack_field(unpacking *u, ct_err *err)
{
    unsigned tag = ct_read_u8(u->in);
    unsigned kind = tag & TAG_KIND;
    bool keyed = (tag & TAG_KEY) != 0;
    bool end = kind == CT_FIELD_END;
    bool flag = (tag & TAG_TRUE) != 0;
    if (u->in->bad || kind >= CT_FIELD_KIND_COUNT || (tag >> 6) != 0 ||
        (flag && kind != CT_FIELD_BOOL)) {
        return corrupt(u, "a field has no known kind", err);
    }
    if (end ? keyed || u->out->depth == 0 : keyed == (u->in_list[u->out->depth] != 0)) {
        return corrupt(u, "a container is not closed or a key is missing", err);
    }
    ct_field f = {.key = CT_NAME_NONE, .kind = (uint8_t)kind};
    if (keyed) {
        ct_status st = unpack_key(u, &f.key, err);
        if (st != CT_OK) {
            return st;
        }
    }
    switch ((ct_field_kind)kind) {
    case CT_FIELD_BOOL:
        f.u.i = flag;
        break;
    case CT_FIELD_I64:
        f.u.i = unzigzag(ct_read_varint(u->in));
        break;
    case CT_FIELD_F64:
        f.u.f = ct_read_f64(u->in);
        break;
    case CT_FIELD_STR:
    case CT_FIELD_OBJ:
        return unpack_text(u, f, err);
    case CT_FIELD_LIST:
    case CT_FIELD_DICT:
        if (u->out->depth >= CT_RECORD_DEPTH) {
            return corrupt(u, "containers are nested too deep", err);
        }
        u->in_list[++u->out->depth] = kind == CT_FIELD_LIST;
        break;
    case CT_FIELD_END:
        u->out->depth--;
        break;
    case CT_FIELD_NIL:
    case CT_FIELD_CONFIG:
    case CT_FIELD_KIND_COUNT:
        break;
    }
    if (u->in->bad) {
        return corrupt(u, "it ends within a number", err);
    }
    return record_add(u->out, f, err);
}

ct_status
ct_record_unpack(ct_record *out, ct_reader *in, const ct_name *map, size_t n_map,
                 ct_err *err)
{
    unpacking u; /* not initialised as a whole: in_list is long and grows with depth */
    u.out = out;
    u.in = in;
    u.map = map;
    u.n_map = n_map;
    u.in_list[0] = 0;
    ct_record_clear(out);
    uint64_t count = ct_read_varint(in);
    ct_status st = CT_OK;
    if (in->bad || count > in->len - in->at) { /* each field takes a byte at least */
        st = corrupt(&u, "it has more fields than bytes", err);
    }
    for (uint64_t i = 0; st == CT_OK && i < count; i++) {
        st = unpack_field(&u, err);
    }
    if (st == CT_OK && out->depth != 0) {
        st = corrupt(&u, "a container is not closed", err);
    }
    if (st != CT_OK) {
        ct_record_clear(out);
    }
    return st;
}
