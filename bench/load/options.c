#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
"usage: load MODE --to ADDRESS:PORT [options]\n"
"\n"
"Modes:\n"
"  echo      messages to a server that sends each back\n"
"  fanout    publishers on /pub, subscribers on /sub\n"
"  idle      memory per connection\n"
"  connect   connections per second\n"
"\n"
"Options (defaults in brackets):\n"
"  --to A.B.C.D:PORT  the server\n"
"  --pid N            its process, for CPU time and memory\n"
"  --wire ws|tcp      WebSocket or framed TCP [ws]\n"
"  --dialect raw|peal the payload alone, or in the envelope of peal [raw]\n"
"  --conns N          connections; subscribers in fanout; connections under\n"
"                     way at once in connect [100]\n"
"  --size N           bytes of payload [64]\n"
"  --depth N          echo: messages under way per connection [1]\n"
"  --seconds S        measured time [3]\n"
"  --warm S           time before it [1]\n"
"  --count N          echo, fanout: that many messages instead of a time\n"
"  --publishers N     fanout [1]\n"
"  --in-flight N      fanout: messages not yet received by all [1]\n"
"  --rate N           fanout: publish N per second, measure latency\n"
"  --stalled N        fanout: subscribers more that never read [0]\n"
"  --sources N        connect from 127.0.0.1 to 127.0.0.N [1]\n"
"  --path PATH        ws: of the request, but for fanout [/]\n"
"  --close frame|fin  connect: who ends: a close frame, or a FIN [frame]\n"
"  --binary           ws: binary messages instead of text\n"
"  --deflate          ws: offer permessage-deflate without takeover\n"
"  --takeover         ws: the same with takeover; for idle alone\n"
"  --exchange         idle: each sends a message first, compressed if that\n"
"                     was agreed on, and gets it back\n"
"  --tls 1.2|1.3      TLS of that version; the certificate is not checked\n"
"  --resume           tls: take up sessions of before\n"
"  --send PATTERN     message with % for the payload\n"
"  --expect PATTERN   what comes back for it\n"
"  --join MESSAGE     first message of subscribers, which is answered\n"
"                     (tcp: these three are TYPE EVENT PAYLOAD, - for none)\n"
"\n"
"Prints one line of JSON. Exit status 1: a message was lost, altered or out\n"
"of order, or a connection refused or closed. Exit status 2: it could not\n"
"run.\n";

enum option_name {
    OPTION_TO = 1,
    OPTION_PID,
    OPTION_WIRE,
    OPTION_DIALECT,
    OPTION_CONNS,
    OPTION_SIZE,
    OPTION_DEPTH,
    OPTION_SECONDS,
    OPTION_WARM,
    OPTION_COUNT,
    OPTION_PUBLISHERS,
    OPTION_IN_FLIGHT,
    OPTION_RATE,
    OPTION_STALLED,
    OPTION_SOURCES,
    OPTION_PATH,
    OPTION_CLOSE,
    OPTION_BINARY,
    OPTION_DEFLATE,
    OPTION_TAKEOVER,
    OPTION_EXCHANGE,
    OPTION_TLS,
    OPTION_RESUME,
    OPTION_SEND,
    OPTION_EXPECT,
    OPTION_JOIN,
    OPTION_HELP,
};

static const struct option OPTIONS[] = {
    {"to", required_argument, NULL, OPTION_TO},
    {"pid", required_argument, NULL, OPTION_PID},
    {"wire", required_argument, NULL, OPTION_WIRE},
    {"dialect", required_argument, NULL, OPTION_DIALECT},
    {"conns", required_argument, NULL, OPTION_CONNS},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"warm", required_argument, NULL, OPTION_WARM},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"publishers", required_argument, NULL, OPTION_PUBLISHERS},
    {"in-flight", required_argument, NULL, OPTION_IN_FLIGHT},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"stalled", required_argument, NULL, OPTION_STALLED},
    {"sources", required_argument, NULL, OPTION_SOURCES},
    {"path", required_argument, NULL, OPTION_PATH},
    {"close", required_argument, NULL, OPTION_CLOSE},
    {"binary", no_argument, NULL, OPTION_BINARY},
    {"deflate", no_argument, NULL, OPTION_DEFLATE},
    {"takeover", no_argument, NULL, OPTION_TAKEOVER},
    {"exchange", no_argument, NULL, OPTION_EXCHANGE},
    {"tls", required_argument, NULL, OPTION_TLS},
    {"resume", no_argument, NULL, OPTION_RESUME},
    {"send", required_argument, NULL, OPTION_SEND},
    {"expect", required_argument, NULL, OPTION_EXPECT},
    {"join", required_argument, NULL, OPTION_JOIN},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

void die(const char *format, ...)
{
    va_list arguments;

    fputs("load: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || value > max) {
        die("not a number from 0 to %llu: %s", (unsigned long long)max, text);
    }
    return value;
}

static uint32_t count(const char *text)
{
    return (uint32_t)number(text, 100000000);
}

static double duration(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= 86400)) {
        die("not a time in seconds: %s", text);
    }
    return value;
}

/* The index of `text` among two words. */
static int choice(const char *text, const char *first, const char *second)
{
    if (strcmp(text, first) == 0) {
        return 0;
    }
    if (strcmp(text, second) != 0) {
        die("neither %s nor %s: %s", first, second, text);
    }
    return 1;
}

static void set_address(struct sockaddr_in *to, const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN];

    if (colon == NULL || (size_t)(colon - text) >= sizeof host) {
        die("not an address with a port: %s", text);
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    to->sin_family = AF_INET;
    to->sin_port = htons((uint16_t)number(colon + 1, UINT16_MAX));
    if (inet_pton(AF_INET, host, &to->sin_addr) != 1) {
        die("not an IPv4 address: %s", host);
    }
}

static void set_mode(struct load_options *options, const char *text)
{
    if (strcmp(text, "echo") == 0) {
        options->mode = MODE_ECHO;
    } else if (strcmp(text, "fanout") == 0) {
        options->mode = MODE_FANOUT;
    } else if (strcmp(text, "idle") == 0) {
        options->mode = MODE_IDLE;
    } else if (strcmp(text, "connect") == 0) {
        options->mode = MODE_CONNECT;
    } else {
        die("no such mode: %s (--help lists them)", text);
    }
}

/* Returns false for an option that is a text or a choice. */
static bool set_number(struct load_options *options, int option,
                       const char *text)
{
    switch (option) {
    case OPTION_PID:
        options->pid = (pid_t)number(text, INT32_MAX);
        return true;
    case OPTION_CONNS:
        options->conns = count(text);
        return true;
    case OPTION_SIZE:
        options->size = count(text);
        return true;
    case OPTION_DEPTH:
        options->depth = count(text);
        return true;
    case OPTION_SECONDS:
        options->seconds = duration(text);
        return true;
    case OPTION_WARM:
        options->warm = duration(text);
        return true;
    case OPTION_COUNT:
        options->count = number(text, UINT32_MAX);
        return true;
    case OPTION_PUBLISHERS:
        options->publishers = count(text);
        return true;
    case OPTION_IN_FLIGHT:
        options->in_flight = count(text);
        return true;
    case OPTION_RATE:
        options->rate = count(text);
        return true;
    case OPTION_STALLED:
        options->stalled = count(text);
        return true;
    case OPTION_SOURCES:
        options->sources = (uint32_t)number(text, 250);
        return true;
    default:
        return false;
    }
}

static void set_text(struct load_options *options, int option,
                     const char *text)
{
    switch (option) {
    case OPTION_TO:
        set_address(&options->to, text);
        break;
    case OPTION_WIRE:
        options->wire = choice(text, "ws", "tcp") == 0 ? WIRE_WS : WIRE_TCP;
        break;
    case OPTION_DIALECT:
        options->dialect = choice(text, "raw", "peal") == 0 ? "raw" : "peal";
        break;
    case OPTION_PATH:
        options->path = text;
        break;
    case OPTION_CLOSE:
        options->close_by_frame = choice(text, "frame", "fin") == 0;
        break;
    case OPTION_BINARY:
        options->is_binary = true;
        break;
    case OPTION_DEFLATE:
        options->is_deflated = true;
        break;
    case OPTION_TAKEOVER:
        options->is_deflated = true;
        options->takes_over = true;
        break;
    case OPTION_EXCHANGE:
        options->exchanges = true;
        break;
    case OPTION_TLS:
        options->tls = choice(text, "1.2", "1.3") == 0 ? 12 : 13;
        break;
    case OPTION_RESUME:
        options->resumes = true;
        break;
    case OPTION_SEND:
        options->send = text;
        break;
    case OPTION_EXPECT:
        options->expect = text;
        break;
    case OPTION_JOIN:
        options->join = text;
        break;
    case OPTION_HELP:
        fputs(USAGE, stdout);
        exit(0);
    default:
        fputs("load --help lists the options\n", stderr);
        exit(2);
    }
}

/* What the dialect puts around a payload, unless the caller has said. */
static void set_dialect_defaults(struct load_options *options)
{
    bool is_peal = strcmp(options->dialect, "peal") == 0;

    if (options->send == NULL) {
        if (options->wire == WIRE_TCP) {
            options->send = is_peal ? "0 bench \"%\"" : "0 - %";
        } else {
            options->send = is_peal ? "{\"event\":\"bench\",\"data\":\"%\"}"
                                    : "%";
        }
    }
    if (options->expect == NULL) {
        options->expect = options->send;
    }
}

void options_parse(struct load_options *options, int argc, char **argv)
{
    int option;

    *options = (struct load_options){
        .dialect = "raw",
        .path = "/",
        .close_by_frame = true,
        .conns = 100,
        .depth = 1,
        .size = 64,
        .publishers = 1,
        .in_flight = 1,
        .sources = 1,
        .seconds = 3,
        .warm = 1,
    };
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        if (!set_number(options, option, optarg)) {
            set_text(options, option, optarg);
        }
    }
    if (optind != argc - 1) {
        die("exactly one mode is needed (--help lists them)");
    }
    set_mode(options, argv[optind]);
    if (options->to.sin_port == 0) {
        die("--to is needed");
    }
    if (options->size < STAMP_BYTES || options->conns == 0
        || options->depth == 0 || options->publishers == 0
        || options->sources == 0) {
        die("--size is at least %u, the other counts at least 1",
            STAMP_BYTES);
    }
    if (options->takes_over && options->mode != MODE_IDLE) {
        die("--takeover is for idle: windows of many messages are not kept");
    }
    set_dialect_defaults(options);
}
