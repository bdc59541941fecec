/* board.c: see board.h. */
#include "state/board.h"

ct_trial_status
ct_board_status(const ct_board *b, ct_trial_id t)
{
    return b->ops != NULL ? b->ops->status(b->ctx, t)
                          : (ct_trial_status)ct_trials_get(b->trials, t)->status;
}

bool
ct_board_any(const ct_board *b, unsigned statuses)
{
    if (b->ops != NULL) {
        return b->ops->any(b->ctx, statuses);
    }
    for (unsigned s = 0; s < CT_TRIAL_STATUS_COUNT; s++) {
        if ((statuses & CT_STATUS(s)) != 0 &&
            ct_trials_with(b->trials, (ct_trial_status)s) > 0) {
            return true;
        }
    }
    return false;
}

/* Results have few entries: a scan is enough. */

bool
ct_result_get(const ct_result *r, ct_name name, double *out)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->items[i].name == name) {
            *out = r->items[i].value;
            return true;
        }
    }
    return false;
}
