/* test_base_status.c: how failures are described. */
#include "support.h"

#include <errno.h>
#include <string.h>

static void
test_failure_keeps_code_parameter_and_text(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_status st = ct_fail(&err, CT_EINVAL, "eta", "must be above 1, got %g", 0.5);
    assert_int_equal(st, CT_EINVAL);
    assert_int_equal(err.code, CT_EINVAL);
    assert_string_equal(err.param, "eta");
    assert_string_equal(err.text, "must be above 1, got 0.5");
    assert_int_equal(err.os_errno, 0);
}

static void
test_failure_without_err_or_parameter_still_returns_its_code(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    assert_int_equal(ct_fail(NULL, CT_ETYPE, "x", "text"), CT_ETYPE);
    assert_int_equal(ct_fail_os(NULL, ENOENT, "x", "text"), CT_EIO);
    assert_int_equal(ct_fail_mem(NULL), CT_ENOMEM);
    assert_int_equal(ct_fail(&err, CT_ETYPE, NULL, "text"), CT_ETYPE);
    assert_string_equal(err.param, "");
}

static void
test_os_failure_adds_the_reason(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    assert_int_equal(ct_fail_os(&err, ENOENT, "a/b", "cannot open %s", "a/b"), CT_EIO);
    assert_int_equal(err.os_errno, ENOENT);
    assert_memory_equal(err.text, "cannot open a/b: ", 17);
    assert_string_equal(err.text + 17, strerror(ENOENT));
}

static void
test_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const chars[] = {"x", "\xC3\xA9", "\xE2\x82\xAC",
                                        "\xF0\x9F\x98\x80"};
    for (size_t k = 0; k < 4; k++) {
        size_t size = strlen(chars[k]);
        for (size_t shift = 0; shift < 4; shift++) {
            char text[1024] = "";
            memset(text, 'a', shift);
            size_t n = shift;
            while (n + size < sizeof text - 1) {
                memcpy(text + n, chars[k], size);
                n += size;
            }
            text[n] = '\0';
            ct_err err = CT_ERR_INIT;
            (void)ct_fail(&err, CT_EINVAL, text, "%s", text);
            size_t len = strlen(err.text);
            size_t param = strlen(err.param);
            assert_int_equal((len - shift) % size, 0);
            assert_int_equal((param - shift) % size, 0);
            assert_true(len + size > sizeof err.text - 1); /* nothing more was cut */
            assert_true(param + size > sizeof err.param - 1);
        }
    }
}

static void
test_every_code_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < CT_STATUS_COUNT; i++) {
        assert_memory_equal(ct_status_name((ct_status)i), "CT_", 3);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(ct_status_name((ct_status)i),
                                    ct_status_name((ct_status)j));
        }
    }
    assert_string_equal(ct_status_name(CT_ENOMEM), "CT_ENOMEM");
    assert_string_equal(ct_status_name(CT_STATUS_COUNT), "CT_UNKNOWN");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_keeps_code_parameter_and_text),
        cmocka_unit_test(test_failure_without_err_or_parameter_still_returns_its_code),
        cmocka_unit_test(test_os_failure_adds_the_reason),
        cmocka_unit_test(test_long_text_is_cut_between_characters),
        cmocka_unit_test(test_every_code_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
