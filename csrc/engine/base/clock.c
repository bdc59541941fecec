/* clock.c: the virtual clock. The real one makes system calls and lives in os/. */
#include "base/clock.h"

static double
virtual_time(ct_clock *c)
{
    return ((ct_virtual_clock *)c)->time; /* the clock is its first member */
}

void
ct_virtual_clock_init(ct_virtual_clock *c, double time)
{
    c->clock.now = virtual_time;
    c->clock.mono = virtual_time;
    c->time = time;
}
