/* basic.h: the variants of a space as a searcher: grid and random search.
 *
 * Trials are numbered from 0: id = prefix + five digits ("a1b2c_00000"), tag = number,
 * then "_" and the variables ("0_lr=0.1000"). At most max_concurrent trials are live at
 * once if that is positive; a trial is live until it completes in any way. */
#ifndef CT_SEARCH_BASIC_H
#define CT_SEARCH_BASIC_H

#include "policy/policy.h"
#include "space/variants.h"

typedef struct ct_basic_options {
    ct_variants_options variants;
    const char *prefix;     /* of trial ids; copied */
    int64_t max_concurrent; /* 0 = no limit */
    uint64_t first;         /* number of the first trial */
    /* The stream or functions belong to the caller's world: answers must be
     * recorded. */
    bool foreign;
} ct_basic_options;

/* space and the stream must outlive the searcher. Without rng_save it has no save and
 * restore. Errors: those of ct_variants_new. */
ct_status ct_basic_new(ct_searcher **out, const ct_space *space,
                       const ct_basic_options *options, ct_err *err);

#endif
