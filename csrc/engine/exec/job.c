/* job.c: a command that outlives its borrowed pointers. See exec_int.h. */
#include "exec/exec_int.h"

#include <string.h>

void
ct_job_clear(ct_job *j)
{
    ct_value_deinit(&j->config);
    ct_value_deinit(&j->resources);
    ct_buf_clear(&j->text);
}

void
ct_job_deinit(ct_job *j)
{
    ct_job_clear(j);
    ct_buf_deinit(&j->text);
}

/* Room for all texts is reserved before: pointers into the buffer stay valid. */
static ct_status
job_keep_text(ct_job *j, const char **text, ct_err *err)
{
    if (*text == NULL) {
        return CT_OK;
    }
    size_t at = j->text.len;
    ct_status st = ct_buf_put(&j->text, *text, strlen(*text) + 1, err);
    if (st == CT_OK) {
        *text = (const char *)j->text.data + at;
    }
    return st;
}

static ct_status
job_keep_value(ct_value *own, const ct_value **value, ct_err *err)
{
    if (*value == NULL) {
        return CT_OK;
    }
    ct_status st = ct_value_copy(own, *value, err);
    if (st == CT_OK) {
        *value = own;
    }
    return st;
}

ct_status
ct_job_set(ct_job *j, const ct_command *c, ct_err *err)
{
    ct_job_clear(j);
    j->command = *c;
    ct_command *own = &j->command;
    const char **texts[] = {&own->checkpoint, &own->trial_id,   &own->trial_name,
                            &own->trial_dir,  &own->experiment, &own->trainable};
    size_t need = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        need += *texts[i] != NULL ? strlen(*texts[i]) + 1 : 0;
    }
    ct_status st = need > 0 ? ct_buf_reserve(&j->text, need, err) : CT_OK;
    for (size_t i = 0; st == CT_OK && i < sizeof texts / sizeof texts[0]; i++) {
        st = job_keep_text(j, texts[i], err);
    }
    if (st == CT_OK) {
        st = job_keep_value(&j->config, &own->config, err);
    }
    if (st == CT_OK) {
        st = job_keep_value(&j->resources, &own->resources, err);
    }
    if (st != CT_OK) {
        ct_job_clear(j);
    }
    return st;
}
