/* key.c: looking up a metric by the text of its key. */
#include "stop/key.h"

#include "base/mem.h"

ct_status
ct_stop_key_init(ct_stop_key *k, const char *text, size_t len, ct_err *err)
{
    if (len == 0) {
        return ct_fail(err, CT_EINVAL, "stop", "a stop condition has an empty key");
    }
    *k = (ct_stop_key){ct_strndup(text, len), len, NULL, CT_NAME_NONE};
    return k->text != NULL ? CT_OK : ct_fail_mem(err);
}

void
ct_stop_key_deinit(ct_stop_key *k)
{
    ct_free(k->text);
    k->text = NULL;
}

bool
ct_stop_key_get(ct_stop_key *k, const ct_board *b, const ct_result *r, double *out)
{
    if (k->names != b->names) {
        k->names = b->names;
        k->name = CT_NAME_NONE;
    }
    if (k->name == CT_NAME_NONE) {
        k->name = ct_names_find(b->names, k->text, k->len);
    }
    return k->name != CT_NAME_NONE && ct_result_get(r, k->name, out);
}

/* Other than numbers, a record may hold the key with a value that cannot be compared. */
ct_status
ct_stop_key_fail(const ct_stop_key *k, const ct_board *b, const ct_result *r,
                 ct_err *err)
{
    if (r->record != NULL && k->name != CT_NAME_NONE &&
        ct_record_find(r->record, k->name) != NULL) {
        return ct_fail(
            err, CT_ETUNE, k->text,
            "is the key of a stop condition and must be a number, but the result holds "
            "another kind of value; report a number");
    }
    ct_buf keys = CT_BUF_INIT;
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < r->count; i++) {
        st = ct_buf_printf(&keys, err, "%s%s", i > 0 ? ", " : "",
                           ct_names_text(b->names, r->items[i].name));
    }
    if (st == CT_OK) {
        st = ct_buf_terminate(&keys, err);
    }
    if (st == CT_OK) {
        st = ct_fail(
            err, CT_ETUNE, k->text,
            "is the key of a stop condition, but is not in the result; report it with "
            "every result or correct its name. Its numbers are: %s",
            r->count > 0 ? (const char *)keys.data : "none");
    }
    ct_buf_deinit(&keys);
    return st;
}
