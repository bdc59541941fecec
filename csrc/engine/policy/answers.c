/* answers.c: recording and playing back. Format and purpose are in answers.h. */
#include "policy/answers.h"

#include "base/mem.h"

void
ct_answers_deinit(ct_answers *a)
{
    ct_buf_deinit(&a->recorded);
    ct_buf_deinit(&a->loaded);
    a->at = 0;
}

ct_status
ct_answers_record(ct_answers *a, ct_answer_kind kind, const void *data, size_t len,
                  ct_err *err)
{
    size_t before = a->recorded.len;
    ct_status st = ct_buf_put_u8(&a->recorded, (uint8_t)kind, err);
    if (st == CT_OK) {
        st = ct_buf_put_bytes(&a->recorded, data, len, err);
    }
    if (st != CT_OK) {
        a->recorded.len = before;
    }
    return st;
}

const uint8_t *
ct_answers_blob(const ct_answers *a, size_t *len)
{
    *len = a->recorded.len;
    return a->recorded.data;
}

void
ct_answers_sent(ct_answers *a)
{
    ct_buf_clear(&a->recorded);
}

/* Whether the bytes are whole answers of known kinds. */
static bool
blob_valid(const uint8_t *blob, size_t len)
{
    ct_reader r = ct_reader_of(blob, len);
    while (r.at < r.len) {
        size_t n;
        if (ct_read_u8(&r) >= CT_ANSWER_COUNT) {
            return false;
        }
        (void)ct_read_bytes(&r, &n);
        if (r.bad) {
            return false;
        }
    }
    return true;
}

ct_status
ct_answers_load(ct_answers *a, const uint8_t *blob, size_t len, ct_err *err)
{
    if (!blob_valid(blob, len)) {
        return ct_fail(err, CT_ECORRUPT, "answers",
                       "a record of %zu bytes does not hold whole answers; the journal "
                       "was damaged or written by another version",
                       len);
    }
    if (a->at == a->loaded.len) { /* all played: start over at the front */
        ct_buf_clear(&a->loaded);
        a->at = 0;
    }
    return ct_buf_put(&a->loaded, blob, len, err);
}

bool
ct_answers_playing(const ct_answers *a)
{
    return a->at < a->loaded.len;
}

ct_status
ct_answers_play(ct_answers *a, ct_answer_kind kind, const uint8_t **data, size_t *len,
                ct_err *err)
{
    if (!ct_answers_playing(a)) {
        return ct_fail(err, CT_ECORRUPT, "answers",
                       "the journal holds no answer to a question of kind %d; the run "
                       "that wrote it asked less",
                       (int)kind);
    }
    ct_reader r = ct_reader_of(a->loaded.data, a->loaded.len);
    r.at = a->at;
    unsigned found = ct_read_u8(&r);
    if (found != (unsigned)kind) {
        return ct_fail(err, CT_ECORRUPT, "answers",
                       "the journal holds an answer of kind %u where one of kind %d is "
                       "asked for; resume with the policies that the run began with",
                       found, (int)kind);
    }
    *data = ct_read_bytes(&r, len);
    a->at = r.at;
    return CT_OK;
}

/* ---- draws ---- */

static ct_status
draw_play(ct_answers_rng *r, double *out)
{
    const uint8_t *data;
    size_t len;
    ct_status st = ct_answers_play(r->answers, CT_ANSWER_DRAW, &data, &len, &r->err);
    if (st != CT_OK) {
        return st;
    }
    ct_reader in = ct_reader_of(data, len);
    *out = ct_read_f64(&in);
    return !in.bad ? CT_OK
                   : ct_fail(&r->err, CT_ECORRUPT, "answers",
                             "a recorded draw has %zu bytes in place of 8", len);
}

static ct_status
draw_record(ct_answers_rng *r, double *out)
{
    double u = r->source->next_double(r->source);
    ct_buf bytes = CT_BUF_INIT;
    ct_status st = ct_buf_put_f64(&bytes, u, &r->err);
    if (st == CT_OK) {
        st = ct_answers_record(r->answers, CT_ANSWER_DRAW, bytes.data, bytes.len,
                               &r->err);
    }
    ct_buf_deinit(&bytes);
    *out = u;
    return st;
}

static double
answers_rng_double(ct_rng *rng)
{
    ct_answers_rng *r = (ct_answers_rng *)rng;
    double u = 0.0;
    if (r->st == CT_OK) {
        r->st = ct_answers_playing(r->answers) ? draw_play(r, &u) : draw_record(r, &u);
    }
    return r->st == CT_OK ? u : 0.0;
}

static ct_status
answers_rng_normal(ct_rng *rng, double mean, double sd, double *out, ct_err *err)
{
    (void)rng;
    (void)mean;
    (void)sd;
    (void)out;
    return ct_fail(err, CT_EUNSUPPORTED, "rng", "normal draws are not recorded");
}

static ct_status
answers_rng_integers(ct_rng *rng, int64_t low, int64_t high, int64_t *out, ct_err *err)
{
    (void)rng;
    (void)low;
    (void)high;
    (void)out;
    return ct_fail(err, CT_EUNSUPPORTED, "rng", "integer draws are not recorded");
}

void
ct_answers_rng_init(ct_answers_rng *r, ct_rng *source, ct_answers *answers)
{
    r->rng.next_double = answers_rng_double;
    r->rng.normal = answers_rng_normal;
    r->rng.integers = answers_rng_integers;
    r->source = source;
    r->answers = answers;
    r->st = CT_OK;
    r->err = (ct_err)CT_ERR_INIT;
}
