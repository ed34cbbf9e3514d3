#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "peal/peal.h"

static void check_pair(const char *plain, const char *encoded)
{
    size_t size = strlen(plain);
    char text[64];
    char back[64];

    assert_int_equal(base64_encode(text, plain, size), strlen(encoded));
    assert_int_equal(BASE64_SIZE(size), strlen(encoded));
    assert_memory_equal(text, encoded, strlen(encoded));
    assert_int_equal(base64_decode(back, encoded, strlen(encoded)), size);
    assert_memory_equal(back, plain, size);
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

static void test_bad_text(void **state)
{
    static const char *const bad[] = {
        "Z",        "Zg",       "Zg=",      "Zg===",    "Z===",
        "====",     "=g==",     "Zg=a",     "Zm8=Zm8=", "Zg==Zm9v",
        "Zm9v\n",   "Zm 9",     "Zm9-",     "Zm9_",     "Zh==",
        "Zm9=",     "Zm9\x80",  "Zm9vZ=Zg", "A=AA",     "AA=A",
        "Zm9v====", "\n\n\n\n",
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(base64_decode(out, bad[i], strlen(bad[i])),
                         PEAL_EINVAL);
    }
    assert_int_equal(base64_decode(out, "AA\0A", 4), PEAL_EINVAL);
}

static void test_all_bytes_and_sizes(void **state)
{
    uint8_t data[260];
    char text[BASE64_SIZE(260) + 1];
    uint8_t back[BASE64_SIZE(260)];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 151);
    }
    for (size_t size = 0; size <= sizeof data; size++) {
        text[BASE64_SIZE(size)] = '!';

        size_t length = base64_encode(text, data, size);

        assert_int_equal(length, BASE64_SIZE(size));
        assert_int_equal(text[length], '!');
        assert_int_equal(base64_decode(back, text, length), size);
        if (size > 0) {
            assert_memory_equal(back, data, size);
        }
    }
}

/* Of all texts of four characters, only one decodes to given bytes. */
static void test_encoding_is_unique(void **state)
{
    (void)state;
    srand(3);
    for (int i = 0; i < 1000000; i++) {
        static const char some[] = "ABZabz0189+/==-_ \n";
        char text[4];
        char again[4];
        uint8_t out[3];

        for (size_t k = 0; k < 4; k++) {
            text[k] = some[(size_t)rand() % (sizeof some - 1)];
        }

        long size = base64_decode(out, text, 4);

        if (size >= 0) {
            assert_int_equal(base64_encode(again, out, (size_t)size), 4);
            assert_memory_equal(again, text, 4);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_vectors),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_all_bytes_and_sizes),
        cmocka_unit_test(test_encoding_is_unique),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
