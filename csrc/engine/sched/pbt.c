/* pbt.c: the decisions of population-based training.
 *
 * Two rankings hold the trials that are not over: by score (those that have a number as
 * score), and by the time of their last turn. A trial that may be over is asked for its
 * status before the next ranking is read (`doubts`), so that no question scans all.
 *
 * Invariant: a trial in a ranking is `known`. */
#include "sched/pbt.h"

#include "base/mem.h"
#include "base/ranking.h"

#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* each operation rounds for itself, as in Python */
#endif

typedef struct member {
    double score;
    double time;      /* of its last turn, or that of the trial it went on from */
    double last_turn; /* likewise; rounds set it for all */
    bool known;       /* added */
    bool scored;      /* score is a result's; NaN is possible */
    bool has;         /* it was among the best at its last turn and saved */
    bool doubted;     /* it is in `doubts` */
} member;

struct ct_pbt {
    ct_scheduler base; /* first */
    ct_pbt_opts opts;
    member *members;
    size_t count;
    size_t cap;
    ct_ranking *by_score;
    ct_ranking *by_time;
    ct_trial_id *doubts;
    size_t n_doubts;
    size_t cap_doubts;
    double next_round;
    uint64_t num_checkpoints;
    uint64_t num_perturbations;
    ct_trial_id *round; /* scratch: the order of a round */
    size_t cap_round;
};

static ct_status
opts_check(const ct_pbt_opts *o, ct_err *err)
{
    if (!(o->perturbation_interval > 0.0)) {
        return ct_fail(err, CT_EINVAL, "perturbation_interval",
                       "must be greater than 0, got %g; 60 is the default",
                       o->perturbation_interval);
    }
    if (!(o->quantile_fraction >= 0.0 && o->quantile_fraction <= 0.5)) {
        return ct_fail(err, CT_EINVAL, "quantile_fraction",
                       "must be from 0 to 0.5, got %g; 0.25 is the default",
                       o->quantile_fraction);
    }
    if (isnan(o->burn_in_period)) {
        return ct_fail(err, CT_EINVAL, "burn_in_period",
                       "must be a number, got nan; 0 is the default");
    }
    return CT_OK;
}

static double
first_round(const ct_pbt_opts *o)
{
    return o->burn_in_period > o->perturbation_interval ? o->burn_in_period
                                                        : o->perturbation_interval;
}

static void
pbt_free(ct_scheduler *s)
{
    ct_pbt *p = (ct_pbt *)s;
    ct_ranking_free(p->by_score);
    ct_ranking_free(p->by_time);
    ct_free(p->members);
    ct_free(p->doubts);
    ct_free(p->round);
    ct_free(p);
}

void
ct_pbt_set_mode(ct_pbt *p, bool maximize)
{
    p->opts.maximize = maximize;
}

/* ---- members ---- */

/* After this, neither rankings nor the list of a round need memory for trials below n. */
static ct_status
members_reserve(ct_pbt *p, size_t n, ct_err *err)
{
    ct_status st = ct_grow((void **)&p->members, &p->cap, n, sizeof *p->members, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&p->round, &p->cap_round, n, sizeof *p->round, err);
    }
    if (st == CT_OK) {
        st = ct_ranking_reserve(p->by_score, n, err);
    }
    if (st == CT_OK) {
        st = ct_ranking_reserve(p->by_time, n, err);
    }
    for (; st == CT_OK && p->count < n; p->count++) {
        p->members[p->count] = (member){0};
    }
    return st;
}

/* A time that is no number holds no round up. */
static void
rank_time(ct_pbt *p, ct_trial_id t)
{
    double time = p->members[t].time;
    ct_ranking_set(p->by_time, t, isnan(time) ? (double)INFINITY : time);
}

static void
rank_score(ct_pbt *p, ct_trial_id t)
{
    if (isnan(p->members[t].score)) {
        ct_ranking_drop(p->by_score, t);
    } else {
        ct_ranking_set(p->by_score, t, p->members[t].score);
    }
}

static void
forget_doubt(ct_pbt *p, ct_trial_id t)
{
    for (size_t i = 0; p->members[t].doubted && i < p->n_doubts; i++) {
        if (p->doubts[i] == t) {
            p->doubts[i] = p->doubts[--p->n_doubts];
            p->members[t].doubted = false;
        }
    }
}

/* A trial that is added again begins anew. */
static ct_status
pbt_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
           ct_err *err)
{
    ct_pbt *p = (ct_pbt *)s;
    (void)b;
    (void)orders;
    ct_status st = members_reserve(p, (size_t)t + 1, err);
    if (st == CT_OK) {
        forget_doubt(p, t);
        p->members[t] = (member){.known = true};
        ct_ranking_drop(p->by_score, t);
        rank_time(p, t);
    }
    return st;
}

/* The trial ends, or is about to. */
static ct_status
leaves(ct_pbt *p, ct_trial_id t, ct_err *err)
{
    if (!ct_ranking_has(p->by_time, t) || p->members[t].doubted) {
        return CT_OK;
    }
    ct_status st = ct_grow((void **)&p->doubts, &p->cap_doubts, p->n_doubts + 1,
                           sizeof *p->doubts, err);
    if (st == CT_OK) {
        p->doubts[p->n_doubts++] = t;
        p->members[t].doubted = true;
    }
    return st;
}

static ct_status
pbt_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                ct_orders *orders, ct_err *err)
{
    (void)b;
    (void)r;
    (void)orders;
    return leaves((ct_pbt *)s, t, err);
}

static ct_status
pbt_on_gone(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
            ct_err *err)
{
    (void)b;
    (void)orders;
    return leaves((ct_pbt *)s, t, err);
}

/* Whether the trial is over; then it leaves the rankings. */
static bool
over(ct_pbt *p, const ct_board *b, ct_trial_id t)
{
    ct_trial_status s = ct_board_status(b, t);
    if (s != CT_TRIAL_TERMINATED && s != CT_TRIAL_ERROR) {
        return false;
    }
    ct_ranking_drop(p->by_score, t);
    ct_ranking_drop(p->by_time, t);
    return true;
}

/* Leaves in the rankings only trials that are not over. One that runs although it was said
 * to leave may still end in this turn. */
static void
settle_doubts(ct_pbt *p, const ct_board *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n_doubts; i++) {
        ct_trial_id t = p->doubts[i];
        if (ct_ranking_has(p->by_time, t) && !over(p, b, t)) {
            p->doubts[kept++] = t;
        } else {
            p->members[t].doubted = false;
        }
    }
    p->n_doubts = kept;
    if (p->opts.hooks.live != NULL &&
        p->opts.hooks.live(p->opts.hooks.ctx, b) != ct_ranking_count(p->by_time)) {
        for (size_t i = 0; i < ct_ranking_count(p->by_time);) {
            i += over(p, b, ct_ranking_at(p->by_time, i)) ? 0 : 1;
        }
    }
}

/* ---- best and worst ---- */

typedef struct quantiles {
    size_t n;    /* ranked trials */
    size_t low;  /* ranks below this are the worst */
    size_t high; /* ranks from this on are the best */
} quantiles;

/* A trial alone is neither. With a fraction of 0 nobody is worst and everybody best: all
 * save, and nobody exploits. */
static quantiles
quantiles_now(const ct_pbt *p)
{
    size_t n = ct_ranking_count(p->by_score);
    if (n <= 1) {
        return (quantiles){n, 0, n};
    }
    double k = ceil((double)n * p->opts.quantile_fraction);
    if (k > (double)n / 2) {
        k = floor((double)n / 2);
    }
    return (quantiles){n, (size_t)k, k > 0 ? n - (size_t)k : 0};
}

static size_t
rank_of(const ct_pbt *p, ct_trial_id t)
{
    return ct_ranking_has(p->by_score, t) ? ct_ranking_rank(p->by_score, t)
                                          : ct_ranking_count(p->by_score);
}

static ct_status
exploit(ct_pbt *p, const ct_board *b, ct_trial_id t, ct_trial_id source,
        ct_orders *orders, bool *paused, ct_err *err)
{
    const ct_pbt_hooks *h = &p->opts.hooks;
    ct_pbt_exploited how = CT_PBT_SKIPPED;
    ct_status st =
        h->exploit(h->ctx, b, t, source, p->members[source].has, orders, &how, err);
    if (st == CT_OK && how != CT_PBT_SKIPPED) {
        p->num_perturbations++;
        p->members[t].last_turn = p->members[source].last_turn;
        p->members[t].time = p->members[source].time;
        rank_time(p, t);
        *paused = how == CT_PBT_ORDERED;
    }
    return st;
}

/* One trial's turn. `best` lists the best ones, NULL: the ranking does. */
static ct_status
take_turn(ct_pbt *p, const ct_board *b, ct_trial_id t, const ct_trial_id *best,
          quantiles q, size_t rank, ct_orders *orders, bool *paused, ct_err *err)
{
    const ct_pbt_hooks *h = &p->opts.hooks;
    bool had = p->members[t].has;
    ct_status st = CT_OK;

    p->members[t].has = false;
    if (rank >= q.high && rank < q.n) {
        st = h->save(h->ctx, b, t, orders, &p->members[t].has, err);
        p->num_checkpoints += st == CT_OK ? 1 : 0;
    } else if (had && h->forget != NULL) {
        st = h->forget(h->ctx, b, t, orders, err);
    }
    if (st == CT_OK && rank < q.low) {
        size_t i = 0;
        st = h->choice(h->ctx, q.n - q.high, &i, err);
        if (st == CT_OK) {
            ct_trial_id source =
                best != NULL ? best[i] : ct_ranking_at(p->by_score, q.high + i);
            st = exploit(p, b, t, source, orders, paused, err);
        }
    }
    return st;
}

static ct_status
async_turn(ct_pbt *p, const ct_board *b, ct_trial_id t, ct_verdict *out,
           ct_orders *orders, ct_err *err)
{
    bool others_wait = ct_board_any(b, CT_STATUSES_WAITING);
    bool paused = false;
    p->members[t].last_turn = p->members[t].time;
    ct_status st =
        take_turn(p, b, t, NULL, quantiles_now(p), rank_of(p, t), orders, &paused, err);
    if (st == CT_OK) {
        *out = paused || ct_board_status(b, t) == CT_TRIAL_PAUSED ? CT_NOOP
               : others_wait                                      ? CT_PAUSE
                                                                  : CT_CONTINUE;
    }
    return st;
}

/* ---- rounds ---- */

/* Whether another trial that is not over has not come as far as the round. */
static bool
round_waits(ct_pbt *p, const ct_board *b, ct_trial_id t)
{
    for (size_t i = 0; i < ct_ranking_count(p->by_time);) {
        ct_trial_id other = ct_ranking_at(p->by_time, i);
        if (other == t) {
            i++;
        } else if (!over(p, b, other)) {
            return ct_ranking_score(p->by_time, other) < p->next_round;
        }
    }
    return false;
}

/* The best first, then the others, the worst last: a save comes before who exploits it. */
static size_t
round_order(ct_pbt *p, quantiles q)
{
    size_t n = 0;
    for (size_t i = q.high; i < q.n; i++) {
        p->round[n++] = ct_ranking_at(p->by_score, i);
    }
    for (ct_trial_id t = 0; t < p->count; t++) {
        size_t rank = rank_of(p, t);
        if (p->members[t].known && (rank == q.n || (rank >= q.low && rank < q.high))) {
            p->round[n++] = t;
        }
    }
    for (size_t i = 0; i < q.low; i++) {
        p->round[n++] = ct_ranking_at(p->by_score, i);
    }
    return n;
}

static ct_status
round_turns(ct_pbt *p, const ct_board *b, ct_trial_id t, double time, bool *paused,
            ct_orders *orders, ct_err *err)
{
    quantiles q = quantiles_now(p);
    size_t n = round_order(p, q);
    size_t n_best = q.n - q.high;
    ct_status st = CT_OK;

    for (size_t i = 0; st == CT_OK && i < n; i++) {
        size_t rank = i < n_best ? q.high + i : i + q.low >= n ? i + q.low - n : q.n;
        bool ordered = false;
        p->members[p->round[i]].last_turn = time;
        st = take_turn(p, b, p->round[i], p->round, q, rank, orders, &ordered, err);
        *paused = *paused || (ordered && p->round[i] == t);
    }
    p->next_round += p->opts.perturbation_interval;
    for (size_t i = 0; i < p->count; i++) {
        if (p->members[i].known && p->members[i].time > p->next_round) {
            p->next_round = p->members[i].time;
        }
    }
    return st;
}

static ct_status
turn(ct_pbt *p, const ct_board *b, ct_trial_id t, double time, double value,
     ct_verdict *out, ct_orders *orders, ct_err *err)
{
    const ct_pbt_hooks *h = &p->opts.hooks;
    member *m = &p->members[t];
    bool paused = false;
    ct_status st = CT_OK;

    m->score = p->opts.maximize ? value : -value;
    m->scored = true;
    m->time = time;
    rank_time(p, t);
    rank_score(p, t);
    settle_doubts(p, b);
    if (h->turn != NULL) {
        st = h->turn(h->ctx, b, t, time, m->score, err);
    }
    if (st != CT_OK || !p->opts.synch) {
        return st == CT_OK ? async_turn(p, b, t, out, orders, err) : st;
    }
    if (!round_waits(p, b, t)) {
        st = round_turns(p, b, t, time, &paused, orders, err);
    }
    if (st == CT_OK) {
        *out = paused || ct_board_status(b, t) == CT_TRIAL_PAUSED ? CT_NOOP : CT_PAUSE;
    }
    return st;
}

static ct_status
missing(ct_pbt *p, bool time, ct_err *err)
{
    if (p->opts.hooks.missing != NULL) {
        return p->opts.hooks.missing(p->opts.hooks.ctx, time, err);
    }
    return ct_fail(err, CT_ESTATE, time ? "time_attr" : "metric",
                   "is not in the result; report it");
}

static ct_status
pbt_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t, const ct_result *r,
              ct_verdict *out, ct_orders *orders, ct_err *err)
{
    ct_pbt *p = (ct_pbt *)s;
    double time = 0.0;
    double value = 0.0;
    bool has_time = ct_result_get(r, p->opts.time_attr, &time);
    bool has_metric = ct_result_get(r, p->opts.metric, &value);
    ct_status st = CT_OK;

    *out = CT_CONTINUE;
    if (!has_time) {
        st = missing(p, true, err);
    }
    if (st == CT_OK && !has_metric) {
        st = missing(p, false, err);
    }
    if (st != CT_OK || !has_time || !has_metric) {
        return st;
    }
    if (!ct_pbt_knows(p, t)) {
        return ct_fail(err, CT_ESTATE, "trial",
                       "trial %u is not known to the scheduler; add it first",
                       (unsigned)t);
    }
    if (time < p->opts.burn_in_period ||
        time - p->members[t].last_turn < p->opts.perturbation_interval) {
        return CT_OK;
    }
    return turn(p, b, t, time, value, out, orders, err);
}

static ct_status
pbt_on_exploited(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_trial_id source,
                 bool done, const ct_value *note, ct_err *err)
{
    ct_pbt *p = (ct_pbt *)s;
    const ct_pbt_hooks *h = &p->opts.hooks;
    p->num_perturbations -= !done && p->num_perturbations > 0 ? 1 : 0;
    return h->exploited == NULL ? CT_OK
                                : h->exploited(h->ctx, b, t, source, done, note, err);
}

/* The waiting trial that has trained least, so that all get their share. */
static ct_status
pbt_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out, ct_orders *orders,
           ct_err *err)
{
    ct_pbt *p = (ct_pbt *)s;
    (void)orders;
    (void)err;
    *out = CT_TRIAL_NONE;
    for (size_t i = 0; i < ct_ranking_count(p->by_time);) {
        ct_trial_id t = ct_ranking_at(p->by_time, i);
        if (p->opts.synch && !(ct_ranking_score(p->by_time, t) < p->next_round)) {
            break;
        }
        ct_trial_status status = ct_board_status(b, t);
        if (status == CT_TRIAL_PENDING || status == CT_TRIAL_PAUSED) {
            *out = t;
            break;
        }
        i += over(p, b, t) ? 0 : 1;
    }
    return CT_OK;
}

/* ---- state ---- */

/* [next_round, checkpoints, perturbations, [doubts], [[score, time, last_turn, flags]]];
 * flags: 1 known, 2 scored, 4 has, 8 still ranked. */
enum { KNOWN = 1, SCORED = 2, HAS = 4, RANKED = 8, ALL_FLAGS = 15 };

static ct_status
member_save(const ct_pbt *p, ct_trial_id t, ct_value *out, ct_err *err)
{
    const member *m = &p->members[t];
    int flags = (m->known ? KNOWN : 0) | (m->scored ? SCORED : 0) | (m->has ? HAS : 0) |
                (ct_ranking_has(p->by_time, t) ? RANKED : 0);
    ct_value row[] = {ct_f64(m->score), ct_f64(m->time), ct_f64(m->last_turn),
                      ct_i64(flags)};
    return ct_value_push_list(out, row, 4, err);
}

static ct_status
pbt_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    ct_pbt *p = (ct_pbt *)s;
    ct_value parts[] = {ct_f64(p->next_round), ct_i64((int64_t)p->num_checkpoints),
                        ct_i64((int64_t)p->num_perturbations), ct_list(), ct_list()};
    ct_status st = CT_OK;
    (void)names;
    for (size_t i = 0; st == CT_OK && i < p->n_doubts; i++) {
        ct_value doubt = ct_i64((int64_t)p->doubts[i]);
        st = ct_value_push(&parts[3], &doubt, err);
    }
    for (size_t t = 0; st == CT_OK && t < p->count; t++) {
        st = member_save(p, (ct_trial_id)t, &parts[4], err);
    }
    if (st == CT_OK) {
        return ct_value_list_of(out, parts, 5, err);
    }
    ct_value_deinit(&parts[3]);
    ct_value_deinit(&parts[4]);
    return st;
}

static bool
is_count(const ct_value *v)
{
    return v->kind == CT_I64 && v->u.i >= 0;
}

static bool
is_member(const ct_value *v)
{
    double x;
    return v->kind == CT_LIST && v->len == 4 && ct_value_number(&v->u.items[0], &x) &&
           ct_value_number(&v->u.items[1], &x) && ct_value_number(&v->u.items[2], &x) &&
           is_count(&v->u.items[3]) && v->u.items[3].u.i <= ALL_FLAGS &&
           ((v->u.items[3].u.i & KNOWN) != 0 || v->u.items[3].u.i == 0);
}

static bool
is_state(const ct_value *v)
{
    double x;
    if (v->kind != CT_LIST || v->len != 5 || !ct_value_number(&v->u.items[0], &x) ||
        !is_count(&v->u.items[1]) || !is_count(&v->u.items[2]) ||
        v->u.items[3].kind != CT_LIST || v->u.items[4].kind != CT_LIST) {
        return false;
    }
    const ct_value *doubts = &v->u.items[3];
    const ct_value *members = &v->u.items[4];
    for (uint32_t i = 0; i < doubts->len; i++) {
        if (!is_count(&doubts->u.items[i]) || doubts->u.items[i].u.i >= members->len) {
            return false;
        }
    }
    for (uint32_t i = 0; i < members->len; i++) {
        if (!is_member(&members->u.items[i])) {
            return false;
        }
    }
    return members->len < CT_TRIAL_NONE;
}

static double
number(const ct_value *v)
{
    double x = 0.0;
    (void)ct_value_number(v, &x);
    return x;
}

static ct_status
pbt_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    ct_pbt *p = (ct_pbt *)s;
    (void)names;
    if (!is_state(v)) {
        return ct_fail(err, CT_ECORRUPT, "scheduler",
                       "the saved state is not one of population-based training");
    }
    const ct_value *doubts = &v->u.items[3];
    const ct_value *rows = &v->u.items[4];
    ct_status st = members_reserve(p, rows->len, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&p->doubts, &p->cap_doubts, doubts->len,
                     sizeof *p->doubts, err);
    }
    if (st != CT_OK) {
        return st;
    }
    p->next_round = number(&v->u.items[0]);
    p->num_checkpoints = (uint64_t)v->u.items[1].u.i;
    p->num_perturbations = (uint64_t)v->u.items[2].u.i;
    for (uint32_t t = 0; t < p->count; t++) {
        ct_ranking_drop(p->by_score, t);
        ct_ranking_drop(p->by_time, t);
    }
    p->count = rows->len;
    for (uint32_t t = 0; t < rows->len; t++) {
        const ct_value *row = rows->u.items[t].u.items;
        int64_t flags = row[3].u.i;
        p->members[t] = (member){.score = number(&row[0]),
                                 .time = number(&row[1]),
                                 .last_turn = number(&row[2]),
                                 .known = (flags & KNOWN) != 0,
                                 .scored = (flags & SCORED) != 0,
                                 .has = (flags & HAS) != 0};
        if ((flags & RANKED) != 0) {
            rank_time(p, t);
        }
        if ((flags & (RANKED | SCORED)) == (RANKED | SCORED)) {
            rank_score(p, t);
        }
    }
    p->n_doubts = doubts->len;
    for (uint32_t i = 0; i < doubts->len; i++) {
        p->doubts[i] = (ct_trial_id)doubts->u.items[i].u.i;
        p->members[p->doubts[i]].doubted = true;
    }
    return CT_OK;
}

/* ---- for display and tests ---- */

size_t
ct_pbt_live(const ct_pbt *p)
{
    return ct_ranking_count(p->by_time);
}

bool
ct_pbt_knows(const ct_pbt *p, ct_trial_id t)
{
    return t < p->count && p->members[t].known;
}

bool
ct_pbt_score(const ct_pbt *p, ct_trial_id t, double *out)
{
    if (t >= p->count || !p->members[t].scored) {
        return false;
    }
    *out = p->members[t].score;
    return true;
}

uint64_t
ct_pbt_num_checkpoints(const ct_pbt *p)
{
    return p->num_checkpoints;
}

uint64_t
ct_pbt_num_perturbations(const ct_pbt *p)
{
    return p->num_perturbations;
}

void
ct_pbt_reset_stats(ct_pbt *p)
{
    p->num_checkpoints = 0;
    p->num_perturbations = 0;
}

static ct_status
pbt_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    const ct_pbt *p = (const ct_pbt *)s;
    (void)b;
    return ct_buf_printf(out, err,
                         "PopulationBasedTraining: %llu checkpoints, %llu perturbs",
                         (unsigned long long)p->num_checkpoints,
                         (unsigned long long)p->num_perturbations);
}

static const ct_scheduler_ops PBT_OPS = {
    .name = "pbt",
    .supports_buffering = true,
    .on_add = pbt_on_add,
    .on_result = pbt_on_result,
    .on_complete = pbt_on_complete,
    .on_error = pbt_on_gone,
    .on_remove = pbt_on_gone,
    .choose = pbt_choose,
    .on_exploited = pbt_on_exploited,
    .save = pbt_save,
    .restore = pbt_restore,
    .describe = pbt_describe,
    .free = pbt_free,
};

ct_scheduler *
ct_pbt_scheduler(ct_pbt *p)
{
    return &p->base;
}

ct_status
ct_pbt_new(ct_pbt **out, const ct_pbt_opts *opts, ct_err *err)
{
    ct_status st = opts_check(opts, err);
    if (st != CT_OK) {
        return st;
    }
    ct_pbt *p = ct_calloc(1, sizeof *p);
    if (p == NULL) {
        return ct_fail_mem(err);
    }
    p->base.ops = &PBT_OPS;
    p->opts = *opts;
    p->next_round = first_round(opts);
    st = ct_ranking_new(&p->by_score, err);
    if (st == CT_OK) {
        st = ct_ranking_new(&p->by_time, err);
    }
    if (st != CT_OK) {
        pbt_free(&p->base);
        return st;
    }
    *out = p;
    return CT_OK;
}
