/*
 * Goal: an address tracker of the application's decides who may come from where
 * and how many, for several servers at once; each client that it has counted is
 * taken off again; when it fails, clients come in, or do not, as was asked for.
 *
 * Method: two servers with one tracker, which counts in this process what it is
 * asked; this machine is a trusted proxy, so that there are many addresses.
 */
#include "support/suite.h"

#include <peal/policy.h>

#include "support/host.h"
#include "support/member.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char *const here[] = {"127.0.0.1", NULL};

static struct host hosts[2];
static _Atomic int warnings;
static _Atomic int middleware_asked;
static _Atomic long told_by_hook;
static struct peal_admission waiting;
static _Atomic bool is_waiting;

/* --- The tracker ---------------------------------------------------------- */

struct entry {
    char address[64];
    int count;
};

static struct {
    pthread_mutex_t lock;
    struct entry entries[16];
    int most;       /* of one address */
    int error;      /* of both; 0: none */
    int checks;
    int adds;
    int removes;
    int cleanups;
    pthread_t cleaner; /* the last one's thread */
    bool has_cleaners; /* there were several */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct entry *entry_of(const char *address)
{
    size_t i = 0;

    while (shared.entries[i].address[0] != '\0' &&
           strcmp(shared.entries[i].address, address) != 0) {
        i++;
        CHECK(i < ARRAY_SIZE(shared.entries));
    }
    snprintf(shared.entries[i].address, sizeof shared.entries[i].address, "%s",
             address);
    return &shared.entries[i];
}

static int check(const char *address, void *user)
{
    int error;

    CHECK(user == &shared);
    CHECK(address[0] != '\0');
    pthread_mutex_lock(&shared.lock);
    error = shared.error;
    shared.checks++;
    pthread_mutex_unlock(&shared.lock);
    return strcmp(address, "192.0.2.66") == 0 ||
                   strcmp(address, "2001:db8:bad::") == 0
               ? PEAL_EREFUSED
               : error;
}

static int add(const char *address, void *user)
{
    struct entry *entry;
    int rc;

    (void)user;
    CHECK(address[0] != '\0');
    pthread_mutex_lock(&shared.lock);
    entry = entry_of(address);
    rc = shared.error != 0                ? shared.error
         : entry->count >= shared.most ? PEAL_ELIMIT
                                       : 0;
    entry->count += rc == 0;
    shared.adds += rc == 0;
    pthread_mutex_unlock(&shared.lock);
    return rc;
}

static void remove_one(const char *address, void *user)
{
    struct entry *entry;

    (void)user;
    pthread_mutex_lock(&shared.lock);
    entry = entry_of(address);
    CHECK(entry->count > 0);
    entry->count--;
    shared.removes++;
    pthread_mutex_unlock(&shared.lock);
}

static long count(const char *address, void *user)
{
    long result;

    (void)user;
    pthread_mutex_lock(&shared.lock);
    result = entry_of(address)->count;
    pthread_mutex_unlock(&shared.lock);
    return result;
}

static void cleanup(void *user)
{
    (void)user;
    pthread_mutex_lock(&shared.lock);
    if (shared.cleanups++ > 0 &&
        !pthread_equal(shared.cleaner, pthread_self())) {
        shared.has_cleaners = true;
    }
    shared.cleaner = pthread_self();
    pthread_mutex_unlock(&shared.lock);
}

static int read_shared(const int *field)
{
    int value;

    pthread_mutex_lock(&shared.lock);
    value = *field;
    pthread_mutex_unlock(&shared.lock);
    return value;
}

static void write_shared(int *field, int value)
{
    pthread_mutex_lock(&shared.lock);
    *field = value;
    pthread_mutex_unlock(&shared.lock);
}

static struct peal_address_tracker whole_tracker(void)
{
    return (struct peal_address_tracker){
        .size = sizeof(struct peal_address_tracker),
        .user = &shared,
        .check = check,
        .add = add,
        .remove = remove_one,
        .count = count,
        .cleanup = cleanup,
    };
}

/* --- The servers ---------------------------------------------------------- */

static void count_log(enum peal_log_level level, const char *component,
                      const char *message, const char *fields, void *user)
{
    (void)level;
    (void)component;
    (void)user;
    if (strcmp(message, "address tracker failed") == 0) {
        CHECK(strstr(fields, "remote=192.0.2.") != NULL);
        CHECK(strstr(fields, "error=timeout") != NULL);
        atomic_fetch_add(&warnings, 1);
    }
}

static enum peal_verdict ask(const struct peal_connect *connect,
                             struct peal_admission admission,
                             struct peal_denial *denial, void *user)
{
    (void)denial;
    (void)user;
    atomic_fetch_add(&middleware_asked, 1);
    if (!peal_slice_equal(connect->path, peal_slice("/later"))) {
        return PEAL_ALLOW;
    }
    waiting = admission;
    atomic_store(&is_waiting, true);
    return PEAL_LATER;
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_use(server, ask, NULL), 0);
}

static void on_max(struct peal_server *server,
                   const struct peal_connections_limited *limited, void *user)
{
    (void)server;
    (void)user;
    CHECK(strcmp(limited->limit, "clients_per_address_max") == 0 ||
          strcmp(limited->limit, "clients_max") == 0);
    atomic_store(&told_by_hook, limited->address_clients);
}

/* The same id for everybody who asks for it. */
static long make_id(const struct peal_connect *connect, char *id, void *user)
{
    (void)user;
    if (!peal_slice_equal(connect->path, peal_slice("/same"))) {
        return 0;
    }
    memcpy(id, "same", 4);
    return 4;
}

static void begin_with(int servers, const struct peal_address_tracker *tracker,
                       struct peal_server_options options)
{
    static const struct peal_hooks hooks = {
        .size = sizeof hooks,
        .on_max_connections = on_max,
    };

    options.trusted_proxies = here;
    options.proxy_protocol = PEAL_PROXY_OPTIONAL;
    options.address_tracker = tracker;
    options.clients_per_address_max = 1;
    options.make_id = make_id;
    options.hooks = &hooks;
    options.loops = 2;
    options.log = count_log;
    options.log_level = PEAL_LOG_WARN;
    pthread_mutex_lock(&shared.lock);
    memset(shared.entries, 0, sizeof shared.entries);
    shared.most = 2;
    shared.error = shared.adds = shared.removes = shared.cleanups = 0;
    shared.checks = 0;
    shared.has_cleaners = false;
    pthread_mutex_unlock(&shared.lock);
    atomic_store(&warnings, 0);
    atomic_store(&middleware_asked, 0);
    for (int i = 0; i < servers; i++) {
        host_start(&hosts[i], &options, setup);
    }
}

static void begin(int servers, const struct peal_address_tracker *tracker)
{
    begin_with(servers, tracker, (struct peal_server_options){.size = 0});
}

static void end(int servers)
{
    for (int i = 0; i < servers; i++) {
        host_await_empty(&hosts[i]);
        host_stop(&hosts[i]);
    }
    CHECK_EQUAL(shared.adds, shared.removes);
    for (size_t i = 0; i < ARRAY_SIZE(shared.entries); i++) {
        CHECK_EQUAL(shared.entries[i].count, 0);
    }
}

/* Dials as the proxy of this address. */
static void dial_from(struct member *member, int server, bool is_tcp,
                      const char *address)
{
    char header[128];
    int size = snprintf(header, sizeof header, "PROXY TCP%d %s %s 1 2\r\n",
                        strchr(address, ':') != NULL ? 6 : 4, address, address);

    memset(member, 0, sizeof *member);
    member->is_tcp = is_tcp;
    peer_dial(&member->peer, host_address(&hosts[server], is_tcp));
    peer_send(&member->peer, header, (size_t)size);
}

static void open_from(struct member *member, int server, bool is_tcp,
                      const char *address)
{
    dial_from(member, server, is_tcp, address);
    if (!is_tcp) {
        ws_ask(&member->peer, "/", "");
        ws_expect_open(&member->peer);
    }
    member_welcome(member);
}

/* Does not get in: an HTTP status, or a code over TCP. */
static void expect_refused(int server, const char *address, const char *path,
                           int status, int code)
{
    char line[32];
    struct member member;

    dial_from(&member, server, false, address);
    ws_ask(&member.peer, path, "");
    snprintf(line, sizeof line, "HTTP/1.1 %d", status);
    CHECK(peer_wait(&member.peer, 12));
    CHECK(memcmp(peer_take(&member.peer, 12), line, 12) == 0);
    peer_drain(&member.peer);
    peer_close(&member.peer);
    if (code != 0) {
        dial_from(&member, server, true, address);
        member_expect_close(&member, code);
    }
}

/* --- Tests ---------------------------------------------------------------- */

/* Two servers count together; the limit of the option is not looked at. */
static void test_shared_counts(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();
    struct member members[4];

    (void)state;
    begin(2, &tracker);
    open_from(&members[0], 0, false, "192.0.2.1");
    open_from(&members[1], 1, true, "192.0.2.1");
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(peal_server_address_clients(hosts[i].server, "192.0.2.1"),
                    2);
        expect_refused(i, "192.0.2.1", "/", 429, 1013);
        CHECK_EQUAL(host_stats(&hosts[i]).refused_clients_per_address, 2);
        CHECK_EQUAL(atomic_load(&told_by_hook), 2);
    }
    open_from(&members[2], 0, true, "192.0.2.2");
    /* IPv6 by its network. */
    open_from(&members[3], 1, false, "2001:db8::1:2:3:4");
    CHECK_EQUAL(peal_server_address_clients(hosts[0].server, "2001:db8::9"), 1);
    CHECK_EQUAL(count("2001:db8::", &shared), 1);
    CHECK_EQUAL(peal_server_address_clients(hosts[0].server, "host"),
                PEAL_EADDRESS);
    /* Whoever leaves one makes room in the other. */
    member_close(&members[1]);
    CHECK_SOON(count("192.0.2.1", &shared) == 1);
    open_from(&members[1], 0, true, "192.0.2.1");
    for (int i = 0; i < 4; i++) {
        member_close(&members[i]);
    }
    end(2);
}

static void test_bans(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();
    struct member member;

    (void)state;
    tracker.add = NULL;
    tracker.remove = NULL;
    tracker.count = NULL;
    begin(1, &tracker);
    expect_refused(0, "192.0.2.66", "/", 403, 1008);
    CHECK_EQUAL(atomic_load(&middleware_asked), 0);
    /* Without add the server counts as it does without a tracker. */
    open_from(&member, 0, false, "192.0.2.1");
    CHECK_EQUAL(peal_server_address_clients(hosts[0].server, "192.0.2.1"), 1);
    expect_refused(0, "192.0.2.1", "/", 429, 1013);
    CHECK_EQUAL(atomic_load(&told_by_hook), 1);
    member_close(&member);
    end(1);
}

/* Who was counted and does not come in after all is taken off. */
static void test_refused_later(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();
    struct member member;

    (void)state;
    begin(1, &tracker);
    dial_from(&member, 0, false, "192.0.2.1");
    ws_ask(&member.peer, "/same", "");
    ws_expect_open(&member.peer);
    member_welcome(&member);
    expect_refused(0, "192.0.2.1", "/same", 409, 0);
    CHECK_EQUAL(count("192.0.2.1", &shared), 1);
    CHECK_EQUAL(read_shared(&shared.adds), 2);
    member_close(&member);
    end(1);
}

static void test_errors(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();
    struct member member;

    (void)state;
    begin(1, &tracker);
    write_shared(&shared.error, PEAL_ETIMEOUT);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        open_from(&member, 0, is_tcp, "192.0.2.1");
        member_close(&member);
    }
    CHECK_EQUAL(host_stats(&hosts[0]).address_tracker_failed, 4);
    CHECK_EQUAL(atomic_load(&warnings), 4);
    CHECK_EQUAL(read_shared(&shared.adds), 0);
    end(1);

    tracker.refuse_on_error = true;
    begin(1, &tracker);
    write_shared(&shared.error, PEAL_ETIMEOUT);
    expect_refused(0, "192.0.2.1", "/", 503, 1013);
    CHECK_EQUAL(host_stats(&hosts[0]).address_tracker_failed, 2);
    write_shared(&shared.error, 0);
    open_from(&member, 0, true, "192.0.2.1");
    member_close(&member);
    end(1);
}

static void test_cleanup(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();

    (void)state;
    tracker.cleanup_interval_ms = 1;
    begin(1, &tracker);
    CHECK_SOON(read_shared(&shared.cleanups) >= 3);
    end(1);
    CHECK(!shared.has_cleaners);
    for (int i = 0; i < 2; i++) {
        struct member member;

        tracker.cleanup_interval_ms = i == 0 ? PEAL_OFF : 0; /* a minute */
        begin(1, &tracker);
        open_from(&member, 0, true, "192.0.2.1");
        CHECK(!peer_has_input(&member.peer, 50));
        member_close(&member);
        end(1);
        CHECK_EQUAL(shared.cleanups, 0);
    }
}

/* A client of which middleware decides later is asked about, and counted,
 * once. */
static void test_once(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();
    struct member member;

    (void)state;
    atomic_store(&is_waiting, false);
    begin(1, &tracker);
    dial_from(&member, 0, false, "192.0.2.1");
    ws_ask(&member.peer, "/later", "");
    CHECK_SOON(atomic_load(&is_waiting));
    CHECK_EQUAL(count("192.0.2.1", &shared), 0);
    CHECK_EQUAL(peal_admission_decide(waiting, PEAL_ALLOW, NULL), 0);
    ws_expect_open(&member.peer);
    member_welcome(&member);
    CHECK_EQUAL(read_shared(&shared.checks), 1);
    CHECK_EQUAL(read_shared(&shared.adds), 1);
    member_close(&member);
    end(1);
}

/* The network is what ipv6_prefix_bits says. */
static void test_networks(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();
    struct member members[2];

    (void)state;
    begin_with(1, &tracker, (struct peal_server_options){
                                .ipv6_prefix_bits = 48,
                            });
    open_from(&members[0], 0, false, "2001:db8:1:2::1");
    open_from(&members[1], 0, true, "2001:db8:1:3::1");
    CHECK_EQUAL(count("2001:db8:1::", &shared), 2);
    CHECK_EQUAL(
        peal_server_address_clients(hosts[0].server, "2001:db8:1:ffff::"), 2);
    expect_refused(0, "2001:db8:1:4::1", "/", 429, 1013);
    expect_refused(0, "2001:db8:bad:1::1", "/", 403, 1008);
    for (int i = 0; i < 2; i++) {
        member_close(&members[i]);
    }
    end(1);
}

/* Unix sockets have no address, behind a proxy neither: nobody is asked. */
static void test_unix(void **state)
{
    static const char header[16 + 216] = "\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8";
    struct peal_address_tracker tracker = whole_tracker();
    struct member member = {.is_tcp = true};

    (void)state;
    begin_with(1, &tracker, (struct peal_server_options){.clients_max = 1});
    peer_dial(&member.peer, hosts[0].tcp);
    peer_send(&member.peer, header, sizeof header);
    member_welcome(&member);
    CHECK_EQUAL(read_shared(&shared.checks), 0);
    CHECK_EQUAL(read_shared(&shared.adds), 0);
    /* For want of room: how many are of its address nobody can say. */
    atomic_store(&told_by_hook, 7);
    {
        struct member refused = {.is_tcp = true};

        peer_dial(&refused.peer, hosts[0].tcp);
        peer_send(&refused.peer, header, sizeof header);
        member_expect_close(&refused, 1013);
    }
    CHECK_EQUAL(atomic_load(&told_by_hook), PEAL_EADDRESS);
    member_close(&member);
    end(1);
}

static void test_options(void **state)
{
    struct peal_address_tracker tracker = whole_tracker();
    struct peal_server_options options = {
        .size = sizeof options,
        .ws_listen = "127.0.0.1:0",
        .address_tracker = &tracker,
    };
    struct peal_server *server;

    (void)state;
    tracker.size = 0;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    tracker = whole_tracker();
    tracker.remove = NULL;
    CHECK_EQUAL(peal_server_new(&server, &options), PEAL_EINVAL);
    tracker = whole_tracker();
    tracker.count = NULL;
    CHECK_EQUAL(peal_server_new(&server, &options), 0);
    CHECK_EQUAL(peal_server_address_clients(server, "192.0.2.1"),
                PEAL_ENOTSUP);
    peal_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_counts),
        cmocka_unit_test(test_bans),
        cmocka_unit_test(test_refused_later),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_cleanup),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
