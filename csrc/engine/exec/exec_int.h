/* exec_int.h: what the executors of this room share. */
#ifndef CT_EXEC_EXEC_INT_H
#define CT_EXEC_EXEC_INT_H

#include "base/bytes.h"
#include "flow/codec.h"

/* A command with its own copy of what it points to. Reused for the next one, so that
 * commands without a config (STEP) allocate nothing. */
typedef struct ct_job {
    ct_command command; /* points into the fields below */
    ct_value config;
    ct_value resources;
    ct_buf text; /* all texts, each with its NUL */
} ct_job;

/* Zeroed memory is an empty job. On failure the job is empty again. */
ct_status ct_job_set(ct_job *j, const ct_command *c, ct_err *err);
void ct_job_clear(ct_job *j); /* keeps the memory of texts */
void ct_job_deinit(ct_job *j);

/* Decoded events that live together until the next wait. Records keep their memory. */
typedef struct ct_batch {
    ct_event *events;
    size_t events_cap;
    ct_record **records; /* one per event: an event points to its own */
    size_t records_cap;
    size_t made; /* records that exist */
    size_t count;
    size_t next; /* the first event not yet taken */
} ct_batch;

/* Zeroed memory is an empty batch. */
void ct_batch_deinit(ct_batch *b);
void ct_batch_clear(ct_batch *b);
/* Room for one more event and its record; count it in by b->count++. */
ct_status ct_batch_slot(ct_batch *b, ct_event **ev, ct_record **record, ct_err *err);
bool ct_batch_take(ct_batch *b, ct_event *out);

#endif
