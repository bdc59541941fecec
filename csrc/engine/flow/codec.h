/* codec.h: the one binary form of events and commands, on pipes and in the journal.
 *
 * Frame: u32 length of what follows up to the checksum | u8 type | payload | u32
 * CRC-32C of type and payload. All little endian. Types: NAME (varint number, text)
 * defines a name of this stream before its first use; EVENT; COMMAND; others are the
 * journal's own. Each stream has an encoder, which remembers which names it has
 * defined, and a decoder, which maps the stream's names to ours. Refs inside configs
 * travel as the bytes of ops->wire. */
#ifndef CT_FLOW_CODEC_H
#define CT_FLOW_CODEC_H

#include "flow/command.h"
#include "flow/event.h"

#define CT_CODEC_VERSION 2u
#define CT_FRAME_MAX (1u << 30)

typedef enum ct_frame_type {
    CT_FRAME_NAME = 1,
    CT_FRAME_EVENT = 2,
    CT_FRAME_COMMAND = 3,
    CT_FRAME_TURN = 4,   /* journal: end of a turn; payload f64 time */
    CT_FRAME_HEADER = 5, /* journal: first frame of a segment */
    CT_FRAME_BLOB = 6    /* uninterpreted bytes */
} ct_frame_type;

/* What an encoder writes for a ref: appends its bytes. NULL function: ops->wire. */
typedef struct ct_ref_writer {
    ct_status (*write)(void *ctx, ct_ref *ref, ct_buf *out, ct_err *err);
    void *ctx;
} ct_ref_writer;

typedef struct ct_encoder {
    const ct_names *names;
    ct_ref_writer refs;
    uint8_t *defined; /* bitmap by name */
    size_t cap;
} ct_encoder;

void ct_encoder_init(ct_encoder *e, const ct_names *names);
void ct_encoder_deinit(ct_encoder *e);
void ct_encoder_restart(ct_encoder *e); /* a new stream: define every name again */
/* Appends frames (names first) to out. */
ct_status ct_encode_event(ct_encoder *e, ct_buf *out, const ct_event *ev, ct_err *err);
ct_status ct_encode_command(ct_encoder *e, ct_buf *out, const ct_command *c,
                            ct_err *err);
ct_status ct_encode_frame(ct_buf *out, uint8_t type, const void *data, size_t len,
                          ct_err *err);

/* How a decoder turns the bytes of a ref into a value again. NULL function:
 * CT_ECORRUPT. */
typedef struct ct_ref_reader {
    ct_status (*read)(void *ctx, const uint8_t *data, size_t len, ct_value *out,
                      ct_err *err);
    void *ctx;
} ct_ref_reader;

typedef struct ct_decoder {
    ct_names *names;
    ct_name *map;
    size_t n_map;
    ct_ref_reader refs;
} ct_decoder;

void ct_decoder_init(ct_decoder *d, ct_names *names, ct_ref_reader refs);
void ct_decoder_deinit(ct_decoder *d);

typedef enum ct_frame_state {
    CT_FRAME_WHOLE,
    CT_FRAME_SHORT, /* the bytes end inside the frame */
    CT_FRAME_BAD    /* checksum or length is wrong */
} ct_frame_state;

/* Looks at the frame at the start of data. WHOLE: *type, *payload, *len and *size (of
 * the whole frame) are set. */
ct_frame_state ct_frame_peek(const uint8_t *data, size_t avail, uint8_t *type,
                             const uint8_t **payload, size_t *len, size_t *size);
/* Feeds a NAME frame's payload. */
ct_status ct_decode_name(ct_decoder *d, const uint8_t *payload, size_t len,
                         ct_err *err);
/* *ev borrows from payload and from *record, which is replaced. */
ct_status ct_decode_event(ct_decoder *d, const uint8_t *payload, size_t len,
                          ct_event *ev, ct_record *record, ct_err *err);

/* A decoded command owns its values; texts borrow from payload (NUL-terminated
 * there). */
typedef struct ct_command_box {
    ct_command command;
    ct_value config;
    ct_value resources;
} ct_command_box;
void ct_command_box_deinit(ct_command_box *b);
ct_status ct_decode_command(ct_decoder *d, const uint8_t *payload, size_t len,
                            ct_command_box *out, ct_err *err);

/* Value trees in the same encoding, for whoever needs them inside a blob. */
ct_status ct_encode_value(ct_encoder *e, ct_buf *names_out, ct_buf *out,
                          const ct_value *v, ct_err *err);
ct_status ct_decode_value(ct_decoder *d, ct_reader *in, ct_value *out, ct_err *err);

#endif
