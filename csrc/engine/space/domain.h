/* domain.h: one hyperparameter: its bounds, scale and quantum, and how it is sampled.
 *
 * A domain is a plain struct. Fill the fields of its kind, call ct_domain_prepare once,
 * then sample. The order of draws and the arithmetic are those of NumPy-based Ray Tune
 * (2.24), so that a seed gives the configurations its users know; quantised integers
 * draw an index, as its later versions do, so that every multiple is equally likely and
 * the upper bound is reached.
 *
 * A choice draws only the index of its option; the options live in the space
 * (space.h). */
#ifndef CT_SPACE_DOMAIN_H
#define CT_SPACE_DOMAIN_H

#include "base/rng.h"
#include "base/status.h"
#include "base/value.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum ct_domain_kind {
    CT_DOMAIN_FLOAT,  /* [lower, upper), uniform or log-uniform */
    CT_DOMAIN_INT,    /* [low, high), uniform or log-uniform */
    CT_DOMAIN_NORMAL, /* mean, sd */
    CT_DOMAIN_CHOICE, /* an index in [0, count) */
    CT_DOMAIN_KIND_COUNT
} ct_domain_kind;

typedef struct ct_domain {
    ct_domain_kind kind;
    bool log;     /* FLOAT and INT: uniform in log(value) */
    double base;  /* of the logarithm; only changes rounding; 0 means 10 */
    double q;     /* values are multiples of q and both bounds count; 0 = no quantum */
    double lower; /* FLOAT */
    double upper;
    int64_t low; /* INT */
    int64_t high;
    double mean; /* NORMAL */
    double sd;
    uint32_t count; /* CHOICE */
    /* From here on: worked out by ct_domain_prepare. */
    bool prepared;
    double draw_low; /* what is handed to the source: bounds, or their logarithms */
    double draw_high;
    int64_t draw_first; /* INT: values, or indices of multiples */
    int64_t draw_end;
} ct_domain;

/* Checks the fields and works out the rest. param names the parameter in errors (its
 * path). Errors: CT_EINVAL. */
ct_status ct_domain_prepare(ct_domain *d, const char *param, ct_err *err);

/* The bounds whose logarithms a log-scaled, prepared domain draws between, for a caller
 * that wants to replace draw_low and draw_high by logarithms of another library. */
void ct_domain_log_bounds(const ct_domain *d, double *lower, double *upper);

/* Draws one value: CT_F64, or CT_I64 for INT and CHOICE. Errors: those of the
 * source. */
ct_status ct_domain_sample(const ct_domain *d, ct_rng *rng, ct_value *out, ct_err *err);

/* Whether v could have come from the domain; the upper bound counts as inside. A choice
 * knows only its number of options: v is an index. */
bool ct_domain_contains(const ct_domain *d, const ct_value *v);

#endif
