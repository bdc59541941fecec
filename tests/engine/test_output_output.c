/* The files of a trial, byte for byte as Python's json and csv modules write them. */
#include "folder.h"
#include "support.h"

#include "base/json.h"
#include "os/file.h"
#include "output/output.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void
assert_file(const char *name, const char *expected)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    char path[200];
    (void)snprintf(path, sizeof path, "%s/trial/%s", folder, name);
    assert_ok(ct_file_read_all(path, &b, &err), err);
    assert_ok(ct_buf_terminate(&b, &err), err);
    assert_string_equal((const char *)b.data, expected);
    ct_buf_deinit(&b);
}

static bool
file_exists(const char *name)
{
    char path[200];
    (void)snprintf(path, sizeof path, "%s/trial/%s", folder, name);
    return ct_file_exists(path);
}

/* ---- an experiment of one trial ---- */

typedef struct world {
    ct_names *names;
    ct_trials *trials;
    ct_output *output;
    ct_board board;
    ct_record r;
} world;

static ct_name
key(world *w, const char *text)
{
    ct_err err = CT_ERR_INIT;
    ct_name n = 0;
    assert_ok(ct_names_intern(w->names, text, strlen(text), &n, &err), err);
    return n;
}

static ct_status
world_open(world *w, ct_err *err)
{
    const ct_output_opts opts = {true, true, true};
    char dir[120];
    ct_value config = ct_dict();
    ct_value v = ct_f64(0.5);
    ct_name lr = 0;
    ct_name act = 0;
    ct_trial_id id = 0;
    *w = (world){.r = CT_RECORD_INIT};
    ct_status st = ct_names_new(&w->names, err);
    if (st == CT_OK) {
        st = ct_names_intern(w->names, "lr", 2, &lr, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(w->names, "act", 3, &act, err);
    }
    if (st == CT_OK) {
        st = ct_trials_new(&w->trials, err);
    }
    if (st == CT_OK) {
        st = ct_value_put(&config, lr, &v, err);
    }
    if (st == CT_OK) {
        st = ct_str(&v, "relu", 4, err);
    }
    if (st == CT_OK) {
        st = ct_value_put(&config, act, &v, err);
    }
    if (st == CT_OK) {
        st = ct_trials_add(w->trials, "t0", NULL, &config, NULL, &id, err);
    }
    (void)snprintf(dir, sizeof dir, "%s/trial", folder);
    if (st == CT_OK) {
        st = ct_trial_set_text(&ct_trials_mut(w->trials, id)->dir, dir, err);
    }
    if (st == CT_OK) {
        st = ct_output_new(&w->output, &opts, w->names, err);
    }
    w->board = (ct_board){.names = w->names, .trials = w->trials};
    ct_value_deinit(&config);
    return st;
}

static void
world_close(world *w)
{
    ct_output_free(w->output);
    ct_trials_free(w->trials);
    ct_record_deinit(&w->r);
    ct_names_free(w->names);
}

static void
say(world *w, ct_note_kind kind)
{
    ct_err err = CT_ERR_INIT;
    const ct_note n = {.kind = kind, .trial = 0, .record = &w->r};
    assert_ok(ct_output_note(w->output, &w->board, &n, &err), err);
}

static world
world_of(void)
{
    ct_err err = CT_ERR_INIT;
    world w;
    assert_ok(world_open(&w, &err), err);
    return w;
}

/* Short forms for building records. */
static void
put_f(world *w, const char *k, double v)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_record_f64(&w->r, key(w, k), v, &err), err);
}

static void
put_i(world *w, const char *k, int64_t v)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_record_i64(&w->r, key(w, k), v, &err), err);
}

static void
put_s(world *w, const char *k, const char *v)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_record_str(&w->r, key(w, k), v, strlen(v), &err), err);
}

static void
open_dict(world *w, const char *k)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_record_open(&w->r, key(w, k), CT_FIELD_DICT, &err), err);
}

static void
end(world *w)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_record_end(&w->r, &err), err);
}

/* ---- params.json ---- */

static void
test_params_are_sorted_and_indented_without_final_newline(void **state)
{
    (void)state;
    world w = world_of();
    say(&w, CT_NOTE_TRIAL_ADDED);
    assert_false(file_exists("params.json"));
    say(&w, CT_NOTE_TRIAL_STARTED);
    assert_file("params.json", "{\n  \"act\": \"relu\",\n  \"lr\": 0.5\n}");
    assert_file("result.json", "");
    world_close(&w);
}

/* ---- result.json ---- */

static void
test_a_result_is_one_line_in_the_order_of_the_result(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    put_f(&w, "loss", 0.1);
    open_dict(&w, "n");
    put_i(&w, "a", -3);
    put_f(&w, "nan", (double)NAN);
    end(&w);
    assert_ok(ct_record_open(&w.r, key(&w, "l"), CT_FIELD_LIST, &err), err);
    assert_ok(ct_record_f64(&w.r, CT_NAME_NONE, (double)-INFINITY, &err), err);
    assert_ok(ct_record_nil(&w.r, CT_NAME_NONE, &err), err);
    end(&w);
    assert_ok(ct_record_bool(&w.r, key(&w, "done"), false, &err), err);
    put_s(&w, "s", "h\xc3\xa9 \"q\"\n");
    assert_ok(ct_record_obj(&w.r, key(&w, "arr"), "[1, 2]", 6, "pickle", 6, &err), err);
    assert_ok(ct_record_config(&w.r, key(&w, "config"), &err), err);
    put_f(&w, "big", 1e22);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    say(&w, CT_NOTE_RESULT);
    say(&w, CT_NOTE_TRIAL_COMPLETE);
    const char *line =
        "{\"loss\": 0.1, \"n\": {\"a\": -3, \"nan\": NaN}, "
        "\"l\": [-Infinity, null], \"done\": false, "
        "\"s\": \"h\\u00e9 \\\"q\\\"\\n\", \"arr\": [1, 2], "
        "\"config\": {\"lr\": 0.5, \"act\": \"relu\"}, \"big\": 1e+22}\n";
    char two[1000];
    (void)snprintf(two, sizeof two, "%s%s", line, line);
    assert_file("result.json", two);
    world_close(&w);
}

/* Builds the same random result as a tape and as a tree. */
typedef struct twin {
    ct_record *r;
    ct_names *names;
    uint64_t seed;
    ct_err err;
} twin;

static uint32_t
draw(twin *t, uint32_t below)
{
    t->seed = t->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(t->seed >> 33) % below;
}

static ct_name
twin_key(twin *t, uint32_t i)
{
    static const char *const keys[] = {"loss", "a b", "quo\"te", "\xc3\xa9",
                                       "k/v",  "x",   "tab\t",   "\xf0\x9f\x98\x80",
                                       "",     "z"};
    ct_name n = 0;
    const char *text = keys[i % 10];
    assert_ok(ct_names_intern(t->names, text, strlen(text), &n, &t->err), t->err);
    return n;
}

static ct_value twin_container(twin *t, ct_name k, bool dict, unsigned depth);

static ct_value
twin_scalar(twin *t, ct_name k)
{
    static const double doubles[] = {0.0,  -0.0,          1.0,   0.1,
                                     1e-7, 123456789.125, 1e300, 5e-324};
    static const char *const texts[] = {"", "plain", "\xe2\x82\xac uro\x7f", "\x01\\/"};
    ct_value v = ct_nil();
    uint32_t i = 0;
    switch (draw(t, 6)) {
    case 0:
        assert_ok(ct_record_nil(t->r, k, &t->err), t->err);
        return v;
    case 1:
        assert_ok(ct_record_bool(t->r, k, true, &t->err), t->err);
        return ct_bool(true);
    case 2:
        v = ct_i64(draw(t, 2) == 0 ? INT64_MIN : (int64_t)draw(t, 1000));
        assert_ok(ct_record_i64(t->r, k, v.u.i, &t->err), t->err);
        return v;
    case 3:
        i = draw(t, 4);
        assert_ok(ct_str(&v, texts[i], strlen(texts[i]), &t->err), t->err);
        assert_ok(ct_record_str(t->r, k, texts[i], strlen(texts[i]), &t->err), t->err);
        return v;
    default:
        i = draw(t, 10);
        v = ct_f64(i == 8 ? (double)NAN : i == 9 ? (double)INFINITY : doubles[i % 8]);
        assert_ok(ct_record_f64(t->r, k, v.u.f, &t->err), t->err);
        return v;
    }
}

static ct_value
twin_item(twin *t, ct_name k, unsigned depth)
{
    if (depth < 4 && draw(t, 4) == 0) {
        bool dict = draw(t, 2) == 0;
        assert_ok(
            ct_record_open(t->r, k, dict ? CT_FIELD_DICT : CT_FIELD_LIST, &t->err),
            t->err);
        ct_value v = twin_container(t, k, dict, depth + 1);
        assert_ok(ct_record_end(t->r, &t->err), t->err);
        return v;
    }
    return twin_scalar(t, k);
}

static ct_value
twin_container(twin *t, ct_name k, bool dict, unsigned depth)
{
    (void)k;
    ct_value out = dict ? ct_dict() : ct_list();
    uint32_t n = draw(t, 7);
    uint32_t first = draw(t, 10);
    for (uint32_t i = 0; i < n; i++) {
        ct_name name = dict ? twin_key(t, first + i) : CT_NAME_NONE;
        ct_value v = twin_item(t, name, depth);
        if (dict) {
            assert_ok(ct_value_put(&out, name, &v, &t->err), t->err);
        } else {
            assert_ok(ct_value_push(&out, &v, &t->err), t->err);
        }
    }
    return out;
}

static void
test_lines_equal_the_json_of_the_same_tree(void **state)
{
    (void)state;
    world w = world_of();
    twin t = {&w.r, w.names, 99, CT_ERR_INIT};
    ct_buf line = CT_BUF_INIT;
    ct_buf tree = CT_BUF_INIT;
    for (int i = 0; i < 2000; i++) {
        ct_record_clear(&w.r);
        ct_buf_clear(&line);
        ct_buf_clear(&tree);
        ct_value v = twin_container(&t, 0, true, 0);
        assert_ok(ct_output_json_line(w.output, &line, &w.r, NULL, &t.err), t.err);
        assert_ok(ct_json_print(&tree, &v, w.names, 0, &t.err), t.err);
        assert_int_equal(line.len, tree.len);
        assert_memory_equal(line.data, tree.data, tree.len);
        ct_value_deinit(&v);
    }
    ct_buf_deinit(&line);
    ct_buf_deinit(&tree);
    world_close(&w);
}

/* ---- progress.csv ---- */

static void
test_columns_are_plain_keys_first_then_those_of_dicts(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    open_dict(&w, "n");
    put_i(&w, "a", 1);
    open_dict(&w, "deep");
    put_i(&w, "x", 2);
    end(&w);
    put_f(&w, "b", (double)NAN);
    end(&w);
    put_f(&w, "loss", 0.25);
    assert_ok(ct_record_config(&w.r, key(&w, "config"), &err), err);
    open_dict(&w, "empty");
    end(&w);
    assert_ok(ct_record_nil(&w.r, key(&w, "none"), &err), err);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    assert_file("progress.csv", "loss,none,n/a,n/b,n/deep/x\r\n0.25,,1,nan,2\r\n");
    world_close(&w);
}

static void
test_cells_look_as_pythons_csv_module_writes_them(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    put_s(&w, "plain", "hello world");
    put_s(&w, "comma,key", "a,b");
    put_s(&w, "quote", "say \"hi\"");
    put_s(&w, "line", "a\nb");
    assert_ok(ct_record_bool(&w.r, key(&w, "t"), true, &err), err);
    put_f(&w, "f", 1.0);
    put_f(&w, "e", 1e-5);
    put_f(&w, "inf", (double)-INFINITY);
    assert_ok(ct_record_open(&w.r, key(&w, "l"), CT_FIELD_LIST, &err), err);
    assert_ok(ct_record_i64(&w.r, CT_NAME_NONE, 1, &err), err);
    assert_ok(ct_record_f64(&w.r, CT_NAME_NONE, (double)NAN, &err), err);
    assert_ok(ct_record_str(&w.r, CT_NAME_NONE, "it's", 4, &err), err);
    assert_ok(ct_record_str(&w.r, CT_NAME_NONE, "\\\n\xc2\x85\xc3\xa9", 6, &err), err);
    assert_ok(ct_record_open(&w.r, CT_NAME_NONE, CT_FIELD_DICT, &err), err);
    assert_ok(ct_record_nil(&w.r, key(&w, "k"), &err), err);
    assert_ok(ct_record_bool(&w.r, key(&w, "b"), false, &err), err);
    end(&w);
    assert_ok(ct_record_open(&w.r, CT_NAME_NONE, CT_FIELD_LIST, &err), err);
    end(&w);
    end(&w);
    assert_ok(ct_record_obj(&w.r, key(&w, "o"), "[1, 2.5, null]", 14, "p", 1, &err),
              err);
    assert_ok(ct_record_obj(&w.r, key(&w, "p"), "\"<obj>\"", 7, "p", 1, &err), err);
    say(&w, CT_NOTE_RESULT); /* without having been told that it started */
    assert_file(
        "progress.csv",
        "plain,\"comma,key\",quote,line,t,f,e,inf,l,o,p\r\n"
        "hello world,\"a,b\",\"say \"\"hi\"\"\",\"a\nb\",True,1.0,1e-05,-inf,"
        "\"[1, nan, \"\"it's\"\", '\\\\\\n\\x85\xc3\xa9', {'k': None, 'b': False}, "
        "[]]\",\"[1, 2.5, None]\",<obj>\r\n");
    world_close(&w);
}

static void
test_later_keys_are_dropped_and_missing_ones_are_empty(void **state)
{
    (void)state;
    world w = world_of();
    say(&w, CT_NOTE_TRIAL_STARTED);
    put_i(&w, "a", 1);
    put_i(&w, "b", 2);
    say(&w, CT_NOTE_RESULT);
    ct_record_clear(&w.r);
    put_i(&w, "c", 3);
    put_i(&w, "b", 4);
    say(&w, CT_NOTE_RESULT);
    ct_record_clear(&w.r);
    put_i(&w, "b", 5);
    put_s(&w, "a", "x");
    say(&w, CT_NOTE_RESULT);
    assert_file("progress.csv", "a,b\r\n1,2\r\n,4\r\nx,5\r\n");
    world_close(&w);
}

static void
test_a_row_of_one_empty_cell_is_quoted(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    assert_ok(ct_record_nil(&w.r, key(&w, "a"), &err), err);
    say(&w, CT_NOTE_RESULT);
    assert_file("progress.csv", "a\r\n\"\"\r\n");
    world_close(&w);
}

static void
test_a_trial_that_goes_on_gets_no_second_header(void **state)
{
    (void)state;
    world w = world_of();
    put_i(&w, "a", 1);
    put_i(&w, "b", 2);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    say(&w, CT_NOTE_TRIAL_PAUSED);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    world_close(&w);
    w = world_of(); /* another process */
    put_i(&w, "a", 3);
    put_i(&w, "b", 4);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    say(&w, CT_NOTE_EXPERIMENT_END);
    assert_file("progress.csv", "a,b\r\n1,2\r\n1,2\r\n3,4\r\n");
    world_close(&w);
}

static void
test_a_reported_dict_under_config_has_no_column(void **state)
{
    (void)state;
    world w = world_of();
    put_i(&w, "a", 1);
    open_dict(&w, "config");
    put_i(&w, "lr", 2);
    end(&w);
    open_dict(&w, "n");
    put_i(&w, "config", 3);
    end(&w);
    say(&w, CT_NOTE_RESULT);
    assert_file("progress.csv", "a,n/config\r\n1,3\r\n");
    world_close(&w);
}

/* ---- failures ---- */

static void
test_failures_are_appended_with_number_and_date(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    const uint8_t blob[] = {'p', 'k'};
    ct_note n = {.kind = CT_NOTE_TRIAL_FAILURE,
                 .trial = 0,
                 .time = 86400.0,
                 .code = 1,
                 .text = "Traceback",
                 .text_len = 9,
                 .blob = blob,
                 .blob_len = 2};
    (void)setenv("TZ", "UTC", 1);
    assert_ok(ct_output_note(w.output, &w.board, &n, &err), err);
    n.code = 2;
    n.blob = NULL;
    assert_ok(ct_output_note(w.output, &w.board, &n, &err), err);
    assert_file("error.txt",
                "Failure # 1 (occurred at 1970-01-02_00-00-00)\nTraceback\n"
                "Failure # 2 (occurred at 1970-01-02_00-00-00)\nTraceback\n");
    assert_file("error.pkl", "pk");
    world_close(&w);
}

static void
test_a_trial_without_folder_writes_nothing(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    assert_ok(ct_trial_set_text(&ct_trials_mut(w.trials, 0)->dir, NULL, &err), err);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    say(&w, CT_NOTE_TRIAL_FAILURE);
    say(&w, CT_NOTE_TRIAL_ERROR);
    assert_false(file_exists("result.json"));
    world_close(&w);
}

static void
test_options_choose_the_files(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    const ct_output_opts csv_only = {false, true, false};
    ct_output_free(w.output);
    w.output = NULL;
    assert_ok(ct_output_new(&w.output, &csv_only, w.names, &err), err);
    put_f(&w, "a", 0.5);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    say(&w, CT_NOTE_TRIAL_FAILURE);
    assert_file("progress.csv", "a\r\n0.5\r\n");
    assert_false(file_exists("params.json"));
    assert_false(file_exists("result.json"));
    assert_false(file_exists("error.txt"));
    world_close(&w);
}

static int
results_on_a_full_disk(void)
{
    ct_err err = CT_ERR_INIT;
    world w;
    int ok = world_open(&w, &err) == CT_OK;
    put_i(&w, "a", 1);
    const ct_note started = {.kind = CT_NOTE_TRIAL_STARTED, .trial = 0};
    const ct_note result = {.kind = CT_NOTE_RESULT, .trial = 0, .record = &w.r};
    struct rlimit limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    ok = ok && ct_output_note(w.output, &w.board, &started, &err) == CT_OK;
    ok = ok && getrlimit(RLIMIT_FSIZE, &limit) == 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 4; /* a part of the line, a part of the header */
    ok = ok && setrlimit(RLIMIT_FSIZE, &limit) == 0;
    ok = ok && ct_output_note(w.output, &w.board, &result, &err) == CT_EIO;
    ok = ok && strstr(err.param, "result.json") != NULL;
    limit.rlim_cur = before;
    ok = ok && setrlimit(RLIMIT_FSIZE, &limit) == 0;
    ok = ok && ct_output_note(w.output, &w.board, &result, &err) == CT_OK;
    world_close(&w);
    return ok ? 0 : 1;
}

static void
test_a_full_disk_leaves_whole_lines_and_the_header_comes_later(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        _exit(results_on_a_full_disk());
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_file("result.json", "{\"a\": 1}\n");
    assert_file("progress.csv", "a\r\n1\r\n");
}

/* ---- memory ---- */

static void
test_a_warm_result_allocates_nothing(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    put_f(&w, "loss", 0.1);
    open_dict(&w, "n");
    put_i(&w, "a", 1);
    end(&w);
    assert_ok(ct_record_config(&w.r, key(&w, "config"), &err), err);
    say(&w, CT_NOTE_TRIAL_STARTED);
    say(&w, CT_NOTE_RESULT);
    const ct_note n = {.kind = CT_NOTE_RESULT, .trial = 0, .record = &w.r};
    ct_mem_fail_at(1);
    assert_ok(ct_output_note(w.output, &w.board, &n, &err), err);
    assert_false(ct_mem_failed());
    ct_mem_fail_at(0);
    world_close(&w);
}

static ct_status
whole_life(void *ctx, ct_err *err)
{
    (void)ctx;
    world w;
    ct_name loss = 0;
    ct_name inner = 0;
    ct_status st = world_open(&w, err);
    if (st == CT_OK) {
        st = ct_names_intern(w.names, "loss", 4, &loss, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(w.names, "inner", 5, &inner, err);
    }
    if (st == CT_OK) {
        st = ct_record_open(&w.r, inner, CT_FIELD_DICT, err);
    }
    if (st == CT_OK) {
        st = ct_record_f64(&w.r, loss, 0.1, err);
    }
    if (st == CT_OK) {
        st = ct_record_end(&w.r, err);
    }
    if (st == CT_OK) {
        st = ct_record_obj(&w.r, loss, "[1, \"x\"]", 8, "", 0, err);
    }
    const ct_note_kind kinds[] = {CT_NOTE_TRIAL_STARTED, CT_NOTE_RESULT,
                                  CT_NOTE_RESULT,        CT_NOTE_TRIAL_FAILURE,
                                  CT_NOTE_TRIAL_RECOVER, CT_NOTE_TRIAL_STARTED,
                                  CT_NOTE_TRIAL_COMPLETE};
    for (size_t i = 0; st == CT_OK && i < sizeof kinds / sizeof *kinds; i++) {
        const ct_note n = {.kind = kinds[i], .trial = 0, .record = &w.r};
        st = ct_output_note(w.output, &w.board, &n, err);
    }
    world_close(&w);
    return st;
}

static void
test_every_failed_allocation_is_reported_without_leak(void **state)
{
    (void)state;
    sweep_allocations(whole_life, NULL);
}

/* ---- catching up ---- */

/* What a run left that was at its third result and second failure. */
static void
write_more(void)
{
    ct_err err = CT_ERR_INIT;
    world w = world_of();
    put_s(&w, "words", "one\n\"two\"\r\n");
    for (int i = 0; i < 3; i++) {
        say(&w, CT_NOTE_RESULT);
    }
    for (int32_t i = 1; i < 3; i++) {
        const ct_note n = {.kind = CT_NOTE_TRIAL_FAILURE,
                           .code = i,
                           .text = "Failure # 1 is nested\nFailure # 7 too\n",
                           .text_len = 38,
                           .blob = (const uint8_t *)"pickle",
                           .blob_len = 6};
        assert_ok(ct_output_note(w.output, &w.board, &n, &err), err);
    }
    world_close(&w);
}

/* A replay tells of so many results and failures, from a snapshot that knew of `before`. */
static ct_status
catch_up_from(ct_output_opts opts, uint32_t before, int results, int failures,
              ct_err *err)
{
    world w;
    ct_name words = 0;
    ct_output *o = NULL;
    ct_status st = world_open(&w, err);
    if (st == CT_OK) {
        st = ct_output_new(&o, &opts, w.names, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(w.names, "words", 5, &words, err);
    }
    if (st == CT_OK) {
        st = ct_record_str(&w.r, words, "one\n\"two\"\r\n", 11, err);
    }
    if (st == CT_OK && before > 0) {
        ct_trials_mut(w.trials, 0)->results = before;
        ct_trials_mut(w.trials, 0)->told = before;
        st = ct_output_catch_up_from(o, &w.board, err);
    }
    for (int i = 0; st == CT_OK && i < results; i++) {
        const ct_note n = {.kind = CT_NOTE_RESULT, .record = &w.r};
        st = ct_output_catch_up(o, &w.board, &n, err);
    }
    for (int i = 0; st == CT_OK && i < failures; i++) {
        const ct_note n = {.kind = CT_NOTE_TRIAL_FAILURE,
                           .code = i + 1,
                           .text = "new\n",
                           .text_len = 4};
        st = ct_output_catch_up(o, &w.board, &n, err);
    }
    if (st == CT_OK) {
        st = ct_output_caught_up(o, &w.board, err);
    }
    ct_output_free(o);
    world_close(&w);
    return st;
}

static ct_status
catch_up(ct_output_opts opts, int results, int failures, ct_err *err)
{
    return catch_up_from(opts, 0, results, failures, err);
}

static int
count_of(const char *name, const char *what)
{
    ct_err err = CT_ERR_INIT;
    ct_buf b = CT_BUF_INIT;
    char path[200];
    int n = 0;
    (void)snprintf(path, sizeof path, "%s/trial/%s", folder, name);
    assert_ok(ct_file_read_all(path, &b, &err), err);
    assert_ok(ct_buf_terminate(&b, &err), err);
    for (const char *at = (const char *)b.data; (at = strstr(at, what)) != NULL; at++) {
        n++;
    }
    ct_buf_deinit(&b);
    return n;
}

static void
test_lines_that_no_replay_tells_of_are_cut_off(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    const ct_output_opts all = {true, true, true};
    for (int kept = 3; kept >= 0; kept--) {
        write_more();
        assert_ok(catch_up(all, kept, kept > 2 ? 2 : kept, &err), err);
        assert_int_equal(count_of("result.json", "\n"), kept);
        assert_int_equal(count_of("progress.csv", "\"one\n\"\"two\"\"\r\n\"\r\n"),
                         kept);
        assert_int_equal(count_of("progress.csv", "words"), kept > 0);
        assert_int_equal(count_of("error.txt", "occurred"), kept > 2 ? 2 : kept);
        assert_int_equal(count_of("error.txt", "Failure # 7 too\n"),
                         kept > 2 ? 2 : kept);
        assert_int_equal(file_exists("error.pkl"), kept >= 2);
        assert_int_equal(remove_folder(NULL), 0);
        assert_int_equal(make_folder(NULL), 0);
    }
}

static void
test_a_deleted_file_is_written_again_and_zeros_are_no_lines(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    const ct_output_opts all = {true, true, true};
    char path[200];
    write_more();
    (void)snprintf(path, sizeof path, "%s/trial/progress.csv", folder);
    assert_ok(ct_file_remove(path, &err), err);
    (void)snprintf(path, sizeof path, "%s/trial/result.json", folder);
    assert_ok(ct_file_replace(path, "{}\n\0\0\0\n", 7, false, &err), err);
    static const char torn[] =
        "Failure # 1 (occurred at x)\nnew\nFailure # 2 (occurred at y";
    (void)snprintf(path, sizeof path, "%s/trial/error.txt", folder);
    assert_ok(ct_file_replace(path, torn, sizeof torn - 1, false, &err), err);
    assert_ok(catch_up(all, 2, 2, &err), err);
    assert_int_equal(
        count_of("error.txt", "occurred at x)\nnew\nFailure # 2 (occurred"), 1);
    assert_int_equal(count_of("error.txt", "occurred"), 2);
    assert_int_equal(count_of("error.txt", "new\n"), 2);
    assert_file("result.json", "{}\n{\"words\": \"one\\n\\\"two\\\"\\r\\n\"}\n");
    assert_file("progress.csv", "words\r\n\"one\n\"\"two\"\"\r\n\"\r\n"
                                "\"one\n\"\"two\"\"\r\n\"\r\n");
}

static void
test_a_snapshot_tells_what_the_files_held_before_it(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    const ct_output_opts all = {true, true, true};
    char path[200];
    write_more(); /* 3 lines, 2 failures */
    assert_ok(catch_up_from(all, 2, 2, 1, &err), err);
    assert_int_equal(count_of("result.json", "\n"), 4);
    assert_int_equal(count_of("error.txt", "occurred"), 3);
    assert_ok(catch_up_from(all, 1, 1, 0, &err), err);
    assert_int_equal(count_of("result.json", "\n"), 2);
    assert_int_equal(count_of("progress.csv", "one"), 2);
    assert_int_equal(count_of("error.txt", "occurred"), 1);
    /* Someone removed some: what is there may be what followed the snapshot. */
    assert_ok(catch_up_from(all, 9, 2, 1, &err), err);
    assert_int_equal(count_of("result.json", "\n"), 2);
    assert_int_equal(count_of("error.txt", "occurred"), 1);
    (void)snprintf(path, sizeof path, "%s/trial/result.json", folder);
    assert_ok(ct_file_remove(path, &err), err);
    assert_ok(catch_up_from(all, 9, 2, 1, &err), err);
    assert_int_equal(count_of("result.json", "\n"), 2);
}

static void
test_files_that_are_not_written_are_not_cut(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    write_more();
    assert_ok(catch_up((ct_output_opts){.errors = true}, 1, 2, &err), err);
    assert_int_equal(count_of("result.json", "\n"), 3);
    assert_int_equal(count_of("progress.csv", "one"), 3);
    assert_ok(catch_up((ct_output_opts){.csv = true}, 1, 0, &err), err);
    assert_int_equal(count_of("result.json", "\n"), 3);
    assert_int_equal(count_of("progress.csv", "one"), 1);
    assert_int_equal(count_of("error.txt", "occurred"), 2);
}

static ct_status
write_and_catch_up(void *ctx, ct_err *err)
{
    (void)ctx;
    return catch_up((ct_output_opts){true, true, true}, 1, 1, err);
}

static void
test_every_failed_allocation_while_catching_up_is_reported(void **state)
{
    (void)state;
    write_more();
    sweep_allocations(write_and_catch_up, NULL);
}

#define IN_FOLDER(test)                                                                \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_params_are_sorted_and_indented_without_final_newline),
        IN_FOLDER(test_a_result_is_one_line_in_the_order_of_the_result),
        IN_FOLDER(test_lines_equal_the_json_of_the_same_tree),
        IN_FOLDER(test_columns_are_plain_keys_first_then_those_of_dicts),
        IN_FOLDER(test_cells_look_as_pythons_csv_module_writes_them),
        IN_FOLDER(test_later_keys_are_dropped_and_missing_ones_are_empty),
        IN_FOLDER(test_a_row_of_one_empty_cell_is_quoted),
        IN_FOLDER(test_a_trial_that_goes_on_gets_no_second_header),
        IN_FOLDER(test_a_reported_dict_under_config_has_no_column),
        IN_FOLDER(test_failures_are_appended_with_number_and_date),
        IN_FOLDER(test_a_trial_without_folder_writes_nothing),
        IN_FOLDER(test_options_choose_the_files),
        IN_FOLDER(test_a_full_disk_leaves_whole_lines_and_the_header_comes_later),
        IN_FOLDER(test_a_warm_result_allocates_nothing),
        IN_FOLDER(test_every_failed_allocation_is_reported_without_leak),
        IN_FOLDER(test_lines_that_no_replay_tells_of_are_cut_off),
        IN_FOLDER(test_a_deleted_file_is_written_again_and_zeros_are_no_lines),
        IN_FOLDER(test_a_snapshot_tells_what_the_files_held_before_it),
        IN_FOLDER(test_files_that_are_not_written_are_not_cut),
        IN_FOLDER(test_every_failed_allocation_while_catching_up_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
