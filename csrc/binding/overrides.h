/* overrides.h: what Python subclasses and their objects add to a native type. */
#ifndef CT_BINDING_OVERRIDES_H
#define CT_BINDING_OVERRIDES_H

#include "state.h"

/* 1 when looking `name` up on the object finds something else than on the native type: a
 * method of a subclass, or an attribute put on the object. 0 if not; -1 with an exception. */
int pyct_overridden(PyObject *object, PyTypeObject *native, PyObject *name);

/* Whether the object has the attribute: 1 or 0; -1 with an exception, when looking it up
 * raised something else than AttributeError. */
int pyct_has(PyObject *object, PyObject *name);

/* A copy of the object's own attributes (empty when it has no __dict__). New, or NULL. */
PyObject *pyct_attributes(PyObject *object);
/* Sets them again. 0 or -1. */
int pyct_set_attributes(PyObject *object, PyObject *attributes);

#endif
