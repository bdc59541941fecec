/* A replay of journals that are damaged or cut, at the engine's level: the last consistent
 * state or an error, and the run can go on from every whole prefix. */
#include "support.h"

#include "replay_rig.h"

#include "base/pcg.h"
#include "os/file.h"

typedef struct journal {
    char dir[64];
    char path[96];
    char store[96]; /* of the trials' folders */
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

/* Runs in a folder of its own, and takes the journal to pieces. `store` as in the rig. */
static void
record(journal *j, bool store)
{
    ct_err err = CT_ERR_INIT;
    const uint8_t *payload;
    uint8_t type;
    size_t len, size;

    *j = (journal){.dir = "/tmp/ctune_damage_XXXXXX"};
    assert_non_null(mkdtemp(j->dir));
    snprintf(j->path, sizeof j->path, "%s/journal-000000.ctj", j->dir);
    snprintf(j->store, sizeof j->store, "%s/files", j->dir);
    rig_run_in(j->dir, store ? j->store : NULL, 10000);
    assert_ok(ct_file_read_all(j->path, &j->bytes, &err), err);
    j->ends = calloc(j->bytes.len, sizeof *j->ends);
    for (size_t at = 0; at < j->bytes.len; at += size) {
        assert_int_equal(ct_frame_peek(j->bytes.data + at, j->bytes.len - at, &type,
                                       &payload, &len, &size),
                         CT_FRAME_WHOLE);
        if (type == CT_FRAME_TURN) {
            j->ends[++j->turns] = at + size;
        }
    }
    assert_true(j->turns > 20);
}

static void
forget(journal *j)
{
    ct_err err = CT_ERR_INIT;

    ct_buf_deinit(&j->bytes);
    free(j->ends);
    free(j->after);
    assert_ok(ct_dir_remove_tree(j->dir, &err), err);
}

static int
setup(void **ctx)
{
    static journal j;

    record(&j, false);
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
    forget(*ctx);
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

/* --- the files of the trials --- */

enum { FILES = 3 * RIG_TRIALS };

/* What the trials' files hold, after the trials' names; "" is no file. */
typedef struct contents {
    char dirs[RIG_TRIALS][96];
    size_t n; /* trials with a folder */
    ct_buf files[FILES];
} contents;

static const char *
file_path(const contents *c, const char *store, size_t i)
{
    static const char *const names[] = {"result.json", "progress.csv", "error.txt"};
    static char path[200];

    (void)snprintf(path, sizeof path, "%s/%s/%s", store, c->dirs[i / 3], names[i % 3]);
    return path;
}

static ct_status
add_dir(void *ctx, const char *name, ct_err *err)
{
    contents *c = ctx;

    (void)err;
    assert_true(c->n < RIG_TRIALS);
    (void)snprintf(c->dirs[c->n++], sizeof c->dirs[0], "%s", name);
    return CT_OK;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void
read_contents(contents *c, const char *store)
{
    ct_err err = CT_ERR_INIT;

    *c = (contents){0};
    assert_ok(ct_dir_list(store, add_dir, c, &err), err);
    qsort(c->dirs, c->n, sizeof c->dirs[0], by_name);
    for (size_t i = 0; i < 3 * c->n; i++) {
        (void)ct_file_read_all(file_path(c, store, i), &c->files[i], NULL);
    }
}

static void
write_contents(const contents *c, const char *store)
{
    ct_err err = CT_ERR_INIT;

    assert_ok(ct_dir_remove_tree(store, &err), err);
    assert_ok(ct_dir_make(store, NULL, &err), err);
    for (size_t i = 0; i < 3 * c->n; i++) {
        char dir[200];
        (void)snprintf(dir, sizeof dir, "%s/%s", store, c->dirs[i / 3]);
        assert_ok(ct_dir_make(dir, NULL, &err), err);
        if (c->files[i].len > 0) {
            assert_ok(ct_file_replace(file_path(c, store, i), c->files[i].data,
                                      c->files[i].len, false, &err),
                      err);
        }
    }
}

static void
free_contents(contents *c)
{
    for (size_t i = 0; i < FILES; i++) {
        ct_buf_deinit(&c->files[i]);
    }
}

/* Those of the trials of `a`. */
static void
assert_same_contents(const contents *a, const contents *b)
{
    for (size_t i = 0, k = 0; i < a->n; i++, k++) {
        while (k < b->n && strcmp(a->dirs[i], b->dirs[k]) != 0) {
            k++;
        }
        assert_true(k < b->n);
        for (size_t f = 0; f < 3; f++) {
            const ct_buf *x = &a->files[3 * i + f], *y = &b->files[3 * k + f];
            assert_int_equal(x->len, y->len);
            assert_true(x->len == 0 || memcmp(x->data, y->data, x->len) == 0);
        }
    }
}

/* After a loss of power: the journal ends after n turns, the files after m > n or m < n. */
static void
test_files_hold_what_the_state_knows_whichever_was_ahead(void **ctx)
{
    journal j;
    contents *after, whole, got;
    ct_err err = CT_ERR_INIT;
    ct_pcg p;

    (void)ctx;
    ct_pcg_init(&p, 5, 1);
    record(&j, true);
    read_contents(&whole, j.store);
    assert_int_equal(whole.n, RIG_TRIALS);
    after = calloc(j.turns + 1, sizeof *after);
    for (size_t n = 1; n <= j.turns; n++) { /* files that are written anew */
        put(&j, j.bytes.data, j.ends[n]);
        assert_ok(ct_dir_remove_tree(j.store, &err), err);
        assert_ok(ct_dir_make(j.store, NULL, &err), err);
        assert_int_equal(rig_replay_in(j.dir, j.store, 0).turns, n);
        read_contents(&after[n], j.store);
    }
    assert_same_contents(&whole, &after[j.turns]);
    for (size_t n = 1; n <= j.turns; n++) {
        for (int i = 0; i < 4; i++) {
            size_t m = i == 0 ? j.turns : 1 + ct_pcg_next(&p) % j.turns;
            put(&j, j.bytes.data, j.ends[n]);
            write_contents(&after[m], j.store);
            assert_int_equal(rig_replay_in(j.dir, j.store, 0).turns, n);
            read_contents(&got, j.store);
            assert_same_contents(&after[n], &got);
            free_contents(&got);
        }
    }
    for (size_t n = 1; n <= j.turns; n++) {
        free_contents(&after[n]);
    }
    free_contents(&whole);
    free(after);
    forget(&j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_journal_cut_at_any_byte_is_its_whole_turns),
        cmocka_unit_test(test_a_run_goes_on_from_every_turn_to_its_end),
        cmocka_unit_test(test_no_damaged_byte_goes_unseen),
        cmocka_unit_test(test_files_hold_what_the_state_knows_whichever_was_ahead),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
