/* driver.c: runs a fuzz target without libFuzzer.
 *
 *     fuzz_x file…         replays files (a corpus, a crash)
 *     fuzz_x -n N [-s S]   N mutations of the target's seeds, stream S
 *     … -k                 keeps the input being run in "fuzz-last", for when it
 * dies */
#include "fuzz.h"

#include "base/mem.h"
#include "base/pcg.h"
#include "os/file.h"

#include <string.h>

enum { SIZE_LIMIT = 1 << 16, MUTATIONS = 6 };

static uint64_t
draw(ct_pcg *p, uint64_t below)
{
    return ct_pcg_next(p) % below;
}

static ct_status
insert_bytes(ct_buf *b, size_t at, const uint8_t *data, size_t len, ct_err *err)
{
    ct_status st = ct_buf_reserve(b, len, err);
    if (st == CT_OK && b->len + len <= SIZE_LIMIT) {
        memmove(b->data + at + len, b->data + at, b->len - at);
        memcpy(b->data + at, data, len);
        b->len += len;
    }
    return st;
}

static ct_status
mutate(ct_pcg *p, ct_buf *b, ct_err *err)
{
    static const uint8_t odd[] = {0,    1,    2,    4,   8,    9,  0x10,
                                  0x7F, 0x80, 0xFF, '"', '\\', '['};
    uint8_t bytes[8];
    size_t at = b->len > 0 ? (size_t)draw(p, b->len) : 0;
    size_t run = 1 + (size_t)draw(p, 8);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)ct_pcg_next(p);
    }
    if (b->len == 0) {
        return insert_bytes(b, 0, bytes, run, err);
    }
    run = run < b->len - at ? run : b->len - at;
    switch (draw(p, 6)) {
    case 0:
        b->data[at] = (uint8_t)(b->data[at] ^ (1U << draw(p, 8)));
        return CT_OK;
    case 1:
        b->data[at] = odd[draw(p, sizeof odd)];
        return CT_OK;
    case 2:
        memmove(b->data + at, b->data + at + run, b->len - at - run);
        b->len -= run;
        return CT_OK;
    case 3:
        return insert_bytes(b, at, bytes, run, err);
    case 4:
        memcpy(bytes, b->data + at, run);
        return insert_bytes(b, (size_t)draw(p, b->len), bytes, run, err);
    default:
        b->len = at; /* cut */
        return CT_OK;
    }
}

/* Runs a copy of the exact size, so that a read behind the end is seen. */
static ct_status
run_exactly(const ct_buf *b, ct_err *err)
{
    uint8_t *exact = ct_alloc(b->len);
    if (exact == NULL) {
        return ct_fail_mem(err);
    }
    if (b->len > 0) {
        memcpy(exact, b->data, b->len);
    }
    (void)LLVMFuzzerTestOneInput(exact, b->len);
    ct_free(exact);
    return CT_OK;
}

static ct_status
run_mutations(uint64_t count, uint64_t stream, bool keep, ct_err *err)
{
    ct_pcg p;
    ct_buf b = CT_BUF_INIT;
    unsigned seeds = 0;
    ct_status st = CT_OK;
    while (fuzz_seed(&b, seeds, err) == CT_OK) {
        seeds++;
        (void)LLVMFuzzerTestOneInput(b.data, b.len);
        ct_buf_clear(&b);
    }
    ct_pcg_init(&p, stream, 1);
    for (uint64_t i = 0; st == CT_OK && i < count; i++) {
        ct_buf_clear(&b);
        st = fuzz_seed(&b, (unsigned)draw(&p, seeds), err);
        for (uint64_t n = 1 + draw(&p, MUTATIONS); st == CT_OK && n > 0; n--) {
            st = mutate(&p, &b, err);
        }
        if (st == CT_OK && keep) {
            st = ct_file_replace("fuzz-last", b.data, b.len, false, err);
        }
        if (st == CT_OK) {
            st = run_exactly(&b, err);
        }
    }
    ct_buf_deinit(&b);
    return st;
}

int
main(int argc, char **argv)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    uint64_t count = 0;
    uint64_t stream = 1;
    bool keep = false;
    ct_status st = CT_OK;
    for (int i = 1; st == CT_OK && i < argc; i++) {
        if (strcmp(argv[i], "-k") == 0) {
            keep = true;
        } else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) {
            count = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "-s") == 0 && i + 1 < argc) {
            stream = strtoull(argv[++i], NULL, 10);
        } else {
            st = ct_file_read_all(argv[i], &b, &err);
            st = st == CT_OK ? run_exactly(&b, &err) : st;
        }
    }
    if (st == CT_OK && count > 0) {
        st = run_mutations(count, stream, keep, &err);
    }
    ct_buf_deinit(&b);
    if (st != CT_OK) {
        (void)fprintf(stderr, "%s: %s\n", err.param, err.text);
        return 1;
    }
    return 0;
}
