/* Tests of search/basic.h. */
#include "space_support.h"

#include "search/basic.h"

typedef struct bench {
    ct_names *names;
    ct_space *space;
    ct_pcg pcg;
    ct_searcher *searcher;
    ct_basic_options options;
} bench;

static ct_status
pcg_save(void *ctx, ct_names *names, ct_value *out, ct_err *err)
{
    (void)names;
    ct_pcg *p = ctx;
    int64_t words[4];
    memcpy(words, p->state, sizeof p->state);
    memcpy(words + 2, p->inc, sizeof p->inc);
    ct_value v = ct_list();
    for (int i = 0; i < 4; i++) {
        ct_value item = ct_i64(words[i]);
        ct_status st = ct_value_push(&v, &item, err);
        if (st != CT_OK) {
            ct_value_deinit(&v);
            return st;
        }
    }
    *out = v;
    return CT_OK;
}

static ct_status
pcg_restore(void *ctx, ct_names *names, const ct_value *v, ct_err *err)
{
    (void)names;
    (void)err;
    ct_pcg *p = ctx;
    for (int i = 0; i < 2; i++) {
        memcpy(&p->state[i], &v->u.items[i].u.i, sizeof(uint64_t));
        memcpy(&p->inc[i], &v->u.items[2 + i].u.i, sizeof(uint64_t));
    }
    return CT_OK;
}

static const ct_function_ops OPS = {NULL, pcg_save, pcg_restore};

static void
bench_init(bench *b)
{
    ct_err err = CT_ERR_INIT;
    memset(b, 0, sizeof *b);
    assert_ok(ct_names_new(&b->names, &err), err);
    ct_pcg_init(&b->pcg, 1, 1);
    b->options.prefix = "abcde_";
    b->options.variants.rng = &b->pcg.rng;
    b->options.variants.num_samples = 2;
    b->options.variants.ops = &OPS;
    b->options.variants.ctx = &b->pcg;
}

static void
bench_start(bench *b)
{
    ct_err err = CT_ERR_INIT;
    if (b->space == NULL) {
        b->space = s_space(b->names,
                           s_dict(b->names, "fail", s_grid_upto(2), "nest",
                                  s_dict(b->names, "y", s_uniform(0, 1), NULL), NULL));
    }
    assert_ok(ct_basic_new(&b->searcher, b->space, &b->options, &err), err);
}

static void
bench_deinit(bench *b)
{
    b->searcher->ops->free(b->searcher);
    ct_space_free(b->space);
    ct_names_free(b->names);
}

static ct_search_state
next(bench *b, ct_suggestion *out)
{
    ct_err err = CT_ERR_INIT;
    ct_search_state state = CT_SEARCH_WAIT;
    memset(out, 0, sizeof *out);
    assert_ok(b->searcher->ops->next(b->searcher, NULL, out, &state, &err), err);
    return state;
}

static void
complete(bench *b, bool error)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(b->searcher->ops->on_complete(b->searcher, NULL, 0, NULL, error, &err),
              err);
}

static void
test_trials_are_numbered_and_tagged(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    bench_start(&b);
    assert_int_equal(b.searcher->ops->total(b.searcher), 4);
    assert_false(b.searcher->ops->foreign);
    for (int i = 0; i < 4; i++) {
        ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
        assert_int_equal(next(&b, &s), CT_SEARCH_TRIAL);
        char id[] = "abcde_00000";
        id[10] = (char)('0' + i);
        assert_string_equal(s.id, id);
        char start[] = "0_fail=0,y=0.";
        start[0] = (char)('0' + i);
        start[7] = (char)('0' + i % 2);
        assert_memory_equal(s.tag, start, sizeof start - 1);
        assert_int_equal(s.evaluated.len, 2);
        assert_non_null(ct_value_get(&s.evaluated, s_name(b.names, "nest/y")));
        assert_non_null(ct_value_get(&s.config, s_name(b.names, "fail")));
        ct_suggestion_deinit(&s);
    }
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    assert_int_equal(next(&b, &s), CT_SEARCH_FINISHED);
    assert_int_equal(next(&b, &s), CT_SEARCH_FINISHED);
    bench_deinit(&b);
}

static void
test_a_trial_without_variables_is_tagged_by_its_number_alone(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    b.options.first = 123456;
    b.options.foreign = true;
    b.space = s_space(b.names, s_dict(b.names, "k", s_int(3), NULL));
    bench_start(&b);
    assert_true(b.searcher->ops->foreign);
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    assert_int_equal(next(&b, &s), CT_SEARCH_TRIAL);
    assert_string_equal(s.id, "abcde_123456");
    assert_string_equal(s.tag, "123456");
    ct_suggestion_deinit(&s);
    bench_deinit(&b);
}

static void
test_at_most_max_concurrent_trials_are_live(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    b.options.max_concurrent = 2;
    bench_start(&b);
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(next(&b, &s), CT_SEARCH_TRIAL);
        ct_suggestion_deinit(&s);
    }
    assert_int_equal(next(&b, &s), CT_SEARCH_WAIT);
    complete(&b, true); /* any end frees a place */
    assert_int_equal(next(&b, &s), CT_SEARCH_TRIAL);
    ct_suggestion_deinit(&s);
    assert_int_equal(next(&b, &s), CT_SEARCH_WAIT);
    for (int i = 0; i < 5; i++) {
        complete(&b, false);
    }
    assert_int_equal(next(&b, &s), CT_SEARCH_TRIAL);
    ct_suggestion_deinit(&s);
    assert_int_equal(next(&b, &s), CT_SEARCH_FINISHED);
    bench_deinit(&b);
}

static void
test_a_negative_limit_is_refused(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    bench_start(&b);
    b.options.max_concurrent = -1;
    ct_searcher *none = NULL;
    ct_err err = CT_ERR_INIT;
    assert_int_equal(ct_basic_new(&none, b.space, &b.options, &err), CT_EINVAL);
    assert_string_equal(err.param, "max_concurrent");
    assert_null(none);
    bench_deinit(&b);
}

static void
test_a_restored_searcher_goes_on_with_the_same_trials(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    b.options.variants.num_samples = 3;
    bench_start(&b);
    ct_suggestion s = {NULL, NULL, ct_nil(), ct_nil(), 0};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(next(&b, &s), CT_SEARCH_TRIAL);
        ct_suggestion_deinit(&s);
    }
    ct_value saved = ct_nil();
    ct_err err = CT_ERR_INIT;
    assert_ok(b.searcher->ops->save(b.searcher, b.names, &saved, &err), err);
    ct_suggestion want = {NULL, NULL, ct_nil(), ct_nil(), 0};
    assert_int_equal(next(&b, &want), CT_SEARCH_TRIAL);
    b.searcher->ops->free(b.searcher);
    b.options.prefix = "other_";
    bench_start(&b);
    assert_ok(b.searcher->ops->restore(b.searcher, b.names, &saved, &err), err);
    assert_int_equal(next(&b, &s), CT_SEARCH_TRIAL);
    assert_string_equal(s.id, want.id);
    assert_string_equal(s.tag, want.tag);
    assert_true(ct_value_equal(&s.config, &want.config));
    ct_suggestion_deinit(&s);
    ct_suggestion_deinit(&want);
    assert_true(ct_value_remove(&saved, s_name(b.names, "next")));
    assert_int_equal(b.searcher->ops->restore(b.searcher, b.names, &saved, &err),
                     CT_ECORRUPT);
    ct_value_deinit(&saved);
    bench_deinit(&b);
}

static void
test_a_searcher_whose_stream_cannot_be_saved_has_no_save(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    b.options.variants.ops = NULL;
    bench_start(&b);
    assert_null(b.searcher->ops->save);
    assert_null(b.searcher->ops->restore);
    bench_deinit(&b);
}

static ct_status
attempt(void *ctx, ct_err *err)
{
    bench *b = ctx;
    ct_searcher *s = NULL;
    ct_value saved = ct_nil();
    ct_pcg_init(&b->pcg, 1, 1);
    ct_status st = ct_basic_new(&s, b->space, &b->options, err);
    ct_search_state state = CT_SEARCH_TRIAL;
    while (st == CT_OK && state == CT_SEARCH_TRIAL) {
        ct_suggestion made = {NULL, NULL, ct_nil(), ct_nil(), 0};
        st = s->ops->next(s, NULL, &made, &state, err);
        ct_suggestion_deinit(&made);
    }
    if (st == CT_OK) {
        st = s->ops->save(s, b->names, &saved, err);
    }
    if (st == CT_OK) {
        st = s->ops->restore(s, b->names, &saved, err);
    }
    ct_value_deinit(&saved);
    if (s != NULL) {
        s->ops->free(s);
    }
    return st;
}

static void
test_every_failed_allocation_is_a_clean_error(void **state)
{
    (void)state;
    bench b;
    bench_init(&b);
    bench_start(&b);
    ct_err err = CT_ERR_INIT;
    assert_ok(attempt(&b, &err), err);
    sweep_allocations(attempt, &b);
    bench_deinit(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trials_are_numbered_and_tagged),
        cmocka_unit_test(test_a_trial_without_variables_is_tagged_by_its_number_alone),
        cmocka_unit_test(test_at_most_max_concurrent_trials_are_live),
        cmocka_unit_test(test_a_negative_limit_is_refused),
        cmocka_unit_test(test_a_restored_searcher_goes_on_with_the_same_trials),
        cmocka_unit_test(test_a_searcher_whose_stream_cannot_be_saved_has_no_save),
        cmocka_unit_test(test_every_failed_allocation_is_a_clean_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
