/* sim.c: see sim.h.
 *
 * A heap of answers by virtual time; each answer sits in a slot with copies of what its
 * event points to. A wait moves the clock to the next answer, or by its own limit where
 * that comes first; it never sleeps. With nothing planned and no limit it returns at once:
 * nothing could ever come. */
#include "exec/sim.h"

#include "base/heap.h"
#include "base/mem.h"
#include "exec/exec_int.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef struct sim_slot {
    ct_event event;
    ct_record record;
    ct_buf text;
    ct_buf path;
    ct_buf blob;
    bool survives_kill;
    bool dropped;
} sim_slot;

typedef struct sim_exec {
    ct_exec base; /* first */
    ct_sim_ops ops;
    ct_virtual_clock *clock;
    ct_heap heap; /* ids are indexes of slots */
    sim_slot **slots;
    size_t slots_cap;
    size_t count;
    uint32_t *idle; /* stack of free slots */
    size_t idle_cap;
    size_t n_idle;
    uint32_t *out; /* given out since the last wait: their memory is lent */
    size_t out_cap;
    size_t n_out;
    uint64_t order;
    bool closed;
} sim_exec;

static void
slot_free(sim_slot *s)
{
    ct_record_deinit(&s->record);
    ct_buf_deinit(&s->text);
    ct_buf_deinit(&s->path);
    ct_buf_deinit(&s->blob);
    ct_free(s);
}

static ct_status
sim_new_slot(sim_exec *x, ct_err *err)
{
    ct_status st = ct_grow((void **)&x->slots, &x->slots_cap, x->count + 1,
                           sizeof(sim_slot *), err);
    if (st == CT_OK) {
        st = ct_grow((void **)&x->idle, &x->idle_cap, x->count + 1, sizeof *x->idle,
                     err);
    }
    if (st == CT_OK) {
        st = ct_grow((void **)&x->out, &x->out_cap, x->count + 1, sizeof *x->out, err);
    }
    if (st != CT_OK) {
        return st;
    }
    sim_slot *s = ct_calloc(1, sizeof *s);
    if (s == NULL) {
        return ct_fail_mem(err);
    }
    x->slots[x->count] = s;
    x->idle[x->n_idle++] = (uint32_t)x->count++;
    return CT_OK;
}

static ct_status
keep_bytes(ct_buf *own, const void *data, size_t len, ct_err *err)
{
    ct_buf_clear(own);
    ct_status st = len > 0 ? ct_buf_put(own, data, len, err) : CT_OK;
    return st == CT_OK ? ct_buf_terminate(own, err) : st;
}

static ct_status
keep_record(ct_record *own, const ct_record *r, ct_err *err)
{
    ct_record_clear(own);
    ct_status st =
        ct_grow((void **)&own->fields, &own->cap, r->count, sizeof *own->fields, err);
    if (st == CT_OK && r->text.len > 0) {
        st = ct_buf_put(&own->text, r->text.data, r->text.len, err);
    }
    if (st == CT_OK && r->count > 0) {
        memcpy(own->fields, r->fields, r->count * sizeof *own->fields);
        own->count = r->count;
    }
    return st;
}

static ct_status
slot_fill(sim_slot *s, const ct_event *ev, ct_err *err)
{
    s->event = *ev;
    ct_status st = CT_OK;
    if (ev->record != NULL) {
        st = keep_record(&s->record, ev->record, err);
        s->event.record = &s->record;
    }
    if (st == CT_OK && ev->text != NULL) {
        st = keep_bytes(&s->text, ev->text, ev->text_len, err);
        s->event.text = (const char *)s->text.data;
    }
    if (st == CT_OK && ev->path != NULL) {
        st = keep_bytes(&s->path, ev->path, ev->path_len, err);
        s->event.path = (const char *)s->path.data;
    }
    if (st == CT_OK && ev->blob != NULL) {
        st = keep_bytes(&s->blob, ev->blob, ev->blob_len, err);
        s->event.blob = s->blob.data;
    }
    return st;
}

static ct_status
sim_schedule(sim_exec *x, const ct_event *ev, double at, bool survives_kill,
             ct_err *err)
{
    if (x->n_idle == 0) {
        ct_status st = sim_new_slot(x, err);
        if (st != CT_OK) {
            return st;
        }
    }
    uint32_t id = x->idle[x->n_idle - 1];
    sim_slot *s = x->slots[id];
    ct_status st = slot_fill(s, ev, err);
    if (st == CT_OK) {
        st = ct_heap_push(&x->heap, at, x->order++, id, err);
    }
    if (st == CT_OK) {
        s->event.time = at;
        s->survives_kill = survives_kill;
        s->dropped = false;
        x->n_idle--;
    }
    return st;
}

static void
sim_cancel(sim_exec *x, ct_trial_id trial)
{
    for (size_t i = 0; i < x->heap.count; i++) {
        sim_slot *s = x->slots[x->heap.items[i].id];
        s->dropped = s->dropped || (s->event.trial == trial && !s->survives_kill);
    }
}

static ct_status
sim_submit(ct_exec *e, const ct_command *c, ct_err *err)
{
    sim_exec *x = (sim_exec *)e;
    if (x->closed) {
        return ct_fail(err, CT_ESTATE, "executor", "is closed; %s came too late",
                       ct_command_name(c->kind));
    }
    double now = x->clock->time;
    ct_sim_answer a;
    memset(&a, 0, sizeof a);
    ct_status st = x->ops.plan(x->ops.ctx, c, now, &a, err);
    if (st != CT_OK) {
        return st;
    }
    a.event.kind = a.lost ? CT_EVENT_LOST : a.event.kind;
    a.event.trial = c->trial;
    a.event.serial = c->serial;
    if (c->kind == CT_COMMAND_KILL || c->kind == CT_COMMAND_STOP) {
        sim_cancel(x, c->trial);
    }
    if (isinf(a.duration)) {
        return CT_OK; /* never answered */
    }
    double at = now + (a.duration > 0 ? a.duration : 0);
    st = sim_schedule(x, &a.event, at, a.late_after_kill, err);
    if (st == CT_OK && a.twice) {
        st = sim_schedule(x, &a.event, at, a.late_after_kill, err);
    }
    return st;
}

static void
sim_reclaim(sim_exec *x)
{
    while (x->n_out > 0) {
        x->idle[x->n_idle++] = x->out[--x->n_out];
    }
}

/* The time of the next answer that was not cancelled. */
static bool
sim_next(sim_exec *x, double *at)
{
    ct_heap_item top;
    while (ct_heap_peek(&x->heap, &top)) {
        if (!x->slots[top.id]->dropped) {
            *at = top.key;
            return true;
        }
        (void)ct_heap_pop(&x->heap, &top);
        x->idle[x->n_idle++] = top.id;
    }
    return false;
}

static ct_status
sim_wait(ct_exec *e, double timeout, ct_err *err)
{
    (void)err;
    sim_exec *x = (sim_exec *)e;
    sim_reclaim(x);
    double now = x->clock->time;
    double at;
    bool any = sim_next(x, &at);
    double limit = now + timeout;
    if (any && (timeout < 0 || at <= limit)) {
        x->clock->time = at > now ? at : now;
    } else if (timeout > 0) {
        x->clock->time = limit;
    }
    return CT_OK;
}

static ct_status
sim_poll(ct_exec *e, ct_event *out, bool *got, ct_err *err)
{
    (void)err;
    sim_exec *x = (sim_exec *)e;
    double at;
    *got = sim_next(x, &at) && at <= x->clock->time;
    if (*got) {
        ct_heap_item top;
        (void)ct_heap_pop(&x->heap, &top);
        *out = x->slots[top.id]->event;
        x->out[x->n_out++] = top.id;
    }
    return CT_OK;
}

static void
sim_wake(ct_exec *e)
{
    (void)e; /* waits never block */
}

static ct_status
sim_close(ct_exec *e, double grace, ct_err *err)
{
    (void)grace;
    (void)err;
    sim_exec *x = (sim_exec *)e;
    ct_heap_item top;
    while (ct_heap_pop(&x->heap, &top)) {
        x->idle[x->n_idle++] = top.id;
    }
    x->closed = true;
    return CT_OK;
}

static void
sim_free(ct_exec *e)
{
    sim_exec *x = (sim_exec *)e;
    if (x == NULL) {
        return;
    }
    for (size_t i = 0; i < x->count; i++) {
        slot_free(x->slots[i]);
    }
    ct_free(x->slots);
    ct_free(x->idle);
    ct_free(x->out);
    ct_heap_deinit(&x->heap);
    ct_free(x);
}

static const ct_exec_ops sim_ops_table = {
    .name = "sim",
    .submit = sim_submit,
    .wait = sim_wait,
    .poll = sim_poll,
    .wake = sim_wake,
    .close = sim_close,
    .free = sim_free,
};

ct_status
ct_sim_new(ct_exec **out, const ct_sim_ops *ops, ct_virtual_clock *clock, ct_err *err)
{
    assert(ops->plan != NULL);
    sim_exec *x = ct_calloc(1, sizeof *x);
    if (x == NULL) {
        return ct_fail_mem(err);
    }
    x->base.ops = &sim_ops_table;
    x->ops = *ops;
    x->clock = clock;
    *out = &x->base;
    return CT_OK;
}
