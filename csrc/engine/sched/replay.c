/* replay.c: see replay.h. */
#include "sched/replay.h"

#include "base/mem.h"
#include "sched/fifo.h"

#include <string.h>

struct ct_replay {
    ct_scheduler base; /* first */
    ct_replay_opts opts;
    double *changes;
    ct_trial_id trial; /* CT_TRIAL_NONE before it was added */
    size_t next;       /* change to come */
    double step;       /* of the last result while changes were to come */
};

static ct_status
replay_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
              ct_err *err)
{
    ct_replay *r = (ct_replay *)s;
    (void)b;
    (void)orders;
    if (r->trial != CT_TRIAL_NONE && r->trial != t) {
        return ct_fail(err, CT_EINVAL, "num_samples",
                       "must give one trial to a replay, got a second one: each would "
                       "train the same schedule");
    }
    r->trial = t;
    return CT_OK;
}

static ct_status
replay_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                 const ct_result *res, ct_verdict *out, ct_orders *orders, ct_err *err)
{
    ct_replay *r = (ct_replay *)s;
    double step;
    *out = CT_CONTINUE;
    if (!ct_result_get(res, r->opts.time_attr, &step) || r->next == r->opts.count) {
        return CT_OK;
    }
    r->step = step;
    if (!(step >= r->changes[r->next])) {
        return CT_OK;
    }
    *out = CT_NOOP;
    ct_status st = r->opts.change(r->opts.ctx, b, t, r->next, orders, err);
    r->next += st == CT_OK ? 1 : 0;
    return st;
}

/* [trial or -1, next, step] */
static ct_status
replay_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    const ct_replay *r = (const ct_replay *)s;
    ct_value parts[] = {ct_i64(r->trial == CT_TRIAL_NONE ? -1 : (int64_t)r->trial),
                        ct_i64((int64_t)r->next), ct_f64(r->step)};
    (void)names;
    return ct_value_list_of(out, parts, 3, err);
}

static ct_status
replay_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    ct_replay *r = (ct_replay *)s;
    const ct_value *i = v->kind == CT_LIST && v->len == 3 ? v->u.items : NULL;
    double step;
    (void)names;
    if (i == NULL || i[0].kind != CT_I64 || i[0].u.i < -1 ||
        i[0].u.i >= (int64_t)CT_TRIAL_NONE || i[1].kind != CT_I64 || i[1].u.i < 0 ||
        (uint64_t)i[1].u.i > r->opts.count || !ct_value_number(&i[2], &step)) {
        return ct_fail(err, CT_ECORRUPT, "scheduler",
                       "the saved state is not one of a replay of this policy");
    }
    r->trial = i[0].u.i < 0 ? CT_TRIAL_NONE : (ct_trial_id)i[0].u.i;
    r->next = (size_t)i[1].u.i;
    r->step = step;
    return CT_OK;
}

static ct_status
replay_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    const ct_replay *r = (const ct_replay *)s;
    (void)b;
    return ct_buf_printf(out, err,
                         "PopulationBasedTraining replay: Step %.15g, perturb %llu",
                         r->step, (unsigned long long)r->next);
}

static void
replay_free(ct_scheduler *s)
{
    ct_replay *r = (ct_replay *)s;
    ct_free(r->changes);
    ct_free(r);
}

static const ct_scheduler_ops REPLAY_OPS = {
    .name = "pbt_replay",
    .supports_buffering = true,
    .on_add = replay_on_add,
    .on_result = replay_on_result,
    .on_complete = ct_scheduler_ignore_end,
    .on_error = ct_scheduler_ignore,
    .on_remove = ct_scheduler_ignore,
    .choose = ct_fifo_op_choose,
    .save = replay_save,
    .restore = replay_restore,
    .describe = replay_describe,
    .free = replay_free,
};

ct_status
ct_replay_new(ct_replay **out, const ct_replay_opts *opts, ct_err *err)
{
    ct_replay *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    r->base.ops = &REPLAY_OPS;
    r->opts = *opts;
    r->trial = CT_TRIAL_NONE;
    r->changes = ct_alloc((opts->count + 1) * sizeof *r->changes);
    if (r->changes == NULL) {
        ct_free(r);
        return ct_fail_mem(err);
    }
    if (opts->count > 0) {
        memcpy(r->changes, opts->changes, opts->count * sizeof *r->changes);
    }
    *out = r;
    return CT_OK;
}

ct_scheduler *
ct_replay_scheduler(ct_replay *r)
{
    return &r->base;
}
