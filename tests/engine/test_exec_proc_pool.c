/* The process pool against real processes. This program is its own helper: started with
 * --helper it forks workers that act out the script named by the trial's text id. */
#include "support.h"

#include "exec/proc_helper.h"
#include "os/shm.h"
#include "exec/proc_pool.h"
#include "flow/codec.h"
#include "os/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the worker's side ---- */

typedef struct fake_worker {
    int fd;
    ct_names *names;
    ct_encoder encoder;
    ct_decoder decoder;
    ct_name step;
    int64_t steps;
    char part[64]; /* which script it acts out */
} fake_worker;

static void
must(ct_status st)
{
    if (st != CT_OK) {
        _exit(99);
    }
}

static void
send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t done;
        if (ct_fd_send(fd, data, len, -1, &done) == CT_IO_GONE) {
            _exit(98);
        }
        data += done;
        len -= done;
    }
}

static void
answer(fake_worker *w, const ct_command *c, ct_event_kind kind, const char *text,
       ct_record *record)
{
    ct_err err = CT_ERR_INIT;
    ct_buf out = CT_BUF_INIT;
    ct_event ev = {.kind = kind,
                   .trial = c->trial,
                   .serial = c->serial,
                   .code = (int32_t)getpid(),
                   .text = text,
                   .text_len = text != NULL ? strlen(text) : 0,
                   .record = record};
    must(ct_encode_event(&w->encoder, &out, &ev, &err));
    send_all(w->fd, out.data, out.len);
    ct_buf_deinit(&out);
}

static void
die_by(int sig)
{
    signal(sig, SIG_DFL);
    raise(sig);
    _exit(97);
}

static void
leave_descendants(const fake_worker *w)
{
    /* One in our process group, one in a group of its own whose parent has gone. The
     * worker's socket stays open in both. */
    (void)w;
    if (fork() == 0) {
        for (;;) {
            pause();
        }
    }
    pid_t middle = fork();
    if (middle == 0) {
        (void)setpgid(0, 0);
        if (fork() != 0) {
            _exit(0);
        }
        for (;;) {
            pause();
        }
    }
    (void)waitpid(middle, NULL, 0);
}

static void
act(fake_worker *w, const ct_command *c)
{
    ct_err err = CT_ERR_INIT;
    ct_record record = CT_RECORD_INIT;
    const char *part = w->part;
    if (strcmp(part, "segv") == 0) {
        die_by(SIGSEGV);
    } else if (strcmp(part, "kill") == 0) {
        die_by(SIGKILL);
    } else if (strcmp(part, "exit") == 0) {
        _exit(3);
    } else if (strcmp(part, "garbage") == 0) {
        send_all(w->fd, (const uint8_t *)"this is no frame, whatever you read", 35);
        pause();
    } else if (strcmp(part, "hang") == 0) {
        pause();
    } else if (strcmp(part, "close") == 0) {
        (void)close(w->fd);
        pause();
    } else if (strcmp(part, "family") == 0) {
        leave_descendants(w);
        die_by(SIGKILL);
    } else if (strcmp(part, "half") == 0) { /* part of an answer, then death */
        send_all(w->fd, (const uint8_t *)"\x40\0\0\0\x02", 5);
        _exit(4);
    }
    must(ct_record_i64(&record, w->step, ++w->steps, &err));
    if (strcmp(part, "large") == 0) {
        size_t len = (size_t)3 << 20;
        char *text = ct_calloc(1, len);
        memset(text, 'x', len);
        must(ct_record_str(&record, w->step + 1, text, len, &err));
        ct_free(text);
    }
    answer(w, c, CT_EVENT_RESULT, NULL, &record);
    ct_record_deinit(&record);
    if (strcmp(part, "last") == 0) { /* answers and dies at once */
        _exit(5);
    }
}

static bool
obey(fake_worker *w, const ct_command *c)
{
    switch (c->kind) {
    case CT_COMMAND_START:
    case CT_COMMAND_RESET:
        (void)snprintf(w->part, sizeof w->part, "%s", c->trial_id);
        if (strcmp(w->part, "unwilling") == 0) {
            answer(w, c, CT_EVENT_START_FAILED, "the trainable said no", NULL);
            return false;
        }
        answer(w, c, c->kind == CT_COMMAND_START ? CT_EVENT_STARTED : CT_EVENT_RESET,
               "host", NULL);
        return true;
    case CT_COMMAND_STEP:
        act(w, c);
        return true;
    case CT_COMMAND_STOP:
        answer(w, c, CT_EVENT_STOPPED, NULL, NULL);
        return false;
    default:
        answer(w, c, CT_EVENT_FAILED, "unexpected", NULL);
        return true;
    }
}

static void
serve(int fd)
{
    ct_err err = CT_ERR_INIT;
    fake_worker w = {.fd = fd};
    ct_ref_reader no_refs = {NULL, NULL};
    ct_buf in = CT_BUF_INIT;
    ct_name other;
    must(ct_names_new(&w.names, &err));
    must(ct_names_intern(w.names, "step", 4, &w.step, &err));
    must(ct_names_intern(w.names, "text", 4, &other, &err));
    ct_encoder_init(&w.encoder, w.names);
    ct_decoder_init(&w.decoder, w.names, no_refs);
    for (bool more = true; more;) {
        size_t done;
        must(ct_buf_reserve(&in, 65536, &err));
        if (ct_fd_receive(fd, in.data + in.len, 65536, &done, NULL) == CT_IO_GONE) {
            break;
        }
        in.len += done;
        size_t at = 0, len, size;
        uint8_t type;
        const uint8_t *payload;
        while (more && ct_frame_peek(in.data + at, in.len - at, &type, &payload, &len,
                                     &size) == CT_FRAME_WHOLE) {
            if (type == CT_FRAME_NAME) {
                must(ct_decode_name(&w.decoder, payload, len, &err));
            } else {
                ct_command_box box;
                must(ct_decode_command(&w.decoder, payload, len, &box, &err));
                more = obey(&w, &box.command);
                ct_command_box_deinit(&box);
            }
            at += size;
        }
        memmove(in.data, in.data + at, in.len - at);
        in.len -= at;
    }
    _exit(0);
}

static int
helper_main(int control)
{
    ct_err err = CT_ERR_INIT;
    ct_helper *h = NULL;
    ct_buf payload = CT_BUF_INIT;
    bool end = false;
    must(ct_helper_new(&h, control, -1, &err));
    int memory = -1;
    must(ct_helper_payload(h, &payload, &memory, &end, &err));
    must(ct_buf_terminate(&payload, &err));
    const char *part = (const char *)payload.data;
    void *shared = NULL;
    size_t size = 0;
    bool gone = strncmp(part, "while ", 6) == 0 && access(part + 6, F_OK) != 0;
    if (strcmp(part, "crash") == 0 || gone) {
        die_by(SIGSEGV);
    } else if (strcmp(part, "slow") == 0) {
        pause();
    } else if (strcmp(part, "unloadable") == 0) {
        const char *text = "ImportError: no module";
        ct_helper_unloadable(h, text, strlen(text));
    } else if (strcmp(part, "tells its memory") == 0) {
        must(ct_shm_map(memory, &shared, &size, &err));
        ct_helper_unloadable(h, shared, size);
        ct_shm_unmap(shared, size);
    } else {
        ct_helper_loaded(h);
    }
    ct_buf_deinit(&payload);
    ct_fd_close(&memory);
    for (;;) {
        uint32_t worker;
        int fd;
        must(ct_helper_next(h, &worker, &fd, &end, &err));
        if (end) {
            break;
        }
        pid_t pid = fork();
        if (pid == 0) {
            if (!ct_helper_become_worker(h)) {
                _exit(0);
            }
            serve(fd);
        }
        must(ct_helper_forked(h, worker, pid < 0 ? -errno : pid, &err));
        ct_fd_close(&fd);
    }
    ct_helper_free(h);
    return 0;
}

/* ---- the driver's side ---- */

static double
clock_mono(ct_clock *c)
{
    (void)c;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct rig {
    ct_exec *e;
    ct_names *names;
    ct_clock clock;
    uint64_t serial;
} rig;

static ct_status
rig_open_limited(rig *r, const char *program, const char *payload, int memory,
                 double start_timeout, double work_limit, ct_err *err)
{
    memset(r, 0, sizeof *r);
    r->clock.now = clock_mono;
    r->clock.mono = clock_mono;
    const char *argv[] = {program, "--helper", NULL};
    ct_status st = ct_names_new(&r->names, err);
    if (st != CT_OK) {
        return st;
    }
    ct_proc_pool_opts opts = {.argv = argv,
                              .payload = (const uint8_t *)payload,
                              .payload_len = strlen(payload),
                              .payload_fd = memory,
                              .names = r->names,
                              .clock = &r->clock,
                              .start_timeout = start_timeout,
                              .work_limit = work_limit};
    st = ct_proc_pool_new(&r->e, &opts, err);
    if (st != CT_OK) {
        ct_names_free(r->names);
        r->names = NULL;
    }
    return st;
}

static ct_status
rig_open(rig *r, const char *program, const char *payload, int memory,
         double start_timeout, ct_err *err)
{
    return rig_open_limited(r, program, payload, memory, start_timeout, 0, err);
}

static void
rig_start(rig *r, const char *payload)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(rig_open(r, "/proc/self/exe", payload, -1, 60.0, &err), err);
}

static void
rig_end(rig *r)
{
    r->e->ops->free(r->e);
    ct_names_free(r->names);
}

static uint64_t
give(rig *r, ct_command_kind kind, ct_trial_id trial, const char *part)
{
    ct_err err = CT_ERR_INIT;
    ct_value config = ct_dict();
    ct_command c = {.kind = kind,
                    .trial = trial,
                    .serial = ++r->serial,
                    .config = &config,
                    .trial_id = part};
    assert_ok(r->e->ops->submit(r->e, &c, &err), err);
    return r->serial;
}

static ct_event
next(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_event ev;
    bool got = false;
    double end = clock_mono(NULL) + 60.0;
    while (!got) {
        assert_ok(r->e->ops->poll(r->e, &ev, &got, &err), err);
        if (!got) {
            assert_true(clock_mono(NULL) < end); /* a hang, not a slow machine */
            assert_ok(r->e->ops->wait(r->e, 1.0, &err), err);
        }
    }
    return ev;
}

static void
expect(rig *r, ct_event_kind kind, ct_trial_id trial, uint64_t serial)
{
    ct_event ev = next(r);
    assert_string_equal(ct_event_name(ev.kind), ct_event_name(kind));
    assert_int_equal(ev.trial, trial);
    assert_int_equal(ev.serial, serial);
}

static pid_t
start(rig *r, ct_trial_id trial, const char *part)
{
    uint64_t serial = give(r, CT_COMMAND_START, trial, part);
    ct_event ev = next(r);
    assert_int_equal(ev.kind, CT_EVENT_STARTED);
    assert_int_equal(ev.trial, trial);
    assert_int_equal(ev.serial, serial);
    assert_memory_equal(ev.text, "host", 4);
    return (pid_t)ev.code;
}

static bool
is_alive(pid_t pid)
{
    return kill(pid, 0) == 0 || errno != ESRCH;
}

static void
wait_until_dead(pid_t pid)
{
    for (int i = 0; i < 30000 && is_alive(pid); i++) {
        usleep(1000);
    }
    assert_false(is_alive(pid));
}

static void
eight_workers_step_and_stop(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    pid_t pids[8];
    for (ct_trial_id t = 0; t < 8; t++) {
        pids[t] = start(&r, t, "ok");
    }
    ct_name step;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_intern(r.names, "step", 4, &step, &err), err);
    int64_t seen[8] = {0};
    for (ct_trial_id t = 0; t < 8; t++) {
        give(&r, CT_COMMAND_STEP, t, NULL);
    }
    for (int stopped = 0; stopped < 8;) {
        ct_event ev = next(&r);
        if (ev.kind == CT_EVENT_STOPPED) {
            stopped++;
            continue;
        }
        assert_int_equal(ev.kind, CT_EVENT_RESULT);
        assert_int_equal(ct_record_find(ev.record, step)->u.i, ++seen[ev.trial]);
        give(&r, seen[ev.trial] < 100 ? CT_COMMAND_STEP : CT_COMMAND_STOP, ev.trial,
             NULL);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(seen[i], 100);
        wait_until_dead(pids[i]);
    }
    start(&r, 100, "ok"); /* a slot is used again */
    rig_end(&r);
}

static void
expect_lost(const char *part, int32_t code, const char *text)
{
    rig r;
    rig_start(&r, "ok");
    pid_t pid = start(&r, 5, part);
    uint64_t serial = give(&r, CT_COMMAND_STEP, 5, NULL);
    ct_event ev = next(&r);
    assert_string_equal(ct_event_name(ev.kind), "LOST");
    assert_int_equal(ev.trial, 5);
    assert_int_equal(ev.serial, serial);
    assert_int_equal(ev.code, code);
    if (strstr(ev.text, text) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", ev.text, text);
    }
    char number[32];
    snprintf(number, sizeof number, "worker process %d ", (int)pid);
    assert_non_null(strstr(ev.text, number));
    wait_until_dead(pid);
    serial = give(&r, CT_COMMAND_STEP, 5, NULL); /* who asks again is told again */
    expect(&r, CT_EVENT_LOST, 5, serial);
    serial = give(&r, CT_COMMAND_STOP, 5, NULL);
    expect(&r, CT_EVENT_STOPPED, 5, serial);
    start(&r, 5, "ok"); /* and the trial may start anew */
    rig_end(&r);
}

static void
a_dead_worker_is_a_lost_event_that_says_how_it_died(void **state)
{
    (void)state;
    expect_lost("segv", SIGSEGV, "was killed by signal 11 (SIGSEGV)");
    expect_lost("kill", SIGKILL, "was killed by signal 9 (SIGKILL); if nobody sent it");
    expect_lost("exit", -3, "exited with code 3");
    expect_lost("half", -4, "exited with code 4");
    expect_lost("garbage", SIGKILL, "sent bytes that are not a message");
}

static void
a_worker_that_closes_its_connection_is_killed(void **state)
{
    (void)state;
    expect_lost("close", SIGKILL, "closed its connection and was killed");
}

static void
an_answer_sent_right_before_death_is_not_lost(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    start(&r, 1, "last");
    uint64_t serial = give(&r, CT_COMMAND_STEP, 1, NULL);
    expect(&r, CT_EVENT_RESULT, 1, serial);
    expect(&r, CT_EVENT_LOST, 1, 0);
    rig_end(&r);
}

static void
kill_is_answered_when_the_worker_is_dead(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    pid_t pid = start(&r, 3, "hang");
    give(&r, CT_COMMAND_STEP, 3, NULL);
    uint64_t serial = give(&r, CT_COMMAND_KILL, 3, NULL);
    expect(&r, CT_EVENT_STOPPED, 3, serial);
    assert_false(is_alive(pid));
    serial = give(&r, CT_COMMAND_KILL, 3, NULL);
    expect(&r, CT_EVENT_STOPPED, 3, serial);
    give(&r, CT_COMMAND_START, 4, "ok"); /* killed before it has started */
    serial = give(&r, CT_COMMAND_KILL, 4, NULL);
    expect(&r, CT_EVENT_STOPPED, 4, serial);
    rig_end(&r);
}

static void
a_worker_s_descendants_die_with_it(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    start(&r, 1, "family");
    uint64_t serial = give(&r, CT_COMMAND_STEP, 1, NULL);
    expect(&r, CT_EVENT_LOST, 1, serial);
    /* Both hold the pool's end of nothing but the worker's session: none is left in it. */
    pid_t other = start(&r, 2, "ok");
    pid_t session = getsid(other);
    serial = give(&r, CT_COMMAND_KILL, 2, NULL);
    expect(&r, CT_EVENT_STOPPED, 2, serial);
    for (int i = 0;; i++) { /* only the helper is in the session */
        char command[160];
        snprintf(
            command, sizeof command,
            "n=0; for f in /proc/[0-9]*/stat; do set -- $(sed 's/.*) //' $f "
            "2>/dev/null); [ \"$4\" = %d ] && [ \"$1\" != Z ] && n=$((n+1)); done; "
            "exit $n",
            (int)session);
        int status = system(command);
        if (WEXITSTATUS(status) == 1) {
            break;
        }
        assert_true(i < 300);
        usleep(10000);
    }
    rig_end(&r);
}

static void
reset_gives_a_worker_to_another_trial(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    pid_t pid = start(&r, 1, "ok");
    ct_err err = CT_ERR_INIT;
    ct_command c = {.kind = CT_COMMAND_RESET,
                    .trial = 2,
                    .from = 1,
                    .serial = ++r.serial,
                    .trial_id = "ok"};
    assert_ok(r.e->ops->submit(r.e, &c, &err), err);
    ct_event ev = next(&r);
    assert_int_equal(ev.kind, CT_EVENT_RESET);
    assert_int_equal(ev.trial, 2);
    assert_int_equal(ev.code, pid);
    uint64_t serial = give(&r, CT_COMMAND_STEP, 2, NULL);
    expect(&r, CT_EVENT_RESULT, 2, serial);
    serial = give(&r, CT_COMMAND_STEP, 1, NULL); /* it has no worker any more */
    expect(&r, CT_EVENT_LOST, 1, serial);
    rig_end(&r);
}

static void
a_worker_that_refuses_to_start_makes_one_event(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    uint64_t serial = give(&r, CT_COMMAND_START, 1, "unwilling");
    ct_event ev = next(&r);
    assert_int_equal(ev.kind, CT_EVENT_START_FAILED);
    assert_int_equal(ev.serial, serial);
    assert_memory_equal(ev.text, "the trainable said no", ev.text_len);
    start(&r, 2, "ok"); /* no event of the first comes before */
    rig_end(&r);
}

static void
a_result_of_megabytes_arrives_whole(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    start(&r, 1, "large");
    give(&r, CT_COMMAND_STEP, 1, NULL);
    ct_event ev = next(&r);
    assert_int_equal(ev.kind, CT_EVENT_RESULT);
    assert_int_equal(ev.record->fields[1].len, 3 << 20);
    const char *text = ct_record_text(ev.record, &ev.record->fields[1]);
    assert_int_equal(text[0], 'x');
    assert_int_equal(text[(3 << 20) - 1], 'x');
    rig_end(&r);
}

static void
expect_no_start(const char *payload, const char *text)
{
    rig r;
    rig_start(&r, payload);
    for (ct_trial_id t = 0; t < 3; t++) { /* before and after the failure is known */
        uint64_t serial = give(&r, CT_COMMAND_START, t, "ok");
        ct_event ev = next(&r);
        assert_string_equal(ct_event_name(ev.kind), "START_FAILED");
        assert_int_equal(ev.trial, t);
        assert_int_equal(ev.serial, serial);
        if (strstr(ev.text, text) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", ev.text, text);
        }
    }
    rig_end(&r);
}

static void
a_payload_that_cannot_be_loaded_fails_each_start_with_its_text(void **state)
{
    (void)state;
    expect_no_start("unloadable", "ImportError: no module");
    expect_no_start("crash", "was killed by signal 11 (SIGSEGV) while it loaded");
}

static void
memory_goes_to_the_helper_with_the_payload(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    rig r;
    int memory = -1;
    assert_ok(ct_shm_new(&memory, &err), err);
    assert_ok(ct_shm_write(memory, 0, "written before", 14, &err), err);
    assert_ok(rig_open(&r, "/proc/self/exe", "tells its memory", memory, 60.0, &err),
              err);
    ct_fd_close(&memory); /* the pool has its own by now */
    give(&r, CT_COMMAND_START, 0, "ok");
    ct_event ev = next(&r);
    assert_non_null(strstr(ev.text, "written before"));
    rig_end(&r);
}

static void
a_program_that_is_no_helper_fails_each_start(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    rig r;
    assert_ok(rig_open(&r, "/bin/true", "x", -1, 60.0, &err), err);
    uint64_t serial = give(&r, CT_COMMAND_START, 1, "ok");
    ct_event ev = next(&r);
    assert_int_equal(ev.kind, CT_EVENT_START_FAILED);
    assert_int_equal(ev.serial, serial);
    assert_non_null(strstr(ev.text, "before it was ready"));
    rig_end(&r);
    assert_int_equal(rig_open(&r, "/nowhere/python", "x", -1, 60.0, &err), CT_EIO);
    assert_string_equal(err.param, "/nowhere/python");
}

static void
a_helper_that_says_nothing_is_given_up_at_its_time_limit(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    rig r;
    memset(&r, 0, sizeof r);
    r.clock.mono = clock_mono;
    const char *argv[] = {"/bin/sh", "-c", "sleep 1000", NULL};
    assert_ok(ct_names_new(&r.names, &err), err);
    ct_proc_pool_opts opts = {
        .argv = argv, .names = r.names, .clock = &r.clock, .start_timeout = 0.05};
    assert_ok(ct_proc_pool_new(&r.e, &opts, &err), err);
    uint64_t serial = give(&r, CT_COMMAND_START, 1, "ok");
    ct_event ev = next(&r);
    assert_int_equal(ev.kind, CT_EVENT_START_FAILED);
    assert_int_equal(ev.serial, serial);
    assert_non_null(strstr(ev.text, "said nothing for 0.05 s"));
    rig_end(&r);
}

static void
a_command_that_takes_too_long_loses_its_worker(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    rig r;
    assert_ok(rig_open_limited(&r, "/proc/self/exe", "ok", -1, 60.0, 0.2, &err), err);
    pid_t hanging = start(&r, 1, "hang");
    start(&r, 2, "ok");
    uint64_t serial = give(&r, CT_COMMAND_STEP, 1, NULL);
    ct_event ev = next(&r); /* next() waits longer than the limit */
    assert_string_equal(ct_event_name(ev.kind), "LOST");
    assert_int_equal(ev.trial, 1);
    assert_int_equal(ev.serial, serial);
    assert_non_null(strstr(ev.text, "a step (of a function"));
    assert_non_null(strstr(ev.text, "the 0.2 s that trial_timeout_s allows"));
    wait_until_dead(hanging);
    /* Whoever had nothing to do all the while is not late. */
    serial = give(&r, CT_COMMAND_STEP, 2, NULL);
    expect(&r, CT_EVENT_RESULT, 2, serial);
    rig_end(&r);
}

static void
a_helper_that_takes_too_long_to_load_is_given_up(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    rig r;
    assert_ok(rig_open_limited(&r, "/proc/self/exe", "slow", -1, 60.0, 0.2, &err), err);
    uint64_t serial = give(&r, CT_COMMAND_START, 1, "ok");
    ct_event ev = next(&r);
    assert_string_equal(ct_event_name(ev.kind), "START_FAILED");
    assert_int_equal(ev.serial, serial);
    assert_non_null(strstr(ev.text, "allows to load the trainable"));
    rig_end(&r);
}

static void
a_helper_that_dies_is_replaced_while_its_workers_start(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    for (int i = 0; i < 5; i++) {
        pid_t pid = start(&r, (ct_trial_id)i, "ok");
        assert_int_equal(kill(getsid(pid), SIGKILL), 0);
        expect(&r, CT_EVENT_LOST, (ct_trial_id)i, 0);
        wait_until_dead(pid);
    }
    start(&r, 10, "ok");
    uint64_t serial = give(&r, CT_COMMAND_STEP, 10, NULL);
    expect(&r, CT_EVENT_RESULT, 10, serial);
    rig_end(&r);
}

static void
helpers_that_die_in_a_row_are_not_replaced(void **state)
{
    (void)state;
    rig r;
    char mark[] = "/tmp/ctune-test-XXXXXX";
    char payload[64];
    int fd = mkstemp(mark);
    assert_true(fd >= 0);
    close(fd);
    (void)snprintf(payload, sizeof payload, "while %s", mark);
    rig_start(&r, payload); /* helpers that load as long as that file exists */
    pid_t pid = start(&r, 1, "ok");
    assert_int_equal(unlink(mark), 0);
    assert_int_equal(kill(getsid(pid), SIGKILL), 0);
    expect(&r, CT_EVENT_LOST, 1, 0);
    for (ct_trial_id t = 2; t < 8; t++) {
        uint64_t serial = give(&r, CT_COMMAND_START, t, "ok");
        ct_event ev = next(&r);
        assert_string_equal(ct_event_name(ev.kind), "START_FAILED");
        assert_int_equal(ev.serial, serial);
        assert_non_null(strstr(ev.text, "(SIGSEGV) while it loaded"));
    }
    rig_end(&r);
}

static void
the_death_of_the_helper_loses_every_worker(void **state)
{
    (void)state;
    rig r;
    rig_start(&r, "ok");
    pid_t one = start(&r, 1, "hang");
    pid_t two = start(&r, 2, "ok");
    uint64_t serial = give(&r, CT_COMMAND_STEP, 1, NULL);
    assert_int_equal(kill(getsid(one), SIGKILL), 0); /* the helper leads the session */
    expect(&r, CT_EVENT_LOST, 1, serial);
    ct_event ev = next(&r);
    assert_int_equal(ev.kind, CT_EVENT_LOST);
    assert_int_equal(ev.trial, 2);
    assert_non_null(strstr(ev.text, "was killed by signal 9 (SIGKILL)"));
    wait_until_dead(one);
    wait_until_dead(two);
    start(&r, 3, "ok"); /* by another helper */
    rig_end(&r);
}

static void
close_stops_the_willing_and_kills_the_others(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    rig r;
    rig_start(&r, "ok");
    pid_t willing = start(&r, 1, "ok");
    pid_t hanging = start(&r, 2, "hang");
    pid_t helper = getsid(willing);
    give(&r, CT_COMMAND_STEP, 2, NULL);
    assert_ok(r.e->ops->close(r.e, 0.2, &err), err);
    assert_false(is_alive(willing));
    assert_false(is_alive(hanging));
    assert_false(is_alive(helper));
    ct_command c = {.kind = CT_COMMAND_STEP, .trial = 1};
    assert_int_equal(r.e->ops->submit(r.e, &c, &err), CT_ESTATE);
    rig_end(&r);
}

static void
nothing_outlives_a_driver_that_is_killed(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t driver = fork();
    if (driver == 0) {
        rig r;
        rig_start(&r, "ok");
        pid_t pids[3] = {start(&r, 1, "hang"), start(&r, 2, "ok"), 0};
        pids[2] = getsid(pids[0]);
        give(&r, CT_COMMAND_STEP, 1, NULL);
        (void)!write(fds[1], pids, sizeof pids);
        for (;;) {
            pause();
        }
    }
    pid_t pids[3];
    assert_int_equal(read(fds[0], pids, sizeof pids), sizeof pids);
    assert_int_equal(kill(driver, SIGKILL), 0);
    assert_int_equal(waitpid(driver, NULL, 0), driver);
    for (int i = 0; i < 3; i++) {
        wait_until_dead(pids[i]);
    }
    close(fds[0]);
    close(fds[1]);
}

static void
wake_ends_a_wait_without_limit(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    rig r;
    rig_start(&r, "ok");
    start(&r, 1, "ok");
    r.e->ops->wake(r.e);
    assert_ok(r.e->ops->wait(r.e, -1, &err), err); /* would hang otherwise */
    rig_end(&r);
}

/* Fails the n-th allocation of a whole life: workers come and go, and whatever happens
 * the pool closes and nothing leaks. */
static ct_status
pool_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    rig r;
    ct_status st = rig_open(&r, "/proc/self/exe", "ok", -1, 60.0, err);
    if (st != CT_OK) {
        return st;
    }
    ct_value config = ct_dict();
    ct_command c = {.kind = CT_COMMAND_START,
                    .trial = 1,
                    .serial = 1,
                    .config = &config,
                    .trial_id = "ok"};
    st = r.e->ops->submit(r.e, &c, err);
    for (int answers = 0; st == CT_OK && answers < 3;) {
        ct_event ev;
        bool got = false;
        st = r.e->ops->wait(r.e, 10.0, err);
        if (st == CT_OK) {
            st = r.e->ops->poll(r.e, &ev, &got, err);
        }
        if (st == CT_OK && got) {
            c.kind = ++answers == 1 ? CT_COMMAND_STEP : CT_COMMAND_KILL;
            c.serial++;
            st = answers < 3 ? r.e->ops->submit(r.e, &c, err) : CT_OK;
        }
    }
    r.e->ops->free(r.e);
    ct_names_free(r.names);
    return st;
}

static void
every_failed_allocation_is_a_clean_error(void **state)
{
    (void)state;
    sweep_allocations(pool_attempt, NULL);
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--helper") == 0) {
        return helper_main(atoi(argv[2]));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_workers_step_and_stop),
        cmocka_unit_test(a_dead_worker_is_a_lost_event_that_says_how_it_died),
        cmocka_unit_test(a_worker_that_closes_its_connection_is_killed),
        cmocka_unit_test(an_answer_sent_right_before_death_is_not_lost),
        cmocka_unit_test(kill_is_answered_when_the_worker_is_dead),
        cmocka_unit_test(a_worker_s_descendants_die_with_it),
        cmocka_unit_test(reset_gives_a_worker_to_another_trial),
        cmocka_unit_test(a_worker_that_refuses_to_start_makes_one_event),
        cmocka_unit_test(a_result_of_megabytes_arrives_whole),
        cmocka_unit_test(memory_goes_to_the_helper_with_the_payload),
        cmocka_unit_test(
            a_payload_that_cannot_be_loaded_fails_each_start_with_its_text),
        cmocka_unit_test(a_program_that_is_no_helper_fails_each_start),
        cmocka_unit_test(a_helper_that_says_nothing_is_given_up_at_its_time_limit),
        cmocka_unit_test(a_command_that_takes_too_long_loses_its_worker),
        cmocka_unit_test(a_helper_that_takes_too_long_to_load_is_given_up),
        cmocka_unit_test(the_death_of_the_helper_loses_every_worker),
        cmocka_unit_test(a_helper_that_dies_is_replaced_while_its_workers_start),
        cmocka_unit_test(helpers_that_die_in_a_row_are_not_replaced),
        cmocka_unit_test(close_stops_the_willing_and_kills_the_others),
        cmocka_unit_test(nothing_outlives_a_driver_that_is_killed),
        cmocka_unit_test(wake_ends_a_wait_without_limit),
        cmocka_unit_test(every_failed_allocation_is_a_clean_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
