/* record.h: one result as a flat tape of typed fields, in the order of the result dict.
 *
 * A result is a dict that may be nested. As a tree it would cost an allocation per key,
 * so it travels as a tape: fields one after the other, containers as an opening and a
 * closing field. A record is reused for the next result: nothing is allocated once
 * warm. The same tape is framed on pipes, appended to the journal, printed by the
 * writers of result.json and progress.csv, and kept (packed) as a trial's last
 * result. */
#ifndef CT_BASE_RECORD_H
#define CT_BASE_RECORD_H

#include "base/bytes.h"
#include "base/name.h"
#include "base/value.h"

typedef enum ct_field_kind {
    CT_FIELD_NIL,
    CT_FIELD_BOOL, /* i */
    CT_FIELD_I64,  /* i */
    CT_FIELD_F64,  /* f */
    CT_FIELD_STR,  /* text */
    CT_FIELD_LIST, /* opens; its items follow without key; closed by END */
    CT_FIELD_DICT, /* opens; closed by END */
    CT_FIELD_END,
    CT_FIELD_CONFIG, /* the trial's config stands here; whoever prints it knows it */
    CT_FIELD_OBJ,    /* any other Python object: text = JSON text for files, followed
                        directly by `extra` bytes of pickle */
    CT_FIELD_KIND_COUNT
} ct_field_kind;

typedef struct ct_field {
    ct_name key;    /* local key; CT_NAME_NONE for items of a list and for END */
    uint8_t kind;   /* ct_field_kind */
    uint32_t len;   /* bytes of text (STR, OBJ) */
    uint32_t extra; /* OBJ: bytes of pickle after the text */
    union {
        int64_t i;
        double f;
        size_t at; /* offset into text of the record */
    } u;
} ct_field;

typedef struct ct_record {
    ct_field *fields;
    size_t count;
    size_t cap;
    ct_buf text;
    size_t depth; /* containers that are open at the end */
} ct_record;

#define CT_RECORD_INIT {NULL, 0, 0, CT_BUF_INIT, 0}
#define CT_RECORD_DEPTH 500 /* deepest nesting of containers */

void ct_record_deinit(ct_record *r);
void ct_record_clear(ct_record *r);
ct_status ct_record_nil(ct_record *r, ct_name key, ct_err *err);
ct_status ct_record_bool(ct_record *r, ct_name key, bool v, ct_err *err);
ct_status ct_record_i64(ct_record *r, ct_name key, int64_t v, ct_err *err);
ct_status ct_record_f64(ct_record *r, ct_name key, double v, ct_err *err);
ct_status ct_record_str(ct_record *r, ct_name key, const char *s, size_t len,
                        ct_err *err);
/* CT_EINVAL when nested deeper than CT_RECORD_DEPTH. */
ct_status ct_record_open(ct_record *r, ct_name key, ct_field_kind list_or_dict,
                         ct_err *err);
ct_status ct_record_end(ct_record *r, ct_err *err);
ct_status ct_record_config(ct_record *r, ct_name key, ct_err *err);
ct_status ct_record_obj(ct_record *r, ct_name key, const char *json, size_t json_len,
                        const void *pickle, size_t pickle_len, ct_err *err);
const char *ct_record_text(const ct_record *r, const ct_field *f);
/* The top-level field of that key (the last one if repeated), or NULL. */
const ct_field *ct_record_find(const ct_record *r, ct_name key);
bool ct_field_number(const ct_field *f, double *out); /* BOOL, I64, F64 */

/* One number of a flattened result. */
typedef struct ct_metric {
    ct_name name; /* flattened: "a/b" */
    double value;
} ct_metric;
typedef struct ct_metrics_buf {
    ct_metric *items;
    size_t count;
    size_t cap;
} ct_metrics_buf;
/* The numeric entries, flattened through nested dicts (not through lists): plain keys
 * first, then those of nested dicts, as ray.tune's flatten_dict orders them. A literal
 * key with a slash wins over a nested path of the same name. Replaces *out. */
ct_status ct_record_metrics(const ct_record *r, ct_names *names, ct_metrics_buf *out,
                            ct_err *err);
void ct_metrics_buf_deinit(ct_metrics_buf *b);

/* Binary form. All containers must be closed. Names are written as numbers of a stream:
 * the caller's `define` is called for each name before its first use may be written
 * (see flow/codec). pack/unpack with identity names is what state/ uses to keep a last
 * result in few bytes. */
ct_status ct_record_pack(const ct_record *r, ct_buf *out, ct_err *err);
/* map (may be NULL = identity) turns names of the stream into ours: map[n]; n_map its
 * length; an unknown name (map[n] may be CT_NAME_NONE) is CT_ECORRUPT. With NULL, n_map
 * is how many names are known, or 0 not to check. Safe on any bytes: what is accepted
 * has balanced containers, keys everywhere but in lists. Replaces *out; on failure it
 * is empty. */
ct_status ct_record_unpack(ct_record *out, ct_reader *in, const ct_name *map,
                           size_t n_map, ct_err *err);

#endif
