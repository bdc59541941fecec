/* limiter.h: ConcurrencyLimiter: at most max_concurrent suggestions live at once.
 *
 * The book-keeping alone, so that the binding can use it around Python searchers: it
 * decides who may ask and when completions are forwarded. With batch, completions are held
 * back until all live trials have completed, then forwarded in order of completion. */
#ifndef CT_SEARCH_LIMITER_H
#define CT_SEARCH_LIMITER_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ct_limiter ct_limiter;

ct_status ct_limiter_new(ct_limiter **out, int64_t max_concurrent, bool batch,
                         ct_err *err);
void ct_limiter_free(ct_limiter *l);
bool ct_limiter_full(const ct_limiter *l); /* live >= max */
/* Makes id live; CT_ESTATE when it is live already. */
ct_status ct_limiter_enter(ct_limiter *l, const char *id, ct_err *err);
bool ct_limiter_has(const ct_limiter *l, const char *id);
/* A live trial completed. *ready tells how many completions may be forwarded now: without
 * batch 1 (this one); with batch 0, or all that are held. Unknown id: *known = false. */
ct_status ct_limiter_complete(ct_limiter *l, const char *id, bool *known, size_t *ready,
                              ct_err *err);
/* batch: the i-th held id, in order of completion; valid until ct_limiter_flush. */
const char *ct_limiter_held(const ct_limiter *l, size_t i);
size_t ct_limiter_held_count(const ct_limiter *l);
void ct_limiter_flush(ct_limiter *l); /* held ones are forwarded: free their slots */
void ct_limiter_set_max(ct_limiter *l, int64_t max_concurrent);
int64_t ct_limiter_max(const ct_limiter *l);
bool ct_limiter_batch(const ct_limiter *l);
size_t ct_limiter_live(const ct_limiter *l);
/* For state and display; in no particular order, valid until the next change. */
const char *ct_limiter_live_at(const ct_limiter *l, size_t i);

#endif
