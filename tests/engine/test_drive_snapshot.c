/* Snapshots of a run in C: whoever recovers from one is where the run was, whatever
 * allocation fails and whatever the files hold. */
#include "support.h"

#include "replay_rig.h"

#include "base/pcg.h"
#include "os/file.h"

enum { TURNS = 30 };

typedef struct bench {
    char dir[64];
    rig r;
    ct_journal *journal;
    ct_drive *drive;
    bool more;
} bench;

static void
bench_open(bench *b, uint64_t snapshot_bytes)
{
    ct_err err = CT_ERR_INIT;

    *b = (bench){.dir = "/tmp/ctune_snapshot_XXXXXX", .more = true};
    assert_non_null(mkdtemp(b->dir));
    rig_init(&b->r, NULL);
    b->r.snapshot_bytes = snapshot_bytes;
    assert_ok(ct_journal_open(&b->journal, b->dir, 0, b->r.names, CT_SYNC_NONE, &err),
              err);
    const ct_drive_opts o = rig_drive_opts(&b->r, b->journal);
    assert_ok(ct_drive_new(&b->drive, &o, &err), err);
}

static void
turn(bench *b)
{
    ct_err err = CT_ERR_INIT;

    assert_ok(ct_drive_wait(b->drive, -1.0, &err), err);
    assert_ok(ct_drive_turn(b->drive, &b->more, &err), err);
}

/* Ends the run without its folder. */
static void
bench_stop(bench *b)
{
    ct_err err = CT_ERR_INIT;

    ct_drive_free(b->drive);
    assert_ok(ct_journal_close(b->journal, &err), err);
    rig_deinit(&b->r);
}

static void
bench_close(bench *b)
{
    ct_err err = CT_ERR_INIT;

    bench_stop(b);
    assert_ok(ct_dir_remove_tree(b->dir, &err), err);
}

static void
path_of(char out[96], const bench *b, unsigned number, const char *suffix)
{
    snprintf(out, 96, "%s/snapshot-%06u.%s", b->dir, number, suffix);
}

/* The number of the newest snapshot; 0 = none. */
static unsigned
newest(const bench *b)
{
    char path[96];
    unsigned found = 0;

    for (unsigned i = 1; i < 1000; i++) {
        path_of(path, b, i, "json");
        found = ct_file_exists(path) ? i : found;
    }
    return found;
}

static void
test_a_run_is_recovered_from_a_snapshot_behind_every_turn(void **ctx)
{
    bench b;

    (void)ctx;
    bench_open(&b, 1);
    while (b.more) {
        turn(&b);
        rig_outcome got = rig_replay(b.dir, 0);
        assert_int_equal(got.status, CT_OK);
        assert_true(got.state == rig_hash(&b.r));
        assert_int_equal(got.turns, b.more ? 0 : 1); /* behind the snapshot */
        assert_true(rig_replay(b.dir, 10000).ended);
    }
    assert_true(newest(&b) > TURNS);
    bench_close(&b);
}

static void
test_turns_behind_a_snapshot_are_replayed(void **ctx)
{
    bench b;
    ct_err err = CT_ERR_INIT;

    (void)ctx;
    bench_open(&b, 0);
    for (int i = 0; i < 8; i++) {
        turn(&b);
    }
    assert_ok(ct_drive_snapshot(b.drive, &err), err);
    for (uint64_t n = 1; b.more; n++) {
        turn(&b);
        rig_outcome got = rig_replay(b.dir, 0);
        assert_int_equal(got.turns, n);
        assert_true(got.state == rig_hash(&b.r));
    }
    bench_close(&b);
}

static void
test_a_run_that_cannot_be_saved_tries_no_more(void **ctx)
{
    bench b;

    (void)ctx;
    bench_open(&b, 1);
    b.r.cannot_save = true;
    turn(&b);
    b.r.cannot_save = false;
    while (b.more) {
        turn(&b);
        assert_null(ct_drive_snapshot_failed(b.drive));
    }
    assert_int_equal(newest(&b), 0);
    bench_close(&b);
}

/* --- failing allocations --- */

static void
test_a_snapshot_without_memory_changes_nothing(void **ctx)
{
    bench b;
    int hit = 1;

    (void)ctx;
    bench_open(&b, 0);
    for (int i = 0; i < TURNS; i++) {
        turn(&b);
    }
    for (uint64_t n = 1; hit; n++) {
        ct_err err = CT_ERR_INIT;
        ct_mem_fail_at(n);
        ct_status st = ct_drive_snapshot(b.drive, &err);
        hit = ct_mem_failed();
        ct_mem_fail_at(0);
        assert_int_equal(st, hit ? CT_ENOMEM : CT_OK);
        rig_outcome got = rig_replay(b.dir, 0);
        assert_int_equal(got.turns, hit ? TURNS : 0);
        assert_true(got.state == rig_hash(&b.r));
    }
    while (b.more) {
        turn(&b);
    }
    assert_true(rig_replay(b.dir, 0).state == rig_hash(&b.r));
    bench_close(&b);
}

static void
test_a_recovery_without_memory_is_an_error(void **ctx)
{
    bench b;
    ct_err err = CT_ERR_INIT;
    int hit = 1;

    (void)ctx;
    bench_open(&b, 0);
    for (int i = 0; i < TURNS; i++) {
        turn(&b);
    }
    assert_ok(ct_drive_snapshot(b.drive, &err), err);
    turn(&b);
    assert_ok(ct_drive_snapshot(b.drive, &err), err);
    turn(&b);
    for (uint64_t n = 1; hit; n++) {
        int64_t live = ct_mem_live();
        ct_recovery found;
        ct_drive *d = NULL;
        rig r;
        rig_init(&r, NULL);
        const ct_drive_opts o = rig_drive_opts(&r, NULL);
        assert_ok(ct_drive_new(&d, &o, &err), err);
        ct_mem_fail_at(n);
        ct_status st = ct_drive_recover(d, b.dir, &found, &err);
        hit = ct_mem_failed();
        ct_mem_fail_at(0);
        assert_int_equal(st, hit ? CT_ENOMEM : CT_OK);
        assert_true(hit || rig_hash(&r) == rig_hash(&b.r));
        ct_drive_free(d);
        rig_deinit(&r);
        assert_int_equal(ct_mem_live(), live);
    }
    bench_close(&b);
}

/* --- damage --- */

typedef struct file {
    char path[96];
    ct_buf bytes;
} file;

static void
take(file *f, const bench *b, unsigned number, const char *suffix)
{
    ct_err err = CT_ERR_INIT;

    *f = (file){.bytes = CT_BUF_INIT};
    path_of(f->path, b, number, suffix);
    assert_ok(ct_file_read_all(f->path, &f->bytes, &err), err);
}

static void
put(const file *f, const uint8_t *data, size_t len)
{
    ct_err err = CT_ERR_INIT;

    assert_ok(ct_file_replace(f->path, data, len, false, &err), err);
}

/* Whole again. */
static void
give_back(file *f)
{
    put(f, f->bytes.data, f->bytes.len);
    ct_buf_deinit(&f->bytes);
}

/* A run with two snapshots and some turns behind each. */
static uint64_t
two_snapshots(bench *b)
{
    ct_err err = CT_ERR_INIT;

    bench_open(b, 0);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 7; i++) {
            turn(b);
        }
        assert_ok(ct_drive_snapshot(b->drive, &err), err);
    }
    turn(b);
    return rig_hash(&b->r);
}

/* Damages a file of the newest snapshot in every way; `check` looks at what comes of it. */
static void
damage_all(const bench *b, const char *suffix, uint64_t state,
           void (*check)(rig_outcome got, uint64_t state))
{
    ct_pcg random;
    ct_buf bad = CT_BUF_INIT;
    ct_err err = CT_ERR_INIT;
    file f;

    take(&f, b, newest(b), suffix);
    for (size_t len = 0; len < f.bytes.len; len++) {
        put(&f, f.bytes.data, len);
        check(rig_replay(b->dir, 0), state);
    }
    ct_pcg_init(&random, 1, 1);
    for (int i = 0; i < 400; i++) {
        size_t at = ct_pcg_next(&random) % f.bytes.len;
        ct_buf_clear(&bad);
        assert_ok(ct_buf_put(&bad, f.bytes.data, f.bytes.len, &err), err);
        bad.data[at] ^= (uint8_t)(1 + ct_pcg_next(&random) % 255);
        put(&f, bad.data, bad.len);
        check(rig_replay(b->dir, 0), state);
    }
    assert_ok(ct_file_remove(f.path, &err), err);
    check(rig_replay(b->dir, 0), state);
    give_back(&f);
    ct_buf_deinit(&bad);
}

static void
check_same(rig_outcome got, uint64_t state)
{
    assert_int_equal(got.status, CT_OK);
    assert_true(got.state == state);
}

static void
check_corrupt(rig_outcome got, uint64_t state)
{
    (void)state;
    assert_int_equal(got.status, CT_ECORRUPT);
}

static void
test_a_damaged_snapshot_gives_way_to_the_one_before(void **ctx)
{
    bench b;
    uint64_t state = two_snapshots(&b);

    (void)ctx;
    damage_all(&b, "json", state, check_same);
    damage_all(&b, "bin", state, check_same);
    damage_all(&b, "pkl", state, check_same);
    check_same(rig_replay(b.dir, 0), state);
    bench_close(&b);
}

static void
test_damage_to_the_only_snapshot_is_an_error(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    char path[96];
    bench b;
    uint64_t state = two_snapshots(&b);

    (void)ctx;
    path_of(path, &b, newest(&b) - 1, "json");
    assert_ok(ct_file_remove(path, &err), err);
    for (unsigned i = 0; i < newest(&b); i++) {
        snprintf(path, sizeof path, "%s/journal-%06u.ctj", b.dir, i);
        assert_ok(ct_file_remove(path, &err), err);
    }
    check_same(rig_replay(b.dir, 0), state);
    damage_all(&b, "json", state, check_corrupt);
    damage_all(&b, "bin", state, check_corrupt);
    damage_all(&b, "pkl", state, check_corrupt);
    bench_close(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_is_recovered_from_a_snapshot_behind_every_turn),
        cmocka_unit_test(test_turns_behind_a_snapshot_are_replayed),
        cmocka_unit_test(test_a_run_that_cannot_be_saved_tries_no_more),
        cmocka_unit_test(test_a_snapshot_without_memory_changes_nothing),
        cmocka_unit_test(test_a_recovery_without_memory_is_an_error),
        cmocka_unit_test(test_a_damaged_snapshot_gives_way_to_the_one_before),
        cmocka_unit_test(test_damage_to_the_only_snapshot_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
