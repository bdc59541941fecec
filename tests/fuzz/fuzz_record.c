/* fuzz_record.c: packed results. What is accepted can be walked, printed, flattened,
 * and packs to what reads back the same. */
#include "fuzz.h"

#include "base/record.h"
#include "output/output.h"

#include <string.h>

enum { NAMES = 8 };

static ct_status
make_names(ct_names **out, ct_err *err)
{
    ct_status st = ct_names_new(out, err);
    for (unsigned i = 0; st == CT_OK && i < NAMES; i++) {
        static const char *const texts[NAMES] = {"loss", "n",   "a/b",    "n/x",
                                                 "x",    "\"q", "config", ""};
        ct_name n = 0;
        st = ct_names_intern(*out, texts[i], strlen(texts[i]), &n, err);
    }
    return st;
}

ct_status
fuzz_seed(ct_buf *out, unsigned i, ct_err *err)
{
    ct_record r = CT_RECORD_INIT;
    ct_status st = i < 3 ? CT_OK : ct_fail(err, CT_ENOTFOUND, "", "no more seeds");
    if (st == CT_OK) {
        st = ct_record_f64(&r, 0, 0.5, err);
    }
    if (st == CT_OK && i > 0) {
        st = ct_record_open(&r, 1, CT_FIELD_DICT, err);
        st = st == CT_OK ? ct_record_i64(&r, 4, -7, err) : st;
        st = st == CT_OK ? ct_record_open(&r, 2, CT_FIELD_LIST, err) : st;
        st = st == CT_OK ? ct_record_str(&r, CT_NAME_NONE, "text", 4, err) : st;
        st = st == CT_OK ? ct_record_end(&r, err) : st;
        st = st == CT_OK ? ct_record_end(&r, err) : st;
    }
    if (st == CT_OK && i > 1) {
        st = ct_record_obj(&r, 5, "[1, 2]", 6, "pickle", 6, err);
        st = st == CT_OK ? ct_record_config(&r, 6, err) : st;
        st = st == CT_OK ? ct_record_bool(&r, 3, true, err) : st;
        st = st == CT_OK ? ct_record_nil(&r, 7, err) : st;
    }
    if (st == CT_OK) {
        st = ct_record_pack(&r, out, err);
    }
    ct_record_deinit(&r);
    return st;
}

static void
check_packs_again(const ct_record *r, ct_err *err)
{
    ct_buf first = CT_BUF_INIT;
    ct_buf second = CT_BUF_INIT;
    ct_record again = CT_RECORD_INIT;
    FUZZ_CHECK(ct_record_pack(r, &first, err) == CT_OK);
    ct_reader in = ct_reader_of(first.data, first.len);
    FUZZ_CHECK(ct_record_unpack(&again, &in, NULL, NAMES, err) == CT_OK);
    FUZZ_CHECK(in.at == first.len);
    FUZZ_CHECK(ct_record_pack(&again, &second, err) == CT_OK);
    FUZZ_CHECK(first.len == second.len &&
               memcmp(first.data, second.data, first.len) == 0);
    ct_record_deinit(&again);
    ct_buf_deinit(&first);
    ct_buf_deinit(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_output *output = NULL;
    ct_record r = CT_RECORD_INIT;
    ct_metrics_buf metrics = {NULL, 0, 0};
    ct_buf line = CT_BUF_INIT;
    const ct_output_opts opts = {true, true, false};
    FUZZ_CHECK(make_names(&names, &err) == CT_OK);
    ct_reader in = ct_reader_of(data, size);
    ct_status st = ct_record_unpack(&r, &in, NULL, NAMES, &err);
    FUZZ_CHECK(st == CT_OK || st == CT_ECORRUPT);
    if (st == CT_OK) {
        check_packs_again(&r, &err);
        FUZZ_CHECK(ct_record_metrics(&r, names, &metrics, &err) == CT_OK);
        FUZZ_CHECK(ct_output_new(&output, &opts, names, &err) == CT_OK);
        FUZZ_CHECK(ct_output_json_line(output, &line, &r, NULL, &err) == CT_OK);
    } else {
        FUZZ_CHECK(r.count == 0);
    }
    ct_buf_deinit(&line);
    ct_output_free(output);
    ct_metrics_buf_deinit(&metrics);
    ct_record_deinit(&r);
    ct_names_free(names);
    return 0;
}
