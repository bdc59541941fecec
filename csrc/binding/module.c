/* module.c: the extension module ctune._ctune: its slots and what it is made of. */
#include "state.h"

#include "convert.h"
#include "guard.h"
#include "types.h"

pyct_state *
pyct_state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

/* Walks the bases, since a Python subclass is not one of our types itself. (The public
 * PyType_GetModuleByDef does this from 3.11 on.) */
pyct_state *
pyct_state_of(PyObject *self)
{
    for (PyTypeObject *t = Py_TYPE(self); t != NULL; t = t->tp_base) {
        if (PyType_HasFeature(t, Py_TPFLAGS_HEAPTYPE)) {
            PyObject *module = ((PyHeapTypeObject *)t)->ht_module;
            if (module != NULL && PyModule_GetDef(module) == &pyct_module) {
                return PyModule_GetState(module);
            }
        }
    }
    Py_FatalError("ctune._ctune: an object of a foreign type reached a method of ours");
}

int
pyct_add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec,
              PyTypeObject *base)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    return *slot == NULL ? -1 : PyModule_AddType(module, *slot);
}

PyObject *
pyct_lazy(PyObject **slot, const char *module, const char *attribute)
{
    if (*slot == NULL) {
        PyObject *m = PyImport_ImportModule(module);
        *slot = m == NULL ? NULL : PyObject_GetAttrString(m, attribute);
        Py_XDECREF(m);
    }
    return *slot;
}

static int
intern_strings(pyct_state *state)
{
#define PYCT_INTERN(field, text)                                                       \
    state->str.field = PyUnicode_InternFromString(text);                               \
    if (state->str.field == NULL) {                                                    \
        return -1;                                                                     \
    }
    PYCT_STRING_LIST(PYCT_INTERN)
#undef PYCT_INTERN
    return 0;
}

static int
module_exec(PyObject *module)
{
    static int (*const adders[])(PyObject *, pyct_state *) = {PYCT_ADDERS};
    pyct_state *state = pyct_state_of_module(module);

    state->guard = pyct_guard_new();
    if (state->guard == NULL || intern_strings(state) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof adders / sizeof adders[0]; i++) {
        if (adders[i](module, state) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    pyct_state *state = pyct_state_of_module(module);

#define PYCT_VISIT(field) Py_VISIT(state->field);
    PYCT_TYPE_LIST(PYCT_VISIT)
    PYCT_OBJECT_LIST(PYCT_VISIT)
#undef PYCT_VISIT
    return 0;
}

static int
module_clear(PyObject *module)
{
    pyct_state *state = pyct_state_of_module(module);

#define PYCT_CLEAR(field) Py_CLEAR(state->field);
    PYCT_TYPE_LIST(PYCT_CLEAR)
    PYCT_OBJECT_LIST(PYCT_CLEAR)
#undef PYCT_CLEAR
#define PYCT_CLEAR_STRING(field, text) Py_CLEAR(state->str.field);
    PYCT_STRING_LIST(PYCT_CLEAR_STRING)
#undef PYCT_CLEAR_STRING
    return 0;
}

static void
module_free(void *module)
{
    pyct_state *state = pyct_state_of_module(module);

    module_clear(module);
    pyct_names_free(state->names);
    state->names = NULL;
    pyct_guard_release(state->guard);
    state->guard = NULL;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, PYCT_SLOT(module_exec)},
#if PY_VERSION_HEX >= 0x030C0000
    /* NumPy's API table is one per process. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

PyModuleDef pyct_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "ctune._ctune",
    .m_doc = "The C engine of ctune.",
    .m_size = sizeof(pyct_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__ctune(void)
{
    return PyModuleDef_Init(&pyct_module);
}
