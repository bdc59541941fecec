/* Rankings against a plain array. */
#include "support.h"

#include "base/pcg.h"
#include "base/ranking.h"

#include <math.h>

enum { IDS = 300, CHANGES = 20000 };

static size_t
plain_rank(const double *score, const bool *in, uint32_t id)
{
    size_t below = 0;
    for (uint32_t i = 0; i < IDS; i++) {
        below += in[i] && (score[i] < score[id] || (score[i] == score[id] && i < id));
    }
    return below;
}

static void
test_ranks_are_those_of_a_sorted_array(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg pcg;
    ct_ranking *r = NULL;
    double score[IDS];
    bool in[IDS] = {false};
    size_t count = 0;

    ct_pcg_init(&pcg, 7, 0);
    assert_ok(ct_ranking_new(&r, &err), err);
    assert_ok(ct_ranking_reserve(r, IDS, &err), err);
    for (int i = 0; i < CHANGES; i++) {
        uint32_t id = (uint32_t)(pcg.rng.next_double(&pcg.rng) * IDS);
        double u = pcg.rng.next_double(&pcg.rng);
        if (u < 0.3) {
            ct_ranking_drop(r, id);
            count -= in[id];
            in[id] = false;
        } else { /* many ties, and both infinities */
            score[id] = u > 0.98 ? INFINITY : u > 0.96 ? -INFINITY : floor(u * 20);
            ct_ranking_set(r, id, score[id]);
            count += !in[id];
            in[id] = true;
            size_t rank = plain_rank(score, in, id);
            assert_int_equal(ct_ranking_rank(r, id), rank);
            assert_int_equal(ct_ranking_at(r, rank), id);
            assert_true(ct_ranking_score(r, id) == score[id]);
        }
        assert_int_equal(ct_ranking_count(r), count);
        assert_int_equal(ct_ranking_has(r, id), in[id]);
    }
    assert_false(ct_ranking_has(r, IDS * 100));
    ct_ranking_free(r);
}

static void
test_missing_memory_leaves_a_ranking_as_it_was(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_ranking *r = NULL;

    ct_mem_fail_at(1);
    assert_int_equal(ct_ranking_new(&r, &err), CT_ENOMEM);
    ct_mem_fail_at(0);
    assert_ok(ct_ranking_new(&r, &err), err);
    assert_ok(ct_ranking_reserve(r, 4, &err), err);
    ct_ranking_set(r, 3, 1.0);
    ct_mem_fail_at(1);
    assert_int_equal(ct_ranking_reserve(r, 4000, &err), CT_ENOMEM);
    ct_mem_fail_at(0);
    assert_int_equal(ct_ranking_count(r), 1);
    assert_int_equal(ct_ranking_at(r, 0), 3);
    ct_ranking_free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_are_those_of_a_sorted_array),
        cmocka_unit_test(test_missing_memory_leaves_a_ranking_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
