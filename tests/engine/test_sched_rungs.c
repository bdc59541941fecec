/* The rung book. */
#include "support.h"

#include "base/json.h"
#include "sched/rungs.h"

#include <math.h>
#include <string.h>

static const double MILESTONES[] = {9.0, 3.0, 1.0};

static ct_rungs *
book(void)
{
    ct_err err = CT_ERR_INIT;
    ct_rungs *r = NULL;
    assert_ok(ct_rungs_new(&r, MILESTONES, 3, &err), err);
    return r;
}

static void
record(ct_rungs *r, size_t k, ct_trial_id t, double score)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_rungs_record(r, k, t, score, &err), err);
}

static void
test_a_trial_is_known_only_at_rungs_where_it_was_recorded(void **state)
{
    (void)state;
    ct_rungs *r = book();
    record(r, 2, 5, 1.0);
    record(r, 0, 1000, 2.0);
    assert_true(ct_rungs_has(r, 2, 5));
    assert_false(ct_rungs_has(r, 1, 5));
    assert_false(ct_rungs_has(r, 2, 4));
    assert_true(ct_rungs_has(r, 0, 1000));
    assert_false(ct_rungs_has(r, 0, 4000000000U));
    ct_rungs_free(r);
}

static void
test_nan_scores_are_recorded_and_move_no_cutoff(void **state)
{
    (void)state;
    ct_rungs *r = book();
    double cutoff = 0.0;
    assert_false(ct_rungs_cutoff(r, 1, 50.0, &cutoff));
    record(r, 1, 0, (double)NAN);
    assert_true(ct_rungs_cutoff(r, 1, 50.0, &cutoff));
    assert_true(isnan(cutoff));
    record(r, 1, 1, 2.0);
    record(r, 1, 2, 4.0);
    assert_true(ct_rungs_cutoff(r, 1, 50.0, &cutoff));
    assert_true(cutoff == 3.0);
    assert_int_equal(ct_rungs_recorded(r, 1), 3);
    ct_rungs_free(r);
}

static void
test_more_rungs_than_bits_in_a_word_are_kept_apart(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    double milestones[130];
    ct_rungs *r = NULL;
    for (size_t k = 0; k < 130; k++) {
        milestones[k] = (double)(130 - k);
    }
    assert_ok(ct_rungs_new(&r, milestones, 130, &err), err);
    for (size_t k = 0; k < 130; k += 3) {
        record(r, k, 2, 1.0);
    }
    for (size_t k = 0; k < 130; k++) {
        assert_int_equal(ct_rungs_has(r, k, 2), k % 3 == 0);
        assert_false(ct_rungs_has(r, k, 1));
    }
    ct_rungs_free(r);
}

/* The book as JSON text, on *out. */
static void
dump(const ct_rungs *r, ct_names *names, ct_buf *out)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_ok(ct_rungs_save(r, names, &v, &err), err);
    assert_ok(ct_json_print(out, &v, names, 0, &err), err);
    assert_ok(ct_buf_terminate(out, &err), err);
    ct_value_deinit(&v);
}

static void
fill(ct_rungs *r)
{
    for (ct_trial_id t = 0; t < 300; t++) {
        record(r, 2, t, t % 7 == 0 ? (double)NAN : sin((double)t));
        if (t % 3 == 0) {
            record(r, 1, t, cos((double)t));
        }
    }
    record(r, 0, 299, (double)INFINITY);
    record(r, 0, 12, -(double)INFINITY);
}

static void
test_a_saved_book_comes_back_through_json_exactly(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_buf before = CT_BUF_INIT;
    ct_buf after = CT_BUF_INIT;
    ct_rungs *r = book();
    ct_rungs *copy = book();
    ct_value v = ct_nil();
    assert_ok(ct_names_new(&names, &err), err);
    fill(r);
    dump(r, names, &before);
    assert_ok(ct_json_parse(&v, (const char *)before.data, before.len, names, &err),
              err);
    record(copy, 0, 1, 5.0); /* to be replaced */
    assert_ok(ct_rungs_restore(&copy, names, &v, &err), err);
    dump(copy, names, &after);
    assert_string_equal((const char *)before.data, (const char *)after.data);
    for (size_t k = 0; k < 3; k++) {
        double a = 0.0;
        double b = 1.0;
        assert_true(ct_rungs_cutoff(r, k, 66.6, &a));
        assert_true(ct_rungs_cutoff(copy, k, 66.6, &b));
        assert_memory_equal(&a, &b, sizeof a);
    }
    ct_value_deinit(&v);
    ct_buf_deinit(&before);
    ct_buf_deinit(&after);
    ct_rungs_free(r);
    ct_rungs_free(copy);
    ct_names_free(names);
}

static void
expect_refused(const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_value v = ct_nil();
    ct_rungs *r = book();
    record(r, 2, 0, 1.0);
    assert_ok(ct_names_new(&names, &err), err);
    assert_ok(ct_json_parse(&v, text, strlen(text), names, &err), err);
    assert_int_equal(ct_rungs_restore(&r, names, &v, &err), CT_ECORRUPT);
    assert_true(ct_rungs_has(r, 2, 0)); /* unchanged */
    assert_int_equal(ct_rungs_recorded(r, 2), 1);
    ct_value_deinit(&v);
    ct_names_free(names);
    ct_rungs_free(r);
}

static void
test_damaged_books_are_refused_and_change_nothing(void **state)
{
    (void)state;
#define HEAD "{\"milestones\": [9.0, 3.0, 1.0], "
    expect_refused("[]");
    expect_refused("{}");
    expect_refused(HEAD "\"scores\": [[], [], []], \"nan\": [0, 0, 0]}");
    expect_refused(
        "{\"milestones\": [9.0, 3.0], \"scores\": [[], []], \"nan\": [0, 0], "
        "\"trials\": []}");
    expect_refused("{\"milestones\": [9.0, 3.0, 2.0], \"scores\": [[], [], []], "
                   "\"nan\": [0, 0, 0], \"trials\": []}");
    expect_refused(HEAD
                   "\"scores\": [[], [], [1.0]], \"nan\": [0, 0, 0], \"trials\": []}");
    expect_refused(HEAD "\"scores\": [[], [], []], \"nan\": [0, 0, 0], "
                        "\"trials\": [0, 4]}");
    expect_refused(HEAD "\"scores\": [[], [], [NaN]], \"nan\": [0, 0, 0], "
                        "\"trials\": [0, 4]}");
    expect_refused(HEAD "\"scores\": [[], [], [1.0]], \"nan\": [0, 0, -1], "
                        "\"trials\": [0, 4]}");
    expect_refused(HEAD
                   "\"scores\": [[], [], [1.0]], \"nan\": [0, 0, 0], \"trials\": [0]}");
    expect_refused(HEAD "\"scores\": [[], [], [1.0]], \"nan\": [0, 0, 0], "
                        "\"trials\": [-1, 4]}");
    expect_refused(HEAD "\"scores\": [[], [], [1.0]], \"nan\": [0, 0, 0], "
                        "\"trials\": [0, 4.5]}");
    expect_refused(HEAD
                   "\"scores\": [[], [], \"x\"], \"nan\": [0, 0, 0], \"trials\": []}");
#undef HEAD
}

static ct_status
book_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_rungs *r = NULL;
    ct_rungs *copy = NULL;
    ct_names *names = NULL;
    ct_value v = ct_nil();
    ct_status st = ct_rungs_new(&r, MILESTONES, 3, err);
    if (st == CT_OK) {
        st = ct_rungs_new(&copy, MILESTONES, 3, err);
    }
    if (st == CT_OK) {
        st = ct_names_new(&names, err);
    }
    for (ct_trial_id t = 0; st == CT_OK && t < 150; t++) {
        size_t before = ct_rungs_recorded(r, 2);
        st = ct_rungs_record(r, 2, t, (double)t, err);
        assert_int_equal(ct_rungs_has(r, 2, t), st == CT_OK);
        assert_int_equal(ct_rungs_recorded(r, 2), st == CT_OK ? before + 1 : before);
    }
    if (st == CT_OK) {
        st = ct_rungs_save(r, names, &v, err);
    }
    if (st == CT_OK) {
        st = ct_rungs_restore(&copy, names, &v, err);
        assert_int_equal(ct_rungs_recorded(copy, 2), st == CT_OK ? 150 : 0);
    }
    ct_value_deinit(&v);
    ct_names_free(names);
    ct_rungs_free(r);
    ct_rungs_free(copy);
    return st;
}

static void
test_running_out_of_memory_leaves_a_book_unchanged(void **state)
{
    (void)state;
    sweep_allocations(book_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trial_is_known_only_at_rungs_where_it_was_recorded),
        cmocka_unit_test(test_nan_scores_are_recorded_and_move_no_cutoff),
        cmocka_unit_test(test_more_rungs_than_bits_in_a_word_are_kept_apart),
        cmocka_unit_test(test_a_saved_book_comes_back_through_json_exactly),
        cmocka_unit_test(test_damaged_books_are_refused_and_change_nothing),
        cmocka_unit_test(test_running_out_of_memory_leaves_a_book_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
