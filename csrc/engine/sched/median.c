/* median.c: see median.h.
 *
 * Each trial keeps its results. A decision at time t needs the median of the means of all
 * trials that have come as far as t. Means are NumPy's, rounded as it rounds them. When a
 * time is asked about a second time, the means at it are kept in order (a cut), and each
 * trial that passes it adds its own: with times that trials have in common, as iterations
 * are, nobody scans the trials. Wall-clock times are all different: then a decision scans. */
#include "sched/median.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/ostat.h"
#include "base/stats.h"
#include "sched/fifo.h"

#include <math.h>
#include <string.h>

typedef struct series {
    double *time;
    double *value;
    size_t count; /* 0: nothing was reported */
    size_t cap_time;
    size_t cap_value;
    bool backwards; /* some time was smaller than the one before */
    bool stopped;
    double best;
    double last_pause;
} series;

/* The means at a time of the trials that have passed it. */
typedef struct cut {
    double time;
    ct_ostat *means;
    size_t nan; /* so many more are NaN */
} cut;

struct ct_median {
    ct_scheduler scheduler; /* first */
    ct_median_opts opts;
    series *trials;
    size_t count;
    size_t cap;
    cut *cuts; /* by time */
    size_t n_cuts;
    size_t cuts_cap;
    ct_map asked; /* bits of the times asked about */
    uint64_t num_stopped;
    double *scratch;
    size_t scratch_cap;
};

/* ---- series ---- */

static double
latest(const series *s)
{
    return s->time[s->count - 1];
}

/* Positions [*from, *to) of the results at times in [low, high], for ordered times. */
static void
window(const series *s, double low, double high, size_t *from, size_t *to)
{
    size_t a = 0;
    size_t n = s->count;
    while (n > 0) { /* the first one at low or later */
        size_t half = n / 2;
        if (s->time[a + half] < low) {
            a += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    *from = a;
    n = s->count - a;
    while (n > 0) { /* the first one after high */
        size_t half = n / 2;
        if (s->time[a + half] <= high) {
            a += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    *to = a;
}

static ct_status
mean_at(ct_median *m, const series *s, double t, double *out, ct_err *err)
{
    if (!s->backwards) {
        size_t from, to;
        window(s, m->opts.grace_period, t, &from, &to);
        *out = ct_mean(s->value + from, to - from);
        return CT_OK;
    }
    size_t n = 0;
    ct_status st = ct_grow((void **)&m->scratch, &m->scratch_cap, s->count,
                           sizeof *m->scratch, err);
    for (size_t i = 0; st == CT_OK && i < s->count; i++) {
        if (s->time[i] >= m->opts.grace_period && s->time[i] <= t) {
            m->scratch[n++] = s->value[i];
        }
    }
    *out = st == CT_OK ? ct_mean(m->scratch, n) : 0.0;
    return st;
}

static ct_status
series_add(const ct_median *m, series *s, double time, double value, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&s->time, &s->cap_time, s->count + 1, sizeof *s->time, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&s->value, &s->cap_value, s->count + 1, sizeof *s->value,
                     err);
    }
    if (st != CT_OK) {
        return st;
    }
    s->backwards = s->backwards || (s->count > 0 && !(time >= latest(s)));
    if (s->count == 0 || (m->opts.maximize ? value > s->best : value < s->best)) {
        s->best = value; /* a NaN that comes first stays, as with Python's max */
    }
    s->time[s->count] = time;
    s->value[s->count] = value;
    s->count++;
    return CT_OK;
}

/* ---- cuts ---- */

static void
cuts_clear(ct_median *m)
{
    for (size_t i = 0; i < m->n_cuts; i++) {
        ct_ostat_free(m->cuts[i].means);
    }
    m->n_cuts = 0;
}

/* The first cut at t or later. */
static size_t
cut_at(const ct_median *m, double t)
{
    size_t a = 0;
    size_t n = m->n_cuts;
    while (n > 0) {
        size_t half = n / 2;
        if (m->cuts[a + half].time < t) {
            a += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return a;
}

static ct_status
cut_insert(cut *c, double mean, ct_err *err)
{
    if (isnan(mean)) {
        c->nan++;
        return CT_OK;
    }
    return ct_ostat_insert(c->means, mean, err);
}

static void
cut_remove(cut *c, double mean)
{
    if (isnan(mean)) {
        c->nan--;
    } else {
        (void)ct_ostat_remove(c->means, mean);
    }
}

/* A new cut with everyone who has passed it. */
static ct_status
cut_make(ct_median *m, size_t at, double t, ct_err *err)
{
    ct_ostat *means = NULL;
    ct_status st =
        ct_grow((void **)&m->cuts, &m->cuts_cap, m->n_cuts + 1, sizeof *m->cuts, err);
    if (st == CT_OK) {
        st = ct_ostat_new(&means, err);
    }
    cut fresh = {t, means, 0};
    for (size_t i = 0; st == CT_OK && i < m->count; i++) {
        const series *s = &m->trials[i];
        double mean;
        if (s->count == 0 || !(latest(s) >= t)) {
            continue;
        }
        st = mean_at(m, s, t, &mean, err);
        if (st == CT_OK) {
            st = cut_insert(&fresh, mean, err);
        }
    }
    if (st != CT_OK) {
        ct_ostat_free(means);
        return st;
    }
    memmove(m->cuts + at + 1, m->cuts + at, (m->n_cuts - at) * sizeof *m->cuts);
    m->cuts[at] = fresh;
    m->n_cuts++;
    return CT_OK;
}

/* A result more: its trial passes the cuts between its last time and this one. */
static ct_status
record(ct_median *m, series *s, double time, double value, ct_err *err)
{
    double before = s->count > 0 ? latest(s) : -INFINITY;
    double old = 0.0;
    size_t i = cut_at(m, before);
    bool again = i < m->n_cuts && s->count > 0 && !(m->cuts[i].time > before) &&
                 !(time > before); /* a second result at the time of a cut */
    ct_status st = CT_OK;
    if (again) {
        st = mean_at(m, s, before, &old, err);
    }
    if (st == CT_OK) {
        st = series_add(m, s, time, value, err);
    }
    if (st != CT_OK) {
        return st;
    }
    if (s->backwards) { /* it has left cuts behind which it stood */
        cuts_clear(m);
        return CT_OK;
    }
    if (again) {
        cut_remove(&m->cuts[i], old);
    } else if (i < m->n_cuts && s->count > 1 && !(m->cuts[i].time > before)) {
        i++; /* it is in that one already */
    }
    for (; st == CT_OK && i < m->n_cuts && m->cuts[i].time <= time; i++) {
        double mean;
        st = mean_at(m, s, m->cuts[i].time, &mean, err);
        if (st == CT_OK) {
            st = cut_insert(&m->cuts[i], mean, err);
        }
    }
    if (st != CT_OK) {
        cuts_clear(m); /* made anew when they are needed */
    }
    return st;
}

/* ---- medians ---- */

/* What others have at t: how many, and their median. */
typedef struct others {
    size_t count;
    double median;
} others;

static double
median_of(double low, double high)
{
    return (low + high) / 2.0;
}

/* The median of a cut without one of its values. */
static double
cut_median(const cut *c, double own)
{
    size_t nan = c->nan - (isnan(own) ? 1 : 0);
    size_t n = ct_ostat_count(c->means) - (isnan(own) ? 0 : 1);
    if (nan > 0 || n == 0) {
        return NAN;
    }
    double mid[2];
    for (size_t k = 0; k < 2; k++) {
        size_t rank = (n - 1 + k) / 2;
        double v = ct_ostat_at(c->means, rank);
        if (!isnan(own) && v >= own) { /* own, or one like it, lies before */
            v = ct_ostat_at(c->means, rank + 1);
        }
        mid[k] = v;
    }
    return n % 2 == 1 ? mid[0] : median_of(mid[0], mid[1]);
}

static ct_status
scan(ct_median *m, const series *self, double t, others *out, ct_err *err)
{
    ct_ostat *means = NULL;
    bool nan = false;
    ct_status st = ct_ostat_new(&means, err);
    out->count = 0;
    for (size_t i = 0; st == CT_OK && i < m->count; i++) {
        const series *s = &m->trials[i];
        double mean;
        if (s == self || s->count == 0 || !(latest(s) >= t)) {
            continue;
        }
        out->count++;
        st = mean_at(m, s, t, &mean, err);
        if (st == CT_OK && isnan(mean)) {
            nan = true;
        } else if (st == CT_OK) {
            st = ct_ostat_insert(means, mean, err);
        }
    }
    size_t n = st == CT_OK ? ct_ostat_count(means) : 0;
    if (nan || n == 0) {
        out->median = NAN;
    } else if (n % 2 == 1) {
        out->median = ct_ostat_at(means, n / 2);
    } else {
        out->median =
            median_of(ct_ostat_at(means, n / 2 - 1), ct_ostat_at(means, n / 2));
    }
    ct_ostat_free(means);
    return st;
}

static ct_status
look_at_others(ct_median *m, const series *self, double t, others *out, ct_err *err)
{
    size_t at = cut_at(m, t);
    double own;
    uint64_t bits;
    uint32_t times;
    if (at >= m->n_cuts || m->cuts[at].time > t) {
        memcpy(&bits, &t, sizeof bits);
        if (!ct_map_get(&m->asked, bits, &times)) {
            ct_status st = ct_map_put(&m->asked, bits, 1, err);
            return st == CT_OK ? scan(m, self, t, out, err) : st;
        }
        ct_status st = cut_make(m, at, t, err);
        if (st != CT_OK) {
            return st;
        }
    }
    ct_status st = mean_at(m, self, t, &own, err);
    const cut *c = &m->cuts[at];
    out->count = ct_ostat_count(c->means) + c->nan - 1;
    out->median = st == CT_OK ? cut_median(c, own) : NAN;
    return st;
}

/* ---- decisions ---- */

static ct_status
reach_trial(ct_median *m, ct_trial_id t, ct_err *err)
{
    if (t < m->count) {
        return CT_OK;
    }
    ct_status st =
        ct_grow((void **)&m->trials, &m->cap, (size_t)t + 1, sizeof *m->trials, err);
    for (; st == CT_OK && m->count <= t; m->count++) {
        m->trials[m->count] = (series){.last_pause = -INFINITY};
    }
    return st;
}

static ct_verdict
too_few(const ct_median *m, series *s, const ct_board *b, double time)
{
    if (time - s->last_pause > m->opts.min_time_slice &&
        ct_board_any(b, CT_STATUSES_WAITING)) {
        s->last_pause = time;
        return CT_PAUSE;
    }
    return CT_CONTINUE;
}

/* NaN is no better than anything, and nothing is better than a NaN that came first. */
static bool
is_worse(const ct_median *m, double best, double median)
{
    bool beaten = m->opts.maximize ? best > median : best < median;
    double winner = beaten ? best : median;
    return !(winner <= best && winner >= best);
}

static ct_status
median_on_result(ct_scheduler *sched, const ct_board *b, ct_trial_id t,
                 const ct_result *r, ct_verdict *out, ct_orders *orders, ct_err *err)
{
    (void)orders;
    ct_median *m = (ct_median *)sched;
    double time;
    double value;
    *out = CT_CONTINUE;
    if (!ct_result_get(r, m->opts.time_attr, &time) ||
        !ct_result_get(r, m->opts.metric, &value)) {
        return CT_OK;
    }
    ct_status st = reach_trial(m, t, err);
    if (st != CT_OK || m->trials[t].stopped) {
        return st;
    }
    series *s = &m->trials[t];
    others seen = {0, NAN};
    st = record(m, s, time, value, err);
    if (st != CT_OK || time < m->opts.grace_period) {
        return st;
    }
    st = look_at_others(m, s, time, &seen, err);
    if (st != CT_OK) {
        return st;
    }
    if ((double)seen.count < m->opts.min_samples_required) {
        *out = too_few(m, s, b, time);
    } else if (is_worse(m, s->best, seen.median)) {
        s->stopped = true;
        m->num_stopped++;
        *out = m->opts.hard_stop ? CT_STOP : CT_PAUSE;
    }
    return CT_OK;
}

/* The last result counts once more, as documented. */
static ct_status
median_on_complete(ct_scheduler *sched, const ct_board *b, ct_trial_id t,
                   const ct_result *r, ct_orders *orders, ct_err *err)
{
    (void)b;
    (void)orders;
    ct_median *m = (ct_median *)sched;
    double time;
    double value;
    if (r == NULL || !ct_result_get(r, m->opts.time_attr, &time) ||
        !ct_result_get(r, m->opts.metric, &value)) {
        return CT_OK;
    }
    ct_status st = reach_trial(m, t, err);
    return st == CT_OK ? record(m, &m->trials[t], time, value, err) : st;
}

static ct_status
median_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    (void)b;
    return ct_buf_printf(out, err, "Using MedianStoppingRule: num_stopped=%llu.",
                         (unsigned long long)((const ct_median *)s)->num_stopped);
}

/* ---- state: [[trial, stopped, last_pause, [time], [value]]] of those that reported ---- */

static ct_status
series_save(const series *s, size_t t, ct_value *to, ct_err *err)
{
    ct_value list = ct_list();
    ct_value number = ct_i64((int64_t)t);
    ct_value stopped = ct_bool(s->stopped);
    ct_value pause = ct_f64(s->last_pause);
    ct_status st = ct_value_push(&list, &number, err);
    if (st == CT_OK) {
        st = ct_value_push(&list, &stopped, err);
    }
    if (st == CT_OK) {
        st = ct_value_push(&list, &pause, err);
    }
    if (st == CT_OK) {
        st = ct_value_push_numbers(&list, s->time, s->count, err);
    }
    if (st == CT_OK) {
        st = ct_value_push_numbers(&list, s->value, s->count, err);
    }
    if (st == CT_OK) {
        return ct_value_push(to, &list, err);
    }
    ct_value_deinit(&list);
    return st;
}

static ct_status
median_save(ct_scheduler *sched, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names;
    const ct_median *m = (const ct_median *)sched;
    ct_value list = ct_list();
    ct_status st = CT_OK;
    for (size_t t = 0; st == CT_OK && t < m->count; t++) {
        if (m->trials[t].count > 0) {
            st = series_save(&m->trials[t], t, &list, err);
        }
    }
    if (st == CT_OK) {
        *out = list;
        list = ct_nil();
    }
    ct_value_deinit(&list);
    return st;
}

static bool
is_list(const ct_value *v)
{
    return v->kind == CT_LIST || v->kind == CT_TUPLE;
}

static ct_status
series_restore(ct_median *m, const ct_value *v, ct_err *err)
{
    const ct_value *in = is_list(v) && v->len == 5 ? v->u.items : NULL;
    double pause = 0.0;
    if (in == NULL || in[0].kind != CT_I64 || in[0].u.i < 0 ||
        in[0].u.i >= (int64_t)CT_TRIAL_NONE || in[1].kind != CT_BOOL ||
        !ct_value_number(&in[2], &pause) || !is_list(&in[3]) || !is_list(&in[4]) ||
        in[3].len != in[4].len) {
        return ct_fail(err, CT_ECORRUPT, "state",
                       "the saved state is not one of MedianStoppingRule");
    }
    ct_trial_id t = (ct_trial_id)in[0].u.i;
    ct_status st = reach_trial(m, t, err);
    for (uint32_t i = 0; st == CT_OK && i < in[3].len; i++) {
        double time, value;
        if (!ct_value_number(&in[3].u.items[i], &time) ||
            !ct_value_number(&in[4].u.items[i], &value)) {
            return ct_fail(err, CT_ECORRUPT, "state",
                           "the saved result %u of trial number %u is no number",
                           (unsigned)i, (unsigned)t);
        }
        st = series_add(m, &m->trials[t], time, value, err);
    }
    if (st == CT_OK) {
        m->trials[t].last_pause = pause;
        m->trials[t].stopped = in[1].u.b;
        m->num_stopped += in[1].u.b ? 1 : 0;
    }
    return st;
}

static ct_status
median_restore(ct_scheduler *sched, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)names;
    ct_median *m = (ct_median *)sched;
    ct_median *fresh = NULL;
    if (!is_list(v)) {
        return ct_fail(err, CT_ECORRUPT, "state",
                       "the saved state is not one of MedianStoppingRule");
    }
    ct_status st = ct_median_new(&fresh, &m->opts, err);
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        st = series_restore(fresh, &v->u.items[i], err);
    }
    if (st == CT_OK) { /* the old content goes with the other one */
        ct_median old = *m;
        *m = *fresh;
        *fresh = old;
    }
    if (fresh != NULL) {
        fresh->scheduler.ops->free(&fresh->scheduler);
    }
    return st;
}

/* ---- life ---- */

static void
median_free(ct_scheduler *sched)
{
    ct_median *m = (ct_median *)sched;
    cuts_clear(m);
    for (size_t i = 0; i < m->count; i++) {
        ct_free(m->trials[i].time);
        ct_free(m->trials[i].value);
    }
    ct_free(m->trials);
    ct_free(m->cuts);
    ct_free(m->scratch);
    ct_map_deinit(&m->asked);
    ct_free(m);
}

static const ct_scheduler_ops MEDIAN_OPS = {
    .name = "median_stopping_rule",
    .foreign = false,
    .supports_buffering = true,
    .on_add = ct_scheduler_ignore,
    .on_result = median_on_result,
    .on_complete = median_on_complete,
    .on_error = ct_scheduler_ignore,
    .on_remove = ct_scheduler_ignore,
    .choose = ct_fifo_op_choose,
    .save = median_save,
    .restore = median_restore,
    .describe = median_describe,
    .free = median_free,
};

ct_status
ct_median_new(ct_median **out, const ct_median_opts *opts, ct_err *err)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"grace_period", opts->grace_period},
                   {"min_samples_required", opts->min_samples_required},
                   {"min_time_slice", opts->min_time_slice}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!(numbers[i].value >= 0.0)) {
            return ct_fail(err, CT_EINVAL, numbers[i].name,
                           "must not be negative, got %g", numbers[i].value);
        }
    }
    ct_median *m = ct_calloc(1, sizeof *m);
    if (m == NULL) {
        return ct_fail_mem(err);
    }
    m->scheduler.ops = &MEDIAN_OPS;
    m->opts = *opts;
    *out = m;
    return CT_OK;
}

ct_scheduler *
ct_median_scheduler(ct_median *m)
{
    return &m->scheduler;
}

void
ct_median_set_mode(ct_median *m, bool maximize)
{
    m->opts.maximize = maximize;
}

uint64_t
ct_median_num_stopped(const ct_median *m)
{
    return m->num_stopped;
}
