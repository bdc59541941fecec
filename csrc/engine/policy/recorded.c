/* recorded.c: see recorded.h. The bytes of each answer are in docs/formats. */
#include "policy/recorded.h"

#include "base/mem.h"

#include <string.h>

/* An answer of *a begins or is played: nobody writes two at a time. */
static ct_buf *
begin(ct_answers *a)
{
    ct_buf_clear(&a->scratch);
    return &a->scratch;
}

static ct_status
end(ct_answers *a, ct_answer_kind kind, ct_err *err)
{
    return ct_answers_record(a, kind, a->scratch.data, a->scratch.len, err);
}

static ct_status
play(ct_answers *a, ct_answer_kind kind, ct_reader *in, ct_err *err)
{
    const uint8_t *data;
    size_t len;
    ct_status st = ct_answers_play(a, kind, &data, &len, err);
    if (st == CT_OK) {
        *in = ct_reader_of(data, len);
    }
    return st;
}

static ct_status
played(const ct_reader *in, ct_err *err)
{
    return !in->bad && in->at == in->len
               ? CT_OK
               : ct_fail(err, CT_ECORRUPT, "answers",
                         "a recorded answer has %zu bytes where others are expected",
                         in->len);
}

/* ---- orders ---- */

static ct_status
orders_put(ct_answers *a, const ct_orders *orders, size_t from, ct_err *err)
{
    ct_buf *out = &a->scratch;
    size_t n = orders == NULL ? 0 : orders->count - from;
    ct_status st = ct_buf_put_varint(out, n, err);
    for (size_t i = 0; st == CT_OK && i < n; i++) {
        const ct_order *o = &orders->items[from + i];
        st = ct_buf_put_u8(out, (uint8_t)o->kind, err);
        if (st == CT_OK) {
            st = ct_buf_put_varint(out, o->trial, err);
        }
        if (st == CT_OK) { /* 0 = none */
            st = ct_buf_put_varint(
                out, o->source == CT_TRIAL_NONE ? 0 : (uint64_t)o->source + 1, err);
        }
        if (st == CT_OK) {
            st = ct_buf_put_u8(out, o->checkpoint ? 1 : 0, err);
        }
        if (st == CT_OK) {
            st = ct_answers_put_value(a, out, &o->value, err);
        }
    }
    return st;
}

static ct_status
orders_read(ct_answers *a, ct_reader *in, ct_orders *orders, ct_err *err)
{
    uint64_t n = ct_read_varint(in);
    ct_status st = CT_OK;
    for (uint64_t i = 0; st == CT_OK && !in->bad && i < n; i++) {
        unsigned kind = ct_read_u8(in);
        uint64_t trial = ct_read_varint(in);
        uint64_t source = ct_read_varint(in);
        bool checkpoint = ct_read_u8(in) != 0;
        ct_value value = ct_nil();
        st = ct_answers_read_value(a, in, &value, err);
        if (st == CT_OK && (orders == NULL || kind >= CT_ORDER_COUNT ||
                            trial >= CT_TRIAL_NONE || source > CT_TRIAL_NONE)) {
            st = ct_fail(err, CT_ECORRUPT, "answers", "a recorded order is damaged");
        }
        if (st == CT_OK && kind == CT_ORDER_EXPLOIT) {
            st = ct_orders_exploit(orders, (ct_trial_id)trial,
                                   source == 0 ? CT_TRIAL_NONE
                                               : (ct_trial_id)(source - 1),
                                   checkpoint, &value, err);
        } else if (st == CT_OK) {
            st = ct_orders_add(orders, (ct_order_kind)kind, (ct_trial_id)trial,
                               checkpoint, &value, err);
        }
        ct_value_deinit(&value);
    }
    return st == CT_OK ? played(in, err) : st;
}

static size_t
orders_count(const ct_orders *orders)
{
    return orders == NULL ? 0 : orders->count;
}

/* What a policy ordered that was only to hear. */
static void
forget(ct_orders *orders, size_t from)
{
    while (orders != NULL && orders->count > from) {
        ct_value_deinit(&orders->items[--orders->count].value);
    }
}

/* ---- schedulers ---- */

typedef struct recorded_scheduler {
    ct_scheduler scheduler; /* first */
    ct_scheduler_ops ops;   /* own copy: what the inner one leaves out stays out */
    ct_scheduler *inner;
    ct_answers *answers;
} recorded_scheduler;

static ct_status
scheduler_on_result(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                    const ct_result *result, ct_verdict *out, ct_orders *orders,
                    ct_err *err)
{
    recorded_scheduler *r = (recorded_scheduler *)s;
    size_t from = orders_count(orders);
    ct_status st = r->inner->ops->on_result(r->inner, b, t, result, out, orders, err);
    if (st != CT_OK) {
        return st;
    }
    if (r->answers->replay) {
        ct_reader in;
        forget(orders, from);
        st = play(r->answers, CT_ANSWER_VERDICT, &in, err);
        if (st != CT_OK) {
            return st;
        }
        unsigned verdict = ct_read_u8(&in);
        if (verdict > CT_NOOP) {
            return ct_fail(err, CT_ECORRUPT, "answers",
                           "%u is no verdict of a scheduler", verdict);
        }
        *out = (ct_verdict)verdict;
        return orders_read(r->answers, &in, orders, err);
    }
    st = ct_buf_put_u8(begin(r->answers), (uint8_t)*out, err);
    if (st == CT_OK) {
        st = orders_put(r->answers, orders, from, err);
    }
    return st == CT_OK ? end(r->answers, CT_ANSWER_VERDICT, err) : st;
}

/* It was told and gave the orders from `from` on: those are recorded, or replaced by the
 * recorded ones. */
static ct_status
told(ct_answers *a, ct_orders *orders, size_t from, ct_err *err)
{
    ct_reader in;
    ct_status st;
    if (a->replay) {
        forget(orders, from);
        st = play(a, CT_ANSWER_ORDERS, &in, err);
        return st == CT_OK ? orders_read(a, &in, orders, err) : st;
    }
    (void)begin(a);
    st = orders_put(a, orders, from, err);
    return st == CT_OK ? end(a, CT_ANSWER_ORDERS, err) : st;
}

static ct_status
scheduler_on_add(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                 ct_err *err)
{
    recorded_scheduler *r = (recorded_scheduler *)s;
    size_t from = orders_count(orders);
    ct_status st = r->inner->ops->on_add(r->inner, b, t, orders, err);
    return st == CT_OK ? told(r->answers, orders, from, err) : st;
}

static ct_status
scheduler_on_complete(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                      const ct_result *result, ct_orders *orders, ct_err *err)
{
    recorded_scheduler *r = (recorded_scheduler *)s;
    size_t from = orders_count(orders);
    ct_status st = r->inner->ops->on_complete(r->inner, b, t, result, orders, err);
    return st == CT_OK ? told(r->answers, orders, from, err) : st;
}

static ct_status
scheduler_on_error(ct_scheduler *s, const ct_board *b, ct_trial_id t, ct_orders *orders,
                   ct_err *err)
{
    recorded_scheduler *r = (recorded_scheduler *)s;
    size_t from = orders_count(orders);
    ct_status st = r->inner->ops->on_error(r->inner, b, t, orders, err);
    return st == CT_OK ? told(r->answers, orders, from, err) : st;
}

static ct_status
scheduler_on_remove(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                    ct_orders *orders, ct_err *err)
{
    recorded_scheduler *r = (recorded_scheduler *)s;
    size_t from = orders_count(orders);
    ct_status st = r->inner->ops->on_remove(r->inner, b, t, orders, err);
    return st == CT_OK ? told(r->answers, orders, from, err) : st;
}

static ct_status
scheduler_choose(ct_scheduler *s, const ct_board *b, ct_trial_id *out,
                 ct_orders *orders, ct_err *err)
{
    recorded_scheduler *r = (recorded_scheduler *)s;
    size_t from = orders_count(orders);
    ct_status st = r->inner->ops->choose(r->inner, b, out, orders, err);
    if (st != CT_OK) {
        return st;
    }
    if (r->answers->replay) {
        ct_reader in;
        forget(orders, from);
        st = play(r->answers, CT_ANSWER_CHOICE, &in, err);
        if (st != CT_OK) {
            return st;
        }
        uint64_t trial = ct_read_varint(&in);
        *out = trial == 0 || trial > CT_TRIAL_NONE ? CT_TRIAL_NONE
                                                   : (ct_trial_id)(trial - 1);
        return orders_read(r->answers, &in, orders, err);
    }
    st = ct_buf_put_varint(begin(r->answers),
                           *out == CT_TRIAL_NONE ? 0 : (uint64_t)*out + 1, err);
    if (st == CT_OK) {
        st = orders_put(r->answers, orders, from, err);
    }
    return st == CT_OK ? end(r->answers, CT_ANSWER_CHOICE, err) : st;
}

static ct_status
scheduler_on_exploited(ct_scheduler *s, const ct_board *b, ct_trial_id t,
                       ct_trial_id source, bool done, const ct_value *note, ct_err *err)
{
    ct_scheduler *inner = ((recorded_scheduler *)s)->inner;
    return inner->ops->on_exploited(inner, b, t, source, done, note, err);
}

static ct_status
scheduler_save(ct_scheduler *s, ct_names *names, ct_value *out, ct_err *err)
{
    ct_scheduler *inner = ((recorded_scheduler *)s)->inner;
    return inner->ops->save(inner, names, out, err);
}

static ct_status
scheduler_restore(ct_scheduler *s, ct_names *names, const ct_value *v, ct_err *err)
{
    ct_scheduler *inner = ((recorded_scheduler *)s)->inner;
    return inner->ops->restore(inner, names, v, err);
}

static ct_status
scheduler_describe(ct_scheduler *s, const ct_board *b, ct_buf *out, ct_err *err)
{
    ct_scheduler *inner = ((recorded_scheduler *)s)->inner;
    return inner->ops->describe(inner, b, out, err);
}

static void
scheduler_free(ct_scheduler *s)
{
    recorded_scheduler *r = (recorded_scheduler *)s;
    r->inner->ops->free(r->inner);
    ct_free(r);
}

ct_status
ct_recorded_scheduler(ct_scheduler **policy, ct_answers *a, ct_err *err)
{
    const ct_scheduler_ops *inner = (*policy)->ops;
    if (!inner->foreign) {
        return CT_OK;
    }
    recorded_scheduler *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    r->ops = (ct_scheduler_ops){
        .name = inner->name,
        .foreign = true,
        .supports_buffering = inner->supports_buffering,
        .on_add = scheduler_on_add,
        .on_result = scheduler_on_result,
        .on_complete = scheduler_on_complete,
        .on_error = scheduler_on_error,
        .on_remove = scheduler_on_remove,
        .choose = scheduler_choose,
        .on_exploited = inner->on_exploited == NULL ? NULL : scheduler_on_exploited,
        .save = inner->save == NULL ? NULL : scheduler_save,
        .restore = inner->restore == NULL ? NULL : scheduler_restore,
        .describe = inner->describe == NULL ? NULL : scheduler_describe,
        .free = scheduler_free,
    };
    r->scheduler.ops = &r->ops;
    r->inner = *policy;
    r->answers = a;
    *policy = &r->scheduler;
    return CT_OK;
}

/* ---- searchers ---- */

typedef struct recorded_searcher {
    ct_searcher searcher; /* first */
    ct_searcher_ops ops;
    ct_searcher *inner;
    ct_answers *answers;
} recorded_searcher;

static ct_status
text_put(ct_buf *out, const char *text, ct_err *err)
{
    return ct_buf_put_bytes(out, text == NULL ? "" : text,
                            text == NULL ? 0 : strlen(text), err);
}

static ct_status
text_read(ct_reader *in, char **out, ct_err *err)
{
    size_t len;
    const uint8_t *text = ct_read_bytes(in, &len);
    if (in->bad) {
        return played(in, err);
    }
    *out = ct_strndup((const char *)text, len);
    return *out == NULL ? ct_fail_mem(err) : CT_OK;
}

static ct_status
suggestion_put(ct_answers *a, const ct_suggestion *s, ct_err *err)
{
    ct_buf *out = &a->scratch;
    ct_status st = text_put(out, s->id, err);
    if (st == CT_OK) {
        st = text_put(out, s->tag, err);
    }
    if (st == CT_OK) {
        st = ct_answers_put_value(a, out, &s->config, err);
    }
    if (st == CT_OK) {
        st = ct_answers_put_value(a, out, &s->evaluated, err);
    }
    return st == CT_OK ? ct_buf_put_varint(out, s->experiment, err) : st;
}

static ct_status
suggestion_read(ct_answers *a, ct_reader *in, ct_suggestion *s, ct_err *err)
{
    ct_status st = text_read(in, &s->id, err);
    if (st == CT_OK) {
        st = text_read(in, &s->tag, err);
    }
    if (st == CT_OK) {
        st = ct_answers_read_value(a, in, &s->config, err);
    }
    if (st == CT_OK) {
        st = ct_answers_read_value(a, in, &s->evaluated, err);
    }
    s->experiment = (uint32_t)ct_read_varint(in);
    return st;
}

static ct_status
next_read(ct_answers *a, ct_suggestion *out, ct_search_state *state, ct_err *err)
{
    ct_reader in;
    ct_status st = play(a, CT_ANSWER_SUGGESTION, &in, err);
    if (st != CT_OK) {
        return st;
    }
    unsigned said = ct_read_u8(&in);
    if (said > CT_SEARCH_FINISHED) {
        return ct_fail(err, CT_ECORRUPT, "answers", "%u is no answer of a searcher",
                       said);
    }
    a->lost = false;
    if (said == CT_SEARCH_TRIAL) {
        st = suggestion_read(a, &in, out, err);
    }
    *state = (ct_search_state)said;
    return st == CT_OK ? played(&in, err) : st;
}

/* Whether two configs hold the same; objects are not compared. */
static bool
same_values(const ct_value *a, const ct_value *b)
{
    if (a->kind != b->kind || a->kind == CT_REF) {
        return a->kind == b->kind;
    }
    bool same = true;
    switch (a->kind) {
    case CT_LIST:
    case CT_TUPLE:
        same = a->len == b->len;
        for (uint32_t i = 0; same && i < a->len; i++) {
            same = same_values(&a->u.items[i], &b->u.items[i]);
        }
        return same;
    case CT_DICT:
        same = a->len == b->len;
        for (uint32_t i = 0; same && i < a->len; i++) {
            same = a->u.entries[i].key == b->u.entries[i].key &&
                   same_values(&a->u.entries[i].value, &b->u.entries[i].value);
        }
        return same;
    default:
        return ct_value_equal(a, b);
    }
}

/* The searcher makes the trial too, under its recorded id; after FINISHED it is left alone,
 * for this run may want more samples. Where it says something else now, the record counts,
 * unless that holds an object that could not be kept. */
static ct_status
next_play(recorded_searcher *r, const ct_board *b, ct_suggestion *out,
          ct_search_state *state, ct_err *err)
{
    ct_answers *a = r->answers;
    ct_suggestion kept = {NULL, NULL, ct_nil(), ct_nil(), 0};
    ct_suggestion now = {NULL, NULL, ct_nil(), ct_nil(), 0};
    ct_search_state said = CT_SEARCH_WAIT;
    ct_status st = next_read(a, &kept, state, err);
    if (st == CT_OK && kept.id != NULL) {
        now.id = ct_strndup(kept.id, strlen(kept.id));
        st = now.id == NULL ? ct_fail_mem(err) : CT_OK;
    }
    bool asks =
        *state == CT_SEARCH_TRIAL ||
        (*state == CT_SEARCH_WAIT && !r->inner->ops->quiet_waits && !a->quiet_waits);
    if (st == CT_OK && asks) {
        st = r->inner->ops->next(r->inner, b, &now, &said, err);
    }
    if (st == CT_OK && *state == CT_SEARCH_TRIAL) {
        bool same = said == CT_SEARCH_TRIAL && same_values(&kept.config, &now.config);
        if (a->lost && said != CT_SEARCH_TRIAL) {
            st = ct_fail(err, CT_EUNSUPPORTED, "config",
                         "of trial %s holds an object that could not be pickled when "
                         "the run was recorded, and the searcher does not make the "
                         "trial again; let the object be made inside the trainable",
                         kept.id);
        } else if (a->lost) {
            ct_value_deinit(&kept.config);
            ct_value_deinit(&kept.evaluated);
            kept.config = now.config;
            kept.evaluated = now.evaluated;
            now.config = now.evaluated = ct_nil();
        } else if (!same) {
            a->differing++;
        }
    }
    ct_suggestion_deinit(&now);
    if (st != CT_OK) {
        ct_suggestion_deinit(&kept);
        return st;
    }
    *out = kept;
    return CT_OK;
}

static ct_status
searcher_next(ct_searcher *s, const ct_board *b, ct_suggestion *out,
              ct_search_state *state, ct_err *err)
{
    recorded_searcher *r = (recorded_searcher *)s;
    if (r->answers->replay) {
        return next_play(r, b, out, state, err);
    }
    ct_status st = r->inner->ops->next(r->inner, b, out, state, err);
    if (st == CT_OK) {
        st = ct_buf_put_u8(begin(r->answers), (uint8_t)*state, err);
    }
    if (st == CT_OK && *state == CT_SEARCH_TRIAL) {
        st = suggestion_put(r->answers, out, err);
    }
    return st == CT_OK ? end(r->answers, CT_ANSWER_SUGGESTION, err) : st;
}

static ct_status
searcher_on_result(ct_searcher *s, const ct_board *b, ct_trial_id t,
                   const ct_result *result, ct_err *err)
{
    ct_searcher *inner = ((recorded_searcher *)s)->inner;
    return inner->ops->on_result(inner, b, t, result, err);
}

static ct_status
searcher_on_complete(ct_searcher *s, const ct_board *b, ct_trial_id t,
                     const ct_result *result, bool error, ct_err *err)
{
    ct_searcher *inner = ((recorded_searcher *)s)->inner;
    return inner->ops->on_complete(inner, b, t, result, error, err);
}

static uint64_t
searcher_total(const ct_searcher *s)
{
    const ct_searcher *inner = ((const recorded_searcher *)s)->inner;
    return inner->ops->total(inner);
}

static ct_status
searcher_save(ct_searcher *s, ct_names *names, ct_value *out, ct_err *err)
{
    ct_searcher *inner = ((recorded_searcher *)s)->inner;
    return inner->ops->save(inner, names, out, err);
}

static ct_status
searcher_restore(ct_searcher *s, ct_names *names, const ct_value *v, ct_err *err)
{
    ct_searcher *inner = ((recorded_searcher *)s)->inner;
    return inner->ops->restore(inner, names, v, err);
}

static void
searcher_free(ct_searcher *s)
{
    recorded_searcher *r = (recorded_searcher *)s;
    r->inner->ops->free(r->inner);
    ct_free(r);
}

ct_status
ct_recorded_searcher(ct_searcher **policy, ct_answers *a, ct_err *err)
{
    const ct_searcher_ops *inner = (*policy)->ops;
    recorded_searcher *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    r->ops = (ct_searcher_ops){
        .name = inner->name,
        .foreign = inner->foreign,
        .quiet_waits = inner->quiet_waits,
        .next = searcher_next,
        .on_result = searcher_on_result,
        .on_complete = searcher_on_complete,
        .total = inner->total == NULL ? NULL : searcher_total,
        .save = inner->save == NULL ? NULL : searcher_save,
        .restore = inner->restore == NULL ? NULL : searcher_restore,
        .free = searcher_free,
    };
    r->searcher.ops = &r->ops;
    r->inner = *policy;
    r->answers = a;
    *policy = &r->searcher;
    return CT_OK;
}

/* ---- stoppers ---- */

typedef struct recorded_stopper {
    ct_stopper stopper; /* first */
    ct_stopper_ops ops;
    ct_stopper *inner;
    ct_answers *answers;
    uint8_t *said; /* in a replay, by trial: 0 nothing, 1 go on, 2 stop */
    size_t n_said, cap_said;
} recorded_stopper;

static ct_status
stopper_keep(recorded_stopper *r, ct_trial_id t, bool stop, ct_err *err)
{
    ct_status st =
        ct_grow((void **)&r->said, &r->cap_said, (size_t)t + 1, sizeof *r->said, err);
    if (st != CT_OK) {
        return st;
    }
    if (t >= r->n_said) {
        memset(r->said + r->n_said, 0, t + 1 - r->n_said);
        r->n_said = (size_t)t + 1;
    }
    r->said[t] = stop ? 2 : 1;
    return CT_OK;
}

static bool
stopper_said(const ct_stopper *s, ct_trial_id t, bool *stop)
{
    const recorded_stopper *r = (const recorded_stopper *)s;
    bool known = t < r->n_said && r->said[t] != 0;
    *stop = known && r->said[t] == 2;
    return known;
}

static ct_status
stopper_on_result(ct_stopper *s, const ct_board *b, ct_trial_id t,
                  const ct_result *result, bool *stop, ct_err *err)
{
    recorded_stopper *r = (recorded_stopper *)s;
    ct_answers *a = r->answers;
    ct_status st = r->inner->ops->on_result(r->inner, b, t, result, stop, err);
    if (st != CT_OK || !(*stop || a->replay)) {
        return st;
    }
    ct_buf *trial = begin(a);
    st = ct_buf_put_varint(trial, t, err);
    if (st == CT_OK && a->replay) {
        st = stopper_keep(r, t, *stop, err);
        *stop = ct_answers_play_if(a, CT_ANSWER_STOP, trial->data, trial->len);
        return st;
    }
    return st == CT_OK ? end(a, CT_ANSWER_STOP, err) : st;
}

static ct_status
stopper_stop_all(ct_stopper *s, const ct_board *b, bool *stop, ct_err *err)
{
    recorded_stopper *r = (recorded_stopper *)s;
    ct_status st = r->inner->ops->stop_all(r->inner, b, stop, err);
    if (st == CT_OK && r->answers->replay) {
        *stop = ct_answers_play_if(r->answers, CT_ANSWER_STOP_ALL, NULL, 0);
        return CT_OK;
    }
    return st == CT_OK && *stop
               ? ct_answers_record(r->answers, CT_ANSWER_STOP_ALL, "", 0, err)
               : st;
}

static void
stopper_skip(ct_stopper *s, double seconds)
{
    ct_stopper *inner = ((recorded_stopper *)s)->inner;
    inner->ops->skip(inner, seconds);
}

static ct_status
stopper_save(ct_stopper *s, ct_names *names, ct_value *out, ct_err *err)
{
    ct_stopper *inner = ((recorded_stopper *)s)->inner;
    return inner->ops->save(inner, names, out, err);
}

static ct_status
stopper_restore(ct_stopper *s, ct_names *names, const ct_value *v, const ct_past *past,
                ct_err *err)
{
    ct_stopper *inner = ((recorded_stopper *)s)->inner;
    return inner->ops->restore(inner, names, v, past, err);
}

static void
stopper_free(ct_stopper *s)
{
    recorded_stopper *r = (recorded_stopper *)s;
    r->inner->ops->free(r->inner);
    ct_free(r->said);
    ct_free(r);
}

ct_status
ct_recorded_stopper(ct_stopper **policy, ct_answers *a, ct_err *err)
{
    const ct_stopper_ops *inner = (*policy)->ops;
    recorded_stopper *r = ct_calloc(1, sizeof *r);
    if (r == NULL) {
        return ct_fail_mem(err);
    }
    r->ops = (ct_stopper_ops){
        .name = inner->name,
        .foreign = inner->foreign,
        .on_result = stopper_on_result,
        .forgets = inner->forgets,
        .stop_all = stopper_stop_all,
        .said = stopper_said,
        .skip = inner->skip == NULL ? NULL : stopper_skip,
        .save = inner->save == NULL ? NULL : stopper_save,
        .restore = inner->restore == NULL ? NULL : stopper_restore,
        .free = stopper_free,
    };
    r->stopper.ops = &r->ops;
    r->inner = *policy;
    r->answers = a;
    *policy = &r->stopper;
    return CT_OK;
}

/* ---- hooks ---- */

static ct_status
hooks_request(void *ctx, uint32_t experiment, const ct_value *config, ct_value *out,
              ct_err *err)
{
    ct_recorded_hooks *r = ctx;
    *out = ct_nil();
    if (r->answers->replay) {
        ct_reader in;
        ct_status st = play(r->answers, CT_ANSWER_REQUEST, &in, err);
        if (st == CT_OK) {
            st = ct_answers_read_value(r->answers, &in, out, err);
        }
        return st == CT_OK ? played(&in, err) : st;
    }
    ct_status st = r->inner.request(r->inner.ctx, experiment, config, out, err);
    if (st == CT_OK) {
        st = ct_answers_put_value(r->answers, begin(r->answers), out, err);
    }
    return st == CT_OK ? end(r->answers, CT_ANSWER_REQUEST, err) : st;
}

static ct_status
text_hook(ct_recorded_hooks *r, ct_answer_kind kind, ct_trial_id t, ct_buf *out,
          ct_err *err)
{
    size_t from = out->len;
    ct_status st = kind == CT_ANSWER_NAME ? r->inner.name(r->inner.ctx, t, out, err)
                                          : r->inner.dirname(r->inner.ctx, t, out, err);
    if (st == CT_OK && r->answers->replay) {
        ct_reader in;
        out->len = from;
        st = play(r->answers, kind, &in, err);
        return st == CT_OK ? ct_buf_put(out, in.data, in.len, err) : st;
    }
    return st == CT_OK ? ct_answers_record(r->answers, kind, out->data + from,
                                           out->len - from, err)
                       : st;
}

static ct_status
hooks_name(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err)
{
    return text_hook(ctx, CT_ANSWER_NAME, t, out, err);
}

static ct_status
hooks_dirname(void *ctx, ct_trial_id t, ct_buf *out, ct_err *err)
{
    return text_hook(ctx, CT_ANSWER_DIRNAME, t, out, err);
}

ct_trial_hooks
ct_recorded_trial_hooks(ct_recorded_hooks *r, const ct_trial_hooks *inner,
                        ct_answers *a)
{
    *r = (ct_recorded_hooks){*inner, a};
    return (ct_trial_hooks){.request = inner->request == NULL ? NULL : hooks_request,
                            .name = inner->name == NULL ? NULL : hooks_name,
                            .dirname = inner->dirname == NULL ? NULL : hooks_dirname,
                            .ctx = r};
}
