/* resources.c: totals, claims and interned requests, in fixed point.
 *
 * Each resource name has an index; totals and used amounts are arrays over it. A
 * request is a list of (index, amount), sorted by index; equal lists share an id.
 * Amounts are rounded to 1/10,000; what would round to nothing is refused rather than
 * given away. */
#include "state/resources.h"

#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef struct demand {
    uint32_t index;
    int64_t amount;
} demand;

typedef struct request {
    demand *items;
    size_t count;
    ct_value value;     /* dict as first asked, without zeros */
    uint32_t same_hash; /* next request in this chain, or UINT32_MAX */
} request;

struct ct_resources {
    ct_names *names;
    ct_name *name; /* by index */
    size_t name_cap;
    int64_t *total;
    size_t total_cap;
    int64_t *used;
    size_t used_cap;
    size_t count;
    request *requests;
    size_t request_count;
    size_t request_cap;
    ct_map by_hash;  /* hash of the demands -> first request of the chain */
    demand *scratch; /* the request being looked up */
    size_t scratch_cap;
};

#define AMOUNT_MAX 1e14 /* exact in fixed point */

/* ---- names ---- */

static uint32_t
index_of(const ct_resources *r, ct_name name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->name[i] == name) {
            return (uint32_t)i;
        }
    }
    return UINT32_MAX;
}

static ct_status
index_make(ct_resources *r, ct_name name, uint32_t *out, ct_err *err)
{
    *out = index_of(r, name);
    if (*out != UINT32_MAX) {
        return CT_OK;
    }
    size_t n = r->count + 1;
    ct_status st = ct_grow((void **)&r->name, &r->name_cap, n, sizeof *r->name, err);
    if (st == CT_OK) {
        st = ct_grow((void **)&r->total, &r->total_cap, n, sizeof *r->total, err);
    }
    if (st == CT_OK) {
        st = ct_grow((void **)&r->used, &r->used_cap, n, sizeof *r->used, err);
    }
    if (st != CT_OK) {
        return st;
    }
    r->name[r->count] = name;
    r->total[r->count] = 0;
    r->used[r->count] = 0;
    *out = (uint32_t)r->count++;
    return CT_OK;
}

/* ---- amounts ---- */

static ct_status
check_dict(const ct_value *v, const char *param, ct_err *err)
{
    if (v->kind != CT_DICT) {
        return ct_fail(err, CT_ETYPE, param,
                       "must be a dict of resource names and amounts, such as "
                       "{\"CPU\": 1}");
    }
    return CT_OK;
}

static ct_status
amount_of(const ct_resources *r, const ct_entry *e, int64_t *out, ct_err *err)
{
    const char *name = ct_names_text(r->names, e->key);
    double v = 0.0;
    if (!ct_value_number(&e->value, &v)) {
        return ct_fail(err, CT_ETYPE, name,
                       "an amount of resource \"%s\" must be a number", name);
    }
    if (!(v >= 0.0) || v > AMOUNT_MAX) {
        return ct_fail(err, CT_EINVAL, name,
                       "an amount of resource \"%s\" must be a number from 0 to 1e14, "
                       "got %g",
                       name, v);
    }
    *out = (int64_t)llrint(v * CT_RESOURCE_UNIT);
    if (*out == 0 && v > 0.0) {
        return ct_fail(
            err, CT_EINVAL, name,
            "an amount of resource \"%s\" must be 0 or at least 0.0001, got %g", name,
            v);
    }
    return CT_OK;
}

ct_status
ct_resources_set_totals(ct_resources *r, const ct_value *totals, ct_err *err)
{
    ct_status st = check_dict(totals, "resources", err);
    for (uint32_t i = 0; st == CT_OK && i < totals->len; i++) { /* all or nothing */
        int64_t amount = 0;
        uint32_t index = 0;
        st = amount_of(r, &totals->u.entries[i], &amount, err);
        if (st == CT_OK) {
            st = index_make(r, totals->u.entries[i].key, &index, err);
        }
    }
    if (st != CT_OK) {
        return st;
    }
    for (size_t i = 0; i < r->count; i++) {
        r->total[i] = 0;
    }
    for (uint32_t i = 0; i < totals->len; i++) {
        int64_t amount = 0;
        (void)amount_of(r, &totals->u.entries[i], &amount, NULL); /* checked above */
        r->total[index_of(r, totals->u.entries[i].key)] = amount;
    }
    return CT_OK;
}

ct_status
ct_resources_new(ct_resources **out, ct_names *names, const ct_value *totals,
                 ct_err *err)
{
    ct_resources *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    r->names = names;
    ct_status st = ct_resources_set_totals(r, totals, err);
    if (st != CT_OK) {
        ct_resources_free(r);
        return st;
    }
    *out = r;
    return CT_OK;
}

void
ct_resources_free(ct_resources *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->request_count; i++) {
        ct_free(r->requests[i].items);
        ct_value_deinit(&r->requests[i].value);
    }
    ct_free(r->requests);
    ct_map_deinit(&r->by_hash);
    ct_free(r->name);
    ct_free(r->total);
    ct_free(r->used);
    ct_free(r->scratch);
    ct_free(r);
}

/* ---- requests ---- */

/* Fills scratch with the demands, sorted by index, zeros dropped. */
static ct_status
demands_of(ct_resources *r, const ct_value *v, size_t *count, ct_err *err)
{
    size_t n = 0;
    ct_status st =
        ct_grow((void **)&r->scratch, &r->scratch_cap, v->len, sizeof *r->scratch, err);
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        demand d = {0, 0};
        st = amount_of(r, &v->u.entries[i], &d.amount, err);
        if (st != CT_OK || d.amount == 0) {
            continue;
        }
        st = index_make(r, v->u.entries[i].key, &d.index, err);
        if (st != CT_OK) {
            break;
        }
        size_t at = n++;
        while (at > 0 && r->scratch[at - 1].index > d.index) {
            r->scratch[at] = r->scratch[at - 1];
            at--;
        }
        r->scratch[at] = d;
    }
    *count = n;
    return st;
}

static uint64_t
demands_hash(const demand *items, size_t count)
{
    uint64_t h = count;
    for (size_t i = 0; i < count; i++) {
        h = ct_hash_u64(h ^ items[i].index);
        h = ct_hash_u64(h ^ (uint64_t)items[i].amount);
    }
    return h;
}

static bool
demands_equal(const request *q, const demand *items, size_t count)
{
    if (q->count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (q->items[i].index != items[i].index ||
            q->items[i].amount != items[i].amount) {
            return false;
        }
    }
    return true;
}

/* A copy of the dict without zeros. */
static ct_status
value_without_zeros(ct_value *out, const ct_value *v, ct_err *err)
{
    ct_value dict = ct_dict();
    ct_status st = CT_OK;
    for (uint32_t i = 0; st == CT_OK && i < v->len; i++) {
        const ct_entry *e = &v->u.entries[i];
        double amount = 0.0;
        (void)ct_value_number(&e->value, &amount);
        if (amount > 0.0) {
            ct_value copy = e->value; /* a number: nothing to own */
            st = ct_value_put(&dict, e->key, &copy, err);
        }
    }
    if (st != CT_OK) {
        ct_value_deinit(&dict);
        return st;
    }
    *out = dict;
    return CT_OK;
}

/* Stores the request in scratch under a new id. */
static ct_status
request_make(ct_resources *r, const ct_value *v, size_t count, uint64_t hash,
             uint32_t chain, ct_request_id *out, ct_err *err)
{
    request q = {NULL, count, ct_nil(), chain};
    ct_status st = ct_grow((void **)&r->requests, &r->request_cap, r->request_count + 1,
                           sizeof *r->requests, err);
    if (st != CT_OK) {
        goto done;
    }
    q.items = ct_alloc(count * sizeof *q.items);
    if (q.items == NULL) {
        st = ct_fail_mem(err);
        goto done;
    }
    if (count > 0) {
        memcpy(q.items, r->scratch, count * sizeof *q.items);
    }
    st = value_without_zeros(&q.value, v, err);
    if (st == CT_OK) {
        st = ct_map_put(&r->by_hash, hash, (uint32_t)r->request_count, err);
    }
    if (st != CT_OK) {
        goto done;
    }
    *out = (ct_request_id)r->request_count;
    r->requests[r->request_count++] = q;
    return CT_OK;
done:
    ct_free(q.items);
    ct_value_deinit(&q.value);
    return st;
}

ct_status
ct_resources_request(ct_resources *r, const ct_value *v, ct_request_id *out,
                     ct_err *err)
{
    size_t count = 0;
    ct_status st = check_dict(v, "resources", err);
    if (st == CT_OK) {
        st = demands_of(r, v, &count, err);
    }
    if (st != CT_OK) {
        return st;
    }
    uint64_t hash = demands_hash(r->scratch, count);
    uint32_t chain = UINT32_MAX;
    if (!ct_map_get(&r->by_hash, hash, &chain)) {
        chain = UINT32_MAX;
    }
    for (uint32_t i = chain; i != UINT32_MAX; i = r->requests[i].same_hash) {
        if (demands_equal(&r->requests[i], r->scratch, count)) {
            *out = i;
            return CT_OK;
        }
    }
    return request_make(r, v, count, hash, chain, out, err);
}

const ct_value *
ct_resources_request_value(const ct_resources *r, ct_request_id id)
{
    assert(id < r->request_count);
    return &r->requests[id].value;
}

/* ---- claims ---- */

bool
ct_resources_fits(const ct_resources *r, ct_request_id id)
{
    assert(id < r->request_count);
    const request *q = &r->requests[id];
    for (size_t i = 0; i < q->count; i++) {
        const demand *d = &q->items[i];
        if (d->amount > r->total[d->index] - r->used[d->index]) {
            return false;
        }
    }
    return true;
}

static const demand *
first_lacking(const ct_resources *r, ct_request_id id)
{
    assert(id < r->request_count);
    const request *q = &r->requests[id];
    for (size_t i = 0; i < q->count; i++) {
        if (q->items[i].amount > r->total[q->items[i].index]) {
            return &q->items[i];
        }
    }
    return NULL;
}

bool
ct_resources_possible(const ct_resources *r, ct_request_id id)
{
    return first_lacking(r, id) == NULL;
}

static double
units(int64_t amount)
{
    return (double)amount / CT_RESOURCE_UNIT;
}

ct_name
ct_resources_lacking(const ct_resources *r, ct_request_id id, double *asked,
                     double *total)
{
    const demand *d = first_lacking(r, id);
    if (d == NULL) {
        return CT_NAME_NONE;
    }
    *asked = units(d->amount);
    *total = units(r->total[d->index]);
    return r->name[d->index];
}

bool
ct_resources_overdrawn(const ct_resources *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->used[i] > r->total[i]) {
            return true;
        }
    }
    return false;
}

void
ct_resources_claim(ct_resources *r, ct_request_id id)
{
    assert(id < r->request_count);
    const request *q = &r->requests[id];
    for (size_t i = 0; i < q->count; i++) {
        r->used[q->items[i].index] += q->items[i].amount;
    }
}

void
ct_resources_release(ct_resources *r, ct_request_id id)
{
    assert(id < r->request_count);
    const request *q = &r->requests[id];
    for (size_t i = 0; i < q->count; i++) {
        assert(r->used[q->items[i].index] >= q->items[i].amount);
        r->used[q->items[i].index] -= q->items[i].amount;
    }
}

double
ct_resources_used(const ct_resources *r, ct_name name)
{
    uint32_t i = index_of(r, name);
    return i != UINT32_MAX ? units(r->used[i]) : 0.0;
}

double
ct_resources_total(const ct_resources *r, ct_name name)
{
    uint32_t i = index_of(r, name);
    return i != UINT32_MAX ? units(r->total[i]) : 0.0;
}

size_t
ct_resources_names(const ct_resources *r, const ct_name **out)
{
    *out = r->name;
    return r->count;
}
