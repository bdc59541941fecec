/* Resources: exact sums, interned requests, errors that name the resource. */
#include "support.h"

#include "state/resources.h"

#include <math.h>
#include <string.h>

typedef struct world {
    ct_names *names;
    ct_name cpu, gpu, disk;
} world;

static world
world_of(void)
{
    ct_err err = CT_ERR_INIT;
    world w = {0};
    assert_ok(ct_names_new(&w.names, &err), err);
    assert_ok(ct_names_intern(w.names, "CPU", 3, &w.cpu, &err), err);
    assert_ok(ct_names_intern(w.names, "GPU", 3, &w.gpu, &err), err);
    assert_ok(ct_names_intern(w.names, "disk", 4, &w.disk, &err), err);
    return w;
}

static ct_value
amounts(ct_name a, double x, ct_name b, double y)
{
    ct_err err = CT_ERR_INIT;
    ct_value d = ct_dict();
    ct_value v = ct_f64(x);
    assert_ok(ct_value_put(&d, a, &v, &err), err);
    if (b != CT_NAME_NONE) {
        v = ct_f64(y);
        assert_ok(ct_value_put(&d, b, &v, &err), err);
    }
    return d;
}

static ct_resources *
machine(const world *w, double cpu, double gpu)
{
    ct_err err = CT_ERR_INIT;
    ct_resources *r = NULL;
    ct_value totals = amounts(w->cpu, cpu, w->gpu, gpu);
    assert_ok(ct_resources_new(&r, w->names, &totals, &err), err);
    ct_value_deinit(&totals);
    return r;
}

static ct_request_id
ask(ct_resources *r, ct_name a, double x, ct_name b, double y)
{
    ct_err err = CT_ERR_INIT;
    ct_value v = amounts(a, x, b, y);
    ct_request_id id = 0;
    assert_ok(ct_resources_request(r, &v, &id, &err), err);
    ct_value_deinit(&v);
    return id;
}

static void
test_tenths_add_up_exactly(void **state)
{
    (void)state;
    world w = world_of();
    ct_resources *r = machine(&w, 1, 0);
    ct_request_id tenth = ask(r, w.cpu, 0.1, CT_NAME_NONE, 0);
    for (int i = 0; i < 10; i++) {
        assert_true(ct_resources_fits(r, tenth));
        ct_resources_claim(r, tenth);
    }
    assert_false(ct_resources_fits(r, tenth));
    assert_true(ct_resources_used(r, w.cpu) == 1.0);
    for (int i = 0; i < 10; i++) {
        ct_resources_release(r, tenth);
    }
    assert_true(ct_resources_used(r, w.cpu) == 0.0);
    ct_resources_free(r);
    ct_names_free(w.names);
}

static void
test_equal_requests_share_an_id_whatever_their_order(void **state)
{
    (void)state;
    world w = world_of();
    ct_resources *r = machine(&w, 4, 2);
    ct_request_id a = ask(r, w.cpu, 1, w.gpu, 0.5);
    assert_int_equal(a, ask(r, w.gpu, 0.5, w.cpu, 1));
    assert_int_not_equal(a, ask(r, w.cpu, 1, w.gpu, 0.25));
    ct_request_id plain = ask(r, w.cpu, 1, CT_NAME_NONE, 0);
    assert_int_equal(plain, ask(r, w.cpu, 1, w.gpu, 0));
    assert_int_equal(ct_resources_request_value(r, plain)->len, 1);
    ct_resources_free(r);
    ct_names_free(w.names);
}

static void
test_what_can_never_be_given_is_named(void **state)
{
    (void)state;
    world w = world_of();
    ct_err err = CT_ERR_INIT;
    ct_resources *r = machine(&w, 2, 0);
    ct_request_id id = ask(r, w.cpu, 1, w.disk, 3);
    double asked = 0;
    double total = 0;
    assert_false(ct_resources_possible(r, id));
    assert_int_equal(ct_resources_lacking(r, id, &asked, &total), w.disk);
    assert_true(asked == 3.0 && total == 0.0);
    ct_value more = amounts(w.cpu, 2, w.disk, 5);
    assert_ok(ct_resources_set_totals(r, &more, &err), err);
    ct_value_deinit(&more);
    assert_true(ct_resources_possible(r, id));
    assert_int_equal(ct_resources_lacking(r, id, &asked, &total), CT_NAME_NONE);
    const ct_name *names = NULL;
    assert_int_equal(ct_resources_names(r, &names), 3);
    ct_resources_free(r);
    ct_names_free(w.names);
}

static void
test_amounts_that_make_no_sense_are_refused_by_name(void **state)
{
    (void)state;
    world w = world_of();
    ct_resources *r = machine(&w, 2, 0);
    const double bad[] = {-1.0, (double)NAN, (double)INFINITY, 0.00001};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ct_err err = CT_ERR_INIT;
        ct_request_id id = 0;
        ct_value v = amounts(w.cpu, 1, w.gpu, bad[i]);
        assert_int_equal(ct_resources_request(r, &v, &id, &err), CT_EINVAL);
        assert_string_equal(err.param, "GPU");
        assert_int_equal(ct_resources_set_totals(r, &v, &err), CT_EINVAL);
        assert_true(ct_resources_total(r, w.cpu) == 2.0); /* all or nothing */
        ct_value_deinit(&v);
    }
    ct_err err = CT_ERR_INIT;
    ct_value list = ct_list();
    ct_request_id id = 0;
    assert_int_equal(ct_resources_request(r, &list, &id, &err), CT_ETYPE);
    ct_value text = ct_dict();
    ct_value word = ct_nil();
    assert_ok(ct_value_put(&text, w.gpu, &word, &err), err);
    assert_int_equal(ct_resources_request(r, &text, &id, &err), CT_ETYPE);
    assert_string_equal(err.param, "GPU");
    ct_value_deinit(&text);
    ct_resources_free(r);
    ct_names_free(w.names);
}

static ct_status
make_requests(void *ctx, ct_err *err)
{
    world *w = ctx;
    ct_resources *r = NULL;
    ct_value d = ct_dict();
    ct_request_id id = 0;
    ct_value v = ct_i64(1);
    ct_status st = ct_value_put(&d, w->cpu, &v, err);
    if (st == CT_OK) {
        st = ct_resources_new(&r, w->names, &d, err);
    }
    v = ct_i64(2);
    if (st == CT_OK) {
        st = ct_value_put(&d, w->disk, &v, err);
    }
    if (st == CT_OK) {
        st = ct_resources_request(r, &d, &id, err);
    }
    ct_value_deinit(&d);
    ct_resources_free(r);
    return st;
}

static void
test_every_failed_allocation_is_reported_without_leak(void **state)
{
    (void)state;
    world w = world_of();
    sweep_allocations(make_requests, &w);
    ct_names_free(w.names);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenths_add_up_exactly),
        cmocka_unit_test(test_equal_requests_share_an_id_whatever_their_order),
        cmocka_unit_test(test_what_can_never_be_given_is_named),
        cmocka_unit_test(test_amounts_that_make_no_sense_are_refused_by_name),
        cmocka_unit_test(test_every_failed_allocation_is_reported_without_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
