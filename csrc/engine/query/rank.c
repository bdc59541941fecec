/* rank.c: see rank.h. */
#include "query/rank.h"

#include <math.h>

static bool
score_of(const ct_board *b, ct_trial_id t, ct_name metric, bool maximize, ct_scope scope,
         ct_name step, double *out)
{
    ct_metric_stats s;

    if (scope == CT_SCOPE_LAST) {
        return ct_metrics_last(b->metrics, t, metric, out);
    }
    if (!ct_metrics_stats(b->metrics, t, metric, step, &s)) {
        return false;
    }
    switch (scope) {
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
    case CT_SCOPE_LAST:
        break;
    }
    return true;
}

ct_trial_id
ct_rank_best(const ct_board *b, ct_name metric, bool maximize, ct_scope scope,
             bool filter_nan_inf, ct_name step)
{
    ct_trial_id best = CT_TRIAL_NONE;
    double best_score = 0.0;

    for (ct_trial_id t = 0; t < ct_trials_count(b->trials); t++) {
        double v;
        if (!score_of(b, t, metric, maximize, scope, step, &v) || isnan(v) ||
            (filter_nan_inf && isinf(v))) {
            continue;
        }
        if (best == CT_TRIAL_NONE || (maximize ? v > best_score : v < best_score)) {
            best = t;
            best_score = v;
        }
    }
    return best;
}
