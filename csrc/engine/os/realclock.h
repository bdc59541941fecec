/* realclock.h: the clock of the machine. */
#ifndef CT_OS_REALCLOCK_H
#define CT_OS_REALCLOCK_H

#include "base/clock.h"

void ct_real_clock_init(ct_clock *c);

#endif
