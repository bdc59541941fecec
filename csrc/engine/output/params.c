/* params.c: params.json, and what a failure leaves: error.txt and error.pkl. */
#include "output/output_int.h"

#include "base/json.h"
#include "os/file.h"

#include <time.h>

ct_status
output_path(ct_buf *out, const char *dir, const char *name, ct_err *err)
{
    ct_buf_clear(out);
    ct_status st = ct_buf_printf(out, err, "%s/%s", dir, name);
    return st == CT_OK ? ct_buf_terminate(out, err) : st;
}

ct_status
params_write(const char *dir, const ct_value *config, const ct_names *names,
             ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_buf text = CT_BUF_INIT;
    ct_status st =
        ct_json_print(&text, config, names, CT_JSON_SORTED | CT_JSON_INDENT, err);
    if (st == CT_OK) {
        st = output_path(&path, dir, "params.json", err);
    }
    if (st == CT_OK) {
        st = ct_file_replace((const char *)path.data, text.data, text.len, false, err);
    }
    ct_buf_deinit(&path);
    ct_buf_deinit(&text);
    return st;
}

static ct_status
failure_text(ct_buf *out, const ct_note *n, ct_err *err)
{
    char date[32] = "";
    struct tm parts;
    time_t second = (time_t)n->time;
    if (localtime_r(&second, &parts) != NULL) {
        (void)strftime(date, sizeof date, "%Y-%m-%d_%H-%M-%S", &parts);
    }
    ct_status st =
        ct_buf_printf(out, err, "Failure # %d (occurred at %s)\n", n->code, date);
    if (st == CT_OK) {
        st = ct_buf_put(out, n->text, n->text_len, err);
    }
    return st == CT_OK ? ct_buf_put_u8(out, '\n', err) : st;
}

ct_status
failure_write(const char *dir, const ct_note *n, ct_err *err)
{
    ct_buf path = CT_BUF_INIT;
    ct_buf text = CT_BUF_INIT;
    ct_file file = CT_FILE_INIT;
    ct_status st = ct_dir_make(dir, NULL, err);
    if (st == CT_OK) {
        st = failure_text(&text, n, err);
    }
    if (st == CT_OK) {
        st = output_path(&path, dir, "error.txt", err);
    }
    if (st == CT_OK) {
        st = ct_file_open_append(&file, (const char *)path.data, err);
    }
    if (st == CT_OK) {
        st = ct_file_append(&file, text.data, text.len, err);
    }
    if (st == CT_OK && n->blob != NULL) {
        st = output_path(&path, dir, "error.pkl", err);
        if (st == CT_OK) {
            st = ct_file_replace((const char *)path.data, n->blob, n->blob_len, false,
                                 err);
        }
    }
    ct_file_close(&file);
    ct_buf_deinit(&path);
    ct_buf_deinit(&text);
    return st;
}
