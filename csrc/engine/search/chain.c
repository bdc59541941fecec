/* chain.c: searchers one after the other. */
#include "search/chain.h"

#include "base/mem.h"

typedef struct chain {
    ct_searcher searcher; /* first */
    int64_t max_concurrent;
    int64_t live;
    size_t at; /* the member that makes trials */
    size_t count;
    ct_searcher *members[];
} chain;

static ct_status
chain_next(ct_searcher *searcher, const ct_board *b, ct_suggestion *out,
           ct_search_state *state, ct_err *err)
{
    chain *s = (chain *)searcher;
    *state = CT_SEARCH_FINISHED;
    bool again = out->id != NULL; /* it was made when other limits may have held */
    if (!again && s->max_concurrent > 0 && s->live >= s->max_concurrent &&
        s->at < s->count) {
        *state = CT_SEARCH_WAIT;
        return CT_OK;
    }
    while (s->at < s->count) {
        ct_searcher *m = s->members[s->at];
        ct_status st = m->ops->next(m, b, out, state, err);
        if (st != CT_OK || *state == CT_SEARCH_WAIT) {
            return st;
        }
        if (*state == CT_SEARCH_TRIAL) {
            out->experiment = (uint32_t)s->at;
            s->live++;
            return CT_OK;
        }
        s->at++;
    }
    return CT_OK;
}

static ct_searcher *
member_of(chain *s, const ct_board *b, ct_trial_id t)
{
    return s->members[ct_trials_get(b->trials, t)->experiment];
}

static ct_status
chain_on_result(ct_searcher *searcher, const ct_board *b, ct_trial_id t,
                const ct_result *r, ct_err *err)
{
    ct_searcher *m = member_of((chain *)searcher, b, t);
    return m->ops->on_result(m, b, t, r, err);
}

static ct_status
chain_on_complete(ct_searcher *searcher, const ct_board *b, ct_trial_id t,
                  const ct_result *r, bool error, ct_err *err)
{
    chain *s = (chain *)searcher;
    ct_searcher *m = member_of(s, b, t);
    if (s->live > 0) {
        s->live--;
    }
    return m->ops->on_complete(m, b, t, r, error, err);
}

static uint64_t
chain_total(const ct_searcher *searcher)
{
    const chain *s = (const chain *)searcher;
    uint64_t total = 0;
    for (size_t i = 0; i < s->count; i++) {
        uint64_t n = s->members[i]->ops->total(s->members[i]);
        total = n > UINT64_MAX - total ? UINT64_MAX : total + n;
    }
    return total;
}

/* [member that makes trials, trials that are live, [state of each member]] */
static ct_status
chain_save(ct_searcher *searcher, ct_names *names, ct_value *out, ct_err *err)
{
    chain *s = (chain *)searcher;
    ct_value parts[] = {ct_i64((int64_t)s->at), ct_i64(s->live), ct_list()};
    ct_status st = CT_OK;
    for (size_t i = 0; st == CT_OK && i < s->count; i++) {
        ct_searcher *m = s->members[i];
        ct_value item = ct_nil();
        st = m->ops->save != NULL
                 ? m->ops->save(m, names, &item, err)
                 : ct_fail(err, CT_EUNSUPPORTED, "search_alg",
                           "the state of %s cannot be saved", m->ops->name);
        if (st == CT_OK) {
            st = ct_value_push(&parts[2], &item, err);
        }
    }
    if (st != CT_OK) {
        ct_value_deinit(&parts[2]);
        return st;
    }
    return ct_value_list_of(out, parts, 3, err);
}

static ct_status
chain_restore(ct_searcher *searcher, ct_names *names, const ct_value *v, ct_err *err)
{
    chain *s = (chain *)searcher;
    bool fits = v->kind == CT_LIST && v->len == 3 && v->u.items[0].kind == CT_I64 &&
                v->u.items[0].u.i >= 0 && v->u.items[1].kind == CT_I64 &&
                v->u.items[2].kind == CT_LIST && v->u.items[2].len == s->count;
    ct_status st =
        fits ? CT_OK
             : ct_fail(err, CT_ECORRUPT, "search_alg",
                       "the saved state is not one of %zu experiments", s->count);
    for (size_t i = 0; st == CT_OK && i < s->count; i++) {
        ct_searcher *m = s->members[i];
        st = m->ops->restore != NULL
                 ? m->ops->restore(m, names, &v->u.items[2].u.items[i], err)
                 : ct_fail(err, CT_EUNSUPPORTED, "search_alg",
                           "the state of %s cannot be restored", m->ops->name);
    }
    if (st == CT_OK) {
        s->at = (size_t)v->u.items[0].u.i;
        s->live = v->u.items[1].u.i;
    }
    return st;
}

static void
chain_free(ct_searcher *searcher)
{
    chain *s = (chain *)searcher;
    for (size_t i = 0; i < s->count; i++) {
        s->members[i]->ops->free(s->members[i]);
    }
    ct_free(s);
}

/* Native, foreign. */
#define CHAIN_OPS(is_foreign)                                                          \
    {                                                                                  \
        .name = "chain",                                                               \
        .foreign = (is_foreign),                                                       \
        .quiet_waits = true,                                                           \
        .next = chain_next,                                                            \
        .on_result = chain_on_result,                                                  \
        .on_complete = chain_on_complete,                                              \
        .total = chain_total,                                                          \
        .save = chain_save,                                                            \
        .restore = chain_restore,                                                      \
        .free = chain_free,                                                            \
    }
static const ct_searcher_ops OPS[] = {CHAIN_OPS(false), CHAIN_OPS(true)};

ct_status
ct_chain_new(ct_searcher **out, ct_searcher *const *members, size_t count,
             int64_t max_concurrent, ct_err *err)
{
    chain *s = ct_calloc(1, sizeof *s + count * sizeof s->members[0]);
    if (s == NULL) {
        return ct_fail_mem(err);
    }
    s->searcher.ops = &OPS[0];
    s->max_concurrent = max_concurrent;
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        s->members[i] = members[i];
        if (members[i]->ops->foreign) {
            s->searcher.ops = &OPS[1];
        }
    }
    *out = &s->searcher;
    return CT_OK;
}
