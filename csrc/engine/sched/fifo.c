/* fifo.c: first in, first out. It has no state and never says anything but CONTINUE. */
#include "sched/fifo.h"

#include "base/mem.h"

ct_trial_id
ct_fifo_choose(const ct_board *b)
{
    ct_trial_id t = ct_trials_first(b->trials, CT_TRIAL_PENDING);
    return t != CT_TRIAL_NONE ? t : ct_trials_first(b->trials, CT_TRIAL_PAUSED);
}

static ct_status
fifo_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               ct_verdict *out, ct_orders *orders, ct_err *err)
{
    (void)s;
    (void)b;
    (void)t;
    (void)r;
    (void)orders;
    (void)err;
    *out = CT_CONTINUE;
    return CT_OK;
}

ct_status
ct_fifo_op_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out,
                  ct_orders *orders, ct_err *err)
{
    (void)s;
    (void)orders;
    (void)err;
    *out = ct_fifo_choose(b);
    return CT_OK;
}

static ct_status
fifo_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)s;
    (void)names;
    (void)err;
    *out = ct_nil();
    return CT_OK;
}

static ct_status
fifo_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)s;
    (void)names;
    (void)v;
    (void)err;
    return CT_OK;
}

static ct_status
fifo_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    (void)s;
    (void)b;
    return ct_buf_puts(out, "Using FIFO scheduling algorithm.", err);
}

static void
fifo_free(ct_scheduler *s)
{
    ct_free(s);
}

static const ct_scheduler_ops FIFO_OPS = {
    .name = "fifo",
    .foreign = false,
    .supports_buffering = true,
    .on_add = ct_scheduler_ignore,
    .on_result = fifo_on_result,
    .on_complete = ct_scheduler_ignore_end,
    .on_error = ct_scheduler_ignore,
    .on_remove = ct_scheduler_ignore,
    .choose = ct_fifo_op_choose,
    .save = fifo_save,
    .restore = fifo_restore,
    .describe = fifo_describe,
    .free = fifo_free,
};

ct_status
ct_fifo_new(ct_scheduler **out, ct_err *err)
{
    ct_scheduler *s = ct_alloc(sizeof *s);
    if (s == NULL) {
        return ct_fail_mem(err);
    }
    s->ops = &FIFO_OPS;
    *out = s;
    return CT_OK;
}
