/* The trial table: order, counts, text ids, last results, memory. */
#include "support.h"

#include "state/trials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ct_trial_id
add(ct_trials *t, unsigned n)
{
    ct_err err = CT_ERR_INIT;
    char id[32];
    ct_trial_id out = CT_TRIAL_NONE;
    (void)snprintf(id, sizeof id, "t%u", n);
    assert_ok(ct_trials_add(t, id, "tag", NULL, NULL, &out, &err), err);
    return out;
}

static ct_trials *
table_of(unsigned n)
{
    ct_err err = CT_ERR_INIT;
    ct_trials *t = NULL;
    assert_ok(ct_trials_new(&t, &err), err);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(add(t, i), i);
    }
    return t;
}

static void
test_ids_are_dense_and_found_by_their_text(void **state)
{
    (void)state;
    ct_trials *t = table_of(500);
    char id[32];
    for (unsigned i = 0; i < 500; i++) {
        (void)snprintf(id, sizeof id, "t%u", i);
        assert_int_equal(ct_trials_find(t, id), i);
        assert_string_equal(ct_trials_get(t, i)->id, id);
        assert_string_equal(ct_trials_get(t, i)->tag, "tag");
        assert_int_equal(ct_trials_get(t, i)->status, CT_TRIAL_PENDING);
    }
    assert_int_equal(ct_trials_find(t, "t500"), CT_TRIAL_NONE);
    assert_int_equal(ct_trials_count(t), 500);
    assert_true(ct_trials_bytes(t) > 500 * sizeof(ct_trial));
    ct_trials_free(t);
}

static void
test_an_id_cannot_be_taken_twice_and_the_config_stays_the_callers(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_trials *t = table_of(1);
    ct_value config = ct_i64(7);
    ct_trial_id out = 0;
    assert_int_equal(ct_trials_add(t, "t0", NULL, &config, NULL, &out, &err),
                     CT_EINVAL);
    assert_non_null(strstr(err.text, "t0"));
    assert_int_equal(config.kind, CT_I64);
    assert_int_equal(ct_trials_count(t), 1);
    ct_trials_free(t);
}

static void
test_trials_keep_their_address_while_the_table_grows(void **state)
{
    (void)state;
    ct_trials *t = table_of(1);
    const ct_trial *first = ct_trials_get(t, 0);
    for (unsigned i = 1; i < 1000; i++) {
        (void)add(t, i);
    }
    assert_ptr_equal(first, ct_trials_get(t, 0));
    ct_trials_free(t);
}

static void
test_a_paused_trial_keeps_its_place_when_it_becomes_pending_again(void **state)
{
    (void)state;
    ct_trials *t = table_of(4);
    ct_trials_set_status(t, 1, CT_TRIAL_RUNNING);
    ct_trials_set_status(t, 1, CT_TRIAL_PAUSED);
    assert_int_equal(ct_trials_first(t, CT_TRIAL_PAUSED), 1);
    assert_int_equal(ct_trials_next(t, 0), 2);
    ct_trials_set_status(t, 1, CT_TRIAL_PENDING);
    assert_int_equal(ct_trials_next(t, 0), 1);
    assert_int_equal(ct_trials_next(t, 1), 2);
    assert_int_equal(ct_trials_next(t, 3), CT_TRIAL_NONE);
    assert_int_equal(ct_trials_first(t, CT_TRIAL_PAUSED), CT_TRIAL_NONE);
    ct_trials_free(t);
}

static void
test_a_requeued_trial_goes_to_the_end_of_the_table(void **state)
{
    (void)state;
    ct_trials *t = table_of(3);
    ct_trials_requeue(t, 0);
    assert_int_equal(ct_trials_first(t, CT_TRIAL_PENDING), 1);
    assert_int_equal(ct_trials_next(t, 2), 0);
    assert_int_equal(ct_trials_next(t, 0), CT_TRIAL_NONE);
    ct_trials_free(t);
}

/* The same operations on a plain array that is searched. */
static void
test_lists_agree_with_a_plain_model_over_many_changes(void **state)
{
    (void)state;
    enum { N = 300, STEPS = 20000 };
    ct_trials *t = table_of(N);
    uint64_t place[N];
    unsigned status[N];
    uint64_t next = N;
    uint64_t seed = 12345;
    for (unsigned i = 0; i < N; i++) {
        place[i] = i;
        status[i] = CT_TRIAL_PENDING;
    }
    for (unsigned step = 0; step < STEPS; step++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        unsigned id = (unsigned)(seed >> 33) % N;
        unsigned what = (unsigned)(seed >> 13) % 6;
        if (what == 5) {
            ct_trials_requeue(t, id);
            place[id] = next++;
        } else {
            ct_trials_set_status(t, id, (ct_trial_status)what);
            status[id] = what;
        }
        if (step % 500 != 0) {
            continue;
        }
        size_t total = 0;
        for (unsigned s = 0; s < CT_TRIAL_STATUS_COUNT; s++) {
            size_t seen = 0;
            uint64_t before = 0;
            for (ct_trial_id i = ct_trials_first(t, (ct_trial_status)s);
                 i != CT_TRIAL_NONE; i = ct_trials_next(t, i)) {
                assert_int_equal(status[i], s);
                assert_true(seen == 0 || place[i] > before);
                before = place[i];
                seen++;
            }
            assert_int_equal(seen, ct_trials_with(t, (ct_trial_status)s));
            total += seen;
        }
        assert_int_equal(total, N);
    }
    ct_trials_free(t);
}

static void
test_the_last_result_is_kept_and_given_back(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_trials *t = table_of(1);
    ct_record r = CT_RECORD_INIT;
    ct_record back = CT_RECORD_INIT;
    assert_ok(ct_trials_last(t, 0, &back, &err), err);
    assert_int_equal(back.count, 0);
    for (int64_t i = 0; i < 20; i++) { /* longer and longer */
        assert_ok(ct_record_i64(&r, 3, i, &err), err);
        assert_ok(ct_record_str(&r, 4, "some text", 9, &err), err);
        assert_ok(ct_trials_set_last(t, 0, &r, &err), err);
    }
    assert_ok(ct_trials_last(t, 0, &back, &err), err);
    assert_int_equal(back.count, 40);
    assert_int_equal(ct_record_find(&back, 3)->u.i, 19);
    ct_trials_set_status(t, 0, CT_TRIAL_TERMINATED);
    assert_int_equal(ct_trials_get(t, 0)->last_cap, ct_trials_get(t, 0)->last_len);
    assert_ok(ct_trials_last(t, 0, &back, &err), err);
    assert_int_equal(back.count, 40);
    ct_record_deinit(&r);
    ct_record_deinit(&back);
    ct_trials_free(t);
}

static void
test_checkpoints_are_added_and_dropped_in_order(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_trials *t = table_of(1);
    for (uint32_t i = 0; i < 3; i++) {
        ct_checkpoint c = {.index = i};
        assert_ok(ct_trial_set_text(&c.path, "/somewhere", &err), err);
        assert_ok(ct_trials_add_checkpoint(t, 0, &c, &err), err);
        assert_null(c.path);
    }
    ct_trials_drop_checkpoint(t, 0, 1);
    const ct_trial *trial = ct_trials_get(t, 0);
    assert_int_equal(trial->checkpoint_count, 2);
    assert_int_equal(trial->checkpoints[1].index, 2);
    ct_trials_drop_checkpoint(t, 0, 0);
    ct_trials_drop_checkpoint(t, 0, 0);
    assert_null(trial->checkpoints);
    ct_trials_free(t);
}

/* What the design promises for an ordinary trial: five parameters, seventeen fields. */
static void
test_a_finished_trial_costs_at_most_a_kibibyte(void **state)
{
    (void)state;
    enum { N = 2000 };
    ct_err err = CT_ERR_INIT;
    ct_trials *t = table_of(0);
    ct_record r = CT_RECORD_INIT;
    for (ct_name k = 0; k < 17; k++) {
        if (k % 4 == 0) {
            assert_ok(ct_record_str(&r, k, "2026-11-23_21-02-12", 19, &err), err);
        } else {
            assert_ok(ct_record_f64(&r, k, 0.1 * k, &err), err);
        }
    }
    for (unsigned i = 0; i < N; i++) {
        char id[32];
        ct_value config = ct_dict();
        ct_value evaluated = ct_dict();
        for (ct_name k = 0; k < 5; k++) {
            ct_value v = ct_f64(0.5);
            assert_ok(ct_value_put(&config, k, &v, &err), err);
            v = ct_f64(0.5);
            assert_ok(ct_value_put(&evaluated, k, &v, &err), err);
        }
        (void)snprintf(id, sizeof id, "a1b2c_%05u", i);
        ct_trial_id out = 0;
        assert_ok(ct_trials_add(t, id, "0_lr=0.1000,momentum=0.9000,layers=3", &config,
                                &evaluated, &out, &err),
                  err);
        ct_trial *trial = ct_trials_mut(t, out);
        assert_ok(ct_trial_set_text(&trial->name, "train_a1b2c_00000", &err), err);
        assert_ok(ct_trial_set_text(&trial->dir,
                                    "/home/someone/ray_results/train_2026-11-23/"
                                    "train_a1b2c_00000_0_lr=0.1,momentum=0.9",
                                    &err),
                  err);
        assert_ok(ct_trials_set_last(t, out, &r, &err), err);
        ct_trials_set_status(t, out, CT_TRIAL_TERMINATED);
    }
    assert_true(ct_trials_bytes(t) / N <= 1024);
    ct_record_deinit(&r);
    ct_trials_free(t);
}

static ct_status
build_a_table(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_trials *t = NULL;
    ct_record r = CT_RECORD_INIT;
    ct_value config = ct_nil();
    ct_trial_id id = 0;
    ct_status st = ct_trials_new(&t, err);
    for (unsigned i = 0; st == CT_OK && i < 70; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%u", i);
        size_t count = ct_trials_count(t);
        st = ct_str(&config, "x", 1, err);
        if (st == CT_OK) {
            st = ct_trials_add(t, text, "tag", &config, NULL, &id, err);
        }
        if (st != CT_OK) {
            assert_int_equal(ct_trials_count(t), count);
            assert_int_equal(ct_trials_find(t, text), CT_TRIAL_NONE);
        }
    }
    if (st == CT_OK) {
        st = ct_record_str(&r, 1, "abc", 3, err);
    }
    if (st == CT_OK) {
        st = ct_trials_set_last(t, 69, &r, err);
    }
    ct_value_deinit(&config);
    ct_record_deinit(&r);
    ct_trials_free(t);
    return st;
}

static void
test_every_failed_allocation_leaves_the_table_as_it_was(void **state)
{
    (void)state;
    sweep_allocations(build_a_table, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_dense_and_found_by_their_text),
        cmocka_unit_test(
            test_an_id_cannot_be_taken_twice_and_the_config_stays_the_callers),
        cmocka_unit_test(test_trials_keep_their_address_while_the_table_grows),
        cmocka_unit_test(
            test_a_paused_trial_keeps_its_place_when_it_becomes_pending_again),
        cmocka_unit_test(test_a_requeued_trial_goes_to_the_end_of_the_table),
        cmocka_unit_test(test_lists_agree_with_a_plain_model_over_many_changes),
        cmocka_unit_test(test_the_last_result_is_kept_and_given_back),
        cmocka_unit_test(test_checkpoints_are_added_and_dropped_in_order),
        cmocka_unit_test(test_a_finished_trial_costs_at_most_a_kibibyte),
        cmocka_unit_test(test_every_failed_allocation_leaves_the_table_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
