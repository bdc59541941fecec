/* test_search_limiter.c: ct_limiter against a plain model. */
#include "support.h"

#include "base/pcg.h"
#include "search/limiter.h"

#include <stdio.h>
#include <string.h>

static ct_limiter *
limiter(int64_t max, bool batch)
{
    ct_limiter *l = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_limiter_new(&l, max, batch, &err), err);
    return l;
}

static void
enter(ct_limiter *l, const char *id)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_limiter_enter(l, id, &err), err);
}

/* How many completions may be forwarded; SIZE_MAX for an unknown id. */
static size_t
complete(ct_limiter *l, const char *id)
{
    ct_err err = CT_ERR_INIT;
    bool known = false;
    size_t ready = 99;
    assert_ok(ct_limiter_complete(l, id, &known, &ready, &err), err);
    return known ? ready : SIZE_MAX;
}

static void
test_limits_that_are_not_positive_are_refused(void **state)
{
    (void)state;
    static const int64_t bad[] = {0, -1, INT64_MIN};
    for (size_t i = 0; i < 3; i++) {
        ct_limiter *l = NULL;
        ct_err err = CT_ERR_INIT;
        assert_int_equal(ct_limiter_new(&l, bad[i], false, &err), CT_EINVAL);
        assert_null(l);
        assert_string_equal(err.param, "max_concurrent");
        char seen[32];
        snprintf(seen, sizeof seen, "%lld", (long long)bad[i]);
        assert_non_null(strstr(err.text, seen));
    }
}

static void
test_a_completed_trial_frees_its_slot(void **state)
{
    (void)state;
    ct_limiter *l = limiter(2, false);
    assert_false(ct_limiter_full(l));
    enter(l, "a");
    assert_false(ct_limiter_full(l));
    enter(l, "b");
    assert_true(ct_limiter_full(l));
    assert_int_equal(complete(l, "a"), 1);
    assert_false(ct_limiter_full(l));
    assert_false(ct_limiter_has(l, "a"));
    assert_true(ct_limiter_has(l, "b"));
    assert_int_equal(complete(l, "a"), SIZE_MAX);
    assert_int_equal(ct_limiter_live(l), 1);
    ct_limiter_free(l);
}

static void
test_an_id_that_is_live_cannot_enter_again(void **state)
{
    (void)state;
    ct_limiter *l = limiter(5, false);
    ct_err err = CT_ERR_INIT;
    enter(l, "same");
    assert_int_equal(ct_limiter_enter(l, "same", &err), CT_ESTATE);
    assert_non_null(strstr(err.text, "same"));
    assert_int_equal(ct_limiter_live(l), 1);
    assert_int_equal(complete(l, "same"), 1);
    enter(l, "same");
    ct_limiter_free(l);
}

static void
test_batch_holds_completions_until_all_live_trials_are_done(void **state)
{
    (void)state;
    ct_limiter *l = limiter(3, true);
    enter(l, "a");
    enter(l, "b");
    enter(l, "c");
    assert_int_equal(complete(l, "c"), 0);
    assert_int_equal(complete(l, "a"), 0);
    assert_true(ct_limiter_full(l)); /* held ones keep their slots */
    assert_int_equal(complete(l, "a"), 0);
    assert_int_equal(complete(l, "nobody"), SIZE_MAX);
    assert_int_equal(complete(l, "b"), 3);
    assert_string_equal(ct_limiter_held(l, 0), "c");
    assert_string_equal(ct_limiter_held(l, 1), "a");
    assert_string_equal(ct_limiter_held(l, 2), "b");
    ct_limiter_flush(l);
    assert_int_equal(ct_limiter_live(l), 0);
    assert_false(ct_limiter_has(l, "a"));
    ct_limiter_free(l);
}

static void
test_a_batch_smaller_than_the_limit_is_forwarded_too(void **state)
{
    (void)state;
    ct_limiter *l = limiter(10, true);
    enter(l, "a");
    enter(l, "b");
    assert_int_equal(complete(l, "b"), 0);
    assert_int_equal(complete(l, "a"), 2);
    assert_string_equal(ct_limiter_held(l, 0), "b");
    ct_limiter_free(l);
}

static void
test_a_trial_that_enters_before_the_flush_stays_live(void **state)
{
    (void)state;
    ct_limiter *l = limiter(10, true);
    enter(l, "a");
    enter(l, "b");
    assert_int_equal(complete(l, "a"), 0);
    assert_int_equal(complete(l, "b"), 2);
    enter(l, "late");
    ct_limiter_flush(l);
    assert_int_equal(ct_limiter_live(l), 1);
    assert_string_equal(ct_limiter_live_at(l, 0), "late");
    assert_int_equal(complete(l, "late"), 1);
    ct_limiter_free(l);
}

static void
test_the_limit_can_change_while_trials_are_live(void **state)
{
    (void)state;
    ct_limiter *l = limiter(1, false);
    enter(l, "a");
    ct_limiter_set_max(l, 2);
    assert_int_equal(ct_limiter_max(l), 2);
    assert_false(ct_limiter_full(l));
    enter(l, "b");
    ct_limiter_set_max(l, 1);
    assert_true(ct_limiter_full(l));
    assert_int_equal(complete(l, "b"), 1);
    assert_true(ct_limiter_full(l));
    ct_limiter_free(l);
}

static void
test_ids_of_any_length_are_told_apart(void **state)
{
    (void)state;
    ct_limiter *l = limiter(100, false);
    char id[65];
    for (size_t len = 0; len < 64; len++) {
        memset(id, 'x', len);
        id[len] = '\0';
        enter(l, id);
    }
    for (size_t len = 0; len < 64; len += 2) {
        memset(id, 'x', len);
        id[len] = '\0';
        assert_int_equal(complete(l, id), 1);
    }
    for (size_t len = 0; len < 64; len++) {
        memset(id, 'x', len);
        id[len] = '\0';
        assert_int_equal(ct_limiter_has(l, id), len % 2 == 1);
    }
    ct_limiter_free(l);
}

enum { MODEL_IDS = 600 };

static void
run_model(bool batch, uint64_t seed)
{
    ct_limiter *l = limiter(200, batch);
    ct_pcg rng;
    ct_pcg_init(&rng, seed, 1);
    int model[MODEL_IDS] = {0}; /* 0 absent, 1 live, 2 held */
    size_t held[MODEL_IDS];
    size_t n_live = 0;
    size_t n_held = 0;
    for (int step = 0; step < 20000; step++) {
        size_t k = ct_pcg_next(&rng) % MODEL_IDS;
        char id[40];
        snprintf(id, sizeof id, k % 3 ? "%zu" : "an id that needs its own block %zu",
                 k);
        bool asks = ct_pcg_next(&rng) % 2;
        assert_int_equal(ct_limiter_has(l, id), model[k] != 0);
        if (asks && !ct_limiter_full(l) && model[k] == 0) {
            enter(l, id);
            model[k] = 1;
            n_live++;
        } else if (!asks) {
            size_t ready = complete(l, id);
            if (model[k] == 0) {
                assert_int_equal(ready, SIZE_MAX);
            } else if (!batch) {
                assert_int_equal(ready, 1);
                model[k] = 0;
                n_live--;
            } else {
                if (model[k] == 1) {
                    model[k] = 2;
                    held[n_held++] = k;
                }
                assert_int_equal(ready, n_held == n_live ? n_held : 0);
                for (size_t i = 0; i < ready; i++) {
                    snprintf(id, sizeof id,
                             held[i] % 3 ? "%zu" : "an id that needs its own block %zu",
                             held[i]);
                    assert_string_equal(ct_limiter_held(l, i), id);
                    model[held[i]] = 0;
                }
                if (ready > 0) {
                    ct_limiter_flush(l);
                    n_live = n_held = 0;
                }
            }
        }
        assert_int_equal(ct_limiter_live(l), n_live);
        assert_int_equal(ct_limiter_full(l), n_live >= 200);
        assert_true(n_live <= 200);
    }
    ct_limiter_free(l);
}

static void
test_it_agrees_with_a_plain_model(void **state)
{
    (void)state;
    run_model(false, 1);
    run_model(true, 2);
}

static ct_status
attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_limiter *l = NULL;
    ct_status st = ct_limiter_new(&l, 40, true, err);
    for (int i = 0; i < 20 && st == CT_OK; i++) {
        char id[48];
        snprintf(id, sizeof id, i % 2 ? "%d" : "an id that needs its own block %d", i);
        st = ct_limiter_enter(l, id, err);
        assert_int_equal(ct_limiter_has(l, id), st == CT_OK);
    }
    ct_limiter_free(l);
    return st;
}

static void
test_a_failed_allocation_leaves_the_id_outside(void **state)
{
    (void)state;
    sweep_allocations(attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_that_are_not_positive_are_refused),
        cmocka_unit_test(test_a_completed_trial_frees_its_slot),
        cmocka_unit_test(test_an_id_that_is_live_cannot_enter_again),
        cmocka_unit_test(test_batch_holds_completions_until_all_live_trials_are_done),
        cmocka_unit_test(test_a_batch_smaller_than_the_limit_is_forwarded_too),
        cmocka_unit_test(test_a_trial_that_enters_before_the_flush_stays_live),
        cmocka_unit_test(test_the_limit_can_change_while_trials_are_live),
        cmocka_unit_test(test_ids_of_any_length_are_told_apart),
        cmocka_unit_test(test_it_agrees_with_a_plain_model),
        cmocka_unit_test(test_a_failed_allocation_leaves_the_id_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
