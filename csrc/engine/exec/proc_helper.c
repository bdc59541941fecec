/* proc_helper.c: see proc_helper.h. The messages are described in proc_wire.h.
 *
 * A worker that ended is reported only after its process group and the orphans it left
 * were killed: when the driver hears of it, what the worker held is free again. */
#include "exec/proc_helper.h"

#include "base/mem.h"
#include "exec/proc_wire.h"
#include "os/host.h"

typedef struct helper_child {
    uint32_t worker;
    pid_t pid;
} helper_child;

struct ct_helper {
    int control;
    pid_t parent;
    pid_t self;
    helper_child *children;
    size_t count;
    size_t cap;
};

ct_status
ct_helper_new(ct_helper **out, int control, int keep, ct_err *err)
{
    pid_t parent = ct_proc_parent();
    ct_helper *h = ct_calloc(1, sizeof *h);
    if (h == NULL) {
        return ct_fail_mem(err);
    }
    h->control = control;
    h->parent = parent;
    h->self = ct_proc_self();
    ct_proc_helper_setup(keep);
    *out = h;
    return CT_OK;
}

void
ct_helper_free(ct_helper *h)
{
    if (h != NULL) {
        ct_fd_close(&h->control);
        ct_free(h->children);
        ct_free(h);
    }
}

/* False when the driver is gone. */
static bool
helper_send(ct_helper *h, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        size_t done;
        if (ct_fd_send(h->control, at, len, -1, &done) == CT_IO_GONE) {
            return false;
        }
        at += done;
        len -= done;
    }
    return true;
}

static bool
helper_tell(ct_helper *h, ct_wire_kind kind, uint32_t worker, uint32_t value,
            const char *text, size_t len)
{
    ct_wire m = {(uint32_t)kind, worker, value, (uint32_t)len};
    uint8_t header[CT_WIRE_HEADER];
    ct_wire_write(header, &m);
    return helper_send(h, header, sizeof header) && helper_send(h, text, len);
}

/* Waits for exactly len bytes. *fd is a descriptor that came with them, or -1. */
static bool
helper_receive(ct_helper *h, void *data, size_t len, int *fd)
{
    uint8_t *at = data;
    *fd = -1;
    while (len > 0) {
        size_t done;
        int passed;
        if (ct_fd_receive(h->control, at, len, &done, &passed) == CT_IO_GONE) {
            ct_fd_close(fd);
            return false;
        }
        if (passed >= 0) {
            ct_fd_close(fd);
            *fd = passed;
        }
        at += done;
        len -= done;
    }
    return true;
}

static bool
helper_message(ct_helper *h, ct_wire *m, int *fd)
{
    uint8_t header[CT_WIRE_HEADER];
    if (!helper_receive(h, header, sizeof header, fd)) {
        return false;
    }
    *m = ct_wire_read(header);
    return true;
}

ct_status
ct_helper_payload(ct_helper *h, ct_buf *out, int *fd, bool *end, ct_err *err)
{
    ct_wire m;
    int other;
    *end = true;
    *fd = -1;
    ct_buf_clear(out);
    if (!helper_tell(h, CT_WIRE_READY, 0, 0, NULL, 0) || !helper_message(h, &m, fd)) {
        return CT_OK;
    }
    if (m.kind != CT_WIRE_PAYLOAD) {
        ct_fd_close(fd);
        return ct_fail(err, CT_ECORRUPT, "control socket",
                       "begins with message %u instead of the payload", m.kind);
    }
    ct_status st = ct_buf_reserve(out, m.len, err);
    if (st == CT_OK && helper_receive(h, out->data, m.len, &other)) {
        out->len = m.len;
        *end = false;
        ct_fd_close(&other);
    } else {
        ct_fd_close(fd);
    }
    return st;
}

void
ct_helper_loaded(ct_helper *h)
{
    ct_proc_helper_ready();
    (void)helper_tell(h, CT_WIRE_LOADED, 0, 0, NULL, 0);
}

void
ct_helper_unloadable(ct_helper *h, const char *text, size_t len)
{
    ct_proc_helper_ready();
    (void)helper_tell(h, CT_WIRE_UNLOADABLE, 0, 0, text, len);
}

static helper_child *
helper_find(ct_helper *h, uint32_t worker)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->children[i].worker == worker) {
            return &h->children[i];
        }
    }
    return NULL;
}

static bool
helper_knows(void *ctx, pid_t pid)
{
    const ct_helper *h = ctx;
    for (size_t i = 0; i < h->count; i++) {
        if (h->children[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static bool
helper_forget(ct_helper *h, pid_t pid, uint32_t *worker)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->children[i].pid == pid) {
            *worker = h->children[i].worker;
            h->children[i] = h->children[--h->count];
            return true;
        }
    }
    return false;
}

/* A group's number is not given away while a member lives, so killing the group of a
 * leader that was just reaped hits its own children only. */
static void
helper_reap(ct_helper *h)
{
    int status;
    pid_t pid;
    while ((pid = ct_proc_reap_any(&status)) != 0) {
        uint32_t worker = 0;
        bool ours = helper_forget(h, pid, &worker);
        if (ours) {
            ct_proc_kill_group(pid);
        }
        ct_proc_kill_strays(helper_knows, h); /* orphans, and in turn their children */
        if (ours) {
            uint32_t code = (uint32_t)ct_proc_code(status);
            (void)helper_tell(h, CT_WIRE_ENDED, worker, code, NULL, 0);
        }
    }
}

static bool
helper_knows_none(void *ctx, pid_t pid)
{
    (void)ctx;
    (void)pid;
    return false;
}

/* Kills until no child is left, for two seconds at most. */
static void
helper_end_all(ct_helper *h)
{
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < h->count; i++) {
            ct_proc_kill_group(h->children[i].pid);
        }
        ct_proc_kill_strays(helper_knows_none, NULL);
        helper_reap(h);
        if (!ct_proc_has_children()) {
            return;
        }
        ct_host_sleep(0.01);
    }
}

ct_status
ct_helper_next(ct_helper *h, uint32_t *worker, int *fd, bool *end, ct_err *err)
{
    *end = false;
    for (;;) {
        ct_wire m;
        helper_reap(h);
        bool orphaned = ct_proc_parent() != h->parent;
        if (!orphaned && !ct_proc_helper_wait(h->control)) {
            continue; /* a signal: look again */
        }
        if (orphaned || !helper_message(h, &m, fd)) {
            helper_end_all(h);
            *end = true;
            return CT_OK;
        }
        if (m.kind == CT_WIRE_FORK && *fd >= 0) {
            *worker = m.worker;
            return CT_OK;
        }
        ct_fd_close(fd);
        if (m.kind != CT_WIRE_KILL) {
            return ct_fail(err, CT_ECORRUPT, "control socket", "got message %u",
                           m.kind);
        }
        helper_child *child = helper_find(h, m.worker);
        if (child != NULL) {
            ct_proc_kill_group(child->pid);
        }
    }
}

ct_status
ct_helper_forked(ct_helper *h, uint32_t worker, pid_t pid, ct_err *err)
{
    if (pid < 0) {
        (void)helper_tell(h, CT_WIRE_UNFORKED, worker, (uint32_t)-pid, NULL, 0);
        return CT_OK;
    }
    ct_proc_lead_group(pid);
    ct_status st =
        ct_grow((void **)&h->children, &h->cap, h->count + 1, sizeof *h->children, err);
    if (st != CT_OK) {
        ct_proc_kill(pid);
        return st;
    }
    h->children[h->count++] = (helper_child){worker, pid};
    (void)helper_tell(h, CT_WIRE_FORKED, worker, (uint32_t)pid, NULL, 0);
    return CT_OK;
}

bool
ct_helper_become_worker(ct_helper *h)
{
    pid_t helper = h->self;
    ct_helper_free(h);
    return ct_proc_worker_setup(helper);
}
