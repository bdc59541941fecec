/* test_base_clock.c: the virtual clock. */
#include "support.h"

#include "base/clock.h"

static void
test_virtual_clock_stands_still_until_it_is_set(void **state)
{
    (void)state;
    ct_virtual_clock v;
    ct_virtual_clock_init(&v, 100.5);
    ct_clock *c = &v.clock;
    assert_true(c->now(c) == 100.5);
    assert_true(c->mono(c) == 100.5);
    v.time += 2.0;
    assert_true(c->now(c) == 102.5);
    assert_true(c->mono(c) == 102.5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_virtual_clock_stands_still_until_it_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
