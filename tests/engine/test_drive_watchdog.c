/* The watchdog: speaks when nothing was done for its limit, and again after it. */
#include "support.h"

#include "base/keys.h"
#include "drive/watchdog.h"
#include "sched/fifo.h"

#include <string.h>

/* A searcher that never has a trial and never finishes. */
static ct_status
next(ct_searcher *s, const ct_board *b, ct_suggestion *out, ct_search_state *state,
     ct_err *err)
{
    (void)s, (void)b, (void)out, (void)err;
    *state = CT_SEARCH_WAIT;
    return CT_OK;
}

static const ct_searcher_ops waiting_ops = {.name = "waiting", .next = next};

typedef struct rig {
    ct_names *names;
    ct_scheduler *scheduler;
    ct_searcher searcher;
    ct_control *control;
} rig;

static void
rig_init(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_value cpus = ct_dict(), one = ct_f64(1.0);
    *r = (rig){.searcher = {&waiting_ops}};
    assert_ok(ct_names_new(&r->names, &err), err);
    assert_ok(ct_keys_intern(r->names, &err), err);
    assert_ok(ct_value_put(&cpus, CT_KEY_CPU, &one, &err), err);
    assert_ok(ct_fifo_new(&r->scheduler, &err), err);
    ct_experiment e = {.name = "e", .trainable = "t", .request = &cpus};
    ct_control_opts o = {.names = r->names,
                         .scheduler = r->scheduler,
                         .searcher = &r->searcher,
                         .resources = &cpus,
                         .experiments = &e,
                         .n_experiments = 1,
                         .max_pending = 1,
                         .max_dirname = 100,
                         .checkpoint = {.score = CT_NAME_NONE}};
    assert_ok(ct_control_new(&r->control, &o, &err), err);
    ct_value_deinit(&cpus);
}

static void
rig_deinit(rig *r)
{
    ct_control_free(r->control);
    r->scheduler->ops->free(r->scheduler);
    ct_names_free(r->names);
}

static bool
speaks(rig *r, ct_watchdog *w, double mono)
{
    ct_err err = CT_ERR_INIT;
    ct_buf why = CT_BUF_INIT;
    ct_control_begin(r->control);
    assert_ok(ct_control_settle(r->control, 1.0, &err), err);
    assert_ok(ct_watchdog_look(w, r->control, mono, &why, &err), err);
    bool said = why.len > 0;
    if (said) {
        assert_non_null(strstr((const char *)why.data, "suggests no trial"));
    }
    ct_buf_deinit(&why);
    return said;
}

static void
test_it_speaks_once_per_limit_while_nothing_runs(void **state)
{
    (void)state;
    rig r;
    ct_watchdog w = {.limit = 5.0};
    rig_init(&r);
    assert_false(speaks(&r, &w, 100.0));
    assert_false(speaks(&r, &w, 104.9));
    assert_true(speaks(&r, &w, 105.0));
    assert_false(speaks(&r, &w, 109.9));
    assert_true(speaks(&r, &w, 110.0));
    rig_deinit(&r);
}

static void
test_without_a_limit_it_says_nothing(void **state)
{
    (void)state;
    rig r;
    ct_watchdog w = {.limit = 0.0};
    rig_init(&r);
    assert_false(speaks(&r, &w, 100.0));
    assert_false(speaks(&r, &w, 1e9));
    rig_deinit(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_speaks_once_per_limit_while_nothing_runs),
        cmocka_unit_test(test_without_a_limit_it_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
