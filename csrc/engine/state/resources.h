/* resources.h: what the machine has and who holds it. Amounts are fixed point,
 * 1/10,000, so that fractions add up exactly. Requests are interned: most trials ask
 * the same. */
#ifndef CT_STATE_RESOURCES_H
#define CT_STATE_RESOURCES_H

#include "base/name.h"
#include "base/value.h"

#define CT_RESOURCE_UNIT 10000

typedef uint32_t ct_request_id;
typedef struct ct_resources ct_resources;

/* totals: dict name -> number, e.g. {"CPU": 2, "GPU": 0}. */
ct_status ct_resources_new(ct_resources **out, ct_names *names, const ct_value *totals,
                           ct_err *err);
void ct_resources_free(ct_resources *r);
ct_status ct_resources_set_totals(ct_resources *r, const ct_value *totals, ct_err *err);
/* request: dict name -> number >= 0 (zeros dropped). Equal requests get equal ids. */
ct_status ct_resources_request(ct_resources *r, const ct_value *request,
                               ct_request_id *out, ct_err *err);
const ct_value *ct_resources_request_value(const ct_resources *r, ct_request_id id);
bool ct_resources_fits(const ct_resources *r, ct_request_id id);     /* now */
bool ct_resources_possible(const ct_resources *r, ct_request_id id); /* ever */
/* First resource that can never be given, for the error text; NONE when possible. */
ct_name ct_resources_lacking(const ct_resources *r, ct_request_id id, double *asked,
                             double *total);
bool ct_resources_overdrawn(const ct_resources *r); /* more is claimed than there is */
void ct_resources_claim(ct_resources *r, ct_request_id id);
void ct_resources_release(ct_resources *r, ct_request_id id);
double ct_resources_used(const ct_resources *r, ct_name name);
double ct_resources_total(const ct_resources *r, ct_name name);
size_t ct_resources_names(const ct_resources *r, const ct_name **out);

#endif
