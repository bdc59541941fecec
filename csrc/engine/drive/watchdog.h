/* watchdog.h: notices that a run stands still, and says why. */
#ifndef CT_DRIVE_WATCHDOG_H
#define CT_DRIVE_WATCHDOG_H

#include "control/control.h"

typedef struct ct_watchdog {
    double limit; /* seconds without any command or note; 0 = never look */
    double since; /* monotonic time of the last one, or of the last look */
    bool began;
} ct_watchdog;

/* After each turn. *out is why nothing runs, empty if there is nothing to say: something
 * runs, or the limit is not over. Looks at the trials at most once per limit. */
ct_status ct_watchdog_look(ct_watchdog *w, const ct_control *c, double mono,
                           ct_buf *out, ct_err *err);

#endif
