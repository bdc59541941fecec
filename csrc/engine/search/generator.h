/* generator.h: a suggester as a searcher: what it suggests becomes trials.
 *
 * Trial ids are 8 hex digits from the generator's own stream. The config is the space with
 * the suggestion merged into it, dict by dict; the suggestion wins, keys it adds stand
 * behind. Functions of the space are called last, with the merged config. The tag is the
 * number of the trial, counted from 1, "_", and the whole config without what functions
 * gave ("1_layers=2,lr=0.1000"). Evaluated parameters are the suggestion, flattened. */
#ifndef CT_SEARCH_GENERATOR_H
#define CT_SEARCH_GENERATOR_H

#include "search/suggester.h"
#include "space/variants.h"

typedef struct ct_generator_options {
    ct_names *names;            /* of the experiment */
    const ct_space *space;      /* borrowed, made with the same names; NULL = empty */
    uint64_t num_samples;       /* UINT64_MAX = endless */
    uint64_t seed;              /* of trial ids */
    const ct_function_ops *ops; /* may be NULL if the space has no function */
    void *ctx;                  /* for ops */
} ct_generator_options;

/* Takes the suggester on success. Besides its own errors, `next` answers CT_EINVAL with
 * the path of a domain or grid that a suggestion leaves without a value, and CT_ETYPE for
 * a suggestion that is no dict. The board given to its functions may be NULL in tests. */
ct_status ct_generator_new(ct_searcher **out, ct_suggester *suggester,
                           const ct_generator_options *options, ct_err *err);

#endif
