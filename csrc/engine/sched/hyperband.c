/* hyperband.c: see hyperband.h.
 *
 * A band is a list of brackets s = 0, 1, 2, …; a full band is followed by another. A
 * bracket keeps its trials in the order in which they came. It counts those that have not
 * reached the milestone, so a result costs O(1) unless it completes a round, and it marks
 * those that may be started, so choosing does not look at the others.
 *
 * A trial that is ordered to stop leaves its bracket at once: what the order brings about
 * later changes nothing any more. */
#include "sched/hyperband.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    ct_trial_id trial;
    bool live;
    bool reported;  /* time is that of a result */
    bool measured;  /* value too */
    bool unpause;   /* paused, and may go on */
    bool told;      /* the last answer was PAUSE */
    bool candidate; /* may be what choose looks for */
    double time;
    double value;
} entry;

typedef struct bracket {
    double n; /* trials that a round keeps */
    double r; /* milestone */
    int64_t halves;
    double progress;
    double work;
    bool processed; /* halved, if only without trials */
    entry *entries;
    size_t count;
    size_t cap;
    size_t live;
    size_t below;      /* live ones before the milestone */
    size_t candidates; /* marked */
    size_t first;      /* none before it is marked */
} bracket;

typedef struct band {
    bracket **brackets; /* NULL: too small to have trials */
    size_t count;
} band;

typedef struct place {
    bracket *bracket; /* NULL: never added */
    size_t band;
    size_t at;
} place;

struct ct_hyperband {
    ct_scheduler scheduler; /* first */
    ct_hyperband_opts opts;
    size_t rounds; /* brackets of a band */
    band *bands;
    size_t count;
    size_t cap;
    size_t first; /* no band before it has a candidate */
    bracket *filling;
    place *places; /* by trial */
    size_t trials;
    size_t trials_cap;
    uint64_t num_stopped;
};

/* ---- the formulas ---- */

size_t
ct_hyperband_rounds(const ct_hyperband *h)
{
    return h->rounds;
}

void
ct_hyperband_plan(const ct_hyperband *h, size_t s, double *n0, double *r0)
{
    double eta = h->opts.reduction_factor;
    *n0 = ceil((double)h->rounds / (double)(s + 1) * pow(eta, (double)s));
    *r0 = trunc(h->opts.max_t * pow(eta, -(double)s));
}

static double
total_work(const ct_hyperband *h, double n, double r, size_t s)
{
    double work = 0.0;
    double first = r;
    for (size_t i = 0; i <= s; i++) {
        work += n * r;
        n = ceil(n / h->opts.reduction_factor);
        r = trunc(fmin(r * h->opts.reduction_factor, h->opts.max_t - first));
    }
    return work;
}

/* ---- brackets ---- */

static void
bracket_free(bracket *b)
{
    if (b != NULL) {
        ct_free(b->entries);
        ct_free(b);
    }
}

static ct_status
bracket_new(bracket **out, const ct_hyperband *h, size_t s, ct_err *err)
{
    bracket *b = ct_calloc(1, sizeof *b);
    if (b == NULL) {
        return ct_fail_mem(err);
    }
    ct_hyperband_plan(h, s, &b->n, &b->r);
    b->halves = (int64_t)s;
    b->work = total_work(h, b->n, b->r, s);
    *out = b;
    return CT_OK;
}

static bool
is_below(const bracket *b, const entry *e)
{
    return e->time < b->r;
}

static bool
finished(const ct_hyperband *h, const bracket *b)
{
    return h->opts.stop_last_trials && b->halves == 0 && b->below == 0;
}

static bool
filled(const bracket *b)
{
    return (double)b->live >= b->n;
}

static bool
may_continue(const ct_hyperband *h, const bracket *b, double time)
{
    return (b->halves == 0 && !h->opts.stop_last_trials) || time < b->r;
}

static double
completion(const ct_hyperband *h, const bracket *b)
{
    return finished(h, b) ? 1.0 : fmin(b->progress / b->work, 1.0);
}

static void
mark(ct_hyperband *h, bracket *b, size_t band_at, size_t at)
{
    if (!b->entries[at].candidate) {
        b->entries[at].candidate = true;
        b->candidates++;
    }
    b->first = at < b->first ? at : b->first;
    h->first = band_at < h->first ? band_at : h->first;
}

static void
unmark(bracket *b, entry *e)
{
    if (e->candidate) {
        e->candidate = false;
        b->candidates--;
    }
}

static void
leave(bracket *b, entry *e)
{
    if (e->live) {
        b->below -= is_below(b, e) ? 1 : 0;
        b->live--;
        e->live = false;
        unmark(b, e);
    }
}

/* ---- bands ---- */

static void
bands_free(band *bands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < bands[i].count; k++) {
            bracket_free(bands[i].brackets[k]);
        }
        ct_free(bands[i].brackets);
    }
    ct_free(bands);
}

static ct_status
add_band(ct_hyperband *h, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&h->bands, &h->cap, h->count + 1, sizeof *h->bands, err);
    bracket **brackets = st == CT_OK ? ct_calloc(h->rounds, sizeof(bracket *)) : NULL;
    if (brackets == NULL) {
        return st != CT_OK ? st : ct_fail_mem(err);
    }
    h->bands[h->count++] = (band){brackets, 0};
    return CT_OK;
}

/* The next bracket that has trials becomes the one that fills. */
static ct_status
add_bracket(ct_hyperband *h, ct_err *err)
{
    for (;;) {
        if (h->bands[h->count - 1].count == h->rounds) {
            ct_status st = add_band(h, err);
            if (st != CT_OK) {
                return st;
            }
        }
        band *last = &h->bands[h->count - 1];
        size_t s = h->opts.bohb ? h->rounds - last->count - 1 : last->count;
        double n0, r0;
        ct_hyperband_plan(h, s, &n0, &r0);
        bracket *b = NULL;
        if (r0 >= 1.0) {
            ct_status st = bracket_new(&b, h, s, err);
            if (st != CT_OK) {
                return st;
            }
        }
        last->brackets[last->count++] = b;
        if (b != NULL) {
            h->filling = b;
            return CT_OK;
        }
    }
}

static ct_status
reach_trial(ct_hyperband *h, ct_trial_id t, ct_err *err)
{
    if (t < h->trials) {
        return CT_OK;
    }
    ct_status st = ct_grow((void **)&h->places, &h->trials_cap, (size_t)t + 1,
                           sizeof *h->places, err);
    if (st == CT_OK) {
        memset(h->places + h->trials, 0, (t + 1 - h->trials) * sizeof *h->places);
        h->trials = (size_t)t + 1;
    }
    return st;
}

static ct_status
hyperband_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                 ct_err *err)
{
    (void)b;
    (void)orders;
    ct_hyperband *h = (ct_hyperband *)s;
    ct_status st = reach_trial(h, t, err);
    if (st == CT_OK && (h->filling == NULL || filled(h->filling))) {
        st = add_bracket(h, err);
    }
    bracket *to = h->filling;
    if (st == CT_OK) {
        st = ct_grow((void **)&to->entries, &to->cap, to->count + 1,
                     sizeof *to->entries, err);
    }
    if (st != CT_OK) {
        return st;
    }
    if (h->places[t].bracket != NULL) { /* tried again: it starts anew */
        leave(h->places[t].bracket, &h->places[t].bracket->entries[h->places[t].at]);
    }
    to->entries[to->count] = (entry){.trial = t, .live = true};
    h->places[t] = (place){to, h->count - 1, to->count};
    to->count++;
    to->live++;
    to->below++; /* every milestone is at least 1 */
    mark(h, to, h->count - 1, to->count - 1);
    return CT_OK;
}

/* ---- halving ---- */

/* What is going on while a bracket is processed. */
typedef struct round_of {
    ct_hyperband *h;
    const ct_board *board;
    bracket *b;
    size_t band;
    ct_trial_id current; /* whose result it is; NONE */
    ct_verdict verdict;  /* about it */
    ct_orders *orders;
} round_of;

/* Between a PAUSE and its effect a trial still runs. */
static ct_trial_status
status_of(const round_of *w, const entry *e)
{
    ct_trial_status s = ct_board_status(w->board, e->trial);
    return s == CT_TRIAL_RUNNING && e->told && e->trial != w->current ? CT_TRIAL_PAUSED
                                                                      : s;
}

static ct_status
send_away(round_of *w, entry *e, ct_err *err)
{
    ct_status st = CT_OK;
    if (status_of(w, e) == CT_TRIAL_RUNNING) {
        w->verdict = CT_STOP;
    } else {
        st = ct_orders_add(w->orders, CT_ORDER_STOP, e->trial, false, NULL, err);
    }
    if (st == CT_OK) {
        leave(w->b, e);
    }
    return st;
}

static ct_status
let_on(round_of *w, entry *e, ct_err *err)
{
    const ct_hyperband_hooks *hooks = &w->h->opts.hooks;
    ct_trial_status s = status_of(w, e);
    if (s == CT_TRIAL_RUNNING) {
        w->verdict = CT_CONTINUE;
    }
    if (s != CT_TRIAL_PAUSED) {
        return CT_OK;
    }
    e->unpause = true;
    mark(w->h, w->b, w->band, (size_t)(e - w->b->entries));
    return hooks->on_unpause != NULL ? hooks->on_unpause(hooks->ctx, e->trial, err)
                                     : CT_OK;
}

/* Worst first; NaN is worse than anything. Equal ones keep their order. */
typedef struct ranked {
    double score;
    size_t at;
} ranked;

static int
by_score(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;
    bool nan_x = isnan(x->score);
    bool nan_y = isnan(y->score);
    if (nan_x != nan_y) {
        return nan_x ? -1 : 1;
    }
    if (!nan_x && x->score < y->score) {
        return -1;
    }
    if (!nan_x && x->score > y->score) {
        return 1;
    }
    return x->at < y->at ? -1 : 1;
}

static ct_status
rank(const round_of *w, ranked **out, ct_err *err)
{
    const bracket *b = w->b;
    ranked *r = ct_alloc((b->live > 0 ? b->live : 1) * sizeof *r);
    size_t n = 0;
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    for (size_t i = 0; i < b->count; i++) {
        const entry *e = &b->entries[i];
        if (e->live && !e->measured) {
            ct_free(r);
            return ct_fail(
                err, CT_ENOTFOUND, "metric",
                "is missing in the last result of trial number %u, which its "
                "bracket has to compare",
                (unsigned)e->trial);
        }
        if (e->live) {
            r[n++] = (ranked){w->h->opts.maximize ? e->value : -e->value, i};
        }
    }
    qsort(r, n, sizeof *r, by_score);
    *out = r;
    return CT_OK;
}

/* n, r and the counts of the next round. */
static void
next_round(const ct_hyperband *h, bracket *b)
{
    b->halves--;
    b->n = ceil(b->n / h->opts.reduction_factor);
    b->r = trunc(fmin(b->r * h->opts.reduction_factor, h->opts.max_t));
    b->below = 0;
    for (size_t i = 0; i < b->count; i++) {
        b->below += b->entries[i].live && is_below(b, &b->entries[i]) ? 1 : 0;
    }
}

static ct_status
good_one(round_of *w, entry *e, ct_err *err)
{
    if (may_continue(w->h, w->b, e->time)) {
        return let_on(w, e, err);
    }
    ct_trial_status s = status_of(w, e);
    bool waits = s == CT_TRIAL_PAUSED || s == CT_TRIAL_RUNNING;
    return finished(w->h, w->b) && waits ? send_away(w, e, err) : CT_OK;
}

static ct_status
halve(round_of *w, ct_err *err)
{
    bracket *b = w->b;
    ranked *order = NULL;
    bool last = b->halves == 0; /* then all go on */
    ct_status st = rank(w, &order, err);
    if (st != CT_OK) {
        return st;
    }
    size_t n = b->live;
    size_t bad = 0;
    b->processed = true;
    if (!last) {
        next_round(w->h, b);
        bad = (double)n > b->n ? n - (size_t)b->n : 0;
    }
    w->h->num_stopped += bad;
    for (size_t i = 0; st == CT_OK && i < bad; i++) {
        st = send_away(w, &b->entries[order[i].at], err);
    }
    for (size_t i = bad; st == CT_OK && i < n; i++) {
        st = good_one(w, &b->entries[order[i].at], err);
    }
    ct_free(order);
    return st;
}

/* All trials have come as far as they can go. */
static ct_status
clean_up(round_of *w, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < w->b->count; i++) {
        entry *e = &w->b->entries[i];
        if (e->live && status_of(w, e) == CT_TRIAL_PAUSED) {
            st = send_away(w, e, err);
        }
    }
    w->verdict = CT_STOP;
    return st;
}

/* Trials may already be past the next milestone too, when they report in large steps or
 * milestones lie close: then nobody would ever report again, so it is halved at once. */
static ct_status
process(round_of *w, ct_err *err)
{
    ct_status st = CT_OK;
    bool again = true;
    w->verdict = CT_PAUSE;
    while (st == CT_OK && again && w->b->below == 0) {
        if (finished(w->h, w->b)) {
            return clean_up(w, err);
        }
        st = halve(w, err);
        again =
            w->b->halves > 0 && w->b->live > 0; /* else all go on, or have stopped */
    }
    return st;
}

/* ---- results ---- */

static ct_status
observe(ct_hyperband *h, bracket *b, entry *e, const ct_result *r, ct_err *err)
{
    double time;
    double value = 0.0;
    if (!ct_result_get(r, h->opts.time_attr, &time)) {
        return ct_fail(err, CT_ENOTFOUND, "time_attr",
                       "is missing in a result of trial number %u", (unsigned)e->trial);
    }
    if (!(time >= 0.0)) {
        return ct_fail(err, CT_EINVAL, "time_attr",
                       "must not be negative in a result, got %g", time);
    }
    b->progress += time - (e->reported ? e->time : 0.0);
    b->below -= is_below(b, e) ? 1 : 0;
    e->measured = ct_result_get(r, h->opts.metric, &value);
    e->time = time;
    e->value = value;
    e->reported = true;
    e->unpause = false;
    e->told = false;
    b->below += is_below(b, e) ? 1 : 0;
    return CT_OK;
}

/* BOHB: only a full bracket of which all others pause is halved by a result. */
static bool
bohb_waits(const round_of *w)
{
    bool waits = !filled(w->b);
    for (size_t i = 0; !waits && i < w->b->count; i++) {
        const entry *e = &w->b->entries[i];
        waits = e->live && e->trial != w->current && status_of(w, e) != CT_TRIAL_PAUSED;
    }
    return waits;
}

static ct_status
at_milestone(round_of *w, entry *e, ct_err *err)
{
    const ct_hyperband_hooks *hooks = &w->h->opts.hooks;
    ct_status st = CT_OK;
    w->verdict = CT_PAUSE;
    if (!w->h->opts.bohb || !bohb_waits(w)) {
        st = process(w, err);
    }
    if (st == CT_OK && w->verdict == CT_PAUSE && hooks->on_pause != NULL) {
        st = hooks->on_pause(hooks->ctx, w->current, err);
    }
    e->told = w->verdict == CT_PAUSE;
    return st;
}

static ct_status
find(const ct_hyperband *h, ct_trial_id t, place *out, ct_err *err)
{
    if (!ct_hyperband_knows(h, t)) {
        return ct_fail(err, CT_ENOTFOUND, "trial", "number %u was never added",
                       (unsigned)t);
    }
    *out = h->places[t];
    return CT_OK;
}

static ct_status
hyperband_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                    const ct_result *r, ct_verdict *out, ct_orders *orders, ct_err *err)
{
    ct_hyperband *h = (ct_hyperband *)s;
    place at = {NULL, 0, 0};
    *out = CT_CONTINUE;
    ct_status st = find(h, t, &at, err);
    if (st != CT_OK) {
        return st;
    }
    entry *e = &at.bracket->entries[at.at];
    if (!e->live) {
        return ct_fail(err, CT_ESTATE, "trial", "number %u has left its bracket",
                       (unsigned)t);
    }
    st = observe(h, at.bracket, e, r, err);
    if (st != CT_OK || may_continue(h, at.bracket, e->time)) {
        return st;
    }
    round_of w = {h, b, at.bracket, at.band, t, CT_PAUSE, orders};
    st = at_milestone(&w, e, err);
    *out = w.verdict;
    return st;
}

/* A trial has ended. Those that wait for it must not wait for ever. A bracket that loses
 * its last trial is halved once, as the documented scheduler does. */
static ct_status
depart(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
       ct_err *err)
{
    ct_hyperband *h = (ct_hyperband *)s;
    place at = {NULL, 0, 0};
    ct_status st = find(h, t, &at, err);
    if (st != CT_OK || !at.bracket->entries[at.at].live) {
        return st;
    }
    leave(at.bracket, &at.bracket->entries[at.at]);
    if (at.bracket->live == 0 && (at.bracket->processed || finished(h, at.bracket))) {
        return CT_OK;
    }
    round_of w = {h, b, at.bracket, at.band, CT_TRIAL_NONE, CT_PAUSE, orders};
    return process(&w, err);
}

static ct_status
hyperband_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                      const ct_result *r, ct_orders *orders, ct_err *err)
{
    (void)r;
    return depart(s, b, t, orders, err);
}

/* ---- choosing ---- */

/* The first entry that may start now, or NULL; forgets marks that no longer hold. */
static entry *
ready(bracket *b, const ct_board *board)
{
    while (b->first < b->count && !b->entries[b->first].candidate) {
        b->first++;
    }
    for (size_t i = b->first; b->candidates > 0 && i < b->count; i++) {
        entry *e = &b->entries[i];
        if (!e->candidate) {
            continue;
        }
        ct_trial_status s = ct_board_status(board, e->trial);
        if (s == CT_TRIAL_PENDING || (e->unpause && s == CT_TRIAL_PAUSED)) {
            return e;
        }
        if (!e->unpause) { /* it runs; an unpaused one may still be on its way */
            unmark(b, e);
        }
    }
    return NULL;
}

/* The least complete bracket of a band that has a trial to start; BOHB: the first. */
static entry *
ready_in_band(const ct_hyperband *h, const band *of, const ct_board *board)
{
    entry *best = NULL;
    double least = INFINITY;
    for (size_t k = 0; k < of->count; k++) {
        bracket *b = of->brackets[k];
        if (b == NULL || b->candidates == 0 || (best != NULL && h->opts.bohb)) {
            continue;
        }
        double done = h->opts.bohb ? 0.0 : completion(h, b);
        entry *e = best == NULL || done < least ? ready(b, board) : NULL;
        if (e != NULL) {
            best = e;
            least = done;
        }
    }
    return best;
}

static bool
has_candidates(const band *of)
{
    for (size_t k = 0; k < of->count; k++) {
        if (of->brackets[k] != NULL && of->brackets[k]->candidates > 0) {
            return true;
        }
    }
    return false;
}

static ct_trial_id
choose_ready(ct_hyperband *h, const ct_board *board)
{
    while (h->first + 1 < h->count && !has_candidates(&h->bands[h->first])) {
        h->first++;
    }
    for (size_t i = h->first; i < h->count; i++) {
        entry *e = ready_in_band(h, &h->bands[i], board);
        if (e != NULL) {
            return e->trial;
        }
    }
    return CT_TRIAL_NONE;
}

/* BOHB, when nothing runs and nothing may start: brackets are halved as they are. */
static ct_status
halve_idle(ct_hyperband *h, const ct_board *board, ct_trial_id *out, ct_orders *orders,
           ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && *out == CT_TRIAL_NONE && i < h->count; i++) {
        const band *of = &h->bands[i];
        for (size_t k = 0; st == CT_OK && *out == CT_TRIAL_NONE && k < of->count; k++) {
            bracket *b = of->brackets[k];
            if (b == NULL || b->live == 0) {
                continue;
            }
            round_of w = {h, board, b, i, CT_TRIAL_NONE, CT_PAUSE, orders};
            st = process(&w, err);
            if (st == CT_OK && ready(b, board) != NULL) {
                *out = choose_ready(h, board);
            }
        }
    }
    return st;
}

static ct_status
hyperband_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out,
                 ct_orders *orders, ct_err *err)
{
    ct_hyperband *h = (ct_hyperband *)s;
    *out = choose_ready(h, b);
    if (*out != CT_TRIAL_NONE || !h->opts.bohb ||
        ct_board_any(b, CT_STATUS(CT_TRIAL_RUNNING))) {
        return CT_OK;
    }
    return halve_idle(h, b, out, orders, err);
}

/* ---- words ---- */

static ct_status
bracket_describe(const ct_hyperband *h, const bracket *b, const ct_board *board,
                 ct_buf *out, ct_err *err)
{
    /* In the order of their names. */
    static const ct_trial_status order[] = {CT_TRIAL_ERROR, CT_TRIAL_PAUSED,
                                            CT_TRIAL_PENDING, CT_TRIAL_RUNNING,
                                            CT_TRIAL_TERMINATED};
    size_t counts[CT_TRIAL_STATUS_COUNT] = {0};
    const char *comma = "";
    for (size_t i = 0; i < b->count; i++) {
        counts[ct_board_status(board, b->entries[i].trial)]++;
    }
    ct_status st = ct_buf_printf(
        out, err,
        "\n  Bracket(Max Size (n)=%.0f, Milestone (r)=%.0f, completed=%.1f%%): {", b->n,
        b->r, completion(h, b) * 100.0);
    for (size_t i = 0; st == CT_OK && i < sizeof order / sizeof order[0]; i++) {
        if (counts[order[i]] > 0) {
            st = ct_buf_printf(out, err, "%s%s: %zu", comma,
                               ct_trial_status_name(order[i]), counts[order[i]]);
            comma = ", ";
        }
    }
    return st == CT_OK ? ct_buf_puts(out, "} ", err) : st;
}

static ct_status
hyperband_describe(ct_scheduler *s, const ct_board *board, ct_buf *out, ct_err *err)
{
    const ct_hyperband *h = (const ct_hyperband *)s;
    ct_status st =
        ct_buf_printf(out, err, "Using HyperBand: num_stopped=%llu total_brackets=%zu",
                      (unsigned long long)h->num_stopped, ct_hyperband_num_brackets(h));
    for (size_t i = 0; st == CT_OK && i < h->count; i++) {
        st = ct_buf_printf(out, err, "\nRound #%zu:", i);
        for (size_t k = 0; st == CT_OK && k < h->bands[i].count; k++) {
            if (h->bands[i].brackets[k] != NULL) {
                st = bracket_describe(h, h->bands[i].brackets[k], board, out, err);
            }
        }
    }
    return st;
}

/* ---- state: [num_stopped, [band]]; band = [bracket or nil];
 * bracket = [n, r, halves, progress, processed, [entry]];
 * entry = [trial, flags, time, value] ---- */

enum { LIVE = 1, REPORTED = 2, MEASURED = 4, UNPAUSE = 8, TOLD = 16, CANDIDATE = 32 };

static ct_status
entry_save(const entry *e, ct_value *to, ct_err *err)
{
    int64_t flags = (e->live ? LIVE : 0) | (e->reported ? REPORTED : 0) |
                    (e->measured ? MEASURED : 0) | (e->unpause ? UNPAUSE : 0) |
                    (e->told ? TOLD : 0) | (e->candidate ? CANDIDATE : 0);
    ct_value items[] = {ct_i64((int64_t)e->trial), ct_i64(flags), ct_f64(e->time),
                        ct_f64(e->value)};
    return ct_value_push_list(to, items, sizeof items / sizeof items[0], err);
}

static ct_status
bracket_save(const bracket *b, ct_value *to, ct_err *err)
{
    if (b == NULL) {
        ct_value none = ct_nil();
        return ct_value_push(to, &none, err);
    }
    ct_value entries = ct_list();
    for (size_t i = 0; i < b->count; i++) {
        ct_status st = entry_save(&b->entries[i], &entries, err);
        if (st != CT_OK) {
            ct_value_deinit(&entries);
            return st;
        }
    }
    ct_value items[] = {ct_f64(b->n),        ct_f64(b->r),          ct_i64(b->halves),
                        ct_f64(b->progress), ct_bool(b->processed), entries};
    return ct_value_push_list(to, items, sizeof items / sizeof items[0], err);
}

static ct_status
hyperband_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names;
    const ct_hyperband *h = (const ct_hyperband *)s;
    ct_value bands = ct_list();
    ct_value root = ct_list();
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < h->count; i++) {
        ct_value brackets = ct_list();
        for (size_t k = 0; st == CT_OK && k < h->bands[i].count; k++) {
            st = bracket_save(h->bands[i].brackets[k], &brackets, err);
        }
        if (st == CT_OK) {
            st = ct_value_push(&bands, &brackets, err);
        }
        ct_value_deinit(&brackets);
    }
    if (st == CT_OK) {
        ct_value items[] = {ct_i64((int64_t)h->num_stopped), bands};
        bands = ct_nil();
        st = ct_value_push_list(&root, items, 2, err);
    }
    if (st == CT_OK) { /* the list that was pushed */
        *out = root.u.items[0];
        root.u.items[0] = ct_nil();
    }
    ct_value_deinit(&bands);
    ct_value_deinit(&root);
    return st;
}

static ct_status
corrupt(ct_err *err)
{
    return ct_fail(err, CT_ECORRUPT, "state",
                   "the saved state is not one of HyperBandScheduler");
}

static bool
is_list(const ct_value *v, uint32_t len)
{
    return (v->kind == CT_LIST || v->kind == CT_TUPLE) && v->len == len;
}

static bool
entry_restore(const ct_value *v, entry *out)
{
    if (!is_list(v, 4) || v->u.items[0].kind != CT_I64 || v->u.items[0].u.i < 0 ||
        v->u.items[0].u.i >= (int64_t)CT_TRIAL_NONE || v->u.items[1].kind != CT_I64 ||
        !ct_value_number(&v->u.items[2], &out->time) ||
        !ct_value_number(&v->u.items[3], &out->value)) {
        return false;
    }
    int64_t flags = v->u.items[1].u.i;
    out->trial = (ct_trial_id)v->u.items[0].u.i;
    out->live = (flags & LIVE) != 0;
    out->reported = (flags & REPORTED) != 0;
    out->measured = (flags & MEASURED) != 0;
    out->unpause = (flags & UNPAUSE) != 0;
    out->told = (flags & TOLD) != 0;
    out->candidate = (flags & CANDIDATE) != 0;
    return true;
}

/* Fills a fresh bracket; counts follow from the entries. */
static ct_status
bracket_fill(bracket *b, const ct_value *v, ct_err *err)
{
    const ct_value *in = v->u.items;
    if (!is_list(v, 6) || !ct_value_number(&in[0], &b->n) ||
        !ct_value_number(&in[1], &b->r) || in[2].kind != CT_I64 || in[2].u.i < 0 ||
        in[2].u.i > b->halves || !ct_value_number(&in[3], &b->progress) ||
        in[4].kind != CT_BOOL || (in[5].kind != CT_LIST && in[5].kind != CT_TUPLE)) {
        return corrupt(err);
    }
    b->halves = in[2].u.i;
    b->processed = in[4].u.b;
    b->entries = ct_calloc(in[5].len > 0 ? in[5].len : 1, sizeof *b->entries);
    if (b->entries == NULL) {
        return ct_fail_mem(err);
    }
    b->cap = in[5].len;
    for (uint32_t i = 0; i < in[5].len; i++) {
        entry *e = &b->entries[b->count];
        if (!entry_restore(&in[5].u.items[i], e)) {
            return corrupt(err);
        }
        b->count++;
        b->live += e->live ? 1 : 0;
        b->below += e->live && is_below(b, e) ? 1 : 0;
        b->candidates += e->candidate ? 1 : 0;
    }
    return CT_OK;
}

/* Puts the bands into a fresh scheduler. */
static ct_status
bands_fill(ct_hyperband *h, const ct_value *v, ct_err *err)
{
    for (uint32_t i = 0; i < v->len; i++) {
        const ct_value *in = &v->u.items[i];
        if ((in->kind != CT_LIST && in->kind != CT_TUPLE) || in->len > h->rounds) {
            return corrupt(err);
        }
        ct_status st = i > 0 ? add_band(h, err) : CT_OK;
        for (uint32_t k = 0; st == CT_OK && k < in->len; k++) {
            bracket *b = NULL;
            size_t s = h->opts.bohb ? h->rounds - k - 1 : k;
            if (in->u.items[k].kind != CT_NIL) {
                st = bracket_new(&b, h, s, err);
            }
            if (st == CT_OK) {
                band *to = &h->bands[i];
                to->brackets[to->count++] = b;
                st = b != NULL ? bracket_fill(b, &in->u.items[k], err) : CT_OK;
                h->filling = b != NULL ? b : h->filling;
            }
        }
        if (st != CT_OK) {
            return st;
        }
    }
    return CT_OK;
}

static ct_status
places_fill(ct_hyperband *h, ct_err *err)
{
    for (size_t i = 0; i < h->count; i++) {
        for (size_t k = 0; k < h->bands[i].count; k++) {
            bracket *b = h->bands[i].brackets[k];
            for (size_t at = 0; b != NULL && at < b->count; at++) {
                ct_status st = reach_trial(h, b->entries[at].trial, err);
                if (st != CT_OK) {
                    return st;
                }
                h->places[b->entries[at].trial] = (place){b, i, at};
            }
        }
    }
    return CT_OK;
}

static ct_status
hyperband_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)names;
    ct_hyperband *h = (ct_hyperband *)s;
    ct_hyperband *fresh = NULL;
    if (!is_list(v, 2) || v->u.items[0].kind != CT_I64 || v->u.items[0].u.i < 0 ||
        (v->u.items[1].kind != CT_LIST && v->u.items[1].kind != CT_TUPLE)) {
        return corrupt(err);
    }
    ct_status st = ct_hyperband_new(&fresh, &h->opts, err);
    if (st == CT_OK) {
        fresh->num_stopped = (uint64_t)v->u.items[0].u.i;
        st = bands_fill(fresh, &v->u.items[1], err);
    }
    if (st == CT_OK) {
        st = places_fill(fresh, err);
    }
    if (st == CT_OK) { /* the old content goes with the other one */
        ct_hyperband old = *h;
        *h = *fresh;
        *fresh = old;
    }
    if (fresh != NULL) {
        fresh->scheduler.ops->free(&fresh->scheduler);
    }
    return st;
}

/* ---- life ---- */

static void
hyperband_free(ct_scheduler *s)
{
    ct_hyperband *h = (ct_hyperband *)s;
    bands_free(h->bands, h->count);
    ct_free(h->places);
    ct_free(h);
}

static ct_status
hyperband_on_error(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                   ct_err *err)
{
    return depart(s, b, t, orders, err);
}

static ct_status
hyperband_on_remove(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                    ct_orders *orders, ct_err *err)
{
    return depart(s, b, t, orders, err);
}

static const ct_scheduler_ops HYPERBAND_OPS = {
    .name = "hyperband",
    .foreign = false,
    .supports_buffering = false,
    .on_add = hyperband_on_add,
    .on_result = hyperband_on_result,
    .on_complete = hyperband_on_complete,
    .on_error = hyperband_on_error,
    .on_remove = hyperband_on_remove,
    .choose = hyperband_choose,
    .save = hyperband_save,
    .restore = hyperband_restore,
    .describe = hyperband_describe,
    .free = hyperband_free,
};

ct_status
ct_hyperband_new(ct_hyperband **out, const ct_hyperband_opts *opts, ct_err *err)
{
    double eta = opts->reduction_factor;
    if (!(opts->max_t > 0.0) || isinf(opts->max_t)) {
        return ct_fail(err, CT_EINVAL, "max_t", "must be a number above 0, got %g",
                       opts->max_t);
    }
    if (!(eta > 1.0) || isinf(eta)) {
        return ct_fail(err, CT_EINVAL, "reduction_factor",
                       "must be a number above 1, got %g", eta);
    }
    double rounds = rint(log(opts->max_t) / log(eta)) + 1.0;
    if (!(trunc(opts->max_t) >= 1.0) || !(rounds >= 1.0)) {
        return ct_fail(err, CT_EINVAL, "max_t",
                       "must be at least 1, so that the first milestone is one; got %g",
                       opts->max_t);
    }
    if (rounds > 1e6) {
        return ct_fail(err, CT_EINVAL, "reduction_factor",
                       "%g makes %.0f brackets for max_t %g; take a larger one", eta,
                       rounds, opts->max_t);
    }
    ct_hyperband *h = ct_calloc(1, sizeof *h);
    if (h == NULL) {
        return ct_fail_mem(err);
    }
    h->scheduler.ops = &HYPERBAND_OPS;
    h->opts = *opts;
    h->rounds = (size_t)rounds;
    ct_status st = add_band(h, err);
    if (st != CT_OK) {
        hyperband_free(&h->scheduler);
        return st;
    }
    *out = h;
    return CT_OK;
}

ct_scheduler *
ct_hyperband_scheduler(ct_hyperband *h)
{
    return &h->scheduler;
}

void
ct_hyperband_set_mode(ct_hyperband *h, bool maximize)
{
    h->opts.maximize = maximize;
}

bool
ct_hyperband_knows(const ct_hyperband *h, ct_trial_id t)
{
    return t < h->trials && h->places[t].bracket != NULL;
}

uint64_t
ct_hyperband_num_stopped(const ct_hyperband *h)
{
    return h->num_stopped;
}

size_t
ct_hyperband_num_brackets(const ct_hyperband *h)
{
    return (h->count - 1) * h->rounds + h->bands[h->count - 1].count;
}

bool
ct_hyperband_due(const ct_hyperband *h, ct_trial_id t, double time, double *milestone)
{
    if (!ct_hyperband_knows(h, t) || may_continue(h, h->places[t].bracket, time)) {
        return false;
    }
    *milestone = h->places[t].bracket->r;
    return true;
}
