/* The inbox: events from other threads, their lifetimes, damaged posts. */
#include "support.h"

#include "exec/inbox.h"
#include "flow/codec.h"
#include "os/thread.h"

#include <stdio.h>
#include <string.h>

#define SENDERS 4
#define POSTS 200

typedef struct sender {
    ct_inbox *inbox;
    ct_trial_id trial;
    ct_status status;
} sender;

/* One RESULT with a metric whose name number differs between senders. */
static ct_status
post_result(ct_inbox *inbox, ct_trial_id trial, int value, ct_err *err)
{
    ct_names *names = NULL;
    ct_record record = CT_RECORD_INIT;
    ct_buf frames = CT_BUF_INIT;
    ct_name key = 0;
    ct_encoder encoder;
    ct_status st = ct_names_new(&names, err);
    if (st != CT_OK) {
        return st;
    }
    ct_encoder_init(&encoder, names);
    for (ct_trial_id i = 0; st == CT_OK && i <= trial; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "m%u", trial - i);
        st = ct_names_intern(names, text, (size_t)len, &key, err);
    }
    if (st == CT_OK) {
        st = ct_names_intern(names, "loss", 4, &key, err);
    }
    if (st == CT_OK) {
        st = ct_record_i64(&record, key, value, err);
    }
    ct_event ev = {.kind = CT_EVENT_RESULT, .trial = trial, .record = &record};
    if (st == CT_OK) {
        st = ct_encode_event(&encoder, &frames, &ev, err);
    }
    if (st == CT_OK) {
        st = ct_inbox_post(inbox, frames.data, frames.len, err);
    }
    ct_encoder_deinit(&encoder);
    ct_record_deinit(&record);
    ct_buf_deinit(&frames);
    ct_names_free(names);
    return st;
}

static void *
send_many(void *arg)
{
    sender *s = arg;
    ct_err err = CT_ERR_INIT;
    for (int i = 0; i < POSTS && s->status == CT_OK; i++) {
        s->status = post_result(s->inbox, s->trial, i, &err);
    }
    return NULL;
}

static void
posts_of_many_threads_arrive_whole_and_in_each_sender_s_order(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_inbox *inbox = NULL;
    assert_ok(ct_names_new(&names, &err), err);
    assert_ok(ct_inbox_new(&inbox, names, &err), err);
    ct_name loss;
    assert_ok(ct_names_intern(names, "loss", 4, &loss, &err), err);
    sender senders[SENDERS];
    ct_thread threads[SENDERS];
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (sender){inbox, i, CT_OK};
        assert_ok(ct_thread_start(&threads[i], send_many, &senders[i], &err), err);
    }
    int64_t seen[SENDERS] = {0};
    for (int total = 0; total < SENDERS * POSTS;) {
        assert_ok(ct_inbox_wait(inbox, -1, &err), err);
        ct_event batch[SENDERS * POSTS];
        int n = 0;
        bool got;
        for (;;) {
            assert_ok(ct_inbox_take(inbox, &batch[n], &got, &err), err);
            if (!got) {
                break;
            }
            n++;
        }
        for (int i = 0; i < n; i++) { /* all of one wait live together */
            const ct_field *f = ct_record_find(batch[i].record, loss);
            assert_non_null(f);
            assert_int_equal(f->u.i, seen[batch[i].trial]++);
        }
        total += n;
    }
    for (int i = 0; i < SENDERS; i++) {
        ct_thread_join(&threads[i]);
        assert_int_equal(senders[i].status, CT_OK);
        assert_int_equal(seen[i], POSTS);
    }
    ct_inbox_free(inbox);
    ct_names_free(names);
}

static void
bytes_that_are_no_frame_are_refused_at_the_door(void **state)
{
    (void)state;
    ct_err err = CT_ERR_INIT;
    ct_names *names = NULL;
    ct_inbox *inbox = NULL;
    assert_ok(ct_names_new(&names, &err), err);
    assert_ok(ct_inbox_new(&inbox, names, &err), err);
    assert_int_equal(ct_inbox_post(inbox, "garbage!garbage!", 16, &err), CT_ECORRUPT);
    bool got;
    ct_event ev;
    assert_ok(ct_inbox_wait(inbox, 0, &err), err);
    assert_ok(ct_inbox_take(inbox, &ev, &got, &err), err);
    assert_false(got);
    ct_inbox_wake(inbox);
    assert_ok(ct_inbox_wait(inbox, -1, &err), err); /* would hang otherwise */
    ct_inbox_free(inbox);
    ct_names_free(names);
}

static ct_status
inbox_attempt(void *ctx, ct_err *err)
{
    (void)ctx;
    ct_names *names = NULL;
    ct_inbox *inbox = NULL;
    ct_status st = ct_names_new(&names, err);
    if (st == CT_OK) {
        st = ct_inbox_new(&inbox, names, err);
    }
    if (st == CT_OK) {
        st = post_result(inbox, 2, 5, err);
    }
    if (st == CT_OK) {
        st = ct_inbox_wait(inbox, 0, err);
    }
    bool got = false;
    ct_event ev;
    if (st == CT_OK) {
        st = ct_inbox_take(inbox, &ev, &got, err);
    }
    if (st == CT_OK) {
        assert_true(got);
    }
    ct_inbox_free(inbox);
    ct_names_free(names);
    return st;
}

static void
every_failed_allocation_is_a_clean_error(void **state)
{
    (void)state;
    sweep_allocations(inbox_attempt, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts_of_many_threads_arrive_whole_and_in_each_sender_s_order),
        cmocka_unit_test(bytes_that_are_no_frame_are_refused_at_the_door),
        cmocka_unit_test(every_failed_allocation_is_a_clean_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
