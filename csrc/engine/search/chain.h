/* chain.h: the searchers of several experiments, one after the other.
 *
 * The next one is asked once the one before is finished. What member i suggests belongs to
 * experiment i. At most max_concurrent trials are live at once if that is positive. */
#ifndef CT_SEARCH_CHAIN_H
#define CT_SEARCH_CHAIN_H

#include "policy/policy.h"

/* Takes the members on success only. Has no save and restore. Foreign when a member is. */
ct_status ct_chain_new(ct_searcher **out, ct_searcher *const *members, size_t count,
                       int64_t max_concurrent, ct_err *err);

#endif
