/* suggester.h: the contract of what Ray Tune calls a Searcher: it suggests configs for text
 * ids and hears how they went. ConcurrencyLimiter wraps one and is one; generator.h turns
 * one into a ct_searcher. */
#ifndef CT_SEARCH_SUGGESTER_H
#define CT_SEARCH_SUGGESTER_H

#include "policy/policy.h"

typedef enum ct_suggest_state {
    CT_SUGGEST_CONFIG,
    CT_SUGGEST_NONE, /* nothing now */
    CT_SUGGEST_FINISHED
} ct_suggest_state;

typedef struct ct_suggester ct_suggester;
typedef struct ct_suggester_ops {
    const char *name;
    bool foreign;
    ct_status (*suggest)(ct_suggester *s, const char *id, ct_value *config,
                         ct_suggest_state *state, ct_err *err);
    /* result: whatever the caller has; a run passes ct_result, Python passes an object. */
    ct_status (*on_result)(ct_suggester *s, const char *id, const ct_result *r,
                           ct_err *err);
    ct_status (*on_complete)(ct_suggester *s, const char *id, const ct_result *r,
                             bool error, ct_err *err);
    void (*free)(ct_suggester *s);
} ct_suggester_ops;
struct ct_suggester {
    const ct_suggester_ops *ops;
};

#endif
