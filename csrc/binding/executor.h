/* executor.h: executors of a run: process pools, and objects written in Python. */
#ifndef CT_BINDING_EXECUTOR_H
#define CT_BINDING_EXECUTOR_H

#include "convert.h"

#include "exec/exec.h"

/* Makes a process pool from a dict: argv (list of str), env (dict of str), payload (bytes),
 * start_timeout (float). NULL with *err filled. */
ct_exec *pyct_process_executor(pyct_state *state, PyObject *options, pyct_names *names,
                               ct_err *err);
/* Lets an object with the methods of ctune.execution.Executor stand in for an executor.
 * Each function takes the GIL itself. NULL with *err filled. */
ct_exec *pyct_executor_adapter(pyct_state *state, PyObject *executor, pyct_names *names,
                               ct_err *err);

#endif
