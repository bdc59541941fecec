/* pytext.c: containers as Python's str() shows them, for cells of progress.csv.
 *
 * Strings are quoted as repr() quotes them. What repr() escapes beyond Latin-1 because
 * Unicode calls it unprintable is left as it is. */
#include "output/output_int.h"

#include "base/json.h"

#include <assert.h>
#include <string.h>

static bool
is_unprintable(const uint8_t *p, size_t left, unsigned *code, size_t *used)
{
    *code = p[0];
    *used = 1;
    if (p[0] == 0xC2U && left > 1 && (p[1] <= 0xA0U || p[1] == 0xADU)) { /* U+0080… */
        *code = p[1];
        *used = 2;
        return true;
    }
    return p[0] < 0x20U || p[0] == 0x7FU;
}

static ct_status
put_escape(ct_buf *out, unsigned code, ct_err *err)
{
    switch (code) {
    case '\n':
        return ct_buf_puts(out, "\\n", err);
    case '\r':
        return ct_buf_puts(out, "\\r", err);
    case '\t':
        return ct_buf_puts(out, "\\t", err);
    default:
        return ct_buf_printf(out, err, "\\x%02x", code);
    }
}

static ct_status
put_repr(ct_buf *out, const char *text, size_t len, ct_err *err)
{
    const uint8_t *p = (const uint8_t *)text;
    bool single = len > 0 && memchr(p, '\'', len) != NULL;
    bool both = single && memchr(p, '"', len) != NULL;
    uint8_t quote = single && !both ? '"' : '\'';
    ct_status st = ct_buf_put_u8(out, quote, err);
    for (size_t i = 0; st == CT_OK && i < len;) {
        unsigned code = 0;
        size_t used = 1;
        if (is_unprintable(p + i, len - i, &code, &used)) {
            st = put_escape(out, code, err);
        } else {
            if (p[i] == quote || p[i] == '\\') {
                st = ct_buf_put_u8(out, '\\', err);
            }
            if (st == CT_OK) {
                st = ct_buf_put_u8(out, p[i], err);
            }
        }
        i += used;
    }
    return st == CT_OK ? ct_buf_put_u8(out, quote, err) : st;
}

static ct_status
put_i64(ct_buf *out, int64_t v, ct_err *err)
{
    char text[32];
    return ct_buf_put(out, text, ct_format_i64(v, text), err);
}

static ct_status
put_f64(ct_buf *out, double v, ct_err *err)
{
    char text[32];
    return ct_buf_put(out, text, ct_format_f64(v, text), err);
}

static ct_status
put_key(ct_buf *out, ct_name key, const ct_names *names, ct_err *err)
{
    ct_status st =
        put_repr(out, ct_names_text(names, key), ct_names_len(names, key), err);
    return st == CT_OK ? ct_buf_puts(out, ": ", err) : st;
}

/* ---- values ---- */

static ct_status put_value(ct_buf *out, const ct_value *v, const ct_names *names,
                           ct_err *err);

static ct_status
put_items(ct_buf *out, const ct_value *v, const ct_names *names, ct_err *err)
{
    bool dict = v->kind == CT_DICT;
    ct_status st = ct_buf_put_u8(out, dict ? '{' : '[', err);
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        if (i > 0) {
            st = ct_buf_puts(out, ", ", err);
        }
        if (st == CT_OK && dict) {
            st = put_key(out, v->u.entries[i].key, names, err);
        }
        if (st == CT_OK) {
            st = put_value(out, dict ? &v->u.entries[i].value : &v->u.items[i], names,
                           err);
        }
    }
    return st == CT_OK ? ct_buf_put_u8(out, dict ? '}' : ']', err) : st;
}

static ct_status
put_value(ct_buf *out, const ct_value *v, const ct_names *names, ct_err *err)
{
    switch (v->kind) {
    case CT_BOOL:
        return ct_buf_puts(out, v->u.b ? "True" : "False", err);
    case CT_I64:
        return put_i64(out, v->u.i, err);
    case CT_F64:
        return put_f64(out, v->u.f, err);
    case CT_STR:
        return put_repr(out, v->u.s, v->len, err);
    case CT_LIST:
    case CT_TUPLE:
    case CT_DICT:
        return put_items(out, v, names, err);
    case CT_NIL:
    case CT_REF: /* not in JSON text */
    case CT_KIND_COUNT:
        break;
    }
    return ct_buf_puts(out, "None", err);
}

/* Strings stay bare at the top, as str() leaves them, and are quoted within
 * containers. */
static ct_status
put_object(ct_buf *out, const char *json, size_t len, ct_names *names, bool quoted,
           ct_err *err)
{
    ct_value v = ct_nil();
    ct_err own = CT_ERR_INIT;
    ct_status st = ct_json_parse(&v, json, len, names, &own);
    if (st == CT_ENOMEM) {
        return ct_fail_mem(err);
    }
    if (st != CT_OK) {
        return ct_buf_put(out, json, len, err);
    }
    if (v.kind == CT_STR && !quoted) {
        st = ct_buf_put(out, v.u.s, v.len, err);
    } else {
        st = put_value(out, &v, names, err);
    }
    ct_value_deinit(&v);
    return st;
}

ct_status
pytext_object(ct_buf *out, const char *json, size_t len, ct_names *names, ct_err *err)
{
    return put_object(out, json, len, names, false, err);
}

/* ---- tapes ---- */

static ct_status
put_field(ct_buf *out, const ct_record *r, const ct_field *f, ct_names *names,
          ct_err *err)
{
    switch ((ct_field_kind)f->kind) {
    case CT_FIELD_BOOL:
        return ct_buf_puts(out, f->u.i != 0 ? "True" : "False", err);
    case CT_FIELD_I64:
        return put_i64(out, f->u.i, err);
    case CT_FIELD_F64:
        return put_f64(out, f->u.f, err);
    case CT_FIELD_STR:
        return put_repr(out, ct_record_text(r, f), f->len, err);
    case CT_FIELD_OBJ:
        return put_object(out, ct_record_text(r, f), f->len, names, true, err);
    case CT_FIELD_LIST:
        return ct_buf_put_u8(out, '[', err);
    case CT_FIELD_DICT:
        return ct_buf_put_u8(out, '{', err);
    case CT_FIELD_NIL:
    case CT_FIELD_CONFIG:
    case CT_FIELD_END:
    case CT_FIELD_KIND_COUNT:
        break;
    }
    return ct_buf_puts(out, "None", err);
}

ct_status
pytext_container(ct_buf *out, const ct_record *r, size_t i, ct_names *names,
                 ct_err *err)
{
    uint8_t closer[CT_RECORD_DEPTH + 1];
    size_t depth = 0;
    bool first = true;
    ct_status st = CT_OK;
    do {
        const ct_field *f = &r->fields[i++];
        if (f->kind == CT_FIELD_END) {
            st = ct_buf_put_u8(out, closer[--depth], err);
            first = false;
            continue;
        }
        if (!first) {
            st = ct_buf_puts(out, ", ", err);
        }
        if (st == CT_OK && depth > 0 && f->key != CT_NAME_NONE) {
            st = put_key(out, f->key, names, err);
        }
        if (st == CT_OK) {
            st = put_field(out, r, f, names, err);
        }
        first = f->kind == CT_FIELD_LIST || f->kind == CT_FIELD_DICT;
        if (first) {
            closer[depth++] = f->kind == CT_FIELD_LIST ? ']' : '}';
        }
    } while (st == CT_OK && depth > 0);
    return st;
}
