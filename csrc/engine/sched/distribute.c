/* distribute.c: see distribute.h. */
#include "sched/distribute.h"

#include <assert.h>
#include <math.h>

/* Dealing goes unit by unit. */
#define UNITS_MAX 1e8

/* What a trial has beyond its base. */
typedef struct extra {
    size_t count;      /* with add_bundles: bundles of its own kept from the front */
    size_t units;      /* … and units appended */
    ct_amounts single; /* otherwise */
} extra;

static bool
is_empty(ct_amounts a)
{
    return a.cpu == 0.0 && a.gpu == 0.0;
}

static ct_amounts
minus(ct_amounts a, ct_amounts b)
{
    return (ct_amounts){a.cpu - b.cpu, a.gpu - b.gpu};
}

static ct_amounts
sum_of(const ct_amounts *bundles, size_t count)
{
    ct_amounts sum = {0.0, 0.0};
    for (size_t i = 0; i < count; i++) {
        sum.cpu += bundles[i].cpu;
        sum.gpu += bundles[i].gpu;
    }
    return sum;
}

static size_t
count_full(const ct_amounts *bundles, size_t count)
{
    size_t full = 0;
    for (size_t i = 0; i < count; i++) {
        full += is_empty(bundles[i]) ? 0 : 1;
    }
    return full;
}

/* Largest whole number of times that y > 0 goes into x, rounding as Python's // does:
 * floor(x / y) alone would round a quotient just below a whole number up to it. */
static double
floor_divide(double x, double y)
{
    double rest = fmod(x, y);
    double quotient = (x - rest) / y;
    if (rest < 0.0) {
        quotient -= 1.0;
    }
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1.0 : whole;
}

/* How many units the amounts hold; negative when they are. */
static double
units_in(ct_amounts a, ct_amounts unit)
{
    double cpus = unit.cpu > 0.0 ? floor_divide(a.cpu, unit.cpu) : (double)INFINITY;
    double gpus = unit.gpu > 0.0 ? floor_divide(a.gpu, unit.gpu) : (double)INFINITY;
    return gpus < cpus ? gpus : cpus;
}

static double
at_most(double value, double limit)
{
    return limit < value ? limit : value;
}

/* `times` units more in one bundle, which ends at `limit` units (below 1: never). */
static ct_amounts
grown(ct_amounts a, ct_amounts unit, double times, double limit)
{
    a.cpu += unit.cpu * times;
    a.gpu += unit.gpu * times;
    if (limit > 0.0) {
        a.cpu = at_most(a.cpu, unit.cpu * limit);
        a.gpu = at_most(a.gpu, unit.gpu * limit);
    }
    return a;
}

static extra
extra_now(const ct_distribution *d)
{
    extra now = {0, 0, {0.0, 0.0}};
    if (!d->add_bundles) {
        now.single = minus(d->own[0], d->base[0]);
    } else if (d->own_count > d->base_count) {
        now.count = d->own_count - d->base_count;
    }
    return now;
}

static extra
shrink(const ct_distribution *d, extra now, double times)
{
    if (!d->add_bundles) {
        now.single.cpu = fmax(now.single.cpu - d->unit.cpu * times, 0.0);
        now.single.gpu = fmax(now.single.gpu - d->unit.gpu * times, 0.0);
    } else if (times >= (double)now.count) {
        now.count = 0;
    } else {
        now.count -= (size_t)times;
    }
    return now;
}

static ct_status
grow(const ct_distribution *d, extra *now, double times, double limit, ct_err *err)
{
    if (!d->add_bundles) {
        now->single = grown(now->single, d->unit, times, limit);
        return CT_OK;
    }
    /* Empty bundles count for nothing, and are gone as soon as there are better ones. */
    size_t full = count_full(d->own + d->base_count, now->count);
    if (limit > 0.0) {
        if ((double)full > limit) {
            full = (size_t)limit;
        }
        times = at_most(times, limit - (double)full);
    }
    if (times > (double)CT_SHARE_UNITS_MAX) {
        return ct_fail(
            err, CT_EINVAL, "increase_by",
            "is so small that a trial would get %.17g more bundles; choose a "
            "larger amount, or set increase_by_times",
            times);
    }
    now->count = 0; /* of those that are not empty, from here on: see finish */
    while (full > 0) {
        full -= is_empty(d->own[d->base_count + now->count]) ? 0 : 1;
        now->count++;
    }
    now->units = (size_t)times;
    return CT_OK;
}

/* Gives what is free, or takes back what is not there. share: most units that this trial
 * may have, below 1 = any number. */
static ct_status
adjust(const ct_distribution *d, ct_amounts available, double share, extra *now,
       ct_err *err)
{
    double times = units_in(available, d->unit);
    if (times < 0.0) {
        *now = shrink(d, *now, -times);
        return CT_OK;
    }
    if (times == 0.0) {
        return CT_OK;
    }
    double limit = share;
    if (d->limit > 0) {
        limit = share > 0.0 ? at_most(share, (double)d->limit) : (double)d->limit;
    }
    return grow(d, now, times, limit, err);
}

static void
finish(const ct_distribution *d, extra now, ct_share *out)
{
    *out = (ct_share){0, 0, {0.0, 0.0}};
    if (d->add_bundles) {
        out->kept = count_full(d->own + d->base_count, now.count);
        out->units = now.units;
        return;
    }
    out->single.cpu = d->base[0].cpu + now.single.cpu;
    out->single.gpu = d->base[0].gpu + now.single.gpu;
}

static ct_amounts
available_for_trials(const ct_distribution *d)
{
    return minus(d->total, d->reserved);
}

static ct_amounts
free_now(const ct_distribution *d)
{
    ct_amounts used = {0.0, 0.0};
    for (size_t i = 0; i < d->holder_count; i++) {
        ct_amounts a = sum_of(d->holders[i].bundles, d->holders[i].count);
        used.cpu += a.cpu;
        used.gpu += a.gpu;
    }
    return minus(available_for_trials(d), used);
}

/* How many units a trial gets when all live trials start from their bases and are dealt
 * one unit each, round by round: those of the first to be dealt. Every trial that is dealt
 * one has as many as the others of its round, so one count stands for all. */
static double
fair_share(const ct_distribution *d)
{
    ct_amounts base = sum_of(d->base, d->base_count);
    double n = (double)d->holder_count;
    ct_amounts left = available_for_trials(d);
    ct_amounts have = {0.0, 0.0};
    double limit = d->limit > 0 ? (double)d->limit : 0.0;
    double share = 0.0;

    left.cpu -= base.cpu * n;
    left.gpu -= base.gpu * n;
    while (n > 0.0 && left.cpu >= d->unit.cpu && left.gpu >= d->unit.gpu) {
        ct_amounts more = d->unit;
        if (d->add_bundles) {
            if (limit > 0.0 && share >= limit) {
                break;
            }
        } else {
            ct_amounts next = grown(have, d->unit, 1.0, limit);
            more = minus(next, have);
            have = next;
            if (is_empty(more)) {
                break;
            }
        }
        share += 1.0;
        for (size_t i = 0;
             i < d->holder_count && left.cpu >= d->unit.cpu && left.gpu >= d->unit.gpu;
             i++) {
            left = minus(left, more);
        }
    }
    return share;
}

/* ---- who is best ---- */

static bool
below(double added, double cap, int64_t limit)
{
    return limit < 1 || added < cap * (double)limit;
}

/* Whether a holder may grow further. A resource that none of its further bundles has is
 * below any limit, even one of 0. */
static bool
is_below_limit(const ct_distribution *d, const ct_holder *h)
{
    if (!d->add_bundles) {
        ct_amounts added = minus(h->bundles[0], d->base[0]);
        return below(added.cpu, d->cap.cpu, d->limit) ||
               below(added.gpu, d->cap.gpu, d->limit);
    }
    bool more = h->count > d->base_count;
    ct_amounts added = {0.0, 0.0};
    if (more) {
        added = sum_of(h->bundles + d->base_count, h->count - d->base_count);
    }
    return (more && added.cpu == 0.0) || below(added.cpu, d->cap.cpu, d->limit) ||
           (more && added.gpu == 0.0) || below(added.gpu, d->cap.gpu, d->limit);
}

static bool
is_better(double a, double b)
{
    return isnan(b) ? !isnan(a) : a < b;
}

static size_t
best_holder(const ct_distribution *d)
{
    size_t best = 0;
    bool found = false; /* one that is not full */
    for (size_t i = 0; i < d->holder_count; i++) {
        bool can_grow = is_below_limit(d, &d->holders[i]);
        if (can_grow == found
                ? i > 0 && is_better(d->holders[i].score, d->holders[best].score)
                : can_grow) {
            best = i;
        }
        found = found || can_grow;
    }
    return best;
}

/* ---- checks ---- */

static ct_status
check_amounts(const ct_amounts *a, size_t count, const char *what, ct_err *err)
{
    for (size_t i = 0; i < count; i++) {
        bool cpu = isfinite(a[i].cpu) && a[i].cpu >= 0.0;
        if (!cpu || !isfinite(a[i].gpu) || a[i].gpu < 0.0) {
            return ct_fail(err, CT_EINVAL, what,
                           "must hold amounts of 0 or more, got %g %s; correct it",
                           cpu ? a[i].gpu : a[i].cpu, cpu ? "GPU" : "CPU");
        }
    }
    return CT_OK;
}

static ct_status
check(const ct_distribution *d, ct_err *err)
{
    assert(d->base_count > 0 && d->own_count > 0);
    ct_status st = check_amounts(&d->unit, 1, "increase_by", err);
    if (st == CT_OK && is_empty(d->unit)) {
        st = ct_fail(err, CT_EINVAL, "increase_by",
                     "must hold a CPU or GPU amount above 0, such as {\"CPU\": 1}");
    }
    if (st == CT_OK) {
        st = check_amounts(&d->cap, 1, "increase_by", err);
    }
    if (st == CT_OK) {
        st = check_amounts(&d->total, 1, "resources of the machine", err);
    }
    if (st == CT_OK) {
        st = check_amounts(&d->reserved, 1, "reserve_resources", err);
    }
    if (st == CT_OK) {
        st = check_amounts(d->base, d->base_count, "base resources", err);
    }
    if (st == CT_OK) {
        st = check_amounts(d->own, d->own_count, "resources of the trial", err);
    }
    for (size_t i = 0; st == CT_OK && i < d->holder_count; i++) {
        assert(d->holders[i].count > 0);
        st = check_amounts(d->holders[i].bundles, d->holders[i].count,
                           "resources of a trial", err);
    }
    if (st == CT_OK && units_in(available_for_trials(d), d->unit) > UNITS_MAX) {
        st = ct_fail(err, CT_EINVAL, "increase_by",
                     "is so small that the machine holds more than %g of it; choose a "
                     "larger amount, such as {\"CPU\": 1}",
                     UNITS_MAX);
    }
    if (st == CT_OK && !d->add_bundles && d->base_count > 1) {
        st = ct_fail(err, CT_EINVAL, "add_bundles",
                     "is False, which goes with one bundle per trial, but trials have "
                     "%zu; pass add_bundles=True, or ask for one bundle",
                     d->base_count);
    }
    return st;
}

/* ---- the two ---- */

ct_status
ct_distribute_evenly(const ct_distribution *d, ct_share *out, ct_err *err)
{
    ct_status st = check(d, err);
    if (st != CT_OK) {
        return st;
    }
    extra now = extra_now(d);
    st = adjust(d, free_now(d), fair_share(d), &now, err);
    if (st == CT_OK) {
        finish(d, now, out);
    }
    return st;
}

ct_status
ct_distribute_to_best(const ct_distribution *d, size_t self, ct_share *out, ct_err *err)
{
    ct_status st = check(d, err);
    if (st != CT_OK) {
        return st;
    }
    extra now = extra_now(d);
    ct_amounts available = free_now(d);
    bool is_best = self < d->holder_count && self == best_holder(d);
    if (is_best || units_in(available, d->unit) < 0.0) {
        st = adjust(d, available, 0.0, &now, err);
    }
    if (st == CT_OK) {
        finish(d, now, out);
    }
    return st;
}
