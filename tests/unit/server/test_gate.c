/* Origins, networks, and whose word about an address counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"
#include "server/gate.h"

#include <stdio.h>
#include <string.h>

static struct peal_server_options gate_of(const char *const *origins,
                                          const char *const *trusted)
{
    struct peal_server_options options = {
        .origins = origins,
        .trusted_proxies = trusted,
        .forwarded_header = "X-Forwarded-For",
    };

    assert_null(gate_check(&options));
    return options;
}

static void test_origins(void **state)
{
    static const char *const origins[] = {
        "https://example.com", "https://*.example.com",
        "https://*.example.org:8443", "http://localhost:3000", NULL};
    static const char *const good[] = {
        "https://example.com",        "HTTPS://Example.COM",
        "https://a.example.com",      "https://a-1.b.example.com",
        "https://x.example.org:8443", "http://localhost:3000"};
    static const char *const bad[] = {"",
                                      "null",
                                      "http://example.com",
                                      "https://example.com:443",
                                      "https://example.com.evil.org",
                                      "https://evilexample.com",
                                      "https://.example.com",
                                      "https://a..example.com.",
                                      "https://evil.org/.example.com",
                                      "https://user@.example.com",
                                      "https://evil.org:1.example.com",
                                      "https://evil.org?.example.com",
                                      "https://example.org:8443",
                                      "https://x.example.org",
                                      "http://localhost"};
    struct peal_server_options gate = gate_of(origins, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(gate_allows_origin(&gate, peal_slice(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(gate_allows_origin(&gate, peal_slice(bad[i])));
    }
    assert_false(gate_allows_origin(&gate, slice_make(NULL, 0)));
}

static void test_special_origins(void **state)
{
    static const char *const absent[] = {"", "null", NULL};
    static const char *const all[] = {"*", NULL};
    static const char *const none[] = {NULL};
    struct peal_server_options gate = gate_of(absent, NULL);

    (void)state;
    assert_true(gate_allows_origin(&gate, slice_make(NULL, 0)));
    assert_true(gate_allows_origin(&gate, peal_slice("null")));
    assert_false(gate_allows_origin(&gate, peal_slice("https://a.b")));
    gate = gate_of(all, NULL);
    assert_true(gate_allows_origin(&gate, slice_make(NULL, 0)));
    assert_true(gate_allows_origin(&gate, peal_slice("https://a.b")));
    gate = gate_of(none, NULL);
    assert_false(gate_allows_origin(&gate, peal_slice("https://a.b")));
    gate = gate_of(NULL, NULL);
    assert_true(gate_allows_origin(&gate, peal_slice("https://a.b")));
}

static void refuse(const char *origin, const char *network,
                   const char *expected)
{
    const char *const origins[] = {origin, NULL};
    const char *const networks[] = {network, NULL};
    struct peal_server_options options = {
        .origins = origin != NULL ? origins : NULL,
        .trusted_proxies = networks,
        .forwarded_header = "Forwarded",
    };
    const char *problem = gate_check(&options);

    assert_non_null(problem);
    assert_string_equal(problem, expected);
}

static void test_nonsense_is_refused(void **state)
{
    (void)state;
    refuse("example.com", NULL, "origins");
    refuse("https://", NULL, "origins");
    refuse("https://*.", NULL, "origins");
    refuse("https://*example.com", NULL, "origins");
    refuse("https://a.*.com", NULL, "origins");
    refuse("https://example.com/", NULL, "origins");
    refuse(NULL, "", "trusted_proxies");
    refuse(NULL, "localhost", "trusted_proxies");
    refuse(NULL, "10.0.0.0/33", "trusted_proxies");
    refuse(NULL, "10.0.0.0/", "trusted_proxies");
    refuse(NULL, "10.0.0.0/-1", "trusted_proxies");
    refuse(NULL, "10.0.0/8", "trusted_proxies");
    refuse(NULL, "2001:db8::/129", "trusted_proxies");
}

static struct socket_address address_of(const char *text)
{
    struct socket_address address;

    assert_int_equal(socket_address_parse(&address, text), 0);
    return address;
}

static void test_networks(void **state)
{
    static const char *const trusted[] = {"10.0.0.0/8", "192.0.2.128/25",
                                          "2001:db8::/33", "::1", NULL};
    static const char *const good[] = {"10.255.0.1:1", "192.0.2.128:1",
                                       "[2001:db8:7fff::1]:1", "[::1]:1",
                                       "[::ffff:10.1.1.1]:1"};
    static const char *const bad[] = {"11.0.0.1:1", "192.0.2.127:1",
                                      "[2001:db8:8000::1]:1", "[::2]:1",
                                      "unix:/x"};
    struct peal_server_options gate = gate_of(NULL, trusted);

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct socket_address address = address_of(good[i]);

        assert_true(gate_trusts(&gate, &address));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct socket_address address = address_of(bad[i]);

        assert_false(gate_trusts(&gate, &address));
    }
}

/* What a request with these header lines, from `peer`, is taken to be from. */
static void expect(const char *peer, const char *lines, const char *header,
                   const char *expected)
{
    static const char *const trusted[] = {"10.0.0.0/8", "fd00::/8", "unix",
                                          NULL};
    struct peal_server_options gate = gate_of(NULL, trusted);
    struct socket_address address = address_of(peer);
    struct http_request request;
    char head[2048];
    char text[SOCKET_TEXT_SIZE];
    int size = snprintf(head, sizeof head,
                        "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", lines);

    assert_int_equal(
        http_request_parse(&request, head, (size_t)size, sizeof head), size);
    gate.forwarded_header = header;
    gate_forwarded(&gate, &request, &address);
    assert_string_equal(socket_address_format(&address, text), expected);
}

static void test_forwarded_for(void **state)
{
    static const char x[] = "X-Forwarded-For";

    (void)state;
    expect("10.0.0.1:9", "X-Forwarded-For: 192.0.2.7\r\n", x, "192.0.2.7:0");
    expect("unix:/x", "x-forwarded-for: 192.0.2.7:81\r\n", x, "192.0.2.7:81");
    expect("10.0.0.1:9", "X-Forwarded-For: 2001:db8::1\r\n", x,
           "[2001:db8::1]:0");
    expect("10.0.0.1:9", "X-Forwarded-For: [2001:db8::1]:7\r\n", x,
           "[2001:db8::1]:7");
    /* Nobody is believed who is not trusted. */
    expect("192.0.2.1:9", "X-Forwarded-For: 192.0.2.7\r\n", x, "192.0.2.1:9");
    /* The last that is not trusted: what is before it may be forged. */
    expect("10.0.0.1:9", "X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.2.2.2\r\n", x,
           "192.0.2.7:0");
    expect("10.0.0.1:9",
           "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.7\r\n", x,
           "192.0.2.7:0");
    expect("10.0.0.1:9", "X-Forwarded-For: 10.3.3.3, fd00::1\r\n", x,
           "10.3.3.3:0");
    /* What cannot be read ends the search. */
    expect("10.0.0.1:9", "X-Forwarded-For: 1.1.1.1, junk, 10.2.2.2\r\n", x,
           "10.2.2.2:0");
    expect("10.0.0.1:9", "X-Forwarded-For: 1.1.1.1,\r\n", x, "1.1.1.1:0");
    expect("10.0.0.1:9", "X-Forwarded-For: 1.1.1.1, ,\r\n", x, "10.0.0.1:9");
    expect("10.0.0.1:9", "X-Forwarded-For: 1.1.1.1:99999\r\n", x, "10.0.0.1:9");
    expect("10.0.0.1:9", "X-Forwarded-For: [::1\r\n", x, "10.0.0.1:9");
    expect("10.0.0.1:9", "X-Forwarded-For: []:1\r\n", x, "10.0.0.1:9");
    expect("10.0.0.1:9", "X-Forwarded-For:\r\n", x, "10.0.0.1:9");
    /* What a client has left open does not hide what the proxy adds. */
    expect("10.0.0.1:9", "X-Forwarded-For: \", 192.0.2.7\r\n", x,
           "192.0.2.7:0");
    expect("10.0.0.1:9", "X-Forwarded-For: \"a\\, 192.0.2.7\r\n", x,
           "192.0.2.7:0");
    expect("10.0.0.1:9", "", x, "10.0.0.1:9");
    /* The other header does not count. */
    expect("10.0.0.1:9", "Forwarded: for=192.0.2.7\r\n", x, "10.0.0.1:9");
}

static void test_forwarded(void **state)
{
    static const char f[] = "Forwarded";

    (void)state;
    expect("10.0.0.1:9", "Forwarded: for=192.0.2.7\r\n", f, "192.0.2.7:0");
    expect("10.0.0.1:9",
           "Forwarded: proto=https; For=\"[2001:db8::1]:4711\";by=x\r\n", f,
           "[2001:db8::1]:4711");
    expect("10.0.0.1:9",
           "Forwarded: for=1.1.1.1;host=\"a,b;for=2.2.2.2\", for=10.9.9.9\r\n",
           f, "1.1.1.1:0");
    expect("10.0.0.1:9", "Forwarded: for=1.1.1.1, for=unknown\r\n", f,
           "10.0.0.1:9");
    expect("10.0.0.1:9", "Forwarded: for=1.1.1.1, for=_hidden\r\n", f,
           "10.0.0.1:9");
    expect("10.0.0.1:9", "Forwarded: for=1.1.1.1, proto=http\r\n", f,
           "10.0.0.1:9");
    expect("10.0.0.1:9", "Forwarded: for=\"1.1.1.1\r\n", f, "10.0.0.1:9");
    expect("10.0.0.1:9", "X-Forwarded-For: 1.1.1.1\r\n", f, "10.0.0.1:9");
}

/* A header of many hops is looked at from its end only, for 32 of them. */
static void test_many_hops(void **state)
{
    static const struct {
        int hops;
        const char *found;
    } cases[] = {
        {31, "1.1.1.1:0"}, {32, "10.0.0.2:0"}, {100, "10.0.0.2:0"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char lines[2000] = "X-Forwarded-For: 1.1.1.1";

        for (int k = 0; k < cases[i].hops; k++) {
            strcat(lines, ",10.0.0.2");
        }
        strcat(lines, "\r\n");
        expect("10.0.0.1:9", lines, "X-Forwarded-For", cases[i].found);
    }
}

static void test_keys(void **state)
{
    struct socket_address a = address_of("[2001:db8:1:2:3::1]:1");
    struct socket_address b = address_of("[2001:db8:1:2:ffff::9]:2");
    struct socket_address v4 = address_of("192.0.2.7:1");
    struct socket_address local = address_of("unix:/x");
    struct socket_key key = gate_key(&a, 64);
    struct socket_key other = gate_key(&b, 64);
    char text[SOCKET_TEXT_SIZE];

    (void)state;
    assert_memory_equal(key.bytes, other.bytes, 16);
    assert_string_equal(gate_key_format(key.bytes, key.size, text),
                        "2001:db8:1:2::");
    other = gate_key(&b, 128);
    assert_string_equal(gate_key_format(other.bytes, other.size, text),
                        "2001:db8:1:2:ffff::9");
    key = gate_key(&v4, 1);
    assert_string_equal(gate_key_format(key.bytes, key.size, text),
                        "192.0.2.7");
    key = gate_key(&local, 64);
    assert_int_equal(key.size, 0);
    assert_string_equal(gate_key_format(key.bytes, key.size, text), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_special_origins),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_forwarded_for),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_many_hops),
        cmocka_unit_test(test_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
