/* poll.c: see poll.h. poll(2), because it is the same everywhere and the number of workers
 * is that of the cores; entry 0 is the read end of the wake-up pipe. */
#include "os/poll.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <unistd.h>

#define NOT_WATCHED UINT32_MAX

struct ct_poller {
    struct pollfd *fds;
    size_t fds_cap;
    uint32_t *tags;
    size_t tags_cap;
    uint32_t *slot; /* descriptor -> index in fds */
    size_t slot_cap;
    size_t count;
    size_t next; /* the first entry that poller_next has not looked at */
    int wake_write;
};

static ct_status
poller_grow(ct_poller *p, int fd, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&p->fds, &p->fds_cap, p->count + 1, sizeof *p->fds, err);
    if (st != CT_OK) {
        return st;
    }
    st = ct_grow((void **)&p->tags, &p->tags_cap, p->count + 1, sizeof *p->tags, err);
    if (st != CT_OK) {
        return st;
    }
    size_t had = p->slot_cap;
    st = ct_grow((void **)&p->slot, &p->slot_cap, (size_t)fd + 1, sizeof *p->slot, err);
    for (size_t i = had; st == CT_OK && i < p->slot_cap; i++) {
        p->slot[i] = NOT_WATCHED;
    }
    return st;
}

ct_status
ct_poller_add(ct_poller *p, int fd, uint32_t tag, ct_err *err)
{
    assert(fd >= 0);
    ct_status st = poller_grow(p, fd, err);
    if (st != CT_OK) {
        return st;
    }
    assert(p->slot[fd] == NOT_WATCHED);
    p->fds[p->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    p->tags[p->count] = tag;
    p->slot[fd] = (uint32_t)p->count++;
    return CT_OK;
}

ct_status
ct_poller_new(ct_poller **out, ct_err *err)
{
    ct_poller *p = ct_calloc(1, sizeof *p);
    if (p == NULL) {
        return ct_fail_mem(err);
    }
    p->wake_write = -1;
    int fds[2] = {-1, -1};
    ct_status st = CT_OK;
    if (pipe(fds) < 0) {
        st = ct_fail_os(err, errno, "pipe",
                        "cannot make a wake-up pipe; raise `ulimit -n`");
        goto fail;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    st = ct_poller_add(p, fds[0], 0, err);
    if (st != CT_OK) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        goto fail;
    }
    p->wake_write = fds[1];
    p->next = 1;
    *out = p;
    return CT_OK;
fail:
    ct_poller_free(p);
    return st;
}

void
ct_poller_free(ct_poller *p)
{
    if (p == NULL) {
        return;
    }
    if (p->count > 0) {
        (void)close(p->fds[0].fd);
    }
    if (p->wake_write >= 0) {
        (void)close(p->wake_write);
    }
    ct_free(p->fds);
    ct_free(p->tags);
    ct_free(p->slot);
    ct_free(p);
}

static uint32_t
poller_slot(const ct_poller *p, int fd)
{
    return fd >= 0 && (size_t)fd < p->slot_cap ? p->slot[fd] : NOT_WATCHED;
}

void
ct_poller_want_write(ct_poller *p, int fd, bool on)
{
    uint32_t i = poller_slot(p, fd);
    assert(i != NOT_WATCHED);
    p->fds[i].events = on ? POLLIN | POLLOUT : POLLIN;
}

/* The last entry takes the free place. While results are being fetched that could hide an
 * entry not looked at yet; it is then reported by the next wait (level-triggered). */
void
ct_poller_remove(ct_poller *p, int fd)
{
    uint32_t i = poller_slot(p, fd);
    if (i == NOT_WATCHED) {
        return;
    }
    p->slot[fd] = NOT_WATCHED;
    size_t last = --p->count;
    if (i != last) {
        p->fds[i] = p->fds[last];
        p->tags[i] = p->tags[last];
        p->slot[p->fds[i].fd] = i;
    }
}

static void
poller_drain_wake(const ct_poller *p)
{
    char sink[64];
    while (read(p->fds[0].fd, sink, sizeof sink) == (ssize_t)sizeof sink) {
    }
}

static int
poller_milliseconds(double timeout)
{
    if (timeout < 0) {
        return -1;
    }
    double ms = ceil(timeout * 1000.0); /* up: a limit is never met early */
    return ms < 1e9 ? (int)ms : 1000000000;
}

ct_status
ct_poller_wait(ct_poller *p, double timeout, ct_err *err)
{
    int n = poll(p->fds, (nfds_t)p->count, poller_milliseconds(timeout));
    p->next = 1;
    if (n < 0) {
        for (size_t i = 0; i < p->count; i++) {
            p->fds[i].revents = 0;
        }
        return errno == EINTR
                   ? CT_OK
                   : ct_fail_os(err, errno, "poll", "cannot wait for workers");
    }
    if (p->fds[0].revents != 0) {
        poller_drain_wake(p);
    }
    return CT_OK;
}

bool
ct_poller_next(ct_poller *p, ct_ready *out)
{
    for (size_t i = p->next; i < p->count; i++) {
        short r = p->fds[i].revents;
        if (r != 0) {
            out->tag = p->tags[i];
            out->readable = (r & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) != 0;
            out->writable = (r & POLLOUT) != 0;
            p->fds[i].revents = 0;
            p->next = i + 1;
            return true;
        }
    }
    p->next = p->count;
    return false;
}

void
ct_poller_wake(ct_poller *p)
{
    int saved = errno;
    ssize_t n = write(p->wake_write, "", 1); /* full means that it is awake already */
    (void)n;
    errno = saved;
}
