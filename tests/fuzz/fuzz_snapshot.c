/* fuzz_snapshot.c: the state of a snapshot, loaded into a controller. Whatever the bytes:
 * no crash, an error or a state from which the run can go on for some turns and be saved
 * again. An input is a state and, behind it, the objects that it uses; the checksum and
 * what stands around them are made right, so that the loader itself is tested. Other inputs
 * are the text of a snapshot, likewise, or a few changes to a sound state: then any field
 * may be wrong in a state that is otherwise as it was. */
#include "fuzz.h"

#define RIG_CHECK FUZZ_CHECK
#include "../engine/replay_rig.h"

#include "os/file.h"

enum {
    GOES_ON = 40,   /* turns */
    EVERY = 9,      /* between two seeds */
    SEEDS = 8,      /* of each kind */
    CHANGES = 4,    /* bytes of a state */
    CHANGE_LEN = 3, /* u16 offset, u8 new value */
    CHANGED =
        0xFF, /* first byte of such an input; the second is the number of the state */
    HEAD = 55 /* bytes of a snapshot's file before the state's text; 2 are behind it */
};

static char dir[64];

static void
remove_dir(void)
{
    ct_err err = CT_ERR_INIT;
    (void)ct_dir_remove_tree(dir, &err);
}

static const char *
snapshot(void)
{
    static char path[96];
    if (dir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        (void)snprintf(dir, sizeof dir, "%.40s/ctune_fuzz_XXXXXX",
                       base == NULL ? "/tmp" : base);
        FUZZ_CHECK(mkdtemp(dir) != NULL);
        FUZZ_CHECK(atexit(remove_dir) == 0);
        (void)snprintf(path, sizeof path, "%s/snapshot-000001.json", dir);
    }
    return path;
}

static const ct_value *
part(const rig *r, const ct_value *saved, const char *key)
{
    const ct_value *v = ct_value_get(saved, ct_names_find(r->names, key, strlen(key)));
    FUZZ_CHECK(v != NULL && v->kind == CT_STR);
    return v;
}

/* A controller after so many turns of a run, saved. */
static void
save_after(rig *r, int turns, ct_value *out)
{
    ct_err err = CT_ERR_INIT;
    ct_drive *d = NULL;
    bool more = true;
    rig_init(r, NULL);
    const ct_drive_opts o = rig_drive_opts(r, NULL);
    FUZZ_CHECK(ct_drive_new(&d, &o, &err) == CT_OK);
    for (int i = 0; more && i < turns; i++) {
        FUZZ_CHECK(ct_drive_wait(d, -1.0, &err) == CT_OK);
        FUZZ_CHECK(ct_drive_turn(d, &more, &err) == CT_OK);
    }
    FUZZ_CHECK(ct_control_save(r->control, out, &err) == CT_OK);
    ct_drive_free(d);
}

/* The text that the journal makes of it; its parts stay in their files, for load_text. */
static ct_status
text_of(rig *r, const ct_value *saved, ct_buf *out, ct_err *err)
{
    ct_journal *j = NULL;
    ct_buf file = CT_BUF_INIT;
    const char *path = snapshot();
    ct_status st = ct_dir_remove_tree(dir, err);
    st = st == CT_OK ? ct_dir_make(dir, NULL, err) : st;
    st = st == CT_OK ? ct_journal_open(&j, dir, 0, r->names, CT_SYNC_NONE, err) : st;
    st = st == CT_OK ? ct_journal_snapshot(j, saved, err) : st;
    FUZZ_CHECK(st == CT_OK && ct_journal_close(j, err) == CT_OK);
    st = ct_file_read_all(path, &file, err);
    FUZZ_CHECK(st == CT_OK && file.len > HEAD + 2);
    st = ct_buf_put(out, file.data + HEAD, file.len - HEAD - 2, err);
    ct_buf_deinit(&file);
    return st;
}

/* The first seeds are states with their objects, the others texts. */
ct_status
fuzz_seed(ct_buf *out, unsigned i, ct_err *err)
{
    ct_value saved = ct_nil();
    ct_status st;
    rig r;
    if (i >= 3 * SEEDS) {
        return ct_fail(err, CT_ENOTFOUND, "", "no more seeds");
    }
    if (i >= 2 * SEEDS) {
        const uint8_t change[] = {CHANGED, (uint8_t)(i - 2 * SEEDS), 40, 0, 1, 9, 1, 7};
        return ct_buf_put(out, change, sizeof change, err);
    }
    save_after(&r, 2 + EVERY * (int)(i % SEEDS), &saved);
    const ct_value *objects = part(&r, &saved, "objects");
    const ct_value *state = part(&r, &saved, "state");
    if (i < SEEDS) {
        st = ct_buf_put_bytes(out, state->u.s, state->len, err);
        st = st == CT_OK ? ct_buf_put(out, objects->u.s, objects->len, err) : st;
    } else {
        st = text_of(&r, &saved, out, err);
    }
    ct_value_deinit(&saved);
    rig_deinit(&r);
    return st;
}

static void
put(rig *r, ct_value *dict, const char *key, ct_value v)
{
    ct_err err = CT_ERR_INIT;
    ct_name name;
    FUZZ_CHECK(ct_names_intern(r->names, key, strlen(key), &name, &err) == CT_OK);
    FUZZ_CHECK(ct_value_put(dict, name, &v, &err) == CT_OK);
}

/* A run that was loaded goes on, and may be saved again. */
static void
go_on(rig *r)
{
    ct_err err = CT_ERR_INIT;
    ct_value again = ct_nil();
    ct_drive *d = NULL;
    bool more = true;
    ct_status st = CT_OK;
    const ct_drive_opts o = rig_drive_opts(r, NULL);
    FUZZ_CHECK(ct_drive_new(&d, &o, &err) == CT_OK);
    for (int i = 0; st == CT_OK && more && i < GOES_ON; i++) {
        st = ct_drive_wait(d, -1.0, &err);
        st = st == CT_OK ? ct_drive_turn(d, &more, &err) : st;
    }
    FUZZ_CHECK(st == CT_OK || err.text[0] != '\0');
    if (st == CT_OK && ct_control_save(r->control, &again, &err) == CT_OK) {
        ct_value_deinit(&again);
    }
    ct_drive_free(d);
}

static void
load_state(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_reader in = ct_reader_of(data, size);
    ct_value saved = ct_dict();
    ct_value v = ct_nil();
    size_t len = 0;
    const uint8_t *state = ct_read_bytes(&in, &len);
    rig r;
    if (in.bad) {
        return;
    }
    rig_init(&r, NULL);
    put(&r, &saved, "version", ct_i64(3));
    FUZZ_CHECK(ct_str(&v, (const char *)state, len, &err) == CT_OK);
    put(&r, &saved, "state", v);
    FUZZ_CHECK(ct_str(&v, (const char *)data + in.at, size - in.at, &err) == CT_OK);
    put(&r, &saved, "objects", v);
    ct_status st = ct_control_load(r.control, &saved, r.answers.objects, &err);
    FUZZ_CHECK(st == CT_OK || (st == err.code && err.text[0] != '\0'));
    FUZZ_CHECK(st != CT_EUNSUPPORTED); /* the version is that of this build */
    if (st == CT_OK) {
        go_on(&r);
    }
    ct_value_deinit(&saved);
    rig_deinit(&r);
}

/* As journal/snapshot writes it. */
static void
load_text(const uint8_t *data, size_t size)
{
    ct_err err = CT_ERR_INIT;
    ct_buf text = CT_BUF_INIT;
    FUZZ_CHECK(ct_buf_printf(&text, &err,
                             "{\"segment\": %10u, \"crc32c\": \"%08x\", \"state\": ",
                             1U, (unsigned)ct_crc32c(0, data, size)) == CT_OK);
    FUZZ_CHECK(ct_buf_put(&text, data, size, &err) == CT_OK);
    FUZZ_CHECK(ct_buf_puts(&text, "}\n", &err) == CT_OK);
    FUZZ_CHECK(ct_file_replace(snapshot(), text.data, text.len, false, &err) == CT_OK);
    (void)rig_replay(dir, GOES_ON);
    ct_buf_deinit(&text);
}

/* A sound state with a few other bytes. */
static void
load_changed(const uint8_t *data, size_t size)
{
    static ct_buf sound[SEEDS];
    ct_err err = CT_ERR_INIT;
    ct_buf changed = CT_BUF_INIT;
    ct_buf *from = &sound[data[1] % SEEDS];
    if (from->len == 0) {
        FUZZ_CHECK(fuzz_seed(from, data[1] % SEEDS, &err) == CT_OK);
    }
    FUZZ_CHECK(ct_buf_put(&changed, from->data, from->len, &err) == CT_OK);
    for (size_t i = 0; i < CHANGES && 2 + (i + 1) * CHANGE_LEN <= size; i++) {
        const uint8_t *c = data + 2 + i * CHANGE_LEN;
        changed.data[2 + (size_t)(c[0] | c[1] << 8U) % (changed.len - 2)] = c[2];
    }
    load_state(changed.data, changed.len);
    ct_buf_deinit(&changed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 && data[0] == CHANGED) {
        load_changed(data, size);
    } else if (size > 0 && data[0] == '{') {
        load_text(data, size);
    } else {
        load_state(data, size);
    }
    return 0;
}
