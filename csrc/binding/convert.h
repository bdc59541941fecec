/* convert.h: Python object <-> ct_value and ct_record, and names <-> str. */
#ifndef CT_BINDING_CONVERT_H
#define CT_BINDING_CONVERT_H

#include "state.h"

#include "base/record.h"
#include "base/value.h"

/* A name table of the engine with the str objects of its names, both ways. Interned str
 * objects (keys written in source) are found by address. */
typedef struct pyct_names pyct_names;

/* Makes a table that begins with base/keys.h. NULL with an exception set. */
pyct_names *pyct_names_new(pyct_state *state);
void pyct_names_free(pyct_names *n);
ct_names *pyct_names_table(pyct_names *n); /* borrowed */
/* The name of a str. -1 with an exception set (not a str, not UTF-8, memory). */
int pyct_name_of(pyct_names *n, PyObject *text, ct_name *out);
/* The UTF-8 of a str, borrowed. NULL: a ValueError says what stands in the way. */
const char *pyct_utf8(PyObject *str, Py_ssize_t *len);
/* The str of a name: borrowed, cached. NULL with an exception set. */
PyObject *pyct_name_text(pyct_names *n, ct_name name);
int pyct_names_visit(pyct_names *n, visitproc visit, void *arg);

/* Anything -> value. Leaves that are not None, bool, int, float, str, list, tuple or dict
 * with str keys become CT_REF, as do ints beyond int64 and dicts with other keys; NumPy
 * scalars become numbers. -1 with an exception set; *out is nil then. */
int pyct_value_from_object(pyct_state *state, pyct_names *n, PyObject *object,
                           ct_value *out);
/* Value -> new object (list, tuple, dict; refs give their object). NULL with exception. */
PyObject *pyct_value_to_object(pyct_state *state, pyct_names *n, const ct_value *v);

/* Appends the entries of a result dict to the record, in order. Keys that are not str are
 * turned into str. -1 with an exception set. */
int pyct_record_put_dict(pyct_state *state, pyct_names *n, ct_record *r,
                         PyObject *dict);
/* The result as a new dict. `config` (borrowed, may be NULL = leave the key out) stands
 * for CT_FIELD_CONFIG. flat: nested dicts (config too) become "a/b" keys behind the plain
 * ones; a literal key of that name wins. */
PyObject *pyct_record_to_dict(pyct_state *state, pyct_names *n, const ct_record *r,
                              PyObject *config, bool flat);

/* True when NumPy is imported and o is one of its scalars; then *out is the Python number
 * (new reference). -1 on error. */
int pyct_numpy_scalar(PyObject *o, PyObject **out);

#endif
