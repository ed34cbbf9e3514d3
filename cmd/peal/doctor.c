/* peal doctor - goes the way to a server step by step and says what to change.
 */
#define _XOPEN_SOURCE 700 /* strptime */
#define _DEFAULT_SOURCE   /* timegm */

#include "commands.h"
#include "output.h"
#include "probe.h"
#include "session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ADDRESSES_MAX 16
#define EXPIRY_DAYS 14
#define SKEW_SECONDS 5
#define PROXY_TIMEOUT_MS 60000 /* what many proxies allow of silence */
#define FILES_WANTED 65536
#define BACKLOG_WANTED 4096

enum result { RESULT_OK, RESULT_NOTE, RESULT_WARN, RESULT_FAIL };

struct address {
    struct sockaddr_storage value;
    socklen_t size;
    char text[INET6_ADDRSTRLEN + 108];
};

struct doctor {
    const struct options *options;
    struct target target;
    struct link_way way;
    struct address addresses[ADDRESSES_MAX];
    size_t address_count;
    const struct address *address; /* that answers */
    struct probe probe;
    struct probe_upgrade upgrade;
    int counts[RESULT_FAIL + 1];
    int exit_code;
};

/* --- Report --------------------------------------------------------------- */

static void print_text(const struct doctor *doctor, const char *check,
                       enum result result, const char *what, const char *advice)
{
    static const char *const names[] = {"ok", "note", "warn", "FAIL"};
    static const enum output_color colors[] = {COLOR_GREEN, COLOR_DIM,
                                               COLOR_YELLOW, COLOR_RED};

    if (doctor->options->quiet && result <= RESULT_NOTE) {
        return;
    }
    printf("%s%-5s%s %-9s ", output_color(colors[result]), names[result],
           output_color(COLOR_NONE), check);
    output_clean(stdout, peal_slice(what));
    fputc('\n', stdout);
    if (advice != NULL) {
        printf("                > %s\n", advice);
    }
}

/* One line of the report; a failure has an exit code. */
__attribute__((format(printf, 5, 6))) static void
report(struct doctor *doctor, const char *check, enum result result,
       const char *advice, const char *format, ...)
{
    static const char *const names[] = {"ok", "note", "warn", "fail"};
    char what[1024];
    va_list list;

    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    doctor->counts[result]++;
    if (doctor->options->json) {
        printf("{\"check\":\"%s\",\"result\":\"%s\",\"message\":", check,
               names[result]);
        output_json_string(stdout, peal_slice(what));
        if (advice != NULL) {
            printf(",\"advice\":");
            output_json_string(stdout, peal_slice(advice));
        }
        printf("}\n");
    } else {
        print_text(doctor, check, result, what, advice);
    }
    output_flush();
}

static void fail_with(struct doctor *doctor, int exit_code)
{
    if (doctor->exit_code == EXIT_OK) {
        doctor->exit_code = exit_code;
    }
}

static double ms_since(uint64_t began_ns)
{
    return (double)(session_now_ns() - began_ns) / 1e6;
}

/* --- The way to the server ------------------------------------------------ */

static bool resolve_local(struct doctor *doctor)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct address *address = &doctor->addresses[0];

    if (strlen(doctor->target.host) >= sizeof path.sun_path) {
        report(doctor, "address", RESULT_FAIL, "use a shorter path",
               "the path of a unix socket has at most %zu bytes",
               sizeof path.sun_path - 1);
        return false;
    }
    strcpy(path.sun_path, doctor->target.host);
    memcpy(&address->value, &path, sizeof path);
    address->size = sizeof path;
    snprintf(address->text, sizeof address->text, "%s", path.sun_path);
    doctor->address_count = 1;
    return true;
}

static void keep_addresses(struct doctor *doctor, const struct addrinfo *list)
{
    for (const struct addrinfo *at = list;
         at != NULL && doctor->address_count < ADDRESSES_MAX;
         at = at->ai_next) {
        struct address *address = &doctor->addresses[doctor->address_count++];

        memcpy(&address->value, at->ai_addr, at->ai_addrlen);
        address->size = at->ai_addrlen;
        getnameinfo(at->ai_addr, at->ai_addrlen, address->text,
                    sizeof address->text, NULL, 0, NI_NUMERICHOST);
    }
}

static bool check_name(struct doctor *doctor)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    uint64_t began_ns = session_now_ns();
    struct addrinfo *list;
    char all[512];
    size_t used = 0;
    int rc;

    if (doctor->target.is_local) {
        return resolve_local(doctor);
    }
    rc = getaddrinfo(doctor->target.host, doctor->target.port, &hints, &list);
    if (rc != 0) {
        report(doctor, "name", RESULT_FAIL,
               "check the spelling, and the name server of this machine",
               "%s: %s", doctor->target.host, gai_strerror(rc));
        return false;
    }
    keep_addresses(doctor, list);
    freeaddrinfo(list);
    for (size_t i = 0; i < doctor->address_count && used < sizeof all; i++) {
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s",
                                 i > 0 ? ", " : "", doctor->addresses[i].text);
    }
    if (strcmp(doctor->target.host, all) != 0) {
        report(doctor, "name", RESULT_OK, NULL, "%s is %s (%.1f ms)",
               doctor->target.host, all, ms_since(began_ns));
    }
    return true;
}

static const char *advice_for_errno(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return "nobody listens there: is the server running, on this port, and "
               "not only on 127.0.0.1?";
    case ETIMEDOUT:
        return "nothing comes back: a firewall, or the wrong address?";
    case EHOSTUNREACH:
    case ENETUNREACH:
        return "there is no way to this network from here";
    case ENOENT:
        return "there is no such socket: is the server running?";
    case EACCES:
        return "this user may not open the socket";
    default:
        return NULL;
    }
}

static int dial(struct doctor *doctor, const struct address *address)
{
    return probe_dial(&doctor->probe, (const struct sockaddr *)&address->value,
                      address->size, doctor->options->timeout_ms);
}

/* Each of the addresses; the first that answers is gone on with. */
static bool check_addresses(struct doctor *doctor)
{
    int errors[ADDRESSES_MAX];
    double times[ADDRESSES_MAX];

    for (size_t i = 0; i < doctor->address_count; i++) {
        uint64_t began_ns = session_now_ns();

        errors[i] = dial(doctor, &doctor->addresses[i]);
        times[i] = ms_since(began_ns);
        if (errors[i] == 0 && doctor->address == NULL) {
            doctor->address = &doctor->addresses[i];
        }
        probe_close(&doctor->probe);
    }
    for (size_t i = 0; i < doctor->address_count; i++) {
        const char *text = doctor->addresses[i].text;

        if (errors[i] == 0) {
            report(doctor, "connect", RESULT_OK, NULL, "%s %s (%.1f ms)", text,
                   doctor->target.port, times[i]);
        } else {
            report(doctor, "connect",
                   doctor->address != NULL ? RESULT_WARN : RESULT_FAIL,
                   advice_for_errno(errors[i]), "%s %s: %s (%.1f ms)", text,
                   doctor->target.port, strerror(errors[i]), times[i]);
        }
    }
    return doctor->address != NULL;
}

/* --- TLS ------------------------------------------------------------------ */

static bool is_loopback(const struct address *address)
{
    const struct sockaddr_in *v4 = (const void *)&address->value;
    const struct sockaddr_in6 *v6 = (const void *)&address->value;

    switch (address->value.ss_family) {
    case AF_INET:
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    default:
        return true;
    }
}

static const char *advice_for_verdict(const struct probe_tls *tls)
{
    if (strstr(tls->why, "mismatch") != NULL) {
        return "use a name of the certificate in the URL, or --server-name";
    }
    if (strstr(tls->why, "self-signed") != NULL) {
        return "if it is your own, trust it with --cacert FILE";
    }
    if (strstr(tls->why, "issuer") != NULL) {
        return "the server has to send the whole chain (fullchain.pem), or "
               "trust its authority with --cacert FILE";
    }
    return "the server needs a new certificate";
}

/* Nothing goes to a server that has not shown who it is. */
static bool is_trusted(const struct doctor *doctor, const struct probe_tls *tls)
{
    return tls->verdict == 0 || doctor->options->insecure;
}

static void judge_certificate(struct doctor *doctor,
                              const struct probe_tls *tls)
{
    const char *who = tls->subject[0] != '\0' ? tls->subject : tls->names;

    if (tls->verdict != 0) {
        report(doctor, "tls",
               doctor->options->insecure ? RESULT_WARN : RESULT_FAIL,
               advice_for_verdict(tls), "%s: %s (for %s, by %s)", tls->why, who,
               tls->names, tls->issuer);
        if (!doctor->options->insecure) {
            fail_with(doctor, EXIT_CONNECT);
        }
    } else {
        report(doctor, "tls",
               tls->days_left < EXPIRY_DAYS ? RESULT_WARN : RESULT_OK,
               tls->days_left < EXPIRY_DAYS
                   ? "renew it: nobody will connect after that"
                   : NULL,
               "the certificate of %s by %s is good for %ld days", who,
               tls->issuer, tls->days_left);
    }
}

static bool check_tls(struct doctor *doctor)
{
    uint64_t began_ns = session_now_ns();
    struct probe_tls tls;
    char why[256];

    if (!doctor->target.is_tls) {
        if (!is_loopback(doctor->address)) {
            report(doctor, "tls", RESULT_WARN,
                   doctor->target.is_ws ? "use wss://" : "use tls://",
                   "not encrypted: whoever is on the way reads everything");
        }
        return true;
    }
    if (!probe_secure(&doctor->probe, &doctor->target, doctor->options, &tls,
                      why, sizeof why)) {
        report(doctor, "tls", RESULT_FAIL,
               "is there TLS on this port? Without it the URL begins with "
               "ws:// or tcp://",
               "%s", why);
        fail_with(doctor, EXIT_CONNECT);
        return false;
    }
    report(doctor, "tls", RESULT_OK, NULL, "%s, %s, %d certificate%s (%.1f ms)",
           tls.version, tls.cipher, tls.chain, tls.chain == 1 ? "" : "s",
           ms_since(began_ns));
    judge_certificate(doctor, &tls);
    return is_trusted(doctor, &tls);
}

/* --- The upgrade ---------------------------------------------------------- */

static const char *advice_for_status(const struct doctor *doctor, int status)
{
    switch (status) {
    case 200:
    case 400:
    case 426:
        return "the upgrade does not reach the server: does the proxy pass on "
               "Upgrade and Connection, with HTTP/1.1?";
    case 301:
    case 302:
    case 307:
    case 308:
        return "WebSocket follows no redirects: use the address in Location";
    case 401:
        return doctor->way.headers[0] != '\0'
                   ? "the token or the headers are not accepted"
                   : "it asks who you are: --token or --header";
    case 403:
        return doctor->options->origin != NULL
                   ? "this origin or this token is not allowed"
                   : "not allowed: is a --token or an --origin missing?";
    case 404:
        return "the path is not one of the server's";
    case 407:
        return "a proxy on the way asks who you are";
    case 429:
        return "too many connections from this address: wait";
    case 502:
    case 503:
    case 504:
        return "the proxy does not reach the server, or the server is full or "
               "stopping";
    default:
        return "this is not how a peal server answers";
    }
}

static struct probe_upgrade *ask_upgrade(struct doctor *doctor,
                                         const char *headers,
                                         const char *origin, bool deflate)
{
    doctor->upgrade.headers = headers;
    doctor->upgrade.origin = origin;
    doctor->upgrade.protocols = doctor->options->protocols;
    doctor->upgrade.offers_deflate = deflate;
    return probe_upgrade(&doctor->probe, &doctor->target, &doctor->upgrade)
               ? &doctor->upgrade
               : NULL;
}

static bool check_upgrade(struct doctor *doctor)
{
    uint64_t began_ns = session_now_ns();
    const struct probe_upgrade *upgrade = ask_upgrade(
        doctor, doctor->way.headers, doctor->options->origin, false);
    char protocol[256];

    if (upgrade == NULL) {
        report(doctor, "upgrade", RESULT_FAIL,
               "is it an HTTP port? Servers of frames are tcp:// or tls://; "
               "with TLS it is wss://",
               "no answer in HTTP (%.1f ms)", ms_since(began_ns));
        fail_with(doctor, EXIT_CONNECT);
        return false;
    }
    if (upgrade->status != 101) {
        report(doctor, "upgrade", RESULT_FAIL,
               advice_for_status(doctor, upgrade->status), "HTTP status %d",
               upgrade->status);
        fail_with(doctor, upgrade->status == 401 || upgrade->status == 403
                              ? EXIT_REFUSED
                              : EXIT_CONNECT);
        return false;
    }
    if (!upgrade->is_proven) {
        report(doctor, "upgrade", RESULT_FAIL,
               "something on the way answers for the server",
               "Sec-WebSocket-Accept is wrong");
        fail_with(doctor, EXIT_CONNECT);
        return false;
    }
    if (!probe_header(upgrade, "Sec-WebSocket-Protocol", protocol,
                      sizeof protocol)) {
        snprintf(protocol, sizeof protocol, "none");
    }
    report(doctor, "upgrade", RESULT_OK, NULL, "101, subprotocol %s (%.1f ms)",
           protocol, ms_since(began_ns));
    return true;
}

/* By what the answer to the upgrade says, to the second. */
static void check_clock(struct doctor *doctor)
{
    char date[64];
    struct tm parts = {0};
    double skew;

    if (!probe_header(&doctor->upgrade, "Date", date, sizeof date) ||
        strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &parts) == NULL) {
        return;
    }
    skew = difftime(timegm(&parts), time(NULL));
    if (skew > SKEW_SECONDS || skew < -SKEW_SECONDS) {
        report(doctor, "clock", RESULT_WARN,
               "set both clocks by NTP: tokens are valid too long, or not yet",
               "the server's is %.0f s %s this one", skew < 0 ? -skew : skew,
               skew > 0 ? "ahead of" : "behind");
    } else {
        report(doctor, "clock", RESULT_OK, NULL, "the server's is right");
    }
}

/* --- The session ---------------------------------------------------------- */

static double number_of(struct peal_slice json, const char *name)
{
    struct peal_slice value;
    double number = 0;

    if (peal_json_get(json, name, &value) == 0) {
        peal_json_number(value, &number);
    }
    return number;
}

static void judge_welcome(struct doctor *doctor, struct peal_slice welcome)
{
    struct peal_slice limits = {"{}", 2};
    double interval_ms = number_of(welcome, "ping_interval_ms");
    double timeout_ms = number_of(welcome, "ping_timeout_ms");

    peal_json_get(welcome, "limits", &limits);
    report(doctor, "welcome", RESULT_OK, NULL, "protocol %.0f",
           number_of(welcome, "protocol"));
    report(doctor, "limits", RESULT_OK, NULL,
           "messages of %.0f bytes, %.0f rooms for each client",
           number_of(limits, "message_bytes"), number_of(limits, "rooms"));
    if (interval_ms <= 0) {
        report(doctor, "heartbeat", RESULT_WARN,
               "set ping_interval_ms on the server",
               "the server does not ping: it notices the dead only when it "
               "writes to them");
    } else if (interval_ms >= PROXY_TIMEOUT_MS) {
        report(doctor, "heartbeat", RESULT_WARN,
               "many proxies cut what is silent for 60 s: choose less",
               "the server pings after %.0f s of silence", interval_ms / 1e3);
    } else {
        report(doctor, "heartbeat", RESULT_OK, NULL,
               "after %.0f s of silence, and %.0f s for the answer",
               interval_ms / 1e3, timeout_ms / 1e3);
    }
}

/* Reads until a message of this kind. */
static bool await(struct doctor *doctor, enum probe_kind kind,
                  struct probe_message *message)
{
    while (probe_read(&doctor->probe, message)) {
        if (message->kind == kind || message->kind == PROBE_CLOSE) {
            return message->kind == kind;
        }
    }
    message->kind = PROBE_MESSAGE;
    return false;
}

static void report_closed(struct doctor *doctor, const char *check,
                          const struct probe_message *message)
{
    if (message->kind == PROBE_CLOSE) {
        report(doctor, check, RESULT_FAIL,
               message->code == 1008
                   ? "the application does not let this client in: is a "
                     "--token or an --origin missing?"
                   : NULL,
               "the server closes with %d %.*s", message->code,
               (int)message->data.size, message->data.data);
        fail_with(doctor, message->code == 1008 ? EXIT_REFUSED : EXIT_CONNECT);
    } else {
        report(doctor, check, RESULT_FAIL,
               "is it the peal dialect that is spoken there?",
               "nothing comes that could be understood");
        fail_with(doctor, EXIT_CONNECT);
    }
}

static bool check_welcome(struct doctor *doctor)
{
    struct probe_message message;

    if (strcmp(doctor->options->dialect, "peal") != 0) {
        return true; /* others have none */
    }
    if (!await(doctor, PROBE_WELCOME, &message)) {
        report_closed(doctor, "welcome", &message);
        return false;
    }
    judge_welcome(doctor, message.data);
    return true;
}

static bool check_ping(struct doctor *doctor)
{
    double best_ms = 0;

    for (int i = 0; i < 3; i++) {
        uint64_t began_ns = session_now_ns();
        struct probe_message message;
        double took_ms;

        if (!probe_write_ping(&doctor->probe) ||
            !await(doctor, PROBE_PONG, &message)) {
            report_closed(doctor, "ping", &message);
            return false;
        }
        took_ms = ms_since(began_ns);
        best_ms = i == 0 || took_ms < best_ms ? took_ms : best_ms;
    }
    report(doctor, "ping", RESULT_OK, NULL, "%.2f ms, the best of 3", best_ms);
    return true;
}

/* --- Other ways in -------------------------------------------------------- */

/* Another connection, up to the upgrade. NULL: it was not to be had. */
static const struct probe_upgrade *come_again(struct doctor *doctor,
                                              const char *headers,
                                              const char *origin, bool deflate)
{
    struct probe_tls tls;
    char why[256];

    probe_close(&doctor->probe);
    if (dial(doctor, doctor->address) != 0 ||
        (doctor->target.is_tls &&
         (!probe_secure(&doctor->probe, &doctor->target, doctor->options, &tls,
                        why, sizeof why) ||
          !is_trusted(doctor, &tls)))) {
        return NULL;
    }
    return ask_upgrade(doctor, headers, origin, deflate);
}

static void check_deflate(struct doctor *doctor)
{
    const struct probe_upgrade *upgrade =
        come_again(doctor, doctor->way.headers, doctor->options->origin, true);
    char extensions[256];

    if (upgrade == NULL || upgrade->status != 101) {
        report(doctor, "deflate", RESULT_WARN, NULL,
               "a second connection was not let in");
    } else if (probe_header(upgrade, "Sec-WebSocket-Extensions", extensions,
                            sizeof extensions)) {
        report(doctor, "deflate", RESULT_OK, NULL, "%s", extensions);
    } else {
        report(doctor, "deflate", RESULT_NOTE, NULL,
               "messages are not compressed");
    }
}

/* Whether a client that comes like this is let in, and stays for a ping. */
static bool is_let_in(struct doctor *doctor, const char *headers,
                      const char *origin)
{
    const struct probe_upgrade *upgrade =
        come_again(doctor, headers, origin, false);
    struct probe_message message;

    return upgrade != NULL && upgrade->status == 101 &&
           probe_write_ping(&doctor->probe) &&
           await(doctor, PROBE_PONG, &message);
}

static void check_origin(struct doctor *doctor)
{
    if (is_let_in(doctor, doctor->way.headers, "https://peal-doctor.invalid")) {
        report(doctor, "origin", RESULT_WARN,
               "list the pages that may connect in the server's origins, "
               "unless everybody shall",
               "pages of any site are let in, in their visitors' name");
    } else {
        report(doctor, "origin", RESULT_OK, NULL,
               "pages of other sites are refused");
    }
}

static void check_token(struct doctor *doctor)
{
    if (doctor->way.headers[0] == '\0') {
        return;
    }
    if (is_let_in(doctor, "", doctor->options->origin)) {
        report(doctor, "token", RESULT_NOTE, NULL,
               "others are let in without the token and the headers, too");
    } else {
        report(doctor, "token", RESULT_OK, NULL,
               "nobody is let in without the token or the headers");
    }
}

/* --- This machine --------------------------------------------------------- */

static void check_files(struct doctor *doctor)
{
    struct rlimit limit;
    bool is_here = is_loopback(doctor->address);

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    report(doctor, "files",
           is_here && limit.rlim_max < FILES_WANTED ? RESULT_WARN : RESULT_OK,
           is_here && limit.rlim_max < FILES_WANTED
               ? "a server here has no more connections than that: ulimit -n, "
                 "or LimitNOFILE= in its unit"
               : NULL,
           "%" PRIu64 " open files at once, %" PRIu64 " at most",
           (uint64_t)limit.rlim_cur, (uint64_t)limit.rlim_max);
}

static void check_backlog(struct doctor *doctor)
{
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "r");
    int backlog = 0;

    if (!is_loopback(doctor->address) || doctor->target.is_local ||
        file == NULL || fscanf(file, "%d", &backlog) != 1) {
        backlog = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    if (backlog > 0) {
        bool is_small = backlog < BACKLOG_WANTED;

        report(doctor, "backlog", is_small ? RESULT_WARN : RESULT_OK,
               is_small ? "when many come at once some wait for a second: "
                          "sysctl net.core.somaxconn=4096"
                        : NULL,
               "%d connections may wait to be accepted", backlog);
    }
}

/* --- All of it ------------------------------------------------------------ */

static bool check_way(struct doctor *doctor)
{
    if (!check_name(doctor) || !check_addresses(doctor)) {
        fail_with(doctor, EXIT_CONNECT);
        return false;
    }
    if (dial(doctor, doctor->address) != 0) {
        report(doctor, "connect", RESULT_FAIL, NULL,
               "a second connection was not accepted");
        fail_with(doctor, EXIT_CONNECT);
        return false;
    }
    if (!check_tls(doctor)) {
        return false;
    }
    if (doctor->target.is_ws) {
        if (!check_upgrade(doctor)) {
            return false;
        }
        check_clock(doctor);
    }
    return check_welcome(doctor) && check_ping(doctor);
}

static void check_all(struct doctor *doctor)
{
    if (check_way(doctor)) {
        probe_write_goodbye(&doctor->probe);
        if (doctor->target.is_ws) {
            check_deflate(doctor);
            check_origin(doctor);
            check_token(doctor);
        }
    }
    probe_close(&doctor->probe);
    if (doctor->address != NULL) {
        check_files(doctor);
        check_backlog(doctor);
    }
}

int doctor_run(const struct options *options)
{
    static struct doctor doctor = {.probe.fd = -1};
    const char *url =
        options->argument_count > 0 ? options->arguments[0] : options->url;

    doctor.options = options;
    signal(SIGPIPE, SIG_IGN); /* a server that has gone is an error to tell */
    if (!session_read_way(&doctor.way, options)) {
        return EXIT_USAGE;
    }
    peal_tls_free(doctor.way.options.tls); /* the probe has its own */
    if (!target_parse(&doctor.target, url)) {
        output_say(OUTPUT_ERROR,
                   "%s is no address of a server: ws://host:port/path, "
                   "wss://..., tcp://host:port, tls://... or unix:/path",
                   url);
        return EXIT_USAGE;
    }
    if (!options->json && !options->quiet) {
        printf("%s\n", url);
    }
    check_all(&doctor);
    if (!options->json) {
        printf("%d ok, %d warning%s, %d failure%s\n", doctor.counts[RESULT_OK],
               doctor.counts[RESULT_WARN],
               doctor.counts[RESULT_WARN] == 1 ? "" : "s",
               doctor.counts[RESULT_FAIL],
               doctor.counts[RESULT_FAIL] == 1 ? "" : "s");
    }
    return doctor.exit_code;
}
