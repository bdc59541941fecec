/* repair.c: repair(directory, dry): journal/repair as a function. */
#include "errors.h"
#include "types.h"

#include "journal/journal.h"

static ct_status
tell(void *ctx, const ct_repair_file *f, ct_err *err)
{
    static const char *const kinds[] = {
        [CT_REPAIR_WHOLE] = "whole",       [CT_REPAIR_HEADER] = "header",
        [CT_REPAIR_CUT] = "cut",           [CT_REPAIR_ASIDE] = "aside",
        [CT_REPAIR_SNAPSHOT] = "snapshot", [CT_REPAIR_MISSING] = "missing"};
    PyObject *item = Py_BuildValue(
        "{ss,ss,sz,ss,sK,sK,sK,sK,sK,sK}", "kind", kinds[f->kind], "path", f->path,
        "backup", f->backup, "why", f->why, "kept", (unsigned long long)f->kept,
        "dropped", (unsigned long long)f->dropped, "turns_kept",
        (unsigned long long)f->turns_kept, "events_kept",
        (unsigned long long)f->events_kept, "turns_dropped",
        (unsigned long long)f->turns_dropped, "events_dropped",
        (unsigned long long)f->events_dropped);
    int bad = item == NULL ? -1 : PyList_Append(ctx, item);

    Py_XDECREF(item);
    return bad < 0 ? pyct_foreign(err) : CT_OK;
}

static PyObject *
repair(PyObject *module, PyObject *const *args, Py_ssize_t n)
{
    ct_err err = CT_ERR_INIT;
    size_t changed;

    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "repair takes 2 arguments, got %zd", n);
    }
    const char *directory = PyUnicode_AsUTF8(args[0]);
    int dry = directory == NULL ? -1 : PyObject_IsTrue(args[1]);
    PyObject *out = dry < 0 ? NULL : PyList_New(0);
    if (out != NULL &&
        ct_journal_repair(directory, dry != 0, tell, out, &changed, &err) != CT_OK) {
        Py_CLEAR(out);
        return pyct_raise(pyct_state_of_module(module), &err);
    }
    return out;
}

static PyMethodDef functions[] = {
    {"repair", PYCT_METHOD(repair), METH_FASTCALL,
     "repair($module, directory, dry, /)\n--\n\n"
     "Keep what recovery can use of the journal in a directory whose lock is held; a "
     "list of dicts says what was done to each file, or would be."},
    {NULL, NULL, 0, NULL},
};

int
pyct_repair_add(PyObject *module, pyct_state *state)
{
    (void)state;
    return PyModule_AddFunctions(module, functions);
}
