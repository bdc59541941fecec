/* realclock.c: CLOCK_REALTIME and CLOCK_MONOTONIC as seconds. */
#include "os/realclock.h"

#include <time.h>

static double
seconds(clockid_t id)
{
    struct timespec t = {0, 0};
    (void)clock_gettime(id, &t); /* fails for clocks that do not exist; these do */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double
real_now(ct_clock *c)
{
    (void)c;
    return seconds(CLOCK_REALTIME);
}

static double
real_mono(ct_clock *c)
{
    (void)c;
    return seconds(CLOCK_MONOTONIC);
}

void
ct_real_clock_init(ct_clock *c)
{
    *c = (ct_clock){real_now, real_mono};
}
