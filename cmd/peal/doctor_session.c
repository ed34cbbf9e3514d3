/* What a server speaks, and to whom: the upgrade, the session, other ways in.
 */
#define _XOPEN_SOURCE 700 /* strptime */
#define _DEFAULT_SOURCE   /* timegm */

#include "doctor.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SKEW_SECONDS 5
#define PROXY_TIMEOUT_MS 60000 /* what many proxies allow of silence */

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

bool doctor_check_upgrade(struct doctor *doctor)
{
    uint64_t began_ns = session_now_ns();
    const struct probe_upgrade *upgrade = ask_upgrade(
        doctor, doctor->way.headers, doctor->options->origin, false);
    char protocol[256];

    if (upgrade == NULL) {
        doctor_report(
            doctor, "upgrade", RESULT_FAIL,
            "is it an HTTP port? Servers of frames are tcp:// or tls://; "
            "with TLS it is wss://",
            "no answer in HTTP (%.1f ms)", doctor_ms_since(began_ns));
        doctor_fail(doctor, EXIT_CONNECT);
        return false;
    }
    if (upgrade->status != 101) {
        doctor_report(doctor, "upgrade", RESULT_FAIL,
                      advice_for_status(doctor, upgrade->status),
                      "HTTP status %d", upgrade->status);
        doctor_fail(doctor, upgrade->status == 401 || upgrade->status == 403
                                ? EXIT_REFUSED
                                : EXIT_CONNECT);
        return false;
    }
    if (!upgrade->is_proven) {
        doctor_report(doctor, "upgrade", RESULT_FAIL,
                      "something on the way answers for the server",
                      "Sec-WebSocket-Accept is wrong");
        doctor_fail(doctor, EXIT_CONNECT);
        return false;
    }
    if (!probe_header(upgrade, "Sec-WebSocket-Protocol", protocol,
                      sizeof protocol)) {
        snprintf(protocol, sizeof protocol, "none");
    }
    doctor_report(doctor, "upgrade", RESULT_OK, NULL,
                  "101, subprotocol %s (%.1f ms)", protocol,
                  doctor_ms_since(began_ns));
    return true;
}

void doctor_check_clock(struct doctor *doctor)
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
        doctor_report(
            doctor, "clock", RESULT_WARN,
            "set both clocks by NTP: tokens are valid too long, or not yet",
            "the server's is %.0f s %s this one", skew < 0 ? -skew : skew,
            skew > 0 ? "ahead of" : "behind");
    } else {
        doctor_report(doctor, "clock", RESULT_OK, NULL,
                      "the server's is right");
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
    doctor_report(doctor, "welcome", RESULT_OK, NULL, "protocol %.0f",
                  number_of(welcome, "protocol"));
    doctor_report(doctor, "limits", RESULT_OK, NULL,
                  "messages of %.0f bytes, %.0f rooms for each client",
                  number_of(limits, "message_bytes"),
                  number_of(limits, "rooms"));
    if (interval_ms <= 0) {
        doctor_report(
            doctor, "heartbeat", RESULT_WARN,
            "set ping_interval_ms on the server",
            "the server does not ping: it notices the dead only when it "
            "writes to them");
    } else if (interval_ms >= PROXY_TIMEOUT_MS) {
        doctor_report(doctor, "heartbeat", RESULT_WARN,
                      "many proxies cut what is silent for 60 s: choose less",
                      "the server pings after %.0f s of silence",
                      interval_ms / 1e3);
    } else {
        doctor_report(doctor, "heartbeat", RESULT_OK, NULL,
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
        doctor_report(doctor, check, RESULT_FAIL,
                      message->code == 1008
                          ? "the application does not let this client in: is a "
                            "--token or an --origin missing?"
                          : NULL,
                      "the server closes with %d %.*s", message->code,
                      (int)message->data.size, message->data.data);
        doctor_fail(doctor,
                    message->code == 1008 ? EXIT_REFUSED : EXIT_CONNECT);
    } else {
        doctor_report(doctor, check, RESULT_FAIL,
                      "is it the peal dialect that is spoken there?",
                      "nothing comes that could be understood");
        doctor_fail(doctor, EXIT_CONNECT);
    }
}

bool doctor_check_welcome(struct doctor *doctor)
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

bool doctor_check_ping(struct doctor *doctor)
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
        took_ms = doctor_ms_since(began_ns);
        best_ms = i == 0 || took_ms < best_ms ? took_ms : best_ms;
    }
    doctor_report(doctor, "ping", RESULT_OK, NULL, "%.2f ms, the best of 3",
                  best_ms);
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
    if (doctor_dial(doctor, doctor->address) != 0 ||
        (doctor->target.is_tls &&
         (!probe_secure(&doctor->probe, &doctor->target, doctor->options, &tls,
                        why, sizeof why) ||
          !doctor_trusts(doctor, &tls)))) {
        return NULL;
    }
    return ask_upgrade(doctor, headers, origin, deflate);
}

void doctor_check_deflate(struct doctor *doctor)
{
    const struct probe_upgrade *upgrade =
        come_again(doctor, doctor->way.headers, doctor->options->origin, true);
    char extensions[256];

    if (upgrade == NULL || upgrade->status != 101) {
        doctor_report(doctor, "deflate", RESULT_WARN, NULL,
                      "a second connection was not let in");
    } else if (probe_header(upgrade, "Sec-WebSocket-Extensions", extensions,
                            sizeof extensions)) {
        doctor_report(doctor, "deflate", RESULT_OK, NULL, "%s", extensions);
    } else {
        doctor_report(doctor, "deflate", RESULT_NOTE, NULL,
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

void doctor_check_origin(struct doctor *doctor)
{
    if (is_let_in(doctor, doctor->way.headers, "https://peal-doctor.invalid")) {
        doctor_report(
            doctor, "origin", RESULT_WARN,
            "list the pages that may connect in the server's origins, "
            "unless everybody shall",
            "pages of any site are let in, in their visitors' name");
    } else {
        doctor_report(doctor, "origin", RESULT_OK, NULL,
                      "pages of other sites are refused");
    }
}

void doctor_check_token(struct doctor *doctor)
{
    if (doctor->way.headers[0] == '\0') {
        return;
    }
    if (is_let_in(doctor, "", doctor->options->origin)) {
        doctor_report(
            doctor, "token", RESULT_NOTE, NULL,
            "others are let in without the token and the headers, too");
    } else {
        doctor_report(doctor, "token", RESULT_OK, NULL,
                      "nobody is let in without the token or the headers");
    }
}
