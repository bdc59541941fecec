/* rank.h: the best trial by metric, mode and scope. */
#ifndef CT_QUERY_RANK_H
#define CT_QUERY_RANK_H

#include "state/board.h"

typedef enum ct_scope {
    CT_SCOPE_LAST,
    CT_SCOPE_ALL, /* max or min over all results, by mode */
    CT_SCOPE_AVG,
    CT_SCOPE_LAST5,
    CT_SCOPE_LAST10
} ct_scope;

/* CT_TRIAL_NONE when no trial qualifies. NaN (and, with filter, infinities) never win;
 * the first best wins ties. O(kept results). */
ct_trial_id ct_rank_best(const ct_board *b, ct_name metric, bool maximize,
                         ct_scope scope, bool filter_nan_inf);

#endif
