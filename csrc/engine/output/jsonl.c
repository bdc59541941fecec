/* jsonl.c: one line of result.json, field by field straight from the record.
 *
 * Byte for byte what ct_json_print makes of the same result as a tree; a tree per
 * result would cost more than the result. Keys are quoted and escaped once per
 * experiment. */
#include "output/output_int.h"

#include "base/json.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { SCALAR_MAX = 40, SEPARATOR = 2 };

void
jsonl_init(jsonl *j, const ct_names *names)
{
    *j = (jsonl){.names = names, .keys = CT_BUF_INIT};
}

void
jsonl_deinit(jsonl *j)
{
    ct_buf_deinit(&j->keys);
    ct_free(j->key);
    ct_free(j->spans);
}

static ct_status
key_make(jsonl *j, ct_name n, ct_err *err)
{
    size_t before = j->key_cap;
    size_t at = j->keys.len;
    ct_status st =
        ct_grow((void **)&j->key, &j->key_cap, (size_t)n + 1, sizeof *j->key, err);
    if (st != CT_OK) {
        return st;
    }
    if (j->key_cap > before) {
        memset(j->key + before, 0, (j->key_cap - before) * sizeof *j->key);
    }
    st = ct_json_put_str(&j->keys, ct_names_text(j->names, n),
                         ct_names_len(j->names, n), err);
    if (st == CT_OK) {
        st = ct_buf_put(&j->keys, ": ", 2, err);
    }
    if (st != CT_OK) {
        j->keys.len = at;
        return st;
    }
    j->key[n] = (jsonl_span){at, j->keys.len - at};
    return CT_OK;
}

/* Room was reserved. */
static void
raw_put(ct_buf *out, const void *data, size_t len)
{
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

/* A separator, and the key if there is one; and room for a scalar. */
static ct_status
put_lead(jsonl *j, ct_buf *out, const ct_field *f, bool first, ct_err *err)
{
    size_t len = 0;
    if (f->key != CT_NAME_NONE) {
        if (f->key >= j->key_cap || j->key[f->key].len == 0) {
            ct_status st = key_make(j, f->key, err);
            if (st != CT_OK) {
                return st;
            }
        }
        len = j->key[f->key].len;
    }
    if (out->cap - out->len < len + SEPARATOR + SCALAR_MAX) {
        ct_status st = ct_buf_reserve(out, len + SEPARATOR + SCALAR_MAX, err);
        if (st != CT_OK) {
            return st;
        }
    }
    if (!first) {
        raw_put(out, ", ", SEPARATOR);
    }
    if (len > 0) {
        raw_put(out, j->keys.data + j->key[f->key].at, len);
    }
    return CT_OK;
}

static ct_status
put_value(ct_buf *out, const ct_record *r, const ct_field *f, const ct_buf *config,
          ct_err *err)
{
    switch ((ct_field_kind)f->kind) {
    case CT_FIELD_NIL:
        raw_put(out, "null", 4);
        return CT_OK;
    case CT_FIELD_BOOL:
        raw_put(out, f->u.i != 0 ? "true" : "false", f->u.i != 0 ? 4 : 5);
        return CT_OK;
    case CT_FIELD_I64:
        out->len += ct_format_i64(f->u.i, (char *)out->data + out->len);
        return CT_OK;
    case CT_FIELD_F64:
        if (isfinite(f->u.f)) {
            out->len += ct_format_f64(f->u.f, (char *)out->data + out->len);
            return CT_OK;
        }
        return ct_json_put_f64(out, f->u.f, err);
    case CT_FIELD_STR:
        return ct_json_put_str(out, ct_record_text(r, f), f->len, err);
    case CT_FIELD_LIST:
        raw_put(out, "[", 1);
        return CT_OK;
    case CT_FIELD_DICT:
        raw_put(out, "{", 1);
        return CT_OK;
    case CT_FIELD_CONFIG:
        return ct_buf_put(out, config->data, config->len, err);
    case CT_FIELD_OBJ:
        return ct_buf_put(out, ct_record_text(r, f), f->len, err);
    case CT_FIELD_END:
    case CT_FIELD_KIND_COUNT:
        break;
    }
    return CT_OK;
}

static ct_status
put_fields(jsonl *j, ct_buf *out, const ct_record *r, const ct_buf *config, ct_err *err)
{
    char closer[CT_RECORD_DEPTH + 1]; /* of each open container */
    size_t depth = 0;
    bool first = true;
    for (size_t i = 0; i < r->count; i++) {
        const ct_field *f = &r->fields[i];
        ct_status st = CT_OK;
        if (f->kind == CT_FIELD_END) {
            assert(depth > 0);
            st = ct_buf_put(out, &closer[--depth], 1, err);
            first = false;
        } else {
            st = put_lead(j, out, f, first, err);
            j->spans[i].at = out->len;
            if (st == CT_OK) {
                st = put_value(out, r, f, config, err);
            }
            j->spans[i].len = out->len - j->spans[i].at;
            first = f->kind == CT_FIELD_LIST || f->kind == CT_FIELD_DICT;
            if (first) {
                closer[depth++] = f->kind == CT_FIELD_LIST ? ']' : '}';
            }
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

ct_status
jsonl_print(jsonl *j, ct_buf *out, const ct_record *r, const ct_buf *config,
            ct_err *err)
{
    assert(r->depth == 0);
    size_t before = out->len;
    ct_status st =
        ct_grow((void **)&j->spans, &j->span_cap, r->count + 1, sizeof *j->spans, err);
    if (st == CT_OK) {
        st = ct_buf_put(out, "{", 1, err);
    }
    if (st == CT_OK) {
        st = put_fields(j, out, r, config, err);
    }
    if (st == CT_OK) {
        st = ct_buf_put(out, "}", 1, err);
    }
    if (st != CT_OK) {
        out->len = before;
    }
    return st;
}
