/* key.h: a metric that a stop condition looks at, by its flattened key.
 *
 * Keys are given before the run's table of names exists, so they are looked up there when
 * first needed. A name that is not in the table yet is in no result either. */
#ifndef CT_STOP_KEY_H
#define CT_STOP_KEY_H

#include "state/board.h"

typedef struct ct_stop_key {
    char *text;
    size_t len;
    const ct_names *names; /* the table that `name` is of */
    ct_name name;
} ct_stop_key;

/* Copies the text. Errors: CT_EINVAL when it is empty, CT_ENOMEM. */
ct_status ct_stop_key_init(ct_stop_key *k, const char *text, size_t len, ct_err *err);
void ct_stop_key_deinit(ct_stop_key *k);
/* The number of the result under the key; false when there is none. */
bool ct_stop_key_get(ct_stop_key *k, const ct_board *b, const ct_result *r,
                     double *out);
/* CT_ETUNE, telling what the result holds instead. */
ct_status ct_stop_key_fail(const ct_stop_key *k, const ct_board *b, const ct_result *r,
                           ct_err *err);

#endif
