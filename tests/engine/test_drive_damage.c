/* A replay of journals that are damaged or cut, at the engine's level: the last consistent
 * state or an error, and the run can go on from every whole prefix. */
#include "support.h"

#include "replay_rig.h"

#include "base/pcg.h"
#include "os/file.h"

typedef struct journal {
    char dir[64];
    char path[96];
    ct_buf bytes;
    size_t *ends;       /* offset behind each turn */
    rig_outcome *after; /* what a replay of that many turns comes to; 0 first */
    size_t turns;
} journal;

static void
put(const journal *j, const uint8_t *data, size_t len)
{
    ct_err err = CT_ERR_INIT;

    assert_ok(ct_file_replace(j->path, data, len, false, &err), err);
}

static int
setup(void **ctx)
{
    static journal j;
    ct_err err = CT_ERR_INIT;
    const uint8_t *payload;
    uint8_t type;
    size_t len, size;

    j = (journal){.dir = "/tmp/ctune_damage_XXXXXX"};
    assert_non_null(mkdtemp(j.dir));
    rig_run(j.dir, 10000);
    snprintf(j.path, sizeof j.path, "%s/journal-000000.ctj", j.dir);
    assert_ok(ct_file_read_all(j.path, &j.bytes, &err), err);
    j.ends = calloc(j.bytes.len, sizeof *j.ends);
    for (size_t at = 0; at < j.bytes.len; at += size) {
        assert_int_equal(ct_frame_peek(j.bytes.data + at, j.bytes.len - at, &type,
                                       &payload, &len, &size),
                         CT_FRAME_WHOLE);
        if (type == CT_FRAME_TURN) {
            j.ends[++j.turns] = at + size;
        }
    }
    assert_true(j.turns > 20);
    j.after = calloc(j.turns + 1, sizeof *j.after);
    for (size_t n = 1; n <= j.turns; n++) {
        put(&j, j.bytes.data, j.ends[n]);
        j.after[n] = rig_replay(j.dir, 0);
        assert_int_equal(j.after[n].status, CT_OK);
        assert_int_equal(j.after[n].turns, n);
    }
    *ctx = &j;
    return 0;
}

static int
teardown(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    journal *j = *ctx;

    ct_buf_deinit(&j->bytes);
    free(j->ends);
    free(j->after);
    assert_ok(ct_dir_remove_tree(j->dir, &err), err);
    return 0;
}

static void
test_a_journal_cut_at_any_byte_is_its_whole_turns(void **ctx)
{
    const journal *j = *ctx;
    size_t whole = 0;

    for (size_t end = 0; end <= j->bytes.len; end++) {
        while (whole < j->turns && j->ends[whole + 1] <= end) {
            whole++;
        }
        put(j, j->bytes.data, end);
        rig_outcome got = rig_replay(j->dir, 0);
        assert_true(got.status == CT_OK);
        assert_int_equal(got.turns, whole);
        assert_true(whole == 0 || got.state == j->after[whole].state);
    }
}

static void
test_a_run_goes_on_from_every_turn_to_its_end(void **ctx)
{
    const journal *j = *ctx;

    for (size_t n = 1; n <= j->turns; n++) {
        put(j, j->bytes.data, j->ends[n]);
        assert_true(rig_replay(j->dir, 10000).ended);
    }
}

/* A byte that is other than it was: an error, or a torn tail. */
static void
test_no_damaged_byte_goes_unseen(void **ctx)
{
    const journal *j = *ctx;
    uint8_t *damaged = malloc(j->bytes.len);
    ct_pcg p;

    ct_pcg_init(&p, 7, 1);
    memcpy(damaged, j->bytes.data, j->bytes.len);
    for (size_t at = 0; at < j->bytes.len; at++) {
        damaged[at] ^= (uint8_t)(1 + ct_pcg_next(&p) % 255);
        put(j, damaged, j->bytes.len);
        rig_outcome got = rig_replay(j->dir, 0);
        if (got.status == CT_OK) {
            assert_true(at >= j->ends[j->turns - 1]);
            assert_int_equal(got.turns, j->turns - 1);
            assert_true(got.state == j->after[got.turns].state);
        }
        damaged[at] = j->bytes.data[at];
    }
    free(damaged);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_journal_cut_at_any_byte_is_its_whole_turns),
        cmocka_unit_test(test_a_run_goes_on_from_every_turn_to_its_end),
        cmocka_unit_test(test_no_damaged_byte_goes_unseen),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
