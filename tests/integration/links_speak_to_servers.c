/*
 * Goal: whatever a link can say reaches the server, and whatever the server can
 * say reaches the link, over both transports and in both dialects.
 *
 * Method: a server in this process, and links on a loop that the test steps.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char got_path[] = "/tmp/peal-link-XXXXXX";
static _Atomic size_t big_size;
static _Atomic uint64_t big_sum;
static _Atomic int asked;
static _Atomic int ask_status;
static _Atomic int ask_code;
static char ask_data[64];
static char too_much[(16 << 20) + 1]; /* more than the servers take */

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void on_big(struct peal_client *from, const struct peal_event *event,
                   void *user)
{
    struct peal_event got = peal_json("got", NULL);
    uint64_t sum = 0;

    (void)user;
    for (size_t i = 0; i < event->data.size; i++) {
        sum = sum * 31 + (unsigned char)event->data.data[i];
    }
    big_sum = sum;
    big_size = event->data.size;
    peal_client_emit(from, &got);
}

static void on_sum(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    (void)from;
    (void)user;
    if (event->data.size > 0 && event->data.data[0] == '"') {
        peal_request_fail(
            request, &(struct peal_failure){1234, "no", "No \"text\"", true});
    } else {
        peal_request_answer(request, "{\"sum\":3}");
    }
}

static void on_silent(struct peal_client *from, const struct peal_event *event,
                      struct peal_request request, void *user)
{
    (void)from;
    (void)event;
    (void)request;
    (void)user;
}

static void answered(struct peal_client *client,
                     const struct peal_answer *answer, void *user)
{
    (void)client;
    (void)user;
    ask_status = answer->status;
    ask_code = answer->failure.code;
    snprintf(ask_data, sizeof ask_data, "%.*s", (int)answer->event.data.size,
             answer->event.data.data != NULL ? answer->event.data.data : "");
    asked++;
}

static void on_ask_me(struct peal_client *from, const struct peal_event *event,
                      void *user)
{
    struct peal_event question = {.name = peal_slice("where"),
                                  .data = event->data};

    (void)user;
    CHECK_EQUAL(peal_client_request(from, &question, 0, answered, NULL), 0);
}

static void on_drop_me(struct peal_client *from, const struct peal_event *event,
                       void *user)
{
    (void)event;
    (void)user;
    peal_client_close(from, 3001, "dropped");
}

static void setup(struct peal_server *server)
{
    peal_server_on(server, "echo", on_echo, NULL);
    peal_server_on(server, "big", on_big, NULL);
    peal_server_on(server, "ask-me", on_ask_me, NULL);
    peal_server_on(server, "drop-me", on_drop_me, NULL);
    peal_server_on_request(server, "sum", on_sum, NULL);
    peal_server_on_request(server, "silent", on_silent, NULL);
}

static _Atomic int join_errors; /* how many joins of "guarded" fail */
static _Atomic int join_error;

static int refuse_secret(struct peal_client *client, struct peal_slice room,
                         void *user)
{
    (void)client;
    (void)user;
    if (peal_slice_equal(room, peal_slice("guarded")) && join_errors > 0) {
        join_errors--;
        return join_error;
    }
    return peal_slice_equal(room, peal_slice("secret")) ? PEAL_EREFUSED : 0;
}

struct pair {
    struct host host;
    struct peal_loop *loop;
    struct peal_link *link;
    struct link_notes notes;
    bool is_tcp;
    bool is_stelar;
};

static void open_pair(struct pair *pair, bool is_tcp, bool is_stelar)
{
    const struct peal_server_options server = {
        .clients_may_join = true,
        .clients_may_publish = true,
        .message_bytes_max = 16 << 20,
        .on_join = refuse_secret,
        .dialect = is_stelar ? PEAL_DIALECT_STELAR : PEAL_DIALECT_PEAL,
    };
    struct peal_link_options options;
    char url[160];

    memset(pair, 0, sizeof *pair);
    pair->is_tcp = is_tcp;
    pair->is_stelar = is_stelar;
    host_start(&pair->host, &server, setup);
    options = link_test_options(
        link_url(url, host_address(&pair->host, is_tcp), is_tcp), &pair->notes);
    options.dialect = server.dialect;
    CHECK_EQUAL(peal_loop_new(&pair->loop, NULL), 0);
    CHECK_EQUAL(peal_link_new(&pair->link, pair->loop, &options), 0);
    CHECK_EQUAL(peal_link_on(pair->link, "echo", link_note_event, &pair->notes),
                0);
    CHECK_EQUAL(peal_link_open(pair->link), 0);
    LINK_STEP_UNTIL(pair->loop, pair->notes.state == PEAL_LINK_CONNECTED);
    CHECK_EQUAL(pair->notes.connects, 1);
    CHECK_EQUAL(peal_link_state(pair->link), PEAL_LINK_CONNECTED);
}

static void close_pair(struct pair *pair)
{
    CHECK_EQUAL(peal_link_close(pair->link, 1000, "done"), 0);
    LINK_STEP_UNTIL(pair->loop, pair->notes.state == PEAL_LINK_DISCONNECTED);
    peal_link_free(pair->link);
    peal_loop_free(pair->loop);
    host_stop(&pair->host);
}

static void test_events(struct pair *pair)
{
    struct peal_event text = peal_json("echo", "{\"a\":[1,\"x\"]}");
    struct peal_event bytes = peal_bytes("echo", "\0\xff\1", 3);

    CHECK_EQUAL(peal_link_emit(pair->link, &text), 0);
    LINK_STEP_UNTIL(pair->loop, pair->notes.events == 1);
    assert_string_equal(pair->notes.data, "{\"a\":[1,\"x\"]}");
    CHECK_EQUAL(peal_link_emit(pair->link, &bytes), 0);
    LINK_STEP_UNTIL(pair->loop, pair->notes.events == 2);
    assert_int_equal(pair->notes.kind, PEAL_BYTES);
    assert_int_equal(pair->notes.size, 3);
}

static void test_requests(struct pair *pair)
{
    struct link_notes *notes = &pair->notes;
    struct peal_event sum = peal_json("sum", "[1,2]");
    struct peal_event bad = peal_json("sum", "\"x\"");
    struct peal_event silent = peal_json("silent", "1");

    CHECK_EQUAL(peal_link_request(pair->link, &sum, 0, link_note_answer, notes),
                0);
    LINK_STEP_UNTIL(pair->loop, notes->answers == 1);
    assert_int_equal(notes->status, 0);
    assert_string_equal(notes->data, "{\"sum\":3}");
    if (!pair->is_stelar) {
        CHECK_EQUAL(
            peal_link_request(pair->link, &bad, 0, link_note_answer, notes), 0);
        LINK_STEP_UNTIL(pair->loop, notes->answers == 2);
        assert_int_equal(notes->status, PEAL_EREFUSED);
        assert_int_equal(notes->failure_code, 1234);
    }
    notes->answers = 0;
    CHECK_EQUAL(peal_link_ping(pair->link, 0, link_note_answer, notes), 0);
    LINK_STEP_UNTIL(pair->loop, notes->answers == 1);
    assert_int_equal(notes->status, pair->is_stelar ? PEAL_ENOTSUP : 0);
    notes->answers = 0;
    CHECK_EQUAL(
        peal_link_request(pair->link, &silent, 20, link_note_answer, notes), 0);
    LINK_STEP_UNTIL(pair->loop, notes->answers == 1);
    assert_int_equal(notes->status, PEAL_ETIMEOUT);

    /* The connection breaks while an answer is due. */
    struct peal_event drop = peal_json("drop-me", "1");

    CHECK_EQUAL(
        peal_link_request(pair->link, &silent, 0, link_note_answer, notes), 0);
    CHECK_EQUAL(peal_link_emit(pair->link, &drop), 0);
    LINK_STEP_UNTIL(pair->loop, notes->answers == 2);
    assert_int_equal(notes->status, PEAL_EGONE);
    LINK_STEP_UNTIL(pair->loop, notes->connects == 2);
    assert_int_equal(notes->answers, 2);
}

static void test_rooms(struct pair *pair)
{
    struct link_notes *notes = &pair->notes;
    struct peal_event drop = peal_json("drop-me", "1");
    struct peal_event said = peal_json("echo", "\"said\"");

    notes->answers = 0;
    CHECK_EQUAL(peal_link_join(pair->link, "lobby", link_note_answer, notes),
                0);
    LINK_STEP_UNTIL(pair->loop, notes->answers == 1);
    assert_int_equal(notes->status, 0);
    CHECK_EQUAL(peal_server_members(pair->host.server, "lobby", NULL, 0), 1);
    notes->connects = 0;
    CHECK_EQUAL(peal_link_emit(pair->link, &drop), 0);
    LINK_STEP_UNTIL(pair->loop, notes->connects == 1);

    /* It is in again, without having been asked. */
    LINK_STEP_UNTIL(pair->loop, peal_server_members(pair->host.server, "lobby",
                                                    NULL, 0) == 1);
    notes->events = 0;
    CHECK_EQUAL(
        peal_server_room_emit(pair->host.server, "lobby", &said, NULL, 0), 0);
    LINK_STEP_UNTIL(pair->loop, notes->events == 1);
    if (!pair->is_stelar) {
        assert_string_equal(notes->room, "lobby");
        CHECK_EQUAL(
            peal_link_join(pair->link, "secret", link_note_answer, notes), 0);
        LINK_STEP_UNTIL(pair->loop, notes->answers == 2);
        assert_int_equal(notes->status, PEAL_EREFUSED);
    }
    notes->answers = 0;
    CHECK_EQUAL(peal_link_leave(pair->link, "lobby", link_note_answer, notes),
                0);
    LINK_STEP_UNTIL(pair->loop, notes->answers == 1);
    assert_int_equal(notes->status, 0);
    CHECK_EQUAL(peal_server_members(pair->host.server, "lobby", NULL, 0), 0);
}

static void lose_while_joins_fail(struct pair *pair, int count, int error)
{
    const struct peal_event drop = peal_json("drop-me", "1");

    join_error = error;
    join_errors = count;
    pair->notes.errors = 0;
    pair->notes.connects = 0;
    CHECK_EQUAL(peal_link_emit(pair->link, &drop), 0);
    LINK_STEP_UNTIL(pair->loop, pair->notes.connects == 1 &&
                                    host_stats(&pair->host).clients == 1);
}

/* Until all that the server has said by now is heard. */
static void hear_all(struct pair *pair)
{
    pair->notes.answers = 0;
    CHECK_EQUAL(peal_link_ping(pair->link, 0, link_note_answer, &pair->notes),
                0);
    LINK_STEP_UNTIL(pair->loop, pair->notes.answers == 1);
    CHECK_EQUAL(pair->notes.status, 0);
}

static void await_guarded(struct pair *pair)
{
    LINK_STEP_UNTIL(pair->loop, peal_server_members(pair->host.server,
                                                    "guarded", NULL, 0) == 1);
    hear_all(pair);
}

static void test_rooms_that_are_not_joined_again(struct pair *pair)
{
    struct link_notes *notes = &pair->notes;

    notes->answers = 0;
    CHECK_EQUAL(peal_link_join(pair->link, "guarded", link_note_answer, notes),
                0);
    LINK_STEP_UNTIL(pair->loop, notes->answers == 1);
    assert_int_equal(notes->status, 0);

    /* A failure that will pass: it tries until it is in. */
    lose_while_joins_fail(pair, 3, PEAL_EFULL);
    await_guarded(pair);
    CHECK_EQUAL(join_errors, 0);
    CHECK_EQUAL(notes->errors, 1 + 3); /* the loss, and each failure */
    assert_int_equal(notes->error, PEAL_EREFUSED);
    assert_string_equal(notes->what, "a room could not be joined yet");

    /* The next connection comes before the next attempt. */
    lose_while_joins_fail(pair, 1, PEAL_EFULL);
    lose_while_joins_fail(pair, 1, PEAL_EFULL);
    await_guarded(pair);

    /* One that will not: it is out, and stays so. */
    lose_while_joins_fail(pair, 1, PEAL_EREFUSED);
    LINK_STEP_UNTIL(pair->loop, notes->errors == 2);
    assert_string_equal(notes->what, "a room was refused");
    lose_while_joins_fail(pair, 0, 0);
    hear_all(pair);
    CHECK_EQUAL(peal_server_members(pair->host.server, "guarded", NULL, 0), 0);
    CHECK_EQUAL(notes->errors, 1);
}

static void on_where(struct peal_link *link, const struct peal_event *event,
                     struct peal_ask ask, void *user)
{
    struct peal_event here = peal_json("x", "\"here\"");

    (void)link;
    (void)user;
    if (event->data.data[0] == '0') {
        CHECK_EQUAL(peal_ask_fail(
                        ask, &(struct peal_failure){1001, "lost", "I", false}),
                    0);
    } else {
        CHECK_EQUAL(peal_ask_answer(ask, &here), 0);
    }
    CHECK_EQUAL(peal_ask_answer(ask, &here), PEAL_EGONE);
}

static void test_asks(struct pair *pair)
{
    struct peal_event yes = peal_json("ask-me", "1");
    struct peal_event no = peal_json("ask-me", "0");

    asked = 0;
    CHECK_EQUAL(peal_link_emit(pair->link, &yes), 0);
    LINK_STEP_UNTIL(pair->loop, asked == 1);
    assert_int_equal(ask_status, PEAL_EREFUSED); /* nobody handles it */
    CHECK_EQUAL(peal_link_on_request(pair->link, "where", on_where, NULL), 0);
    CHECK_EQUAL(peal_link_emit(pair->link, &yes), 0);
    LINK_STEP_UNTIL(pair->loop, asked == 2);
    assert_int_equal(ask_status, 0);
    assert_string_equal(ask_data, "\"here\"");
    CHECK_EQUAL(peal_link_emit(pair->link, &no), 0);
    LINK_STEP_UNTIL(pair->loop, asked == 3);
    assert_int_equal(ask_status, PEAL_EREFUSED);
}

static uint64_t make_file(size_t size)
{
    FILE *file = fopen(got_path, "wb");
    uint64_t sum = 0;

    CHECK(file != NULL);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)(i * 7 + i / 251);

        fputc(byte, file);
        sum = sum * 31 + byte;
    }
    fclose(file);
    return sum;
}

struct file_notes {
    int progresses;
    uint64_t last;
    int done;
    int status;
};

static void on_progress(struct peal_link *link, uint64_t sent, uint64_t total,
                        void *user)
{
    struct file_notes *notes = user;

    (void)link;
    CHECK(sent > notes->last && sent <= total);
    notes->last = sent;
    notes->progresses++;
}

static void on_done(struct peal_link *link, int status, void *user)
{
    struct file_notes *notes = user;

    (void)link;
    notes->done++;
    notes->status = status;
}

struct late_ask {
    struct peal_ask ask;
    bool has_come;
};

static void keep_ask(struct peal_link *link, const struct peal_event *event,
                     struct peal_ask ask, void *user)
{
    struct late_ask *late = user;

    (void)link;
    (void)event;
    late->ask = ask;
    late->has_come = true;
}

static void fail_with_too_much(struct peal_link *link,
                               const struct peal_event *event,
                               struct peal_ask ask, void *user)
{
    const struct peal_event much = peal_bytes("x", too_much, sizeof too_much);

    (void)link;
    (void)event;
    (void)user;
    CHECK_EQUAL(peal_ask_answer(ask, &much), PEAL_ETOOBIG);
    CHECK_EQUAL(
        peal_ask_fail(ask, &(struct peal_failure){1002, "much", "", false}), 0);
}

/* Within the frame of a file, where no answer can stand. */
static void answer_too_much(struct peal_link *link, uint64_t sent,
                            uint64_t total, void *user)
{
    const struct peal_event much = peal_bytes("x", too_much, sizeof too_much);
    struct late_ask *late = user;

    (void)link;
    (void)sent;
    (void)total;
    if (late->has_come) {
        late->has_come = false;
        CHECK_EQUAL(peal_ask_answer(late->ask, &much), 0);
    }
}

static void expect_too_large(struct pair *pair)
{
    LINK_STEP_UNTIL(pair->loop, asked == 1);
    assert_int_equal(ask_status, PEAL_EREFUSED);
    assert_int_equal(ask_code, 103);
    asked = 0;
}

static void test_answers_that_are_too_large(struct pair *pair)
{
    const struct peal_event much = peal_bytes("x", too_much, sizeof too_much);
    const struct peal_event ask_me = peal_json("ask-me", "1");
    struct late_ask late = {.has_come = false};

    asked = 0;
    CHECK_EQUAL(
        peal_link_on_request(pair->link, "where", fail_with_too_much, NULL), 0);
    CHECK_EQUAL(peal_link_emit(pair->link, &ask_me), 0);
    LINK_STEP_UNTIL(pair->loop, asked == 1);
    assert_int_equal(ask_code, 1002);
    asked = 0;

    CHECK_EQUAL(peal_link_on_request(pair->link, "where", keep_ask, &late), 0);
    CHECK_EQUAL(peal_link_emit(pair->link, &ask_me), 0);
    LINK_STEP_UNTIL(pair->loop, late.has_come);
    CHECK_EQUAL(peal_ask_answer(late.ask, &much), 0);
    expect_too_large(pair);

    late.has_come = false;
    CHECK_EQUAL(peal_link_emit(pair->link, &ask_me), 0);
    LINK_STEP_UNTIL(pair->loop, late.has_come);
    make_file(5000001);
    CHECK_EQUAL(peal_link_send_file(pair->link,
                                    &(struct peal_file){
                                        .size = sizeof(struct peal_file),
                                        .name = "big",
                                        .path = got_path,
                                        .on_progress = answer_too_much,
                                        .user = &late,
                                    }),
                0);
    expect_too_large(pair);
}

static void send(struct pair *pair, const char *path, struct file_notes *notes)
{
    memset(notes, 0, sizeof *notes);
    CHECK_EQUAL(peal_link_send_file(pair->link,
                                    &(struct peal_file){
                                        .size = sizeof(struct peal_file),
                                        .name = "big",
                                        .path = path,
                                        .on_progress = on_progress,
                                        .on_done = on_done,
                                        .user = notes,
                                    }),
                0);
}

static void test_files(struct pair *pair)
{
    static const size_t sizes[] = {0, 1, 16384, 5000001};
    struct peal_event after = peal_json("echo", "\"after\"");
    struct file_notes notes;

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint64_t sum = make_file(sizes[i]);

        pair->notes.events = 0;
        big_size = SIZE_MAX;
        send(pair, got_path, &notes);
        CHECK_EQUAL(peal_link_emit(pair->link, &after), 0);
        LINK_STEP_UNTIL(pair->loop, pair->notes.events == 1);
        assert_int_equal(notes.done, 1);
        assert_int_equal(notes.status, 0);
        assert_int_equal(notes.last, sizes[i]);
        assert_int_equal(big_size, sizes[i]);
        assert_int_equal(big_sum, sum);
    }
    send(pair, "/nowhere/at-all", &notes);
    LINK_STEP_UNTIL(pair->loop, notes.done == 1);
    assert_int_equal(notes.status, PEAL_ENOTFOUND);
    if (!pair->is_stelar) {
        make_file((17 << 20));
        send(pair, got_path, &notes);
        LINK_STEP_UNTIL(pair->loop, notes.done == 1);
        assert_int_equal(notes.status, PEAL_ETOOBIG);
    }
}

static void test_stats(struct pair *pair)
{
    struct peal_link_stats stats = {.size = sizeof stats};

    LINK_STEP_UNTIL(pair->loop, peal_link_stats(pair->link, &stats) == 0 &&
                                    stats.round_trip_us > 0);
    assert_true(stats.sent > 5 && stats.received > 5);
    assert_int_equal(stats.outbox_count, 0);
    assert_int_equal(stats.requests_pending, 0);
    assert_true(stats.connects > 1 && stats.attempts >= stats.connects);
    assert_int_equal(stats.invalid, 0);
}

static void run_all(bool is_tcp, bool is_stelar)
{
    struct pair pair;

    open_pair(&pair, is_tcp, is_stelar);
    test_events(&pair);
    test_requests(&pair);
    test_rooms(&pair);
    if (!is_stelar) {
        test_rooms_that_are_not_joined_again(&pair);
        test_asks(&pair);
        test_answers_that_are_too_large(&pair);
    }
    test_files(&pair);
    test_stats(&pair);
    close_pair(&pair);
}

static void test_peal_over_ws(void **state)
{
    (void)state;
    run_all(false, false);
}

static void test_peal_over_tcp(void **state)
{
    (void)state;
    run_all(true, false);
}

static void test_stelar_over_ws(void **state)
{
    (void)state;
    run_all(false, true);
}

static void test_stelar_over_tcp(void **state)
{
    (void)state;
    run_all(true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peal_over_ws),
        cmocka_unit_test(test_peal_over_tcp),
        cmocka_unit_test(test_stelar_over_ws),
        cmocka_unit_test(test_stelar_over_tcp),
    };
    int fd = mkstemp(got_path);
    int failed;

    CHECK(fd >= 0);
    close(fd);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(got_path);
    return failed;
}
