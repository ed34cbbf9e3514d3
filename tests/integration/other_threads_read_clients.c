/*
 * Goal: a thread of the application's own can list the members of a room and
 * read their ids and metadata, by reference, while they are there.
 *
 * Method: clients of both transports are on four loops; this thread, which is
 * no loop, asks for them by name and id.
 */
#include "support/suite.h"

#include "support/host.h"
#include "support/member.h"

#include <string.h>

#define MEMBERS 8

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    (void)user;
    CHECK_EQUAL(peal_client_set(client, "transport",
                                connect->transport == PEAL_TCP ? "tcp" : "ws"),
                0);
    CHECK_EQUAL(peal_client_join(client, "readers"), 0);
}

static void test_ids_and_metadata_are_copied(void **state)
{
    const struct peal_server_options options = {
        .loops = 4,
        .on_connect = on_connect,
    };
    struct peal_client_ref refs[MEMBERS];
    struct member members[MEMBERS];
    struct peal_client_ref gone;
    struct host host;
    char id[PEAL_ID_MAX + 1];
    char text[8];

    (void)state;
    host_start(&host, &options, NULL);
    for (size_t i = 0; i < MEMBERS; i++) {
        member_open(&members[i], host_address(&host, i % 2 == 1), i % 2 == 1);
        member_expect_silence(&members[i]); /* on_connect has returned */
    }
    assert_int_equal(
        peal_server_members(host.server, "readers", refs, MEMBERS), MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++) {
        struct peal_client_ref ref =
            peal_server_find(host.server, members[i].id);

        assert_int_equal(peal_server_client_id(host.server, ref, id), 36);
        assert_string_equal(id, members[i].id);
        assert_int_equal(peal_server_client_get(host.server, ref, "transport",
                                                text, sizeof text),
                         i % 2 == 1 ? 3 : 2);
        assert_string_equal(text, i % 2 == 1 ? "tcp" : "ws");
        assert_int_equal(
            peal_server_client_get(host.server, ref, "transport", text, 2),
            PEAL_ETOOBIG);
        assert_int_equal(
            peal_server_client_get(host.server, ref, "none", text, 8),
            PEAL_ENOTFOUND);
        assert_int_equal(
            peal_server_client_get(host.server, ref, NULL, text, 8),
            PEAL_EINVAL);
    }
    gone = peal_server_find(host.server, members[0].id);
    for (size_t i = 0; i < MEMBERS; i++) {
        member_close(&members[i]);
    }
    host_await_empty(&host);
    assert_int_equal(peal_server_client_id(host.server, gone, id), PEAL_EGONE);
    assert_int_equal(
        peal_server_client_get(host.server, gone, "transport", text, 8),
        PEAL_EGONE);
    host_stop(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_and_metadata_are_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
