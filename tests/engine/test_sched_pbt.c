/* Population-based training: quantiles against a sort, rounds, state, allocations that
 * fail. */
#include "support.h"

#include "base/mem.h"
#include "base/pcg.h"
#include "sched/pbt.h"
#include "sched/replay.h"

#include <math.h>
#include <string.h>

enum { TRIALS = 12, TIME = 1, METRIC = 2 };

/* A population whose trials are numbers here. */
typedef struct world {
    ct_pcg rng;
    ct_board board;
    ct_trial_status status[TRIALS];
    double time[TRIALS];
    double score[TRIALS]; /* of the last turn; NaN = none */
    bool saved[TRIALS];
    int turns, saves, exploits, orders;
    ct_pbt *pbt;
    ct_scheduler *s;
    ct_names *names;
} world;

static ct_trial_status
board_status(void *ctx, ct_trial_id t)
{
    return ((world *)ctx)->status[t];
}

static bool
board_any(void *ctx, unsigned statuses)
{
    world *w = ctx;
    for (int t = 0; t < TRIALS; t++) {
        if ((statuses & CT_STATUS(w->status[t])) != 0) {
            return true;
        }
    }
    return false;
}

static const ct_board_ops BOARD = {board_status, board_any};

static ct_status
on_choice(void *ctx, size_t n, size_t *out, ct_err *err)
{
    world *w = ctx;
    (void)err;
    assert_true(n > 0);
    *out = ct_pcg_next(&w->rng) % n;
    return CT_OK;
}

static ct_status
on_turn(void *ctx, const ct_board *b, ct_trial_id t, double time, double score,
        ct_err *err)
{
    world *w = ctx;
    (void)b, (void)time, (void)err;
    w->turns++;
    w->score[t] = score;
    return CT_OK;
}

/* How many of the trials that are not over and have a score have a smaller one; of equals,
 * a smaller number. */
static size_t
rank_by_sort(const world *w, ct_trial_id t, size_t *n)
{
    size_t below = 0;
    *n = 0;
    for (ct_trial_id i = 0; i < TRIALS; i++) {
        if (isnan(w->score[i]) || w->status[i] == CT_TRIAL_TERMINATED ||
            w->status[i] == CT_TRIAL_ERROR) {
            continue;
        }
        ++*n;
        below += w->score[i] < w->score[t] || (!(w->score[i] > w->score[t]) && i < t);
    }
    return below;
}

static size_t
quantile_of(size_t n)
{
    size_t k = (size_t)ceil((double)n * 0.25);
    return k > n / 2 ? n / 2 : k;
}

static ct_status
on_save(void *ctx, const ct_board *b, ct_trial_id t, ct_orders *orders, bool *has,
        ct_err *err)
{
    world *w = ctx;
    size_t n, rank = rank_by_sort(w, t, &n);
    (void)b, (void)orders, (void)err;
    assert_true(n > 1 && rank >= n - quantile_of(n));
    *has = ct_pcg_next(&w->rng) % 4 != 0;
    w->saved[t] = *has;
    w->saves++;
    return CT_OK;
}

static ct_status
on_forget(void *ctx, const ct_board *b, ct_trial_id t, ct_orders *orders, ct_err *err)
{
    world *w = ctx;
    (void)b;
    w->saved[t] = false;
    return ct_orders_add(orders, CT_ORDER_OFFER, t, false, NULL, err);
}

static ct_status
on_exploit(void *ctx, const ct_board *b, ct_trial_id t, ct_trial_id source, bool has,
           ct_orders *orders, ct_pbt_exploited *out, ct_err *err)
{
    world *w = ctx;
    size_t n;
    (void)b, (void)orders, (void)err;
    assert_true(t != source);
    assert_true(has == w->saved[source]);
    assert_true(rank_by_sort(w, t, &n) < quantile_of(n));
    assert_true(rank_by_sort(w, source, &n) >= n - quantile_of(n));
    *out = !has ? CT_PBT_SKIPPED : w->exploits % 2 == 0 ? CT_PBT_DONE : CT_PBT_ORDERED;
    if (has) {
        w->status[t] = CT_TRIAL_PAUSED;
        w->time[t] = w->time[source];
        w->exploits++;
    }
    return CT_OK;
}

static ct_status
world_init(world *w, uint64_t seed, bool synch, ct_err *err)
{
    memset(w, 0, sizeof *w);
    ct_pcg_init(&w->rng, seed, 1);
    w->board = (ct_board){.ops = &BOARD, .ctx = w};
    for (int t = 0; t < TRIALS; t++) {
        w->score[t] = NAN;
    }
    ct_pbt_opts o = {.time_attr = TIME,
                     .metric = METRIC,
                     .maximize = seed % 2 == 0,
                     .perturbation_interval = 2.0,
                     .quantile_fraction = 0.25,
                     .synch = synch,
                     .hooks = {.choice = on_choice,
                               .turn = on_turn,
                               .save = on_save,
                               .forget = on_forget,
                               .exploit = on_exploit,
                               .ctx = w}};
    ct_status st = ct_names_new(&w->names, err);
    if (st == CT_OK) {
        st = ct_pbt_new(&w->pbt, &o, err);
    }
    w->s = w->pbt == NULL ? NULL : ct_pbt_scheduler(w->pbt);
    for (ct_trial_id t = 0; st == CT_OK && t < TRIALS; t++) {
        st = w->s->ops->on_add(w->s, &w->board, t, NULL, err);
    }
    return st;
}

static void
world_deinit(world *w)
{
    if (w->s != NULL) {
        w->s->ops->free(w->s);
    }
    ct_names_free(w->names);
}

static ct_status
report(world *w, ct_trial_id t, ct_err *err)
{
    static const double wild[] = {INFINITY, -INFINITY, NAN, 0.0};
    double value = (double)(ct_pcg_next(&w->rng) % 20);
    ct_orders orders = CT_ORDERS_INIT;
    ct_verdict v;

    if (ct_pcg_next(&w->rng) % 10 == 0) {
        value = wild[ct_pcg_next(&w->rng) % 4];
    }
    w->time[t] += 1.0;
    ct_metric items[] = {{TIME, w->time[t]}, {METRIC, value}};
    ct_result r = {items, 2, NULL};
    ct_status st = w->s->ops->on_result(w->s, &w->board, t, &r, &v, &orders, err);
    ct_orders_deinit(&orders);
    if (st == CT_OK) {
        assert_true(v != CT_STOP);
        assert_true(v == CT_NOOP || w->status[t] == CT_TRIAL_RUNNING);
        w->status[t] = v == CT_PAUSE ? CT_TRIAL_PAUSED : w->status[t];
    }
    return st;
}

/* A trial reports, ends, fails and comes back, or the next one starts. */
static ct_status
step(world *w, ct_err *err)
{
    ct_orders orders = CT_ORDERS_INIT;
    ct_trial_id t = (ct_trial_id)(ct_pcg_next(&w->rng) % TRIALS);
    ct_status st = CT_OK;

    if (w->status[t] != CT_TRIAL_RUNNING) {
        ct_trial_id next;
        st = w->s->ops->choose(w->s, &w->board, &next, &orders, err);
        if (st == CT_OK && next != CT_TRIAL_NONE) {
            for (int i = 0; i < TRIALS; i++) { /* nobody who waits has trained less */
                bool waits =
                    w->status[i] == CT_TRIAL_PENDING || w->status[i] == CT_TRIAL_PAUSED;
                assert_true(!waits || w->time[i] > w->time[next] - 2.0);
            }
            w->status[next] = CT_TRIAL_RUNNING;
        }
    } else if (ct_pcg_next(&w->rng) % 100 == 0) {
        st = w->s->ops->on_complete(w->s, &w->board, t, NULL, &orders, err);
        w->status[t] = CT_TRIAL_TERMINATED;
    } else if (ct_pcg_next(&w->rng) % 50 == 0) {
        st = w->s->ops->on_error(w->s, &w->board, t, &orders, err);
        w->status[t] = CT_TRIAL_PENDING;
        w->time[t] = 0.0;
        w->score[t] = NAN;
        w->saved[t] = false;
        if (st == CT_OK) {
            st = w->s->ops->on_add(w->s, &w->board, t, &orders, err);
        }
    } else {
        st = report(w, t, err);
    }
    ct_orders_deinit(&orders);
    return st;
}

static void
test_best_and_worst_are_those_of_a_sort(void **ctx)
{
    int exploits = 0;
    (void)ctx;
    for (uint64_t seed = 0; seed < 60; seed++) {
        ct_err err = CT_ERR_INIT;
        world w;
        assert_ok(world_init(&w, seed, seed % 3 == 0, &err), err);
        for (int i = 0; i < 400; i++) {
            assert_ok(step(&w, &err), err);
        }
        assert_true(w.turns > 20);
        assert_int_equal(ct_pbt_num_checkpoints(w.pbt), w.saves);
        assert_int_equal(ct_pbt_num_perturbations(w.pbt), w.exploits);
        exploits += w.exploits;
        world_deinit(&w);
    }
    assert_true(exploits > 200);
}

/* Everything but the engine, which has *to as the ctx of its hooks. */
static void
copy_world(world *to, const world *from)
{
    world own = *to;
    *to = *from;
    to->pbt = own.pbt;
    to->s = own.s;
    to->names = own.names;
    to->board.ctx = to;
    ct_pcg_init(&to->rng, 77, 1);
}

static void
test_a_restored_state_goes_on_the_same(void **ctx)
{
    (void)ctx;
    for (uint64_t seed = 0; seed < 20; seed++) {
        ct_err err = CT_ERR_INIT;
        world a, b;
        ct_value state = ct_nil(), again = ct_nil();
        assert_ok(world_init(&a, seed, seed % 2 == 0, &err), err);
        for (int i = 0; i < 150; i++) {
            assert_ok(step(&a, &err), err);
        }
        assert_ok(a.s->ops->save(a.s, a.names, &state, &err), err);
        assert_ok(world_init(&b, seed, seed % 2 == 0, &err), err);
        assert_ok(b.s->ops->restore(b.s, b.names, &state, &err), err);
        copy_world(&b, &a);
        ct_pcg_init(&a.rng, 77, 1);
        for (int i = 0; i < 150; i++) {
            assert_ok(step(&a, &err), err);
        }
        for (int i = 0; i < 150; i++) {
            assert_ok(step(&b, &err), err);
        }
        assert_int_equal(a.exploits, b.exploits);
        assert_memory_equal(a.status, b.status, sizeof a.status);
        ct_value_deinit(&state);
        assert_ok(a.s->ops->save(a.s, a.names, &state, &err), err);
        assert_ok(b.s->ops->save(b.s, b.names, &again, &err), err);
        assert_true(ct_value_equal(&state, &again));
        ct_value_deinit(&state);
        ct_value_deinit(&again);
        world_deinit(&a);
        world_deinit(&b);
    }
}

static void
test_a_damaged_state_is_refused(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    world w;
    ct_value state, bad;

    (void)ctx;
    assert_ok(world_init(&w, 3, false, &err), err);
    for (int i = 0; i < 200; i++) {
        assert_ok(step(&w, &err), err);
    }
    assert_ok(w.s->ops->save(w.s, w.names, &state, &err), err);
    for (uint32_t i = 0; i < state.len; i++) {
        assert_ok(ct_value_copy(&bad, &state, &err), err);
        ct_value_deinit(&bad.u.items[i]);
        bad.u.items[i] = ct_bool(true);
        if (i > 0) { /* a bool is a number */
            assert_int_equal(w.s->ops->restore(w.s, w.names, &bad, &err), CT_ECORRUPT);
        }
        ct_value_deinit(&bad);
    }
    bad = ct_i64(3);
    assert_int_equal(w.s->ops->restore(w.s, w.names, &bad, &err), CT_ECORRUPT);
    assert_ok(w.s->ops->restore(w.s, w.names, &state, &err), err);
    ct_value_deinit(&state);
    world_deinit(&w);
}

static void
test_options_out_of_range_are_named(void **ctx)
{
    static const struct {
        double interval, burn_in, fraction;
        const char *param;
    } cases[] = {{0.0, 0.0, 0.25, "perturbation_interval"},
                 {NAN, 0.0, 0.25, "perturbation_interval"},
                 {1.0, NAN, 0.25, "burn_in_period"},
                 {1.0, 0.0, 0.51, "quantile_fraction"},
                 {1.0, 0.0, -0.01, "quantile_fraction"}};
    (void)ctx;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ct_err err = CT_ERR_INIT;
        ct_pbt *p = NULL;
        ct_pbt_opts o = {.perturbation_interval = cases[i].interval,
                         .burn_in_period = cases[i].burn_in,
                         .quantile_fraction = cases[i].fraction};
        assert_int_equal(ct_pbt_new(&p, &o, &err), CT_EINVAL);
        assert_string_equal(err.param, cases[i].param);
        assert_null(p);
    }
}

static void
test_an_unknown_trial_and_a_missing_number_are_errors(void **ctx)
{
    ct_err err = CT_ERR_INIT;
    world w;
    ct_verdict v;
    ct_metric items[] = {{TIME, 9.0}, {METRIC, 1.0}};
    ct_result both = {items, 2, NULL}, time = {items, 1, NULL},
              value = {items + 1, 1, NULL};

    (void)ctx;
    assert_ok(world_init(&w, 1, false, &err), err);
    assert_int_equal(w.s->ops->on_result(w.s, &w.board, TRIALS, &both, &v, NULL, &err),
                     CT_ESTATE);
    assert_int_equal(w.s->ops->on_result(w.s, &w.board, 0, &time, &v, NULL, &err),
                     CT_ESTATE);
    assert_string_equal(err.param, "metric");
    assert_int_equal(w.s->ops->on_result(w.s, &w.board, 0, &value, &v, NULL, &err),
                     CT_ESTATE);
    assert_string_equal(err.param, "time_attr");
    world_deinit(&w);
}

static ct_status
attempt(void *ctx, ct_err *err)
{
    world w;
    ct_value state = ct_nil();
    (void)ctx;
    ct_status st = world_init(&w, 5, false, err);
    for (int i = 0; st == CT_OK && i < 60; i++) {
        st = step(&w, err);
    }
    if (st == CT_OK) {
        st = w.s->ops->save(w.s, w.names, &state, err);
    }
    if (st == CT_OK) {
        st = w.s->ops->restore(w.s, w.names, &state, err);
    }
    ct_value_deinit(&state);
    world_deinit(&w);
    return st;
}

static void
test_any_allocation_may_fail_without_a_leak(void **ctx)
{
    (void)ctx;
    sweep_allocations(attempt, NULL);
}

/* ---- replay ---- */

static ct_status
on_change(void *ctx, const ct_board *b, ct_trial_id t, size_t i, ct_orders *orders,
          ct_err *err)
{
    (void)b, (void)t, (void)orders, (void)err;
    *(size_t *)ctx = i + 1;
    return CT_OK;
}

static void
test_a_replay_changes_when_its_time_comes(void **ctx)
{
    const double changes[] = {3.0, 3.0, 7.0};
    ct_err err = CT_ERR_INIT;
    size_t changed = 0;
    ct_replay *r = NULL;
    ct_replay_opts o = {TIME, changes, 3, on_change, &changed};
    ct_board board = {0};
    ct_value state;
    ct_verdict v;

    (void)ctx;
    assert_ok(ct_replay_new(&r, &o, &err), err);
    ct_scheduler *s = ct_replay_scheduler(r);
    assert_ok(s->ops->on_add(s, &board, 4, NULL, &err), err);
    assert_ok(s->ops->on_add(s, &board, 4, NULL, &err), err); /* it failed */
    assert_int_equal(s->ops->on_add(s, &board, 5, NULL, &err), CT_EINVAL);
    static const size_t wanted[] = {0, 0, 0, 1, 2, 2, 2, 3, 3, 3};
    for (int i = 1; i < 10; i++) {
        ct_metric item = {TIME, (double)i};
        ct_result res = {&item, 1, NULL};
        size_t before = changed;
        assert_ok(s->ops->on_result(s, &board, 4, &res, &v, NULL, &err), err);
        assert_int_equal(changed, wanted[i]);
        assert_int_equal(v, changed > before ? CT_NOOP : CT_CONTINUE);
        assert_ok(s->ops->save(s, NULL, &state, &err), err);
        assert_ok(s->ops->restore(s, NULL, &state, &err), err);
        ct_value_deinit(&state);
    }
    state = ct_i64(1);
    assert_int_equal(s->ops->restore(s, NULL, &state, &err), CT_ECORRUPT);
    s->ops->free(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_and_worst_are_those_of_a_sort),
        cmocka_unit_test(test_a_restored_state_goes_on_the_same),
        cmocka_unit_test(test_a_damaged_state_is_refused),
        cmocka_unit_test(test_options_out_of_range_are_named),
        cmocka_unit_test(test_an_unknown_trial_and_a_missing_number_are_errors),
        cmocka_unit_test(test_any_allocation_may_fail_without_a_leak),
        cmocka_unit_test(test_a_replay_changes_when_its_time_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
