/* messages.h: commands and events as Python objects, for TrialHost and for executors that
 * are written in Python. */
#ifndef CT_BINDING_MESSAGES_H
#define CT_BINDING_MESSAGES_H

#include "convert.h"

#include "flow/command.h"
#include "flow/event.h"

/* A new _ctune.Command with the command's fields as attributes. */
PyObject *pyct_command_new(pyct_state *state, pyct_names *names, const ct_command *c);

/* Fills *ev from a _ctune.Event. What it points to lives as long as `event` and *rec
 * (which is replaced when the event has a result). A trial or serial of the event that is
 * None leaves those of *ev alone. -1 with an exception set. */
int pyct_event_fill(pyct_state *state, pyct_names *names, PyObject *event, ct_event *ev,
                    ct_record *rec);

#endif
