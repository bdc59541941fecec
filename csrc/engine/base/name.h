/* name.h: interned strings. Metric and parameter names become small integers once, at
 * the edge; hot code compares integers. A table belongs to one experiment (or one
 * connection) and is used by one thread. */
#ifndef CT_BASE_NAME_H
#define CT_BASE_NAME_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t ct_name; /* dense from 0 within a table; never reused */
#define CT_NAME_NONE UINT32_MAX

typedef struct ct_names ct_names;

ct_status ct_names_new(ct_names **out, ct_err *err);
void ct_names_free(ct_names *t);
/* Bytes are UTF-8 and may hold NULs; the table keeps its own copy. O(1) amortised. */
ct_status ct_names_intern(ct_names *t, const char *text, size_t len, ct_name *out,
                          ct_err *err);
ct_name ct_names_find(const ct_names *t, const char *text, size_t len); /* or NONE */
const char *ct_names_text(const ct_names *t, ct_name n); /* NUL-terminated, stable */
size_t ct_names_len(const ct_names *t, ct_name n);
size_t ct_names_count(const ct_names *t);
/* Whether the text holds a '/', and so can equal a joined name; O(1). */
bool ct_names_has_slash(const ct_names *t, ct_name n);
/* The name of "parent/child". Cached, so that flattening a result costs a lookup. */
ct_status ct_names_join(ct_names *t, ct_name parent, ct_name child, ct_name *out,
                        ct_err *err);

#endif
