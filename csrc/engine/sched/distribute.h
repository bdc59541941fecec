/* distribute.h: how many CPUs and GPUs a live trial should hold, given what the machine
 * has and what the live trials hold. Pure arithmetic, in units: the smallest amounts by
 * which a trial grows or shrinks.
 *
 * A trial starts with its base bundles. It grows by whole bundles of one unit behind them
 * (`add_bundles`), or inside its only bundle. It never gets less than its base, and no
 * more than is free. Amounts are doubles, in the order of operations that documented
 * programs rely on: 1.0 holds nine units of 0.1, not ten. */
#ifndef CT_SCHED_DISTRIBUTE_H
#define CT_SCHED_DISTRIBUTE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ct_amounts {
    double cpu;
    double gpu;
} ct_amounts;

/* A live trial. The bundles are borrowed. */
typedef struct ct_holder {
    const ct_amounts *bundles;
    size_t count;
    double score; /* smaller = better; read by ct_distribute_to_best only */
} ct_holder;

typedef struct ct_distribution {
    bool add_bundles;
    int64_t limit;   /* a trial grows by so many units at most; below 1: no limit */
    ct_amounts unit; /* CPU, GPU or both above 0 */
    ct_amounts cap;  /* `limit` of these make a trial full; 0: never said */
    ct_amounts total;
    ct_amounts reserved; /* of the total, for others than trials */
    const ct_amounts *base;
    size_t base_count;     /* at least 1 */
    const ct_amounts *own; /* what the trial in question holds: at least 1 */
    size_t own_count;
    const ct_holder *holders; /* all live trials, that one included */
    size_t holder_count;
} ct_distribution;

/* What the trial should hold: its base and, with add_bundles, the first `kept` of its
 * further bundles that are not empty, and `units` new ones; else `single`. */
typedef struct ct_share {
    size_t kept;
    size_t units;
    ct_amounts single;
} ct_share;

/* Most units that one answer may add as bundles; more is a unit chosen too small. */
#define CT_SHARE_UNITS_MAX 1000000

/* Equal shares for all live trials, dealt round by round; the remainder goes to the first
 * that ask. Costs O(bundles held + units dealt). Errors: CT_EINVAL naming what cannot be
 * used. */
ct_status ct_distribute_evenly(const ct_distribution *d, ct_share *out, ct_err *err);
/* Everything free for the best holder that is not full (all are: the best); `self` is the
 * index of the trial in question, or holder_count when it is not among them. Others keep
 * what they have, unless more is held than there is. Equal scores: the first; NaN is
 * worst. Costs O(bundles held). */
ct_status ct_distribute_to_best(const ct_distribution *d, size_t self, ct_share *out,
                                ct_err *err);

#endif
