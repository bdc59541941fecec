/* answers.h: what foreign policies said, so that recovery does not depend on what they
 * would say now.
 *
 * A foreign policy (a Python scheduler, a searcher behind another library, a draw from a
 * stream that others use as well) need not say the same a second time. Whoever asks it
 * (policy/recorded) records the answer here; the drive writes what a turn has recorded as
 * the blob of one ANSWER event, before any effect of the turn leaves. A replay loads a
 * turn's blob before it feeds the turn's events, and then each question takes its answer
 * from here, in the order of asking. The policy is asked all the same, so that it is
 * afterwards where it was then; what it says does not count.
 *
 * Blob: per answer, u8 kind | varint length | bytes. docs/formats has the bytes of each
 * kind; the kind guards against a question meeting another one's answer. */
#ifndef CT_POLICY_ANSWERS_H
#define CT_POLICY_ANSWERS_H

#include "base/map.h"
#include "base/rng.h"
#include "flow/codec.h"

typedef enum ct_answer_kind {
    CT_ANSWER_VERDICT,    /* of a scheduler, with its orders */
    CT_ANSWER_ORDERS,     /* of a scheduler that was told how a trial ended */
    CT_ANSWER_CHOICE,     /* the trial to start next, with orders */
    CT_ANSWER_SUGGESTION, /* of a searcher */
    CT_ANSWER_STOP,       /* of a stopper, about one trial; only where it said yes */
    CT_ANSWER_STOP_ALL,   /* about all; likewise */
    CT_ANSWER_REAL,       /* one number from a shared random stream */
    CT_ANSWER_INTEGER,    /* likewise */
    CT_ANSWER_REQUEST,    /* resources of a trial */
    CT_ANSWER_NAME,       /* of a trial */
    CT_ANSWER_DIRNAME,
    CT_ANSWER_VALUE, /* anything else that was made of draws */
    CT_ANSWER_COUNT
} ct_answer_kind;

typedef struct ct_answers {
    ct_buf recorded; /* of this turn */
    ct_buf loaded;   /* to be played back */
    size_t at;       /* next one to play */
    bool replay;
    bool quiet_waits; /* of a replay: where a searcher had nothing, it is not asked */
    bool
        lost; /* an object was written or read that could not be kept: nil in its place */
    size_t differing; /* played answers of searchers that said something else now */
    ct_buf scratch;   /* of whoever makes an answer */
    ct_buf frames;    /* the names that a value defines */
    ct_encoder encoder;
    ct_decoder decoder;
    ct_ref_reader objects; /* what the decoder's objects are read with */
    ct_map numbers;        /* of the objects that were written, by address */
    ct_value *held; /* objects by number, written or read; holds addresses valid */
    size_t n_held, cap_held;
    ct_buf *apart;         /* where the bytes of objects go, NULL = among the others */
    ct_reader *read_apart; /* likewise, where they come from */
} ct_answers;

/* `objects` makes objects again from their bytes; its function may be NULL while nothing is
 * played. The names must outlive the answers, which must not move. */
void ct_answers_init(ct_answers *a, ct_names *names, ct_ref_reader objects);
void ct_answers_deinit(ct_answers *a);
/* What was written so far is out of reach (a new segment): defines names and objects
 * anew. */
void ct_answers_restart(ct_answers *a);

/* Appends an answer; on failure nothing changed. Errors: CT_ENOMEM. */
ct_status ct_answers_record(ct_answers *a, ct_answer_kind kind, const void *data,
                            size_t len, ct_err *err);
/* What was recorded since the last call of ct_answers_sent: the blob of an ANSWER event,
 * borrowed until then; *len is 0 when there was nothing. */
const uint8_t *ct_answers_blob(const ct_answers *a, size_t *len);
void ct_answers_sent(ct_answers *a); /* memory kept */

/* Forgets what was recorded behind `len`, the length of an earlier blob. */
void ct_answers_rollback(ct_answers *a, size_t len);

/* While replay is on, nothing is recorded: every question is answered by
 * ct_answers_play. */
void ct_answers_replay(ct_answers *a, bool on);
/* Queues the answers of one blob. Errors: CT_ECORRUPT when it ends inside an answer or
 * holds an unknown kind (nothing is queued then), CT_ENOMEM. */
ct_status ct_answers_load(ct_answers *a, const uint8_t *blob, size_t len, ct_err *err);
size_t ct_answers_left(const ct_answers *a); /* bytes of answers that were not played */
/* Takes the next answer if it is this one. */
bool ct_answers_play_if(ct_answers *a, ct_answer_kind kind, const void *data,
                        size_t len);
/* The next answer, borrowed until the next load. Errors: CT_ECORRUPT when none is left or
 * it is of another kind: the questions are not those of the recorded run. */
ct_status ct_answers_play(ct_answers *a, ct_answer_kind kind, const uint8_t **data,
                          size_t *len, ct_err *err);

/* A value inside an answer: bytes (the NAME frames of its keys that are new), then the
 * value as flow/codec has it. An object in it is varint number | u8 state | bytes: 0 the
 * object of that number again, 1 new, with its bytes, 2 new, of a kind that has none, 3 new,
 * a varint tells how many of the bytes apart are its own; they stand in this order. */
ct_status ct_answers_put_value(ct_answers *a, ct_buf *out, const ct_value *v,
                               ct_err *err);
/* An object that could not be kept is nil and sets `lost`. Errors: CT_ECORRUPT. */
ct_status ct_answers_read_value(ct_answers *a, ct_reader *in, ct_value *out,
                                ct_err *err);

/* One answer of kind CT_ANSWER_VALUE: *v was made; it is recorded, or during a replay
 * replaced by what was. Without answers (NULL) it stays. */
ct_status ct_answers_settle_value(ct_answers *a, ct_value *v, ct_err *err);

/* A source whose draws are recorded. During a replay they are played back, and the source
 * draws too, so that it is where it was; without `answers`
 * (NULL) they just pass. A double that cannot be recorded or played leaves its error in
 * `st` and `err`, and is 0. */
typedef struct ct_answers_rng {
    ct_rng rng; /* first */
    ct_rng *source;
    ct_answers *answers;
    ct_status st;
    ct_err err;
} ct_answers_rng;
void ct_answers_rng_init(ct_answers_rng *r, ct_rng *source, ct_answers *answers);

#endif
