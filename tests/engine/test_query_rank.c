/* Ranking: scopes, ties, NaN and infinities. */
#include "support.h"

#include "base/keys.h"
#include "query/rank.h"

#include <math.h>

typedef struct table {
    ct_names *names;
    ct_trials *trials;
    ct_metrics *metrics;
    ct_board board;
    ct_name loss;
} table;

static void
table_init(table *t, size_t n)
{
    ct_err err = CT_ERR_INIT;

    assert_ok(ct_names_new(&t->names, &err), err);
    assert_ok(ct_keys_intern(t->names, &err), err);
    assert_ok(ct_names_intern(t->names, "loss", 4, &t->loss, &err), err);
    assert_ok(ct_trials_new(&t->trials, &err), err);
    assert_ok(ct_metrics_new(&t->metrics, &err), err);
    for (size_t i = 0; i < n; i++) {
        char id[3] = {'t', (char)('0' + i), '\0'};
        ct_value config = ct_dict(), evaluated = ct_dict();
        ct_trial_id made;
        assert_ok(ct_trials_add(t->trials, id, "", &config, &evaluated, &made, &err), err);
    }
    t->board = (ct_board){t->names, t->trials, t->metrics, NULL, 0.0};
}

static void
table_deinit(table *t)
{
    ct_metrics_free(t->metrics);
    ct_trials_free(t->trials);
    ct_names_free(t->names);
}

static void
report(table *t, ct_trial_id trial, double iteration, double loss)
{
    ct_err err = CT_ERR_INIT;
    ct_metric row[] = {{t->loss, loss}, {CT_KEY_TRAINING_ITERATION, iteration}};

    assert_ok(ct_metrics_append(t->metrics, trial, row, 2, &err), err);
}

static ct_trial_id
best(table *t, bool maximize, ct_scope scope, bool filter)
{
    return ct_rank_best(&t->board, t->loss, maximize, scope, filter,
                        CT_KEY_TRAINING_ITERATION);
}

static void
test_each_scope_ranks_by_its_own_number(void **ctx)
{
    table t;

    (void)ctx;
    table_init(&t, 3);
    report(&t, 0, 1, 9.0), report(&t, 0, 2, 1.0); /* last 1, min 1, avg 5 */
    report(&t, 1, 1, 0.5), report(&t, 1, 2, 6.0); /* last 6, min 0.5, avg 3.25 */
    report(&t, 2, 1, 2.0), report(&t, 2, 2, 2.0); /* last 2, avg 2 */
    assert_int_equal(best(&t, false, CT_SCOPE_LAST, true), 0);
    assert_int_equal(best(&t, false, CT_SCOPE_ALL, true), 1);
    assert_int_equal(best(&t, false, CT_SCOPE_AVG, true), 2);
    assert_int_equal(best(&t, false, CT_SCOPE_LAST5, true), 2);
    assert_int_equal(best(&t, true, CT_SCOPE_ALL, true), 0);
    assert_int_equal(best(&t, true, CT_SCOPE_LAST, true), 1);
    table_deinit(&t);
}

static void
test_nan_never_wins_and_infinity_only_without_the_filter(void **ctx)
{
    table t;

    (void)ctx;
    table_init(&t, 3);
    report(&t, 0, 1, NAN);
    report(&t, 1, 1, -INFINITY);
    report(&t, 2, 1, 3.0);
    assert_int_equal(best(&t, false, CT_SCOPE_LAST, true), 2);
    assert_int_equal(best(&t, false, CT_SCOPE_LAST, false), 1);
    assert_int_equal(best(&t, true, CT_SCOPE_LAST, false), 2);
    table_deinit(&t);
}

static void
test_the_first_of_equals_wins_and_no_result_gives_none(void **ctx)
{
    table t;

    (void)ctx;
    table_init(&t, 3);
    assert_int_equal(best(&t, true, CT_SCOPE_LAST, true), CT_TRIAL_NONE);
    report(&t, 2, 1, 3.0);
    report(&t, 1, 1, 3.0);
    assert_int_equal(best(&t, true, CT_SCOPE_LAST, true), 1);
    assert_int_equal(best(&t, false, CT_SCOPE_ALL, true), 1);
    table_deinit(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_scope_ranks_by_its_own_number),
        cmocka_unit_test(test_nan_never_wins_and_infinity_only_without_the_filter),
        cmocka_unit_test(test_the_first_of_equals_wins_and_no_result_gives_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
