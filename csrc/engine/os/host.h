/* host.h: the name and the address of this machine, as results carry them. */
#ifndef CT_OS_HOST_H
#define CT_OS_HOST_H

#include <stddef.h>
#include <stdint.h>

void ct_host_name(char *out, size_t size);
/* The address by which others reach this machine; "127.0.0.1" without a network. Sends
 * nothing. */
void ct_host_address(char *out, size_t size);
int64_t ct_host_pid(void);
double ct_host_mono(void);          /* seconds, monotonic */
double ct_host_now(void);           /* seconds since the epoch */
void ct_host_sleep(double seconds); /* a signal may end it early */

#endif
