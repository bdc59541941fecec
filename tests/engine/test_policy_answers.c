/* Answers: recording and playing back. */
#include "support.h"

#include "base/pcg.h"
#include "policy/answers.h"

#include <string.h>

static void
answers_init(ct_answers *a)
{
    ct_answers_init(a, NULL, (ct_ref_reader){NULL, NULL});
}

static void
record(ct_answers *a, ct_answer_kind kind, const char *text)
{
    ct_err err = CT_ERR_INIT;
    assert_ok(ct_answers_record(a, kind, text, strlen(text), &err), err);
}

static void
expect_played(ct_answers *a, ct_answer_kind kind, const char *text)
{
    ct_err err = CT_ERR_INIT;
    const uint8_t *data = NULL;
    size_t len = 0;
    assert_ok(ct_answers_play(a, kind, &data, &len, &err), err);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(data, text, len);
}

/* Moves the blob of one turn from the recorder to the player, as the journal does. */
static void
move_turn(ct_answers *from, ct_answers *to)
{
    ct_err err = CT_ERR_INIT;
    size_t len;
    const uint8_t *blob = ct_answers_blob(from, &len);
    assert_ok(ct_answers_load(to, blob, len, &err), err);
    ct_answers_sent(from);
}

static void
test_answers_of_several_turns_play_back_in_order(void **state)
{
    (void)state;
    ct_answers live;
    ct_answers replay;
    answers_init(&live);
    answers_init(&replay);
    size_t len;
    (void)ct_answers_blob(&live, &len);
    assert_int_equal(len, 0);
    record(&live, CT_ANSWER_SUGGESTION, "lr=0.1");
    record(&live, CT_ANSWER_VERDICT, "");
    move_turn(&live, &replay);
    record(&live, CT_ANSWER_CHOICE, "3");
    move_turn(&live, &replay);
    (void)ct_answers_blob(&live, &len);
    assert_int_equal(len, 0);
    assert_true(ct_answers_left(&replay) > 0);
    expect_played(&replay, CT_ANSWER_SUGGESTION, "lr=0.1");
    expect_played(&replay, CT_ANSWER_VERDICT, "");
    expect_played(&replay, CT_ANSWER_CHOICE, "3");
    assert_int_equal(ct_answers_left(&replay), 0);
    ct_answers_deinit(&live);
    ct_answers_deinit(&replay);
}

static void
test_a_question_of_another_kind_is_an_error_and_consumes_nothing(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_answers live;
    ct_answers replay;
    answers_init(&live);
    answers_init(&replay);
    const uint8_t *data;
    size_t len;
    record(&live, CT_ANSWER_STOP, "y");
    move_turn(&live, &replay);
    assert_int_equal(ct_answers_play(&replay, CT_ANSWER_VERDICT, &data, &len, &err),
                     CT_ECORRUPT);
    assert_string_equal(err.param, "answers");
    expect_played(&replay, CT_ANSWER_STOP, "y");
    assert_int_equal(ct_answers_play(&replay, CT_ANSWER_STOP, &data, &len, &err),
                     CT_ECORRUPT); /* none left */
    ct_answers_deinit(&live);
    ct_answers_deinit(&replay);
}

static void
test_a_blob_cut_anywhere_inside_an_answer_is_refused_whole(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_answers live;
    answers_init(&live);
    record(&live, CT_ANSWER_STOP, "yes");
    record(&live, CT_ANSWER_NAME, "something longer");
    size_t len;
    const uint8_t *blob = ct_answers_blob(&live, &len);
    for (size_t cut = 1; cut < len; cut++) {
        ct_answers replay;
        answers_init(&replay);
        if (cut == 5) { /* the end of the first answer: a whole, shorter blob */
            continue;
        }
        assert_int_equal(ct_answers_load(&replay, blob, cut, &err), CT_ECORRUPT);
        assert_int_equal(ct_answers_left(&replay), 0);
        ct_answers_deinit(&replay);
    }
    uint8_t unknown[] = {CT_ANSWER_COUNT, 0};
    assert_int_equal(ct_answers_load(&live, unknown, sizeof unknown, &err),
                     CT_ECORRUPT);
    ct_answers_deinit(&live);
}

static void
test_draws_of_a_shared_stream_are_the_same_in_the_replay(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg source;
    ct_pcg other;
    ct_answers live;
    ct_answers replay;
    ct_answers_rng first;
    ct_answers_rng second;
    double drawn[5];
    double normal[5];
    int64_t integer[5];
    answers_init(&live);
    answers_init(&replay);
    ct_pcg_init(&source, 1, 1);
    ct_pcg_init(&other, 2, 2);
    ct_answers_rng_init(&first, &source.rng, &live);
    ct_answers_rng_init(&second, &other.rng, &replay);
    for (size_t i = 0; i < 5; i++) {
        drawn[i] = first.rng.next_double(&first.rng);
        assert_ok(first.rng.normal(&first.rng, 1.0, 2.0, &normal[i], &err), err);
        assert_ok(first.rng.integers(&first.rng, INT64_MIN, 0, &integer[i], &err), err);
    }
    ct_answers_replay(&replay, true);
    move_turn(&live, &replay);
    for (size_t i = 0; i < 5; i++) {
        double x;
        int64_t n;
        assert_true(second.rng.next_double(&second.rng) == drawn[i]);
        assert_ok(second.rng.normal(&second.rng, 1.0, 2.0, &x, &err), err);
        assert_true(x == normal[i]);
        assert_ok(second.rng.integers(&second.rng, INT64_MIN, 0, &n, &err), err);
        assert_true(n == integer[i]);
    }
    ct_answers_replay(&replay, false);
    ct_pcg fresh;
    ct_pcg_init(&fresh, 2, 2); /* the source went on with what was played */
    for (size_t i = 0; i < 5; i++) {
        double x;
        int64_t n;
        (void)fresh.rng.next_double(&fresh.rng);
        assert_ok(fresh.rng.normal(&fresh.rng, 1.0, 2.0, &x, &err), err);
        assert_ok(fresh.rng.integers(&fresh.rng, INT64_MIN, 0, &n, &err), err);
    }
    assert_true(second.rng.next_double(&second.rng) ==
                fresh.rng.next_double(&fresh.rng));
    assert_int_equal(second.st, CT_OK);
    ct_answers_deinit(&live);
    ct_answers_deinit(&replay);
}

static void
test_a_draw_that_cannot_be_played_keeps_its_error(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_pcg source;
    ct_answers a;
    ct_answers_rng r;
    double x;
    int64_t n;
    answers_init(&a);
    ct_pcg_init(&source, 1, 1);
    ct_answers_rng_init(&r, &source.rng, &a);
    record(&a, CT_ANSWER_STOP, "y");
    move_turn(&a, &a);
    ct_answers_replay(&a, true);
    assert_true(r.rng.next_double(&r.rng) == 0.0);
    assert_int_equal(r.st, CT_ECORRUPT);
    assert_int_equal(r.rng.normal(&r.rng, 0.0, 1.0, &x, &err), CT_ECORRUPT);
    assert_int_equal(r.rng.integers(&r.rng, 0, 2, &n, &err), CT_ECORRUPT);
    ct_answers_deinit(&a);
}

static void
test_draws_pass_where_nothing_is_recorded(void **state)
{
    (void)state;
    ct_pcg source;
    ct_pcg same;
    ct_answers_rng r;
    ct_pcg_init(&source, 1, 1);
    ct_pcg_init(&same, 1, 1);
    ct_answers_rng_init(&r, &source.rng, NULL);
    assert_true(r.rng.next_double(&r.rng) == same.rng.next_double(&same.rng));
}

static ct_status
answers_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_answers a;
    answers_init(&a);
    ct_status st = CT_OK;
    char text[100] = {0};
    for (size_t i = 0; st == CT_OK && i < 4; i++) {
        size_t before;
        size_t after;
        (void)ct_answers_blob(&a, &before);
        st = ct_answers_record(&a, CT_ANSWER_NAME, text, sizeof text, err);
        (void)ct_answers_blob(&a, &after);
        assert_int_equal(after, st == CT_OK ? before + 102 : before);
    }
    if (st == CT_OK) {
        size_t len;
        const uint8_t *blob = ct_answers_blob(&a, &len);
        st = ct_answers_load(&a, blob, len, err);
    }
    ct_answers_deinit(&a);
    return st;
}

static void
test_answers_change_nothing_when_memory_runs_out(void **state)
{
    (void)state;
    sweep_allocations(answers_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_of_several_turns_play_back_in_order),
        cmocka_unit_test(
            test_a_question_of_another_kind_is_an_error_and_consumes_nothing),
        cmocka_unit_test(test_a_blob_cut_anywhere_inside_an_answer_is_refused_whole),
        cmocka_unit_test(test_draws_of_a_shared_stream_are_the_same_in_the_replay),
        cmocka_unit_test(test_a_draw_that_cannot_be_played_keeps_its_error),
        cmocka_unit_test(test_draws_pass_where_nothing_is_recorded),
        cmocka_unit_test(test_answers_change_nothing_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
