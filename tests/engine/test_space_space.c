/* Tests of space/space.h. */
#include "space_support.h"

static ct_names *
names_new(void)
{
    ct_names *names = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_names_new(&names, &err), err);
    return names;
}

static void
refused(ct_names *names, ct_node *root, const char *param, const char *word)
{
    ct_err err = CT_ERR_INIT;
    ct_space *s = NULL;
    assert_int_equal(ct_space_new(&s, names, &root, &err), CT_EINVAL);
    assert_string_equal(err.param, param);
    assert_non_null(strstr(err.text, word));
    assert_null(root);
    assert_null(s);
}

static void
test_errors_name_the_path_of_the_parameter(void **state)
{
    (void)state;
    ct_names *names = names_new();
    refused(names,
            s_dict(names, "nest", s_dict(names, "lr", s_uniform(2, 1), NULL), NULL),
            "nest/lr", "swap");
    refused(names,
            s_dict(names, "a", s_int(1), "layers",
                   s_of(CT_NODE_LIST, s_int(1), s_branch(CT_NODE_GRID), NULL), NULL),
            "layers/1", "empty");
    refused(names, s_dict(names, "c", s_branch(CT_NODE_CHOICE), NULL), "c", "nothing");
    /* An option adds nothing to the path. */
    refused(names,
            s_dict(names, "c",
                   s_of(CT_NODE_CHOICE, s_int(1),
                        s_dict(names, "x", s_randint(5, 5), NULL), NULL),
                   NULL),
            "c/x", "less than");
    ct_names_free(names);
}

static void
test_a_tree_nested_too_deep_is_refused(void **state)
{
    (void)state;
    ct_names *names = names_new();
    ct_node *n = s_uniform(0, 1);
    for (int i = 0; i < 250; i++) {
        n = s_dict(names, "a", n, NULL);
    }
    refused(names, n, "a/a/a/a/a/a/a/a", "deep");
    n = s_uniform(0, 1);
    for (int i = 0; i < 250; i++) {
        n = s_of(CT_NODE_CHOICE, n, NULL);
    }
    refused(names, s_dict(names, "x", n, NULL), "x", "deep");
    ct_names_free(names);
}

static void
test_grid_points_multiply_and_options_do_not_count(void **state)
{
    (void)state;
    ct_names *names = names_new();
    ct_space *s =
        s_space(names, s_dict(names, "a", s_grid_upto(3), "b",
                              s_of(CT_NODE_LIST, s_grid_upto(4), s_uniform(0, 1), NULL),
                              "c", s_of(CT_NODE_CHOICE, s_grid_upto(5), NULL), NULL));
    assert_int_equal(ct_node_grid_points(ct_space_root(s)), 12);
    assert_true(ct_node_has_grid(ct_space_root(s)));
    assert_false(ct_node_is_constant(ct_space_root(s)));
    ct_space_free(s);
    s = s_space(names, s_dict(names, "a", s_of(CT_NODE_TUPLE, s_int(1), NULL), NULL));
    assert_true(ct_node_is_constant(ct_space_root(s)));
    assert_false(ct_node_has_grid(ct_space_root(s)));
    assert_int_equal(ct_node_grid_points(ct_space_root(s)), 1);
    ct_space_free(s);
    ct_node *huge = s_branch(CT_NODE_LIST);
    for (int i = 0; i < 70; i++) {
        s_push(huge, s_grid_upto(2));
    }
    s = s_space(names, huge);
    assert_true(ct_node_grid_points(ct_space_root(s)) == UINT64_MAX);
    ct_space_free(s);
    ct_names_free(names);
}

typedef struct warnings {
    int count;
    char last[300];
} warnings;

static void
warn(void *ctx, const char *text)
{
    warnings *w = ctx;
    w->count++;
    assert_true(strlen(text) < sizeof w->last);
    memcpy(w->last, text, strlen(text) + 1);
}

static ct_value
point1(ct_names *names, const char *key, ct_value item)
{
    ct_err err = CT_ERR_INIT;
    ct_value dict = ct_dict();
    assert_ok(ct_value_put(&dict, s_name(names, key), &item, &err), err);
    return dict;
}

static void
test_an_overlay_replaces_leaves_and_shares_the_rest(void **state)
{
    (void)state;
    ct_names *names = names_new();
    ct_space *s = s_space(
        names,
        s_dict(names, "g", s_grid_upto(3), "n",
               s_dict(names, "y", s_randint(0, 4), "z", s_uniform(0, 1), NULL), NULL));
    warnings w = {0, ""};
    ct_value point = point1(names, "n", point1(names, "y", ct_i64(3)));
    ct_node *root = NULL;
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_space_overlay(s, &point, warn, &w, &root, &err), err);
    assert_int_equal(w.count, 0);
    const ct_node *before = ct_space_root(s);
    assert_ptr_equal(ct_node_child(root, 0), ct_node_child(before, 0));
    const ct_node *nest = ct_node_child(root, 1);
    assert_int_equal(ct_node_kind_of(ct_node_child(nest, 0)), CT_NODE_VALUE);
    assert_ptr_equal(ct_node_child(nest, 1),
                     ct_node_child(ct_node_child(before, 1), 1));
    assert_int_equal(ct_node_kind_of(ct_node_child(ct_node_child(before, 1), 0)),
                     CT_NODE_DOMAIN);
    ct_node_release(root);
    ct_value_deinit(&point);
    ct_space_free(s);
    ct_names_free(names);
}

static void
test_an_overlay_warns_of_values_outside_the_space_and_uses_them(void **state)
{
    (void)state;
    ct_names *names = names_new();
    ct_space *s =
        s_space(names, s_dict(names, "g", s_grid_upto(3), "k", s_int(5), "x",
                              s_uniform(0, 1), "c",
                              s_of(CT_NODE_CHOICE, s_text("a"),
                                   s_dict(names, "u", s_uniform(0, 1), NULL), NULL),
                              NULL));
    struct {
        const char *key;
        ct_value value;
        const char *word; /* NULL: no warning */
    } cases[] = {
        {"g", ct_i64(7), "`7` of parameter `g` is not within"},
        {"g", ct_i64(2), NULL},
        {"k", ct_i64(6), "`k` is not equal"},
        {"k", ct_f64(5.0), NULL},
        {"x", ct_f64(1.0), NULL},
        {"x", ct_f64(1.5), "`1.5` of parameter `x` is not within"},
        {"x", ct_nil(), "`None` of parameter `x` is not within"},
        {"c", s_text_value("b"), "`'b'` of parameter `c`"},
        {"c", s_text_value("a"), NULL},
        {"c", point1(names, "u", ct_f64(0.5)), NULL},
        {"c", point1(names, "u", ct_f64(2.5)), "parameter `c`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        warnings w = {0, ""};
        ct_value point = point1(names, cases[i].key, cases[i].value);
        ct_node *root = NULL;
        ct_err err = CT_ERR_INIT;
        assert_ok(ct_space_overlay(s, &point, warn, &w, &root, &err), err);
        assert_int_equal(w.count, cases[i].word != NULL);
        if (cases[i].word != NULL && strstr(w.last, cases[i].word) == NULL) {
            fail_msg("`%s` lacks `%s`", w.last, cases[i].word);
        }
        ct_node_release(root);
        ct_value_deinit(&point);
    }
    ct_space_free(s);
    ct_names_free(names);
}

static void
test_an_overlay_reaches_into_constant_containers(void **state)
{
    (void)state;
    ct_names *names = names_new();
    ct_err err = CT_ERR_INIT;
    ct_value list = ct_list();
    for (int i = 0; i < 2; i++) {
        ct_value item = ct_i64(i);
        assert_ok(ct_value_push(&list, &item, &err), err);
    }
    ct_space *s = s_space(names, s_dict(names, "l", s_const(list), NULL));
    ct_value one = ct_list();
    ct_value item = ct_i64(9);
    assert_ok(ct_value_push(&one, &item, &err), err);
    ct_value point = point1(names, "l", one);
    ct_node *root = NULL;
    assert_ok(ct_space_overlay(s, &point, NULL, NULL, &root, &err), err);
    const ct_node *l = ct_node_child(root, 0);
    assert_int_equal(ct_node_constant(ct_node_child(l, 0))->u.i, 9);
    assert_int_equal(ct_node_constant(ct_node_child(l, 1))->u.i, 1);
    ct_node_release(root);
    ct_value_deinit(&point);
    ct_space_free(s);
    ct_names_free(names);
}

static void
test_an_overlay_refuses_keys_and_indices_that_the_space_lacks(void **state)
{
    (void)state;
    ct_names *names = names_new();
    ct_err err = CT_ERR_INIT;
    ct_space *s = s_space(
        names, s_dict(names, "l", s_of(CT_NODE_LIST, s_uniform(0, 1), NULL), NULL));
    ct_value point = point1(names, "q", ct_i64(1));
    ct_node *root = NULL;
    assert_int_equal(ct_space_overlay(s, &point, NULL, NULL, &root, &err),
                     CT_ENOTFOUND);
    assert_string_equal(err.param, "points_to_evaluate");
    assert_non_null(strstr(err.text, "`q`"));
    ct_value_deinit(&point);
    ct_value list = ct_list();
    for (int i = 0; i < 2; i++) {
        ct_value item = ct_f64(0.5);
        assert_ok(ct_value_push(&list, &item, &err), err);
    }
    point = point1(names, "l", list);
    assert_int_equal(ct_space_overlay(s, &point, NULL, NULL, &root, &err), CT_EINVAL);
    assert_non_null(strstr(err.text, "`l/1`"));
    ct_value_deinit(&point);
    point = ct_i64(3);
    assert_int_equal(ct_space_overlay(s, &point, NULL, NULL, &root, &err), CT_ETYPE);
    assert_null(root);
    ct_space_free(s);
    ct_names_free(names);
}

/* ---- allocation failures ---- */

static ct_status
build_and_overlay(void *ctx, ct_err *err)
{
    ct_names *names = NULL;
    ct_node *root = NULL;
    ct_node *child = NULL;
    ct_node *overlaid = NULL;
    ct_space *s = NULL;
    ct_value point = ct_dict();
    ct_value item = ct_f64(7.0);
    ct_name x = 0;
    (void)ctx;
    ct_status st = ct_names_new(&names, err);
    if (st == CT_OK) {
        st = ct_names_intern(names, "x", 1, &x, err);
    }
    if (st == CT_OK) {
        st = ct_node_branch(&root, CT_NODE_DICT, err);
    }
    for (int i = 0; st == CT_OK && i < 3; i++) {
        ct_domain d = {.kind = CT_DOMAIN_FLOAT, .lower = 0, .upper = 1};
        st = ct_node_domain(&child, &d, err);
        if (st == CT_OK) {
            st = ct_node_put(root, x + (ct_name)i, &child, err);
        }
        if (st == CT_OK) {
            ct_name more;
            st = ct_names_intern(names, (const char[]){(char)('a' + i)}, 1, &more, err);
        }
    }
    if (st == CT_OK) {
        st = ct_space_new(&s, names, &root, err);
    }
    if (st == CT_OK) {
        st = ct_value_put(&point, x, &item, err);
    }
    warnings w = {0, ""};
    if (st == CT_OK) {
        st = ct_space_overlay(s, &point, warn, &w, &overlaid, err);
    }
    ct_node_release(overlaid);
    ct_value_deinit(&point);
    ct_space_free(s);
    ct_node_release(root);
    ct_names_free(names);
    return st;
}

static void
test_building_and_overlaying_survive_every_failed_allocation(void **state)
{
    (void)state;
    sweep_allocations(build_and_overlay, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_name_the_path_of_the_parameter),
        cmocka_unit_test(test_a_tree_nested_too_deep_is_refused),
        cmocka_unit_test(test_grid_points_multiply_and_options_do_not_count),
        cmocka_unit_test(test_an_overlay_replaces_leaves_and_shares_the_rest),
        cmocka_unit_test(
            test_an_overlay_warns_of_values_outside_the_space_and_uses_them),
        cmocka_unit_test(test_an_overlay_reaches_into_constant_containers),
        cmocka_unit_test(test_an_overlay_refuses_keys_and_indices_that_the_space_lacks),
        cmocka_unit_test(test_building_and_overlaying_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
