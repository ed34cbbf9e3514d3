#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "proto/ws_deflate.h"

#define NONE "; server_no_context_takeover; client_no_context_takeover"
#define LINE "Sec-WebSocket-Extensions: permessage-deflate"

static const struct ws_deflate_wish frugal = {15, false};
static const struct ws_deflate_wish takeover = {15, true};
static const struct ws_deflate_wish narrow = {12, true};

/* A request with one or two lines of offers. */
static struct http_request request_of(const char *first, const char *second)
{
    struct http_request request = {.header_count = second != NULL ? 2 : 1};

    request.headers[0].name = SLICE("sec-websocket-extensions");
    request.headers[0].value = slice_make(first, strlen(first));
    if (second != NULL) {
        request.headers[1].name = SLICE("Sec-WebSocket-Extensions");
        request.headers[1].value = slice_make(second, strlen(second));
    }
    return request;
}

static void agree(const struct ws_deflate_wish *wish, const char *offer,
                  const char *answer)
{
    struct http_request request = request_of(offer, NULL);
    struct ws_deflate_terms terms;
    char line[WS_DEFLATE_LINE_MAX];
    char expected[WS_DEFLATE_LINE_MAX] = "";
    int rc = ws_deflate_agree(&terms, line, &request, wish);

    if (answer != NULL) {
        strcat(strcat(strcat(expected, LINE), answer), "\r\n");
    }
    if (rc != (answer != NULL) || strcmp(line, expected) != 0) {
        fail_msg("%d, \"%s\" for %s", rc, line, offer);
    }
}

static void test_server_agrees(void **state)
{
    (void)state;
    agree(&frugal, "permessage-deflate", NONE);
    agree(&frugal, "Permessage-Deflate;Client_Max_Window_Bits", NONE);
    agree(&frugal, " , permessage-deflate ; client_max_window_bits ,", NONE);
    agree(&frugal, "permessage-deflate; server_max_window_bits=10",
          NONE "; server_max_window_bits=10");
    agree(&frugal, "permessage-deflate; server_max_window_bits = \"15\"",
          NONE "; server_max_window_bits=15");
    agree(&frugal, "permessage-deflate; client_max_window_bits=8",
          NONE "; client_max_window_bits=8");
    agree(&takeover, "permessage-deflate", "");
    agree(&takeover, "permessage-deflate; server_no_context_takeover",
          "; server_no_context_takeover");
    agree(&takeover, "permessage-deflate; client_no_context_takeover",
          "; client_no_context_takeover");
    agree(&takeover, "permessage-deflate; client_max_window_bits=15", "");
    agree(&narrow, "permessage-deflate; client_max_window_bits",
          "; server_max_window_bits=12; client_max_window_bits=12");
    agree(&narrow,
          "permessage-deflate; client_max_window_bits=9; "
          "server_max_window_bits=9",
          "; server_max_window_bits=9; client_max_window_bits=9");
    /* A client that cannot be told its window gets none to keep. */
    agree(&narrow, "permessage-deflate",
          "; client_no_context_takeover; server_max_window_bits=12");
}

static void test_server_takes_the_first_that_will_do(void **state)
{
    struct http_request request;
    struct ws_deflate_terms terms;
    char line[WS_DEFLATE_LINE_MAX];

    (void)state;
    agree(&takeover,
          "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=8"
          ", permessage-deflate; server_max_window_bits=9, permessage-deflate",
          "; server_max_window_bits=9");
    agree(&takeover, "permessage-deflate; hyper=\"yes\", permessage-deflate",
          "");
    request = request_of("permessage-bzip2", "permessage-deflate");
    assert_int_equal(ws_deflate_agree(&terms, line, &request, &takeover), 1);
    assert_string_equal(line, LINE "\r\n");
    assert_true(terms.server_takeover && terms.client_takeover);
    assert_int_equal(terms.server_bits, 15);
    assert_int_equal(terms.client_bits, 15);
    request.header_count = 0;
    assert_int_equal(ws_deflate_agree(&terms, line, &request, &takeover), 0);
}

static void test_server_declines(void **state)
{
    static const char *const offers[] = {
        "",
        ",",
        "permessage-deflated",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=1x",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=100",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=9; "
        "server_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"true\"",
        "permessage-deflate; client_no_context_takeover; "
        "client_no_context_takeover",
    };

    (void)state;
    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        agree(&takeover, offers[i], NULL);
    }
}

static void test_server_refuses_what_is_malformed(void **state)
{
    static const char *const offers[] = {
        "permessage-deflate;",
        "permessage-deflate; =1",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=\"",
        "permessage-deflate; client_max_window_bits=\"9",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; client_max_window_bits=\"9 \"",
        "permessage-deflate client_max_window_bits",
        "permessage-deflate, ;",
        "\"permessage-deflate\"",
        "permessage-deflate\x01",
    };

    (void)state;
    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        struct http_request request = request_of(offers[i], NULL);
        struct ws_deflate_terms terms;
        char line[WS_DEFLATE_LINE_MAX];

        if (ws_deflate_agree(&terms, line, &request, &frugal) !=
            PEAL_EPROTOCOL) {
            fail_msg("not refused: %s", offers[i]);
        }
    }
}

static int check(const struct ws_deflate_wish *wish, const char *answer)
{
    struct http_request request = request_of(answer, NULL);
    struct http_response response = {.header_count = 1};
    struct ws_deflate_terms terms;

    response.headers[0] = request.headers[0];
    return ws_deflate_check(&terms, &response, wish);
}

static void test_client_checks(void **state)
{
    struct http_response none = {.header_count = 0};
    struct ws_deflate_terms terms;

    (void)state;
    assert_int_equal(ws_deflate_check(&terms, &none, &takeover), 0);
    assert_int_equal(check(&takeover, "permessage-deflate"), 1);
    assert_int_equal(check(&takeover, "permessage-deflate" NONE), 1);
    assert_int_equal(check(&frugal, "permessage-deflate" NONE), 1);
    assert_int_equal(
        check(&takeover, "permessage-deflate; client_max_window_bits=8"), 1);
    assert_int_equal(
        check(&narrow, "permessage-deflate; server_max_window_bits=12"), 1);
#define BAD(wish, answer) assert_int_equal(check(wish, answer), PEAL_EPROTOCOL)
    BAD(&frugal, "permessage-deflate");
    BAD(&frugal, "permessage-deflate; client_no_context_takeover");
    BAD(&narrow, "permessage-deflate");
    BAD(&narrow, "permessage-deflate; server_max_window_bits=13");
    BAD(&narrow, "permessage-deflate; server_max_window_bits=12; "
                 "client_max_window_bits=13");
    BAD(&takeover, "permessage-deflate; client_max_window_bits");
    BAD(&takeover, "permessage-deflate; server_max_window_bits");
    BAD(&takeover, "permessage-deflate; what");
    BAD(&takeover, "permessage-bzip2");
    BAD(&takeover, "permessage-deflate, permessage-deflate");
    BAD(&takeover, "x-other, permessage-deflate");
    BAD(&takeover, "permessage-deflate, x-other");
    BAD(&takeover, "");
    BAD(&takeover, "permessage-deflate;");
#undef BAD
}

/* What one side of ours writes, the other reads, and both mean the same. */
static void test_both_sides(void **state)
{
    (void)state;
    for (int i = 0; i < 14 * 14; i++) {
        struct ws_deflate_wish client = {9 + i / 2 % 7, i % 2 == 1};
        struct ws_deflate_wish server = {9 + i / 28, i / 14 % 2 == 1};
        struct ws_deflate_terms ours, theirs;
        char offer[WS_DEFLATE_LINE_MAX], answer[WS_DEFLATE_LINE_MAX];
        struct http_response response = {.header_count = 1};
        struct http_request request;

        ws_deflate_offer_write(offer, &client);
        offer[strlen(offer) - 2] = '\0';
        request = request_of(strchr(offer, ':') + 2, NULL);
        assert_int_equal(ws_deflate_agree(&ours, answer, &request, &server), 1);
        answer[strlen(answer) - 2] = '\0';
        response.headers[0].name = SLICE("sec-websocket-extensions");
        response.headers[0].value = peal_slice(strchr(answer, ':') + 2);
        assert_int_equal(ws_deflate_check(&theirs, &response, &client), 1);
        assert_int_equal(ours.server_bits, theirs.server_bits);
        assert_true(theirs.client_bits <= ours.client_bits);
        assert_int_equal(ours.server_takeover, theirs.server_takeover);
        assert_int_equal(ours.client_takeover, theirs.client_takeover);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_agrees),
        cmocka_unit_test(test_server_takes_the_first_that_will_do),
        cmocka_unit_test(test_server_declines),
        cmocka_unit_test(test_server_refuses_what_is_malformed),
        cmocka_unit_test(test_client_checks),
        cmocka_unit_test(test_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
