/* test_search_generator.c: suggestions of a scripted suggester become trials. */
#include "support.h"

#include "base/json.h"
#include "search/generator.h"

#include <string.h>

typedef struct script {
    ct_suggester suggester; /* first */
    ct_names *names;
    const char *const *answers; /* JSON, "none", "finished" or "fail" */
    size_t n_answers;
    size_t asked;
    char log[4000];
    bool freed;
} script;

static ct_status
script_suggest(ct_suggester *s, const char *id, ct_value *config,
               ct_suggest_state *state, ct_err *err)
{
    script *x = (script *)s;
    const char *answer = x->answers[x->asked++ % x->n_answers];
    assert_int_equal(strlen(id), 8);
    assert_int_equal(strspn(id, "0123456789abcdef"), 8);
    if (strcmp(answer, "none") == 0) {
        *state = CT_SUGGEST_NONE;
        return CT_OK;
    }
    if (strcmp(answer, "finished") == 0) {
        *state = CT_SUGGEST_FINISHED;
        return CT_OK;
    }
    if (strcmp(answer, "fail") == 0) {
        return ct_fail(err, CT_EFOREIGN, "", "a Python exception is set");
    }
    *state = CT_SUGGEST_CONFIG;
    return ct_json_parse(config, answer, strlen(answer), x->names, err);
}

static ct_status
script_result(ct_suggester *s, const char *id, const ct_result *r, ct_err *err)
{
    script *x = (script *)s;
    (void)r;
    (void)err;
    strcat(strcat(strcat(x->log, "result "), id), ";");
    return CT_OK;
}

static ct_status
script_complete(ct_suggester *s, const char *id, const ct_result *r, bool error,
                ct_err *err)
{
    script *x = (script *)s;
    (void)err;
    strcat(strcat(x->log, r == NULL ? "complete without result " : "complete "), id);
    strcat(x->log, error ? " error;" : ";");
    return CT_OK;
}

static void
script_free(ct_suggester *s)
{
    ((script *)s)->freed = true;
}

static const ct_suggester_ops script_ops = {
    "script", true, script_suggest, script_result, script_complete, script_free};

/* One generator over one script; the space, if any, is built from the leaves up. */
typedef struct bench {
    ct_names *names;
    ct_space *space;
    script script;
    ct_searcher *searcher;
} bench;

static ct_status
bench_open(bench *b, const char *const *answers, size_t n, ct_node **root,
           uint64_t total, const ct_function_ops *ops, ct_err *err)
{
    ct_status st = CT_OK;
    if (root != NULL) {
        st = ct_space_new(&b->space, b->names, root, err);
    }
    b->script = (script){.suggester = {&script_ops},
                         .names = b->names,
                         .answers = answers,
                         .n_answers = n};
    ct_generator_options options = {.names = b->names,
                                    .space = b->space,
                                    .num_samples = total,
                                    .seed = 7,
                                    .ops = ops};
    if (st == CT_OK) {
        st = ct_generator_new(&b->searcher, &b->script.suggester, &options, err);
    }
    return st;
}

static void
bench_close(bench *b)
{
    if (b->searcher != NULL) {
        b->searcher->ops->free(b->searcher);
        assert_true(b->script.freed);
    }
    ct_space_free(b->space);
    ct_names_free(b->names);
}

static void
bench_init(bench *b, const char *const *answers, size_t n, ct_names *names,
           ct_node **root, uint64_t total, const ct_function_ops *ops)
{
    ct_err err = CT_ERR_INIT;
    *b = (bench){.names = names};
    if (names == NULL) {
        assert_ok(ct_names_new(&b->names, &err), err);
    }
    assert_ok(bench_open(b, answers, n, root, total, ops, &err), err);
}

static void
assert_json(const ct_value *v, const ct_names *names, const char *expected)
{
    ct_err err = CT_ERR_INIT;
    ct_buf text = CT_BUF_INIT;
    assert_ok(ct_json_print(&text, v, names, 0, &err), err);
    assert_ok(ct_buf_terminate(&text, &err), err);
    assert_string_equal((const char *)text.data, expected);
    ct_buf_deinit(&text);
}

/* Expects one trial, and frees it. */
static void
expect_trial(bench *b, const char *tag, const char *config, const char *evaluated)
{
    ct_err err = CT_ERR_INIT;
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    ct_search_state state;
    assert_ok(b->searcher->ops->next(b->searcher, NULL, &s, &state, &err), err);
    assert_int_equal(state, CT_SEARCH_TRIAL);
    assert_string_equal(s.tag, tag);
    assert_json(&s.config, b->names, config);
    assert_json(&s.evaluated, b->names, evaluated);
    ct_suggestion_deinit(&s);
}

static void
expect_state(bench *b, ct_search_state expected)
{
    ct_err err = CT_ERR_INIT;
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    ct_search_state state;
    assert_ok(b->searcher->ops->next(b->searcher, NULL, &s, &state, &err), err);
    assert_int_equal(state, expected);
    assert_null(s.id);
    ct_suggestion_deinit(&s);
}

static ct_name
name(ct_names *names, const char *text)
{
    ct_name n;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_intern(names, text, strlen(text), &n, &err), err);
    return n;
}

/* Puts a constant given as JSON. */
static void
put_constant(ct_names *names, ct_node *dict, const char *key, const char *json)
{
    ct_value v;
    ct_node *child = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_json_parse(&v, json, strlen(json), names, &err), err);
    assert_ok(ct_node_value(&child, &v, &err), err);
    assert_ok(ct_node_put(dict, name(names, key), &child, &err), err);
}

static void
put_uniform(ct_names *names, ct_node *dict, const char *key)
{
    ct_domain d = {.kind = CT_DOMAIN_FLOAT, .lower = 0.0, .upper = 1.0};
    ct_node *child = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_node_domain(&child, &d, &err), err);
    assert_ok(ct_node_put(dict, name(names, key), &child, &err), err);
}

static ct_node *
branch(ct_node_kind kind)
{
    ct_node *n = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_node_branch(&n, kind, &err), err);
    return n;
}

static void
test_suggestions_become_numbered_trials(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "{\"lr\": 0.12345678, \"nest\": {\"b\": \"x y\", \"deep\": {\"c\": 1}}, \"a\": true}",
        "{}"};
    bench b;
    bench_init(&b, answers, 2, NULL, NULL, 2, NULL);
    expect_trial(&b, "1_a=True,lr=0.1235,b=x_y,c=1", answers[0],
                 "{\"lr\": 0.12345678, \"a\": true, \"nest/b\": \"x y\", "
                 "\"nest/deep/c\": 1}");
    expect_trial(&b, "2_", "{}", "{}");
    expect_state(&b, CT_SEARCH_FINISHED);
    assert_int_equal(b.script.asked, 2);
    assert_int_equal(b.searcher->ops->total(b.searcher), 2);
    assert_true(b.searcher->ops->foreign);
    bench_close(&b);
}

static void
test_none_waits_and_finished_ends_the_search(void **state)
{
    (void)state;
    static const char *const answers[] = {"none", "{\"x\": 1}", "none", "finished"};
    bench b;
    bench_init(&b, answers, 4, NULL, NULL, 10, NULL);
    expect_state(&b, CT_SEARCH_WAIT);
    expect_trial(&b, "1_x=1", "{\"x\": 1}", "{\"x\": 1}");
    expect_state(&b, CT_SEARCH_WAIT);
    expect_state(&b, CT_SEARCH_FINISHED);
    expect_state(&b, CT_SEARCH_FINISHED);
    assert_int_equal(b.script.asked, 4); /* finished is not asked again */
    bench_close(&b);
}

static void
test_the_suggestion_is_merged_into_the_space_and_wins(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "{\"nest\": {\"x\": 0.5, \"new\": 1}, \"fixed\": 9, \"box\": {\"b\": 3}, "
        "\"extra\": 2}"};
    ct_names *names = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_new(&names, &err), err);
    ct_node *nest = branch(CT_NODE_DICT);
    put_constant(names, nest, "keep", "\"me\"");
    put_uniform(names, nest, "x");
    ct_node *root = branch(CT_NODE_DICT);
    put_constant(names, root, "fixed", "1");
    assert_ok(ct_node_put(root, name(names, "nest"), &nest, &err), err);
    put_constant(names, root, "box", "{\"a\": {\"deep\": 1}, \"b\": 2}");
    put_constant(names, root, "last", "null");
    bench b;
    bench_init(&b, answers, 1, names, &root, 2, NULL);
    static const char expected[] =
        "{\"fixed\": 9, \"nest\": {\"keep\": \"me\", \"x\": 0.5, \"new\": 1}, "
        "\"box\": {\"a\": {\"deep\": 1}, \"b\": 3}, \"last\": null, \"extra\": 2}";
    static const char evaluated[] =
        "{\"fixed\": 9, \"extra\": 2, \"nest/x\": 0.5, \"nest/new\": 1, \"box/b\": 3}";
    expect_trial(&b, "1_deep=1,b=3,extra=2,fixed=9,last=None,keep=me,new=1,x=0.5000",
                 expected, evaluated);
    expect_trial(&b, "2_deep=1,b=3,extra=2,fixed=9,last=None,keep=me,new=1,x=0.5000",
                 expected, evaluated); /* the space itself did not change */
    bench_close(&b);
}

static void
test_a_scalar_may_replace_a_dict_and_a_dict_a_scalar(void **state)
{
    (void)state;
    static const char *const answers[] = {"{\"d\": 1, \"s\": {\"k\": 2}}"};
    ct_names *names = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_new(&names, &err), err);
    ct_node *inner = branch(CT_NODE_DICT);
    put_uniform(names, inner, "gone");
    ct_node *root = branch(CT_NODE_DICT);
    assert_ok(ct_node_put(root, name(names, "d"), &inner, &err), err);
    put_constant(names, root, "s", "5");
    bench b;
    bench_init(&b, answers, 1, names, &root, 1, NULL);
    expect_trial(&b, "1_d=1,k=2", "{\"d\": 1, \"s\": {\"k\": 2}}",
                 "{\"d\": 1, \"s/k\": 2}");
    bench_close(&b);
}

static void
test_a_domain_without_a_suggested_value_is_named(void **state)
{
    (void)state;
    static const char *const answers[] = {"{\"other\": 1}",
                                          "{\"nest\": {\"other\": 1}}"};
    ct_names *names = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_new(&names, &err), err);
    ct_node *nest = branch(CT_NODE_DICT);
    put_uniform(names, nest, "lr");
    ct_node *root = branch(CT_NODE_DICT);
    assert_ok(ct_node_put(root, name(names, "nest"), &nest, &err), err);
    bench b;
    bench_init(&b, answers, 2, names, &root, 2, NULL);
    for (int i = 0; i < 2; i++) {
        ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
        ct_search_state st;
        err = (ct_err)CT_ERR_INIT;
        assert_int_equal(b.searcher->ops->next(b.searcher, NULL, &s, &st, &err),
                         CT_EINVAL);
        assert_string_equal(err.param, "config/nest/lr");
        ct_suggestion_deinit(&s);
    }
    bench_close(&b);
}

static void
test_a_suggestion_that_is_no_dict_is_refused(void **state)
{
    (void)state;
    static const char *const answers[] = {"[1, 2]", "fail"};
    static const ct_status expected[] = {CT_ETYPE, CT_EFOREIGN};
    bench b;
    bench_init(&b, answers, 2, NULL, NULL, 5, NULL);
    for (size_t i = 0; i < 2; i++) {
        ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
        ct_search_state st;
        ct_err err = CT_ERR_INIT;
        assert_int_equal(b.searcher->ops->next(b.searcher, NULL, &s, &st, &err),
                         expected[i]);
        ct_suggestion_deinit(&s);
    }
    bench_close(&b);
}

/* ---- functions: each gives twice config["x"] ---- */

typedef struct twice_ref {
    ct_ref ref;
    ct_names *names;
} twice_ref;

static void
twice_release(ct_ref *ref)
{
    ct_free(ref);
}

static bool
twice_equal(const ct_ref *a, const ct_ref *b)
{
    return a == b;
}

static const ct_ref_ops twice_ref_ops = {twice_release, NULL, NULL, twice_equal, NULL};

static ct_status
twice_call(void *ctx, ct_ref *fn, const ct_value *config, ct_node **out, ct_err *err)
{
    (void)ctx;
    ct_names *names = ((twice_ref *)fn)->names;
    const ct_value *x = ct_value_get(config, ct_names_find(names, "x", 1));
    assert_non_null(x);
    ct_value v = ct_i64(2 * x->u.i);
    return ct_node_value(out, &v, err);
}

static const ct_function_ops twice_ops = {twice_call, NULL, NULL};

static ct_status
put_twice(ct_names *names, ct_node *dict, const char *key, ct_err *err)
{
    ct_name n;
    ct_node *child = NULL;
    twice_ref *ref = ct_alloc(sizeof *ref);
    if (ref == NULL) {
        return ct_fail_mem(err);
    }
    *ref = (twice_ref){{&twice_ref_ops, 1}, names};
    ct_status st = ct_node_function(&child, &ref->ref, false, err);
    if (st == CT_OK) {
        st = ct_names_intern(names, key, strlen(key), &n, err);
    }
    if (st != CT_OK) {
        ct_node_release(child);
        return st;
    }
    return ct_node_put(dict, n, &child, err);
}

static void
test_functions_see_the_merged_config_and_stay_out_of_tag_and_parameters(void **state)
{
    (void)state;
    static const char *const answers[] = {"{\"x\": 4}", "{\"x\": 5, \"f\": 0}"};
    ct_names *names = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_new(&names, &err), err);
    ct_node *root = branch(CT_NODE_DICT);
    assert_ok(put_twice(names, root, "f", &err), err);
    put_uniform(names, root, "x");
    bench b;
    bench_init(&b, answers, 2, names, &root, 2, &twice_ops);
    expect_trial(&b, "1_x=4", "{\"f\": 8, \"x\": 4}", "{\"x\": 4}");
    expect_trial(&b, "2_f=0,x=5", "{\"f\": 0, \"x\": 5}", "{\"x\": 5, \"f\": 0}");
    bench_close(&b);
}

static void
test_ids_differ_and_avoid_those_in_the_table(void **state)
{
    (void)state;
    static const char *const answers[] = {"{}"};
    ct_err err = CT_ERR_INIT;
    ct_trials *trials = NULL;
    assert_ok(ct_trials_new(&trials, &err), err);
    ct_board board = {.trials = trials};
    for (int round = 0; round < 2;
         round++) { /* the second meets the ids of the first */
        bench b;
        bench_init(&b, answers, 1, NULL, NULL, UINT64_MAX, NULL);
        for (int i = 0; i < 50; i++) {
            ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
            ct_search_state st;
            ct_trial_id t;
            assert_ok(b.searcher->ops->next(b.searcher, &board, &s, &st, &err), err);
            assert_int_equal(ct_trials_find(trials, s.id), CT_TRIAL_NONE);
            assert_ok(
                ct_trials_add(trials, s.id, s.tag, &s.config, &s.evaluated, &t, &err),
                err);
            ct_suggestion_deinit(&s);
        }
        bench_close(&b);
    }
    assert_int_equal(ct_trials_count(trials), 100);
    ct_trials_free(trials);
}

static void
test_results_are_forwarded_by_text_id(void **state)
{
    (void)state;
    static const char *const answers[] = {"{}"};
    ct_err err = CT_ERR_INIT;
    ct_trials *trials = NULL;
    ct_trial_id t;
    assert_ok(ct_trials_new(&trials, &err), err);
    ct_value config = ct_dict();
    ct_value evaluated = ct_dict();
    assert_ok(ct_trials_add(trials, "deadbeef", "1_", &config, &evaluated, &t, &err),
              err);
    ct_board board = {.trials = trials};
    ct_result r = {NULL, 0, NULL};
    bench b;
    bench_init(&b, answers, 1, NULL, NULL, 1, NULL);
    const ct_searcher_ops *ops = b.searcher->ops;
    assert_ok(ops->on_result(b.searcher, &board, t, &r, &err), err);
    assert_ok(ops->on_complete(b.searcher, &board, t, &r, false, &err), err);
    assert_ok(ops->on_complete(b.searcher, &board, t, NULL, true, &err), err);
    assert_string_equal(b.script.log, "result deadbeef;complete deadbeef;"
                                      "complete without result deadbeef error;");
    bench_close(&b);
    ct_trials_free(trials);
}

static void
test_a_saved_generator_goes_on_where_it_stood(void **state)
{
    (void)state;
    static const char *const answers[] = {"{}"};
    ct_err err = CT_ERR_INIT;
    bench a;
    bench_init(&a, answers, 1, NULL, NULL, 3, NULL);
    expect_trial(&a, "1_", "{}", "{}");
    expect_trial(&a, "2_", "{}", "{}");
    ct_value saved;
    assert_ok(a.searcher->ops->save(a.searcher, a.names, &saved, &err), err);
    bench b;
    bench_init(&b, answers, 1, NULL, NULL, 3, NULL);
    ct_buf text = CT_BUF_INIT; /* as a snapshot keeps it */
    ct_value read;
    assert_ok(ct_json_print(&text, &saved, a.names, 0, &err), err);
    assert_ok(ct_json_parse(&read, (const char *)text.data, text.len, b.names, &err),
              err);
    assert_ok(b.searcher->ops->restore(b.searcher, b.names, &read, &err), err);
    ct_suggestion x = {NULL, NULL, ct_nil(), ct_nil(), 0}, y = x;
    ct_search_state st;
    assert_ok(a.searcher->ops->next(a.searcher, NULL, &x, &st, &err), err);
    assert_ok(b.searcher->ops->next(b.searcher, NULL, &y, &st, &err), err);
    assert_string_equal(x.id, y.id);
    assert_string_equal(y.tag, "3_");
    expect_state(&b, CT_SEARCH_FINISHED);
    ct_value wrong = ct_dict();
    assert_int_equal(b.searcher->ops->restore(b.searcher, b.names, &wrong, &err),
                     CT_ECORRUPT);
    ct_suggestion_deinit(&x);
    ct_suggestion_deinit(&y);
    ct_buf_deinit(&text);
    ct_value_deinit(&saved);
    ct_value_deinit(&read);
    bench_close(&a);
    bench_close(&b);
}

static ct_status
put_leaf(ct_names *names, ct_node *dict, const char *key, bool uniform, ct_err *err)
{
    ct_domain d = {.kind = CT_DOMAIN_FLOAT, .lower = 0.0, .upper = 1.0};
    ct_value one = ct_i64(1);
    ct_node *child = NULL;
    ct_name n;
    ct_status st =
        uniform ? ct_node_domain(&child, &d, err) : ct_node_value(&child, &one, err);
    if (st == CT_OK) {
        st = ct_names_intern(names, key, strlen(key), &n, err);
    }
    if (st != CT_OK) {
        ct_node_release(child);
        return st;
    }
    return ct_node_put(dict, n, &child, err);
}

static ct_status
attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    static const char *const answers[] = {
        "{\"x\": 3, \"nest\": {\"b\": \"a text that is long\", \"deep\": {\"c\": [1, 2]}}}"};
    bench b = {.names = NULL};
    ct_node *root = NULL;
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    ct_value saved = ct_nil();
    ct_search_state state;
    ct_status st = ct_names_new(&b.names, err);
    if (st == CT_OK) {
        st = ct_node_branch(&root, CT_NODE_DICT, err);
    }
    if (st == CT_OK) {
        st = put_twice(b.names, root, "f", err);
    }
    if (st == CT_OK) {
        st = put_leaf(b.names, root, "x", true, err);
    }
    if (st == CT_OK) {
        st = put_leaf(b.names, root, "one", false, err);
    }
    if (st == CT_OK) {
        st = bench_open(&b, answers, 1, &root, 5, &twice_ops, err);
    }
    for (int i = 0; i < 2 && st == CT_OK; i++) {
        st = b.searcher->ops->next(b.searcher, NULL, &s, &state, err);
        ct_suggestion_deinit(&s);
    }
    if (st == CT_OK) {
        st = b.searcher->ops->save(b.searcher, b.names, &saved, err);
    }
    ct_value_deinit(&saved);
    ct_node_release(root);
    bench_close(&b);
    return st;
}

static void
test_a_failed_allocation_leaks_nothing(void **state)
{
    (void)state;
    sweep_allocations(attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suggestions_become_numbered_trials),
        cmocka_unit_test(test_none_waits_and_finished_ends_the_search),
        cmocka_unit_test(test_the_suggestion_is_merged_into_the_space_and_wins),
        cmocka_unit_test(test_a_scalar_may_replace_a_dict_and_a_dict_a_scalar),
        cmocka_unit_test(test_a_domain_without_a_suggested_value_is_named),
        cmocka_unit_test(test_a_suggestion_that_is_no_dict_is_refused),
        cmocka_unit_test(
            test_functions_see_the_merged_config_and_stay_out_of_tag_and_parameters),
        cmocka_unit_test(test_ids_differ_and_avoid_those_in_the_table),
        cmocka_unit_test(test_results_are_forwarded_by_text_id),
        cmocka_unit_test(test_a_saved_generator_goes_on_where_it_stood),
        cmocka_unit_test(test_a_failed_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
