/* The median rule: its cuts against a plain computation, state, and missing memory. */
#include "support.h"

#include "base/pcg.h"
#include "base/stats.h"
#include "sched/median.h"

#include <math.h>
#include <stdlib.h>

enum { TIME = 1, SCORE = 2, TRIALS = 30, RESULTS = 40 };

static ct_trial_status
nobody(void *ctx, ct_trial_id t)
{
    (void)ctx;
    (void)t;
    return CT_TRIAL_RUNNING;
}

static bool
none(void *ctx, ct_trial_status s)
{
    (void)ctx;
    (void)s;
    return false;
}

static const ct_board_ops LAB_OPS = {nobody, none};
static const ct_board LAB = {.ops = &LAB_OPS};

static ct_median_opts
options(void)
{
    return (ct_median_opts){.time_attr = TIME,
                            .metric = SCORE,
                            .maximize = true,
                            .grace_period = 3.0,
                            .min_samples_required = 2.0,
                            .hard_stop = false};
}

static ct_status
report(ct_median *m, ct_trial_id t, double time, double value, ct_verdict *v,
       ct_err *err)
{
    ct_scheduler *s = ct_median_scheduler(m);
    ct_metric items[] = {{TIME, time}, {SCORE, value}};
    ct_result r = {items, 2, NULL};
    ct_orders orders = CT_ORDERS_INIT;
    return s->ops->on_result(s, &LAB, t, &r, v, &orders, err);
}

/* What was reported, for the plain computation. */
typedef struct history {
    double time[RESULTS * 2];
    double value[RESULTS * 2];
    size_t n;
    bool stopped;
} history;

static int
ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static ct_verdict
plainly(history *all, size_t self, double t)
{
    double means[TRIALS];
    size_t n = 0;
    double best = -INFINITY;
    for (size_t k = 0; k < TRIALS; k++) {
        double scoped[RESULTS * 2];
        size_t count = 0;
        for (size_t i = 0; i < all[k].n; i++) {
            if (all[k].time[i] >= 3.0 && all[k].time[i] <= t) {
                scoped[count++] = all[k].value[i];
            }
        }
        if (k != self && all[k].n > 0 && all[k].time[all[k].n - 1] >= t) {
            means[n++] = ct_mean(scoped, count);
        }
    }
    for (size_t i = 0; i < all[self].n; i++) {
        best = fmax(best, all[self].value[i]);
    }
    if (t < 3.0 || n < 2) {
        return CT_CONTINUE;
    }
    qsort(means, n, sizeof *means, ascending);
    double median = n % 2 == 1 ? means[n / 2] : (means[n / 2 - 1] + means[n / 2]) / 2.0;
    return median > best ? CT_PAUSE : CT_CONTINUE;
}

static void
test_decisions_are_those_of_a_plain_computation(void **ctx)
{
    (void)ctx;
    for (uint64_t seed = 0; seed < 40; seed++) {
        static history all[TRIALS];
        ct_err err = CT_ERR_INIT;
        ct_median *m = NULL;
        ct_median_opts o = options();
        ct_pcg rng;
        for (size_t k = 0; k < TRIALS; k++) {
            all[k].n = 0;
            all[k].stopped = false;
        }
        ct_pcg_init(&rng, seed, 1);
        assert_ok(ct_median_new(&m, &o, &err), err);
        for (size_t i = 0; i < (size_t)TRIALS * RESULTS; i++) {
            ct_trial_id t = (ct_trial_id)(ct_pcg_next(&rng) % TRIALS);
            history *h = &all[t];
            double last = h->n > 0 ? h->time[h->n - 1] : 0.0;
            double step = seed % 4 == 3 && ct_pcg_next(&rng) % 20 == 0 ? -1.0
                          : ct_pcg_next(&rng) % 9 == 0                 ? 0.0
                                                                       : 1.0;
            double value = (double)(ct_pcg_next(&rng) % 100) / 7.0;
            ct_verdict v;
            if (h->n == RESULTS * 2) {
                continue;
            }
            assert_ok(report(m, t, last + step, value, &v, &err), err);
            if (h->stopped) {
                assert_int_equal(v, CT_CONTINUE);
                continue;
            }
            h->time[h->n] = last + step;
            h->value[h->n++] = value;
            assert_int_equal(v, plainly(all, t, last + step));
            h->stopped = v == CT_PAUSE;
        }
        ct_median_scheduler(m)->ops->free(ct_median_scheduler(m));
    }
}

static ct_status
attempt(void *ctx, ct_err *err)
{
    ct_median_opts o = options();
    ct_median *m = NULL;
    ct_median *other = NULL;
    ct_value saved = ct_nil();
    ct_verdict v;
    (void)ctx;
    ct_status st = ct_median_new(&m, &o, err);
    for (int i = 0; st == CT_OK && i < 60; i++) {
        st = report(m, (ct_trial_id)(i % 5), i / 5.0 + 1.0 - (i % 5) / 5.0, i % 7, &v,
                    err);
    }
    if (st == CT_OK) {
        st = report(m, 0, 1.0, 1.0, &v, err); /* backwards */
    }
    if (st == CT_OK) {
        st = report(m, 0, 5.0, 1.0, &v, err);
    }
    if (st == CT_OK) {
        st = ct_median_scheduler(m)->ops->save(ct_median_scheduler(m), NULL, &saved,
                                               err);
    }
    if (st == CT_OK) {
        st = ct_median_new(&other, &o, err);
    }
    if (st == CT_OK) {
        st = ct_median_scheduler(other)->ops->restore(ct_median_scheduler(other), NULL,
                                                      &saved, err);
    }
    if (st == CT_OK) {
        assert_int_equal(ct_median_num_stopped(other), ct_median_num_stopped(m));
        st = report(other, 3, 20.0, 1.0, &v, err);
    }
    ct_value_deinit(&saved);
    if (m != NULL) {
        ct_median_scheduler(m)->ops->free(ct_median_scheduler(m));
    }
    if (other != NULL) {
        ct_median_scheduler(other)->ops->free(ct_median_scheduler(other));
    }
    return st;
}

static void
test_any_allocation_may_fail_without_a_leak(void **ctx)
{
    (void)ctx;
    sweep_allocations(attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions_are_those_of_a_plain_computation),
        cmocka_unit_test(test_any_allocation_may_fail_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
