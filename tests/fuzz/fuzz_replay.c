/* fuzz_replay.c: a journal, replayed into a controller. Whatever the bytes: no crash, an
 * error or the state of whole turns, and a run that then goes on for some turns. As in
 * fuzz_frames.c, an input is also read with sound checksums, and a third time as a few
 * changes to the payloads of a whole journal: then any field of any event and answer may
 * be wrong in a journal that is otherwise as it was. */
#include "fuzz.h"

#define RIG_CHECK FUZZ_CHECK
#include "../engine/replay_rig.h"

#include "os/file.h"

enum {
    GOES_ON = 40,   /* turns */
    CHANGES = 4,    /* bytes of payloads */
    CHANGE_LEN = 5, /* u16 frame, u16 offset, u8 new value */
};

static char dir[64];

static void
remove_dir(void)
{
    ct_err err = CT_ERR_INIT;
    (void)ct_dir_remove_tree(dir, &err);
}

static const char *
segment(void)
{
    static char path[96];
    if (dir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        (void)snprintf(dir, sizeof dir, "%.40s/ctune_fuzz_XXXXXX",
                       base == NULL ? "/tmp" : base);
        FUZZ_CHECK(mkdtemp(dir) != NULL);
        FUZZ_CHECK(atexit(remove_dir) == 0);
        (void)snprintf(path, sizeof path, "%s/journal-000000.ctj", dir);
    }
    return path;
}

/* The segment of a run that nothing befell. */
static const ct_buf *
sound_journal(void)
{
    static ct_buf whole = CT_BUF_INIT;
    ct_err err = CT_ERR_INIT;
    if (whole.len == 0) {
        const char *path = segment();
        FUZZ_CHECK(ct_file_remove(path, &err) == CT_OK);
        rig_run(dir, 10000);
        FUZZ_CHECK(ct_file_read_all(path, &whole, &err) == CT_OK);
    }
    return &whole;
}

/* Seed 0: a segment. Seed 1: its frames as type, length, payload. Seed 2: changes. */
ct_status
fuzz_seed(ct_buf *out, unsigned i, ct_err *err)
{
    const ct_buf whole = *sound_journal();
    size_t at = 0;
    ct_status st = CT_OK;
    if (i > 2) {
        return ct_fail(err, CT_ENOTFOUND, "", "no more seeds");
    }
    if (i == 0) {
        return ct_buf_put(out, whole.data, whole.len, err);
    }
    if (i == 2) {
        static const uint8_t change[CHANGE_LEN] = {3, 0, 0, 0, 7};
        return ct_buf_put(out, change, sizeof change, err);
    }
    while (st == CT_OK && at < whole.len) {
        uint8_t type = 0;
        const uint8_t *payload = NULL;
        size_t len = 0;
        size_t size = 0;
        FUZZ_CHECK(ct_frame_peek(whole.data + at, whole.len - at, &type, &payload, &len,
                                 &size) == CT_FRAME_WHOLE);
        st = ct_buf_put_u8(out, type, err);
        st = st == CT_OK ? ct_buf_put_bytes(out, payload, len, err) : st;
        at += size;
    }
    return st;
}

static void
replay(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    FUZZ_CHECK(ct_file_replace(segment(), data, size, false, &err) == CT_OK);
    (void)rig_replay(dir, GOES_ON);
}

/* The sound journal with changed payloads and sound checksums. */
static void
replay_changed(const uint8_t *data, size_t size)
{
    const ct_buf whole = *sound_journal();
    ct_err err = CT_ERR_INIT;
    ct_buf out = CT_BUF_INIT;
    ct_buf body = CT_BUF_INIT;
    unsigned frame = 0;
    unsigned frames = 0;
    uint8_t type = 0;
    const uint8_t *payload = NULL;
    size_t len = 0;
    size_t frame_size = 0;
    for (size_t at = 0; at < whole.len; at += frame_size, frames++) {
        FUZZ_CHECK(ct_frame_peek(whole.data + at, whole.len - at, &type, &payload, &len,
                                 &frame_size) == CT_FRAME_WHOLE);
    }
    for (size_t at = 0; at < whole.len; at += frame_size, frame++) {
        (void)ct_frame_peek(whole.data + at, whole.len - at, &type, &payload, &len,
                            &frame_size);
        ct_buf_clear(&body);
        FUZZ_CHECK(ct_buf_put(&body, payload, len, &err) == CT_OK);
        for (unsigned i = 0; i < CHANGES && (i + 1) * CHANGE_LEN <= size; i++) {
            const uint8_t *c = data + (size_t)i * CHANGE_LEN;
            if ((c[0] | c[1] << 8U) % frames == frame && len > 0) {
                body.data[(size_t)(c[2] | c[3] << 8U) % len] = c[4];
            }
        }
        FUZZ_CHECK(ct_encode_frame(&out, type, body.data, body.len, &err) == CT_OK);
    }
    replay(out.data, out.len);
    ct_buf_deinit(&out);
    ct_buf_deinit(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_buf sound = CT_BUF_INIT;
    ct_reader in = ct_reader_of(data, size);
    replay(data, size);
    while (!in.bad && in.at < in.len) {
        size_t len = 0;
        uint8_t type = ct_read_u8(&in);
        const uint8_t *payload = ct_read_bytes(&in, &len);
        if (payload != NULL) {
            FUZZ_CHECK(ct_encode_frame(&sound, type, payload, len, &err) == CT_OK);
        }
    }
    if (sound.len > 0) {
        replay(sound.data, sound.len);
    }
    replay_changed(data, size);
    ct_buf_deinit(&sound);
    return 0;
}
