/* URLs as users write them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/address.h"
#include "peal/peal.h"

static void test_good_urls_are_read(void **state)
{
    static const struct {
        const char *url;
        bool is_ws;
        bool is_local;
        bool is_tls;
        uint16_t port;
        const char *host;
        const char *authority;
        const char *target;
    } urls[] = {
        {"ws://a", true, false, false, 80, "a", "a", "/"},
        {"ws://a.b:8080/chat?x=1&y=/", true, false, false, 8080, "a.b",
         "a.b:8080", "/chat?x=1&y=/"},
        {"ws://[::1]:9/", true, false, false, 9, "::1", "[::1]:9", "/"},
        {"wss://a", true, false, true, 443, "a", "a", "/"},
        {"wss://[::1]:9/x", true, false, true, 9, "::1", "[::1]:9", "/x"},
        {"tcp://127.0.0.1:8081", false, false, false, 8081, "127.0.0.1",
         "127.0.0.1:8081", "/"},
        {"tcp://a:1/", false, false, false, 1, "a", "a:1", "/"},
        {"tls://a:1", false, false, true, 1, "a", "a:1", "/"},
        {"unix:/run/p.sock", false, true, false, 0, "/run/p.sock", "localhost",
         "/"},
        {"ws+unix:/run/p.sock", true, true, false, 0, "/run/p.sock",
         "localhost", "/"},
        {"ws+unix:p:/chat?x", true, true, false, 0, "p", "localhost",
         "/chat?x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct address address;

        assert_int_equal(address_parse(&address, urls[i].url), 0);
        assert_int_equal(address.is_ws, urls[i].is_ws);
        assert_int_equal(address.is_local, urls[i].is_local);
        assert_int_equal(address.is_tls, urls[i].is_tls);
        assert_int_equal(address.port, urls[i].port);
        assert_string_equal(address.host, urls[i].host);
        assert_string_equal(address.authority, urls[i].authority);
        assert_string_equal(address.target, urls[i].target);
        address_fini(&address);
    }
}

static void test_bad_urls_are_refused(void **state)
{
    static const char *const urls[] = {
        "",           "a",          "http://a",     "ws://",
        "ws://:80",   "ws://a:0",   "ws://a:65536", "ws://a:1x",
        "ws://a:",    "ws://a b",   "ws://a/b c",   "ws://a/\r\nX: y",
        "ws://a#b",   "ws://u@a",   "ws://[::1",    "ws://[::1]x",
        "ws://a?x=1", "tcp://a",    "tcp://a:1/x",  "unix:",
        "ws+unix:",   "ws+unix::/", "ws+unix:p:x",  "WS://a",
        "tls://a",    "tls://a:1/x"};
    struct address address;

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_int_equal(address_parse(&address, urls[i]), PEAL_EADDRESS);
    }
    assert_int_equal(address_parse_proxy(&address, "a"), PEAL_EADDRESS);
    assert_int_equal(address_parse_proxy(&address, "a:3128"), 0);
    address_fini(&address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_urls_are_read),
        cmocka_unit_test(test_bad_urls_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
