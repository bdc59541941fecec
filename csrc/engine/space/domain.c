/* domain.c: checks and draws.
 *
 * Formulas, with u = the source's uniform(a, b):
 *   float        u, a = lower, b = upper
 *   log          base ** u, a = ln(lower) / ln(base), b = ln(upper) / ln(base)
 *   quantised    round_half_even(v / q) * q, bounds first moved inwards to multiples
 *   quantised int   index * q, index drawn from [first multiple, last multiple]
 * The order of these operations decides the last bit and must not change. Results of
 * the log forms are held within their bounds, which the power can leave by one
 * rounding. */
#include "space/domain.h"

#include <math.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* see the note on the last bit above */
#endif

/* Whole numbers up to here are exact as doubles. */
#define EXACT_INT 9007199254740992.0

/* bound / q, or the whole number next to it if it is that but for rounding. */
static double
snapped(double bound, double q, bool up)
{
    double x = bound / q;
    if (!isfinite(x)) {
        return x;
    }
    double whole = rint(x);
    if (fabs(x - whole) <= 1e-9 * fmax(fabs(x), fabs(whole))) {
        return whole;
    }
    return up ? ceil(x) : floor(x);
}

static ct_status
check_quantum(const ct_domain *d, const char *param, ct_err *err)
{
    if (d->q < 0.0 || isnan(d->q) || isinf(d->q)) {
        return ct_fail(err, CT_EINVAL, param,
                       "has q = %g, which must be greater than 0", d->q);
    }
    return CT_OK;
}

static ct_status
check_log(const ct_domain *d, double lower, double upper, const char *param,
          ct_err *err)
{
    if (!(d->base > 0.0) || isinf(d->base) || (d->base >= 1.0 && d->base <= 1.0)) {
        return ct_fail(
            err, CT_EINVAL, param,
            "has a logarithm of base %g, which must be greater than 0 and not 1",
            d->base);
    }
    if (!(lower > 0.0) || isinf(upper)) {
        return ct_fail(
            err, CT_EINVAL, param,
            "has bounds %g and %g, but a log scale needs 0 < lower and a finite upper "
            "bound; give the values, not their logarithms",
            lower, upper);
    }
    return CT_OK;
}

static void
set_log_draw(ct_domain *d, double lower, double upper)
{
    d->draw_low = log(lower) / log(d->base);
    d->draw_high = log(upper) / log(d->base);
}

static ct_status
no_multiple(const ct_domain *d, double lower, double upper, const char *param,
            ct_err *err)
{
    return ct_fail(
        err, CT_EINVAL, param,
        "has no multiple of q = %g between %.17g and %.17g; widen the bounds or make q "
        "smaller",
        d->q, lower, upper);
}

static ct_status
prepare_float(ct_domain *d, const char *param, ct_err *err)
{
    double lower = d->lower;
    double upper = d->upper;
    if (isnan(lower) || isnan(upper) || isinf(lower) || isinf(upper)) {
        return ct_fail(
            err, CT_EINVAL, param,
            "has bounds %g and %g, but a uniform parameter needs two finite ones",
            lower, upper);
    }
    if (lower > upper) {
        return ct_fail(
            err, CT_EINVAL, param,
            "has a lower bound %.17g greater than its upper bound %.17g; swap them",
            lower, upper);
    }
    if (isinf(upper - lower)) {
        return ct_fail(
            err, CT_EINVAL, param,
            "has a range from %g to %g, too wide for a float; use a log scale", lower,
            upper);
    }
    if (d->q > 0.0) {
        lower = snapped(lower, d->q, true) * d->q;
        upper = snapped(upper, d->q, false) * d->q;
        if (lower > upper) {
            return no_multiple(d, d->lower, d->upper, param, err);
        }
    }
    d->draw_low = lower;
    d->draw_high = upper;
    if (d->log) {
        ct_status st = check_log(d, lower, upper, param, err);
        if (st != CT_OK) {
            return st;
        }
        set_log_draw(d, lower, upper);
    }
    return CT_OK;
}

/* Indices of the multiples of q within [low, high], exactly if q is a whole number. */
static void
int_indices(const ct_domain *d, double *first, double *last)
{
    if (d->q < EXACT_INT && trunc(d->q) >= d->q) {
        int64_t q = (int64_t)d->q;
        int64_t lo = d->low / q + (d->low % q > 0 ? 1 : 0);
        int64_t hi = d->high / q - (d->high % q < 0 ? 1 : 0);
        *first = (double)lo;
        *last = (double)hi;
        return;
    }
    *first = snapped((double)d->low, d->q, true);
    *last = snapped((double)d->high, d->q, false);
}

static ct_status
prepare_int(ct_domain *d, const char *param, ct_err *err)
{
    d->draw_first = d->low;
    d->draw_end = d->high;
    bool whole_steps = d->q > 0.0 && (d->q < 1.0 || d->q > 1.0);
    if (whole_steps) {
        double first;
        double last;
        int_indices(d, &first, &last);
        if (d->low > d->high || first > last) {
            return no_multiple(d, (double)d->low, (double)d->high, param, err);
        }
        if (fabs(first) > EXACT_INT || fabs(last) > EXACT_INT) {
            return ct_fail(
                err, CT_EINVAL, param,
                "has too many multiples of q = %g between its bounds; use a larger q",
                d->q);
        }
        d->draw_first = (int64_t)first;
        d->draw_end = (int64_t)last + 1;
    } else if (d->low >= d->high) {
        return ct_fail(
            err, CT_EINVAL, param,
            "has bounds %lld and %lld, but the lower one must be less than the upper "
            "one, which is no value itself",
            (long long)d->low, (long long)d->high);
    }
    if (d->log) {
        double lower = (double)d->draw_first;
        double upper = (double)d->draw_end;
        ct_status st = check_log(d, lower, upper, param, err);
        if (st != CT_OK) {
            return st;
        }
        set_log_draw(d, lower, upper);
    }
    return CT_OK;
}

ct_status
ct_domain_prepare(ct_domain *d, const char *param, ct_err *err)
{
    if (d->base >= 0.0 && d->base <= 0.0) {
        d->base = 10.0;
    }
    ct_status st = check_quantum(d, param, err);
    if (st != CT_OK) {
        return st;
    }
    switch (d->kind) {
    case CT_DOMAIN_FLOAT:
        st = prepare_float(d, param, err);
        break;
    case CT_DOMAIN_INT:
        st = prepare_int(d, param, err);
        break;
    case CT_DOMAIN_NORMAL:
        if (!(d->sd > 0.0) || isinf(d->sd) || !isfinite(d->mean)) {
            st = ct_fail(
                err, CT_EINVAL, param,
                "has mean %g and standard deviation %g, but must have a finite mean "
                "and a finite deviation greater than 0",
                d->mean, d->sd);
        }
        break;
    case CT_DOMAIN_CHOICE:
        if (d->count == 0) {
            st = ct_fail(err, CT_EINVAL, param,
                         "has nothing to choose from; give at least one value");
        }
        break;
    case CT_DOMAIN_KIND_COUNT:
        break;
    }
    d->prepared = st == CT_OK;
    return st;
}

void
ct_domain_log_bounds(const ct_domain *d, double *lower, double *upper)
{
    if (d->kind == CT_DOMAIN_INT) {
        *lower = (double)d->draw_first;
        *upper = (double)d->draw_end;
        return;
    }
    *lower = d->lower;
    *upper = d->upper;
    if (d->q > 0.0) {
        *lower = snapped(d->lower, d->q, true) * d->q;
        *upper = snapped(d->upper, d->q, false) * d->q;
    }
}

static double
draw_log(const ct_domain *d, ct_rng *rng)
{
    double lower;
    double upper;
    ct_domain_log_bounds(d, &lower, &upper);
    double v = pow(d->base, ct_rng_uniform(rng, d->draw_low, d->draw_high));
    return v < lower ? lower : v > upper ? upper : v;
}

static double
quantised(double v, double q)
{
    return q > 0.0 ? rint(v / q) * q : v;
}

static ct_status
sample_int(const ct_domain *d, ct_rng *rng, ct_value *out, ct_err *err)
{
    int64_t i;
    if (d->log) {
        double v = floor(draw_log(d, rng));
        i = v >= (double)d->draw_end ? d->draw_end - 1 : (int64_t)v;
    } else {
        ct_status st = rng->integers(rng, d->draw_first, d->draw_end, &i, err);
        if (st != CT_OK) {
            return st;
        }
    }
    if (d->q > 0.0 && d->q < EXACT_INT && trunc(d->q) >= d->q) {
        i *= (int64_t)d->q;
    } else if (d->q > 0.0) {
        i = (int64_t)((double)i * d->q);
    }
    *out = ct_i64(i);
    return CT_OK;
}

ct_status
ct_domain_sample(const ct_domain *d, ct_rng *rng, ct_value *out, ct_err *err)
{
    ct_status st = CT_OK;
    double v = 0.0;
    int64_t i = 0;
    switch (d->kind) {
    case CT_DOMAIN_FLOAT:
        v = d->log ? draw_log(d, rng) : ct_rng_uniform(rng, d->draw_low, d->draw_high);
        break;
    case CT_DOMAIN_INT:
        return sample_int(d, rng, out, err);
    case CT_DOMAIN_NORMAL:
        st = rng->normal(rng, d->mean, d->sd, &v, err);
        break;
    case CT_DOMAIN_CHOICE:
        st = rng->integers(rng, 0, d->count, &i, err);
        if (st == CT_OK) {
            *out = ct_i64(i);
        }
        return st;
    case CT_DOMAIN_KIND_COUNT:
        break;
    }
    if (st == CT_OK) {
        *out = ct_f64(quantised(v, d->q));
    }
    return st;
}

bool
ct_domain_contains(const ct_domain *d, const ct_value *v)
{
    double x;
    if (!ct_value_number(v, &x)) {
        return false;
    }
    switch (d->kind) {
    case CT_DOMAIN_FLOAT:
        return d->lower <= x && x <= d->upper;
    case CT_DOMAIN_INT:
        return (double)d->low <= x && x <= (double)d->high;
    case CT_DOMAIN_NORMAL:
        return !isnan(x);
    case CT_DOMAIN_CHOICE:
        return x >= 0.0 && x < (double)d->count;
    case CT_DOMAIN_KIND_COUNT:
        break;
    }
    return false;
}
