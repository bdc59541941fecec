/* inline.c: see inline.h.
 *
 * A ring of jobs in order of submission. One job is carried out between two waits, so that
 * the controller hears of each result before the next step starts, running trials take
 * turns, and what an event points to need live no longer than the contract says. */
#include "exec/inline.h"

#include "base/mem.h"
#include "exec/exec_int.h"
#include "os/poll.h"

#include <assert.h>
#include <string.h>

typedef struct inline_exec {
    ct_exec base; /* first */
    ct_inline_ops ops;
    ct_poller *poller; /* for waits with nothing to do, and wake */
    ct_job *ring;
    size_t cap; /* a power of two, or 0 */
    size_t head;
    size_t count;
    ct_job current; /* of the last poll: its event may borrow from it */
    bool polled;    /* a job was carried out since the last wait */
    bool closed;
} inline_exec;

static ct_job *
inline_at(inline_exec *x, size_t i)
{
    return &x->ring[(x->head + i) & (x->cap - 1)];
}

/* After a job was moved: it points to its own fields. */
static void
job_repoint(ct_job *j)
{
    j->command.config = j->command.config != NULL ? &j->config : NULL;
    j->command.resources = j->command.resources != NULL ? &j->resources : NULL;
}

static ct_status
inline_grow(inline_exec *x, ct_err *err)
{
    size_t cap = x->cap == 0 ? 8 : x->cap * 2;
    ct_job *ring = ct_calloc(cap, sizeof *ring);
    if (ring == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t i = 0; i < x->cap;
         i++) { /* all are alive: free ones keep their memory */
        ring[i] = *inline_at(x, i);
    }
    for (size_t i = 0; i < x->count; i++) {
        job_repoint(&ring[i]);
    }
    ct_free(x->ring);
    x->ring = ring;
    x->cap = cap;
    x->head = 0;
    return CT_OK;
}

/* KILL does not wait for its turn: what the trial has queued will never run. */
static void
inline_forget(inline_exec *x, ct_trial_id trial)
{
    for (size_t i = 0; i < x->count; i++) {
        ct_job *j = inline_at(x, i);
        if (j->command.trial == trial) {
            j->command.kind = CT_COMMAND_COUNT; /* skipped by poll */
        }
    }
}

static ct_status
inline_submit(ct_exec *e, const ct_command *c, ct_err *err)
{
    inline_exec *x = (inline_exec *)e;
    if (x->closed) {
        return ct_fail(err, CT_ESTATE, "executor", "is closed; %s came too late",
                       ct_command_name(c->kind));
    }
    if (x->count == x->cap) {
        ct_status st = inline_grow(x, err);
        if (st != CT_OK) {
            return st;
        }
    }
    ct_status st = ct_job_set(inline_at(x, x->count), c, err);
    if (st != CT_OK) {
        return st;
    }
    if (c->kind == CT_COMMAND_KILL) {
        inline_forget(x, c->trial);
    }
    x->count++;
    return CT_OK;
}

static ct_status
inline_wait(ct_exec *e, double timeout, ct_err *err)
{
    inline_exec *x = (inline_exec *)e;
    x->polled = false;
    return x->count > 0 ? CT_OK : ct_poller_wait(x->poller, timeout, err);
}

static ct_status
inline_run(inline_exec *x, ct_job *j, ct_event *out, ct_err *err)
{
    memset(out, 0, sizeof *out);
    out->trial = j->command.trial;
    out->serial = j->command.serial;
    ct_status st = x->ops.run(x->ops.ctx, &j->command, out, err);
    out->trial = j->command.trial;
    out->serial = j->command.serial;
    return st;
}

/* Moves the first job out of the ring: user code inside run may submit. */
static void
inline_take(inline_exec *x)
{
    ct_job_deinit(&x->current);
    ct_job *first = inline_at(x, 0);
    x->current = *first;
    job_repoint(&x->current);
    memset(first, 0, sizeof *first);
    x->head = (x->head + 1) & (x->cap - 1);
    x->count--;
}

static ct_status
inline_poll(ct_exec *e, ct_event *out, bool *got, ct_err *err)
{
    inline_exec *x = (inline_exec *)e;
    *got = false;
    while (x->count > 0 && !x->polled) {
        inline_take(x);
        if (x->current.command.kind == CT_COMMAND_COUNT) {
            continue;
        }
        ct_status st = inline_run(x, &x->current, out, err);
        if (st != CT_OK) {
            return st;
        }
        x->polled = true;
        *got = true;
    }
    return CT_OK;
}

static void
inline_wake(ct_exec *e)
{
    ct_poller_wake(((inline_exec *)e)->poller);
}

static void
inline_drop_jobs(inline_exec *x)
{
    for (size_t i = 0; i < x->cap; i++) {
        ct_job_deinit(&x->ring[i]);
    }
    ct_free(x->ring);
    x->ring = NULL;
    x->cap = x->count = x->head = 0;
}

static ct_status
inline_close(ct_exec *e, double grace, ct_err *err)
{
    (void)grace;
    (void)err;
    inline_exec *x = (inline_exec *)e;
    x->closed = true;
    inline_drop_jobs(x);
    return CT_OK;
}

static void
inline_free(ct_exec *e)
{
    inline_exec *x = (inline_exec *)e;
    if (x != NULL) {
        inline_drop_jobs(x);
        ct_job_deinit(&x->current);
        ct_poller_free(x->poller);
        ct_free(x);
    }
}

static const ct_exec_ops inline_ops_table = {
    .name = "inline",
    .local = true,
    .submit = inline_submit,
    .wait = inline_wait,
    .poll = inline_poll,
    .wake = inline_wake,
    .close = inline_close,
    .free = inline_free,
};

ct_status
ct_inline_new(ct_exec **out, const ct_inline_ops *ops, ct_err *err)
{
    assert(ops->run != NULL);
    inline_exec *x = ct_calloc(1, sizeof *x);
    if (x == NULL) {
        return ct_fail_mem(err);
    }
    x->base.ops = &inline_ops_table;
    x->ops = *ops;
    ct_status st = ct_poller_new(&x->poller, err);
    if (st != CT_OK) {
        inline_free(&x->base);
        return st;
    }
    *out = &x->base;
    return CT_OK;
}
