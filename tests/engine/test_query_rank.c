/* The best trial, by metric, mode and scope. */
#include "support.h"

#include "query/rank.h"

#include <math.h>
#include <stdio.h>

enum { LOSS = 1, STEP = 2 };

typedef struct world {
    ct_trials *trials;
    ct_metrics *metrics;
    ct_board board;
} world;

static world
world_of(unsigned n)
{
    ct_err err = CT_ERR_INIT;
    world w = {0};
    assert_ok(ct_trials_new(&w.trials, &err), err);
    assert_ok(ct_metrics_new(&w.metrics, STEP, &err), err);
    for (unsigned i = 0; i < n; i++) {
        char id[16];
        ct_trial_id out = 0;
        (void)snprintf(id, sizeof id, "%u", i);
        assert_ok(ct_trials_add(w.trials, id, NULL, NULL, NULL, &out, &err), err);
    }
    w.board = (ct_board){.trials = w.trials, .metrics = w.metrics};
    return w;
}

static void
world_close(world *w)
{
    ct_metrics_free(w->metrics);
    ct_trials_free(w->trials);
}

static void
report(world *w, ct_trial_id t, const double *values, size_t n)
{
    ct_err err = CT_ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        const ct_metric row[] = {{LOSS, values[i]}, {STEP, (double)i + 1.0}};
        assert_ok(ct_metrics_append(w->metrics, t, row, 2, &err), err);
    }
}

static ct_trial_id
best(const world *w, bool maximize, ct_scope scope, bool filter)
{
    return ct_rank_best(&w->board, LOSS, maximize, scope, filter);
}

static void
test_each_scope_has_its_own_winner(void **state)
{
    (void)state;
    world w = world_of(5);
    report(&w, 0, (double[]){0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, 11);     /* last */
    report(&w, 1, (double[]){99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 11);    /* all, avg */
    report(&w, 2, (double[]){0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3}, 11);     /* last 5 */
    report(&w, 3, (double[]){0, 5, 5, 5, 0, 0, 1, 1, 1, 0.4, 0.4}, 11); /* last 10 */
    assert_int_equal(best(&w, true, CT_SCOPE_LAST, true), 0);
    assert_int_equal(best(&w, true, CT_SCOPE_ALL, true), 1);
    assert_int_equal(best(&w, true, CT_SCOPE_AVG, true), 1);
    assert_int_equal(best(&w, true, CT_SCOPE_LAST5, true), 2);
    assert_int_equal(best(&w, true, CT_SCOPE_LAST10, true), 3);
    assert_int_equal(best(&w, false, CT_SCOPE_LAST, true), 1);
    world_close(&w);
}

static void
test_the_first_best_wins_ties(void **state)
{
    (void)state;
    world w = world_of(3);
    report(&w, 1, (double[]){2.0}, 1);
    report(&w, 2, (double[]){2.0}, 1);
    assert_int_equal(best(&w, true, CT_SCOPE_LAST, true), 1);
    assert_int_equal(best(&w, false, CT_SCOPE_ALL, true), 1);
    world_close(&w);
}

static void
test_nan_never_wins_and_infinities_only_without_the_filter(void **state)
{
    (void)state;
    world w = world_of(3);
    report(&w, 0, (double[]){(double)NAN}, 1);
    report(&w, 1, (double[]){1.0}, 1);
    report(&w, 2, (double[]){(double)INFINITY}, 1);
    assert_int_equal(best(&w, true, CT_SCOPE_LAST, true), 1);
    assert_int_equal(best(&w, true, CT_SCOPE_LAST, false), 2);
    assert_int_equal(best(&w, false, CT_SCOPE_LAST, false), 1);
    world_close(&w);
}

static void
test_nobody_wins_when_nobody_reported(void **state)
{
    (void)state;
    world w = world_of(2);
    assert_int_equal(best(&w, true, CT_SCOPE_LAST, true), CT_TRIAL_NONE);
    assert_int_equal(best(&w, true, CT_SCOPE_AVG, true), CT_TRIAL_NONE);
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_scope_has_its_own_winner),
        cmocka_unit_test(test_the_first_best_wins_ties),
        cmocka_unit_test(test_nan_never_wins_and_infinities_only_without_the_filter),
        cmocka_unit_test(test_nobody_wins_when_nobody_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
