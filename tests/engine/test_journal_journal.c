/* The journal: what was committed is read back, whatever is cut off or fails behind
 * it. */
#include "folder.h"
#include "support.h"

#include "base/json.h"
#include "journal/journal_int.h"
#include "os/file.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- events that count ---- */

typedef struct seen {
    uint64_t next; /* serials must come in order */
    uint64_t turns;
    double last_time;
    double last_loss;
    uint64_t unsettled;
    uint64_t stop_at;
} seen;

static ct_status
see_event(void *ctx, const ct_event *ev, ct_err *err)
{
    seen *s = ctx;
    if (s->stop_at > 0 && ev->serial == s->stop_at) {
        return ct_fail(err, CT_ETUNE, "here", "enough");
    }
    assert_true(ev->serial == s->next);
    s->next++;
    if (ev->record != NULL) {
        assert_int_equal(ev->record->count, 1);
        s->last_loss = ev->record->fields[0].u.f;
    }
    return CT_OK;
}

static ct_status
see_turn(void *ctx, double time, bool settled, ct_err *err)
{
    (void)err;
    seen *s = ctx;
    s->turns++;
    s->unsettled += !settled;
    s->last_time = time;
    return CT_OK;
}

static ct_journal_visitor
visitor(seen *s)
{
    return (ct_journal_visitor){see_event, see_turn, NULL, s};
}

/* Adds events with the serials from..to-1 as one turn. */
static ct_status
turn(ct_journal *j, ct_names *names, uint64_t from, uint64_t to, ct_err *err)
{
    ct_record r = CT_RECORD_INIT;
    ct_name loss = 0;
    ct_status st = ct_names_intern(names, "loss", 4, &loss, err);
    if (st == CT_OK) {
        st = ct_record_f64(&r, loss, (double)from, err);
    }
    for (uint64_t i = from; st == CT_OK && i < to; i++) {
        const ct_event ev = {.kind = i % 2 == 0 ? CT_EVENT_RESULT : CT_EVENT_STARTED,
                             .serial = i,
                             .record = i % 2 == 0 ? &r : NULL};
        st = ct_journal_add(j, &ev, err);
    }
    if (st == CT_OK) {
        st = ct_journal_commit(j, (double)to, err);
    }
    ct_record_deinit(&r);
    return st;
}

static ct_names *
new_names(void)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    assert_ok(ct_names_new(&names, &err), err);
    return names;
}

static size_t
header_size(void)
{
    ct_err err = CT_ERR_INIT;
    ct_buf header = CT_BUF_INIT;
    assert_ok(journal_header(&header, 1, (journal_turns){0, 0}, &err), err);
    size_t size = header.len;
    ct_buf_deinit(&header);
    return size;
}

/* A segment of three turns: serials 0..1, 2..4, 5..6. */
static void
write_three_turns(ct_buf *bytes, size_t ends[4])
{
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_NONE, &err), err);
    ends[0] = header_size();
    assert_ok(turn(j, names, 0, 2, &err), err);
    ends[1] = (size_t)ct_journal_bytes(j);
    assert_ok(turn(j, names, 2, 5, &err), err);
    ends[2] = (size_t)ct_journal_bytes(j);
    assert_ok(turn(j, names, 5, 7, &err), err);
    ends[3] = (size_t)ct_journal_bytes(j);
    assert_ok(ct_journal_close(j, &err), err);
    assert_ok(ct_file_read_all(in_folder("journal-000001.ctj"), bytes, &err), err);
    assert_int_equal(bytes->len, ends[3]);
    ct_names_free(names);
}

/* Reads from a block of the exact length, so that overruns are seen. */
static ct_status
read_exactly(const uint8_t *data, size_t len, seen *s, ct_journal_summary *sum,
             ct_err *err)
{
    ct_names *names = new_names();
    uint8_t *exact = ct_alloc(len);
    assert_non_null(exact);
    if (len > 0) {
        memcpy(exact, data, len);
    }
    const ct_journal_visitor v = visitor(s);
    *s = (seen){0};
    *sum = (ct_journal_summary){0};
    ct_status st = journal_read_bytes(exact, len, "j", names, &v, sum, err);
    ct_free(exact);
    ct_names_free(names);
    return st;
}

/* ---- one segment ---- */

static void
test_committed_turns_are_read_back_in_order(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    write_three_turns(&bytes, ends);
    ct_names *names = new_names();
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor v = visitor(&s);
    assert_ok(
        ct_journal_read_file(in_folder("journal-000001.ctj"), names, &v, &sum, &err),
        err);
    assert_int_equal(sum.events, 7);
    assert_int_equal(sum.turns, 3);
    assert_int_equal(s.turns, 3);
    assert_int_equal(sum.last_segment, 1);
    assert_int_equal(sum.valid_bytes, ends[3]);
    assert_false(sum.torn);
    assert_true(s.last_time == 7.0);
    assert_true(s.last_loss == 5.0);
    ct_names_free(names);
    ct_buf_deinit(&bytes);
}

static void
test_a_segment_cut_at_any_byte_holds_the_whole_turns_before(void **state)
{
    (void)state;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    const uint64_t events[] = {0, 2, 5, 7};
    write_three_turns(&bytes, ends);
    for (size_t n = 0; n <= bytes.len; n++) {
        ct_err err = CT_ERR_INIT;
        seen s;
        ct_journal_summary sum;
        size_t turns = 0;
        while (turns < 3 && ends[turns + 1] <= n) {
            turns++;
        }
        assert_ok(read_exactly(bytes.data, n, &s, &sum, &err), err);
        assert_int_equal(sum.turns, turns);
        assert_int_equal(sum.events, events[turns]);
        assert_int_equal(sum.valid_bytes, n < ends[0] ? 0 : ends[turns]);
        assert_int_equal(sum.torn, n != 0 && n != ends[turns]);
    }
    ct_buf_deinit(&bytes);
}

/* Damage is told, with its place, unless it lies in the last turn's end: then it looks
 * like a write that was cut off, and the turns before are delivered. */
static void
test_a_flipped_bit_is_an_error_or_costs_the_last_turn_only(void **state)
{
    (void)state;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    write_three_turns(&bytes, ends);
    enum { TURN_FRAME = 18 };
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        ct_err err = CT_ERR_INIT;
        seen s;
        ct_journal_summary sum;
        size_t at = bit / 8;
        bytes.data[at] = (uint8_t)(bytes.data[at] ^ (1U << (bit % 8)));
        ct_status st = read_exactly(bytes.data, bytes.len, &s, &sum, &err);
        if (at >= bytes.len - TURN_FRAME) {
            assert_ok(st, err);
            assert_int_equal(sum.events, 5);
            assert_true(sum.torn);
            assert_int_equal(sum.valid_bytes, ends[2]);
        } else {
            assert_int_equal(st, CT_ECORRUPT);
            size_t turns = 0;
            while (turns < 3 && at >= ends[turns + 1]) {
                turns++;
            }
            assert_int_equal(sum.turns, at < ends[0] ? 0 : turns);
            assert_true(at < ends[0] || strstr(err.text, "at byte") != NULL);
        }
        bytes.data[at] = (uint8_t)(bytes.data[at] ^ (1U << (bit % 8)));
    }
    ct_buf_deinit(&bytes);
}

static void
test_a_file_that_is_no_journal_is_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    seen s;
    ct_journal_summary sum;
    const char *text = "{\"a\": 1}\nthis is not a journal at all\n";
    assert_int_equal(read_exactly((const uint8_t *)text, strlen(text), &s, &sum, &err),
                     CT_ECORRUPT);
    assert_non_null(strstr(err.text, "not a journal"));
    const uint8_t zeros[40] = {0}; /* a lost write */
    assert_ok(read_exactly(zeros, sizeof zeros, &s, &sum, &err), err);
    assert_true(sum.torn);
    assert_int_equal(sum.turns, 0);
}

static void
test_a_journal_of_another_version_is_refused_by_name(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf payload = CT_BUF_INIT;
    ct_buf bytes = CT_BUF_INIT;
    assert_ok(ct_buf_put(&payload, JOURNAL_MAGIC, JOURNAL_MAGIC_LEN, &err), err);
    assert_ok(ct_buf_put_u32(&payload, 99, &err), err);
    assert_ok(ct_buf_put_u32(&payload, 1, &err), err);
    assert_ok(ct_buf_put_u32(&payload, 1, &err), err);
    assert_ok(ct_encode_frame(&bytes, CT_FRAME_HEADER, payload.data, payload.len, &err),
              err);
    seen s;
    ct_journal_summary sum;
    assert_int_equal(read_exactly(bytes.data, bytes.len, &s, &sum, &err),
                     CT_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "99.1"));
    ct_buf_deinit(&payload);
    ct_buf_deinit(&bytes);
}

static void
test_a_visitor_that_fails_ends_the_reading_with_its_status(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    write_three_turns(&bytes, ends);
    ct_names *names = new_names();
    seen s = {.stop_at = 3};
    ct_journal_summary sum = {0};
    const ct_journal_visitor v = visitor(&s);
    assert_int_equal(
        journal_read_bytes(bytes.data, bytes.len, "j", names, &v, &sum, &err),
        CT_ETUNE);
    assert_string_equal(err.param, "here");
    ct_names_free(names);
    ct_buf_deinit(&bytes);
}

static void
test_a_segment_is_never_overwritten(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    write_three_turns(&bytes, ends);
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_int_equal(ct_journal_open(&j, folder, 1, names, CT_SYNC_NONE, &err),
                     CT_ESTATE);
    assert_null(j);
    ct_names_free(names);
    ct_buf_deinit(&bytes);
}

static void
test_an_uncommitted_turn_did_not_happen(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_ALWAYS, &err), err);
    assert_ok(turn(j, names, 0, 2, &err), err);
    uint64_t size = ct_journal_bytes(j);
    assert_ok(ct_journal_commit(j, 3.0, &err), err); /* nothing to do */
    assert_int_equal(ct_journal_bytes(j), size);
    const ct_event ev = {.kind = CT_EVENT_TICK, .serial = 2};
    assert_ok(ct_journal_add(j, &ev, &err), err);
    assert_ok(ct_journal_close(j, &err), err);
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor v = visitor(&s);
    assert_ok(
        ct_journal_read_file(in_folder("journal-000001.ctj"), names, &v, &sum, &err),
        err);
    assert_int_equal(sum.events, 2);
    assert_false(sum.torn);
    ct_names_free(names);
}

/* ---- failing writes ---- */

/* Runs in a child: the limit on file sizes stands for a full disk. */
static int
commit_on_a_full_disk(void)
{
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = NULL;
    struct rlimit limit;
    int ok = ct_names_new(&names, &err) == CT_OK &&
             ct_journal_open(&j, folder, 1, names, CT_SYNC_ALWAYS, &err) == CT_OK &&
             turn(j, names, 0, 2, &err) == CT_OK;
    (void)signal(SIGXFSZ, SIG_IGN);
    ok = ok && getrlimit(RLIMIT_FSIZE, &limit) == 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)ct_journal_bytes(j) + 30; /* a part of the turn fits */
    ok = ok && setrlimit(RLIMIT_FSIZE, &limit) == 0;
    ok = ok && turn(j, names, 2, 5, &err) == CT_EIO;
    ok = ok && ct_journal_commit(j, 5.0, &err) == CT_EIO; /* still full */
    struct stat info;
    ok = ok && stat(in_folder("journal-000001.ctj"), &info) == 0;
    ok = ok && (uint64_t)info.st_size == ct_journal_bytes(j); /* whole turns only */
    limit.rlim_cur = before;
    ok = ok && setrlimit(RLIMIT_FSIZE, &limit) == 0;
    const ct_event ev = {.kind = CT_EVENT_TICK, .serial = 5};
    ok = ok && ct_journal_add(j, &ev, &err) == CT_OK;
    ok = ok &&
         ct_journal_commit(j, 6.0, &err) == CT_OK; /* the turn that waits, and more */
    ok = ok && turn(j, names, 6, 7, &err) == CT_OK;
    ok = ct_journal_close(j, &err) == CT_OK && ok;
    ct_names_free(names);
    return ok ? 0 : 1;
}

static void
test_a_turn_that_did_not_fit_is_committed_again_later(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    pid_t child = fork();
    if (child == 0) {
        _exit(commit_on_a_full_disk());
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    ct_names *names = new_names();
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor v = visitor(&s);
    assert_ok(
        ct_journal_read_file(in_folder("journal-000001.ctj"), names, &v, &sum, &err),
        err);
    assert_int_equal(sum.events, 7);
    assert_false(sum.torn);
    ct_names_free(names);
}

static void
test_turns_that_end_without_a_write_are_written_together(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = new_names();
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor v = visitor(&s);
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_NONE, &err), err);
    uint64_t before = ct_journal_bytes(j);
    for (int i = 0; i < 3; i++) {
        const ct_event ev = {.kind = CT_EVENT_TICK, .serial = (uint64_t)i};
        assert_ok(ct_journal_add(j, &ev, &err), err);
        assert_ok(ct_journal_end_turn(j, 1.0 + i, &err), err);
    }
    assert_int_equal(ct_journal_bytes(j), before);
    assert_true(ct_journal_pending(j) > 0);
    assert_ok(ct_journal_commit(j, 9.0, &err), err);
    assert_int_equal(ct_journal_pending(j), 0);
    assert_ok(ct_journal_close(j, &err), err);
    assert_ok(
        ct_journal_read_file(in_folder("journal-000001.ctj"), names, &v, &sum, &err),
        err);
    assert_int_equal(sum.events, 3);
    assert_int_equal(sum.turns, 3);
    ct_names_free(names);
}

/* ---- snapshots and recovery ---- */

static ct_value
state_of(int64_t n)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_list();
    ct_value item = ct_i64(n);
    assert_ok(ct_value_push(&v, &item, &err), err);
    return v;
}

static void
snapshot(ct_journal *j, int64_t n)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = state_of(n);
    assert_ok(ct_journal_snapshot(j, &v, &err), err);
    ct_value_deinit(&v);
}

/* The number that the recovered snapshot holds, or -1. *s starts at its serials. */
static int64_t
recover(seen *s, uint64_t first, ct_journal_summary *sum)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = new_names();
    ct_value state = ct_nil();
    const ct_journal_visitor v = visitor(s);
    *s = (seen){.next = first};
    assert_ok(ct_journal_recover(folder, names, &state, &v, sum, &err), err);
    int64_t n = state.kind == CT_LIST ? state.u.items[0].u.i : -1;
    ct_value_deinit(&state);
    ct_names_free(names);
    return n;
}

/* Segments 1 (0..1), snapshot 2, 2 (2..4), snapshot 3, 3 (5..6), snapshot 4, 4 (7). */
static void
write_three_snapshots(unsigned snapshots)
{
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_INTERVAL, &err), err);
    const uint64_t starts[] = {0, 2, 5, 7, 8};
    for (unsigned i = 0; i < 4; i++) {
        assert_ok(turn(j, names, starts[i], starts[i + 1], &err), err);
        if (i < snapshots) {
            snapshot(j, (int64_t)starts[i + 1]);
        }
    }
    assert_ok(ct_journal_close(j, &err), err);
    ct_names_free(names);
}

static void
test_recovery_takes_the_newest_snapshot_and_the_turns_behind_it(void **state)
{
    (void)state;
    seen s;
    ct_journal_summary sum;
    write_three_snapshots(3);
    assert_int_equal(recover(&s, 7, &sum), 7);
    assert_int_equal(sum.events, 1);
    assert_int_equal(sum.last_segment, 4);
    assert_false(ct_file_exists(in_folder("journal-000001.ctj")));
    assert_false(ct_file_exists(in_folder("journal-000002.ctj")));
    assert_false(ct_file_exists(in_folder("snapshot-000002.json")));
    assert_true(ct_file_exists(in_folder("journal-000003.ctj")));
    assert_true(ct_file_exists(in_folder("snapshot-000003.json")));
}

static void
test_a_damaged_snapshot_is_replaced_by_the_one_before(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    seen s;
    ct_journal_summary sum;
    write_three_snapshots(3);
    assert_ok(ct_file_truncate(in_folder("snapshot-000004.json"), 1, &err), err);
    assert_int_equal(recover(&s, 5, &sum), 5);
    assert_int_equal(sum.events, 3);
    assert_int_equal(sum.turns, 2);
}

static void
test_without_a_readable_snapshot_the_whole_journal_is_read(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    seen s;
    ct_journal_summary sum;
    write_three_snapshots(1);
    assert_ok(ct_file_truncate(in_folder("snapshot-000002.json"), 0, &err), err);
    assert_int_equal(recover(&s, 0, &sum), -1);
    assert_int_equal(sum.events, 8);
    assert_int_equal(sum.last_segment, 2);
}

static void
test_nothing_is_invented_when_all_snapshots_are_damaged(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    write_three_snapshots(3);
    assert_ok(ct_file_truncate(in_folder("snapshot-000003.json"), 1, &err), err);
    assert_ok(ct_file_truncate(in_folder("snapshot-000004.json"), 1, &err), err);
    ct_names *names = new_names();
    ct_value v = ct_nil();
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor vis = visitor(&s);
    assert_int_equal(ct_journal_recover(folder, names, &v, &vis, &sum, &err),
                     CT_ECORRUPT);
    assert_non_null(strstr(err.param, "snapshot-000004.json"));
    assert_int_equal(v.kind, CT_NIL);
    ct_names_free(names);
}

static void
test_the_state_of_another_snapshot_is_not_taken(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    write_three_snapshots(3);
    char from[PATH_MAX], to[PATH_MAX];
    (void)snprintf(from, sizeof from, "%s", in_folder("snapshot-000003.json"));
    (void)snprintf(to, sizeof to, "%s", in_folder("snapshot-000004.json"));
    assert_ok(ct_file_remove(to, &err), err);
    assert_ok(ct_file_link(from, to, &err), err);
    assert_ok(ct_file_replace(from, "{}", 2, false, &err), err);
    ct_names *names = new_names();
    ct_value v = ct_nil();
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor vis = visitor(&s);
    assert_int_equal(ct_journal_recover(folder, names, &v, &vis, &sum, &err),
                     CT_ECORRUPT);
    assert_non_null(strstr(err.param, "snapshot-000004.json"));
    assert_non_null(strstr(err.text, "another one's state"));
    assert_int_equal(v.kind, CT_NIL);
    ct_names_free(names);
}

static void
test_a_missing_segment_is_an_error_that_names_it(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    write_three_snapshots(3);
    assert_ok(ct_file_remove(in_folder("snapshot-000004.json"), &err), err);
    assert_ok(ct_file_remove(in_folder("journal-000003.ctj"), &err), err);
    ct_names *names = new_names();
    ct_value v = ct_nil();
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor vis = visitor(&s);
    assert_int_equal(ct_journal_recover(folder, names, &v, &vis, &sum, &err),
                     CT_ECORRUPT);
    assert_non_null(strstr(err.param, "journal-000003.ctj"));
    assert_int_equal(v.kind, CT_NIL);
    ct_names_free(names);
}

static void
test_an_empty_or_missing_folder_recovers_to_nothing(void **state)
{
    (void)state;
    seen s;
    ct_journal_summary sum;
    assert_int_equal(recover(&s, 0, &sum), -1);
    assert_int_equal(sum.last_segment, 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(recover(&s, 0, &sum), -1);
}

/* A crash between making the segment and naming the snapshot. */
static void
test_a_new_segment_without_its_snapshot_continues_the_old_one(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    seen s;
    ct_journal_summary sum;
    write_three_snapshots(3);
    assert_ok(ct_file_remove(in_folder("snapshot-000004.json"), &err), err);
    assert_int_equal(recover(&s, 5, &sum), 5);
    assert_int_equal(sum.events, 3);
    assert_int_equal(sum.last_segment, 4);
}

/* A run that died, was recovered, and went on in the next segment. */
static void
test_a_torn_tail_in_an_older_segment_is_left_out(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    seen s;
    ct_journal_summary sum;
    write_three_turns(&bytes, ends);
    assert_ok(ct_file_truncate(in_folder("journal-000001.ctj"), ends[3] - 1, &err),
              err);
    assert_int_equal(recover(&s, 0, &sum), -1);
    assert_true(sum.torn);
    assert_int_equal(sum.events, 5);
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_ok(
        ct_journal_open(&j, folder, sum.last_segment + 1, names, CT_SYNC_NONE, &err),
        err);
    assert_ok(turn(j, names, 5, 6, &err), err);
    assert_ok(ct_journal_close(j, &err), err);
    assert_int_equal(recover(&s, 0, &sum), -1);
    assert_int_equal(sum.events, 6);
    assert_false(sum.torn);
    ct_names_free(names);
    ct_buf_deinit(&bytes);
}

/* ---- segments that go on from others ---- */

/* Three turns in segment 1, and one in segment 2, of a run that went on. */
static void
write_two_segments(ct_buf *bytes, size_t ends[4])
{
    ct_err err = CT_ERR_INIT;
    seen s;
    ct_journal_summary sum;
    ct_journal *j = NULL;
    write_three_turns(bytes, ends);
    ct_names *names = new_names();
    assert_int_equal(recover(&s, 0, &sum), -1);
    assert_ok(ct_journal_open(&j, folder, 2, names, CT_SYNC_ALWAYS, &err), err);
    ct_journal_follow(j, &sum);
    assert_ok(turn(j, names, 7, 8, &err), err);
    assert_ok(ct_journal_close(j, &err), err);
    ct_names_free(names);
}

static ct_status
recover_all(ct_journal_summary *sum, ct_err *err)
{
    seen s = {0};
    ct_value v = ct_nil();
    ct_names *names = new_names();
    const ct_journal_visitor vis = visitor(&s);
    ct_status st = ct_journal_recover(folder, names, &v, &vis, sum, err);
    assert_int_equal(sum->events, s.next);
    ct_value_deinit(&v);
    ct_names_free(names);
    return st;
}

static void
test_turns_that_an_earlier_segment_lost_are_missed(void **state)
{
    (void)state;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    ct_journal_summary sum;
    write_two_segments(&bytes, ends);
    const char *path = in_folder("journal-000001.ctj");
    for (size_t n = 0; n <= bytes.len + 20; n++) { /* what was torn stays */
        ct_err err = CT_ERR_INIT;
        uint8_t *part = ct_calloc(1, bytes.len + 20);
        memcpy(part, bytes.data, bytes.len);
        assert_ok(ct_file_replace(path, part, n, false, &err), err);
        ct_free(part);
        ct_status st = recover_all(&sum, &err);
        assert_int_equal(st, n < bytes.len ? CT_ECORRUPT : CT_OK);
        if (n < bytes.len) {
            assert_string_equal(err.param, path);
            assert_non_null(strstr(err.text, "ctune repair"));
        } else {
            assert_int_equal(sum.events, 8);
        }
        path = in_folder("journal-000001.ctj");
    }
    ct_buf_deinit(&bytes);
}

static void
test_no_flipped_bit_of_an_earlier_segment_costs_a_turn_unseen(void **state)
{
    (void)state;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    ct_journal_summary sum;
    write_two_segments(&bytes, ends);
    for (size_t bit = 8 * ends[2]; bit < bytes.len * 8; bit++) {
        ct_err err = CT_ERR_INIT;
        bytes.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_ok(ct_file_replace(in_folder("journal-000001.ctj"), bytes.data,
                                  bytes.len, false, &err),
                  err);
        assert_int_equal(recover_all(&sum, &err), CT_ECORRUPT);
        bytes.data[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    ct_buf_deinit(&bytes);
}

/* Its header ends with the version of its writer. */
static void
test_a_segment_of_an_older_version_says_nothing_of_the_one_before(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf bytes = CT_BUF_INIT, second = CT_BUF_INIT, old = CT_BUF_INIT;
    size_t ends[4], len, size;
    const uint8_t *payload;
    uint8_t type;
    ct_journal_summary sum;
    write_two_segments(&bytes, ends);
    const char *path = in_folder("journal-000002.ctj");
    assert_ok(ct_file_read_all(path, &second, &err), err);
    assert_int_equal(
        ct_frame_peek(second.data, second.len, &type, &payload, &len, &size),
        CT_FRAME_WHOLE);
    assert_ok(ct_encode_frame(&old, CT_FRAME_HEADER, payload, len - 12, &err), err);
    assert_ok(ct_buf_put(&old, second.data + size, second.len - size, &err), err);
    assert_ok(ct_file_replace(path, old.data, old.len, false, &err), err);
    assert_ok(recover_all(&sum, &err), err);
    assert_int_equal(sum.events, 8);
    ct_buf_deinit(&bytes);
    ct_buf_deinit(&second);
    ct_buf_deinit(&old);
}

static void
test_a_segment_behind_a_snapshot_tells_of_the_one_before(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf bytes = CT_BUF_INIT;
    ct_journal *j = NULL;
    ct_journal_summary sum;
    ct_names *names = new_names();
    ct_value v = state_of(5);
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_NONE, &err), err);
    assert_ok(turn(j, names, 0, 5, &err), err);
    assert_ok(ct_journal_snapshot(j, &v, &err), err);
    assert_ok(turn(j, names, 5, 6, &err), err);
    assert_ok(ct_journal_close(j, &err), err);
    assert_ok(ct_file_remove(in_folder("snapshot-000002.json"), &err), err);
    assert_ok(recover_all(&sum, &err), err);
    assert_int_equal(sum.events, 6);
    assert_ok(ct_file_truncate(in_folder("journal-000001.ctj"), header_size(), &err),
              err);
    assert_int_equal(recover_all(&sum, &err), CT_ECORRUPT);
    ct_value_deinit(&v);
    ct_names_free(names);
    ct_buf_deinit(&bytes);
}

/* A process that died early, or a snapshot that failed, may leave one. */
static void
test_a_segment_without_turns_is_passed_over(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_buf bytes = CT_BUF_INIT;
    size_t ends[4];
    uint64_t size;
    ct_file empty = CT_FILE_INIT;
    ct_journal *j = NULL;
    ct_journal_summary sum;
    write_three_turns(&bytes, ends);
    assert_ok(
        journal_segment_make(&empty, folder, 2, (journal_turns){9, 9}, &size, &err),
        err);
    ct_file_close(&empty);
    assert_ok(recover_all(&sum, &err), err);
    ct_names *names = new_names();
    assert_ok(ct_journal_open(&j, folder, 3, names, CT_SYNC_ALWAYS, &err), err);
    ct_journal_follow(j, &sum);
    assert_ok(turn(j, names, 7, 8, &err), err);
    assert_ok(ct_journal_close(j, &err), err);
    assert_ok(recover_all(&sum, &err), err);
    assert_int_equal(sum.events, 8);
    assert_ok(ct_file_truncate(in_folder("journal-000001.ctj"), ends[2], &err), err);
    assert_int_equal(recover_all(&sum, &err), CT_ECORRUPT);
    assert_string_equal(err.param, in_folder("journal-000001.ctj"));
    ct_names_free(names);
    ct_buf_deinit(&bytes);
}

static void
test_a_segment_is_made_with_its_first_turn(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_ALWAYS, &err), err);
    assert_ok(ct_journal_sync(j, &err), err);
    assert_ok(ct_journal_close(j, &err), err);
    assert_false(ct_file_exists(in_folder("journal-000001.ctj")));
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_ALWAYS, &err), err);
    assert_ok(turn(j, names, 0, 1, &err), err);
    assert_true(ct_file_exists(in_folder("journal-000001.ctj")));
    assert_ok(ct_journal_close(j, &err), err);
    ct_names_free(names);
}

static void
test_a_failed_snapshot_changes_nothing(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_NONE, &err), err);
    assert_ok(turn(j, names, 0, 2, &err), err);
    ct_value v = state_of(1);
    assert_ok(ct_dir_make(in_folder("snapshot-000002.json/x"), NULL, &err), err);
    assert_int_equal(ct_journal_snapshot(j, &v, &err), CT_EIO);
    assert_false(ct_file_exists(in_folder("journal-000002.ctj")));
    assert_ok(turn(j, names, 2, 3, &err), err);
    const ct_event ev = {.kind = CT_EVENT_TICK, .serial = 3};
    assert_ok(ct_journal_add(j, &ev, &err), err);
    assert_int_equal(ct_journal_snapshot(j, &v, &err), CT_ESTATE);
    assert_ok(ct_journal_commit(j, 4.0, &err), err);
    assert_ok(ct_dir_remove_tree(in_folder("snapshot-000002.json"), &err), err);
    assert_ok(ct_journal_snapshot(j, &v, &err), err);
    ct_value_deinit(&v);
    assert_ok(ct_journal_close(j, &err), err);
    seen s;
    ct_journal_summary sum;
    assert_int_equal(recover(&s, 4, &sum), 1);
    assert_int_equal(sum.events, 0);
    assert_int_equal(sum.last_segment, 2);
    ct_names_free(names);
}

/* The new segment would lack the names that waiting turns use. */
static void
test_turns_that_wait_are_written_together_and_before_a_snapshot(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = new_names();
    assert_ok(ct_journal_open(&j, folder, 1, names, CT_SYNC_NONE, &err), err);
    for (uint64_t i = 0; i < 3; i++) {
        const ct_event ev = {.kind = CT_EVENT_TICK, .serial = i};
        assert_ok(ct_journal_add(j, &ev, &err), err);
        assert_ok(ct_journal_end_turn(j, (double)i, &err), err);
    }
    assert_int_equal(ct_journal_bytes(j), 0);
    ct_value v = state_of(3);
    assert_int_equal(ct_journal_snapshot(j, &v, &err), CT_ESTATE);
    size_t waiting = ct_journal_pending(j);
    assert_ok(ct_journal_commit(j, 3.0, &err), err);
    assert_int_equal(ct_journal_bytes(j), header_size() + waiting);
    assert_int_equal(ct_journal_pending(j), 0);
    assert_ok(ct_journal_snapshot(j, &v, &err), err);
    ct_value_deinit(&v);
    assert_ok(ct_journal_close(j, &err), err);
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor vis = visitor(&s);
    assert_ok(
        ct_journal_read_file(in_folder("journal-000001.ctj"), names, &vis, &sum, &err),
        err);
    assert_int_equal(sum.turns, 3);
    assert_int_equal(sum.events, 3);
    ct_names_free(names);
}

static ct_status
whole_life(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_err ignored = CT_ERR_INIT;
    ct_journal *j = NULL;
    ct_names *names = NULL;
    ct_value v = ct_bool(true);
    seen s = {0};
    ct_journal_summary sum;
    const ct_journal_visitor vis = visitor(&s);
    (void)ct_dir_remove_tree(folder, &ignored);
    (void)mkdir(folder, 0777);
    ct_status st = ct_names_new(&names, err);
    if (st == CT_OK) {
        st = ct_journal_open(&j, folder, 1, names, CT_SYNC_NONE, err);
    }
    if (st == CT_OK) {
        st = turn(j, names, 0, 2, err);
    }
    if (st == CT_OK) {
        st = ct_journal_snapshot(j, &v, err);
    }
    if (st == CT_OK) {
        st = ct_journal_snapshot(j, &v, err);
    }
    if (st == CT_OK) {
        st = turn(j, names, 0, 2, err);
    }
    (void)ct_journal_close(j, &ignored);
    if (st == CT_OK) {
        st = ct_journal_recover(folder, names, &v, &vis, &sum, err);
    }
    ct_value_deinit(&v);
    ct_names_free(names);
    return st;
}

static void
test_every_failed_allocation_is_reported_without_leak(void **state)
{
    (void)state;
    sweep_allocations(whole_life, NULL);
}

static void
test_a_sync_that_is_asked_for_covers_what_was_committed(void **state)
{
    (void)state;
    static const ct_sync_policy policies[] = {CT_SYNC_NONE, CT_SYNC_INTERVAL,
                                              CT_SYNC_ALWAYS};
    static const uint64_t expected[] = {0, 2, 2};
    for (uint32_t i = 0; i < 3; i++) {
        ct_err err = CT_ERR_INIT;
        ct_journal *j = NULL;
        ct_names *names = new_names();
        assert_ok(ct_journal_open(&j, folder, i, names, policies[i], &err), err);
        assert_ok(turn(j, names, 0, 1, &err), err); /* the first of an interval syncs */
        assert_ok(ct_journal_sync(j, &err), err);
        const ct_event ev = {.kind = CT_EVENT_TICK, .trial = CT_TRIAL_NONE};
        assert_ok(ct_journal_add(j, &ev, &err), err);
        assert_ok(ct_journal_commit(j, 1.5, &err), err); /* within the same second */
        assert_ok(ct_journal_sync(j, &err), err);
        assert_ok(ct_journal_sync(j, &err), err); /* nothing is new */
        assert_int_equal(ct_journal_syncs(j), expected[i]);
        assert_ok(ct_journal_close(j, &err), err);
        ct_names_free(names);
    }
}

#define IN_FOLDER(test)                                                                \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_committed_turns_are_read_back_in_order),
        IN_FOLDER(test_a_segment_cut_at_any_byte_holds_the_whole_turns_before),
        IN_FOLDER(test_a_flipped_bit_is_an_error_or_costs_the_last_turn_only),
        IN_FOLDER(test_a_file_that_is_no_journal_is_refused),
        IN_FOLDER(test_a_journal_of_another_version_is_refused_by_name),
        IN_FOLDER(test_a_visitor_that_fails_ends_the_reading_with_its_status),
        IN_FOLDER(test_a_segment_is_never_overwritten),
        IN_FOLDER(test_an_uncommitted_turn_did_not_happen),
        IN_FOLDER(test_a_turn_that_did_not_fit_is_committed_again_later),
        IN_FOLDER(test_recovery_takes_the_newest_snapshot_and_the_turns_behind_it),
        IN_FOLDER(test_a_damaged_snapshot_is_replaced_by_the_one_before),
        IN_FOLDER(test_without_a_readable_snapshot_the_whole_journal_is_read),
        IN_FOLDER(test_nothing_is_invented_when_all_snapshots_are_damaged),
        IN_FOLDER(test_the_state_of_another_snapshot_is_not_taken),
        IN_FOLDER(test_a_missing_segment_is_an_error_that_names_it),
        IN_FOLDER(test_an_empty_or_missing_folder_recovers_to_nothing),
        IN_FOLDER(test_a_new_segment_without_its_snapshot_continues_the_old_one),
        IN_FOLDER(test_a_torn_tail_in_an_older_segment_is_left_out),
        IN_FOLDER(test_turns_that_end_without_a_write_are_written_together),
        IN_FOLDER(test_turns_that_an_earlier_segment_lost_are_missed),
        IN_FOLDER(test_no_flipped_bit_of_an_earlier_segment_costs_a_turn_unseen),
        IN_FOLDER(test_a_segment_of_an_older_version_says_nothing_of_the_one_before),
        IN_FOLDER(test_a_segment_behind_a_snapshot_tells_of_the_one_before),
        IN_FOLDER(test_a_segment_without_turns_is_passed_over),
        IN_FOLDER(test_a_segment_is_made_with_its_first_turn),
        IN_FOLDER(test_a_failed_snapshot_changes_nothing),
        IN_FOLDER(test_a_sync_that_is_asked_for_covers_what_was_committed),
        IN_FOLDER(test_turns_that_wait_are_written_together_and_before_a_snapshot),
        IN_FOLDER(test_every_failed_allocation_is_reported_without_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
