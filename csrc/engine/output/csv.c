/* csv.c: progress.csv, in the excel dialect of Python's csv module (docs/formats).
 *
 * Results of a trial nearly always have the same keys in the same order: the shape of
 * the last record is kept with the field of each column, and compared first. Only a
 * record of another shape is flattened again. Keys of the top level come first, then
 * those one dict deep, and so on, as ray.tune's flatten_dict orders them. */
#include "output/output_int.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

enum { SHAPE_VALUE, SHAPE_CONFIG, SHAPE_LIST, SHAPE_DICT, SHAPE_END };

#define NO_COLUMN UINT32_MAX

ct_status
csv_init(csv *c, ct_names *names, ct_err *err)
{
    *c = (csv){.names = names, .text = CT_BUF_INIT};
    return ct_names_intern(names, "config", 6, &c->config, err);
}

void
csv_deinit(csv *c)
{
    ct_free(c->flat);
    ct_buf_deinit(&c->text);
}

void
csv_table_deinit(csv_table *t)
{
    ct_free(t->columns);
    ct_free(t->field_of);
    ct_map_deinit(&t->column_of);
    ct_free(t->steps);
    *t = (csv_table){0};
}

void
csv_table_clear(csv_table *t)
{
    for (size_t c = 0; c < t->column_count; c++) {
        (void)ct_map_remove(&t->column_of, t->columns[c]);
    }
    t->column_count = 0;
    t->step_count = 0;
    t->known = false;
}

/* ---- shapes ---- */

static uint8_t
shape_of(const ct_field *f)
{
    switch ((ct_field_kind)f->kind) {
    case CT_FIELD_LIST:
        return SHAPE_LIST;
    case CT_FIELD_DICT:
        return SHAPE_DICT;
    case CT_FIELD_END:
        return SHAPE_END;
    case CT_FIELD_CONFIG:
        return SHAPE_CONFIG;
    case CT_FIELD_NIL:
    case CT_FIELD_BOOL:
    case CT_FIELD_I64:
    case CT_FIELD_F64:
    case CT_FIELD_STR:
    case CT_FIELD_OBJ:
    case CT_FIELD_KIND_COUNT:
        break;
    }
    return SHAPE_VALUE;
}

static bool
repeats_shape(const csv_table *t, const ct_record *r)
{
    if (!t->known || t->step_count != r->count) {
        return false;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (t->steps[i].key != r->fields[i].key ||
            t->steps[i].shape != shape_of(&r->fields[i])) {
            return false;
        }
    }
    return true;
}

static ct_status
keep_shape(csv_table *t, const ct_record *r, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&t->steps, &t->step_cap, r->count + 1, sizeof *t->steps, err);
    if (st != CT_OK) {
        return st;
    }
    for (size_t i = 0; i < r->count; i++) {
        t->steps[i] = (csv_step){r->fields[i].key, shape_of(&r->fields[i])};
    }
    t->step_count = r->count;
    return CT_OK;
}

/* ---- flattening ---- */

static size_t
after_container(const ct_record *r, size_t i)
{
    size_t depth = 0;
    do {
        uint8_t shape = shape_of(&r->fields[i]);
        if (shape == SHAPE_LIST || shape == SHAPE_DICT) {
            depth++;
        } else if (shape == SHAPE_END) {
            depth--;
        }
        i++;
    } while (depth > 0);
    return i;
}

/* Adds the cells that lie exactly `level` dicts deep; *deepest = of the dicts seen. */
static ct_status
flatten_level(csv *c, const ct_record *r, size_t level, size_t *count, size_t *deepest,
              ct_err *err)
{
    ct_name path[CT_RECORD_DEPTH + 1];
    size_t depth = 0;
    size_t i = 0;
    while (i < r->count) {
        const ct_field *f = &r->fields[i];
        uint8_t shape = shape_of(f);
        ct_name name = f->key;
        if (shape == SHAPE_END) {
            depth--;
            i++;
            continue;
        }
        bool opens = shape == SHAPE_DICT || shape == SHAPE_LIST;
        size_t next = opens ? after_container(r, i) : i + 1;
        if (shape == SHAPE_CONFIG || (depth == 0 && f->key == c->config)) {
            i = next;
            continue;
        }
        if (depth > 0) {
            ct_status st = ct_names_join(c->names, path[depth - 1], name, &name, err);
            if (st != CT_OK) {
                return st;
            }
        }
        if (shape == SHAPE_DICT && depth < level) {
            path[depth++] = name;
            i++;
            continue;
        }
        if (shape == SHAPE_DICT) {
            *deepest = level + 1;
        } else if (depth == level) {
            c->flat[(*count)++] = (ct_metric){name, (double)i};
        }
        i = next;
    }
    return CT_OK;
}

static ct_status
flatten(csv *c, const ct_record *r, size_t *count, ct_err *err)
{
    size_t deepest = 0;
    *count = 0;
    ct_status st =
        ct_grow((void **)&c->flat, &c->flat_cap, r->count + 1, sizeof *c->flat, err);
    for (size_t level = 0; st == CT_OK && level <= deepest; level++) {
        st = flatten_level(c, r, level, count, &deepest, err);
    }
    return st;
}

/* ---- columns ---- */

static uint32_t
column_of(const csv_table *t, ct_name name)
{
    uint32_t column = NO_COLUMN;
    return ct_map_get(&t->column_of, name, &column) ? column : NO_COLUMN;
}

/* The first result fixes the columns. */
static ct_status
fix_columns(csv *c, csv_table *t, size_t count, ct_err *err)
{
    ct_status st = ct_grow((void **)&t->columns, &t->column_cap, count + 1,
                           sizeof *t->columns, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&t->field_of, &t->field_cap, count + 1,
                     sizeof *t->field_of, err);
    }
    for (size_t i = 0; st == CT_OK && i < count; i++) {
        if (column_of(t, c->flat[i].name) != NO_COLUMN) {
            continue;
        }
        st = ct_map_put(&t->column_of, c->flat[i].name, (uint32_t)t->column_count, err);
        if (st == CT_OK) {
            t->columns[t->column_count++] = c->flat[i].name;
        }
    }
    return st;
}

/* One field of the header at *at; *more when another one follows. */
static ct_status
read_field(ct_buf *out, const char *text, size_t len, size_t *at, bool *more,
           ct_err *err)
{
    bool quoted = *at < len && text[*at] == '"';
    size_t i = *at + quoted;
    ct_status st = CT_OK;

    ct_buf_clear(out);
    for (; st == CT_OK && i < len; i++) {
        if (quoted && text[i] == '"') {
            if (i + 1 == len || text[i + 1] != '"') {
                i++;
                break;
            }
            i++; /* a doubled quote stands for one */
        } else if (!quoted && (text[i] == ',' || text[i] == '\r' || text[i] == '\n')) {
            break;
        }
        st = ct_buf_put_u8(out, (uint8_t)text[i], err);
    }
    *more = i < len && text[i] == ',';
    *at = i + *more;
    return st;
}

ct_status
csv_table_load(csv *c, csv_table *t, const char *text, size_t len, ct_err *err)
{
    size_t count = 0;
    size_t at = 0;
    bool more = len > 0;
    ct_status st = CT_OK;

    while (st == CT_OK && more) {
        ct_name name;
        st = read_field(&c->text, text, len, &at, &more, err);
        if (st == CT_OK) {
            st = ct_names_intern(c->names, (const char *)c->text.data, c->text.len,
                                 &name, err);
        }
        if (st == CT_OK) {
            st = ct_grow((void **)&c->flat, &c->flat_cap, count + 1, sizeof *c->flat,
                         err);
        }
        if (st == CT_OK) {
            c->flat[count++] = (ct_metric){name, 0.0};
        }
    }
    if (st == CT_OK) {
        st = fix_columns(c, t, count, err);
    }
    if (st != CT_OK) {
        csv_table_clear(t);
        return st;
    }
    t->known = true;
    return CT_OK;
}

/* Finds the field of each column. Of two cells of one name the first wins: it lies on
 * the higher level, as in the metric store. */
static ct_status
place_fields(csv *c, csv_table *t, const ct_record *r, ct_err *err)
{
    size_t count = 0;
    ct_status st = flatten(c, r, &count, err);
    if (st == CT_OK && !t->known) {
        st = fix_columns(c, t, count, err);
    }
    if (st == CT_OK) {
        st = keep_shape(t, r, err);
    }
    if (st != CT_OK) {
        if (!t->known) {
            csv_table_clear(t);
        }
        return st;
    }
    memset(t->field_of, 0, t->column_count * sizeof *t->field_of);
    for (size_t i = 0; i < count; i++) {
        uint32_t column = column_of(t, c->flat[i].name);
        if (column != NO_COLUMN && t->field_of[column] == 0) {
            t->field_of[column] = (uint32_t)c->flat[i].value + 1;
        }
    }
    t->known = true;
    return CT_OK;
}

/* ---- text ---- */

/* Quotes only what needs it. */
static ct_status
put_text(ct_buf *out, const char *text, size_t len, ct_err *err)
{
    bool plain = true;
    size_t i = 0;
    for (; plain && i < len; i++) {
        plain = text[i] != ',' && text[i] != '"' && text[i] != '\r' && text[i] != '\n';
    }
    if (plain) {
        return ct_buf_put(out, text, len, err);
    }
    ct_status st = ct_buf_put_u8(out, '"', err);
    for (i = 0; st == CT_OK && i < len; i++) {
        if (text[i] == '"') {
            st = ct_buf_put_u8(out, '"', err);
        }
        if (st == CT_OK) {
            st = ct_buf_put_u8(out, (uint8_t)text[i], err);
        }
    }
    return st == CT_OK ? ct_buf_put_u8(out, '"', err) : st;
}

static ct_status
put_float(ct_buf *out, double v, const char *text, size_t len, ct_err *err)
{
    if (isfinite(v)) {
        return ct_buf_put(out, text, len, err);
    }
    return ct_buf_puts(out, isnan(v) ? "nan" : v < 0.0 ? "-inf" : "inf", err);
}

static ct_status
put_cell(csv *c, ct_buf *out, const ct_record *r, size_t i, const jsonl *j,
         const ct_buf *line, ct_err *err)
{
    const ct_field *f = &r->fields[i];
    const char *text = (const char *)line->data + j->spans[i].at;
    ct_status st = CT_OK;
    switch ((ct_field_kind)f->kind) {
    case CT_FIELD_I64:
        return ct_buf_put(out, text, j->spans[i].len, err);
    case CT_FIELD_F64:
        return put_float(out, f->u.f, text, j->spans[i].len, err);
    case CT_FIELD_BOOL:
        return ct_buf_puts(out, f->u.i != 0 ? "True" : "False", err);
    case CT_FIELD_STR:
        return put_text(out, ct_record_text(r, f), f->len, err);
    case CT_FIELD_LIST:
    case CT_FIELD_OBJ:
        ct_buf_clear(&c->text);
        st = f->kind == CT_FIELD_LIST
                 ? pytext_container(&c->text, r, i, c->names, err)
                 : pytext_object(&c->text, ct_record_text(r, f), f->len, c->names, err);
        return st == CT_OK ? put_text(out, (const char *)c->text.data, c->text.len, err)
                           : st;
    case CT_FIELD_NIL:
    case CT_FIELD_DICT:
    case CT_FIELD_CONFIG:
    case CT_FIELD_END:
    case CT_FIELD_KIND_COUNT:
        break;
    }
    return CT_OK;
}

/* A row of one empty field would read back as no row: it is quoted. */
static ct_status
end_row(ct_buf *out, size_t start, size_t columns, ct_err *err)
{
    ct_status st = CT_OK;
    if (columns == 1 && out->len == start) {
        st = ct_buf_puts(out, "\"\"", err);
    }
    return st == CT_OK ? ct_buf_puts(out, "\r\n", err) : st;
}

static ct_status
put_header(const csv *c, const csv_table *t, ct_buf *out, ct_err *err)
{
    size_t start = out->len;
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < t->column_count; i++) {
        if (i > 0) {
            st = ct_buf_put_u8(out, ',', err);
        }
        if (st == CT_OK) {
            st = put_text(out, ct_names_text(c->names, t->columns[i]),
                          ct_names_len(c->names, t->columns[i]), err);
        }
    }
    return st == CT_OK ? end_row(out, start, t->column_count, err) : st;
}

ct_status
csv_print(csv *c, csv_table *t, ct_buf *out, const ct_record *r, const jsonl *j,
          const ct_buf *line, bool header, ct_err *err)
{
    bool first = !t->known;
    ct_status st = CT_OK;
    if (!repeats_shape(t, r)) {
        st = place_fields(c, t, r, err);
        if (st == CT_OK && first && header) {
            st = put_header(c, t, out, err);
        }
    }
    size_t start = out->len;
    for (size_t i = 0; st == CT_OK && i < t->column_count; i++) {
        if (i > 0) {
            st = ct_buf_put_u8(out, ',', err);
        }
        if (st == CT_OK && t->field_of[i] != 0) {
            st = put_cell(c, out, r, t->field_of[i] - 1, j, line, err);
        }
    }
    return st == CT_OK ? end_row(out, start, t->column_count, err) : st;
}
