/* keys.c: see keys.h. */
#include "base/keys.h"

#include <assert.h>
#include <string.h>

_Static_assert(CT_KEY_COUNT <= 64, "sets of keys are kept in one uint64_t");

ct_status
ct_keys_intern(ct_names *names, ct_err *err)
{
    static const char *const texts[CT_KEY_COUNT] = {
#define CT_KEY_TEXT(constant, text) text,
        CT_KEY_LIST(CT_KEY_TEXT)
#undef CT_KEY_TEXT
    };

    assert(ct_names_count(names) == 0);
    for (size_t i = 0; i < CT_KEY_COUNT; i++) {
        ct_name n;
        ct_status st = ct_names_intern(names, texts[i], strlen(texts[i]), &n, err);
        if (st != CT_OK) {
            return st;
        }
        assert(n == i);
    }
    return CT_OK;
}
