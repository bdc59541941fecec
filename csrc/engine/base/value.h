/* value.h: the engine's JSON-like tree. Configs and snapshots are values; a search
 * space is a value whose leaves may be domains (space/). 16 bytes each, stored inline
 * in their container. Dict keys are names of one table and keep their insertion
 * order. */
#ifndef CT_BASE_VALUE_H
#define CT_BASE_VALUE_H

#include "base/bytes.h"
#include "base/name.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum ct_kind {
    CT_NIL,
    CT_BOOL,
    CT_I64,
    CT_F64,
    CT_STR,
    CT_LIST,
    CT_TUPLE, /* a list that Python users see as a tuple */
    CT_DICT,
    CT_REF, /* something only the binding can see: a Python object */
    CT_KIND_COUNT
} ct_kind;

/* What a CT_REF points to: shared, counted. Whoever made it gives the functions; all of
 * them may be called with or without the GIL. */
typedef struct ct_ref ct_ref;
typedef struct ct_ref_ops {
    void (*release)(ct_ref *ref); /* the count reached 0 */
    /* Appends the JSON text that stands for the object in files. */
    ct_status (*json)(const ct_ref *ref, ct_buf *out, ct_err *err);
    /* Appends bytes from which a worker can make the object again. */
    ct_status (*wire)(ct_ref *ref, ct_buf *out, ct_err *err);
    bool (*equal)(const ct_ref *a, const ct_ref *b);
    /* Appends bytes as `wire` does, for the journal; nothing when the object has none.
     * NULL: no object of this kind has any. */
    ct_status (*keep)(ct_ref *ref, ct_buf *out, ct_err *err);
} ct_ref_ops;
struct ct_ref {
    const ct_ref_ops *ops;
    uint32_t count;
};
ct_ref *ct_ref_retain(ct_ref *r);
void ct_ref_release(ct_ref *r); /* NULL is fine */

typedef struct ct_value ct_value;
typedef struct ct_entry ct_entry;
struct ct_value {
    ct_kind kind;
    uint32_t len; /* bytes of a string, items of a list or tuple, entries of a dict */
    union {
        bool b;
        int64_t i;
        double f;
        char *s; /* NUL-terminated, may hold NULs */
        ct_value *items;
        ct_entry *entries;
        ct_ref *ref;
    } u;
};
struct ct_entry {
    ct_name key;
    ct_value value;
};

/* Makers by value; they cannot fail. */
ct_value ct_nil(void);
ct_value ct_bool(bool b);
ct_value ct_i64(int64_t i);
ct_value ct_f64(double f);
ct_value ct_list(void);        /* empty */
ct_value ct_tuple(void);       /* empty */
ct_value ct_dict(void);        /* empty */
ct_value ct_of_ref(ct_ref *r); /* takes the reference */
ct_status ct_str(ct_value *out, const char *text, size_t len, ct_err *err);

void ct_value_deinit(ct_value *v); /* leaves nil */
ct_status ct_value_copy(ct_value *out, const ct_value *v,
                        ct_err *err); /* deep; refs shared */
/* Takes *item (left nil) also on failure: one owner at all times. */
ct_status ct_value_push(ct_value *list, ct_value *item, ct_err *err);
/* A list of n items. Takes all of them, also on failure; *out is nil then. */
ct_status ct_value_list_of(ct_value *out, ct_value *items, size_t n, ct_err *err);
/* The same, as a further item of a list. */
ct_status ct_value_push_list(ct_value *list, ct_value *items, size_t n, ct_err *err);
/* A list of n doubles, as a further item of a list. */
ct_status ct_value_push_numbers(ct_value *list, const double *v, size_t n, ct_err *err);
/* Sets or replaces a key. Takes *item likewise. */
ct_status ct_value_put(ct_value *dict, ct_name key, ct_value *item, ct_err *err);
const ct_value *ct_value_get(const ct_value *dict, ct_name key); /* or NULL */
ct_value *ct_value_get_mut(ct_value *dict, ct_name key);
bool ct_value_remove(ct_value *dict, ct_name key); /* keeps the order of the others */
/* Numbers compare by value (1 == 1.0), NaN equals NaN, dicts ignore order, lists and
 * tuples are alike, refs by ops->equal. */
bool ct_value_equal(const ct_value *a, const ct_value *b);
bool ct_value_number(const ct_value *v, double *out); /* bool, i64, f64 */
size_t ct_value_bytes(const ct_value *v);             /* heap memory below v */

#endif
