/* stats.c: pairwise sums, and what is made of them. */
#include "base/stats.h"

#include <math.h>

enum { BLOCK = 128 };

/* The term i of a sum: v[i], or the square of its distance from `centre`. */
static inline double
term(const double *v, size_t i, double centre, int square)
{
    double d = square ? v[i] - centre : v[i];
    return square ? d * d : d;
}

static double
sum(const double *v, size_t n, double centre, int square)
{
    if (n > BLOCK) {
        size_t half = n / 2;
        half -= half % 8;
        return sum(v, half, centre, square) + sum(v + half, n - half, centre, square);
    }
    if (n < 8) {
        double s = -0.0;
        for (size_t i = 0; i < n; i++) {
            s += term(v, i, centre, square);
        }
        return s;
    }
    double r[8];
    size_t i = 0;
    for (; i < 8; i++) {
        r[i] = term(v, i, centre, square);
    }
    for (; i < n - n % 8; i += 8) {
        for (size_t k = 0; k < 8; k++) {
            r[k] += term(v, i + k, centre, square);
        }
    }
    double s = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; i++) {
        s += term(v, i, centre, square);
    }
    return s;
}

double
ct_sum(const double *v, size_t n)
{
    return sum(v, n, 0.0, 0) + 0.0;
}

double
ct_mean(const double *v, size_t n)
{
    return n > 0 ? ct_sum(v, n) / (double)n : (double)NAN;
}

double
ct_std(const double *v, size_t n)
{
    return n > 0 ? sqrt(sum(v, n, ct_mean(v, n), 1) / (double)n) : (double)NAN;
}
