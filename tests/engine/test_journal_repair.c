/* Repair: recovery works again, on a prefix of what was, and nothing is gone for good. */
#include "folder.h"
#include "support.h"

#include "base/json.h"
#include "journal/journal_int.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
again(void)
{
    assert_int_equal(remove_folder(NULL), 0);
    assert_int_equal(make_folder(NULL), 0);
}

static ct_buf
content(const char *name)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    assert_ok(ct_file_read_all(in_folder(name), &b, &err), err);
    return b;
}

static void
put(const char *name, const uint8_t *data, size_t len)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_file_replace(in_folder(name), data, len, false, &err), err);
}

/* ---- journals whose events have serials in order ---- */

static ct_status
turn(ct_journal *j, ct_names *names, uint64_t *serial, ct_err *err)
{
    ct_record r = CT_RECORD_INIT;
    ct_name loss = 0;
    ct_status st = ct_names_intern(names, "loss", 4, &loss, err);
    if (st == CT_OK) {
        st = ct_record_f64(&r, loss, 0.5, err);
    }
    for (int i = 0; st == CT_OK && i < 2; i++) {
        ct_event ev = {.kind = i == 0 ? CT_EVENT_RESULT : CT_EVENT_STARTED,
                       .serial = *serial,
                       .record = i == 0 ? &r : NULL};
        st = ct_journal_add(j, &ev, err);
        *serial += st == CT_OK;
    }
    if (st == CT_OK) {
        st = ct_journal_commit(j, 1.0, err);
    }
    ct_record_deinit(&r);
    return st;
}

static ct_status
ignore(void *ctx, const ct_event *ev, ct_err *err)
{
    (void)ctx, (void)ev, (void)err;
    return CT_OK;
}

/* The journal goes on from what is there. */
static ct_status
follow(ct_journal *j, ct_err *err)
{
    ct_names *names = NULL;
    ct_value state = ct_nil();
    ct_journal_summary sum;
    ct_journal_visitor v = {.on_event = ignore};
    ct_status st = ct_names_new(&names, err);
    if (st == CT_OK) {
        st = ct_journal_recover(folder, names, &state, &v, &sum, err);
    }
    if (st == CT_OK) {
        ct_journal_follow(j, &sum);
    }
    ct_value_deinit(&state);
    ct_names_free(names);
    return st;
}

/* Three segments of three turns with two events each: serials 0 to 17. */
static ct_status
write_segments(ct_err *err)
{
    ct_names *names = NULL;
    uint64_t serial = 0;
    ct_status st = ct_names_new(&names, err);
    for (uint32_t n = 0; st == CT_OK && n < 3; n++) {
        ct_journal *j = NULL;
        st = ct_journal_open(&j, folder, n, names, CT_SYNC_NONE, err);
        if (st == CT_OK && n > 0) {
            st = follow(j, err);
        }
        for (int i = 0; st == CT_OK && i < 3; i++) {
            st = turn(j, names, &serial, err);
        }
        ct_status end = ct_journal_close(j, err);
        st = st == CT_OK ? end : st;
    }
    ct_names_free(names);
    return st;
}

typedef struct seen {
    uint64_t first, next;
    bool any, gap;
} seen;

static ct_status
see(void *ctx, const ct_event *ev, ct_err *err)
{
    seen *s = ctx;
    (void)err;
    if (!s->any) {
        s->any = true;
        s->first = s->next = ev->serial;
    }
    s->gap = s->gap || ev->serial != s->next;
    s->next = ev->serial + 1;
    return CT_OK;
}

static ct_status
recover(seen *s, ct_err *err)
{
    ct_names *names = NULL;
    ct_value state = ct_nil();
    ct_journal_summary sum;
    ct_journal_visitor v = {.on_event = see, .ctx = s};
    *s = (seen){0};
    assert_ok(ct_names_new(&names, err), *err);
    ct_status st = ct_journal_recover(folder, names, &state, &v, &sum, err);
    ct_value_deinit(&state);
    ct_names_free(names);
    return st;
}

/* Expects that the events from..to-1 can be recovered. */
static void
expect(uint64_t from, uint64_t to)
{
    ct_err err = CT_ERR_INIT;
    seen s;
    assert_ok(recover(&s, &err), err);
    assert_int_equal(s.next, s.any ? to : 0);
    assert_int_equal(s.first, s.any ? from : 0);
    assert_true((s.any || from == to) && !s.gap);
}

/* ---- what was told ---- */

typedef struct told {
    size_t n[CT_REPAIR_MISSING + 1];
    uint64_t kept, dropped, turns_kept, turns_dropped, events_kept, events_dropped;
    char backup[256]; /* the last one */
    char why[640];
    bool backups;
} told;

static ct_status
tell(void *ctx, const ct_repair_file *f, ct_err *err)
{
    told *t = ctx;
    (void)err;
    t->n[f->kind]++;
    t->kept += f->kept;
    t->dropped += f->dropped;
    t->turns_kept += f->turns_kept;
    t->turns_dropped += f->turns_dropped;
    t->events_kept += f->events_kept;
    t->events_dropped += f->events_dropped;
    if (f->backup != NULL) {
        t->backups = true;
        (void)snprintf(t->backup, sizeof t->backup, "%s", f->backup);
    }
    if (f->why[0] != '\0') {
        (void)snprintf(t->why, sizeof t->why, "%s", f->why);
    }
    return CT_OK;
}

static size_t
repair(bool dry, told *t)
{
    ct_err err = CT_ERR_INIT;
    size_t changed;
    *t = (told){0};
    assert_ok(ct_journal_repair(folder, dry, tell, t, &changed, &err), err);
    return changed;
}

static size_t
names_in_folder(void)
{
    size_t n = 0;
    char command[128];
    (void)snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    FILE *p = popen(command, "r");
    assert_int_equal(fscanf(p, "%zu", &n), 1);
    pclose(p);
    return n;
}

/* ---- tests ---- */

static void
test_a_whole_journal_is_left_alone(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    assert_ok(write_segments(&err), err);
    assert_int_equal(repair(false, &t), 0);
    assert_int_equal(t.n[CT_REPAIR_WHOLE], 3);
    assert_int_equal(t.turns_kept, 9);
    assert_int_equal(t.events_kept, 18);
    assert_int_equal(t.dropped, 0);
    assert_int_equal(names_in_folder(), 3);
}

static void
test_a_torn_tail_needs_no_repair(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    assert_ok(write_segments(&err), err);
    ct_buf b = content("journal-000002.ctj");
    put("journal-000002.ctj", b.data, b.len - 5);
    assert_int_equal(repair(false, &t), 0);
    assert_int_equal(t.n[CT_REPAIR_WHOLE], 3);
    assert_int_equal(t.turns_kept, 8);
    assert_int_equal(t.events_dropped, 2);
    assert_int_equal(names_in_folder(), 3);
    expect(0, 16);
    ct_buf_deinit(&b);
}

/* Damages one byte of the segment in the middle, for each of its bytes. */
static void
test_any_damage_leaves_a_prefix_that_can_be_recovered(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    assert_ok(write_segments(&err), err);
    ct_buf whole = content("journal-000001.ctj");
    size_t cut = 0, header = 0;
    for (size_t i = 0; i < whole.len; i++) {
        told t;
        seen s;
        again();
        assert_ok(write_segments(&err), err);
        ct_buf b = content("journal-000001.ctj");
        b.data[i] ^= 0x55;
        put("journal-000001.ctj", b.data, b.len);
        ct_status before = recover(&s, &err);
        size_t would = repair(true, &t);
        assert_false(t.backups);
        assert_int_equal(names_in_folder(), 3);
        size_t changed = repair(false, &t);
        assert_int_equal(changed, would);
        assert_int_equal(before, CT_ECORRUPT);
        assert_true(changed > 0 && t.backups && t.why[0] != '\0');
        assert_ok(recover(&s, &err), err);
        assert_int_equal(s.first, 0);
        assert_false(s.gap);
        assert_int_equal(s.next, t.events_kept);
        if (t.n[CT_REPAIR_HEADER] > 0) {
            header++;
            assert_int_equal(s.next, 18);
        } else {
            cut++;
            assert_int_equal(t.n[CT_REPAIR_ASIDE], 1); /* the last segment */
            assert_true(s.next >= 6 && s.next < 12 && s.next % 2 == 0);
            assert_true(t.turns_kept + t.turns_dropped >= 8);
        }
        ct_buf backup = content("journal-000001.ctj.damaged");
        assert_int_equal(backup.len, b.len);
        assert_memory_equal(backup.data, b.data, b.len);
        ct_buf_deinit(&backup);
        ct_buf_deinit(&b);
        assert_int_equal(repair(false, &t), 0); /* nothing is left to do */
    }
    assert_true(cut > 50 && header > 10);
    ct_buf_deinit(&whole);
}

/* Turns that are gone without a trace: only the next segment tells of them. */
static void
test_a_segment_that_lost_turns_goes_on_with_those_it_has(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    seen s;
    assert_ok(write_segments(&err), err);
    ct_buf b = content("journal-000001.ctj");
    for (size_t n = b.len - 1; n > b.len - 60; n -= 19) {
        again();
        assert_ok(write_segments(&err), err);
        put("journal-000001.ctj", b.data, n);
        assert_int_equal(recover(&s, &err), CT_ECORRUPT);
        assert_int_equal(repair(true, &t), 2);
        assert_int_equal(repair(false, &t), 2);
        assert_int_equal(t.n[CT_REPAIR_CUT], 1);
        assert_int_equal(t.n[CT_REPAIR_ASIDE], 1);
        assert_int_equal(repair(false, &t), 0);
        assert_ok(recover(&s, &err), err);
        assert_true(s.next >= 6 && s.next < 12 && !s.gap);
    }
    ct_buf_deinit(&b);
}

static void
test_a_segment_without_any_sound_part_is_set_aside(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    assert_ok(write_segments(&err), err);
    put("journal-000001.ctj", (const uint8_t *)"something else entirely", 23);
    assert_int_equal(repair(false, &t), 2);
    assert_int_equal(t.n[CT_REPAIR_ASIDE], 2);
    assert_int_equal(t.turns_dropped, 3);
    assert_non_null(strstr(t.why, "is not a journal of ctune"));
    expect(0, 6);
}

static void
test_what_follows_a_missing_segment_is_set_aside(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    assert_ok(write_segments(&err), err);
    assert_ok(ct_file_remove(in_folder("journal-000001.ctj"), &err), err);
    seen s;
    assert_int_equal(recover(&s, &err), CT_ECORRUPT);
    assert_non_null(strstr(err.text, "`ctune repair`"));
    assert_int_equal(repair(false, &t), 2);
    assert_int_equal(t.n[CT_REPAIR_MISSING], 1);
    assert_int_equal(t.n[CT_REPAIR_ASIDE], 1);
    assert_true(ct_file_exists(in_folder("journal-000002.ctj.damaged")));
    expect(0, 6);
}

static void
test_backups_never_replace_each_other(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    for (int i = 0; i < 3; i++) {
        assert_ok(write_segments(&err), err);
        assert_ok(ct_file_remove(in_folder("journal-000001.ctj"), &err), err);
        assert_int_equal(repair(false, &t), 2);
        assert_ok(ct_file_remove(in_folder("journal-000000.ctj"), &err), err);
    }
    assert_true(ct_file_exists(in_folder("journal-000002.ctj.damaged")));
    assert_true(ct_file_exists(in_folder("journal-000002.ctj.damaged-2")));
    assert_true(ct_file_exists(in_folder("journal-000002.ctj.damaged-3")));
}

/* Segments 0, 1, 2, and snapshots before the last two. */
static void
write_with_snapshots(void)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_journal *j = NULL;
    uint64_t serial = 0;
    assert_ok(ct_names_new(&names, &err), err);
    assert_ok(ct_journal_open(&j, folder, 0, names, CT_SYNC_NONE, &err), err);
    for (int i = 0; i < 3; i++) {
        assert_ok(turn(j, names, &serial, &err), err);
        if (i < 2) {
            ct_value v = ct_dict();
            assert_ok(ct_journal_snapshot(j, &v, &err), err);
            ct_value_deinit(&v);
        }
    }
    assert_ok(ct_journal_close(j, &err), err);
    ct_names_free(names);
}

static void
test_a_damaged_snapshot_gives_way_to_the_one_before(void **state)
{
    (void)state;
    told t;
    write_with_snapshots();
    expect(4, 6);
    put("snapshot-000002.json", (const uint8_t *)"{\"a\": ", 6);
    assert_int_equal(repair(false, &t), 1);
    assert_int_equal(t.n[CT_REPAIR_SNAPSHOT], 1);
    assert_int_equal(t.n[CT_REPAIR_WHOLE], 3); /* two segments and the older snapshot */
    assert_true(ct_file_exists(in_folder("snapshot-000002.json.damaged")));
    expect(2, 6); /* nothing is lost */
    assert_int_equal(repair(false, &t), 0);
}

static void
test_damage_that_a_snapshot_makes_up_for_is_none(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    write_with_snapshots();
    ct_buf b = content("journal-000001.ctj");
    b.data[b.len / 2] ^= 1;
    put("journal-000001.ctj", b.data, b.len);
    assert_int_equal(repair(false, &t), 0);
    expect(4, 6);
    ct_buf_deinit(&b);
    assert_ok(ct_file_remove(in_folder("snapshot-000001.json"), &err), err);
    put("snapshot-000002.json", (const uint8_t *)"no", 2);
    (void)ct_file_remove(in_folder("journal-000000.ctj"), NULL);
    (void)ct_file_remove(in_folder("journal-000001.ctj"), NULL);
    size_t changed;
    assert_int_equal(ct_journal_repair(folder, false, tell, &t, &changed, &err),
                     CT_ECORRUPT);
    assert_non_null(strstr(err.text, "no earlier state is left"));
}

static void
test_a_folder_without_a_journal_is_an_error(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    told t;
    size_t changed;
    assert_int_equal(ct_journal_repair(folder, false, tell, &t, &changed, &err),
                     CT_ENOTFOUND);
    assert_int_equal(ct_journal_repair("/nowhere", false, tell, &t, &changed, &err),
                     CT_ENOTFOUND);
}

static void
test_links_and_copies_have_the_same_content(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    char to[160];
    put("a", (const uint8_t *)"content", 7);
    (void)snprintf(to, sizeof to, "%s/b", folder);
    assert_ok(ct_file_link(in_folder("a"), to, &err), err);
    ct_buf b = content("b");
    assert_int_equal(b.len, 7);
    ct_buf_deinit(&b);
    assert_int_equal(ct_file_link(in_folder("a"), to, &err), CT_ESTATE);
    assert_int_equal(ct_file_link(in_folder("c"), to, &err), CT_ENOTFOUND);
}

static ct_status
damaged_and_repaired(void *ctx, ct_err *err)
{
    told t = {0};
    size_t changed;
    (void)ctx;
    again();
    ct_status st = write_segments(err);
    if (st == CT_OK) {
        st = ct_file_remove(in_folder("journal-000001.ctj"), err);
    }
    return st == CT_OK ? ct_journal_repair(folder, false, tell, &t, &changed, err) : st;
}

static void
test_every_failed_allocation_is_reported_without_leak(void **state)
{
    (void)state;
    sweep_allocations(damaged_and_repaired, NULL);
}

#define IN_FOLDER(test)                                                                \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_a_whole_journal_is_left_alone),
        IN_FOLDER(test_a_torn_tail_needs_no_repair),
        IN_FOLDER(test_any_damage_leaves_a_prefix_that_can_be_recovered),
        IN_FOLDER(test_a_segment_that_lost_turns_goes_on_with_those_it_has),
        IN_FOLDER(test_a_segment_without_any_sound_part_is_set_aside),
        IN_FOLDER(test_what_follows_a_missing_segment_is_set_aside),
        IN_FOLDER(test_backups_never_replace_each_other),
        IN_FOLDER(test_a_damaged_snapshot_gives_way_to_the_one_before),
        IN_FOLDER(test_damage_that_a_snapshot_makes_up_for_is_none),
        IN_FOLDER(test_a_folder_without_a_journal_is_an_error),
        IN_FOLDER(test_links_and_copies_have_the_same_content),
        IN_FOLDER(test_every_failed_allocation_is_reported_without_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
