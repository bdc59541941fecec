/* Stop conditions. */
#include "support.h"

#include "state/trials.h"
#include "stop/conditions.h"

#include <math.h>
#include <string.h>

typedef struct bench {
    ct_names *names;
    ct_board board;
    ct_metric items[4];
    ct_result result;
} bench;

static ct_name
name_of(bench *b, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_name n;
    assert_ok(ct_names_intern(b->names, text, strlen(text), &n, &err), err);
    return n;
}

static void
bench_init(bench *b)
{
    ct_err err = CT_ERR_INIT;
    memset(b, 0, sizeof *b);
    assert_ok(ct_names_new(&b->names, &err), err);
    b->board = (ct_board){.names = b->names};
    b->result = (ct_result){b->items, 0, NULL};
}

static void
report(bench *b, const char *key, double value)
{
    b->items[b->result.count++] = (ct_metric){name_of(b, key), value};
}

static bool
asked(ct_stopper *s, const bench *b, ct_trial_id t)
{
    ct_err err = CT_ERR_INIT;
    bool stop = true;
    assert_ok(s->ops->on_result(s, &b->board, t, &b->result, &stop, &err), err);
    return stop;
}

static bool
asked_all(ct_stopper *s, bench *b, double now)
{
    ct_err err = CT_ERR_INIT;
    bool stop = true;
    b->board.now = now;
    assert_ok(s->ops->stop_all(s, &b->board, &stop, &err), err);
    return stop;
}

static ct_stopper *
thresholds(const char *a, double x, const char *b, double y)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    ct_threshold items[] = {{a, strlen(a), x}, {b, strlen(b), y}};
    assert_ok(ct_stop_thresholds_new(&s, items, 2, &err), err);
    return s;
}

static void
test_a_value_at_the_threshold_stops(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_stopper *s = thresholds("loss/train", 0.5, "training_iteration", 10.0);
    report(&b, "training_iteration", 9.0);
    report(&b, "loss/train", 0.4999);
    assert_false(asked(s, &b, 0));
    b.items[1].value = 0.5;
    assert_true(asked(s, &b, 0));
    b.items[1].value = (double)NAN;
    assert_false(asked(s, &b, 0));
    b.items[0].value = 10.0;
    assert_true(asked(s, &b, 0));
    assert_false(asked_all(s, &b, 1.0));
    s->ops->free(s);
    ct_names_free(b.names);
}

static void
test_a_missing_key_is_an_error_that_lists_the_numbers(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    bool stop;
    ct_stopper *s = thresholds("score", 5.0, "epoch", 3.0);
    assert_int_equal(s->ops->on_result(s, &b.board, 0, &b.result, &stop, &err),
                     CT_ETUNE);
    assert_non_null(strstr(err.text, "none"));
    report(&b, "score", 1.0);
    report(&b, "epochs", 2.0);
    assert_int_equal(s->ops->on_result(s, &b.board, 0, &b.result, &stop, &err),
                     CT_ETUNE);
    assert_string_equal(err.param, "epoch");
    assert_non_null(strstr(err.text, "score, epochs"));
    b.items[0].value = 6.0; /* an earlier condition stops first */
    assert_true(asked(s, &b, 0));
    s->ops->free(s);
    ct_names_free(b.names);
}

static void
test_a_key_that_is_not_a_number_is_an_error_of_its_own(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_record r = CT_RECORD_INIT;
    bool stop;
    ct_stopper *s = thresholds("tag", 5.0, "epoch", 3.0);
    assert_ok(ct_record_str(&r, name_of(&b, "tag"), "fast", 4, &err), err);
    b.result.record = &r;
    assert_int_equal(s->ops->on_result(s, &b.board, 0, &b.result, &stop, &err),
                     CT_ETUNE);
    assert_non_null(strstr(err.text, "must be a number"));
    ct_record_deinit(&r);
    s->ops->free(s);
    ct_names_free(b.names);
}

static void
test_thresholds_work_in_the_next_run_with_another_table_of_names(void **state)
{
    (void)state;
    bench first;
    bench second;
    bench_init(&first);
    bench_init(&second);
    ct_stopper *s = thresholds("a", 1.0, "b", 1.0);
    report(&first, "a", 0.0);
    report(&first, "b", 1.0);
    assert_true(asked(s, &first, 0));
    report(&second, "b", 0.0); /* other numbers for the same names */
    report(&second, "a", 1.0);
    assert_true(asked(s, &second, 0));
    second.items[0].value = 1.0;
    second.items[1].value = 0.0;
    assert_true(asked(s, &second, 0));
    s->ops->free(s);
    ct_names_free(first.names);
    ct_names_free(second.names);
}

static void
test_impossible_thresholds_are_refused(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    ct_threshold items[] = {{"good", 4, 1.0}, {"bad", 3, (double)NAN}};
    assert_int_equal(ct_stop_thresholds_new(&s, items, 2, &err), CT_EINVAL);
    assert_non_null(strstr(err.text, "\"bad\""));
    items[1] = (ct_threshold){"", 0, 1.0};
    assert_int_equal(ct_stop_thresholds_new(&s, items, 2, &err), CT_EINVAL);
    assert_null(s);
    assert_ok(ct_stop_thresholds_new(&s, NULL, 0, &err), err);
    bench b;
    bench_init(&b);
    assert_false(asked(s, &b, 0)); /* no conditions: never */
    s->ops->free(s);
    ct_names_free(b.names);
}

static void
test_iterations_are_counted_per_trial_and_survive_a_restore(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    ct_stopper *copy = NULL;
    ct_value saved = ct_nil();
    assert_ok(ct_stop_iterations_new(&s, 3, &err), err);
    assert_ok(ct_stop_iterations_new(&copy, 3, &err), err);
    assert_false(asked(s, &b, 0));
    assert_false(asked(s, &b, 200));
    assert_false(asked(s, &b, 0));
    assert_ok(s->ops->save(s, b.names, &saved, &err), err);
    assert_false(asked(copy, &b, 5)); /* forgotten by the restore */
    assert_ok(copy->ops->restore(copy, b.names, &saved, NULL, &err), err);
    assert_true(asked(copy, &b, 0));
    assert_false(asked(copy, &b, 200));
    assert_true(asked(copy, &b, 200));
    assert_false(asked(copy, &b, 5));
    assert_false(asked(copy, &b, 5));
    assert_true(asked(copy, &b, 5));
    ct_value_deinit(&saved);
    saved = ct_dict();
    assert_int_equal(copy->ops->restore(copy, b.names, &saved, NULL, &err),
                     CT_ECORRUPT);
    saved = ct_list();
    ct_value item = ct_i64(-1);
    assert_ok(ct_value_push(&saved, &item, &err), err);
    assert_int_equal(copy->ops->restore(copy, b.names, &saved, NULL, &err),
                     CT_ECORRUPT);
    ct_value_deinit(&saved);
    s->ops->free(s);
    copy->ops->free(copy);
    ct_names_free(b.names);
}

static void
test_no_iterations_at_all_stop_at_the_first_result(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    assert_ok(ct_stop_iterations_new(&s, 0, &err), err);
    assert_true(asked(s, &b, 0));
    s->ops->free(s);
    ct_names_free(b.names);
}

static void
test_the_budget_runs_from_the_first_question(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    assert_ok(ct_stop_budget_new(&s, 10.0, &err), err);
    assert_false(asked_all(s, &b, 1000.0));
    assert_false(asked_all(s, &b, 1009.0));
    assert_false(asked(s, &b, 0));
    assert_true(asked_all(s, &b, 1010.0));
    assert_true(asked_all(s, &b, 1011.0));
    s->ops->free(s);
    assert_int_equal(ct_stop_budget_new(&s, (double)NAN, &err), CT_EINVAL);
    ct_names_free(b.names);
}

static void
test_a_restored_budget_keeps_what_is_left_but_not_the_clock(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    ct_value saved = ct_nil();
    assert_ok(ct_stop_budget_new(&s, 10.0, &err), err);
    assert_false(asked_all(s, &b, 100.0));
    assert_false(asked_all(s, &b, 106.0));
    assert_ok(s->ops->save(s, b.names, &saved, &err), err);
    assert_ok(s->ops->restore(s, b.names, &saved, NULL, &err), err);
    assert_true(ct_stop_budget_left(s) == 4.0);
    assert_false(asked_all(s, &b, 5000.0)); /* a day later: the clock starts anew */
    assert_false(asked_all(s, &b, 5003.0));
    assert_true(asked_all(s, &b, 5004.0));
    saved = ct_nil();
    assert_int_equal(s->ops->restore(s, b.names, &saved, NULL, &err), CT_ECORRUPT);
    s->ops->free(s);
    ct_names_free(b.names);
}

static ct_stopper *
any_of_budget_and_iterations(double seconds, int64_t max_iter)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *members[2] = {NULL, NULL};
    ct_stopper *s = NULL;
    assert_ok(ct_stop_budget_new(&members[0], seconds, &err), err);
    assert_ok(ct_stop_iterations_new(&members[1], max_iter, &err), err);
    assert_ok(ct_stop_any_new(&s, members, 2, &err), err);
    return s;
}

/* A past of `results` results of trial 0. */
typedef struct past_bench {
    bench *b;
    int results;
    int told; /* conditions */
} past_bench;

static ct_status
tell_past(void *ctx, ct_stopper *s, ct_err *err)
{
    past_bench *p = ctx;
    bool stop;
    ct_status st = CT_OK;
    p->told++;
    for (int i = 0; st == CT_OK && i < p->results; i++) {
        st = s->ops->on_result(s, &p->b->board, 0, &p->b->result, &stop, err);
    }
    return st;
}

static ct_stopper *
any_of_two(ct_stopper *first, ct_stopper *second)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *members[2] = {first, second};
    ct_stopper *s = NULL;
    assert_ok(ct_stop_any_new(&s, members, 2, &err), err);
    return s;
}

static ct_stopper *
iterations(int64_t max_iter)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    assert_ok(ct_stop_iterations_new(&s, max_iter, &err), err);
    return s;
}

static ct_stopper *
no_thresholds(void)
{
    ct_err err = CT_ERR_INIT;
    ct_stopper *s = NULL;
    assert_ok(ct_stop_thresholds_new(&s, NULL, 0, &err), err);
    return s;
}

static void
test_only_members_without_a_saved_state_hear_the_past(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_value saved = ct_nil();
    past_bench p = {&b, 3, 0};
    const ct_past past = {tell_past, &p};
    ct_stopper *s = any_of_two(no_thresholds(), iterations(5));
    for (int i = 0; i < 3; i++) {
        assert_false(asked(s, &b, 0));
    }
    assert_ok(ct_stopper_save(s, b.names, &saved, &err), err);
    s->ops->free(s);

    s = any_of_two(iterations(5), no_thresholds()); /* in another order */
    assert_ok(ct_stopper_restore(s, b.names, &saved, &past, &err), err);
    assert_int_equal(p.told, 0);
    assert_false(asked(s, &b, 0));
    assert_true(asked(s, &b, 0));
    s->ops->free(s);

    s = any_of_two(iterations(5),
                   iterations(4)); /* the second one stays at its place */
    assert_ok(ct_stopper_restore(s, b.names, &saved, &past, &err), err);
    assert_int_equal(p.told, 1);
    assert_true(asked(s, &b, 0));
    s->ops->free(s);

    s = iterations(5); /* alone */
    assert_ok(ct_stopper_restore(s, b.names, &saved, &past, &err), err);
    assert_int_equal(p.told, 2);
    assert_false(asked(s, &b, 0));
    assert_true(asked(s, &b, 0));
    s->ops->free(s);

    s = no_thresholds(); /* nothing to tell it */
    assert_ok(ct_stopper_restore(s, b.names, NULL, &past, &err), err);
    assert_int_equal(p.told, 2);
    s->ops->free(s);
    ct_value_deinit(&saved);
    ct_names_free(b.names);
}

static void
test_any_of_stops_when_one_member_does(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_value saved = ct_nil();
    ct_stopper *s = any_of_budget_and_iterations(5.0, 2);
    ct_stopper *copy = any_of_budget_and_iterations(5.0, 2);
    assert_false(s->ops->foreign);
    assert_false(asked_all(s, &b, 0.0));
    assert_false(asked(s, &b, 0));
    assert_ok(s->ops->save(s, b.names, &saved, &err), err);
    assert_ok(copy->ops->restore(copy, b.names, &saved, NULL, &err), err);
    assert_true(asked(copy, &b, 0));
    assert_true(asked(s, &b, 0));
    assert_true(asked_all(s, &b, 5.0));
    ct_value_deinit(&saved);
    saved = ct_i64(3);
    assert_int_equal(copy->ops->restore(copy, b.names, &saved, NULL, &err),
                     CT_ECORRUPT);
    s->ops->free(s);
    copy->ops->free(copy);
    assert_ok(ct_stop_any_new(&s, NULL, 0, &err), err);
    assert_false(asked(s, &b, 0));
    s->ops->free(s);
    ct_names_free(b.names);
}

static void
test_each_experiment_has_its_own(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_stopper *members[2], *s = NULL;
    ct_trials *trials;
    assert_ok(ct_trials_new(&trials, &err), err);
    b.board.trials = trials;
    for (unsigned i = 0; i < 2; i++) {
        ct_value config = ct_nil(), evaluated = ct_nil();
        ct_trial_id t;
        assert_ok(ct_stop_iterations_new(&members[i], i + 1, &err), err);
        assert_ok(
            ct_trials_add(trials, i ? "b" : "a", NULL, &config, &evaluated, &t, &err),
            err);
        ct_trials_mut(trials, t)->experiment = 1 - i;
    }
    assert_ok(ct_stop_by_experiment_new(&s, members, 2, &err), err);
    assert_false(asked(s, &b, 0)); /* of the second experiment: two results */
    assert_true(asked(s, &b, 0));
    assert_true(asked(s, &b, 1));
    assert_false(asked_all(s, &b, 1.0));
    s->ops->free(s);
    ct_trials_free(trials);
    ct_names_free(b.names);
}

static void
test_any_of_asks_no_further_after_a_yes(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    ct_err err = CT_ERR_INIT;
    ct_stopper *members[2];
    ct_stopper *s = NULL;
    assert_ok(ct_stop_iterations_new(&members[0], 1, &err), err);
    assert_ok(ct_stop_iterations_new(&members[1], 100, &err), err);
    assert_ok(ct_stop_any_new(&s, members, 2, &err), err);
    assert_true(asked(s, &b, 0));
    ct_value saved = ct_nil();
    assert_ok(members[1]->ops->save(members[1], b.names, &saved, &err), err);
    assert_int_equal(saved.len, 0); /* it has counted nothing */
    ct_value_deinit(&saved);
    s->ops->free(s);
    ct_names_free(b.names);
}

static ct_status
conditions_attempt(void *ctx, ct_err *err)
{
    bench *b = ctx;
    ct_threshold items[] = {{"a", 1, 1.0}, {"b", 1, 2.0}};
    ct_stopper *members[3] = {NULL, NULL, NULL};
    ct_stopper *s = NULL;
    ct_value saved = ct_nil();
    bool stop;
    ct_status st = ct_stop_thresholds_new(&members[0], items, 2, err);
    if (st == CT_OK) {
        st = ct_stop_iterations_new(&members[1], 1000, err);
    }
    if (st == CT_OK) {
        st = ct_stop_budget_new(&members[2], 5.0, err);
    }
    if (st == CT_OK) {
        st = ct_stop_any_new(&s, members, 3, err);
    }
    if (st != CT_OK) {
        for (size_t i = 0; i < 3; i++) {
            if (members[i] != NULL) {
                members[i]->ops->free(members[i]);
            }
        }
        return st;
    }
    for (ct_trial_id t = 0; st == CT_OK && t < 30; t++) {
        st = s->ops->on_result(s, &b->board, t, &b->result, &stop, err);
    }
    if (st == CT_OK) {
        st = s->ops->save(s, b->names, &saved, err);
    }
    if (st == CT_OK) {
        st = s->ops->restore(s, b->names, &saved, NULL, err);
    }
    ct_value_deinit(&saved);
    s->ops->free(s);
    return st;
}

static void
test_conditions_leak_nothing_when_memory_runs_out(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    report(&b, "a", 0.0);
    report(&b, "b", 0.0);
    sweep_allocations(conditions_attempt, &b);
    ct_names_free(b.names);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_at_the_threshold_stops),
        cmocka_unit_test(test_a_missing_key_is_an_error_that_lists_the_numbers),
        cmocka_unit_test(test_a_key_that_is_not_a_number_is_an_error_of_its_own),
        cmocka_unit_test(
            test_thresholds_work_in_the_next_run_with_another_table_of_names),
        cmocka_unit_test(test_impossible_thresholds_are_refused),
        cmocka_unit_test(test_iterations_are_counted_per_trial_and_survive_a_restore),
        cmocka_unit_test(test_no_iterations_at_all_stop_at_the_first_result),
        cmocka_unit_test(test_the_budget_runs_from_the_first_question),
        cmocka_unit_test(test_a_restored_budget_keeps_what_is_left_but_not_the_clock),
        cmocka_unit_test(test_any_of_stops_when_one_member_does),
        cmocka_unit_test(test_only_members_without_a_saved_state_hear_the_past),
        cmocka_unit_test(test_each_experiment_has_its_own),
        cmocka_unit_test(test_any_of_asks_no_further_after_a_yes),
        cmocka_unit_test(test_conditions_leak_nothing_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
