/* simulation.h: _ctune.Simulation: workers that exist in virtual time only. */
#ifndef CT_BINDING_SIMULATION_H
#define CT_BINDING_SIMULATION_H

#include "convert.h"

#include "exec/sim.h"
#include "flow/note.h"

bool pyct_simulation_check(pyct_state *state, PyObject *object);
/* The executor behind a Simulation; it borrows the object, the names and the clock. One
 * run at a time. NULL with *err filled (CT_EFOREIGN: a Python exception is set). */
ct_exec *pyct_simulation_exec(PyObject *simulation, pyct_names *names,
                              ct_virtual_clock *clock, ct_err *err);
/* Takes a note of the run into the trace; without the GIL. */
ct_status pyct_simulation_note(PyObject *simulation, const ct_note *n, ct_err *err);

#endif
