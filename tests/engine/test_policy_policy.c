/* Verdict names and suggestions. */
#include "support.h"

#include "policy/policy.h"

static void
test_every_verdict_has_the_documented_name(void **state)
{
    (void)state;
    assert_string_equal(ct_verdict_name(CT_CONTINUE), "CONTINUE");
    assert_string_equal(ct_verdict_name(CT_PAUSE), "PAUSE");
    assert_string_equal(ct_verdict_name(CT_STOP), "STOP");
    assert_string_equal(ct_verdict_name(CT_NOOP), "NOOP");
}

static ct_status
suggestion_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_suggestion s = {NULL, NULL, ct_dict(), ct_dict()};
    ct_value item = ct_nil();
    ct_status st = CT_OK;
    s.id = ct_strndup("a1b2c_00000", 11);
    s.tag = ct_strndup("0_lr=0.1", 8);
    if (s.id == NULL || s.tag == NULL) {
        st = ct_fail_mem(err);
    }
    if (st == CT_OK) {
        st = ct_str(&item, "text", 4, err);
    }
    if (st == CT_OK) {
        st = ct_value_put(&s.config, 0, &item, err);
    }
    ct_suggestion_deinit(&s);
    ct_suggestion_deinit(&s); /* harmless the second time */
    return st;
}

static void
test_a_suggestion_gives_back_all_it_owns(void **state)
{
    (void)state;
    sweep_allocations(suggestion_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_verdict_has_the_documented_name),
        cmocka_unit_test(test_a_suggestion_gives_back_all_it_owns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
