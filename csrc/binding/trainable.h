/* trainable.h: the C base of Trainable: counters, automatic keys, one step as a record. */
#ifndef CT_BINDING_TRAINABLE_H
#define CT_BINDING_TRAINABLE_H

#include "convert.h"

/* Runs one iteration of a TrainableBase and replaces *rec with its result, automatic keys
 * included. Calls step() directly; train() only if a subclass overrides it (or
 * log_result). -1 with the user's exception set. */
int pyct_trainable_step(pyct_state *state, PyObject *trainable, pyct_names *names,
                        ct_record *rec);
/* Texts of this process, for STARTED events. */
const char *pyct_hostname(pyct_state *state);
const char *pyct_node_ip(pyct_state *state);

#endif
