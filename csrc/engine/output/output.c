/* output.c: the observer that keeps the files of trials.
 *
 * A running trial has a slot: its two open files, its config as JSON text, and the
 * columns of its progress.csv. Slots are used again, with their memory. A result is one
 * write per file, so that a reader of the files sees whole lines. */
#include "output/output.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"
#include "output/output_int.h"

#include <string.h>

typedef struct slot {
    ct_file json;
    ct_file csv;
    ct_trial_id trial;
    ct_buf config;
    csv_table table;
    bool header;        /* progress.csv was empty: it needs one */
    uint32_t next_free; /* of a slot that is not used */
} slot;

#define NO_SLOT UINT32_MAX
#define HEADER_MAX ((size_t)4 << 20) /* bytes of a progress.csv that hold its header */

struct ct_output {
    ct_output_opts opts;
    ct_names *names;
    slot *slots;
    size_t slot_count;
    size_t slot_cap;
    uint32_t first_free;
    ct_map slot_of; /* trial -> slot */
    jsonl jsonl;
    csv csv;
    ct_buf line; /* scratch: result.json */
    ct_buf row;  /* scratch: progress.csv */
    ct_buf config;
    file_counts *counts; /* by trial, while catching up */
    size_t count_cap;
};

ct_status
ct_output_new(ct_output **out, const ct_output_opts *opts, ct_names *names, ct_err *err)
{
    ct_output *o = ct_calloc(1, sizeof *o);
    if (o == NULL) {
        return ct_fail_mem(err);
    }
    o->opts = *opts;
    o->names = names;
    o->first_free = NO_SLOT;
    jsonl_init(&o->jsonl, names);
    ct_status st = csv_init(&o->csv, names, err);
    if (st != CT_OK) {
        ct_output_free(o);
        return st;
    }
    *out = o;
    return CT_OK;
}

void
ct_output_free(ct_output *o)
{
    if (o == NULL) {
        return;
    }
    for (size_t i = 0; i < o->slot_count; i++) {
        ct_file_close(&o->slots[i].json);
        ct_file_close(&o->slots[i].csv);
        ct_buf_deinit(&o->slots[i].config);
        csv_table_deinit(&o->slots[i].table);
    }
    ct_free(o->slots);
    ct_map_deinit(&o->slot_of);
    jsonl_deinit(&o->jsonl);
    csv_deinit(&o->csv);
    ct_buf_deinit(&o->line);
    ct_buf_deinit(&o->row);
    ct_buf_deinit(&o->config);
    ct_free(o->counts);
    ct_free(o);
}

/* ---- slots ---- */

static slot *
slot_find(ct_output *o, ct_trial_id trial)
{
    uint32_t i = 0;
    return ct_map_get(&o->slot_of, trial, &i) ? &o->slots[i] : NULL;
}

static void
slot_close(ct_output *o, ct_trial_id trial)
{
    uint32_t i = 0;
    if (!ct_map_get(&o->slot_of, trial, &i)) {
        return;
    }
    slot *s = &o->slots[i];
    ct_file_close(&s->json);
    ct_file_close(&s->csv);
    ct_buf_clear(&s->config);
    csv_table_clear(&s->table);
    s->trial = CT_TRIAL_NONE;
    s->next_free = o->first_free;
    o->first_free = i;
    (void)ct_map_remove(&o->slot_of, trial);
}

/* Makes sure that there is a free slot. */
static ct_status
slot_reserve(ct_output *o, ct_err *err)
{
    if (o->first_free != NO_SLOT) {
        return CT_OK;
    }
    ct_status st = ct_grow((void **)&o->slots, &o->slot_cap, o->slot_count + 1,
                           sizeof *o->slots, err);
    if (st == CT_OK) {
        o->slots[o->slot_count] = (slot){.json = CT_FILE_INIT,
                                         .csv = CT_FILE_INIT,
                                         .trial = CT_TRIAL_NONE,
                                         .next_free = NO_SLOT};
        o->first_free = (uint32_t)o->slot_count++;
    }
    return st;
}

static ct_status
open_in(ct_file *f, const char *dir, const char *name, ct_buf *path, ct_err *err)
{
    ct_status st = output_path(path, dir, name, err);
    return st == CT_OK ? ct_file_open_append(f, (const char *)path->data, err) : st;
}

static ct_status
slot_fill(ct_output *o, slot *s, const ct_trial *trial, ct_err *err)
{
    uint64_t size = 0;
    ct_status st = ct_dir_make(trial->dir, NULL, err);
    if (st == CT_OK && o->opts.json) {
        st = params_write(trial->dir, &trial->config, o->names, err);
    }
    if (st == CT_OK && o->opts.json) {
        st = open_in(&s->json, trial->dir, "result.json", &o->row, err);
    }
    if (st == CT_OK && o->opts.csv) {
        st = open_in(&s->csv, trial->dir, "progress.csv", &o->row, err);
    }
    if (st == CT_OK && o->opts.csv) {
        st = ct_file_size(&s->csv, &size, err);
        s->header = size == 0;
    }
    if (st == CT_OK && size > 0) { /* it goes on: with the columns that it has */
        st = ct_file_read_head(s->csv.path, HEADER_MAX, &o->row, err);
    }
    if (st == CT_OK && size > 0) {
        st = csv_table_load(&o->csv, &s->table, (const char *)o->row.data, o->row.len,
                            err);
    }
    return st == CT_OK ? ct_json_print(&s->config, &trial->config, o->names, 0, err)
                       : st;
}

static ct_status
slot_open(ct_output *o, const ct_trial *trial, ct_trial_id id, ct_err *err)
{
    slot_close(o, id);
    ct_status st = slot_reserve(o, err);
    if (st == CT_OK) {
        st = ct_map_put(&o->slot_of, id, o->first_free, err);
    }
    if (st != CT_OK) {
        return st;
    }
    slot *s = &o->slots[o->first_free];
    o->first_free = s->next_free;
    s->trial = id;
    st = slot_fill(o, s, trial, err);
    if (st != CT_OK) {
        slot_close(o, id);
    }
    return st;
}

/* ---- notes ---- */

static ct_status
write_line(ct_output *o, slot *s, ct_err *err)
{
    ct_status st = ct_buf_put_u8(&o->line, '\n', err);
    return st == CT_OK ? ct_file_append(&s->json, o->line.data, o->line.len, err) : st;
}

/* If the header does not reach the file, the next result brings it again. */
static ct_status
write_row(ct_output *o, slot *s, const ct_record *r, ct_err *err)
{
    bool first = !s->table.known;
    ct_buf_clear(&o->row);
    ct_status st =
        csv_print(&o->csv, &s->table, &o->row, r, &o->jsonl, &o->line, s->header, err);
    if (st == CT_OK) {
        st = ct_file_append(&s->csv, o->row.data, o->row.len, err);
    }
    if (st != CT_OK && first) {
        csv_table_clear(&s->table);
    }
    return st;
}

static ct_status
write_result(ct_output *o, const ct_trial *trial, const ct_note *n, bool line, bool row,
             ct_err *err)
{
    slot *s = slot_find(o, n->trial);
    if (s == NULL) { /* nobody said that it started */
        ct_status st = slot_open(o, trial, n->trial, err);
        if (st != CT_OK) {
            return st;
        }
        s = slot_find(o, n->trial);
    }
    ct_buf_clear(&o->line);
    ct_status st = jsonl_print(&o->jsonl, &o->line, n->record, &s->config, err);
    if (st != CT_OK) {
        return st;
    }
    if (line) {
        st = write_line(o, s, err);
    }
    if (row) { /* also when the other file failed; the first failure is told */
        ct_status also = write_row(o, s, n->record, st == CT_OK ? err : NULL);
        st = st == CT_OK ? also : st;
    }
    return st;
}

static void
close_all(ct_output *o)
{
    for (size_t i = 0; i < o->slot_count; i++) {
        if (o->slots[i].trial != CT_TRIAL_NONE) {
            slot_close(o, o->slots[i].trial);
        }
    }
}

ct_status
ct_output_note(ct_output *o, const ct_board *b, const ct_note *n, ct_err *err)
{
    const ct_trial *trial =
        n->trial != CT_TRIAL_NONE ? ct_trials_get(b->trials, n->trial) : NULL;
    bool stored = trial != NULL && trial->dir != NULL;
    bool lines = stored && (o->opts.json || o->opts.csv);
    switch (n->kind) {
    case CT_NOTE_TRIAL_STARTED:
        return lines ? slot_open(o, trial, n->trial, err) : CT_OK;
    case CT_NOTE_RESULT:
        return lines ? write_result(o, trial, n, o->opts.json, o->opts.csv, err)
                     : CT_OK;
    case CT_NOTE_TRIAL_FAILURE:
        return stored && o->opts.errors ? failure_write(trial->dir, n, err) : CT_OK;
    case CT_NOTE_TRIAL_PAUSED:
    case CT_NOTE_TRIAL_COMPLETE:
    case CT_NOTE_TRIAL_RECOVER:
    case CT_NOTE_TRIAL_ERROR:
        slot_close(o, n->trial);
        return CT_OK;
    case CT_NOTE_EXPERIMENT_END:
        close_all(o);
        return CT_OK;
    case CT_NOTE_TRIAL_ADDED:
    case CT_NOTE_TRIAL_EXPLOITED:
    case CT_NOTE_CHECKPOINT:
    case CT_NOTE_SAVED:
    case CT_NOTE_CHECKPOINT_DROP:
    case CT_NOTE_COUNT:
        break;
    }
    return CT_OK;
}

static ct_status
counts_reserve(ct_output *o, size_t trials, ct_err *err)
{
    size_t before = o->count_cap;
    ct_status st =
        ct_grow((void **)&o->counts, &o->count_cap, trials, sizeof *o->counts, err);
    if (st == CT_OK && o->count_cap > before) {
        memset(o->counts + before, 0, (o->count_cap - before) * sizeof *o->counts);
    }
    return st;
}

/* Fewer than the snapshot knew of: someone has removed some, so those that a run wrote behind
 * it cannot be told by their number. They are all there but for the last ones at most. */
static void
pass_over_removed(uint32_t *on_disk, uint32_t known)
{
    if (*on_disk > 0 && *on_disk < known) {
        *on_disk = UINT32_MAX;
    }
}

/* What the trial's files hold; counted when it is first asked for. */
static ct_status
counts_of(ct_output *o, const ct_trial *trial, ct_trial_id t, file_counts **out,
          ct_err *err)
{
    ct_status st = counts_reserve(o, (size_t)t + 1, err);
    if (st != CT_OK) {
        return st;
    }
    file_counts *f = *out = &o->counts[t];
    if (f->known) {
        return CT_OK;
    }
    st = file_counts_read(f, trial->dir, &o->row, err);
    pass_over_removed(&f->lines, f->results);
    pass_over_removed(&f->rows, f->results);
    pass_over_removed(&f->failures, f->failed);
    return st;
}

ct_status
ct_output_catch_up_from(ct_output *o, const ct_board *b, ct_err *err)
{
    size_t n = ct_trials_count(b->trials);
    ct_status st = counts_reserve(o, n + 1, err);
    for (ct_trial_id t = 0; st == CT_OK && t < n; t++) {
        const ct_trial *trial = ct_trials_get(b->trials, t);
        o->counts[t].results = trial->results;
        o->counts[t].failed = trial->told;
    }
    return st;
}

ct_status
ct_output_catch_up(ct_output *o, const ct_board *b, const ct_note *n, ct_err *err)
{
    bool result = n->kind == CT_NOTE_RESULT;
    file_counts *f;

    if (n->kind == CT_NOTE_TRIAL_PAUSED || n->kind == CT_NOTE_TRIAL_RECOVER) {
        slot_close(o, n->trial); /* it may go on with another config */
    }
    if (!result && n->kind != CT_NOTE_TRIAL_FAILURE) {
        return CT_OK;
    }
    const ct_trial *trial = ct_trials_get(b->trials, n->trial);
    ct_status st =
        trial->dir == NULL ? CT_ENOTFOUND : counts_of(o, trial, n->trial, &f, err);
    if (st != CT_OK) {
        return trial->dir == NULL ? CT_OK : st;
    }
    if (!result) {
        return o->opts.errors && ++f->failed > f->failures
                   ? failure_write(trial->dir, n, err)
                   : CT_OK;
    }
    f->results++;
    bool line = o->opts.json && f->results > f->lines;
    bool row = o->opts.csv && f->results > f->rows;
    return line || row ? write_result(o, trial, n, line, row, err) : CT_OK;
}

ct_status
ct_output_caught_up(ct_output *o, const ct_board *b, ct_err *err)
{
    size_t n = ct_trials_count(b->trials);
    ct_status st = counts_reserve(o, n + 1, err);

    close_all(o);
    for (ct_trial_id t = 0; st == CT_OK && t < n; t++) {
        const ct_trial *trial = ct_trials_get(b->trials, t);
        bool ended =
            trial->status == CT_TRIAL_TERMINATED || trial->status == CT_TRIAL_ERROR;
        file_counts *f;
        if (trial->dir == NULL || (ended && !o->counts[t].known)) {
            continue; /* a trial that had ended before the snapshot was not heard of since */
        }
        st = counts_of(o, trial, t, &f, err);
        if (st == CT_OK) {
            st = file_counts_cut(f, &o->opts, trial->dir, &o->row, err);
        }
    }
    ct_free(o->counts);
    o->counts = NULL;
    o->count_cap = 0;
    return st;
}

ct_status
ct_output_json_line(ct_output *o, ct_buf *out, const ct_record *r,
                    const ct_value *config, ct_err *err)
{
    ct_value empty = ct_dict();
    ct_buf_clear(&o->config);
    ct_status st =
        ct_json_print(&o->config, config != NULL ? config : &empty, o->names, 0, err);
    return st == CT_OK ? jsonl_print(&o->jsonl, out, r, &o->config, err) : st;
}
