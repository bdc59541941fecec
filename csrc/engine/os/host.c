/* host.c: see host.h. */
#include "os/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void
ct_host_name(char *out, size_t size)
{
    if (gethostname(out, size) != 0) {
        snprintf(out, size, "localhost");
    }
    out[size - 1] = '\0';
}

/* Connecting a datagram socket makes the kernel choose a route, and so a local address;
 * no packet leaves. */
void
ct_host_address(char *out, size_t size)
{
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in self;
    socklen_t len = sizeof self;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    snprintf(out, size, "127.0.0.1");
    if (fd < 0) {
        return;
    }
    inet_pton(AF_INET, "192.0.2.1", &peer.sin_addr); /* reserved for documentation */
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0 &&
        getsockname(fd, (struct sockaddr *)&self, &len) == 0 &&
        inet_ntop(AF_INET, &self.sin_addr, out, (socklen_t)size) == NULL) {
        snprintf(out, size, "127.0.0.1");
    }
    close(fd);
}

int64_t
ct_host_pid(void)
{
    return (int64_t)getpid();
}

static double
seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double
ct_host_mono(void)
{
    return seconds(CLOCK_MONOTONIC);
}

double
ct_host_now(void)
{
    return seconds(CLOCK_REALTIME);
}

void
ct_host_sleep(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};

    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    (void)nanosleep(&t, NULL);
}
