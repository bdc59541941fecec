/* ostat.h: order statistics of a multiset of doubles in O(log n).
 *
 * Rungs ask for the percentile of all scores seen so far; a scan would make each
 * decision O(n). NaN must not be inserted. */
#ifndef CT_BASE_OSTAT_H
#define CT_BASE_OSTAT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct ct_ostat ct_ostat;

ct_status ct_ostat_new(ct_ostat **out, ct_err *err);
void ct_ostat_free(ct_ostat *s);
ct_status ct_ostat_insert(ct_ostat *s, double v, ct_err *err);
/* Removes one value equal to v; false when there is none. Memory stays. */
bool ct_ostat_remove(ct_ostat *s, double v);
size_t ct_ostat_count(const ct_ostat *s);
/* Rank 0 = smallest; rank < count. */
double ct_ostat_at(const ct_ostat *s, size_t rank);
/* numpy.percentile(values, q) with linear interpolation, bit for bit (NumPy's lerp: for
 * t >= 0.5 it computes b - (b - a) * (1 - t)). count > 0; q in [0, 100]. */
double ct_ostat_percentile(const ct_ostat *s, double q);

#endif
