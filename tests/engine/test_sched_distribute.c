/* Sharing out what the machine has among live trials. */
#include "support.h"

#include "sched/distribute.h"

#include <math.h>
#include <string.h>

enum { TRIALS = 12, BUNDLES = 80 };

typedef struct machine {
    ct_distribution d;
    ct_amounts base[3];
    ct_amounts held[TRIALS][BUNDLES];
    ct_holder holders[TRIALS];
} machine;

/* `trials` trials with one bundle of one CPU each, on a machine of `cpus`. */
static void
machine_init(machine *m, size_t trials, double cpus)
{
    memset(m, 0, sizeof *m);
    m->base[0] = (ct_amounts){1.0, 0.0};
    m->d.unit = (ct_amounts){1.0, 0.0};
    m->d.total = (ct_amounts){cpus, 0.0};
    m->d.base = m->base;
    m->d.base_count = 1;
    m->d.holders = m->holders;
    m->d.holder_count = trials;
    for (size_t i = 0; i < trials; i++) {
        m->held[i][0] = m->base[0];
        m->holders[i] = (ct_holder){m->held[i], 1, (double)i};
    }
}

static ct_share
ask(machine *m, size_t t, bool best)
{
    ct_err err = CT_ERR_INIT;
    ct_share out = {0, 0, {0.0, 0.0}};
    m->d.own = m->holders[t].bundles;
    m->d.own_count = m->holders[t].count;
    if (best) {
        assert_ok(ct_distribute_to_best(&m->d, t, &out, &err), err);
    } else {
        assert_ok(ct_distribute_evenly(&m->d, &out, &err), err);
    }
    return out;
}

/* The trial gets what was answered. */
static void
give(machine *m, size_t t, ct_share s)
{
    ct_amounts next[BUNDLES];
    ct_amounts *held = m->held[t];
    size_t n = m->d.base_count;

    memcpy(next, m->base, sizeof m->base);
    if (!m->d.add_bundles) {
        held[0] = s.single;
        return;
    }
    for (size_t i = n; i < m->holders[t].count && n < m->d.base_count + s.kept; i++) {
        if (held[i].cpu != 0.0 || held[i].gpu != 0.0) {
            next[n++] = held[i];
        }
    }
    assert_int_equal(n, m->d.base_count + s.kept);
    assert_true(n + s.units <= BUNDLES);
    for (size_t i = 0; i < s.units; i++) {
        next[n++] = m->d.unit;
    }
    memcpy(held, next, n * sizeof *held);
    m->holders[t].count = n;
}

static ct_amounts
sum(const ct_amounts *bundles, size_t count)
{
    ct_amounts s = {0.0, 0.0};
    for (size_t i = 0; i < count; i++) {
        s.cpu += bundles[i].cpu;
        s.gpu += bundles[i].gpu;
    }
    return s;
}

static void
test_trials_that_ask_in_turn_end_with_equal_shares(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 4, 8.0);
    for (size_t t = 0; t < 4; t++) {
        give(&m, t, ask(&m, t, false));
        assert_true(m.held[t][0].cpu == 2.0);
    }
    m.d.holder_count = 2; /* two have ended */
    give(&m, 0, ask(&m, 0, false));
    assert_true(m.held[0][0].cpu == 4.0);
}

static void
test_new_bundles_go_behind_those_of_the_base(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 2, 8.0);
    m.d.add_bundles = true;
    ct_share s = ask(&m, 0, false);
    assert_int_equal(s.kept, 0);
    assert_int_equal(s.units, 3);
    give(&m, 0, s);
    s = ask(&m, 0, false);
    assert_int_equal(s.kept, 3);
    assert_int_equal(s.units, 0);
}

static void
test_trials_that_hold_too_much_give_it_back(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 2, 4.0);
    m.held[0][0].cpu = 4.0;
    give(&m, 0, ask(&m, 0, false));
    assert_true(m.held[0][0].cpu == 3.0);
    m.d.total.cpu = 0.0;
    assert_true(ask(&m, 0, false).single.cpu == 1.0); /* its base */
}

static void
test_nobody_grows_beyond_the_limit_or_into_the_reserve(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 2, 16.0);
    m.d.limit = 2;
    assert_true(ask(&m, 0, false).single.cpu == 3.0);
    m.d.limit = -1;
    m.d.reserved.cpu = 12.0;
    assert_true(ask(&m, 0, false).single.cpu == 2.0);
}

static void
test_a_unit_with_gpus_is_dealt_while_there_are_gpus(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 2, 16.0);
    m.d.total.gpu = 3.0;
    m.d.unit = (ct_amounts){2.0, 1.0};
    ct_share s = ask(&m, 0, false);
    assert_true(s.single.cpu == 5.0 && s.single.gpu == 2.0);
}

static void
test_the_best_trial_gets_all_until_it_is_full(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 3, 8.0);
    m.holders[1].score = -1.0;
    m.holders[2].score = (double)NAN;
    m.d.limit = 3;
    m.d.cap = m.d.unit;
    assert_true(ask(&m, 0, true).single.cpu == 1.0);
    assert_true(ask(&m, 2, true).single.cpu == 1.0);
    give(&m, 1, ask(&m, 1, true));
    assert_true(m.held[1][0].cpu == 4.0);
    give(&m, 0, ask(&m, 0, true)); /* the next best */
    assert_true(m.held[0][0].cpu == 3.0);
}

static void
test_trials_that_are_not_best_shrink_when_there_is_too_little(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 2, 4.0);
    m.held[1][0].cpu = 5.0;
    assert_true(ask(&m, 1, true).single.cpu == 3.0);
}

static void
test_one_point_zero_holds_nine_units_of_a_tenth(void **state)
{
    (void)state;
    machine m;
    machine_init(&m, 1, 2.0);
    m.d.unit.cpu = 0.1;
    assert_true(fabs(ask(&m, 0, false).single.cpu - 1.9) < 1e-12);
}

static void
test_what_cannot_be_used_is_named(void **state)
{
    (void)state;
    machine m;
    ct_share out;
    ct_err err = CT_ERR_INIT;
    machine_init(&m, 1, 2.0);
    m.d.own = m.held[0];
    m.d.own_count = 1;
    m.d.unit.cpu = 0.0;
    assert_int_equal(ct_distribute_evenly(&m.d, &out, &err), CT_EINVAL);
    assert_string_equal(err.param, "increase_by");
    m.d.unit.cpu = 1e-9;
    assert_int_equal(ct_distribute_evenly(&m.d, &out, &err), CT_EINVAL);
    assert_string_equal(err.param, "increase_by");
    m.d.unit.cpu = 1e-7;
    m.d.add_bundles = true;
    assert_int_equal(ct_distribute_evenly(&m.d, &out, &err), CT_EINVAL);
    assert_string_equal(err.param, "increase_by");
    machine_init(&m, 1, 2.0);
    m.d.own = m.held[0];
    m.d.own_count = 1;
    m.d.base_count = 2;
    assert_int_equal(ct_distribute_to_best(&m.d, 0, &out, &err), CT_EINVAL);
    assert_string_equal(err.param, "add_bundles");
    m.d.base_count = 1;
    m.d.reserved.gpu = -1.0;
    assert_int_equal(ct_distribute_to_best(&m.d, 0, &out, &err), CT_EINVAL);
    assert_string_equal(err.param, "reserve_resources");
    m.d.reserved.gpu = 0.0;
    m.held[0][0].gpu = (double)NAN;
    assert_int_equal(ct_distribute_to_best(&m.d, 0, &out, &err), CT_EINVAL);
    assert_string_equal(err.param, "resources of the trial");
}

/* ---- properties ---- */

static uint32_t
draw(uint64_t *seed, uint32_t below)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*seed >> 33) % below;
}

static void
random_machine(machine *m, uint64_t *seed)
{
    machine_init(m, 1 + draw(seed, TRIALS), 4.0 * draw(seed, 9));
    ct_distribution *d = &m->d;
    d->add_bundles = draw(seed, 2) == 1;
    d->base_count = d->add_bundles ? 1 + draw(seed, 3) : 1;
    for (size_t i = 0; i < d->base_count; i++) {
        m->base[i] = (ct_amounts){0.5 * (1 + draw(seed, 4)), 0.5 * draw(seed, 3)};
    }
    d->unit = (ct_amounts){0.5 * (1 + draw(seed, 4)), 0.5 * draw(seed, 3)};
    d->cap = d->unit;
    d->limit = (int64_t)draw(seed, 6) - 1;
    d->total.gpu = draw(seed, 9);
    d->reserved = (ct_amounts){draw(seed, 3), draw(seed, 2)};
    for (size_t t = 0; t < d->holder_count; t++) {
        memcpy(m->held[t], m->base, sizeof m->base);
        m->holders[t].count = d->base_count;
        m->holders[t].score = draw(seed, 5);
    }
}

/* Amounts are halves: sums are exact, so the checks are as well. */
static void
test_shares_are_never_below_the_base_nor_beyond_what_is_there(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        machine m;
        uint64_t rng = seed;
        random_machine(&m, &rng);
        ct_distribution *d = &m.d;
        ct_amounts base = sum(m.base, d->base_count);
        for (int step = 0; step < 40; step++) {
            if (step % 10 == 9 && d->holder_count > 1) {
                d->holder_count--; /* the last one ends */
            }
            size_t t = draw(&rng, (uint32_t)d->holder_count);
            ct_amounts used = {0.0, 0.0};
            for (size_t i = 0; i < d->holder_count; i++) {
                ct_amounts a = sum(m.held[i], m.holders[i].count);
                used.cpu += a.cpu;
                used.gpu += a.gpu;
            }
            ct_amounts before = sum(m.held[t], m.holders[t].count);
            give(&m, t, ask(&m, t, seed % 2 == 0));
            ct_amounts after = sum(m.held[t], m.holders[t].count);
            double cpus = d->total.cpu - d->reserved.cpu - used.cpu;
            double gpus = d->total.gpu - d->reserved.gpu - used.gpu;
            assert_true(after.cpu >= base.cpu && after.gpu >= base.gpu);
            assert_true(after.cpu - before.cpu <= fmax(cpus, 0.0));
            assert_true(after.gpu - before.gpu <= fmax(gpus, 0.0));
            if (d->limit > 0) {
                assert_true(after.cpu - base.cpu <= d->unit.cpu * (double)d->limit);
                assert_true(after.gpu - base.gpu <= d->unit.gpu * (double)d->limit);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trials_that_ask_in_turn_end_with_equal_shares),
        cmocka_unit_test(test_new_bundles_go_behind_those_of_the_base),
        cmocka_unit_test(test_trials_that_hold_too_much_give_it_back),
        cmocka_unit_test(test_nobody_grows_beyond_the_limit_or_into_the_reserve),
        cmocka_unit_test(test_a_unit_with_gpus_is_dealt_while_there_are_gpus),
        cmocka_unit_test(test_the_best_trial_gets_all_until_it_is_full),
        cmocka_unit_test(test_trials_that_are_not_best_shrink_when_there_is_too_little),
        cmocka_unit_test(test_one_point_zero_holds_nine_units_of_a_tenth),
        cmocka_unit_test(test_what_cannot_be_used_is_named),
        cmocka_unit_test(test_shares_are_never_below_the_base_nor_beyond_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
