/* Answers and losses in words, and the exit codes for them. */
#include "session.h"

#include <stdio.h>

int session_failure_code(const struct peal_failure *failure)
{
    switch (failure->code) {
    case 102: /* not_allowed */
    case 108: /* refused */
        return EXIT_REFUSED;
    case 106: /* timeout */
        return EXIT_TIMEOUT;
    default:
        return EXIT_ERROR;
    }
}

int session_explain(const struct peal_answer *answer, char *out, size_t size)
{
    switch (answer->status) {
    case PEAL_OK:
        snprintf(out, size, "ok");
        return EXIT_OK;
    case PEAL_EREFUSED:
        snprintf(out, size, "%s (%d %s)", answer->failure.message,
                 answer->failure.code, answer->failure.name);
        return session_failure_code(&answer->failure);
    case PEAL_ETIMEOUT:
        snprintf(out, size, "no answer in time");
        return EXIT_TIMEOUT;
    case PEAL_EGONE:
        snprintf(out, size,
                 "the connection broke before the answer came, so "
                 "nobody knows whether it arrived");
        return EXIT_ERROR;
    default:
        snprintf(out, size, "%s", peal_strerror(answer->status));
        return EXIT_ERROR;
    }
}

int session_explain_loss(const struct peal_link_change *change, char *out,
                         size_t size)
{
    const char *dot = change->reason[0] != '\0' ? ": " : "";

    if (change->http_status != 0) {
        snprintf(out, size, "the server answered with HTTP status %d%s",
                 change->http_status,
                 change->http_status == 404   ? " (is the path right?)"
                 : change->http_status == 401 ? " (is there a --token?)"
                                              : "");
        return change->http_status == 401 || change->http_status == 403 ||
                       change->http_status == 407
                   ? EXIT_REFUSED
                   : EXIT_CONNECT;
    }
    if (change->code != 0 && change->code != 1006) {
        snprintf(out, size, "the server closed with %d%s%s", change->code, dot,
                 change->reason);
        return change->code == 1008 ? EXIT_REFUSED : EXIT_CONNECT;
    }
    switch (change->error) {
    case PEAL_EREFUSED:
        snprintf(out, size, "nobody listens there");
        break;
    case PEAL_EADDRESS:
    case PEAL_ENOTFOUND:
        snprintf(out, size, "its name cannot be resolved");
        break;
    default:
        snprintf(out, size, "%s",
                 change->reason[0] != '\0' ? change->reason
                                           : peal_strerror(change->error));
        break;
    }
    return EXIT_CONNECT;
}
