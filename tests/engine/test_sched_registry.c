/* Schedulers by name. */
#include "support.h"

#include "base/json.h"
#include "base/pcg.h"
#include "sched/asha.h"
#include "sched/registry.h"

#include <string.h>

/* Makes a scheduler from JSON options (NULL: none) and returns the status. */
static ct_status
create(const char *name, const char *json, ct_scheduler **out, ct_err *err)
{
    ct_names *names = NULL;
    ct_value options = ct_nil();
    ct_pcg rng;
    ct_pcg_init(&rng, 1, 1);
    *out = NULL;
    ct_status st = ct_names_new(&names, err);
    if (st == CT_OK && json != NULL) {
        st = ct_json_parse(&options, json, strlen(json), names, err);
    }
    if (st == CT_OK) {
        st = ct_sched_create(out, name, &options, names, &rng.rng, err);
    }
    ct_value_deinit(&options);
    ct_names_free(names);
    return st;
}

static void
test_names_and_aliases_make_their_scheduler_in_any_case(void **state)
{
    (void)state;
    const char *const asha[] = {"async_hyperband", "asynchyperband", "AsyncHyperBand"};
    ct_err err = CT_ERR_INIT;
    ct_scheduler *s;
    for (size_t i = 0; i < 3; i++) {
        assert_ok(create(asha[i],
                         "{\"metric\": \"a/b\", \"mode\": \"min\", \"max_t\": 16, "
                         "\"brackets\": 2, \"stop_last_trials\": false}",
                         &s, &err),
                  err);
        assert_string_equal(s->ops->name, "async_hyperband");
        assert_int_equal(ct_asha_brackets((ct_asha *)s), 2);
        assert_true(ct_asha_milestone((ct_asha *)s, 0, 0) == 16.0);
        s->ops->free(s);
    }
    assert_ok(create("FIFO", NULL, &s, &err), err);
    assert_string_equal(s->ops->name, "fifo");
    s->ops->free(s);
    assert_string_equal(ct_sched_canonical("medianstopping"), "median_stopping_rule");
    assert_null(ct_sched_canonical("fif"));
    assert_null(ct_sched_canonical("fifoo"));
}

static void
test_an_unknown_name_gets_the_nearest_known_one(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_scheduler *s;
    assert_int_equal(create("async_hyberband", NULL, &s, &err), CT_ENOTFOUND);
    assert_non_null(strstr(err.text, "\"async_hyperband\""));
    assert_string_equal(ct_sched_nearest("PTB"), "pbt");
    assert_string_equal(ct_sched_nearest("hyperbands"), "hyperband");
    char lengthy[300];
    memset(lengthy, 'x', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    assert_non_null(ct_sched_nearest(lengthy));
    assert_int_equal(create("pbt", NULL, &s, &err), CT_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "\"pbt\""));
}

static void
expect_fail(const char *name, const char *json, ct_status code, const char *param)
{
    ct_err err = CT_ERR_INIT;
    ct_scheduler *s;
    assert_int_equal(create(name, json, &s, &err), code);
    assert_string_equal(err.param, param);
    assert_null(s);
}

static void
test_wrong_options_are_named(void **state)
{
    (void)state;
#define ASHA(more) "{\"metric\": \"m\", \"mode\": \"max\"" more "}"
    expect_fail("fifo", "{\"max_t\": 3}", CT_EINVAL, "max_t");
    expect_fail("fifo", "[]", CT_ETYPE, "options");
    expect_fail("async_hyperband", ASHA(", \"maxt\": 3"), CT_EINVAL, "maxt");
    expect_fail("async_hyperband", ASHA(", \"max_t\": \"3\""), CT_ETYPE, "max_t");
    expect_fail("async_hyperband", ASHA(", \"max_t\": -3"), CT_EINVAL, "max_t");
    expect_fail("async_hyperband", ASHA(", \"brackets\": 1.5"), CT_EINVAL, "brackets");
    expect_fail("async_hyperband", ASHA(", \"stop_last_trials\": 1"), CT_ETYPE,
                "stop_last_trials");
    expect_fail("async_hyperband", ASHA(", \"time_attr\": 1"), CT_ETYPE, "time_attr");
    expect_fail("async_hyperband", "{\"mode\": \"max\"}", CT_ETYPE, "metric");
    expect_fail("async_hyperband", "{\"metric\": \"m\"}", CT_EINVAL, "mode");
    expect_fail("async_hyperband", "{\"metric\": \"m\", \"mode\": \"maximum\"}",
                CT_EINVAL, "mode");
#undef ASHA
}

static ct_status
registry_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_scheduler *s = NULL;
    ct_status st =
        create("async_hyperband", "{\"metric\": \"m\", \"mode\": \"max\"}", &s, err);
    if (st == CT_OK) {
        s->ops->free(s);
    }
    return st;
}

static void
test_the_registry_leaks_nothing_when_memory_runs_out(void **state)
{
    (void)state;
    sweep_allocations(registry_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_aliases_make_their_scheduler_in_any_case),
        cmocka_unit_test(test_an_unknown_name_gets_the_nearest_known_one),
        cmocka_unit_test(test_wrong_options_are_named),
        cmocka_unit_test(test_the_registry_leaks_nothing_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
