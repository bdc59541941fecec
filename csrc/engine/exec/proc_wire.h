/* proc_wire.h: what driver and helper say to each other on the control socket.
 *
 * A message is four u32, little endian: kind | worker | value | length, and then `length`
 * bytes. FORK carries the worker's socket as a descriptor with its first byte, and so may
 * PAYLOAD carry memory that the helper maps. */
#ifndef CT_EXEC_PROC_WIRE_H
#define CT_EXEC_PROC_WIRE_H

#include "base/bytes.h"

#define CT_WIRE_HEADER 16u

typedef enum ct_wire_kind {
    /* driver to helper */
    CT_WIRE_PAYLOAD = 1, /* bytes = the payload */
    CT_WIRE_FORK,        /* make this worker */
    CT_WIRE_KILL,        /* kill its process group */
    /* helper to driver */
    CT_WIRE_READY,      /* the helper listens */
    CT_WIRE_LOADED,     /* the payload is understood */
    CT_WIRE_UNLOADABLE, /* bytes = text for the user; no worker can be made */
    CT_WIRE_FORKED,     /* value = process id */
    CT_WIRE_UNFORKED,   /* value = errno */
    CT_WIRE_ENDED       /* value = as ct_event.code of LOST, two's complement */
} ct_wire_kind;

typedef struct ct_wire {
    uint32_t kind;
    uint32_t worker;
    uint32_t value;
    uint32_t len;
} ct_wire;

static inline void
ct_wire_write(uint8_t out[CT_WIRE_HEADER], const ct_wire *m)
{
    const uint32_t fields[4] = {m->kind, m->worker, m->value, m->len};
    for (size_t i = 0; i < CT_WIRE_HEADER; i++) {
        out[i] = (uint8_t)(fields[i / 4] >> (8 * (i % 4)));
    }
}

static inline ct_wire
ct_wire_read(const uint8_t in[CT_WIRE_HEADER])
{
    ct_reader r = ct_reader_of(in, CT_WIRE_HEADER);
    ct_wire m = {0};
    m.kind = ct_read_u32(&r);
    m.worker = ct_read_u32(&r);
    m.value = ct_read_u32(&r);
    m.len = ct_read_u32(&r);
    return m;
}

#endif
