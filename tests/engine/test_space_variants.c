/* Tests of space/variants.h. */
#include "space_support.h"

#include "base/json.h"

/* ---- helpers ---- */

typedef struct world {
    ct_names *names;
    ct_space *space;
    ct_pcg pcg;
    ct_variants *variants;
    ct_variants_options options;
} world;

static void
world_init(world *w)
{
    ct_err err = CT_ERR_INIT;
    memset(w, 0, sizeof *w);
    assert_ok(ct_names_new(&w->names, &err), err);
    ct_pcg_init(&w->pcg, 1, 1);
    w->options.num_samples = 1;
    w->options.rng = &w->pcg.rng;
}

static void
world_start(world *w, ct_node *root)
{
    ct_err err = CT_ERR_INIT;
    w->space = s_space(w->names, root);
    assert_ok(ct_variants_new(&w->variants, w->space, &w->options, &err), err);
}

static void
world_deinit(world *w)
{
    ct_variants_free(w->variants);
    ct_space_free(w->space);
    ct_names_free(w->names);
}

/* Appends the config's JSON, and the tag in angle brackets. */
static void
show(world *w, ct_buf *out)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_json_print(out, ct_variants_config(w->variants), w->names, 0, &err),
              err);
    assert_ok(ct_buf_puts(out, "<", &err), err);
    assert_ok(ct_variants_tag(w->variants, out, &err), err);
    assert_ok(ct_buf_puts(out, ">\n", &err), err);
}

/* All variants (at most 100), one a line. */
static ct_buf
all(world *w)
{
    ct_err err = CT_ERR_INIT;
    ct_buf out = CT_BUF_INIT;
    for (int i = 0; i < 100; i++) {
        bool more = false;
        assert_ok(ct_variants_next(w->variants, &more, &err), err);
        if (!more) {
            break;
        }
        show(w, &out);
    }
    assert_ok(ct_buf_terminate(&out, &err), err);
    return out;
}

static void
variants_are(world *w, const char *want)
{
    ct_buf got = all(w);
    assert_string_equal((const char *)got.data, want);
    ct_buf_deinit(&got);
}

/* ---- grids and samples ---- */

static void
test_the_first_grid_variable_by_path_varies_fastest(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    world_start(&w, s_dict(w.names, "b", s_grid_upto(2), "a", s_grid_upto(2), "k",
                           s_int(7), NULL));
    assert_int_equal(ct_variants_total(w.variants), 4);
    variants_are(&w, "{\"b\": 0, \"a\": 0, \"k\": 7}<a=0,b=0>\n"
                     "{\"b\": 0, \"a\": 1, \"k\": 7}<a=1,b=0>\n"
                     "{\"b\": 1, \"a\": 0, \"k\": 7}<a=0,b=1>\n"
                     "{\"b\": 1, \"a\": 1, \"k\": 7}<a=1,b=1>\n");
    world_deinit(&w);
}

static void
test_indices_sort_as_numbers_and_shorter_paths_first(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    ct_node *list = s_branch(CT_NODE_LIST);
    for (int i = 0; i < 11; i++) {
        s_push(list, i == 2 || i == 10 ? s_grid_upto(2) : s_int(5));
    }
    world_start(&w, s_dict(w.names, "l", list, NULL));
    variants_are(&w, "{\"l\": [5, 5, 0, 5, 5, 5, 5, 5, 5, 5, 0]}<2=0,10=0>\n"
                     "{\"l\": [5, 5, 1, 5, 5, 5, 5, 5, 5, 5, 0]}<2=1,10=0>\n"
                     "{\"l\": [5, 5, 0, 5, 5, 5, 5, 5, 5, 5, 1]}<2=0,10=1>\n"
                     "{\"l\": [5, 5, 1, 5, 5, 5, 5, 5, 5, 5, 1]}<2=1,10=1>\n");
    world_deinit(&w);
}

static void
test_a_constant_space_gives_one_variant_a_sample(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    w.options.num_samples = 2;
    world_start(&w, s_dict(w.names, NULL));
    variants_are(&w, "{}<>\n{}<>\n");
    world_deinit(&w);
}

static void
test_numbers_are_drawn_in_walk_order_anew_for_each_grid_point(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    const double draws[] = {0.1, 0.2, 0.3, 0.4};
    s_script script = s_script_of(draws, 4);
    w.options.rng = &script.rng;
    world_start(&w, s_dict(w.names, "z", s_uniform(0, 1), "g", s_grid_upto(2), "a",
                           s_of(CT_NODE_TUPLE, s_uniform(0, 10), NULL), NULL));
    variants_are(&w, "{\"z\": 0.1, \"g\": 0, \"a\": [2.0]}<0=2.0000,g=0,z=0.1000>\n"
                     "{\"z\": 0.3, \"g\": 1, \"a\": [4.0]}<0=4.0000,g=1,z=0.3000>\n");
    assert_int_equal(script.draws, 4);
    world_deinit(&w);
}

static void
test_a_constant_grid_shares_the_numbers_of_a_sample(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    const double draws[] = {0.25, 0.75};
    s_script script = s_script_of(draws, 2);
    w.options.rng = &script.rng;
    w.options.constant_grid = true;
    w.options.num_samples = 2;
    world_start(&w, s_dict(w.names, "z", s_uniform(0, 1), "g", s_grid_upto(2), NULL));
    variants_are(&w, "{\"z\": 0.25, \"g\": 0}<g=0,z=0.2500>\n"
                     "{\"z\": 0.25, \"g\": 1}<g=1,z=0.2500>\n"
                     "{\"z\": 0.75, \"g\": 0}<g=0,z=0.7500>\n"
                     "{\"z\": 0.75, \"g\": 1}<g=1,z=0.7500>\n");
    world_deinit(&w);
}

static void
test_options_are_expanded_only_where_they_are_chosen(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    const double draws[] = {0.5, 0.125, 0.9};
    s_script script = s_script_of(draws, 3);
    w.options.rng = &script.rng;
    world_start(&w,
                s_dict(w.names, "x",
                       s_of(CT_NODE_GRID, s_dict(w.names, "a", s_grid_upto(2), NULL),
                            s_int(5), s_uniform(0, 1), NULL),
                       "y", s_uniform(0, 1), NULL));
    /* Grid points share y's draw with their inner grid: the inner one turns first. */
    variants_are(&w, "{\"x\": {\"a\": 0}, \"y\": 0.5}<x=a_0,a=0,y=0.5000>\n"
                     "{\"x\": {\"a\": 1}, \"y\": 0.5}<x=a_1,a=1,y=0.5000>\n"
                     "{\"x\": 5, \"y\": 0.125}<x=5,y=0.1250>\n"
                     "{\"x\": 0.5, \"y\": 0.9}<x=0.5000,y=0.9000>\n");
    assert_int_equal(script.draws, 4);
    world_deinit(&w);
}

static void
test_options_nest_several_levels_deep(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    const double draws[] = {0.0};
    s_script script = s_script_of(draws, 1);
    w.options.rng = &script.rng;
    ct_node *n = s_grid_upto(2);
    for (int i = 0; i < 5; i++) {
        n = s_of(CT_NODE_CHOICE, s_of(CT_NODE_LIST, n, NULL), NULL);
    }
    world_start(&w, s_dict(w.names, "x", n, NULL));
    variants_are(&w, "{\"x\": [[[[[0]]]]]}<x=0,0=0,0=0,0=0,0=0,0=0>\n"
                     "{\"x\": [[[[[1]]]]]}<x=1,0=1,0=1,0=1,0=1,0=1>\n");
    assert_int_equal(script.draws, 5);
    world_deinit(&w);
}

static void
test_variables_are_listed_drawn_ones_first_then_grids_then_deeper(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    world_start(&w, s_dict(w.names, "g", s_grid_upto(1), "c",
                           s_of(CT_NODE_CHOICE,
                                s_dict(w.names, "d", s_randint(3, 4), NULL), NULL),
                           "b", s_grid_upto(1), "a", s_randint(7, 8), NULL));
    ct_err err = CT_ERR_INIT;
    bool more = false;
    assert_ok(ct_variants_next(w.variants, &more, &err), err);
    const char *names[] = {"c", "a", "b", "g", "c/d"};
    assert_int_equal(ct_variants_count(w.variants), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(ct_names_text(w.names, ct_variants_name(w.variants, i)),
                            names[i]);
    }
    assert_int_equal(ct_variants_value(w.variants, 1)->u.i, 7);
    assert_int_equal(ct_variants_depth(w.variants, 4), 2);
    uint32_t at = 0;
    assert_false(ct_variants_step(w.variants, 4, 1, &at));
    assert_string_equal(ct_names_text(w.names, at), "d");
    ct_value evaluated = ct_nil();
    ct_buf text = CT_BUF_INIT;
    assert_ok(ct_variants_evaluated(w.variants, &evaluated, &err), err);
    assert_ok(ct_json_print(&text, &evaluated, w.names, 0, &err), err);
    assert_ok(ct_buf_terminate(&text, &err), err);
    assert_string_equal(
        (const char *)text.data,
        "{\"c\": {\"d\": 3}, \"a\": 7, \"b\": 0, \"g\": 0, \"c/d\": 3}");
    ct_buf_deinit(&text);
    ct_value_deinit(&evaluated);
    world_deinit(&w);
}

/* ---- points ---- */

static ct_value
points_of(ct_names *names, const char *json)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = ct_nil();
    assert_ok(ct_json_parse(&v, json, strlen(json), names, &err), err);
    return v;
}

static size_t
count_all(world *w)
{
    ct_err err = CT_ERR_INIT;
    size_t n = 0;
    for (;; n++) {
        bool more = false;
        assert_ok(ct_variants_next(w->variants, &more, &err), err);
        if (!more) {
            return n;
        }
    }
}

static void
test_points_come_first_and_fix_their_grids(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    ct_value points =
        points_of(w.names, "[{\"g1\": 9}, {\"g2\": 8}, {\"g1\": 1, \"g2\": 2},"
                           " {\"o\": 3}]");
    w.options.points = &points;
    w.options.num_samples = 6;
    world_start(&w, s_dict(w.names, "g1", s_grid_upto(4), "g2", s_grid_upto(3), "o",
                           s_randint(0, 9), NULL));
    ct_value_deinit(&points);
    assert_int_equal(ct_variants_total(w.variants), 3 + 4 + 1 + 3 * 12);
    ct_err err = CT_ERR_INIT;
    bool more = false;
    assert_ok(ct_variants_next(w.variants, &more, &err), err);
    ct_name g1 = s_name(w.names, "g1");
    assert_int_equal(ct_value_get(ct_variants_config(w.variants), g1)->u.i, 9);
    assert_int_equal(ct_variants_count(w.variants),
                     2); /* g2 and o; g1 is no variable */
    assert_int_equal(1 + count_all(&w), 3 + 4 + 1 + 3 * 12);
    world_deinit(&w);
}

static void
test_all_points_run_even_if_there_are_more_than_samples(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    ct_value points =
        points_of(w.names, "[{\"a\": 1, \"b\": 2}, {\"a\": 1}, {\"b\": 2}]");
    w.options.points = &points;
    w.options.num_samples = 1;
    world_start(&w, s_dict(w.names, "a", s_grid_upto(2), "b", s_randint(0, 3), NULL));
    assert_int_equal(ct_variants_total(w.variants), 4);
    assert_int_equal(count_all(&w), 4);
    ct_value_deinit(&points);
    world_deinit(&w);
}

static void
test_a_wrong_point_is_refused_before_the_first_variant(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    ct_value points = points_of(w.names, "[{\"a\": 1}, {\"q\": 1}]");
    w.options.points = &points;
    w.space = s_space(w.names, s_dict(w.names, "a", s_grid_upto(2), NULL));
    ct_err err = CT_ERR_INIT;
    assert_int_equal(ct_variants_new(&w.variants, w.space, &w.options, &err),
                     CT_ENOTFOUND);
    assert_non_null(strstr(err.text, "`q`"));
    ct_value_deinit(&points);
    points = points_of(w.names, "3");
    assert_int_equal(ct_variants_new(&w.variants, w.space, &w.options, &err), CT_ETYPE);
    ct_value_deinit(&points);
    world_deinit(&w);
}

static void
test_an_endless_space_uses_no_more_memory_with_each_sample(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        world w;
        world_init(&w);
        w.options.num_samples = UINT64_MAX;
        w.options.ahead = ahead != 0;
        world_start(&w,
                    s_dict(w.names, "a", s_uniform(0, 1), "g", s_grid_upto(3), "c",
                           s_of(CT_NODE_CHOICE, s_text("relu"),
                                s_dict(w.names, "u", s_loguniform(1, 9), NULL), NULL),
                           NULL));
        assert_true(ct_variants_total(w.variants) == UINT64_MAX);
        ct_err err = CT_ERR_INIT;
        int64_t live = 0;
        for (int i = 0; i < 3000; i++) {
            bool more = false;
            assert_ok(ct_variants_next(w.variants, &more, &err), err);
            assert_true(more);
            ct_value config = ct_nil();
            ct_value evaluated = ct_nil();
            assert_ok(ct_variants_evaluated(w.variants, &evaluated, &err), err);
            ct_variants_take(w.variants, &config);
            ct_value_deinit(&evaluated);
            ct_value_deinit(&config);
            if (i == 300) {
                live = ct_mem_live();
            }
            if (i > 300) { /* how many entries are held varies within a sample */
                assert_true(ct_mem_live() < live + 30);
            }
        }
        world_deinit(&w);
    }
}

static void
test_drawing_ahead_draws_a_whole_sample_at_its_first_variant(void **state)
{
    (void)state;
    const double draws[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
    for (int ahead = 0; ahead < 2; ahead++) {
        world w;
        world_init(&w);
        s_script script = s_script_of(draws, 6);
        w.options.rng = &script.rng;
        w.options.ahead = ahead != 0;
        w.options.num_samples = 2;
        world_start(&w,
                    s_dict(w.names, "g", s_grid_upto(3), "u", s_uniform(0, 1), NULL));
        ct_err err = CT_ERR_INIT;
        bool more = false;
        assert_ok(ct_variants_next(w.variants, &more, &err), err);
        assert_int_equal(script.draws, ahead ? 3 : 1);
        ct_buf rest = all(&w);
        assert_string_equal((const char *)rest.data,
                            "{\"g\": 1, \"u\": 0.2}<g=1,u=0.2000>\n"
                            "{\"g\": 2, \"u\": 0.3}<g=2,u=0.3000>\n"
                            "{\"g\": 0, \"u\": 0.4}<g=0,u=0.4000>\n"
                            "{\"g\": 1, \"u\": 0.5}<g=1,u=0.5000>\n"
                            "{\"g\": 2, \"u\": 0.6}<g=2,u=0.6000>\n");
        ct_buf_deinit(&rest);
        world_deinit(&w);
    }
}

/* ---- functions ---- */

/* A function is a reference with a key: it gives ten times what stands there, or a
 * space (key "space"), or an error (key "broken"). */
typedef struct fn_ref {
    ct_ref ref;
    const char *key;
} fn_ref;

static void
fn_release(ct_ref *ref)
{
    ct_free(ref);
}

static ct_status
fn_json(const ct_ref *ref, ct_buf *out, ct_err *err)
{
    (void)ref;
    return ct_buf_puts(out, "\"fn\"", err);
}

static ct_status
fn_wire(ct_ref *ref, ct_buf *out, ct_err *err)
{
    return fn_json(ref, out, err);
}

static bool
fn_equal(const ct_ref *a, const ct_ref *b)
{
    return a == b;
}

static const ct_ref_ops FN_OPS = {fn_release, fn_json, fn_wire, fn_equal, NULL};

static ct_node *
s_fn(const char *key, bool eager)
{
    ct_err err = CT_ERR_INIT;
    fn_ref *f = ct_alloc(sizeof *f);
    *f = (fn_ref){{&FN_OPS, 1}, key};
    ct_node *n = NULL;
    assert_ok(ct_node_function(&n, &f->ref, eager, &err), err);
    return n;
}

static ct_status
space_result(ct_names *names, ct_node **out, ct_err *err)
{
    ct_node *dict = NULL;
    ct_node *grid = NULL;
    ct_name q = 0;
    ct_status st = ct_names_intern(names, "q", 1, &q, err);
    if (st == CT_OK) {
        st = ct_node_branch(&dict, CT_NODE_DICT, err);
    }
    if (st == CT_OK) {
        st = ct_node_branch(&grid, CT_NODE_GRID, err);
    }
    for (int i = 0; st == CT_OK && i < 2; i++) {
        ct_value v = ct_i64(i);
        ct_node *option = NULL;
        st = ct_node_value(&option, &v, err);
        if (st == CT_OK) {
            st = ct_node_push(grid, &option, err);
        }
    }
    if (st == CT_OK) {
        st = ct_node_put(dict, q, &grid, err);
    }
    ct_node_release(grid);
    if (st != CT_OK) {
        ct_node_release(dict);
        return st;
    }
    *out = dict;
    return CT_OK;
}

static ct_status
fn_call(void *ctx, ct_ref *ref, const ct_value *config, ct_node **out, ct_err *err)
{
    world *w = ctx;
    const char *key = ((fn_ref *)ref)->key;
    if (strcmp(key, "broken") == 0) {
        return ct_fail(err, CT_EFOREIGN, "", "broken");
    }
    if (strcmp(key, "space") == 0) {
        return space_result(w->names, out, err);
    }
    ct_name name = ct_names_find(w->names, key, strlen(key));
    const ct_value *v = ct_value_get(config, name);
    if (ct_is_unresolved(v)) {
        return ct_fail(err, CT_ERECURSIVE, key, "`%s` is not resolved", key);
    }
    double x = 0.0;
    if (!ct_value_number(v, &x)) {
        return ct_fail(err, CT_ETYPE, key, "no number");
    }
    ct_value result = ct_f64(10.0 * x);
    return ct_node_value(out, &result, err);
}

static const ct_function_ops FN = {fn_call, NULL, NULL};

static void
world_functions(world *w, bool last)
{
    w->options.ops = &FN;
    w->options.ctx = w;
    w->options.functions_last = last;
}

static void
test_functions_see_what_is_resolved_and_wait_for_the_rest(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    world_functions(&w, false);
    world_start(&w, s_dict(w.names, "c", s_fn("b", false), "b", s_fn("a", false), "a",
                           s_grid_upto(2), NULL));
    variants_are(&w,
                 "{\"c\": 0.0, \"b\": 0.0, \"a\": 0}<a=0,b=0.0000,c=0.0000>\n"
                 "{\"c\": 100.0, \"b\": 10.0, \"a\": 1}<a=1,b=10.0000,c=100.0000>\n");
    world_deinit(&w);
}

static void
test_a_function_of_the_grid_is_called_for_each_point_of_a_constant_grid(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    world_functions(&w, false);
    w.options.constant_grid = true;
    const double draws[] = {0.25, 0.75};
    s_script script = s_script_of(draws, 2);
    w.options.rng = &script.rng;
    world_start(&w, s_dict(w.names, "f", s_fn("g", false), "h", s_fn("u", false), "u",
                           s_uniform(0, 1), "g", s_grid_upto(2), NULL));
    variants_are(&w, "{\"f\": 0.0, \"h\": 2.5, \"u\": 0.25, \"g\": "
                     "0}<f=0.0000,g=0,h=2.5000,u=0.2500>\n"
                     "{\"f\": 10.0, \"h\": 2.5, \"u\": 0.25, \"g\": 1}"
                     "<f=10.0000,g=1,h=2.5000,u=0.2500>\n");
    assert_int_equal(script.draws, 1);
    world_deinit(&w);
}

static void
test_a_function_may_give_a_space(void **state)
{
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        world w;
        world_init(&w);
        world_functions(&w, false);
        w.options.ahead = ahead != 0;
        world_start(
            &w, s_dict(w.names, "f", s_fn("space", false), "g", s_grid_upto(2), NULL));
        variants_are(&w, "{\"f\": {\"q\": 0}, \"g\": 0}<f=q_0,q=0,g=0>\n"
                         "{\"f\": {\"q\": 1}, \"g\": 0}<f=q_1,q=1,g=0>\n"
                         "{\"f\": {\"q\": 0}, \"g\": 1}<f=q_0,q=0,g=1>\n"
                         "{\"f\": {\"q\": 1}, \"g\": 1}<f=q_1,q=1,g=1>\n");
        world_deinit(&w);
    }
}

static void
test_functions_last_are_no_variables_unless_they_were_chosen(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    world_functions(&w, true);
    world_start(&w, s_dict(w.names, "c", s_fn("b", false), "b", s_fn("a", false), "a",
                           s_grid_upto(2), "o",
                           s_of(CT_NODE_GRID, s_fn("a", false), s_int(3), NULL), "e",
                           s_fn("a", true), NULL));
    variants_are(&w, "{\"c\": 0.0, \"b\": 0.0, \"a\": 0, \"o\": 0.0, \"e\": 0.0}"
                     "<a=0,e=0.0000,o=0.0000>\n"
                     "{\"c\": 100.0, \"b\": 10.0, \"a\": 1, \"o\": 10.0, \"e\": 10.0}"
                     "<a=1,e=10.0000,o=10.0000>\n"
                     "{\"c\": 0.0, \"b\": 0.0, \"a\": 0, \"o\": 3, \"e\": 0.0}"
                     "<a=0,e=0.0000,o=3>\n"
                     "{\"c\": 100.0, \"b\": 10.0, \"a\": 1, \"o\": 3, \"e\": 10.0}"
                     "<a=1,e=10.0000,o=3>\n");
    world_deinit(&w);
}

static void
fails(bool last, ct_status want, const char *word, const char *keys[2])
{
    world w;
    world_init(&w);
    world_functions(&w, last);
    world_start(&w, s_dict(w.names, "a", s_fn(keys[0], false), "b",
                           s_fn(keys[1], false), "k", s_int(1), NULL));
    ct_err err = CT_ERR_INIT;
    bool more = false;
    assert_int_equal(ct_variants_next(w.variants, &more, &err), want);
    if (strstr(err.text, word) == NULL) {
        fail_msg("`%s` lacks `%s`", err.text, word);
    }
    world_deinit(&w);
}

static void
test_a_circle_is_refused_at_the_first_variant_and_named(void **state)
{
    (void)state;
    for (int last = 0; last < 2; last++) {
        fails(last != 0, CT_ERECURSIVE, "`a`, `b`", (const char *[]){"b", "a"});
        fails(last != 0, CT_ERECURSIVE, "among `a` (`a` is",
              (const char *[]){"a", "k"});
    }
}

static void
test_an_error_in_a_function_is_passed_on(void **state)
{
    (void)state;
    for (int last = 0; last < 2; last++) {
        fails(last != 0, CT_EFOREIGN, "broken", (const char *[]){"k", "broken"});
    }
    fails(true, CT_EINVAL, "gave a search space", (const char *[]){"space", "k"});
}

/* ---- positions ---- */

static ct_status
pcg_save(void *ctx, ct_names *names, ct_value *out, ct_err *err)
{
    world *w = ctx;
    uint64_t words[4];
    (void)names;
    memcpy(words, w->pcg.state, 16);
    memcpy(words + 2, w->pcg.inc, 16);
    *out = ct_list();
    for (int i = 0; i < 4; i++) {
        int64_t word;
        memcpy(&word, &words[i], 8);
        ct_value item = ct_i64(word);
        ct_status st = ct_value_push(out, &item, err);
        if (st != CT_OK) {
            ct_value_deinit(out);
            return st;
        }
    }
    return CT_OK;
}

static ct_status
pcg_restore(void *ctx, ct_names *names, const ct_value *v, ct_err *err)
{
    world *w = ctx;
    (void)names;
    if (v->kind != CT_LIST || v->len != 4) {
        return ct_fail(err, CT_ECORRUPT, "rng", "damaged");
    }
    memcpy(&w->pcg.state[0], &v->u.items[0].u.i, 8);
    memcpy(&w->pcg.state[1], &v->u.items[1].u.i, 8);
    memcpy(&w->pcg.inc[0], &v->u.items[2].u.i, 8);
    memcpy(&w->pcg.inc[1], &v->u.items[3].u.i, 8);
    return CT_OK;
}

static const ct_function_ops SAVED = {fn_call, pcg_save, pcg_restore};

static ct_node *
saved_space(ct_names *names, int kind)
{
    if (kind == 0) {
        return s_dict(names, "u", s_uniform(0, 1), "v", s_randint(0, 100), NULL);
    }
    return s_dict(names, "g", s_grid_upto(3), "u", s_uniform(0, 1), "c",
                  s_of(CT_NODE_CHOICE, s_grid_upto(2), s_loguniform(1, 2), NULL), NULL);
}

static void
test_a_saved_position_goes_on_exactly_from_anywhere(void **state)
{
    (void)state;
    for (int mode = 0; mode < 4; mode++) {
        for (int at = 0; at < 9; at++) {
            world w;
            world_init(&w);
            w.options.num_samples = 8;
            w.options.ahead = (mode & 1) != 0;
            w.options.ops = &SAVED;
            w.options.ctx = &w;
            world_start(&w, saved_space(w.names, mode / 2));
            ct_err err = CT_ERR_INIT;
            bool more = false;
            for (int i = 0; i < at; i++) {
                assert_ok(ct_variants_next(w.variants, &more, &err), err);
            }
            ct_value position = ct_nil();
            assert_ok(ct_variants_save(w.variants, w.names, &position, &err), err);
            ct_buf want = all(&w);
            ct_variants_free(w.variants);
            ct_pcg_init(&w.pcg, 77, 5);
            assert_ok(ct_variants_new(&w.variants, w.space, &w.options, &err), err);
            assert_ok(ct_variants_restore(w.variants, w.names, &position, &err), err);
            ct_buf got = all(&w);
            assert_string_equal((const char *)got.data, (const char *)want.data);
            ct_buf_deinit(&want);
            ct_buf_deinit(&got);
            ct_value_deinit(&position);
            world_deinit(&w);
        }
    }
}

static void
test_a_damaged_position_is_refused(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    w.options.num_samples = 2;
    w.options.ops = &SAVED;
    w.options.ctx = &w;
    world_start(&w, saved_space(w.names, 1));
    const char *texts[] = {
        "3", "{}", "{\"sample\": -1, \"given\": 0, \"rng_start\": null, \"rng\": null}",
        "{\"sample\": 1, \"given\": 0, \"rng_start\": null, \"rng\": null}",
        "{\"sample\": 1, \"given\": 99, \"rng_start\": [1, 2, 3, 5], \"rng\": [1, 2, "
        "3, 5]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ct_value v = points_of(w.names, texts[i]);
        ct_err err = CT_ERR_INIT;
        assert_int_equal(ct_variants_restore(w.variants, w.names, &v, &err),
                         CT_ECORRUPT);
        ct_value_deinit(&v);
    }
    world_deinit(&w);
}

static void
test_a_position_without_the_streams_state_is_refused(void **state)
{
    (void)state;
    world w;
    world_init(&w);
    world_start(&w, s_dict(w.names, NULL));
    ct_value v = ct_nil();
    ct_err err = CT_ERR_INIT;
    assert_int_equal(ct_variants_save(w.variants, w.names, &v, &err), CT_EUNSUPPORTED);
    assert_int_equal(ct_variants_restore(w.variants, w.names, &v, &err),
                     CT_EUNSUPPORTED);
    world_deinit(&w);
}

/* ---- allocation failures ---- */

typedef struct sweep {
    world w;
    bool last;
    bool ahead;
    const ct_value *points;
} sweep;

static ct_status
attempt_variants(void *ctx, ct_err *err)
{
    sweep *s = ctx;
    world *w = &s->w;
    ct_variants *v = NULL;
    ct_variants_options o = w->options;
    o.functions_last = s->last;
    o.ahead = s->ahead;
    o.points = s->points;
    o.num_samples = 3;
    ct_buf text = CT_BUF_INIT;
    ct_value evaluated = ct_nil();
    ct_pcg_init(&w->pcg, 1, 1);
    ct_status st = ct_variants_new(&v, w->space, &o, err);
    bool more = true;
    while (st == CT_OK && more) {
        st = ct_variants_next(v, &more, err);
        if (st == CT_OK && more) {
            st = ct_variants_tag(v, &text, err);
        }
        if (st == CT_OK && more) {
            st = ct_variants_evaluated(v, &evaluated, err);
            ct_value_deinit(&evaluated);
        }
    }
    ct_buf_deinit(&text);
    ct_variants_free(v);
    return st;
}

static void
test_every_failed_allocation_is_a_clean_error(void **state)
{
    (void)state;
    for (int mode = 0; mode < 4; mode++) {
        sweep s = {.last = (mode & 1) != 0, .ahead = (mode & 2) != 0};
        world_init(&s.w);
        ct_value points = points_of(s.w.names, "[{\"g\": 1, \"n\": {\"k\": [5]}}]");
        s.points = &points;
        world_functions(&s.w, s.last);
        ct_node *space_fn = s.last ? s_fn("g", false) : s_fn("space", false);
        s.w.space = s_space(
            s.w.names,
            s_dict(s.w.names, "g", s_grid_upto(2), "f", s_fn("g", false), "s", space_fn,
                   "c", s_of(CT_NODE_CHOICE, s_text("relu"), s_uniform(0, 1), NULL),
                   "n",
                   s_dict(s.w.names, "k",
                          s_of(CT_NODE_LIST, s_randint(0, 5), s_text("x"), NULL), NULL),
                   NULL));
        /* Names stay in the table for good: let them be there before the count
         * starts. */
        ct_err err = CT_ERR_INIT;
        assert_ok(attempt_variants(&s, &err), err);
        sweep_allocations(attempt_variants, &s);
        ct_value_deinit(&points);
        world_deinit(&s.w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_grid_variable_by_path_varies_fastest),
        cmocka_unit_test(test_indices_sort_as_numbers_and_shorter_paths_first),
        cmocka_unit_test(test_a_constant_space_gives_one_variant_a_sample),
        cmocka_unit_test(test_numbers_are_drawn_in_walk_order_anew_for_each_grid_point),
        cmocka_unit_test(test_a_constant_grid_shares_the_numbers_of_a_sample),
        cmocka_unit_test(test_options_are_expanded_only_where_they_are_chosen),
        cmocka_unit_test(test_options_nest_several_levels_deep),
        cmocka_unit_test(
            test_variables_are_listed_drawn_ones_first_then_grids_then_deeper),
        cmocka_unit_test(test_points_come_first_and_fix_their_grids),
        cmocka_unit_test(test_all_points_run_even_if_there_are_more_than_samples),
        cmocka_unit_test(test_a_wrong_point_is_refused_before_the_first_variant),
        cmocka_unit_test(test_an_endless_space_uses_no_more_memory_with_each_sample),
        cmocka_unit_test(test_drawing_ahead_draws_a_whole_sample_at_its_first_variant),
        cmocka_unit_test(test_functions_see_what_is_resolved_and_wait_for_the_rest),
        cmocka_unit_test(
            test_a_function_of_the_grid_is_called_for_each_point_of_a_constant_grid),
        cmocka_unit_test(test_a_function_may_give_a_space),
        cmocka_unit_test(test_functions_last_are_no_variables_unless_they_were_chosen),
        cmocka_unit_test(test_a_circle_is_refused_at_the_first_variant_and_named),
        cmocka_unit_test(test_an_error_in_a_function_is_passed_on),
        cmocka_unit_test(test_a_saved_position_goes_on_exactly_from_anywhere),
        cmocka_unit_test(test_a_damaged_position_is_refused),
        cmocka_unit_test(test_a_position_without_the_streams_state_is_refused),
        cmocka_unit_test(test_every_failed_allocation_is_a_clean_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
