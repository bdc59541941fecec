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
call(PyObject *controller, const char *method, PyObject *trial, const char *keyword,
     PyObject *value)
{
    PyObject *name = PyUnicode_FromString(method);
    PyObject *named = name != NULL ? Py_BuildValue("(s)", keyword) : NULL;
    PyObject *args[] = {controller, trial, value};
    PyObject *out =
        named != NULL ? PyObject_VectorcallMethod(name, args, 2, named) : NULL;
    Py_XDECREF(named);
    Py_XDECREF(name);
    return out;
}

PyObject *
pyct_duck_save(PyObject *controller, PyObject *trial, PyObject *result)
{
    return call(controller, "_schedule_trial_save", trial, "result", result);
}

int
pyct_duck_pause(PyObject *controller, PyObject *trial)
{
    return pyct_call_done(
        call(controller, "pause_trial", trial, "should_checkpoint", Py_False));
}

int
pyct_duck_set_latest(PyObject *trial, PyObject *latest)
{
    PyObject *metadata = PyObject_GetAttrString(trial, "run_metadata");
    PyObject *manager = metadata != NULL
                            ? PyObject_GetAttrString(metadata, "checkpoint_manager")
                            : NULL;
    Py_XDECREF(metadata);
    if (manager == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear(); /* it keeps none */
        return 0;
    }
    int st = PyObject_SetAttrString(manager, "_latest_checkpoint_result", latest);
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
    int st = latest != NULL ? pyct_duck_set_latest(trial, latest) : -1;
    Py_XDECREF(latest);
    return st;
}
