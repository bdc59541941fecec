/* rank.c: one pass over the trials, keeping the best. */
#include "query/rank.h"

#include <math.h>

/* The trial's score; false when it never reported the metric. */
static bool
score_of(const ct_board *b, ct_trial_id t, ct_name metric, bool maximize,
         ct_scope scope, double *out)
{
    ct_metric_stats s;
    if (scope == CT_SCOPE_LAST) { /* needs no walk over the results */
        return ct_metrics_last(b->metrics, t, metric, out);
    }
    if (!ct_metrics_stats(b->metrics, t, metric, &s)) {
        return false;
    }
    switch (scope) {
    case CT_SCOPE_LAST:
        *out = s.last;
        break;
    case CT_SCOPE_ALL:
        *out = maximize ? s.max : s.min;
        break;
    case CT_SCOPE_AVG:
        *out = s.avg;
        break;
    case CT_SCOPE_LAST5:
        *out = s.last5;
        break;
    case CT_SCOPE_LAST10:
        *out = s.last10;
        break;
    }
    return true;
}

ct_trial_id
ct_rank_best(const ct_board *b, ct_name metric, bool maximize, ct_scope scope,
             bool filter_nan_inf)
{
    ct_trial_id best = CT_TRIAL_NONE;
    double best_score = 0.0;
    size_t count = ct_trials_count(b->trials);
    for (ct_trial_id t = 0; t < count; t++) {
        double score = 0.0;
        if (!score_of(b, t, metric, maximize, scope, &score) || isnan(score) ||
            (filter_nan_inf && isinf(score))) {
            continue;
        }
        bool better = maximize ? score > best_score : score < best_score;
        if (best == CT_TRIAL_NONE || better) {
            best = t;
            best_score = score;
        }
    }
    return best;
}
