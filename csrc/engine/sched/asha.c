/* asha.c: asynchronous successive halving.
 *
 * Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
 * algorithm 2 with the stopping rule that Ray Tune documents: a trial that reaches a rung
 * is compared with those recorded there before it, and stops when its score is below the
 * rung's (1 - 1/eta) quantile; then it is recorded, stopped or not.
 *
 * In the promoting form a trial pauses at each rung that it reaches, and the best of a rung
 * go on when a worker is free (promotion.h).
 *
 * Bracket s has rungs at grace_period * eta^(k + s). Their number and every comparison
 * follow the documented expressions in their order of floating-point operations, because
 * users compare decisions: ln 1000 / ln 10 is 2.9999999999999996 and costs a rung there as
 * well. A NaN time reaches every rung; a NaN score never stops and moves no cutoff.
 *
 * Invariant: bracket_of[t] is the bracket of a known trial, NO_BRACKET otherwise. */
#include "sched/asha.h"

#include "base/mem.h"
#include "sched/fifo.h"
#include "sched/promotion.h"
#include "sched/rungs.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* each operation rounds for itself, as in Python */
#endif

#define NO_BRACKET UINT32_MAX
enum { BRACKETS_MAX = 65536, RUNGS_MAX = 65536 };

struct ct_asha {
    ct_scheduler scheduler; /* first */
    ct_asha_opts opts;
    double quantile;    /* percent */
    ct_rungs **rungs;   /* per bracket */
    double *cumulative; /* per bracket: chance of being drawn, summed up */
    size_t brackets;
    uint32_t *bracket_of; /* per trial */
    size_t trials;        /* length of bracket_of */
    uint64_t num_stopped;
    ct_promotion *promotion; /* NULL: the stopping form */
};

/* ---- construction ---- */

static ct_status
opts_check(const ct_asha_opts *o, ct_err *err)
{
    if (!(o->max_t > 0.0) || isinf(o->max_t)) {
        return ct_fail(err, CT_EINVAL, "max_t",
                       "must be a finite number greater than 0, got %g; it is the "
                       "progress at which every trial ends",
                       o->max_t);
    }
    if (!(o->grace_period > 0.0)) {
        return ct_fail(err, CT_EINVAL, "grace_period",
                       "must be greater than 0, got %g; 1 is the default",
                       o->grace_period);
    }
    if (o->grace_period > o->max_t) {
        return ct_fail(err, CT_EINVAL, "grace_period",
                       "must not exceed max_t (%g), got %g; lower it or raise max_t",
                       o->max_t, o->grace_period);
    }
    if (!(o->reduction_factor > 1.0) || isinf(o->reduction_factor)) {
        return ct_fail(
            err, CT_EINVAL, "reduction_factor",
            "must be a finite number greater than 1, got %g; 3 or 4 are usual",
            o->reduction_factor);
    }
    if (o->brackets < 1 || o->brackets > BRACKETS_MAX) {
        return ct_fail(err, CT_EINVAL, "brackets",
                       "must be from 1 to %d, got %lld; 1 is the default", BRACKETS_MAX,
                       (long long)o->brackets);
    }
    return CT_OK;
}

/* Truncation towards zero of the float expression, in this order. */
static ct_status
rungs_in_bracket(const ct_asha_opts *o, size_t s, size_t *out, ct_err *err)
{
    double n =
        log(o->max_t / o->grace_period) / log(o->reduction_factor) - (double)s + 1;
    if (!(n < (double)RUNGS_MAX + 1)) {
        return ct_fail(
            err, CT_EINVAL, "reduction_factor",
            "%g makes %g rungs between grace_period %g and max_t %g; at most "
            "%d are possible, so raise it (3 or 4 are usual)",
            o->reduction_factor, n, o->grace_period, o->max_t, RUNGS_MAX);
    }
    *out = n > 0.0 ? (size_t)n : 0;
    return CT_OK;
}

static ct_status
bracket_new(ct_rungs **out, const ct_asha_opts *o, size_t s, ct_err *err)
{
    size_t n = 0;
    ct_status st = rungs_in_bracket(o, s, &n, err);
    if (st != CT_OK) {
        return st;
    }
    double *milestones = ct_calloc(n > 0 ? n : 1, sizeof *milestones);
    if (milestones == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t i = 0; i < n; i++) { /* largest first */
        milestones[i] =
            o->grace_period * pow(o->reduction_factor, (double)(n - 1 - i + s));
    }
    st = ct_rungs_new(out, milestones, n, err);
    ct_free(milestones);
    return st;
}

/* Chances grow with e to the number of rungs, normalised twice: once as a distribution,
 * once as the sums that numpy.random.choice searches. */
static void
chances_fill(ct_asha *a)
{
    double e = 2.718281828459045;
    double max = (double)ct_rungs_count(a->rungs[0]); /* bracket 0 has the most */
    double total = 0.0;
    for (size_t s = 0; s < a->brackets; s++) {
        a->cumulative[s] = pow(e, (double)ct_rungs_count(a->rungs[s]) - max);
        total += a->cumulative[s];
    }
    double sum = 0.0;
    for (size_t s = 0; s < a->brackets; s++) {
        sum += a->cumulative[s] / total;
        a->cumulative[s] = sum;
    }
    for (size_t s = 0; s < a->brackets; s++) {
        a->cumulative[s] /= sum;
    }
}

static void
asha_free(ct_scheduler *s)
{
    ct_asha *a = (ct_asha *)s;
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; a->rungs != NULL && i < a->brackets; i++) {
        ct_rungs_free(a->rungs[i]);
    }
    ct_promotion_free(a->promotion);
    ct_free(a->rungs);
    ct_free(a->cumulative);
    ct_free(a->bracket_of);
    ct_free(a);
}

static ct_status
promotion_new(const ct_asha *a, ct_promotion **out, ct_err *err)
{
    size_t *counts = ct_calloc(a->brackets, sizeof *counts);
    if (counts == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t s = 0; s < a->brackets; s++) {
        counts[s] = ct_rungs_count(a->rungs[s]);
    }
    ct_status st =
        ct_promotion_new(out, counts, a->brackets, a->opts.reduction_factor, err);
    ct_free(counts);
    return st;
}

static const ct_scheduler_ops ASHA_OPS;

ct_status
ct_asha_new(ct_asha **out, const ct_asha_opts *opts, ct_err *err)
{
    ct_asha *a = NULL;
    ct_status st = opts_check(opts, err);
    if (st != CT_OK) {
        return st;
    }
    a = ct_calloc(1, sizeof *a);
    if (a == NULL) {
        return ct_fail_mem(err);
    }
    a->scheduler.ops = &ASHA_OPS;
    a->opts = *opts;
    a->quantile = (1 - 1 / opts->reduction_factor) * 100;
    a->brackets = (size_t)opts->brackets;
    a->rungs = ct_calloc(a->brackets, sizeof(ct_rungs *));
    a->cumulative = ct_calloc(a->brackets, sizeof *a->cumulative);
    if (a->rungs == NULL || a->cumulative == NULL) {
        st = ct_fail_mem(err);
        goto done;
    }
    for (size_t s = 0; s < a->brackets; s++) {
        st = bracket_new(&a->rungs[s], opts, s, err);
        if (st != CT_OK) {
            goto done;
        }
    }
    if (opts->promotion) {
        st = promotion_new(a, &a->promotion, err);
        if (st != CT_OK) {
            goto done;
        }
    }
    chances_fill(a);
    *out = a;
    a = NULL;
done:
    asha_free((ct_scheduler *)a);
    return st;
}

ct_scheduler *
ct_asha_scheduler(ct_asha *a)
{
    return &a->scheduler;
}

void
ct_asha_set_objective(ct_asha *a, ct_name metric, bool maximize)
{
    a->opts.metric = metric;
    a->opts.maximize = maximize;
}

void
ct_asha_set_time_attr(ct_asha *a, ct_name time_attr)
{
    a->opts.time_attr = time_attr;
}

void
ct_asha_set_rng(ct_asha *a, ct_rng *rng)
{
    a->opts.rng = rng;
}

/* ---- the algorithm ---- */

bool
ct_asha_knows(const ct_asha *a, ct_trial_id t)
{
    return t < a->trials && a->bracket_of[t] != NO_BRACKET;
}

static ct_status
trial_check(const ct_asha *a, ct_trial_id t, ct_err *err)
{
    if (ct_asha_knows(a, t)) {
        return CT_OK;
    }
    return ct_fail(err, CT_ESTATE, "trial",
                   "trial %u is not known to the scheduler; add it first", (unsigned)t);
}

static ct_status
trials_reserve(ct_asha *a, ct_trial_id t, ct_err *err)
{
    if (t < a->trials) {
        return CT_OK;
    }
    size_t n = a->trials * 2 > (size_t)t + 1 ? a->trials * 2 : (size_t)t + 1;
    n = n < 64 ? 64 : n;
    uint32_t *of = ct_realloc(a->bracket_of, n * sizeof *of);
    if (of == NULL) {
        return ct_fail_mem(err);
    }
    memset(of + a->trials, 0xFF, (n - a->trials) * sizeof *of); /* NO_BRACKET */
    a->bracket_of = of;
    a->trials = n;
    return CT_OK;
}

/* The first bracket whose summed chance is above u. */
static uint32_t
bracket_draw(const ct_asha *a, double u)
{
    size_t low = 0;
    size_t high = a->brackets;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (a->cumulative[mid] <= u) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return (uint32_t)(low < a->brackets ? low : a->brackets - 1);
}

ct_status
ct_asha_add(ct_asha *a, ct_trial_id t, ct_err *err)
{
    assert(t != CT_TRIAL_NONE);
    ct_status st = trials_reserve(a, t, err);
    if (st == CT_OK && a->promotion != NULL) {
        st = ct_promotion_add(a->promotion, t, err);
    }
    if (st == CT_OK) {
        a->bracket_of[t] = bracket_draw(a, a->opts.rng->next_double(a->opts.rng));
    }
    return st;
}

/* Walks down from the highest rung to the first one that the trial has reached and is not
 * recorded at. The comparisons are negated on purpose: they decide what NaN does. */
static ct_status
bracket_result(ct_asha *a, ct_trial_id t, double time, double score, ct_verdict *out,
               ct_err *err)
{
    ct_rungs *rungs = a->rungs[a->bracket_of[t]];
    size_t n = ct_rungs_count(rungs);
    *out = CT_CONTINUE;
    for (size_t k = 0; k < n; k++) {
        double milestone = ct_rungs_milestone(rungs, k);
        if (time < milestone) {
            continue;
        }
        if (ct_rungs_has(rungs, k, t)) {
            if (a->promotion != NULL ||
                (time >= milestone && !a->opts.stop_last_trials)) {
                break;
            }
            continue;
        }
        double cutoff;
        bool below = ct_rungs_cutoff(rungs, k, a->quantile, &cutoff) && score < cutoff;
        ct_status st = ct_rungs_record(rungs, k, t, score, err);
        if (st != CT_OK) {
            return st;
        }
        *out = below ? CT_STOP : CT_CONTINUE;
        if (a->promotion != NULL) {
            *out = CT_PAUSE;
            return ct_promotion_wait(a->promotion, t, a->bracket_of[t], k, score, err);
        }
        break;
    }
    return CT_OK;
}

static double
score_of(const ct_asha *a, double value)
{
    return a->opts.maximize ? value : -value;
}

bool
ct_asha_over(ct_asha *a, double time, ct_verdict *out)
{
    if (time < a->opts.max_t || isnan(time) || !a->opts.stop_last_trials) {
        return false;
    }
    *out = CT_STOP;
    a->num_stopped++;
    return true;
}

ct_status
ct_asha_result(ct_asha *a, ct_trial_id t, double time, double value, ct_verdict *out,
               ct_err *err)
{
    if (ct_asha_over(a, time, out)) {
        return CT_OK;
    }
    ct_status st = trial_check(a, t, err);
    if (st == CT_OK && a->promotion != NULL) {
        ct_promotion_resumed(a->promotion, t);
    }
    if (st == CT_OK) {
        st = bracket_result(a, t, time, score_of(a, value), out, err);
    }
    if (st == CT_OK && *out == CT_STOP) {
        a->num_stopped++;
    }
    return st;
}

ct_status
ct_asha_complete(ct_asha *a, ct_trial_id t, double time, double value, ct_err *err)
{
    ct_verdict ignored;
    ct_status st = trial_check(a, t, err);
    if (st == CT_OK) {
        st = bracket_result(a, t, time, score_of(a, value), &ignored, err);
    }
    if (st == CT_OK) {
        ct_asha_remove(a, t);
    }
    return st;
}

void
ct_asha_remove(ct_asha *a, ct_trial_id t)
{
    if (t < a->trials) {
        a->bracket_of[t] = NO_BRACKET;
    }
    if (a->promotion != NULL) {
        ct_promotion_forget(a->promotion, t);
    }
}

bool
ct_asha_chooses(const ct_asha *a)
{
    return a->promotion != NULL;
}

size_t
ct_asha_promoted(const ct_asha *a, size_t bracket, size_t rung)
{
    return a->promotion != NULL ? ct_promotion_count(a->promotion, bracket, rung) : 0;
}

/* ---- for display and tests ---- */

uint64_t
ct_asha_num_stopped(const ct_asha *a)
{
    return a->num_stopped;
}

size_t
ct_asha_brackets(const ct_asha *a)
{
    return a->brackets;
}

size_t
ct_asha_rungs(const ct_asha *a, size_t bracket)
{
    return ct_rungs_count(a->rungs[bracket]);
}

double
ct_asha_milestone(const ct_asha *a, size_t bracket, size_t rung)
{
    return ct_rungs_milestone(a->rungs[bracket], rung);
}

size_t
ct_asha_recorded(const ct_asha *a, size_t bracket, size_t rung)
{
    return ct_rungs_recorded(a->rungs[bracket], rung);
}

bool
ct_asha_cutoff(const ct_asha *a, size_t bracket, size_t rung, double *out)
{
    return ct_rungs_cutoff(a->rungs[bracket], rung, a->quantile, out);
}

static ct_status
rung_describe(const ct_asha *a, size_t s, size_t k, ct_buf *out, ct_err *err)
{
    char text[32] = "None";
    double cutoff;
    if (ct_asha_cutoff(a, s, k, &cutoff)) {
        text[ct_format_f64(cutoff, text)] = '\0';
    }
    return ct_buf_printf(out, err, "%sIter %.3f: %s", k > 0 ? " | " : "",
                         ct_asha_milestone(a, s, k), text);
}

ct_status
ct_asha_describe(const ct_asha *a, ct_buf *out, ct_err *err)
{
    ct_status st = ct_buf_printf(out, err, "Using AsyncHyperBand: num_stopped=%llu",
                                 (unsigned long long)a->num_stopped);
    for (size_t s = 0; st == CT_OK && s < a->brackets; s++) {
        st = ct_buf_puts(out, "\nBracket: ", err);
        for (size_t k = 0; st == CT_OK && k < ct_asha_rungs(a, s); k++) {
            st = rung_describe(a, s, k, out, err);
        }
    }
    return st;
}

/* ---- state: {"num_stopped": i64, "bracket_of": [i64], "rungs": [book]}, and "promotion"
 * in that form ---- */

static ct_status
put(ct_value *dict, ct_names *names, const char *key, ct_value *item, ct_err *err)
{
    ct_name name;
    ct_status st = ct_names_intern(names, key, strlen(key), &name, err);
    if (st != CT_OK) {
        ct_value_deinit(item);
        return st;
    }
    return ct_value_put(dict, name, item, err);
}

static const ct_value *
get(const ct_value *dict, const ct_names *names, const char *key)
{
    ct_name name = ct_names_find(names, key, strlen(key));
    return dict->kind == CT_DICT && name != CT_NAME_NONE ? ct_value_get(dict, name)
                                                         : NULL;
}

/* -1 stands for a trial that is not known; the unused tail of the array is left out. */
static ct_status
save_trials(const ct_asha *a, ct_value *out, ct_err *err)
{
    size_t n = a->trials;
    while (n > 0 && a->bracket_of[n - 1] == NO_BRACKET) {
        n--;
    }
    ct_status st = CT_OK;
    for (size_t t = 0; st == CT_OK && t < n; t++) {
        uint32_t b = a->bracket_of[t];
        ct_value item = ct_i64(b != NO_BRACKET ? (int64_t)b : -1);
        st = ct_value_push(out, &item, err);
    }
    return st;
}

static ct_status
save_books(const ct_asha *a, ct_names *names, ct_value *out, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t s = 0; st == CT_OK && s < a->brackets; s++) {
        ct_value book = ct_nil();
        st = ct_rungs_save(a->rungs[s], names, &book, err);
        if (st == CT_OK) {
            st = ct_value_push(out, &book, err);
        }
    }
    return st;
}

ct_status
ct_asha_save(const ct_asha *a, ct_names *names, ct_value *out, ct_err *err)
{
    ct_value dict = ct_dict();
    ct_value trials = ct_list();
    ct_value books = ct_list();
    ct_value stopped = ct_i64((int64_t)a->num_stopped);
    ct_status st = save_trials(a, &trials, err);
    if (st == CT_OK) {
        st = save_books(a, names, &books, err);
    }
    if (st == CT_OK) {
        st = put(&dict, names, "num_stopped", &stopped, err);
    }
    if (st == CT_OK) {
        st = put(&dict, names, "bracket_of", &trials, err);
    }
    if (st == CT_OK) {
        st = put(&dict, names, "rungs", &books, err);
    }
    if (st == CT_OK && a->promotion != NULL) {
        ct_value queues = ct_nil();
        st = ct_promotion_save(a->promotion, &queues, err);
        if (st == CT_OK) {
            st = put(&dict, names, "promotion", &queues, err);
        }
    }
    if (st == CT_OK) {
        *out = dict;
        dict = ct_nil();
    }
    ct_value_deinit(&trials);
    ct_value_deinit(&books);
    ct_value_deinit(&dict);
    return st;
}

static ct_status
restore_trials(const ct_value *v, size_t brackets, uint32_t **out, ct_err *err)
{
    uint32_t *of = ct_calloc(v->len > 0 ? v->len : 1, sizeof *of);
    if (of == NULL) {
        return ct_fail_mem(err);
    }
    for (uint32_t t = 0; t < v->len; t++) {
        const ct_value *item = &v->u.items[t];
        if (item->kind != CT_I64 || item->u.i < -1 || item->u.i >= (int64_t)brackets) {
            ct_free(of);
            return ct_fail(err, CT_ECORRUPT, "bracket_of",
                           "trial %u has no valid bracket in the saved state",
                           (unsigned)t);
        }
        of[t] = item->u.i >= 0 ? (uint32_t)item->u.i : NO_BRACKET;
    }
    *out = of;
    return CT_OK;
}

/* Fills books with restored copies of the scheduler's own. */
static ct_status
restore_books(const ct_asha *a, ct_names *names, const ct_value *v, ct_rungs **books,
              ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t s = 0; st == CT_OK && s < a->brackets; s++) {
        st = bracket_new(&books[s], &a->opts, s, err);
        if (st == CT_OK) {
            st = ct_rungs_restore(&books[s], names, &v->u.items[s], err);
        }
    }
    return st;
}

/* The last thing that can fail: it replaces the queues. */
static ct_status
restore_promotion(ct_asha *a, const ct_value *v, ct_err *err)
{
    ct_promotion *fresh = NULL;
    if (v == NULL) {
        return ct_fail(err, CT_ECORRUPT, "promotion",
                       "the saved state is one of the stopping form; use the options "
                       "that it was saved with");
    }
    ct_status st = promotion_new(a, &fresh, err);
    if (st == CT_OK) {
        st = ct_promotion_restore(fresh, v, err);
    }
    if (st == CT_OK) {
        ct_promotion *old = a->promotion;
        a->promotion = fresh;
        fresh = old;
    }
    ct_promotion_free(fresh);
    return st;
}

ct_status
ct_asha_restore(ct_asha *a, ct_names *names, const ct_value *v, ct_err *err)
{
    const ct_value *stopped = get(v, names, "num_stopped");
    const ct_value *trials = get(v, names, "bracket_of");
    const ct_value *books = get(v, names, "rungs");
    if (stopped == NULL || stopped->kind != CT_I64 || trials == NULL ||
        trials->kind != CT_LIST || books == NULL || books->kind != CT_LIST) {
        return ct_fail(err, CT_ECORRUPT, "state",
                       "the saved state is not one of AsyncHyperBandScheduler");
    }
    if (books->len != a->brackets) {
        return ct_fail(
            err, CT_ECORRUPT, "brackets",
            "the saved state has %u brackets and this scheduler has %zu; use "
            "the options that it was saved with",
            (unsigned)books->len, a->brackets);
    }
    uint32_t *of = NULL;
    ct_rungs **fresh = ct_calloc(a->brackets, sizeof(ct_rungs *));
    ct_status st = fresh != NULL ? restore_trials(trials, a->brackets, &of, err)
                                 : ct_fail_mem(err);
    if (st == CT_OK) {
        st = restore_books(a, names, books, fresh, err);
    }
    if (st == CT_OK && a->promotion != NULL) {
        st = restore_promotion(a, get(v, names, "promotion"), err);
    }
    if (st == CT_OK) {
        ct_rungs **old = a->rungs;
        uint32_t *old_of = a->bracket_of;
        a->rungs = fresh;
        a->bracket_of = of;
        a->trials = trials->len;
        a->num_stopped = (uint64_t)stopped->u.i;
        fresh = old;
        of = old_of;
    }
    for (size_t s = 0; fresh != NULL && s < a->brackets; s++) {
        ct_rungs_free(fresh[s]);
    }
    ct_free(fresh);
    ct_free(of);
    return st;
}

/* ---- as a policy ---- */

static bool
result_numbers(const ct_asha *a, const ct_result *r, double *time, double *value)
{
    return r != NULL && ct_result_get(r, a->opts.time_attr, time) &&
           ct_result_get(r, a->opts.metric, value);
}

static ct_status
asha_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
            ct_err *err)
{
    (void)b;
    (void)orders;
    return ct_asha_add((ct_asha *)s, t, err);
}

static ct_status
asha_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               ct_verdict *out, ct_orders *orders, ct_err *err)
{
    (void)b;
    (void)orders;
    ct_asha *a = (ct_asha *)s;
    double time;
    double value;
    *out = CT_CONTINUE;
    return result_numbers(a, r, &time, &value)
               ? ct_asha_result(a, t, time, value, out, err)
               : CT_OK;
}

/* Without both numbers the trial stays known, as documented. */
static ct_status
asha_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                 ct_orders *orders, ct_err *err)
{
    (void)b;
    (void)orders;
    ct_asha *a = (ct_asha *)s;
    double time;
    double value;
    return result_numbers(a, r, &time, &value)
               ? ct_asha_complete(a, t, time, value, err)
               : CT_OK;
}

static ct_status
asha_on_remove(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
               ct_err *err)
{
    (void)b;
    (void)orders;
    (void)err;
    ct_asha_remove((ct_asha *)s, t);
    return CT_OK;
}

static ct_status
asha_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
            ct_err *err)
{
    ct_asha *a = (ct_asha *)s;
    if (a->promotion == NULL) {
        *out = ct_fifo_choose(b);
        return CT_OK;
    }
    *out = ct_promotion_choose(a->promotion, a->rungs, b);
    if (*out != CT_TRIAL_NONE ||
        ct_board_any(b, CT_STATUS(CT_TRIAL_RUNNING) | CT_STATUS(CT_TRIAL_PENDING))) {
        return CT_OK;
    }
    size_t given_up;
    ct_status st = ct_promotion_give_up(a->promotion, orders, &given_up, err);
    a->num_stopped += given_up;
    return st;
}

static ct_status
asha_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    return ct_asha_save((const ct_asha *)s, names, out, err);
}

static ct_status
asha_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    return ct_asha_restore((ct_asha *)s, names, v, err);
}

static ct_status
asha_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    (void)b;
    return ct_asha_describe((const ct_asha *)s, out, err);
}

static const ct_scheduler_ops ASHA_OPS = {
    .name = "async_hyperband",
    .foreign = false,
    .supports_buffering = true,
    .on_add = asha_on_add,
    .on_result = asha_on_result,
    .on_complete = asha_on_complete,
    .on_error = ct_scheduler_ignore,
    .on_remove = asha_on_remove,
    .choose = asha_choose,
    .save = asha_save,
    .restore = asha_restore,
    .describe = asha_describe,
    .free = asha_free,
};
