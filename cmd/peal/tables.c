/* tables.c - the commands and their options; all that is said of them. */
#include "commands.h"
#include "options.h"

#define ONE(name) (UINT32_C(1) << COMMAND_##name)
#define ALL ((UINT32_C(1) << COMMAND_COUNT) - 1)
/* Those that connect, by the library and by themselves. */
#define ROUTES (LINKS | ONE(DOCTOR) | ONE(BENCH))
#define LINKS                                                                  \
    (ONE(SUB) | ONE(PUB) | ONE(EMIT) | ONE(REQUEST) | ONE(REPLY) | ONE(PING))
/* Those that go to a server, also for its metrics. */
#define VISITORS (ROUTES | ONE(TOP))
#define SENDERS (ONE(PUB) | ONE(EMIT))
/* Those that are given data. */
#define MAKERS (SENDERS | ONE(REQUEST) | ONE(REPLY))

#define FIELD(name) offsetof(struct options, name)

/* What is not said has none: a letter is 0, a text NULL. */
const struct option_row option_rows[] = {
    /* The server. */
    {VISITORS, 'u', "url", OPTION_TEXT, FIELD(url), "URL",
     "ws://127.0.0.1:8080/", "PEAL_URL", NULL, HINT_NONE,
     "the server: ws://, wss://, tcp://, tls:// or unix:/path"},
    {VISITORS, 't', "token", OPTION_TEXT, FIELD(token), "TOKEN", NULL,
     "PEAL_TOKEN", NULL, HINT_NONE,
     "sent as \"Authorization: Bearer TOKEN\" (WebSocket)"},
    {VISITORS, 0, "token-file", OPTION_TEXT, FIELD(token_file), "FILE", NULL,
     "PEAL_TOKEN_FILE", NULL, HINT_FILE,
     "the token is the first line of FILE; of this and --token the last "
     "counts"},
    {VISITORS, 'H', "header", OPTION_LIST, FIELD(headers), "LINE", NULL, NULL,
     NULL, HINT_NONE,
     "a header such as \"X-User: ada\", several times (WebSocket)"},
    {ROUTES, 0, "origin", OPTION_TEXT, FIELD(origin), "ORIGIN", NULL, NULL,
     NULL, HINT_NONE, "the Origin to send (WebSocket)"},
    {ROUTES, 0, "protocol", OPTION_TEXT, FIELD(protocols), "NAMES", NULL, NULL,
     NULL, HINT_NONE,
     "subprotocols to offer instead of the dialect's, with commas between"},
    {LINKS | ONE(BENCH) | ONE(TOP), 0, "proxy", OPTION_TEXT, FIELD(proxy),
     "HOST:PORT", NULL, "PEAL_PROXY", NULL, HINT_NONE,
     "an HTTP proxy to go through"},
    {VISITORS, 0, "cacert", OPTION_TEXT, FIELD(cacert), "FILE", NULL,
     "PEAL_CACERT", NULL, HINT_FILE,
     "trust these authorities (PEM) instead of the system's"},
    {VISITORS, 0, "cert", OPTION_TEXT, FIELD(cert), "FILE", NULL, NULL, NULL,
     HINT_FILE, "a certificate to show to the server (PEM)"},
    {VISITORS, 0, "key", OPTION_TEXT, FIELD(key), "FILE", NULL, NULL, NULL,
     HINT_FILE, "its key, if it is not in the same file (PEM)"},
    {ROUTES, 0, "server-name", OPTION_TEXT, FIELD(server_name), "NAME", NULL,
     NULL, NULL, HINT_NONE,
     "the name in the server's certificate, if not the URL's"},
    {VISITORS, 0, "insecure", OPTION_FLAG, FIELD(insecure), NULL, NULL, NULL,
     NULL, HINT_NONE,
     "trust whoever answers: anybody on the way can listen in"},
    {LINKS | ONE(BENCH), 0, "deflate", OPTION_FLAG, FIELD(deflate), NULL, NULL,
     NULL, NULL, HINT_NONE,
     "have messages compressed if the server does that (WebSocket)"},
    {ROUTES, 0, "dialect", OPTION_CHOICE, FIELD(dialect), "NAME", "peal", NULL,
     "peal stelar", HINT_NONE, "what the server speaks: peal or stelar"},
    {VISITORS, 0, "timeout", OPTION_DURATION, FIELD(timeout_ms), "TIME", "10s",
     NULL, NULL, HINT_NONE, "how long to wait for the server each time"},
    {LINKS, 0, "retry", OPTION_FLAG, FIELD(retry), NULL, NULL, NULL, NULL,
     HINT_NONE, "keep trying when the server is not there at first"},

    /* What is sent. */
    {ONE(PUB), 'e', "event", OPTION_TEXT, FIELD(event), "NAME", "message", NULL,
     NULL, HINT_NONE, "the name of the event"},
    {MAKERS, 's', "string", OPTION_FLAG, FIELD(string), NULL, NULL, NULL, NULL,
     HINT_NONE, "the data is a string, even if it looks like JSON"},
    {MAKERS, 'b', "bytes", OPTION_FLAG, FIELD(bytes), NULL, NULL, NULL, NULL,
     HINT_NONE, "the data is sent as bytes"},
    {SENDERS, 'n', "count", OPTION_COUNT, FIELD(count), "N", "1", NULL, NULL,
     HINT_NONE, "send it N times"},
    {SENDERS, 'r', "rate", OPTION_RATE, FIELD(rate), "N", NULL, NULL, NULL,
     HINT_NONE, "send at most N a second"},
    {SENDERS, 0, "window", OPTION_COUNT, FIELD(window), "N", "32", NULL, NULL,
     HINT_NONE, "have at most N on their way without an answer"},
    {SENDERS, 0, "no-ack", OPTION_FLAG, FIELD(no_ack), NULL, NULL, NULL, NULL,
     HINT_NONE, "send without asking the server for its ok"},

    /* What is received. */
    {ONE(SUB), 'n', "count", OPTION_COUNT, FIELD(count), "N", NULL, NULL, NULL,
     HINT_NONE, "end after N events"},
    {ONE(SUB), 'W', "wait", OPTION_DURATION, FIELD(wait_ms), "TIME", NULL, NULL,
     NULL, HINT_NONE, "end after so long: code 5, or 0 without -n"},
    {ONE(SUB), 'e', "event", OPTION_TEXT, FIELD(event), "NAME", NULL, NULL,
     NULL, HINT_NONE, "only events of this name"},
    {ONE(SUB), 'a', "all", OPTION_FLAG, FIELD(all), NULL, NULL, NULL, NULL,
     HINT_NONE, "also what comes through no room, or through another one"},
    {ONE(SUB), 0, "strict", OPTION_FLAG, FIELD(strict), NULL, NULL, NULL, NULL,
     HINT_NONE, "end with 1 as soon as something is missing"},
    {ONE(SUB) | ONE(REQUEST), 0, "raw", OPTION_FLAG, FIELD(raw), NULL, NULL,
     NULL, NULL, HINT_NONE,
     "only the data: strings as their text, bytes as they are"},
    {ONE(SUB), 'F', "format", OPTION_TEXT, FIELD(format), "FORMAT", NULL, NULL,
     NULL, HINT_NONE, "print this for each event: see FORMAT"},
    {ONE(SUB) | ONE(REQUEST), 'N', "no-newline", OPTION_FLAG, FIELD(no_newline),
     NULL, NULL, NULL, NULL, HINT_NONE, "no line end behind what is printed"},

    /* Of single commands. */
    {ONE(REPLY), 0, "raw", OPTION_FLAG, FIELD(raw), NULL, NULL, NULL, NULL,
     HINT_NONE, "the command reads the text of a string instead of JSON"},
    {ONE(REPLY), 0, "join", OPTION_LIST, FIELD(rooms), "ROOM", NULL, NULL, NULL,
     HINT_NONE, "join this room first, several times"},
    {ONE(REPLY), 0, "jobs", OPTION_COUNT, FIELD(jobs), "N", "4", NULL, NULL,
     HINT_NONE, "run so many commands at once, others wait; at most 64"},
    {ONE(REPLY), 0, "limit", OPTION_DURATION, FIELD(limit_ms), "TIME", "10s",
     NULL, NULL, HINT_NONE, "kill a command after so long"},
    {ONE(REPLY), 'n', "count", OPTION_COUNT, FIELD(count), "N", NULL, NULL,
     NULL, HINT_NONE, "end after N requests"},
    {ONE(PING), 'n', "count", OPTION_COUNT, FIELD(count), "N", "10", NULL, NULL,
     HINT_NONE, "end after N pings"},
    {ONE(PING), 'i', "interval", OPTION_DURATION, FIELD(interval_ms), "TIME",
     "100ms", NULL, NULL, HINT_NONE, "from one ping to the next"},
    {ONE(TOP), 'n', "count", OPTION_COUNT, FIELD(count), "N", NULL, NULL, NULL,
     HINT_NONE, "end after N tables"},
    {ONE(TOP), 'i', "interval", OPTION_DURATION, FIELD(interval_ms), "TIME",
     "1s", NULL, NULL, HINT_NONE, "from one table to the next"},

    {ONE(BENCH), 'c', "conns", OPTION_COUNT, FIELD(connections), "N", "100",
     NULL, NULL, HINT_NONE, "how many connections"},
    {ONE(BENCH), 0, "rooms", OPTION_COUNT, FIELD(room_count), "N", "10", NULL,
     NULL, HINT_NONE, "how many rooms they are spread over"},
    {ONE(BENCH), 'r', "rate", OPTION_RATE, FIELD(rate), "N", "10", NULL, NULL,
     HINT_NONE, "messages a second in each room"},
    {ONE(BENCH), 'p', "payload", OPTION_SIZE, FIELD(payload), "SIZE", "200",
     NULL, NULL, HINT_NONE, "of the data of a message, from 34 bytes on"},
    {ONE(BENCH), 'd', "duration", OPTION_DURATION, FIELD(duration_ms), "TIME",
     "10s", NULL, NULL, HINT_NONE, "how long it publishes"},
    {ONE(BENCH), 0, "storm", OPTION_RATE, FIELD(storm), "N", "1000", NULL, NULL,
     HINT_NONE, "how many connect in a second"},
    {ONE(BENCH), 0, "threads", OPTION_COUNT, FIELD(threads), "N", "1", NULL,
     NULL, HINT_NONE, "how many threads have the connections"},
    {ONE(BENCH), 0, "slo", OPTION_SLO, FIELD(slos), "LIMIT", NULL, NULL, NULL,
     HINT_NONE,
     "p99=50ms or max=1s, several times: end with 1 when it takes longer"},

    /* For whoever makes the pages. */
    {ONE(HELP), 0, "manual", OPTION_TEXT, FIELD(manual), "FILE", NULL, NULL,
     NULL, HINT_FILE, "print the manual page (mdoc) with the prose of FILE"},

    /* All. */
    {ALL, 0, "json", OPTION_FLAG, FIELD(json), NULL, NULL, NULL, NULL,
     HINT_NONE, "print JSON, one object a line, for programs"},
    {ALL, 'q', "quiet", OPTION_FLAG, FIELD(quiet), NULL, NULL, NULL, NULL,
     HINT_NONE, "print no notes or warnings"},
    {ALL, 0, "color", OPTION_CHOICE, FIELD(color), "WHEN", "auto", NULL,
     "auto always never", HINT_NONE,
     "auto, always or never; auto: on a terminal without NO_COLOR"},
    {ALL, 'h', "help", OPTION_FLAG, FIELD(help), NULL, NULL, NULL, NULL,
     HINT_NONE, "print this"},
    {ALL, 'V', "version", OPTION_FLAG, FIELD(version), NULL, NULL, NULL, NULL,
     HINT_NONE, "print the version"},
};

const size_t option_row_count = sizeof option_rows / sizeof *option_rows;

const struct exit_meaning exit_meanings[] = {
    {EXIT_OK, "ok"},
    {EXIT_ERROR, "error"},
    {EXIT_USAGE, "usage"},
    {EXIT_CONNECT, "could not connect"},
    {EXIT_REFUSED, "refused"},
    {EXIT_TIMEOUT, "timeout"},
    {EXIT_INTERRUPTED, "interrupted"},
};

const size_t exit_meaning_count = sizeof exit_meanings / sizeof *exit_meanings;

#define DATA_HELP                                                              \
    "DATA that is JSON is sent as that, anything else as a string: hello and " \
    "\"hello\" are the same. @FILE sends what is in a file, @- all of "        \
    "standard input, and - each line of it as a message of its own. "          \
    "Without DATA there is none."

const struct command commands[COMMAND_COUNT] = {
    [COMMAND_SUB] =
        {
            .id = COMMAND_SUB,
            .name = "sub",
            .usage = "sub ROOM...",
            .summary = "print what is published to rooms",
            .description =
                "Joins the rooms and prints what arrives through them, a "
                "line for each event: room, event, data. With --all also "
                "what is for this client alone: its room is a dash. It "
                "connects again after a loss, joins again, and tells on "
                "standard error how long it has missed what was published, and "
                "what the server has left out because it was read too slowly; "
                "with --json that is an event peal:gap in its place.",
            .details =
                "FORMAT:\n"
                "  %r room   %e event   %d data, as with --raw   %j data as "
                "JSON\n"
                "  %x bytes of the data in hex   %l how many they are\n"
                "  %n number of the event, from 1 on   %i id of this client\n"
                "  %t time   %T seconds since 1970   %% a percent sign\n"
                "  \\n \\t \\0 \\\\ as in C\n",
            .arguments_min = 1,
            .arguments_max = -1,
            .run = sub_run,
            .examples =
                {
                    {"peal sub lobby -n 1", "wait for one message"},
                    {"peal sub lobby kitchen --json -n 2",
                     "two rooms, as JSON lines"},
                    {"peal sub lobby --raw -n 1", "the text alone"},
                    {"peal sub lobby -F '%t %e: %d' -n 1",
                     "time, event and data"},
                },
        },
    [COMMAND_PUB] =
        {
            .id = COMMAND_PUB,
            .name = "pub",
            .usage = "pub ROOM [DATA|-|@FILE]",
            .summary = "publish to a room",
            .description = DATA_HELP
            " It succeeds when the server has said ok to every message; "
            "those of which that is not known are told. As servers let "
            "only members publish, it joins the room first.",
            .arguments_min = 1,
            .arguments_max = 2,
            .run = pub_run,
            .examples =
                {
                    {"peal pub lobby hello", "a string"},
                    {"peal pub lobby '{\"text\":\"hi\"}' -e said",
                     "an object, as the event said"},
                    {"seq 3 | peal pub lobby -", "a message for each line"},
                    {"peal pub lobby tick -n 3 -r 50",
                     "three times, at most 50 a second"},
                },
        },
    [COMMAND_EMIT] =
        {
            .id = COMMAND_EMIT,
            .name = "emit",
            .usage = "emit EVENT [DATA|-|@FILE]",
            .summary = "send an event to the server itself",
            .description = DATA_HELP
            " It succeeds when the server has said ok to every event.",
            .arguments_min = 1,
            .arguments_max = 2,
            .run = emit_run,
            .examples =
                {
                    {"peal emit note '{\"text\":\"hi\"}'", "an event"},
                    {"peal emit note \"@$FILE\" --bytes", "a file, as bytes"},
                },
        },
    [COMMAND_REQUEST] =
        {
            .id = COMMAND_REQUEST,
            .name = "request",
            .usage = "request EVENT [DATA|@FILE]",
            .summary = "ask the server and print its answer",
            .description =
                "DATA is as for peal pub; - is the same as @-. Prints the data "
                "of the answer as JSON on a line, or bytes in base64, or "
                "nothing when it has none; --raw prints the text of a string "
                "and bytes as they are. A failure is told with its code and "
                "name.",
            .arguments_min = 1,
            .arguments_max = 2,
            .run = request_run,
            .examples =
                {
                    {"peal request call '{\"room\":\"workers\","
                     "\"event\":\"upper\",\"data\":\"x\"}'",
                     "ask a worker"},
                    {"peal request call @\"$CALL\" --raw --timeout 2s",
                     "with data of a file"},
                },
        },
    [COMMAND_REPLY] =
        {
            .id = COMMAND_REPLY,
            .name = "reply",
            .usage = "reply EVENT -- COMMAND [ARGUMENT...]",
            .summary = "answer the server's requests by a command",
            .description =
                "Runs COMMAND, without a shell, for each request of the "
                "server: the data is on its standard input, what it writes to "
                "standard output is the answer (JSON if it is that, else a "
                "string), and PEAL_EVENT is the name. An exit status other "
                "than 0 is a failure with code 1000 + status and what it wrote "
                "to standard error. It is the server's program that asks its "
                "clients: clients ask each other only where it passes that on, "
                "as examples/relay.c does.",
            .arguments_min = 2,
            .arguments_max = -1,
            .run = reply_run,
            .examples =
                {
                    {"peal reply upper --join workers -n 1 -- tr a-z A-Z",
                     "in capitals, once"},
                    {"peal reply upper --join workers -n 1 --jobs 1 --raw "
                     "--limit 1s -- wc -c",
                     "count bytes"},
                },
        },
    [COMMAND_PING] =
        {
            .id = COMMAND_PING,
            .name = "ping",
            .usage = "ping",
            .summary = "measure the time to the server and back",
            .description =
                "Asks the server for a sign of life, one after the other, and "
                "prints the times and their percentiles. What is measured is "
                "the whole way of a request through the server, without an "
                "application. It ends with 5 when an answer did not come in "
                "time.",
            .arguments_min = 0,
            .arguments_max = 0,
            .run = ping_run,
            .examples =
                {
                    {"peal ping", "ten times"},
                    {"peal ping -n 100 -i 1ms --json", "for a program"},
                },
        },
    [COMMAND_DOCTOR] =
        {
            .id = COMMAND_DOCTOR,
            .name = "doctor",
            .usage = "doctor [URL]",
            .summary = "find out what is wrong on the way to a server",
            .description =
                "Goes the way to the server step by step: its name, each of "
                "its addresses, TLS and the certificate, the upgrade, the "
                "welcome with its limits, a ping; whether it compresses, lets "
                "in pages of other sites and clients without the token; and "
                "what this machine allows. Each line says what was found, and "
                "what to change. The exit code is that of the first failure; "
                "warnings are none.",
            .arguments_min = 0,
            .arguments_max = 1,
            .run = doctor_run,
            .examples =
                {
                    {"peal doctor", "of $PEAL_URL"},
                    {"peal doctor \"$PEAL_URL\" --json", "for a program"},
                },
        },
    [COMMAND_TOP] =
        {
            .id = COMMAND_TOP,
            .name = "top",
            .usage = "top [URL]",
            .summary = "show what a running server does",
            .description =
                "Reads the metrics of a server every second and shows a table "
                "of them: clients, messages, bytes, what waits, how long "
                "requests take, and what was closed, dropped or refused, for "
                "which reason. URL is where its metrics are, as "
                "http://HOST:PORT/metrics; without it, /metrics on the server "
                "of --url. Servers offer them where metrics_path or "
                "internal_listen says so.",
            .arguments_min = 0,
            .arguments_max = 1,
            .run = top_run,
            .examples =
                {
                    {"peal top -n 1", "one table"},
                    {"peal top -n 2 -i 200ms --json", "for a program"},
                },
        },
    [COMMAND_COMPLETION] =
        {
            .id = COMMAND_COMPLETION,
            .name = "completion",
            .usage = "completion bash|zsh|fish",
            .summary = "print what completes commands in a shell",
            .description =
                "Packages install it. By hand, into the shell's start file: "
                "\"source <(peal completion bash)\", the same for zsh, and "
                "\"peal completion fish | source\".",
            .arguments_min = 1,
            .arguments_max = 1,
            .run = completion_run,
            .examples =
                {
                    {"peal completion bash > peal.bash", "into a file"},
                },
        },
    [COMMAND_BENCH] =
        {
            .id = COMMAND_BENCH,
            .name = "bench",
            .usage = "bench [URL...]",
            .summary = "measure what a server carries, and how fast",
            .description =
                "Connects, joins rooms and publishes at a steady pace, one "
                "member in each room; every message is stamped with the time "
                "at which it was due, and all others measure how long it took "
                "to them. Several URLs, of both transports, get an equal share "
                "of the connections. The server has to let its clients join "
                "and publish. It ends with 1 when a message was lost or out of "
                "order, a connection broke, or a limit was missed.",
            .arguments_min = 0,
            .arguments_max = -1,
            .run = bench_run,
            .examples =
                {
                    {"peal bench -d 1s", "100 connections in 10 rooms"},
                    {"peal bench -c 500 --rooms 50 -r 5 -d 1s --slo p99=1s",
                     "a limit decides"},
                    {"peal bench \"$PEAL_URL\" \"$TCP_URL\" -d 1s --json",
                     "both transports, for a program"},
                },
        },
    [COMMAND_HELP] =
        {
            .id = COMMAND_HELP,
            .name = "help",
            .usage = "help [COMMAND]",
            .summary = "explain a command",
            .description = "With --json it prints all commands and options.",
            .arguments_min = 0,
            .arguments_max = 1,
            .run = help_run,
            .examples =
                {
                    {"peal help sub", "the same as peal sub --help"},
                },
        },
};
