/* duck.c: see duck.h. */
#include "duck.h"

int
pyct_call_done(PyObject *returned)
{
    Py_XDECREF(returned);
    return returned != NULL ? 0 : -1;
}

/* controller.method(trial, keyword=value) */
static PyObject *
call(PyObject *controller, PyObject *method, PyObject *trial, PyObject *keyword,
     PyObject *value)
{
    PyObject *named = PyTuple_Pack(1, keyword);
    PyObject *args[] = {controller, trial, value};
    PyObject *out =
        named != NULL ? PyObject_VectorcallMethod(method, args, 2, named) : NULL;
    Py_XDECREF(named);
    return out;
}

PyObject *
pyct_duck_save(pyct_state *state, PyObject *controller, PyObject *trial,
               PyObject *result)
{
    return call(controller, state->str.schedule_trial_save, trial, state->str.result,
                result);
}

int
pyct_duck_pause(pyct_state *state, PyObject *controller, PyObject *trial)
{
    return pyct_call_done(call(controller, state->str.pause_trial, trial,
                               state->str.should_checkpoint, Py_False));
}

int
pyct_duck_set_latest(pyct_state *state, PyObject *trial, PyObject *latest)
{
    PyObject *metadata = PyObject_GetAttr(trial, state->str.run_metadata);
    PyObject *manager = metadata != NULL
                            ? PyObject_GetAttr(metadata, state->str.checkpoint_manager)
                            : NULL;
    Py_XDECREF(metadata);
    if (manager == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear(); /* it keeps none */
        return 0;
    }
    int st = PyObject_SetAttr(manager, state->str.latest_checkpoint_result, latest);
    Py_DECREF(manager);
    return st;
}

int
pyct_duck_set_checkpoint(pyct_state *state, PyObject *trial, PyObject *checkpoint,
                         PyObject *metrics)
{
    PyObject *make =
        pyct_lazy(&state->training_result, "ctune._checkpoint", "TrainingResult");
    PyObject *latest =
        make != NULL ? PyObject_CallFunctionObjArgs(make, checkpoint, metrics, NULL)
                     : NULL;
    int st = latest != NULL ? pyct_duck_set_latest(state, trial, latest) : -1;
    Py_XDECREF(latest);
    return st;
}
