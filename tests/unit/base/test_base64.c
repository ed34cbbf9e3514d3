#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <string.h>

#include "base/base64.h"

static void check_pair(const char *plain, const char *encoded)
{
    char text[64];

    assert_int_equal(base64_encode(text, plain, strlen(plain)),
                     strlen(encoded));
    assert_memory_equal(text, encoded, strlen(encoded));
}

static void test_rfc_vectors(void **state)
{
    (void)state;
    /* RFC 4648, 10. */
    check_pair("", "");
    check_pair("f", "Zg==");
    check_pair("fo", "Zm8=");
    check_pair("foo", "Zm9v");
    check_pair("foob", "Zm9vYg==");
    check_pair("fooba", "Zm9vYmE=");
    check_pair("foobar", "Zm9vYmFy");
    /* The key of RFC 6455, 1.3. */
    check_pair("the sample nonce", "dGhlIHNhbXBsZSBub25jZQ==");
    check_pair("\xfb\xff\xfe", "+//+");
}

/* As OpenSSL encodes it, and not a byte beyond. */
static void test_all_bytes_and_sizes(void **state)
{
    uint8_t data[260];
    char text[360];
    char expected[360];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 151);
    }
    for (size_t size = 0; size <= sizeof data; size++) {
        int length =
            EVP_EncodeBlock((unsigned char *)expected, data, (int)size);

        text[length] = '!';
        assert_int_equal(base64_encode(text, data, size), length);
        assert_memory_equal(text, expected, (size_t)length);
        assert_int_equal(text[length], '!');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_vectors),
        cmocka_unit_test(test_all_bytes_and_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
