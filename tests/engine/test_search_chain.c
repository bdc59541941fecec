/* Tests of search/chain.h. */
#include "support.h"

#include "base/mem.h"
#include "search/chain.h"
#include "state/trials.h"

#include <string.h>

/* Makes `left` trials, then is finished; waits whenever `waits` is set. */
typedef struct stub {
    ct_searcher searcher; /* first */
    int left;
    bool waits;
    int results, completed, freed;
} stub;

static ct_status
stub_next(ct_searcher *s, const ct_board *b, ct_suggestion *out, ct_search_state *state,
          ct_err *err)
{
    stub *self = (stub *)s;
    (void)b;
    (void)out;
    (void)err;
    *state = self->waits       ? CT_SEARCH_WAIT
             : self->left == 0 ? CT_SEARCH_FINISHED
                               : CT_SEARCH_TRIAL;
    self->left -= *state == CT_SEARCH_TRIAL;
    return CT_OK;
}

static ct_status
stub_on_result(ct_searcher *s, const ct_board *b, ct_trial_id t, const ct_result *r,
               ct_err *err)
{
    (void)b;
    (void)t;
    (void)r;
    (void)err;
    ((stub *)s)->results++;
    return CT_OK;
}

static ct_status
stub_on_complete(ct_searcher *s, const ct_board *b, ct_trial_id t, const ct_result *r,
                 bool error, ct_err *err)
{
    (void)b;
    (void)t;
    (void)r;
    (void)error;
    (void)err;
    ((stub *)s)->completed++;
    return CT_OK;
}

static uint64_t
stub_total(const ct_searcher *s)
{
    return (uint64_t)((const stub *)s)->left;
}

static void
stub_free(ct_searcher *s)
{
    ((stub *)s)->freed++;
}

static const ct_searcher_ops NATIVE = {.name = "stub",
                                       .next = stub_next,
                                       .on_result = stub_on_result,
                                       .on_complete = stub_on_complete,
                                       .total = stub_total,
                                       .free = stub_free};
static const ct_searcher_ops FOREIGN = {.name = "stub",
                                        .foreign = true,
                                        .next = stub_next,
                                        .on_result = stub_on_result,
                                        .on_complete = stub_on_complete,
                                        .total = stub_total,
                                        .free = stub_free};

static ct_searcher *
chain_of(stub *stubs, size_t n, int64_t limit)
{
    ct_err err = CT_ERR_INIT;
    ct_searcher *members[4];
    ct_searcher *s = NULL;
    for (size_t i = 0; i < n; i++) {
        members[i] = &stubs[i].searcher;
    }
    assert_ok(ct_chain_new(&s, members, n, limit, &err), err);
    return s;
}

/* The number of the experiment of the next trial; -1: wait; -2: finished. */
static int
next(ct_searcher *s)
{
    ct_err err = CT_ERR_INIT;
    ct_suggestion made = {NULL, NULL, ct_nil(), ct_nil(), 99};
    ct_search_state state;
    assert_ok(s->ops->next(s, NULL, &made, &state, &err), err);
    return state == CT_SEARCH_TRIAL  ? (int)made.experiment
           : state == CT_SEARCH_WAIT ? -1
                                     : -2;
}

static void
test_members_are_asked_one_after_the_other(void **ctx)
{
    (void)ctx;
    stub stubs[3] = {{{&NATIVE}, 2, false, 0, 0, 0},
                     {{&NATIVE}, 0, false, 0, 0, 0},
                     {{&NATIVE}, 1, false, 0, 0, 0}};
    ct_searcher *s = chain_of(stubs, 3, 0);
    assert_false(s->ops->foreign);
    assert_int_equal(s->ops->total(s), 3);
    assert_int_equal(next(s), 0);
    stubs[0].waits = true;
    assert_int_equal(next(s), -1);
    stubs[0].waits = false;
    assert_int_equal(next(s), 0);
    assert_int_equal(next(s), 2);
    assert_int_equal(next(s), -2);
    assert_int_equal(next(s), -2);
    s->ops->free(s);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stubs[i].freed, 1);
    }
}

static void
test_the_limit_counts_over_all_and_each_hears_of_its_trials(void **ctx)
{
    (void)ctx;
    ct_err err = CT_ERR_INIT;
    stub stubs[2] = {{{&NATIVE}, 1, false, 0, 0, 0}, {{&FOREIGN}, 2, false, 0, 0, 0}};
    ct_searcher *s = chain_of(stubs, 2, 2);
    ct_board board = {0};
    ct_trials *trials;
    assert_ok(ct_trials_new(&trials, &err), err);
    board.trials = trials;
    assert_true(s->ops->foreign);
    for (unsigned i = 0; i < 2; i++) {
        ct_value config = ct_nil(), evaluated = ct_nil();
        ct_trial_id t;
        assert_int_equal(next(s), (int)i);
        assert_ok(
            ct_trials_add(trials, i ? "b" : "a", NULL, &config, &evaluated, &t, &err),
            err);
        ct_trials_mut(trials, t)->experiment = i;
    }
    assert_int_equal(next(s), -1);
    assert_ok(s->ops->on_result(s, &board, 1, NULL, &err), err);
    assert_ok(s->ops->on_complete(s, &board, 0, NULL, false, &err), err);
    assert_int_equal(stubs[0].completed, 1);
    assert_int_equal(stubs[0].results, 0);
    assert_int_equal(stubs[1].results, 1);
    assert_int_equal(next(s), 1);
    assert_int_equal(next(s), -1);
    assert_ok(s->ops->on_complete(s, &board, 1, NULL, true, &err), err);
    assert_int_equal(next(s), -2);
    s->ops->free(s);
    ct_trials_free(trials);
}

static void
test_it_survives_a_failed_allocation(void **ctx)
{
    (void)ctx;
    ct_err err = CT_ERR_INIT;
    stub one = {{&NATIVE}, 1, false, 0, 0, 0};
    ct_searcher *members[] = {&one.searcher};
    ct_searcher *s = NULL;
    ct_mem_fail_at(1);
    assert_int_equal(ct_chain_new(&s, members, 1, 0, &err), CT_ENOMEM);
    ct_mem_fail_at(0);
    assert_null(s);
    assert_int_equal(one.freed, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members_are_asked_one_after_the_other),
        cmocka_unit_test(test_the_limit_counts_over_all_and_each_hears_of_its_trials),
        cmocka_unit_test(test_it_survives_a_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
