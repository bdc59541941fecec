/* answers.h: what foreign policies said, so that recovery need not ask them again.
 *
 * A foreign policy (a Python scheduler, a searcher behind another library, a draw from a
 * stream that others use as well) cannot be computed a second time. Whoever asks it
 * records the answer here; the drive writes what a turn has recorded as the blob of one
 * ANSWER event, before any effect of the turn leaves. Recovery loads those blobs again,
 * and then each question takes its answer from here, in the order of asking.
 *
 * Blob: per answer, u8 kind | varint length | bytes. What the bytes mean is the business
 * of whoever asks; the kind guards against a question meeting another one's answer. */
#ifndef CT_POLICY_ANSWERS_H
#define CT_POLICY_ANSWERS_H

#include "base/bytes.h"
#include "base/rng.h"

typedef enum ct_answer_kind {
    CT_ANSWER_VERDICT,    /* of a scheduler, with its orders */
    CT_ANSWER_CHOICE,     /* the trial to start next */
    CT_ANSWER_SUGGESTION, /* of a searcher */
    CT_ANSWER_STOP,       /* of a stopper, about one trial */
    CT_ANSWER_STOP_ALL,
    CT_ANSWER_DRAW, /* one number from a shared random stream */
    CT_ANSWER_OTHER,
    CT_ANSWER_COUNT
} ct_answer_kind;

typedef struct ct_answers {
    ct_buf recorded; /* of this turn */
    ct_buf loaded;   /* to be played back */
    size_t at;       /* next one to play */
} ct_answers;

#define CT_ANSWERS_INIT {CT_BUF_INIT, CT_BUF_INIT, 0}

void ct_answers_deinit(ct_answers *a);
/* Appends an answer; on failure nothing changed. Errors: CT_ENOMEM. */
ct_status ct_answers_record(ct_answers *a, ct_answer_kind kind, const void *data,
                            size_t len, ct_err *err);
/* What was recorded since the last call of ct_answers_sent: the blob of an ANSWER event,
 * borrowed until then; *len is 0 when there was nothing. */
const uint8_t *ct_answers_blob(const ct_answers *a, size_t *len);
void ct_answers_sent(ct_answers *a); /* memory kept */

/* Queues the answers of one blob. Errors: CT_ECORRUPT when it ends inside an answer or
 * holds an unknown kind (nothing is queued then), CT_ENOMEM. */
ct_status ct_answers_load(ct_answers *a, const uint8_t *blob, size_t len, ct_err *err);
/* Whether answers wait to be played: while it is so, nobody is asked. */
bool ct_answers_playing(const ct_answers *a);
/* The next answer, borrowed until the next load. Errors: CT_ECORRUPT when it is of another
 * kind: the questions are not those of the recorded run. */
ct_status ct_answers_play(ct_answers *a, ct_answer_kind kind, const uint8_t **data,
                          size_t *len, ct_err *err);

/* A source whose draws are recorded, and played back while answers wait. Integers and
 * normals are not recorded: they answer CT_EUNSUPPORTED. A draw that cannot be recorded
 * or played leaves its error in `st` and `err`, and is 0. */
typedef struct ct_answers_rng {
    ct_rng rng; /* first */
    ct_rng *source;
    ct_answers *answers;
    ct_status st;
    ct_err err;
} ct_answers_rng;
void ct_answers_rng_init(ct_answers_rng *r, ct_rng *source, ct_answers *answers);

#endif
