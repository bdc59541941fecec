/* stats.h: mean and standard deviation, rounded as NumPy rounds them.
 *
 * Decisions are compared with those of code that calls numpy.mean and numpy.std, so the
 * sums are NumPy's pairwise ones: blocks of up to 128 in eight running sums. */
#ifndef CT_BASE_STATS_H
#define CT_BASE_STATS_H

#include <stddef.h>

double ct_sum(const double *v, size_t n);
double ct_mean(const double *v, size_t n); /* NaN for n == 0 */
/* Of the population (divided by n); NaN for n == 0. */
double ct_std(const double *v, size_t n);

#endif
