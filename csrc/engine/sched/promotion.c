/* promotion.c: see promotion.h.
 *
 * Each rung has a heap of those who wait there, best first. Entries of trials that have
 * left are dropped when they come to the top. */
#include "sched/promotion.h"

#include "base/heap.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

typedef enum stage {
    ELSEWHERE, /* runs, or is not known */
    PAUSING,   /* told to pause */
    PARKED     /* seen paused: when it runs again, it was promoted */
} stage;

typedef struct waiter {
    uint8_t stage;
    uint32_t bracket;
    uint32_t rung;
    uint64_t order; /* of its entry in the heap */
    double score;
} waiter;

typedef struct rung {
    ct_heap waiting;
    size_t promoted;
} rung;

struct ct_promotion {
    double eta;
    rung **rungs; /* by bracket */
    size_t *counts;
    size_t brackets;
    waiter *waiters; /* by trial */
    size_t trials;
    size_t trials_cap;
    ct_trial_id *fresh; /* added, in order */
    size_t first;
    size_t n_fresh;
    size_t fresh_cap;
    uint64_t order;
};

void
ct_promotion_free(ct_promotion *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t s = 0; p->rungs != NULL && s < p->brackets; s++) {
        for (size_t k = 0; p->rungs[s] != NULL && k < p->counts[s]; k++) {
            ct_heap_deinit(&p->rungs[s][k].waiting);
        }
        ct_free(p->rungs[s]);
    }
    ct_free(p->rungs);
    ct_free(p->counts);
    ct_free(p->waiters);
    ct_free(p->fresh);
    ct_free(p);
}

ct_status
ct_promotion_new(ct_promotion **out, const size_t *rungs, size_t brackets, double eta,
                 ct_err *err)
{
    ct_promotion *p = ct_calloc(1, sizeof *p);
    if (p == NULL) {
        return ct_fail_mem(err);
    }
    p->eta = eta;
    p->brackets = brackets;
    p->rungs = ct_calloc(brackets, sizeof(rung *));
    p->counts = ct_calloc(brackets, sizeof *p->counts);
    bool made = p->rungs != NULL && p->counts != NULL;
    for (size_t s = 0; made && s < brackets; s++) {
        p->counts[s] = rungs[s];
        p->rungs[s] = ct_calloc(rungs[s] > 0 ? rungs[s] : 1, sizeof(rung));
        made = p->rungs[s] != NULL;
    }
    if (!made) {
        ct_promotion_free(p);
        return ct_fail_mem(err);
    }
    *out = p;
    return CT_OK;
}

static ct_status
reach(ct_promotion *p, ct_trial_id t, ct_err *err)
{
    if (t < p->trials) {
        return CT_OK;
    }
    ct_status st = ct_grow((void **)&p->waiters, &p->trials_cap, (size_t)t + 1,
                           sizeof *p->waiters, err);
    if (st == CT_OK) {
        memset(p->waiters + p->trials, 0, (t + 1 - p->trials) * sizeof *p->waiters);
        p->trials = (size_t)t + 1;
    }
    return st;
}

ct_status
ct_promotion_add(ct_promotion *p, ct_trial_id t, ct_err *err)
{
    ct_status st = reach(p, t, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&p->fresh, &p->fresh_cap, p->n_fresh + 1,
                     sizeof *p->fresh, err);
    }
    if (st == CT_OK) {
        p->fresh[p->n_fresh++] = t;
        p->waiters[t].stage = ELSEWHERE;
    }
    return st;
}

ct_status
ct_promotion_wait(ct_promotion *p, ct_trial_id t, size_t bracket, size_t at,
                  double score, ct_err *err)
{
    ct_status st = reach(p, t, err);
    if (st == CT_OK && !isnan(score)) {
        st = ct_heap_push(&p->rungs[bracket][at].waiting, -score, p->order, t, err);
    }
    if (st == CT_OK) {
        p->waiters[t] =
            (waiter){PAUSING, (uint32_t)bracket, (uint32_t)at, p->order, score};
        p->order++;
    }
    return st;
}

void
ct_promotion_resumed(ct_promotion *p, ct_trial_id t)
{
    if (t < p->trials && p->waiters[t].stage != ELSEWHERE) {
        p->rungs[p->waiters[t].bracket][p->waiters[t].rung].promoted++;
        p->waiters[t].stage = ELSEWHERE;
    }
}

void
ct_promotion_forget(ct_promotion *p, ct_trial_id t)
{
    if (t < p->trials) {
        p->waiters[t].stage = ELSEWHERE;
    }
}

/* The best one who waits at a rung, or NONE. */
static ct_trial_id
best_waiter(ct_promotion *p, rung *r, const ct_board *b)
{
    ct_heap_item top;
    while (ct_heap_peek(&r->waiting, &top)) {
        waiter *w = &p->waiters[top.id];
        bool here = w->stage != ELSEWHERE && w->order == top.order;
        ct_trial_status s = here ? ct_board_status(b, top.id) : CT_TRIAL_TERMINATED;
        if (s == CT_TRIAL_PAUSED) {
            w->stage = PARKED;
            return top.id;
        }
        if (here && w->stage == PAUSING && s == CT_TRIAL_RUNNING) {
            return CT_TRIAL_NONE; /* it saves: ask again when it has paused */
        }
        if (here && (s == CT_TRIAL_RUNNING || s == CT_TRIAL_PENDING)) {
            ct_promotion_resumed(p, top.id);
        }
        (void)ct_heap_pop(&r->waiting, &top);
    }
    return CT_TRIAL_NONE;
}

/* Whether the score is among the best floor(n / eta), of which fewer have gone on. */
static bool
may_go_on(const ct_promotion *p, const rung *r, const ct_rungs *book, size_t at,
          double score)
{
    size_t quota = (size_t)floor((double)ct_rungs_recorded(book, at) / p->eta);
    double least;
    return r->promoted < quota && ct_rungs_nth_best(book, at, quota, &least) &&
           score >= least;
}

ct_trial_id
ct_promotion_choose(ct_promotion *p, ct_rungs *const *books, const ct_board *b)
{
    for (size_t s = 0; s < p->brackets; s++) {
        for (size_t k = 0; k < p->counts[s]; k++) { /* the highest first */
            ct_trial_id t = best_waiter(p, &p->rungs[s][k], b);
            if (t != CT_TRIAL_NONE &&
                may_go_on(p, &p->rungs[s][k], books[s], k, p->waiters[t].score)) {
                return t;
            }
        }
    }
    while (p->first < p->n_fresh) {
        if (ct_board_status(b, p->fresh[p->first]) == CT_TRIAL_PENDING) {
            return p->fresh[p->first];
        }
        p->first++;
    }
    return CT_TRIAL_NONE;
}

ct_status
ct_promotion_give_up(ct_promotion *p, ct_orders *orders, size_t *count, ct_err *err)
{
    ct_status st = CT_OK;
    *count = 0;
    for (ct_trial_id t = 0; st == CT_OK && t < p->trials; t++) {
        if (p->waiters[t].stage != ELSEWHERE) {
            st = ct_orders_add(orders, CT_ORDER_STOP, t, false, NULL, err);
            p->waiters[t].stage = ELSEWHERE;
            *count += 1;
        }
    }
    return st;
}

size_t
ct_promotion_count(const ct_promotion *p, size_t bracket, size_t at)
{
    return p->rungs[bracket][at].promoted;
}

/* ---- state ---- */

static ct_status
save_waiters(const ct_promotion *p, ct_value *to, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t t = 0; st == CT_OK && t < p->trials; t++) {
        const waiter *w = &p->waiters[t];
        const double row[] = {(double)t, (double)w->bracket, (double)w->rung,
                              (double)w->stage, w->score};
        if (w->stage != ELSEWHERE) {
            st = ct_value_push_numbers(to, row, sizeof row / sizeof row[0], err);
        }
    }
    return st;
}

static ct_status
save_counts(const ct_promotion *p, ct_value *to, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t s = 0; st == CT_OK && s < p->brackets; s++) {
        for (size_t k = 0; st == CT_OK && k < p->counts[s]; k++) {
            ct_value item = ct_i64((int64_t)p->rungs[s][k].promoted);
            st = ct_value_push(to, &item, err);
        }
    }
    return st;
}

static ct_status
save_fresh(const ct_promotion *p, ct_value *to, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t i = p->first; st == CT_OK && i < p->n_fresh; i++) {
        ct_value item = ct_i64((int64_t)p->fresh[i]);
        st = ct_value_push(to, &item, err);
    }
    return st;
}

ct_status
ct_promotion_save(const ct_promotion *p, ct_value *out, ct_err *err)
{
    ct_value parts[] = {ct_list(), ct_list(), ct_list()};
    ct_status st = save_waiters(p, &parts[0], err);
    if (st == CT_OK) {
        st = save_counts(p, &parts[1], err);
    }
    if (st == CT_OK) {
        st = save_fresh(p, &parts[2], err);
    }
    if (st == CT_OK) {
        return ct_value_list_of(out, parts, 3, err);
    }
    for (size_t i = 0; i < 3; i++) {
        ct_value_deinit(&parts[i]);
    }
    return st;
}

static ct_status
corrupt(ct_err *err)
{
    return ct_fail(err, CT_ECORRUPT, "promotion",
                   "the saved state of the rungs' queues is damaged");
}

static bool
is_list(const ct_value *v)
{
    return v->kind == CT_LIST || v->kind == CT_TUPLE;
}

/* A whole number from 0 to below the limit. */
static bool
whole(const ct_value *v, double limit, double *out)
{
    return ct_value_number(v, out) && *out >= 0.0 && *out < limit &&
           !(floor(*out) < *out);
}

static ct_status
restore_waiter(ct_promotion *p, const ct_value *v, ct_err *err)
{
    double t, s, k, at, score;
    if (!is_list(v) || v->len != 5 || !whole(&v->u.items[0], CT_TRIAL_NONE, &t) ||
        !whole(&v->u.items[1], (double)p->brackets, &s) ||
        !whole(&v->u.items[2], (double)p->counts[(size_t)s], &k) ||
        !whole(&v->u.items[3], PARKED + 1.0, &at) || at < PAUSING ||
        !ct_value_number(&v->u.items[4], &score)) {
        return corrupt(err);
    }
    ct_status st =
        ct_promotion_wait(p, (ct_trial_id)t, (size_t)s, (size_t)k, score, err);
    if (st == CT_OK) {
        p->waiters[(size_t)t].stage = (uint8_t)at;
    }
    return st;
}

static ct_status
restore_counts(ct_promotion *p, const ct_value *v, ct_err *err)
{
    uint32_t i = 0;
    for (size_t s = 0; s < p->brackets; s++) {
        for (size_t k = 0; k < p->counts[s]; k++, i++) {
            double count;
            if (i >= v->len || !whole(&v->u.items[i], 9e15, &count)) {
                return corrupt(err);
            }
            p->rungs[s][k].promoted = (size_t)count;
        }
    }
    return i == v->len ? CT_OK : corrupt(err);
}

ct_status
ct_promotion_restore(ct_promotion *p, const ct_value *v, ct_err *err)
{
    if (!is_list(v) || v->len != 3 || !is_list(&v->u.items[0]) ||
        !is_list(&v->u.items[1]) || !is_list(&v->u.items[2])) {
        return corrupt(err);
    }
    ct_status st = restore_counts(p, &v->u.items[1], err);
    for (uint32_t i = 0; st == CT_OK && i < v->u.items[0].len; i++) {
        st = restore_waiter(p, &v->u.items[0].u.items[i], err);
    }
    for (uint32_t i = 0; st == CT_OK && i < v->u.items[2].len; i++) {
        double t;
        if (!whole(&v->u.items[2].u.items[i], CT_TRIAL_NONE, &t)) {
            return corrupt(err);
        }
        uint8_t kept = (size_t)t < p->trials ? p->waiters[(size_t)t].stage : ELSEWHERE;
        st = ct_promotion_add(p, (ct_trial_id)t, err);
        if (st == CT_OK) {
            p->waiters[(size_t)t].stage = kept;
        }
    }
    return st;
}
