/* exec_int.h: what the executors of this room share. */
#ifndef CT_EXEC_EXEC_INT_H
#define CT_EXEC_EXEC_INT_H

#include "base/bytes.h"
#include "flow/command.h"

/* A command with its own copy of what it points to. Reused for the next one, so that
 * commands without a config (STEP) allocate nothing. */
typedef struct ct_job {
    ct_command command; /* points into the fields below */
    ct_value config;
    ct_value resources;
    ct_buf text; /* all texts, each with its NUL */
} ct_job;

/* Zeroed memory is an empty job. On failure the job is empty again. */
ct_status ct_job_set(ct_job *j, const ct_command *c, ct_err *err);
void ct_job_clear(ct_job *j);  /* keeps the memory of texts */
void ct_job_deinit(ct_job *j);

#endif
