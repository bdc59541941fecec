/* fifo.h: trials run in the order they came, to their end. */
#ifndef CT_SCHED_FIFO_H
#define CT_SCHED_FIFO_H

#include "policy/policy.h"

ct_status ct_fifo_new(ct_scheduler **out, ct_err *err);
/* What FIFO chooses; other schedulers share it: first pending trial, else first paused. */
ct_trial_id ct_fifo_choose(const ct_board *b);
/* The same as a scheduler's operation. */
ct_status ct_fifo_op_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out,
                            ct_orders *orders, ct_err *err);

#endif
