/* controller.c: _ctune.Controller, what a Python scheduler sees of a run: it lists trials
 * and queues orders. */
#include "driver_int.h"
#include "errors.h"
#include "types.h"

typedef struct pyct_controller {
    PyObject_HEAD
    PyObject *driver; /* pyct_driver, strong; NULL after clear */
} pyct_controller;

PyObject *
pyct_driver_controller(PyObject *driver)
{
    pyct_driver *d = (pyct_driver *)driver;

    if (d->controller == NULL) {
        PyTypeObject *type = d->state->controller_type;
        pyct_controller *self = (pyct_controller *)type->tp_alloc(type, 0);
        if (self == NULL) {
            return NULL;
        }
        self->driver = Py_NewRef(driver);
        d->controller = (PyObject *)self;
    }
    return Py_NewRef(d->controller);
}

bool
pyct_controller_run(pyct_state *state, PyObject *controller, PyObject **driver,
                    const ct_board **board, ct_orders **orders)
{
    if (!Py_IS_TYPE(controller, state->controller_type) ||
        ((pyct_controller *)controller)->driver == NULL) {
        return false;
    }
    *driver = ((pyct_controller *)controller)->driver;
    *board = pyct_driver_board((pyct_driver *)*driver);
    *orders = ((pyct_driver *)*driver)->orders;
    return true;
}

static int
controller_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((pyct_controller *)op)->driver);
    return 0;
}

static int
controller_clear(PyObject *op)
{
    Py_CLEAR(((pyct_controller *)op)->driver);
    return 0;
}

static void
controller_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    controller_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
controller_get_trials(PyObject *op, PyObject *ignored)
{
    PyObject *all = pyct_driver_trials(((pyct_controller *)op)->driver);
    PyObject *copy = all == NULL ? NULL : PyList_GetSlice(all, 0, PyList_GET_SIZE(all));

    (void)ignored;
    Py_XDECREF(all);
    return copy;
}

static PyObject *
controller_get_live_trials(PyObject *op, PyObject *ignored)
{
    PyObject *driver = ((pyct_controller *)op)->driver;
    const ct_trials *trials = pyct_driver_board((pyct_driver *)driver)->trials;
    PyObject *out = PyList_New(0);

    (void)ignored;
    for (ct_trial_id t = 0; out != NULL && t < ct_trials_count(trials); t++) {
        uint8_t s = ct_trials_get(trials, t)->status;
        if (s == CT_TRIAL_TERMINATED || s == CT_TRIAL_ERROR) {
            continue;
        }
        PyObject *trial = pyct_driver_trial(driver, t);
        if (trial == NULL || PyList_Append(out, trial) < 0) {
            Py_CLEAR(out);
        }
        Py_XDECREF(trial);
    }
    return out;
}

static PyObject *
order(PyObject *op, ct_order_kind kind, PyObject *trial, bool checkpoint)
{
    pyct_driver *driver = (pyct_driver *)((pyct_controller *)op)->driver;
    ct_err err = CT_ERR_INIT;
    ct_trial_id t;

    if (driver->orders == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "trials can be stopped and paused only while the scheduler is "
                        "asked something");
        return NULL;
    }
    if (pyct_driver_trial_number((PyObject *)driver, trial, &t) < 0) {
        return NULL;
    }
    if (ct_orders_add(driver->orders, kind, t, checkpoint, NULL, &err) != CT_OK) {
        return pyct_raise(driver->state, &err);
    }
    Py_RETURN_NONE;
}

/* amounts: dict name -> number, as a request has them. */
int
pyct_driver_resize(PyObject *op, ct_trial_id t, PyObject *amounts)
{
    pyct_driver *driver = (pyct_driver *)op;
    ct_err err = CT_ERR_INIT;
    ct_value value = ct_nil();

    if (driver->orders == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "resources can be changed only while the scheduler is asked "
                        "something");
        return -1;
    }
    int st = pyct_value_from_object(driver->state, driver->names, amounts, &value);
    if (st == 0 && ct_orders_add(driver->orders, CT_ORDER_RESIZE, t, false, &value,
                                 &err) != CT_OK) {
        (void)pyct_raise(driver->state, &err);
        st = -1;
    }
    ct_value_deinit(&value);
    return st;
}

/* resize_trial(trial, resources) */
static PyObject *
controller_resize_trial(PyObject *op, PyObject *const *args, Py_ssize_t n)
{
    PyObject *driver = ((pyct_controller *)op)->driver;
    ct_trial_id t;

    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "resize_trial takes 2 arguments, got %zd",
                            n);
    }
    if (pyct_driver_trial_number(driver, args[0], &t) < 0) {
        return NULL;
    }
    PyObject *helper = pyct_lazy(&((pyct_driver *)driver)->state->amounts,
                                 "ctune._plan", "request_amounts");
    PyObject *amounts = helper != NULL
                            ? PyObject_CallFunction(helper, "Os", args[1], "resources")
                            : NULL;
    int st = amounts != NULL ? pyct_driver_resize(driver, t, amounts) : -1;
    Py_XDECREF(amounts);
    return st == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *
controller_stop_trial(PyObject *op, PyObject *trial)
{
    return order(op, CT_ORDER_STOP, trial, false);
}

/* pause_trial(trial, should_checkpoint=True), either by keyword. */
static PyObject *
controller_pause_trial(PyObject *op, PyObject *const *args, Py_ssize_t n,
                       PyObject *kwnames)
{
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    PyObject *given[2] = {NULL, Py_True};

    if (n + named < 1 || n + named > 2) {
        return PyErr_Format(PyExc_TypeError,
                            "pause_trial takes 1 or 2 arguments, got %zd", n + named);
    }
    for (Py_ssize_t i = 0; i < n + named; i++) {
        PyObject *name = i < n ? NULL : PyTuple_GET_ITEM(kwnames, i - n);
        bool second =
            name == NULL
                ? i == 1
                : PyUnicode_CompareWithASCIIString(name, "should_checkpoint") == 0;
        if (name != NULL && !second &&
            PyUnicode_CompareWithASCIIString(name, "trial") != 0) {
            return PyErr_Format(PyExc_TypeError, "pause_trial has no argument %R",
                                name);
        }
        given[second] = args[i];
    }
    if (given[0] == NULL) {
        PyErr_SetString(PyExc_TypeError, "pause_trial: the argument trial is missing");
        return NULL;
    }
    int checkpoint = PyObject_IsTrue(given[1]);
    return checkpoint < 0 ? NULL : order(op, CT_ORDER_PAUSE, given[0], checkpoint == 1);
}

static PyObject *
controller_unpause_trial(PyObject *op, PyObject *trial)
{
    return order(op, CT_ORDER_UNPAUSE, trial, false);
}

static PyObject *
get_search_alg(PyObject *op, void *closure)
{
    PyObject *searcher = ((pyct_driver *)((pyct_controller *)op)->driver)->searcher;

    (void)closure;
    return Py_NewRef(searcher == NULL ? Py_None : searcher);
}

static PyObject *
total_of(PyObject *op, PyObject *resource)
{
    pyct_driver *driver = (pyct_driver *)((pyct_controller *)op)->driver;
    Py_ssize_t len;
    const char *utf8 = PyUnicode_AsUTF8AndSize(resource, &len);

    if (utf8 == NULL) {
        return NULL;
    }
    ct_name name = ct_names_find(pyct_names_table(driver->names), utf8, (size_t)len);
    return PyFloat_FromDouble(
        name == CT_NAME_NONE
            ? 0.0
            : ct_resources_total(pyct_driver_board(driver)->resources, name));
}

static PyObject *
controller_get_num_cpus(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    return total_of(op, pyct_state_of(op)->str.CPU);
}

static PyObject *
controller_get_num_gpus(PyObject *op, PyObject *ignored)
{
    (void)ignored;
    return total_of(op, pyct_state_of(op)->str.GPU);
}

/* Existing schedulers ask a second object for the machine's totals. */
static PyObject *
get_resource_updater(PyObject *op, void *closure)
{
    (void)closure;
    return Py_NewRef(op);
}

static PyGetSetDef controller_getset[] = {
    {"search_alg", get_search_alg, NULL, "The run's search algorithm.", NULL},
    {"_resource_updater", get_resource_updater, NULL,
     "Has get_num_cpus() and get_num_gpus(): the controller itself.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef controller_methods[] = {
    {"get_trials", controller_get_trials, METH_NOARGS,
     "get_trials($self, /)\n--\n\n"
     "list of all trials, in table order."},
    {"get_live_trials", controller_get_live_trials, METH_NOARGS,
     "get_live_trials($self, /)\n--\n\n"
     "list of trials that have not ended."},
    {"get_num_cpus", controller_get_num_cpus, METH_NOARGS,
     "get_num_cpus($self, /)\n--\n\n"
     "CPUs that the run may use, held ones included."},
    {"get_num_gpus", controller_get_num_gpus, METH_NOARGS,
     "get_num_gpus($self, /)\n--\n\n"
     "GPUs that the run may use, held ones included."},
    {"stop_trial", controller_stop_trial, METH_O,
     "stop_trial($self, trial, /)\n--\n\n"
     "Order: stop the trial when this question is answered."},
    {"pause_trial", PYCT_METHOD(controller_pause_trial), METH_FASTCALL | METH_KEYWORDS,
     "pause_trial($self, trial, should_checkpoint=True)\n--\n\n"
     "Order: pause a running trial at "
     "its next result."},
    {"resize_trial", PYCT_METHOD(controller_resize_trial), METH_FASTCALL,
     "resize_trial($self, trial, resources, /)\n--\n\n"
     "Order: give a trial that does not run other resources."},
    {"unpause_trial", controller_unpause_trial, METH_O,
     "unpause_trial($self, trial, /)\n--\n\n"
     "Order: let a paused trial run again."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot controller_slots[] = {
    {Py_tp_dealloc, PYCT_SLOT(controller_dealloc)},
    {Py_tp_traverse, PYCT_SLOT(controller_traverse)},
    {Py_tp_clear, PYCT_SLOT(controller_clear)},
    {Py_tp_methods, controller_methods},
    {Py_tp_getset, controller_getset},
    {Py_tp_doc, "What a scheduler sees of a run: lists of trials, and orders."},
    {0, NULL},
};

static PyType_Spec controller_spec = {
    .name = "ctune._ctune.Controller",
    .basicsize = sizeof(pyct_controller),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = controller_slots,
};

int
pyct_controller_add(PyObject *module, pyct_state *state)
{
    return pyct_add_type(module, &state->controller_type, &controller_spec, NULL);
}
