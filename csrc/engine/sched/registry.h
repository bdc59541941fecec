/* registry.h: native schedulers by name.
 *
 * The names are those of the documented create_scheduler(). A name that is documented but
 * has no native constructor yet is told apart from one that does not exist. */
#ifndef CT_SCHED_REGISTRY_H
#define CT_SCHED_REGISTRY_H

#include "base/rng.h"
#include "policy/policy.h"

/* Makes a scheduler. `name` is not case-sensitive and may be an alias; `options` is a dict
 * of the constructor's arguments in the documented words, or nil: what is left out has its
 * default (metric and mode have none). Names of metrics are interned in `names`; `rng` is
 * borrowed and needed by async_hyperband only. Errors: CT_ENOTFOUND for an unknown name,
 * with the nearest known one; CT_EUNSUPPORTED for a documented name without constructor;
 * CT_EINVAL or CT_ETYPE naming the option. */
ct_status ct_sched_create(ct_scheduler **out, const char *name, const ct_value *options,
                          ct_names *names, ct_rng *rng, ct_err *err);
/* The canonical name behind a name or alias ("async_hyperband"), or NULL. */
const char *ct_sched_canonical(const char *name);
/* The known name with the fewest edits to this text (ties: the first listed). */
const char *ct_sched_nearest(const char *name);

#endif
