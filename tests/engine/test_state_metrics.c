/* The metric store: columns, missing values, views, statistics. */
#include "support.h"

#include "state/board.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { STEP = 9 };

static ct_metrics *
store(void)
{
    ct_err err = CT_ERR_INIT;
    ct_metrics *m = NULL;
    assert_ok(ct_metrics_new(&m, STEP, &err), err);
    return m;
}

static void
append(ct_metrics *m, ct_trial_id t, const ct_metric *items, size_t n)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_metrics_append(m, t, items, n, &err), err);
}

static void
test_columns_hold_the_values_in_order(void **state)
{
    (void)state;
    ct_metrics *m = store();
    for (int i = 0; i < 100; i++) {
        append(m, 3, (ct_metric[]){{5, i}, {9, -i}}, 2);
    }
    ct_column c;
    assert_int_equal(ct_metrics_rows(m, 3), 100);
    assert_int_equal(ct_metrics_rows(m, 0), 0);
    assert_int_equal(ct_metrics_rows(m, 77), 0);
    assert_true(ct_metrics_column(m, 3, 9, &c));
    assert_int_equal(c.rows, 100);
    for (int i = 0; i < 100; i++) {
        assert_true(c.data[i] == -i);
    }
    ct_column_block_release(c.block);
    assert_false(ct_metrics_column(m, 3, 6, &c));
    assert_false(ct_metrics_column(m, 0, 9, &c));
    ct_metrics_free(m);
}

static void
test_a_view_keeps_its_values_while_the_store_grows_and_dies(void **state)
{
    (void)state;
    ct_metrics *m = store();
    append(m, 0, (ct_metric[]){{1, 1.5}}, 1);
    append(m, 0, (ct_metric[]){{1, 2.5}}, 1);
    ct_column c;
    assert_true(ct_metrics_column(m, 0, 1, &c));
    for (int i = 0; i < 50; i++) {
        append(m, 0, (ct_metric[]){{1, i}, {2, i}}, 2);
    }
    ct_metrics_free(m);
    assert_int_equal(c.rows, 2);
    assert_true(c.data[0] == 1.5 && c.data[1] == 2.5);
    ct_column_block_release(c.block);
}

static void
test_warm_appends_allocate_nothing(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_metrics *m = store();
    ct_metric row[] = {{1, 1.0}, {2, 2.0}};
    for (int i = 0; i < 5; i++) {
        append(m, 0, row, 2); /* room for eight rows now */
    }
    ct_mem_fail_at(1);
    assert_ok(ct_metrics_append(m, 0, row, 2, &err), err);
    assert_ok(ct_metrics_append(m, 0, row, 2, &err), err);
    assert_false(ct_mem_failed());
    ct_mem_fail_at(0);
    ct_metrics_free(m);
}

static void
test_a_missing_metric_is_nan_and_does_not_count_but_a_reported_nan_does(void **state)
{
    (void)state;
    ct_metrics *m = store();
    append(m, 0, (ct_metric[]){{1, 1.0}, {2, 10.0}}, 2);
    append(m, 0, (ct_metric[]){{1, 2.0}}, 1);
    append(m, 0, (ct_metric[]){{2, (double)NAN}, {1, 3.0}}, 2); /* another order */
    append(m, 0, (ct_metric[]){{1, 4.0}, {2, 40.0}, {7, 0.5}}, 3);
    append(m, 0, (ct_metric[]){{1, 5.0}, {2, 50.0}, {7, 0.25}}, 3);
    ct_column c;
    assert_true(ct_metrics_column(m, 0, 2, &c));
    assert_true(c.data[0] == 10.0 && isnan(c.data[1]) && isnan(c.data[2]));
    assert_true(c.data[3] == 40.0 && c.data[4] == 50.0);
    ct_column_block_release(c.block);
    ct_metric_stats st;
    assert_true(ct_metrics_stats(m, 0, 2, &st));
    assert_int_equal(st.count, 4);
    assert_true(ct_metrics_stats(m, 0, 7, &st));
    assert_int_equal(st.count, 2);
    assert_true(st.max == 0.5 && st.min == 0.25);
    const ct_name *names = NULL;
    assert_int_equal(ct_metrics_names(m, 0, &names), 3);
    assert_int_equal(names[0], 1);
    assert_int_equal(names[2], 7);
    ct_metrics_free(m);
}

static void
test_last_is_the_last_reported_value(void **state)
{
    (void)state;
    ct_metrics *m = store();
    double v = 0.0;
    assert_false(ct_metrics_last(m, 0, 1, &v));
    append(m, 0, (ct_metric[]){{1, 1.0}, {2, 8.0}}, 2);
    append(m, 0, (ct_metric[]){{1, 2.0}}, 1);
    assert_true(ct_metrics_last(m, 0, 1, &v));
    assert_true(v == 2.0);
    assert_true(ct_metrics_last(m, 0, 2, &v));
    assert_true(v == 8.0);
    assert_false(ct_metrics_last(m, 0, 3, &v));
    ct_metrics_free(m);
}

static void
test_presence_survives_growth_beyond_a_word(void **state)
{
    (void)state;
    ct_metrics *m = store();
    size_t reported = 0;
    for (int i = 0; i < 200; i++) {
        bool both = i % 3 != 0;
        append(m, 0, (ct_metric[]){{1, i}, {2, i}}, both ? 2 : 1);
        reported += both ? 1 : 0;
    }
    ct_metrics_trim(m, 0);
    ct_metric_stats st;
    assert_true(ct_metrics_stats(m, 0, 2, &st));
    assert_int_equal(st.count, reported);
    assert_true(st.min == 1.0 && st.max == 199.0);
    assert_true(ct_metrics_stats(m, 0, 1, &st));
    assert_int_equal(st.count, 200);
    ct_metrics_free(m);
}

static void
test_a_name_that_comes_twice_in_a_row_keeps_its_last_value(void **state)
{
    (void)state;
    ct_metrics *m = store();
    append(m, 0, (ct_metric[]){{1, 1.0}, {2, 2.0}, {1, 3.0}}, 3);
    append(m, 0, (ct_metric[]){{1, 1.0}, {1, 4.0}}, 2);
    double v = 0.0;
    assert_true(ct_metrics_last(m, 0, 1, &v));
    assert_true(v == 4.0);
    ct_metric_stats st;
    assert_true(ct_metrics_stats(m, 0, 2, &st));
    assert_int_equal(st.count, 1); /* the second row lacked it */
    ct_metrics_free(m);
}

static void
test_statistics_follow_the_running_average_by_iteration(void **state)
{
    (void)state;
    ct_metrics *m = store();
    double avg = 0.0;
    double window[12];
    for (int i = 0; i < 12; i++) {
        double v = (i * 7) % 5 + 0.1;
        double step = i + 1.0;
        append(m, 0, (ct_metric[]){{1, v}, {STEP, step}}, 2);
        avg = i == 0 ? v : 1.0 / step * (v + (step - 1.0) * avg);
        window[i] = v;
    }
    ct_metric_stats st;
    assert_true(ct_metrics_stats(m, 0, 1, &st));
    assert_true(st.avg == avg);
    assert_true(st.max == 4.1 && st.min == 0.1);
    assert_true(st.last == window[11]);
    assert_true(st.last5 ==
                (window[7] + window[8] + window[9] + window[10] + window[11]) / 5.0);
    double sum = 0.0;
    for (int i = 2; i < 12; i++) {
        sum += window[i];
    }
    assert_true(st.last10 == sum / 10.0);
    assert_false(ct_metrics_stats(m, 0, 77, &st));
    ct_metrics_free(m);
}

static void
test_trim_gives_the_room_back_and_changes_nothing(void **state)
{
    (void)state;
    ct_metrics *m = store();
    for (int i = 0; i < 9; i++) {
        append(m, 0, (ct_metric[]){{1, i}}, 1);
    }
    size_t before = 0;
    size_t after = 0;
    (void)ct_metrics_bytes(m, &before);
    ct_metrics_trim(m, 0);
    ct_metrics_trim(m, 55);
    (void)ct_metrics_bytes(m, &after);
    assert_int_equal(before - after, 7 * sizeof(double));
    append(m, 0, (ct_metric[]){{1, 9}}, 1); /* it may go on all the same */
    ct_column c;
    assert_true(ct_metrics_column(m, 0, 1, &c));
    for (int i = 0; i < 10; i++) {
        assert_true(c.data[i] == i);
    }
    ct_column_block_release(c.block);
    ct_metrics_free(m);
}

/* What a plain list of the values gives, as the reference computes it. */
static void
assert_as_listed(const ct_metrics *m, ct_name name, const double *v, const double *step,
                 size_t n)
{
    ct_metric_stats st;
    double newest[CT_METRIC_NEWEST];
    assert_int_equal(ct_metrics_stats(m, 0, name, &st), n > 0);
    size_t kept = n < CT_METRIC_NEWEST ? n : CT_METRIC_NEWEST;
    assert_int_equal(ct_metrics_newest(m, 0, name, newest), kept);
    if (n == 0) {
        return;
    }
    double max = v[0];
    double min = v[0];
    double avg = v[0];
    for (size_t i = 1; i < n; i++) {
        max = v[i] > max ? v[i] : max;
        min = v[i] < min ? v[i] : min;
        avg = 1.0 / step[i] * (v[i] + (step[i] - 1.0) * avg);
    }
    double sum5 = 0.0;
    double sum10 = 0.0;
    for (size_t i = 0; i < kept; i++) {
        assert_true(newest[i] == v[n - kept + i]);
        sum10 += newest[i];
        sum5 += i + 5 >= kept ? newest[i] : 0.0;
    }
    double last = 0.0;
    assert_true(ct_metrics_last(m, 0, name, &last) && last == v[n - 1]);
    assert_int_equal(st.count, n);
    assert_true(st.max == max && st.min == min && st.avg == avg && st.last == v[n - 1]);
    assert_true(st.last5 == sum5 / (kept < 5 ? (double)kept : 5.0));
    assert_true(st.last10 == sum10 / (double)kept);
}

/* Often trimmed, as if it had ended and gone on, or never; with all metrics, or few. */
static void
fold_at_random(unsigned seed, int rows, unsigned trim_every, unsigned lack)
{
    enum { ROWS = 6000, NAMES = 3 };
    static double v[NAMES][ROWS];
    static double steps[NAMES][ROWS];
    size_t n[NAMES] = {0};
    ct_metrics *m = store();
    srand(seed);
    for (int i = 0; i < rows; i++) {
        ct_metric row[NAMES + 1] = {{STEP, i + 1.0}};
        size_t count = 1;
        for (unsigned k = 0; k < NAMES; k++) {
            bool young = k == 2 && i < rows / 2;
            if (young || (k > 0 && lack > 0 && (unsigned)rand() % lack == 0)) {
                continue;
            }
            double value = rand() % 1000 / 7.0;
            row[count++] = (ct_metric){20 + k, value};
            steps[k][n[k]] = i + 1.0;
            v[k][n[k]++] = value;
        }
        append(m, 0, row, count);
        if (trim_every > 0 && (unsigned)rand() % trim_every == 0) {
            ct_metrics_trim(m, 0);
        }
    }
    assert_int_equal(ct_metrics_rows(m, 0), rows);
    for (unsigned k = 0; k < NAMES; k++) {
        assert_as_listed(m, 20 + k, v[k], steps[k], n[k]);
    }
    ct_metrics_trim(m, 0);
    assert_int_equal(ct_metrics_rows(m, 0), rows);
    for (unsigned k = 0; k < NAMES; k++) {
        assert_as_listed(m, 20 + k, v[k], steps[k], n[k]);
    }
    ct_metrics_free(m);
}

static void
test_folding_changes_no_statistics(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 40; seed++) {
        fold_at_random(seed, 1 + (int)seed * 9, 1 + seed % 30, seed % 4);
    }
    fold_at_random(100, 6000, 0, 0);
    fold_at_random(101, 6000, 0, 2);
    fold_at_random(102, 6000, 900, 50);
}

static void
test_memory_of_a_trial_is_bounded(void **state)
{
    (void)state;
    ct_metrics *m = store();
    size_t full = 0;
    for (int i = 0; i < 100000; i++) {
        append(m, 0, (ct_metric[]){{1, i}, {2, i}}, 2);
        if (i == 5000) {
            (void)ct_metrics_bytes(m, &full);
        }
    }
    size_t now = 0;
    (void)ct_metrics_bytes(m, &now);
    assert_int_equal(now, full);
    ct_column c;
    assert_true(ct_metrics_column(m, 0, 1, &c));
    assert_true(c.rows >= 1024);
    assert_true(c.data[c.rows - 1] == 99999.0);
    ct_column_block_release(c.block);
    ct_metrics_trim(m, 0);
    (void)ct_metrics_bytes(m, &now);
    assert_true(now < 500);
    assert_true(ct_metrics_column(m, 0, 1, &c));
    assert_int_equal(c.rows, 10);
    assert_true(c.data[0] == 99990.0);
    append(m, 0, (ct_metric[]){{1, -1}, {2, -1}}, 2); /* it goes on all the same */
    ct_metrics_trim(m, 0);
    assert_true(c.data[0] == 99990.0); /* a view keeps its values */
    ct_column_block_release(c.block);
    ct_metrics_free(m);
}

static void
test_a_trim_without_memory_changes_nothing(void **state)
{
    (void)state;
    for (int at = 1; at <= 2; at++) {
        ct_metrics *m = store();
        for (int i = 0; i < 40; i++) {
            append(m, 0, (ct_metric[]){{1, i}}, 1);
        }
        ct_mem_fail_at(at);
        ct_metrics_trim(m, 0);
        ct_mem_fail_at(0);
        assert_int_equal(ct_metrics_rows(m, 0), 40);
        ct_metric_stats st;
        assert_true(ct_metrics_stats(m, 0, 1, &st));
        assert_true(st.max == 39.0 && st.min == 0.0 && st.last10 == 34.5);
        ct_metrics_free(m);
    }
}

static void
test_folded_rows_tell_their_number_extremes_and_newest_values(void **state)
{
    (void)state;
    ct_metrics *m = store();
    for (int i = 0; i < 40; i++) {
        append(m, 0, (ct_metric[]){{1, (i * 7) % 40}}, 1);
    }
    ct_metrics_trim(m, 0);
    append(m, 0, (ct_metric[]){{1, 77.0}}, 1);
    assert_int_equal(ct_metrics_rows(m, 0), 41);
    assert_int_equal(ct_metrics_folded(m, 0), 40);
    ct_metric row[1];
    for (size_t i = 0; i < 41; i++) {
        assert_int_equal(ct_metrics_row(m, 0, i, row), 1);
        double v = row[0].value;
        bool newest = i >= 30 && i < 40;
        double expected = newest    ? (double)(i * 7 % 40)
                          : i == 40 ? 77.0
                          : i == 0  ? 39.0
                          : i == 1  ? 0.0
                                    : (double)NAN;
        assert_true(v == expected || (isnan(v) && isnan(expected)));
    }
    assert_int_equal(ct_metrics_row(m, 0, 41, row), 0);
    ct_metrics_free(m);
}

static void
test_a_result_gives_its_numbers_by_name(void **state)
{
    (void)state;
    const ct_metric items[] = {{4, 1.0}, {2, 2.0}};
    const ct_result r = {items, 2, NULL};
    double v = 0.0;
    assert_true(ct_result_get(&r, 2, &v));
    assert_true(v == 2.0);
    assert_false(ct_result_get(&r, 3, &v));
}

static ct_status
fill_a_store(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_metrics *m = NULL;
    ct_status st = ct_metrics_new(&m, STEP, err);
    for (ct_trial_id t = 0; st == CT_OK && t < 3; t++) {
        ct_name n = t == 2 ? 2200 : 20; /* the last one is folded */
        for (ct_name i = 0; st == CT_OK && i < n; i++) {
            ct_metric row[] = {{1, i}, {2, i}, {100 + i / 4 % 5, i}};
            size_t rows = ct_metrics_rows(m, t);
            st = ct_metrics_append(m, t, row, i % 3 == 1 ? 1 : 3, err);
            assert_int_equal(ct_metrics_rows(m, t), st == CT_OK ? rows + 1 : rows);
        }
    }
    ct_metrics_free(m);
    return st;
}

static void
test_every_failed_allocation_leaves_the_rows_as_they_were(void **state)
{
    (void)state;
    sweep_allocations(fill_a_store, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_hold_the_values_in_order),
        cmocka_unit_test(test_a_view_keeps_its_values_while_the_store_grows_and_dies),
        cmocka_unit_test(test_warm_appends_allocate_nothing),
        cmocka_unit_test(
            test_a_missing_metric_is_nan_and_does_not_count_but_a_reported_nan_does),
        cmocka_unit_test(test_last_is_the_last_reported_value),
        cmocka_unit_test(test_presence_survives_growth_beyond_a_word),
        cmocka_unit_test(test_a_name_that_comes_twice_in_a_row_keeps_its_last_value),
        cmocka_unit_test(test_statistics_follow_the_running_average_by_iteration),
        cmocka_unit_test(test_trim_gives_the_room_back_and_changes_nothing),
        cmocka_unit_test(test_folding_changes_no_statistics),
        cmocka_unit_test(test_memory_of_a_trial_is_bounded),
        cmocka_unit_test(test_a_trim_without_memory_changes_nothing),
        cmocka_unit_test(test_folded_rows_tell_their_number_extremes_and_newest_values),
        cmocka_unit_test(test_a_result_gives_its_numbers_by_name),
        cmocka_unit_test(test_every_failed_allocation_leaves_the_rows_as_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
