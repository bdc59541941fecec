/* proc_pool.c: see proc_pool.h; the control messages are in proc_wire.h.
 *
 * A worker's life in the driver: LIVE (its socket is open) -> SILENT (closed, or given up
 * by KILL; the helper has not told its end) -> GONE (told; its last events are lent out)
 * -> FREE at the next wait. What a wait hands out borrows from the workers' input buffers:
 * each is read at most once per wait, and changed only by the next one. */
#include "exec/proc_pool.h"

#include "base/map.h"
#include "base/mem.h"
#include "exec/exec_int.h"
#include "exec/proc_wire.h"
#include "os/host.h"
#include "os/poll.h"
#include "os/proc.h"
#include "os/realclock.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONTROL_TAG UINT32_MAX
#define READ_SIZE ((size_t)64 << 10)
#define READ_MAX ((size_t)4 << 20)
#define SILENT_LIMIT 2.0 /* seconds from a closed socket to a kill */
#define HELPER_LIMIT 3.0 /* seconds for the helper to end after its socket closed */
#define HELPER_DEATHS 3  /* in a row, without a started worker: no more helpers */

typedef enum worker_state {
    WORKER_FREE,
    WORKER_LIVE,
    WORKER_SILENT,
    WORKER_GONE
} worker_state;

typedef struct pool_worker {
    worker_state state;
    uint32_t id; /* index in workers; the helper's number for it */
    int fd;
    pid_t pid; /* 0 until the helper told */
    ct_trial_id trial;
    uint64_t serial;      /* of the open command; 0 = none */
    bool starting;        /* the open command is START */
    ct_command_kind work; /* the open command's kind */
    double since;         /* when that was given, or the worker forked for it */
    bool freed;           /* STOPPED or START_FAILED came: its end is no event */
    bool killed;          /* by KILL: its end answers kill_serial */
    uint64_t kill_serial;
    bool ended; /* the helper told the end: code */
    int32_t code;
    bool lent;        /* events of this wait borrow from `in` */
    double deadline;  /* SILENT: when to kill; 0 = done */
    double unheard_s; /* seconds that the steps within its START may take besides */
    const char *why;  /* why we gave it up, or NULL */
    bool overdue;     /* that is: `work` took too long */
    ct_encoder encoder;
    ct_decoder decoder;
    ct_buf in;
    size_t in_at;
    ct_buf out;
    size_t out_at;
} pool_worker;

/* An event that the pool makes itself. */
typedef struct pool_notice {
    ct_event event;
    char *text;
} pool_notice;

typedef struct notice_list {
    pool_notice *items;
    size_t count;
    size_t cap;
} notice_list;

typedef struct passed_fd {
    size_t at; /* offset in control_out of the byte it goes with */
    int fd;
} passed_fd;

typedef struct pool {
    ct_exec base; /* first */
    ct_names *names;
    ct_clock *clock;
    ct_clock own_clock;
    ct_poller *poller;

    char **argv; /* how helpers are made: lists that end in NULL, and the payload */
    char **env;
    const uint8_t *payload;
    size_t payload_len;
    int payload_fd; /* goes with it; -1 = none */
    pid_t helper;   /* 0 once reaped */
    int control;
    ct_buf control_in;
    ct_buf control_out;
    size_t control_out_at;
    passed_fd *passed;
    size_t n_passed;
    size_t passed_cap;
    bool ready;      /* the helper has spoken */
    bool loaded;     /* it has understood the payload */
    double give_up;  /* when a helper that never spoke is an error */
    double patience; /* start_timeout */
    ct_buf failure;  /* text: why no worker can be started; empty = none */
    int32_t failure_code;
    bool lost;         /* that is: the helper died */
    bool ever_loaded;  /* some helper had understood the payload */
    unsigned deaths;   /* of helpers since a worker last started */
    double work_limit; /* 0 = none */
    double look;       /* no command is overdue before; 0 = none is open, or no limit */

    pool_worker **workers;
    size_t n_workers;
    size_t workers_cap;
    size_t n_busy;   /* not FREE */
    size_t n_silent; /* SILENT */
    size_t n_gone;
    ct_map by_trial; /* trial -> worker, while commands reach it */

    notice_list notices; /* made since the last wait */
    notice_list lent;    /* their texts are borrowed by the batch */
    ct_batch batch;
    bool again; /* the next wait has work without waiting */
    bool closed;
} pool;

/* ---- events that the pool makes ---- */

static void
notices_clear(notice_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        ct_free(l->items[i].text);
    }
    l->count = 0;
}

static ct_status
pool_notice_add(pool *p, ct_event_kind kind, ct_trial_id trial, uint64_t serial,
                int32_t code, const char *text, ct_err *err)
{
    notice_list *l = &p->notices;
    ct_status st =
        ct_grow((void **)&l->items, &l->cap, l->count + 1, sizeof *l->items, err);
    if (st != CT_OK) {
        return st;
    }
    pool_notice n;
    memset(&n, 0, sizeof n);
    n.event.kind = kind;
    n.event.trial = trial;
    n.event.serial = serial;
    n.event.code = code;
    if (text != NULL) {
        n.event.text_len = strlen(text);
        n.text = ct_strndup(text, n.event.text_len);
        if (n.text == NULL) {
            return ct_fail_mem(err);
        }
        n.event.text = n.text;
    }
    l->items[l->count++] = n;
    return CT_OK;
}

/* Lends the notices out with the batch of this wait. */
static ct_status
pool_deliver_notices(pool *p, ct_err *err)
{
    for (size_t i = 0; i < p->notices.count; i++) {
        ct_event *ev;
        ct_record *unused;
        ct_status st = ct_batch_slot(&p->batch, &ev, &unused, err);
        if (st != CT_OK) {
            return st;
        }
        *ev = p->notices.items[i].event;
        p->batch.count++;
    }
    notice_list empty = p->lent;
    p->lent = p->notices;
    p->notices = empty;
    return CT_OK;
}

/* ---- the control socket ---- */

static void
control_drop(pool *p)
{
    for (size_t i = 0; i < p->n_passed; i++) {
        ct_fd_close(&p->passed[i].fd);
    }
    p->n_passed = 0;
    ct_buf_clear(&p->control_out);
    p->control_out_at = 0;
    if (p->control >= 0) {
        ct_poller_remove(p->poller, p->control);
    }
    ct_fd_close(&p->control);
}

/* Sends what the socket takes. A closed socket shows itself at the next read. */
static void
control_flush(pool *p)
{
    bool more = p->control >= 0;
    while (more && p->control_out_at < p->control_out.len) {
        bool with_fd = p->n_passed > 0 && p->passed[0].at == p->control_out_at;
        size_t next = (size_t)with_fd;
        size_t end = p->n_passed > next ? p->passed[next].at : p->control_out.len;
        size_t done;
        ct_io io =
            ct_fd_send(p->control, p->control_out.data + p->control_out_at,
                       end - p->control_out_at, with_fd ? p->passed[0].fd : -1, &done);
        more = io == CT_IO_SOME;
        p->control_out_at += done;
        if (more && with_fd) {
            ct_fd_close(&p->passed[0].fd);
            memmove(p->passed, p->passed + 1, --p->n_passed * sizeof *p->passed);
        }
    }
    if (p->control >= 0) {
        bool rest = p->control_out_at < p->control_out.len;
        ct_poller_want_write(p->poller, p->control, rest);
        if (!rest) {
            ct_buf_clear(&p->control_out);
            p->control_out_at = 0;
        }
    }
}

/* Queues a message; `fd` (or -1) is taken in every case. */
static ct_status
control_send(pool *p, ct_wire_kind kind, uint32_t worker, const void *data, size_t len,
             int fd, ct_err *err)
{
    ct_wire m = {(uint32_t)kind, worker, 0, (uint32_t)len};
    uint8_t header[CT_WIRE_HEADER];
    ct_wire_write(header, &m);
    ct_status st = ct_buf_reserve(&p->control_out, sizeof header + len, err);
    if (st == CT_OK && fd >= 0) {
        st = ct_grow((void **)&p->passed, &p->passed_cap, p->n_passed + 1,
                     sizeof *p->passed, err);
    }
    if (st != CT_OK) {
        ct_fd_close(&fd);
        return st;
    }
    if (fd >= 0) {
        p->passed[p->n_passed++] = (passed_fd){p->control_out.len, fd};
    }
    (void)ct_buf_put(&p->control_out, header, sizeof header, err); /* there is room */
    if (len > 0) {
        (void)ct_buf_put(&p->control_out, data, len, err);
    }
    control_flush(p);
    return CT_OK;
}

/* ---- workers ---- */

static void
worker_free(pool_worker *w)
{
    ct_encoder_deinit(&w->encoder);
    ct_decoder_deinit(&w->decoder);
    ct_buf_deinit(&w->in);
    ct_buf_deinit(&w->out);
    ct_fd_close(&w->fd);
    ct_free(w);
}

/* A free worker, made if there is none. Its buffers are those of the one before. */
static ct_status
pool_free_worker(pool *p, pool_worker **out, ct_err *err)
{
    for (size_t i = 0; p->n_busy < p->n_workers && i < p->n_workers; i++) {
        if (p->workers[i]->state == WORKER_FREE) {
            *out = p->workers[i];
            return CT_OK;
        }
    }
    ct_status st = ct_grow((void **)&p->workers, &p->workers_cap, p->n_workers + 1,
                           sizeof(pool_worker *), err);
    if (st != CT_OK) {
        return st;
    }
    pool_worker *w = ct_calloc(1, sizeof *w);
    if (w == NULL) {
        return ct_fail_mem(err);
    }
    ct_ref_reader no_refs = {NULL, NULL};
    w->id = (uint32_t)p->n_workers;
    w->fd = -1;
    ct_encoder_init(&w->encoder, p->names);
    ct_decoder_init(&w->decoder, p->names, no_refs);
    p->workers[p->n_workers++] = w;
    *out = w;
    return CT_OK;
}

static void
worker_reset(pool *p, pool_worker *w)
{
    ct_ref_reader no_refs = {NULL, NULL};
    ct_encoder_restart(&w->encoder);
    ct_decoder_deinit(&w->decoder);
    ct_decoder_init(&w->decoder, p->names, no_refs);
    ct_buf_clear(&w->in);
    ct_buf_clear(&w->out);
    w->in_at = w->out_at = 0;
    w->pid = 0;
    w->serial = w->kill_serial = 0;
    w->starting = w->freed = w->killed = w->ended = w->lent = false;
    w->code = 0;
    w->deadline = 0;
    w->why = NULL;
    w->overdue = false;
    w->since = 0;
}

/* Commands reach the worker no longer. */
static void
pool_unmap(pool *p, const pool_worker *w)
{
    uint32_t id;
    if (ct_map_get(&p->by_trial, w->trial, &id) && id == w->id) {
        (void)ct_map_remove(&p->by_trial, w->trial);
    }
}

static pool_worker *
pool_find(const pool *p, ct_trial_id trial)
{
    uint32_t id;
    return ct_map_get(&p->by_trial, trial, &id) ? p->workers[id] : NULL;
}

static void
worker_close(pool *p, pool_worker *w)
{
    if (w->fd >= 0) {
        ct_poller_remove(p->poller, w->fd);
        ct_fd_close(&w->fd);
    }
}

/* From LIVE to SILENT. */
static void
worker_silence(pool *p, pool_worker *w, const char *why)
{
    worker_close(p, w);
    pool_unmap(p, w);
    if (w->state == WORKER_LIVE) {
        w->state = WORKER_SILENT;
        w->why = why;
        w->deadline = p->clock->mono(p->clock) + SILENT_LIMIT;
        p->n_silent++;
    }
}

static const char *
work_words(ct_command_kind kind)
{
    switch (kind) {
    case CT_COMMAND_START:
        return "starting the trial";
    case CT_COMMAND_RESET:
        return "giving the worker to the trial";
    case CT_COMMAND_SAVE:
        return "saving a checkpoint";
    case CT_COMMAND_RESTORE:
        return "restoring a checkpoint";
    case CT_COMMAND_EXPORT:
        return "exporting the model";
    case CT_COMMAND_STEP:
    case CT_COMMAND_STOP:
    case CT_COMMAND_KILL:
    case CT_COMMAND_COUNT:
        break;
    }
    return "a step (of a function: from one report() to the next)";
}

/* Names how the worker ended, for people. */
static void
worker_epitaph(const pool_worker *w, double limit, char *out, size_t cap)
{
    char how[64];
    ct_proc_describe(w->code, how, sizeof how);
    const char *hint = "";
    if (w->overdue) {
        (void)snprintf(
            out, cap,
            "%s took longer than the %g s that trial_timeout_s allows, so worker "
            "process %ld was killed; give ctune.init(trial_timeout_s=...) or "
            "CTUNE_TRIAL_TIMEOUT_S more, or divide the work into smaller steps",
            work_words(w->work), limit, (long)w->pid);
        return;
    }
    if (w->why != NULL) {
        (void)snprintf(out, cap, "worker process %ld %s and was killed", (long)w->pid,
                       w->why);
        return;
    }
    if (w->code == 9) {
        hint = "; if nobody sent it, the system did because memory ran out: use fewer "
               "trials at once or smaller ones";
    } else if (w->code <= 0) {
        hint = "; did the trainable call os._exit or replace the process?";
    }
    (void)snprintf(out, cap, "worker process %ld %s%s", (long)w->pid, how, hint);
}

/* The end of a worker: the event that it makes, if any. */
static ct_status
worker_bury(pool *p, pool_worker *w, const char *text, ct_err *err)
{
    worker_close(p, w);
    pool_unmap(p, w);
    p->n_silent -= w->state == WORKER_SILENT;
    w->state = WORKER_GONE;
    p->n_gone++;
    if (w->killed) {
        return pool_notice_add(p, CT_EVENT_STOPPED, w->trial, w->kill_serial, 0, NULL,
                               err);
    }
    if (w->freed) {
        return CT_OK;
    }
    char own[384];
    if (text == NULL) {
        worker_epitaph(w, p->work_limit, own, sizeof own);
        text = own;
    }
    bool never_forked = w->starting && w->pid == 0;
    return pool_notice_add(p, never_forked ? CT_EVENT_START_FAILED : CT_EVENT_LOST,
                           w->trial, w->serial, w->code, text, err);
}

static void
worker_flush(pool *p, pool_worker *w)
{
    while (w->out_at < w->out.len) {
        size_t done;
        ct_io io = ct_fd_send(w->fd, w->out.data + w->out_at, w->out.len - w->out_at,
                              -1, &done);
        w->out_at += done;
        if (io == CT_IO_AGAIN) {
            ct_poller_want_write(p->poller, w->fd, true);
            return;
        }
        if (io == CT_IO_GONE) {
            break; /* reading will find out more */
        }
    }
    bool waited = w->out_at > 0 && w->out.len > 0;
    ct_buf_clear(&w->out);
    w->out_at = 0;
    if (waited) {
        ct_poller_want_write(p->poller, w->fd, false);
    }
}

/* Notes what the worker was told to do. */
static void
worker_works(pool *p, pool_worker *w, const ct_command *c)
{
    w->serial = c->serial;
    w->starting = c->kind == CT_COMMAND_START;
    w->work = c->kind;
    if (p->work_limit > 0 && c->kind != CT_COMMAND_STOP) {
        w->since = p->clock->mono(p->clock);
        w->unheard_s = (double)c->upto * p->work_limit;
        if (p->look == 0) {
            p->look = w->since + p->work_limit;
        }
    }
}

static ct_status
worker_send(pool *p, pool_worker *w, const ct_command *c, ct_err *err)
{
    size_t before = w->out.len;
    ct_status st = ct_encode_command(&w->encoder, &w->out, c, err);
    if (st != CT_OK) { /* names may have been defined in what is cut off */
        w->out.len = before;
        ct_encoder_restart(&w->encoder);
        return st;
    }
    worker_works(p, w, c);
    worker_flush(p, w);
    return CT_OK;
}

/* ---- what workers say ---- */

static ct_status
worker_event(pool *p, pool_worker *w, const uint8_t *payload, size_t len, ct_err *err)
{
    ct_event *ev;
    ct_record *record;
    ct_status st = ct_batch_slot(&p->batch, &ev, &record, err);
    if (st != CT_OK) {
        return st;
    }
    st = ct_decode_event(&w->decoder, payload, len, ev, record, err);
    if (st != CT_OK || ev->trial != w->trial || w->freed || w->killed) {
        return st; /* not counted in: dropped */
    }
    p->batch.count++;
    w->lent = true;
    if (ev->serial == w->serial) {
        w->serial = 0;
        w->starting = false;
        p->deaths = ev->kind == CT_EVENT_STARTED ? 0 : p->deaths;
    }
    if (ev->kind == CT_EVENT_STOPPED || ev->kind == CT_EVENT_START_FAILED) {
        w->freed = true;
        pool_unmap(p, w);
    }
    return CT_OK;
}

/* Decodes the whole frames of what was read. A damaged one ends the worker. */
static ct_status
worker_decode(pool *p, pool_worker *w, ct_err *err)
{
    for (;;) {
        uint8_t type;
        const uint8_t *payload;
        size_t len, size;
        ct_frame_state state = ct_frame_peek(
            w->in.data + w->in_at, w->in.len - w->in_at, &type, &payload, &len, &size);
        if (state == CT_FRAME_SHORT) {
            return CT_OK;
        }
        ct_status st = state == CT_FRAME_WHOLE ? CT_OK : CT_ECORRUPT;
        if (st == CT_OK && type == CT_FRAME_NAME) {
            st = ct_decode_name(&w->decoder, payload, len, err);
        } else if (st == CT_OK && type == CT_FRAME_EVENT) {
            st = worker_event(p, w, payload, len, err);
        }
        if (st == CT_ECORRUPT) {
            worker_silence(p, w, "sent bytes that are not a message of ctune");
            w->deadline = p->clock->mono(p->clock); /* no patience */
            return CT_OK;
        }
        if (st != CT_OK) {
            return st;
        }
        w->in_at += size;
    }
}

/* Bytes that the frame under way still needs, within reason. */
static size_t
worker_read_size(const pool_worker *w)
{
    size_t have = w->in.len - w->in_at;
    if (have < sizeof(uint32_t)) {
        return READ_SIZE;
    }
    ct_reader r = ct_reader_of(w->in.data + w->in_at, have);
    size_t frame = (size_t)ct_read_u32(&r) + 2 * sizeof(uint32_t);
    size_t want = frame > have ? frame - have : 0;
    return want < READ_SIZE ? READ_SIZE : want > READ_MAX ? READ_MAX : want;
}

static ct_status
worker_read_some(pool_worker *w, ct_io *io, ct_err *err)
{
    size_t want = worker_read_size(w);
    ct_status st = ct_buf_reserve(&w->in, want, err);
    if (st == CT_OK) {
        size_t done;
        *io = ct_fd_receive(w->fd, w->in.data + w->in.len, want, &done, NULL);
        w->in.len += done;
    }
    return st;
}

static ct_status
worker_readable(pool *p, pool_worker *w, ct_err *err)
{
    ct_io io = CT_IO_AGAIN;
    ct_status st = worker_read_some(w, &io, err);
    if (st == CT_OK) {
        st = worker_decode(p, w, err);
    }
    if (st == CT_OK && io == CT_IO_GONE) {
        worker_silence(p, w, NULL);
    }
    return st;
}

/* The helper told the end: what the worker still said comes first. */
static ct_status
worker_finish(pool *p, pool_worker *w, ct_err *err)
{
    ct_io io = w->fd >= 0 ? CT_IO_SOME : CT_IO_GONE;
    ct_status st = CT_OK;
    while (st == CT_OK && io == CT_IO_SOME) {
        st = worker_read_some(w, &io, err);
    }
    if (st == CT_OK && w->state == WORKER_LIVE) {
        st = worker_decode(p, w, err);
    }
    return st == CT_OK ? worker_bury(p, w, NULL, err) : st;
}

/* ---- what the helper says ---- */

static ct_status
pool_set_failure(pool *p, int32_t code, const char *text, size_t len, ct_err *err)
{
    p->failure_code = code;
    ct_buf_clear(&p->failure);
    ct_status st = ct_buf_put(&p->failure, text, len, err);
    return st == CT_OK ? ct_buf_terminate(&p->failure, err) : st;
}

static bool
pool_failed(const pool *p)
{
    return p->failure.len > 0;
}

/* No worker lives on: each that has not ended gets the failure's text as its end. */
static ct_status
pool_end_workers(pool *p, ct_err *err)
{
    ct_status st = CT_OK;
    for (size_t i = 0; i < p->n_workers; i++) {
        pool_worker *w = p->workers[i];
        if (w->state == WORKER_LIVE || w->state == WORKER_SILENT) {
            ct_proc_kill_group(w->pid);
            w->code = p->failure_code;
            ct_status one = worker_bury(p, w, (const char *)p->failure.data, err);
            st = st == CT_OK ? one : st;
        }
    }
    return st;
}

static ct_status
control_message(pool *p, const ct_wire *m, const uint8_t *text, ct_err *err)
{
    if (m->kind == CT_WIRE_READY) {
        p->ready = true;
        return CT_OK;
    }
    if (m->kind == CT_WIRE_LOADED) {
        p->loaded = p->ever_loaded = true;
        return CT_OK;
    }
    if (m->kind == CT_WIRE_UNLOADABLE) {
        ct_status st = pool_set_failure(p, 0, (const char *)text, m->len, err);
        return st == CT_OK ? pool_end_workers(p, err) : st;
    }
    pool_worker *w = m->worker < p->n_workers ? p->workers[m->worker] : NULL;
    if (w == NULL || w->state == WORKER_FREE || w->state == WORKER_GONE) {
        return CT_OK;
    }
    if (m->kind == CT_WIRE_FORKED) {
        w->pid = (pid_t)m->value;
        if (p->work_limit > 0) { /* what came before was the helper's time */
            w->since = p->clock->mono(p->clock);
        }
    } else if (m->kind == CT_WIRE_UNFORKED) {
        char own[256];
        (void)snprintf(own, sizeof own,
                       "cannot make a worker process: %s; run fewer trials at once, or "
                       "raise `ulimit -u`",
                       strerror((int)m->value));
        return worker_bury(p, w, own, err);
    } else if (m->kind == CT_WIRE_ENDED) {
        w->ended = true;
        w->code = (int32_t)m->value;
        p->again = true; /* finished at the end of this wait or in the next */
    }
    return CT_OK;
}

static ct_status
control_decode(pool *p, ct_err *err)
{
    size_t at = 0;
    ct_status st = CT_OK;
    while (st == CT_OK && p->control_in.len - at >= CT_WIRE_HEADER) {
        ct_wire m = ct_wire_read(p->control_in.data + at);
        if (p->control_in.len - at - CT_WIRE_HEADER < m.len) {
            break;
        }
        st = control_message(p, &m, p->control_in.data + at + CT_WIRE_HEADER, err);
        at += CT_WIRE_HEADER + m.len;
    }
    if (at > 0) {
        memmove(p->control_in.data, p->control_in.data + at, p->control_in.len - at);
        p->control_in.len -= at;
    }
    return st;
}

static void
pause_a_little(void)
{
    ct_host_sleep(0.002);
}

/* Waits for the helper's end, kills it after `limit` seconds, and says how it ended. */
static int32_t
helper_collect(pool *p, double limit)
{
    int status = 0;
    double end = p->clock->mono(p->clock) + limit;
    bool killed = false;
    while (p->helper != 0 && !ct_proc_reap(p->helper, &status)) {
        if (!killed && p->clock->mono(p->clock) >= end) {
            ct_proc_kill_group(p->helper); /* of its own session: the leader */
            killed = true;
        }
        pause_a_little();
    }
    p->helper = 0;
    return ct_proc_code(status);
}

static ct_status
pool_helper_lost(pool *p, const char *why, double limit, ct_err *err)
{
    long pid = (long)p->helper;
    control_drop(p);
    int32_t code = helper_collect(p, limit);
    char how[64];
    char own[320];
    ct_proc_describe(code, how, sizeof how);
    (void)snprintf(own, sizeof own, "the helper process %ld that starts workers %s%s",
                   pid, why != NULL ? why : how,
                   why != NULL ? ""
                   : p->loaded ? ""
                   : p->ready  ? " while it loaded the trainable and what that imports"
                              : " before it was ready; its own messages are on stderr");
    p->lost = p->lost || !pool_failed(p);
    p->deaths++;
    ct_status st =
        pool_failed(p) ? CT_OK : pool_set_failure(p, code, own, strlen(own), err);
    return st == CT_OK ? pool_end_workers(p, err) : st;
}

static ct_status
control_readable(pool *p, ct_err *err)
{
    ct_status st = ct_buf_reserve(&p->control_in, READ_SIZE, err);
    if (st != CT_OK) {
        return st;
    }
    size_t done;
    ct_io io = ct_fd_receive(p->control, p->control_in.data + p->control_in.len,
                             READ_SIZE, &done, NULL);
    p->control_in.len += done;
    if (io == CT_IO_GONE) {
        return pool_helper_lost(p, NULL, 1.0, err);
    }
    return control_decode(p, err);
}

/* ---- waiting ---- */

/* Takes back what the last wait lent out. */
static void
pool_reclaim(pool *p)
{
    ct_batch_clear(&p->batch);
    notices_clear(&p->lent);
    for (size_t i = 0; i < p->n_workers; i++) {
        pool_worker *w = p->workers[i];
        w->lent = false;
        if (w->in_at > 0) {
            w->in.len -= w->in_at;
            memmove(w->in.data, w->in.data + w->in_at, w->in.len);
            w->in_at = 0;
        }
        if (w->state == WORKER_GONE) {
            w->state = WORKER_FREE;
            p->n_gone--;
            p->n_busy--;
        }
    }
}

static double
sooner(double timeout, double now, double at)
{
    double left = at > now ? at - now : 0;
    return timeout < 0 || left < timeout ? left : timeout;
}

/* The caller's limit, or the next deadline of ours. */
static double
pool_timeout(const pool *p, double timeout)
{
    if (p->again || p->notices.count > 0) {
        return 0;
    }
    bool starting = !p->ready && p->control >= 0;
    if (!starting && p->n_silent == 0 && p->look == 0) {
        return timeout;
    }
    double now = p->clock->mono(p->clock);
    if (starting) {
        timeout = sooner(timeout, now, p->give_up);
    }
    if (p->look > 0) {
        timeout = sooner(timeout, now, p->look);
    }
    for (size_t i = 0; i < p->n_workers; i++) {
        const pool_worker *w = p->workers[i];
        if (w->state == WORKER_SILENT && w->deadline > 0) {
            timeout = sooner(timeout, now, w->deadline);
        }
    }
    return timeout;
}

/* Gives up the workers whose command takes too long. All commands have the same limit, so
 * this walks over the workers once per limit or so, not at each command. */
static ct_status
pool_overdue(pool *p, double now, ct_err *err)
{
    bool unforked = false;
    p->look = 0;
    for (size_t i = 0; i < p->n_workers; i++) {
        pool_worker *w = p->workers[i];
        if (w->state != WORKER_LIVE || w->serial == 0 || w->work == CT_COMMAND_STOP) {
            continue;
        }
        double end = w->since + w->unheard_s + p->work_limit;
        if (end > now) {
            p->look = p->look == 0 || end < p->look ? end : p->look;
        } else if (w->pid == 0) {
            unforked = true;
        } else {
            worker_silence(p, w, NULL);
            w->overdue = true;
            w->deadline = now; /* no patience */
        }
    }
    if (!unforked) {
        return CT_OK;
    }
    char why[160];
    (void)snprintf(why, sizeof why,
                   "took longer than the %g s that trial_timeout_s allows to load the "
                   "trainable and was killed; give it more",
                   p->work_limit);
    return pool_helper_lost(p, why, 0, err);
}

static ct_status
pool_deadlines(pool *p, ct_err *err)
{
    bool starting = !p->ready && p->control >= 0;
    if (p->look > 0 && p->clock->mono(p->clock) >= p->look) {
        ct_status st = pool_overdue(p, p->clock->mono(p->clock), err);
        if (st != CT_OK) {
            return st;
        }
    }
    if (!starting && p->n_silent == 0) {
        return CT_OK;
    }
    double now = p->clock->mono(p->clock);
    if (starting && now >= p->give_up) {
        char why[128];
        (void)snprintf(
            why, sizeof why,
            "said nothing for %g s and was killed; is the machine overloaded?",
            p->patience);
        return pool_helper_lost(p, why, 0, err);
    }
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < p->n_workers; i++) {
        pool_worker *w = p->workers[i];
        if (w->state == WORKER_SILENT && w->deadline > 0 && now >= w->deadline) {
            w->deadline = 0;
            if (w->why == NULL && !w->overdue && !w->freed && !w->killed) {
                w->why = "closed its connection";
            }
            st = control_send(p, CT_WIRE_KILL, w->id, NULL, 0, -1, err);
        }
    }
    return st;
}

/* Buries the ended. Those whose buffer is lent out wait for the next wait. */
static ct_status
pool_finish_ended(pool *p, ct_err *err)
{
    if (!p->again) {
        return CT_OK;
    }
    p->again = false;
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < p->n_workers; i++) {
        pool_worker *w = p->workers[i];
        if (w->ended && (w->state == WORKER_LIVE || w->state == WORKER_SILENT)) {
            if (w->lent) {
                p->again = true;
            } else {
                st = worker_finish(p, w, err);
            }
        }
    }
    return st;
}

static ct_status
pool_ready(pool *p, const ct_ready *r, ct_err *err)
{
    if (r->tag == CONTROL_TAG) {
        if (r->writable) {
            control_flush(p);
        }
        return r->readable ? control_readable(p, err) : CT_OK;
    }
    pool_worker *w = p->workers[r->tag];
    if (r->writable) {
        worker_flush(p, w);
    }
    return r->readable ? worker_readable(p, w, err) : CT_OK;
}

static ct_status
pool_wait(ct_exec *e, double timeout, ct_err *err)
{
    pool *p = (pool *)e;
    if (p->batch.next < p->batch.count) {
        return CT_OK;
    }
    pool_reclaim(p);
    ct_status st = ct_poller_wait(p->poller, pool_timeout(p, timeout), err);
    ct_ready r;
    while (st == CT_OK && ct_poller_next(p->poller, &r)) {
        st = pool_ready(p, &r, err);
    }
    if (st == CT_OK) {
        st = pool_finish_ended(p, err);
    }
    if (st == CT_OK) {
        st = pool_deadlines(p, err);
    }
    return st == CT_OK ? pool_deliver_notices(p, err) : st;
}

static ct_status
pool_poll(ct_exec *e, ct_event *out, bool *got, ct_err *err)
{
    (void)err;
    *got = ct_batch_take(&((pool *)e)->batch, out);
    return CT_OK;
}

static void
pool_wake(ct_exec *e)
{
    ct_poller_wake(((pool *)e)->poller);
}

/* ---- helpers ---- */

static void
texts_free(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        ct_free(list[i]);
    }
    ct_free(list);
}

/* A copy of a list that ends in NULL, with `more` at its end unless NULL. */
static ct_status
texts_copy(char ***out, const char *const *list, const char *more, ct_err *err)
{
    size_t n = 0;
    while (list != NULL && list[n] != NULL) {
        n++;
    }
    char **copy = ct_calloc(n + 2, sizeof *copy);
    *out = copy;
    for (size_t i = 0; copy != NULL && i < n + (more != NULL); i++) {
        const char *text = i < n ? list[i] : more;
        copy[i] = ct_strndup(text, strlen(text));
        if (copy[i] == NULL) {
            return ct_fail_mem(err);
        }
    }
    return copy != NULL ? CT_OK : ct_fail_mem(err);
}

/* Starts a helper and sends it the payload. */
static ct_status
pool_spawn(pool *p, ct_err *err)
{
    int fds[2];
    ct_status st = ct_socket_pair(fds, err);
    if (st != CT_OK) {
        return st;
    }
    p->ready = p->loaded = p->lost = false;
    ct_buf_clear(&p->control_in);
    p->give_up = p->clock->mono(p->clock) + p->patience;
    p->control = fds[0];
    st = ct_fd_nonblock(fds[0], err);
    if (st == CT_OK) {
        st = ct_poller_add(p->poller, fds[0], CONTROL_TAG, err);
    }
    if (st == CT_OK) {
        st = ct_proc_spawn(&p->helper, (const char *const *)p->argv,
                           (const char *const *)p->env, fds[1], err);
    }
    ct_fd_close(&fds[1]);
    int fd = -1;
    if (st == CT_OK && p->payload_fd >= 0) {
        st = ct_fd_duplicate(p->payload_fd, &fd, err);
    }
    if (st == CT_OK) {
        st = control_send(p, CT_WIRE_PAYLOAD, 0, p->payload, p->payload_len, fd, err);
    }
    if (st == CT_OK) {
        ct_buf_clear(&p->failure);
        return CT_OK;
    }
    control_drop(p);
    (void)helper_collect(p, 0);
    p->lost = true;
    p->deaths++;
    return st;
}

/* ---- commands ---- */

static ct_status
worker_connect(pool *p, pool_worker *w, ct_err *err)
{
    int fds[2];
    ct_status st = ct_socket_pair(fds, err);
    if (st != CT_OK) {
        return st;
    }
    st = ct_fd_nonblock(fds[0], err);
    if (st == CT_OK) {
        st = ct_poller_add(p->poller, fds[0], w->id, err);
    }
    if (st != CT_OK) {
        ct_fd_close(&fds[0]);
        ct_fd_close(&fds[1]);
        return st;
    }
    w->fd = fds[0];
    st = control_send(p, CT_WIRE_FORK, w->id, NULL, 0, fds[1], err);
    if (st != CT_OK) {
        worker_close(p, w);
    }
    return st;
}

static ct_status
pool_start(pool *p, const ct_command *c, ct_err *err)
{
    if (p->lost && p->ever_loaded && p->deaths < HELPER_DEATHS) {
        ct_err own = CT_ERR_INIT;
        ct_status st = pool_spawn(p, &own);
        if (st == CT_ENOMEM) {
            return ct_fail_mem(err);
        }
        if (st != CT_OK) {
            return pool_notice_add(p, CT_EVENT_START_FAILED, c->trial, c->serial, 0,
                                   own.text, err);
        }
    }
    if (pool_failed(p)) {
        return pool_notice_add(p, CT_EVENT_START_FAILED, c->trial, c->serial,
                               p->failure_code, (const char *)p->failure.data, err);
    }
    pool_worker *w = NULL;
    ct_status st = pool_free_worker(p, &w, err);
    if (st != CT_OK) {
        return st;
    }
    worker_reset(p, w);
    w->trial = c->trial;
    st = ct_map_put(&p->by_trial, c->trial, w->id, err);
    if (st != CT_OK) {
        return st;
    }
    /* The command is encoded first: what cannot be encoded makes no process. */
    st = ct_encode_command(&w->encoder, &w->out, c, err);
    if (st == CT_OK) {
        st = worker_connect(p, w, err);
    }
    if (st != CT_OK) {
        pool_unmap(p, w);
        return st != CT_EIO ? st
                            : pool_notice_add(p, CT_EVENT_START_FAILED, c->trial,
                                              c->serial, 0, err->text, err);
    }
    worker_works(p, w, c);
    w->state = WORKER_LIVE;
    p->n_busy++;
    worker_flush(p, w);
    return CT_OK;
}

static ct_status
pool_reset_worker(pool *p, pool_worker *w, const ct_command *c, ct_err *err)
{
    ct_status st = ct_map_put(&p->by_trial, c->trial, w->id, err);
    if (st != CT_OK) {
        return st;
    }
    st = worker_send(p, w, c, err);
    if (st != CT_OK) {
        (void)ct_map_remove(&p->by_trial, c->trial);
        return st;
    }
    pool_unmap(p, w);
    w->trial = c->trial;
    return CT_OK;
}

static ct_status
pool_kill(pool *p, pool_worker *w, const ct_command *c, ct_err *err)
{
    ct_status st = control_send(p, CT_WIRE_KILL, w->id, NULL, 0, -1, err);
    if (st == CT_OK) {
        w->killed = true;
        w->kill_serial = c->serial;
        worker_silence(p, w, NULL);
    }
    return st;
}

static ct_status
pool_submit(ct_exec *e, const ct_command *c, ct_err *err)
{
    pool *p = (pool *)e;
    if (p->closed) {
        return ct_fail(err, CT_ESTATE, "executor", "is closed; %s came too late",
                       ct_command_name(c->kind));
    }
    if (c->kind == CT_COMMAND_START) {
        return pool_start(p, c, err);
    }
    bool reset = c->kind == CT_COMMAND_RESET;
    pool_worker *w = pool_find(p, reset ? c->from : c->trial);
    if (w == NULL) { /* it ended, and its last event is on the way or delivered */
        bool stop = c->kind == CT_COMMAND_STOP || c->kind == CT_COMMAND_KILL;
        return pool_notice_add(p, stop ? CT_EVENT_STOPPED : CT_EVENT_LOST, c->trial,
                               c->serial, 0, stop ? NULL : "the worker has ended", err);
    }
    if (c->kind == CT_COMMAND_KILL) {
        return pool_kill(p, w, c, err);
    }
    return reset ? pool_reset_worker(p, w, c, err) : worker_send(p, w, c, err);
}

/* ---- the end ---- */

static void
pool_stop_workers(pool *p, double grace, ct_err *err)
{
    for (size_t i = 0; i < p->n_workers; i++) {
        pool_worker *w = p->workers[i];
        if (w->state == WORKER_LIVE && !w->freed) {
            ct_command stop = {.kind = CT_COMMAND_STOP, .trial = w->trial};
            (void)worker_send(p, w, &stop, err); /* if not, by force below */
        }
    }
    double end = p->clock->mono(p->clock) + grace;
    double left = grace;
    while (p->n_busy > p->n_gone && p->control >= 0 && left > 0) {
        ct_event ev;
        while (ct_batch_take(&p->batch, &ev)) { /* nobody listens any more */
        }
        if (pool_wait(&p->base, left, err) != CT_OK) {
            return;
        }
        left = end - p->clock->mono(p->clock);
    }
}

static ct_status
pool_close(ct_exec *e, double grace, ct_err *err)
{
    pool *p = (pool *)e;
    if (p->closed) {
        return CT_OK;
    }
    p->closed = true;
    if (p->poller != NULL && grace > 0) {
        ct_err unheard = CT_ERR_INIT;
        pool_stop_workers(p, grace, &unheard);
    }
    (void)err;
    if (!p->loaded) {
        ct_proc_kill_group(p->helper); /* no worker yet; may be busy with imports */
    }
    control_drop(p); /* the helper kills who is left, and ends */
    (void)helper_collect(p, HELPER_LIMIT);
    for (size_t i = 0; i < p->n_workers; i++) { /* in case it could not */
        pool_worker *w = p->workers[i];
        if (!w->ended && (w->state == WORKER_LIVE || w->state == WORKER_SILENT)) {
            ct_proc_kill_group(w->pid);
        }
        worker_close(p, w);
    }
    return CT_OK;
}

static void
pool_free(ct_exec *e)
{
    pool *p = (pool *)e;
    if (p == NULL) {
        return;
    }
    (void)pool_close(e, 0, NULL);
    for (size_t i = 0; i < p->n_workers; i++) {
        worker_free(p->workers[i]);
    }
    ct_free(p->workers);
    notices_clear(&p->notices);
    notices_clear(&p->lent);
    ct_free(p->notices.items);
    ct_free(p->lent.items);
    ct_free(p->passed);
    ct_batch_deinit(&p->batch);
    ct_map_deinit(&p->by_trial);
    ct_buf_deinit(&p->control_in);
    ct_buf_deinit(&p->control_out);
    ct_buf_deinit(&p->failure);
    texts_free(p->argv);
    texts_free(p->env);
    ct_fd_close(&p->payload_fd);
    ct_poller_free(p->poller);
    ct_free(p);
}

static const ct_exec_ops pool_ops_table = {
    .name = "process",
    .submit = pool_submit,
    .wait = pool_wait,
    .poll = pool_poll,
    .wake = pool_wake,
    .close = pool_close,
    .free = pool_free,
};

ct_status
ct_proc_pool_new(ct_exec **out, const ct_proc_pool_opts *opts, ct_err *err)
{
    assert(opts->argv != NULL && opts->argv[0] != NULL);
    if (opts->payload_len > UINT32_MAX) {
        return ct_fail(err, CT_EINVAL, "trainable",
                       "takes %zu bytes when pickled; at most 4 GiB can be sent: load "
                       "large data inside the trainable",
                       opts->payload_len);
    }
    pool *p = ct_calloc(1, sizeof *p);
    if (p == NULL) {
        return ct_fail_mem(err);
    }
    p->base.ops = &pool_ops_table;
    p->names = opts->names;
    ct_real_clock_init(&p->own_clock);
    p->clock = opts->clock != NULL ? opts->clock : &p->own_clock;
    p->control = -1;
    p->patience = opts->start_timeout;
    p->work_limit = opts->work_limit;
    p->payload = opts->payload;
    p->payload_len = opts->payload_len;
    p->payload_fd = -1;
    char number[16];
    (void)snprintf(number, sizeof number, "%d", CT_PROC_CONTROL_FD);
    ct_status st = texts_copy(&p->argv, opts->argv, number, err);
    if (st == CT_OK) {
        st = texts_copy(&p->env, opts->env, NULL, err);
    }
    if (st == CT_OK && opts->payload_fd >= 0) {
        st = ct_fd_duplicate(opts->payload_fd, &p->payload_fd, err);
    }
    if (st == CT_OK) {
        st = ct_poller_new(&p->poller, err);
    }
    if (st == CT_OK) {
        st = pool_spawn(p, err);
    }
    if (st != CT_OK) {
        pool_free(&p->base);
        return st;
    }
    *out = &p->base;
    return CT_OK;
}
