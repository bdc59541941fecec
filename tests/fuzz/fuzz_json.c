/* fuzz_json.c: JSON text. What is accepted prints to a text that reads back equal. */
#include "fuzz.h"

#include "base/json.h"

#include <string.h>

ct_status
fuzz_seed(ct_buf *out, unsigned i, ct_err *err)
{
    static const char *const seeds[] = {
        "{\"a\": [1, -2.5, true, null, \"x\\u00e9\\n\"], \"b\": {\"c\": NaN}}",
        "[9223372036854775807, -9223372036854775808, 1e308, Infinity, -Infinity, 1e400]",
        "\"\\ud83d\\ude00 \\ud800 \xc3\xa9 \\u0000 \\u0001\"",
        "  [ [ ] , { } ] ",
    };
    if (i >= sizeof seeds / sizeof *seeds) {
        return ct_fail(err, CT_ENOTFOUND, "", "no more seeds");
    }
    return ct_buf_puts(out, seeds[i], err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_value v = ct_nil();
    ct_value again = ct_nil();
    ct_buf text = CT_BUF_INIT;
    ct_buf pretty = CT_BUF_INIT;
    FUZZ_CHECK(ct_names_new(&names, &err) == CT_OK);
    ct_status st = ct_json_parse(&v, (const char *)data, size, names, &err);
    if (st == CT_OK) {
        FUZZ_CHECK(ct_json_print(&text, &v, names, 0, &err) == CT_OK);
        FUZZ_CHECK(ct_json_parse(&again, (const char *)text.data, text.len, names,
                                 &err) == CT_OK);
        FUZZ_CHECK(ct_value_equal(&v, &again));
        FUZZ_CHECK(ct_json_print(&pretty, &again, names,
                                 CT_JSON_SORTED | CT_JSON_INDENT, &err) == CT_OK);
    } else {
        FUZZ_CHECK(v.kind == CT_NIL);
    }
    ct_value_deinit(&v);
    ct_value_deinit(&again);
    ct_buf_deinit(&text);
    ct_buf_deinit(&pretty);
    ct_names_free(names);
    return 0;
}
