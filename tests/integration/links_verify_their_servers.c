/*
 * Goal: a link with TLS speaks only to the server that it was told to, says
 * clearly what is wrong with any other, and sends nothing before it knows; it
 * shows its own certificate, takes up sessions again, and goes through proxies.
 *
 * Method: peal servers, `openssl s_server`, and servers of the test's own that
 * do what no good one does; certificates made on the spot.
 */
#define _GNU_SOURCE /* pipe2 */
#include "support/suite.h"

#include "support/certificates.h"
#include "support/host.h"
#include "support/link.h"
#include "support/listener.h"
#include "support/tcp.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int make_all(void **state)
{
    static const struct certificate all[] = {
        {.name = "main", .names = "DNS:localhost"},
        {.name = "address", .names = "IP:127.0.0.1"},
        {.name = "wild", .names = "DNS:*.example.com"},
        {.name = "common", .common_name = "localhost"},
        {.name = "expired",
         .names = "DNS:localhost",
         .from_day = -30,
         .to_day = -1},
        {.name = "early", .names = "DNS:localhost", .from_day = 2},
        {.name = "authority", .is_authority = true},
        {.name = "leaf", .names = "DNS:localhost", .issuer = "authority"},
        {.name = "wrong-use",
         .names = "DNS:localhost",
         .issuer = "authority",
         .usage = "clientAuth"},
        {.name = "client", .names = "DNS:client"},
        {.name = "stranger", .names = "DNS:client"},
    };

    (void)state;
    certificates_open();
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        certificates_make(&all[i]);
    }
    certificates_hash("authority");
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    certificates_close();
    return 0;
}

static const char *file_of(const char *name, const char *suffix)
{
    char file[64];

    snprintf(file, sizeof file, "%s.%s", name, suffix);
    return certificates_path(file);
}

/* --- The two sides ---------------------------------------------------------
 */

struct scene {
    struct host host;
    struct peal_tls *server_tls;
    struct peal_tls *link_tls;
    struct peal_loop *loop;
    struct peal_link *link;
    struct peal_link_options options;
    struct link_notes notes;
    struct peal_tls_facts facts; /* of the last connection */
    char log[1024];
    char url[160];
};

static void on_echo(struct peal_client *from, const struct peal_event *event,
                    void *user)
{
    (void)user;
    peal_client_emit(from, event);
}

static void setup(struct peal_server *server)
{
    CHECK_EQUAL(peal_server_on(server, "echo", on_echo, NULL), 0);
}

static void start_server(struct scene *scene,
                         const struct peal_tls_options *options)
{
    char why[PEAL_TLS_ERROR_SIZE] = "";

    if (peal_tls_new(&scene->server_tls, options, why, sizeof why) < 0) {
        fprintf(stderr, "%s\n", why);
        CHECK(!"TLS options of the server");
    }
    host_start(&scene->host,
               &(struct peal_server_options){.tls = scene->server_tls}, setup);
}

static void serve(struct scene *scene, const char *certificate)
{
    start_server(scene, &(struct peal_tls_options){
                            .size = sizeof(struct peal_tls_options),
                            .certificate_file = file_of(certificate, "crt"),
                            .key_file = file_of(certificate, "key"),
                        });
}

static void stop_server(struct scene *scene)
{
    host_stop(&scene->host);
    peal_tls_free(scene->server_tls);
}

static void on_log(enum peal_log_level level, const char *module,
                   const char *message, const char *fields, void *user)
{
    struct scene *scene = user;

    (void)module;
    (void)fields;
    if (level == PEAL_LOG_WARN) {
        snprintf(scene->log, sizeof scene->log, "%s", message);
    }
}

/* A link that tries once, to the port of `address` and a host of ours. */
static void prepare(struct scene *scene, const char *address, const char *host,
                    bool is_tcp)
{
    snprintf(scene->url, sizeof scene->url, "%s://%s%s", is_tcp ? "tls" : "wss",
             host, strrchr(address, ':'));
    scene->options = link_test_options(scene->url, &scene->notes);
    scene->options.reconnect_attempts = PEAL_OFF;
    CHECK_EQUAL(peal_loop_new(&scene->loop,
                              &(struct peal_loop_options){
                                  .size = sizeof(struct peal_loop_options),
                                  .log = on_log,
                                  .log_user = scene,
                              }),
                0);
}

static void trust_with(struct scene *scene,
                       struct peal_tls_client_options options)
{
    char why[PEAL_TLS_ERROR_SIZE] = "";

    options.size = sizeof options;
    if (peal_tls_client_new(&scene->link_tls, &options, why, sizeof why) < 0) {
        fprintf(stderr, "%s\n", why);
        CHECK(!"TLS options of the link");
    }
    scene->options.tls = scene->link_tls;
}

static void trust(struct scene *scene, const char *certificate)
{
    trust_with(scene, (struct peal_tls_client_options){
                          .ca_file = file_of(certificate, "crt")});
}

static void open_link(struct scene *scene)
{
    CHECK_EQUAL(peal_link_new(&scene->link, scene->loop, &scene->options), 0);
    CHECK_EQUAL(peal_link_on_any(scene->link, link_note_event, &scene->notes),
                0);
    CHECK_EQUAL(peal_link_open(scene->link), 0);
}

static void end(struct scene *scene)
{
    peal_link_free(scene->link);
    peal_loop_free(scene->loop);
    peal_tls_free(scene->link_tls);
    scene->link_tls = NULL;
}

static struct peal_link_stats stats_of(const struct scene *scene)
{
    struct peal_link_stats stats = {.size = sizeof stats};

    CHECK_EQUAL(peal_link_stats(scene->link, &stats), 0);
    return stats;
}

static void await_connection(struct scene *scene)
{
    int changes = scene->notes.changes;

    LINK_STEP_UNTIL(scene->loop, scene->notes.changes >= changes + 2);
    if (scene->notes.state != PEAL_LINK_CONNECTED) {
        fprintf(stderr, "%s\n", scene->notes.reason);
        CHECK(!"a connection");
    }
    CHECK_EQUAL(peal_link_tls(scene->link, &scene->facts), 0);
}

/* The attempt has ended like this, and nothing was said before. */
static void await_failure(struct scene *scene, int error, const char *reason)
{
    LINK_STEP_UNTIL(scene->loop, scene->notes.changes > 1);
    CHECK_EQUAL(scene->notes.state, PEAL_LINK_DISCONNECTED);
    if (strstr(scene->notes.reason, reason) == NULL) {
        fprintf(stderr, "\"%s\" instead of \"%s\"\n", scene->notes.reason,
                reason);
        CHECK(!"the reason");
    }
    CHECK_EQUAL(scene->notes.last.error, error);
    CHECK_EQUAL(scene->notes.error, error);
    CHECK(strcmp(scene->notes.what, scene->notes.reason) == 0);
    CHECK_EQUAL(scene->notes.connects, 0);
    CHECK_EQUAL(stats_of(scene).last_error, error);
    CHECK_EQUAL(peal_link_tls(scene->link, &scene->facts), PEAL_ENOTFOUND);
}

static void echo(struct scene *scene)
{
    struct peal_event event = peal_json("echo", "[1]");
    int events = scene->notes.events;

    CHECK_EQUAL(peal_link_emit(scene->link, &event), 0);
    LINK_STEP_UNTIL(scene->loop, scene->notes.events > events);
    CHECK(strcmp(scene->notes.data, "[1]") == 0);
}

/* --- Servers' certificates -------------------------------------------------
 */

struct verdict {
    const char *what;
    const char *certificate;
    const char *trusted;
    const char *server_name; /* NULL: the address */
    const char *reason;      /* NULL: it is as it should be */
};

static const struct verdict verdicts[] = {
    {"trusted itself", "main", "main", "localhost", NULL},
    {"the case of letters", "main", "main", "LocalHost", NULL},
    {"a whole name", "main", "main", "localhost.", NULL},
    {"an address", "address", "address", NULL, NULL},
    {"signed", "leaf", "authority", "localhost", NULL},
    {"trusted below its authority", "leaf", "leaf", "localhost", NULL},
    {"a wildcard", "wild", "wild", "a.example.com", NULL},
    {"too deep", "wild", "wild", "b.a.example.com", "hostname mismatch"},
    {"another name", "main", "main", "other.host", "hostname mismatch"},
    {"another address", "main", "main", NULL, "IP address mismatch"},
    {"an address as a name", "address", "address", "localhost",
     "hostname mismatch"},
    {"only a common name", "common", "common", "localhost",
     "hostname mismatch"},
    {"expired", "expired", "expired", "localhost", "certificate has expired"},
    {"too early", "early", "early", "localhost",
     "certificate is not yet valid"},
    {"signed by itself", "main", "authority", "localhost",
     "self-signed certificate"},
    {"signed by nobody known", "leaf", "main", "localhost",
     "unable to get local issuer certificate"},
    {"not for servers", "wrong-use", "authority", "localhost", "purpose"},
};

static void try_verdict(const struct verdict *verdict, bool is_tcp)
{
    struct scene scene = {.link = NULL};

    print_message("%s\n", verdict->what);
    serve(&scene, verdict->certificate);
    prepare(&scene, host_address(&scene.host, is_tcp), "127.0.0.1", is_tcp);
    trust(&scene, verdict->trusted);
    scene.options.tls_server_name = verdict->server_name;
    open_link(&scene);
    if (verdict->reason == NULL) {
        await_connection(&scene);
        echo(&scene);
        CHECK_EQUAL(strlen(scene.facts.peer_fingerprint), 64);
        CHECK(strcmp(scene.facts.protocol, is_tcp ? "" : "http/1.1") == 0);
        CHECK(verdict->server_name == NULL
                  ? scene.facts.server_name[0] == '\0'
                  : strncmp(scene.facts.server_name, verdict->server_name,
                            strlen(scene.facts.server_name)) == 0);
    } else {
        await_failure(&scene, PEAL_ETLS, verdict->reason);
        CHECK_EQUAL(stats_of(&scene).bytes_out, 0);
        CHECK_SOON(host_stats(&scene.host).tls_failed == 1);
        CHECK_EQUAL(host_stats(&scene.host).clients_total, 0);
    }
    end(&scene);
    stop_server(&scene);
}

static void test_certificates_are_verified(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
        try_verdict(&verdicts[i], false);
        try_verdict(&verdicts[i], true);
    }
}

static void test_the_host_is_the_name_by_default(void **state)
{
    struct scene scene = {.link = NULL};

    (void)state;
    serve(&scene, "main");
    prepare(&scene, host_address(&scene.host, false), "localhost", false);
    trust(&scene, "main");
    open_link(&scene);
    await_connection(&scene);
    CHECK(strcmp(scene.facts.server_name, "localhost") == 0);
    end(&scene);
    stop_server(&scene);
}

/* A server of many names shows the certificate that it is asked for. */
static void test_the_name_is_asked_for(void **state)
{
    const struct peal_tls_identity identity = {
        .certificate_file = file_of("wild", "crt"),
        .key_file = file_of("wild", "key"),
    };
    struct scene scene = {.link = NULL};

    (void)state;
    start_server(&scene, &(struct peal_tls_options){
                             .size = sizeof(struct peal_tls_options),
                             .certificate_file = file_of("main", "crt"),
                             .key_file = file_of("main", "key"),
                             .identities = &identity,
                             .identity_count = 1,
                         });
    prepare(&scene, host_address(&scene.host, true), "127.0.0.1", true);
    trust(&scene, "wild");
    scene.options.tls_server_name = "a.example.com";
    open_link(&scene);
    await_connection(&scene);
    echo(&scene);
    end(&scene);
    stop_server(&scene);
}

static void test_whom_to_trust_is_found_in_folders(void **state)
{
    struct scene scene = {.link = NULL};

    (void)state;
    serve(&scene, "leaf");
    prepare(&scene, host_address(&scene.host, false), "localhost", false);
    trust_with(&scene, (struct peal_tls_client_options){
                           .ca_dir = certificates_path("")});
    open_link(&scene);
    await_connection(&scene);
    end(&scene);
    stop_server(&scene);
}

static void test_the_systems_authorities_are_the_default(void **state)
{
    struct scene scene = {.link = NULL};

    (void)state;
    serve(&scene, "leaf");
    prepare(&scene, host_address(&scene.host, true), "localhost", true);
    open_link(&scene);
    await_failure(&scene, PEAL_ETLS, "unable to get local issuer");
    end(&scene);

    setenv("SSL_CERT_FILE", file_of("authority", "crt"), 1);
    prepare(&scene, host_address(&scene.host, true), "localhost", true);
    open_link(&scene);
    await_connection(&scene);
    echo(&scene);
    end(&scene);
    unsetenv("SSL_CERT_FILE");
    stop_server(&scene);
}

static void test_anybody_is_trusted_only_on_request_and_aloud(void **state)
{
    struct scene scene = {.link = NULL};

    (void)state;
    serve(&scene, "expired");
    prepare(&scene, host_address(&scene.host, false), "127.0.0.1", false);
    trust_with(&scene, (struct peal_tls_client_options){
                           .insecure_trust_anybody = true});
    open_link(&scene);
    CHECK(strstr(scene.log, "tls trusts anybody") != NULL);
    await_connection(&scene);
    echo(&scene);
    CHECK(scene.facts.peer_fingerprint[0] == '\0');
    end(&scene);
    stop_server(&scene);
}

/* --- Links' certificates ---------------------------------------------------
 */

static void test_servers_see_who_the_link_is(void **state)
{
    static const struct {
        const char *certificate;
        const char *reason;
    } shown[] = {{"client", NULL},
                 {NULL, "alert certificate required"},
                 {"stranger", "alert"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(shown) * 2; i++) {
        const char *certificate = shown[i / 2].certificate;
        bool is_tcp = i % 2 == 1;
        struct scene scene = {.link = NULL};

        start_server(&scene, &(struct peal_tls_options){
                                 .size = sizeof(struct peal_tls_options),
                                 .certificate_file = file_of("main", "crt"),
                                 .key_file = file_of("main", "key"),
                                 .verify = PEAL_TLS_VERIFY_REQUIRED,
                                 .ca_file = file_of("client", "crt"),
                             });
        prepare(&scene, host_address(&scene.host, is_tcp), "localhost", is_tcp);
        trust_with(
            &scene,
            (struct peal_tls_client_options){
                .ca_file = file_of("main", "crt"),
                .certificate_file =
                    certificate == NULL ? NULL : file_of(certificate, "crt"),
                .key_file =
                    certificate == NULL ? NULL : file_of(certificate, "key"),
            });
        open_link(&scene);
        if (shown[i / 2].reason == NULL) {
            await_connection(&scene);
            echo(&scene);
        } else {
            await_failure(&scene, PEAL_ETLS, shown[i / 2].reason);
            CHECK_EQUAL(host_stats(&scene.host).clients_total, 0);
        }
        end(&scene);
        stop_server(&scene);
    }
}

/* --- Sessions --------------------------------------------------------------
 */

static void reconnect(struct scene *scene)
{
    CHECK_EQUAL(peal_link_close(scene->link, 1000, ""), 0);
    LINK_STEP_UNTIL(scene->loop, scene->notes.state == PEAL_LINK_DISCONNECTED);
    host_await_empty(&scene->host);
    CHECK_EQUAL(peal_link_open(scene->link), 0);
    await_connection(scene);
    echo(scene);
}

static void test_sessions_are_taken_up_again(void **state)
{
    struct scene scene = {.link = NULL};

    (void)state;
    serve(&scene, "main");
    prepare(&scene, host_address(&scene.host, false), "localhost", false);
    trust(&scene, "main");
    open_link(&scene);
    await_connection(&scene);
    echo(&scene);
    CHECK(!scene.facts.is_resumed);
    reconnect(&scene);
    CHECK(scene.facts.is_resumed);
    reconnect(&scene);
    CHECK(scene.facts.is_resumed);
    CHECK_EQUAL(strlen(scene.facts.peer_fingerprint), 64);

    /* Trust that is read anew has to be given anew. */
    CHECK_EQUAL(peal_tls_reload(scene.link_tls, NULL, 0), 0);
    reconnect(&scene);
    CHECK(!scene.facts.is_resumed);

    /* The server forgets: no harm. */
    CHECK_EQUAL(peal_tls_reload(scene.server_tls, NULL, 0), 0);
    reconnect(&scene);
    CHECK(!scene.facts.is_resumed);

    /* Another name is another server. */
    scene.options.tls_server_name = "other.host";
    CHECK_EQUAL(peal_link_update(scene.link, &scene.options), 0);
    echo(&scene);
    CHECK_EQUAL(peal_link_close(scene.link, 1000, ""), 0);
    CHECK_EQUAL(peal_link_open(scene.link), 0);
    LINK_STEP_UNTIL(scene.loop, scene.notes.error == PEAL_ETLS);
    CHECK(strstr(scene.notes.what, "hostname mismatch") != NULL);
    end(&scene);
    stop_server(&scene);
}

/* --- OpenSSL's own server --------------------------------------------------
 */

struct s_server {
    pid_t pid;
    int input;
    int output;
    char said[16384];
    size_t size;
    char address[64];
};

static void run_s_server(const char *version, int input, int output)
{
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execlp("openssl", "openssl", "s_server", "-accept", "0", "-naccept", "1",
           version, "-cert", file_of("main", "crt"), "-key",
           file_of("main", "key"), (char *)NULL);
    perror("openssl");
    _exit(127);
}

/* Whether its output has this by now; reads what there is. */
static bool has_said(struct s_server *server, const char *text, size_t size)
{
    struct pollfd waiting = {.fd = server->output, .events = POLLIN};

    while (poll(&waiting, 1, 0) > 0 && server->size < sizeof server->said - 1) {
        ssize_t got = read(server->output, server->said + server->size,
                           sizeof server->said - 1 - server->size);

        if (got <= 0) {
            break;
        }
        server->size += (size_t)got;
    }
    return memmem(server->said, server->size, text, size) != NULL;
}

static void start_s_server(struct s_server *server, const char *version)
{
    const char *line;
    int in[2];
    int out[2];

    memset(server, 0, sizeof *server);
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    server->pid = fork();
    CHECK(server->pid >= 0);
    if (server->pid == 0) {
        run_s_server(version, in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    server->input = in[1];
    server->output = out[0];
    CHECK_SOON(has_said(server, "ACCEPT ", 7) &&
               strchr(strstr(server->said, "ACCEPT "), '\n') != NULL);
    line = strstr(server->said, "ACCEPT ");
    snprintf(server->address, sizeof server->address, ":%d",
             atoi(strrchr(line, ':') + 1));
}

static void stop_s_server(struct s_server *server)
{
    kill(server->pid, SIGTERM);
    CHECK(waitpid(server->pid, NULL, 0) == server->pid);
    close(server->input);
    close(server->output);
}

static void test_openssl_is_spoken_to(void **state)
{
    static const char *const versions[][2] = {{"-tls1_2", "TLSv1.2"},
                                              {"-tls1_3", "TLSv1.3"}};
    static const char welcome[] = "\0\0\0\x11\6\0\0{\"id\":\"x\"}";

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        struct peal_event event = peal_json("chat", "\"hello\"");
        struct scene scene = {.link = NULL};
        struct s_server server;

        start_s_server(&server, versions[i][0]);
        CHECK(write(server.input, welcome, sizeof welcome - 1) > 0);
        prepare(&scene, server.address, "localhost", true);
        trust(&scene, "main");
        open_link(&scene);
        await_connection(&scene);
        CHECK(strcmp(scene.facts.version, versions[i][1]) == 0);
        CHECK_EQUAL(peal_link_emit(scene.link, &event), 0);
        LINK_STEP_UNTIL(scene.loop, has_said(&server, "\"hello\"", 7));
        end(&scene);
        stop_s_server(&server);
    }
}

static void test_old_versions_are_refused_on_request(void **state)
{
    struct scene scene = {.link = NULL};
    struct s_server server;

    (void)state;
    start_s_server(&server, "-tls1_2");
    prepare(&scene, server.address, "localhost", true);
    trust_with(&scene, (struct peal_tls_client_options){
                           .ca_file = file_of("main", "crt"),
                           .version_min = PEAL_TLS_1_3,
                       });
    open_link(&scene);
    await_failure(&scene, PEAL_ETLS, "version");
    CHECK_EQUAL(stats_of(&scene).bytes_out, 0);
    end(&scene);
    stop_s_server(&server);
}

/* --- Servers without TLS, and proxies --------------------------------------
 */

struct stranger {
    int listener;
    const char *says;
    bool is_first;   /* says it at once, not after it has heard something */
    bool is_closing; /* then closes */
    size_t heard;
};

static void *be_strange(void *argument)
{
    struct stranger *stranger = argument;
    int fd = accept(stranger->listener, NULL, NULL);
    size_t size = strlen(stranger->says);
    char heard[4096];
    ssize_t got = 1;

    if (!stranger->is_first) {
        got = recv(fd, heard, sizeof heard, 0);
    }
    CHECK(got > 0 &&
          send(fd, stranger->says, size, MSG_NOSIGNAL) == (ssize_t)size);
    if (stranger->is_closing) {
        shutdown(fd, SHUT_WR);
    }
    while (recv(fd, heard, sizeof heard, 0) > 0) {
    }
    close(fd);
    return NULL;
}

static void test_strangers_to_tls_are_recognised(void **state)
{
    static const struct {
        struct stranger stranger;
        int error;
        const char *reason;
    } strangers[] = {
        {{.says = ""}, PEAL_ETIMEOUT, "TLS handshake took too long"},
        {{.says = "", .is_first = true}, PEAL_ETIMEOUT, "took too long"},
        {{.says = "\x16\x03\x03\x40"}, PEAL_ETIMEOUT, "took too long"},
        {{.says = "", .is_closing = true}, PEAL_ETLS, "ended the handshake"},
        {{.says = "HTTP/1.1 400 Bad Request\r\n\r\n"},
         PEAL_ETLS,
         "does not speak TLS"},
        {{.says = "220 smtp.example.com ESMTP\r\n", .is_first = true},
         PEAL_ETLS,
         "does not speak TLS"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(strangers); i++) {
        struct stranger stranger = strangers[i].stranger;
        struct scene scene = {.link = NULL};
        char address[64];
        pthread_t thread;

        stranger.listener = listener_open(address, sizeof address);
        CHECK(pthread_create(&thread, NULL, be_strange, &stranger) == 0);
        prepare(&scene, address, "localhost", i % 2 == 0);
        scene.options.connect_timeout_ms = 200;
        trust(&scene, "main");
        open_link(&scene);
        await_failure(&scene, strangers[i].error, strangers[i].reason);
        CHECK_EQUAL(stats_of(&scene).bytes_out, 0);
        end(&scene);
        pthread_join(thread, NULL);
        close(stranger.listener);
    }
}

struct relay {
    int listener;
    const char *target;
    const char *answer;
    char request[1024];
};

static void pass_on(int from, int to)
{
    char bytes[16384];
    ssize_t size = recv(from, bytes, sizeof bytes, 0);

    if (size <= 0) {
        shutdown(to, SHUT_WR);
        return;
    }
    for (ssize_t done = 0; done < size;) {
        ssize_t sent =
            send(to, bytes + done, (size_t)(size - done), MSG_NOSIGNAL);

        if (sent <= 0) {
            return;
        }
        done += sent;
    }
}

/* An HTTP proxy for one connection, as long as both sides want it. */
static void *relay_once(void *argument)
{
    struct relay *relay = argument;
    int fd = accept(relay->listener, NULL, NULL);
    struct peer server;
    size_t size = 0;

    while (strstr(relay->request, "\r\n\r\n") == NULL) {
        ssize_t got = recv(fd, relay->request + size,
                           sizeof relay->request - 1 - size, 0);

        CHECK(got > 0);
        size += (size_t)got;
    }
    peer_dial(&server, relay->target);
    fcntl(server.fd, F_SETFL, 0);
    CHECK(send(fd, relay->answer, strlen(relay->answer), MSG_NOSIGNAL) > 0);
    for (;;) {
        struct pollfd both[] = {{.fd = fd, .events = POLLIN},
                                {.fd = server.fd, .events = POLLIN}};
        char byte;

        CHECK(poll(both, 2, -1) > 0);
        if (both[0].revents != 0) {
            if (recv(fd, &byte, 1, MSG_PEEK) <= 0) {
                break;
            }
            pass_on(fd, server.fd);
        }
        if (both[1].revents != 0) {
            if (recv(server.fd, &byte, 1, MSG_PEEK) <= 0) {
                break;
            }
            pass_on(server.fd, fd);
        }
    }
    close(fd);
    peer_close(&server);
    return NULL;
}

static void go_through_proxy(const char *answer, bool is_tcp)
{
    struct relay relay = {.answer = answer};
    struct scene scene = {.link = NULL};
    char address[64];
    pthread_t thread;

    serve(&scene, "main");
    relay.target = host_address(&scene.host, is_tcp);
    relay.listener = listener_open(address, sizeof address);
    CHECK(pthread_create(&thread, NULL, relay_once, &relay) == 0);
    prepare(&scene, ":443", "localhost", is_tcp);
    scene.options.proxy = address;
    trust(&scene, "main");
    open_link(&scene);
    if (strcmp(answer, "HTTP/1.1 200 OK\r\n\r\n") == 0) {
        await_connection(&scene);
        echo(&scene);
    } else {
        await_failure(&scene, PEAL_ETLS, "does not speak TLS");
    }
    end(&scene);
    pthread_join(thread, NULL);
    close(relay.listener);
    stop_server(&scene);
    CHECK(strncmp(relay.request, "CONNECT localhost:443 HTTP/1.1\r\n", 32) ==
          0);
}

static void test_tls_goes_through_proxies(void **state)
{
    (void)state;
    go_through_proxy("HTTP/1.1 200 OK\r\n\r\n", false);
    go_through_proxy("HTTP/1.1 200 OK\r\n\r\n", true);
    /* A proxy that goes on speaking when only the server may. */
    go_through_proxy("HTTP/1.1 200 OK\r\n\r\nand more", false);
}

/* --- Much, and wrong options -----------------------------------------------
 */

#define MANY 2000

static void on_numbered(struct peal_link *link, const struct peal_event *event,
                        void *user)
{
    struct link_notes *notes = user;
    char number[16];

    (void)link;
    CHECK(event->data.size > 4096);
    snprintf(number, sizeof number, "[\"%05d\",", notes->answers);
    CHECK(memcmp(event->data.data, number, strlen(number)) == 0);
    notes->answers++;
}

static void test_much_arrives_whole_and_in_order(void **state)
{
    static char data[5000];

    (void)state;
    memset(data, ' ', sizeof data);
    data[sizeof data - 2] = '0';
    data[sizeof data - 1] = ']';
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        struct peal_event event = {
            .name = peal_slice("echo"),
            .data = {data, sizeof data},
        };
        struct scene scene = {.link = NULL};

        serve(&scene, "main");
        prepare(&scene, host_address(&scene.host, is_tcp), "localhost", is_tcp);
        trust(&scene, "main");
        scene.options.outbox_bytes_max = sizeof data * MANY * 2;
        scene.options.outbox_count_max = MANY;
        scene.options.outbox_rate = PEAL_OFF;
        open_link(&scene);
        CHECK_EQUAL(peal_link_on(scene.link, "echo", on_numbered, &scene.notes),
                    0);
        for (int i = 0; i < MANY; i++) {
            char number[16];

            snprintf(number, sizeof number, "[\"%05d\",", i);
            memcpy(data, number, strlen(number));
            CHECK_EQUAL(peal_link_emit(scene.link, &event), 0);
        }
        LINK_STEP_UNTIL(scene.loop, scene.notes.answers == MANY);
        CHECK_EQUAL(scene.notes.connects, 1);
        CHECK(stats_of(&scene).bytes_out > (uint64_t)MANY * sizeof data);
        end(&scene);
        stop_server(&scene);
    }
}

static void expect_refusal(const struct peal_tls_client_options *options,
                           int error, const char *reason)
{
    char why[PEAL_TLS_ERROR_SIZE] = "";
    struct peal_tls *tls;

    CHECK_EQUAL(peal_tls_client_new(&tls, options, why, sizeof why), error);
    if (strstr(why, reason) == NULL) {
        fprintf(stderr, "%s\n", why);
        CHECK(!"the reason");
    }
}

static void test_bad_options_are_errors_at_once(void **state)
{
    struct peal_tls_client_options options = {.size = sizeof options};
    struct peal_link_options for_link = {.size = sizeof for_link};
    struct peal_server_options for_server = {.size = sizeof for_server};
    struct scene scene = {.link = NULL};
    struct peal_server *server;

    (void)state;
    expect_refusal(&(struct peal_tls_client_options){.size = 1}, PEAL_EINVAL,
                   "size");
    options.ca_file = certificates_path("none.crt");
    expect_refusal(&options, PEAL_ENOTFOUND, "none.crt");
    options.ca_file = file_of("main", "key");
    expect_refusal(&options, PEAL_ETLS, "main.key");
    options.ca_file = NULL;
    options.ca_dir = certificates_path("none");
    expect_refusal(&options, PEAL_ENOTFOUND, "none");
    options.insecure_trust_anybody = true;
    expect_refusal(&options, PEAL_EINVAL, "insecure_trust_anybody");
    options.ca_dir = NULL;
    options.insecure_trust_anybody = false;
    options.key_file = file_of("main", "key");
    expect_refusal(&options, PEAL_EINVAL, "certificate_file");
    options.certificate_file = file_of("client", "crt");
    expect_refusal(&options, PEAL_ETLS, "main.key");
    options.key_file = NULL;
    expect_refusal(&options, PEAL_ETLS, "client.crt");
    options.certificate_file = NULL;
    options.ciphers = "NONSENSE";
    expect_refusal(&options, PEAL_ETLS, "NONSENSE");

    /* Each side has its own kind. */
    serve(&scene, "main");
    prepare(&scene, host_address(&scene.host, false), "localhost", false);
    for_link.url = scene.url;
    for_link.tls = scene.server_tls;
    CHECK_EQUAL(peal_link_new(&scene.link, scene.loop, &for_link), PEAL_EINVAL);
    for_link.tls = NULL;
    for_link.tls_server_name = "";
    CHECK_EQUAL(peal_link_new(&scene.link, scene.loop, &for_link), PEAL_EINVAL);
    trust(&scene, "main");
    for_server.ws_listen = "127.0.0.1:0";
    for_server.tls = scene.link_tls;
    CHECK_EQUAL(peal_server_new(&server, &for_server), PEAL_EINVAL);
    end(&scene);
    stop_server(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates_are_verified),
        cmocka_unit_test(test_the_host_is_the_name_by_default),
        cmocka_unit_test(test_the_name_is_asked_for),
        cmocka_unit_test(test_whom_to_trust_is_found_in_folders),
        cmocka_unit_test(test_the_systems_authorities_are_the_default),
        cmocka_unit_test(test_anybody_is_trusted_only_on_request_and_aloud),
        cmocka_unit_test(test_servers_see_who_the_link_is),
        cmocka_unit_test(test_sessions_are_taken_up_again),
        cmocka_unit_test(test_openssl_is_spoken_to),
        cmocka_unit_test(test_old_versions_are_refused_on_request),
        cmocka_unit_test(test_strangers_to_tls_are_recognised),
        cmocka_unit_test(test_tls_goes_through_proxies),
        cmocka_unit_test(test_much_arrives_whole_and_in_order),
        cmocka_unit_test(test_bad_options_are_errors_at_once),
    };

    return cmocka_run_group_tests(tests, make_all, remove_all);
}
