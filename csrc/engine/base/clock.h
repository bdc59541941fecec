/* clock.h: time as an interface. The controller never asks; the drive stamps events. */
#ifndef CT_BASE_CLOCK_H
#define CT_BASE_CLOCK_H

typedef struct ct_clock ct_clock;
struct ct_clock {
    double (*now)(ct_clock *c);  /* seconds since the epoch */
    double (*mono)(ct_clock *c); /* seconds, never backwards; arbitrary origin */
};

/* A clock that stands still until it is set: tests and the simulator. */
typedef struct ct_virtual_clock {
    ct_clock clock; /* first */
    double time;
} ct_virtual_clock;
void ct_virtual_clock_init(ct_virtual_clock *c, double time);

#endif
