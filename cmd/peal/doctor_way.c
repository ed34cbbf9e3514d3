/* The way to a server: its name, its addresses, its TLS. */
#include "doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define EXPIRY_DAYS 14

static bool resolve_local(struct doctor *doctor)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct address *address = &doctor->addresses[0];

    if (strlen(doctor->target.host) >= sizeof path.sun_path) {
        doctor_report(doctor, "address", RESULT_FAIL, "use a shorter path",
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

bool doctor_check_name(struct doctor *doctor)
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
        doctor_report(doctor, "name", RESULT_FAIL,
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
        doctor_report(doctor, "name", RESULT_OK, NULL, "%s is %s (%.1f ms)",
                      doctor->target.host, all, doctor_ms_since(began_ns));
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

int doctor_dial(struct doctor *doctor, const struct address *address)
{
    return probe_dial(&doctor->probe, (const struct sockaddr *)&address->value,
                      address->size, doctor->options->timeout_ms);
}

bool doctor_check_addresses(struct doctor *doctor)
{
    int errors[ADDRESSES_MAX];
    double times[ADDRESSES_MAX];

    for (size_t i = 0; i < doctor->address_count; i++) {
        uint64_t began_ns = session_now_ns();

        errors[i] = doctor_dial(doctor, &doctor->addresses[i]);
        times[i] = doctor_ms_since(began_ns);
        if (errors[i] == 0 && doctor->address == NULL) {
            doctor->address = &doctor->addresses[i];
        }
        probe_close(&doctor->probe);
    }
    for (size_t i = 0; i < doctor->address_count; i++) {
        const char *text = doctor->addresses[i].text;

        if (errors[i] == 0) {
            doctor_report(doctor, "connect", RESULT_OK, NULL, "%s %s (%.1f ms)",
                          text, doctor->target.port, times[i]);
        } else {
            doctor_report(doctor, "connect",
                          doctor->address != NULL ? RESULT_WARN : RESULT_FAIL,
                          advice_for_errno(errors[i]), "%s %s: %s (%.1f ms)",
                          text, doctor->target.port, strerror(errors[i]),
                          times[i]);
        }
    }
    return doctor->address != NULL;
}

/* --- TLS ------------------------------------------------------------------ */

bool doctor_is_loopback(const struct address *address)
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

bool doctor_trusts(const struct doctor *doctor, const struct probe_tls *tls)
{
    return tls->verdict == 0 || doctor->options->insecure;
}

static void judge_certificate(struct doctor *doctor,
                              const struct probe_tls *tls)
{
    const char *who = tls->subject[0] != '\0' ? tls->subject : tls->names;

    if (tls->verdict != 0) {
        doctor_report(doctor, "tls",
                      doctor->options->insecure ? RESULT_WARN : RESULT_FAIL,
                      advice_for_verdict(tls), "%s: %s (for %s, by %s)",
                      tls->why, who, tls->names, tls->issuer);
        if (!doctor->options->insecure) {
            doctor_fail(doctor, EXIT_CONNECT);
        }
    } else {
        doctor_report(doctor, "tls",
                      tls->days_left < EXPIRY_DAYS ? RESULT_WARN : RESULT_OK,
                      tls->days_left < EXPIRY_DAYS
                          ? "renew it: nobody will connect after that"
                          : NULL,
                      "the certificate of %s by %s is good for %ld days", who,
                      tls->issuer, tls->days_left);
    }
}

bool doctor_check_tls(struct doctor *doctor)
{
    uint64_t began_ns = session_now_ns();
    struct probe_tls tls;
    char why[256];

    if (!doctor->target.is_tls) {
        if (!doctor_is_loopback(doctor->address)) {
            doctor_report(
                doctor, "tls", RESULT_WARN,
                doctor->target.is_ws ? "use wss://" : "use tls://",
                "not encrypted: whoever is on the way reads everything");
        }
        return true;
    }
    if (!probe_secure(&doctor->probe, &doctor->target, doctor->options, &tls,
                      why, sizeof why)) {
        doctor_report(
            doctor, "tls", RESULT_FAIL,
            "is there TLS on this port? Without it the URL begins with "
            "ws:// or tcp://",
            "%s", why);
        doctor_fail(doctor, EXIT_CONNECT);
        return false;
    }
    doctor_report(doctor, "tls", RESULT_OK, NULL,
                  "%s, %s, %d certificate%s (%.1f ms)", tls.version, tls.cipher,
                  tls.chain, tls.chain == 1 ? "" : "s",
                  doctor_ms_since(began_ns));
    judge_certificate(doctor, &tls);
    return doctor_trusts(doctor, &tls);
}
