#include "crowd.h"

#include "annex.h"
#include "chance.h"
#include "support/line.h"
#include "support/tcp.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASKED_MAX 6
#define STREAMS (HOUSE_DROPS + ANNEX_ROOMS)
#define UNKNOWN UINT64_MAX

/* From here on a silence is the server's fault. */
#define PATIENCE_MS check_patience_ms()

enum character { MEMBER, SLOW, BOMBER, VANDAL, BROWSER, CHARACTERS };

enum state {
    AWAY,
    KNOCKING, /* an upgrade is asked for, or a welcome is awaited */
    IN,
    LEAVING, /* it has said goodbye */
    RUDE     /* whatever comes, until the end */
};

enum asked_kind { ASKED_ANY, ASKED_JOIN, ASKED_LEAVE, ASKED_RELAY };

struct asked {
    enum asked_kind kind;
    int id; /* 0: free */
    int room;
    uint64_t at_ms;
};

enum membership { OUT, JOINING, INSIDE, GOING };

struct place {
    struct line line;
    enum state state;
    enum character character;
    int host;
    uint64_t until_ms; /* it leaves then */
    uint64_t act_ms;   /* and does something next */
    uint64_t since_ms; /* of the state */
    bool wants_compression;
    bool says_too_much; /* has sent what a limit may be against */
    bool is_in_annex;
    struct asked asked[ASKED_MAX];
    int next_id;
    /* What it has to hear next in each stream; and of which member's life. */
    uint64_t due[STREAMS];
    uint64_t lives[STREAMS];
    enum membership rooms[HOUSE_ROOMS];
    /* What it says to a room. */
    uint64_t life;
    uint64_t said;
    int room; /* where it does */
    int pages_due;
};

struct crowd {
    const struct house *house;
    SSL_CTX *context;
    struct chance chance;
    struct crowd_tally tally;
    uint64_t now_ms;
    uint64_t lives;
    struct place places[HOUSE_PLACES];
};

static bool may(struct crowd *crowd, unsigned cases)
{
    return chance_one_in(&crowd->chance, cases);
}

static unsigned some(struct crowd *crowd, unsigned below)
{
    return chance_below(&crowd->chance, below);
}

static int place_number(const struct crowd *crowd, const struct place *place)
{
    return (int)(place - crowd->places);
}

_Noreturn static void betrayed(const struct crowd *crowd,
                               const struct place *place, const char *what,
                               const char *data, size_t size)
{
    fprintf(stderr, "soak: place %d (%s%s, character %d, state %d): %s: %.*s\n",
            place_number(crowd, place), place->line.is_tcp ? "tcp" : "ws",
            place->line.ssl != NULL ? ", tls" : "", place->character,
            place->state, what, (int)(size < 400 ? size : 400), data);
    check_failed(__FILE__, __LINE__, what);
}

static void enter(struct crowd *crowd, struct place *place, enum state state)
{
    place->state = state;
    place->since_ms = crowd->now_ms;
}

static void go_away(struct crowd *crowd, struct place *place, bool by_reset)
{
    line_close(&place->line, by_reset);
    crowd->tally.kills += by_reset;
    enter(crowd, place, AWAY);
    place->act_ms = crowd->now_ms + some(crowd, 300);
}

/* --- Speaking ------------------------------------------------------------ */

/* An envelope, over either transport. */
static void say(struct place *place, const char *json, size_t size)
{
    if (place->line.is_tcp) {
        char *frame = malloc(TCP_HEAD_SIZE + size);

        CHECK(frame != NULL);
        line_write(&place->line, frame,
                   tcp_make(frame, TCP_ENVELOPE_FRAME, NULL, json, size));
        free(frame);
    } else {
        line_say(&place->line, 1, json, size);
    }
}

__attribute__((format(printf, 2, 3))) static void
say_text(struct place *place, const char *format, ...)
{
    char json[16384];
    va_list values;
    int size;

    va_start(values, format);
    size = vsnprintf(json, sizeof json, format, values);
    va_end(values);
    CHECK(size > 0 && (size_t)size < sizeof json);
    say(place, json, (size_t)size);
}

/* Notes that an answer is due; NULL when enough of them are. */
static struct asked *ask(struct crowd *crowd, struct place *place,
                         enum asked_kind kind, int room)
{
    for (int i = 0; i < ASKED_MAX; i++) {
        struct asked *asked = &place->asked[i];

        if (asked->id == 0) {
            *asked =
                (struct asked){kind, ++place->next_id, room, crowd->now_ms};
            return asked;
        }
    }
    return NULL;
}

static bool awaits(const struct place *place, enum asked_kind kind)
{
    for (int i = 0; i < ASKED_MAX; i++) {
        if (place->asked[i].id != 0 && place->asked[i].kind == kind) {
            return true;
        }
    }
    return false;
}

static bool awaits_nothing(const struct place *place)
{
    for (int i = 0; i < ASKED_MAX; i++) {
        if (place->asked[i].id != 0) {
            return false;
        }
    }
    return true;
}

/* Its own numbered words to its room: one at a time, so that none is said
 * twice. */
static void relay(struct crowd *crowd, struct place *place)
{
    struct asked *asked;
    char data[128];

    if (awaits(place, ASKED_RELAY) ||
        (asked = ask(crowd, place, ASKED_RELAY, place->room)) == NULL) {
        return;
    }
    snprintf(data, sizeof data, "{\"s\":%d,\"n\":%llu,\"g\":%llu,\"r\":%d}",
             HOUSE_ROOMS + 1 + place_number(crowd, place),
             (unsigned long long)place->said, (unsigned long long)place->life,
             place->room);
    if (place->rooms[place->room] == INSIDE && may(crowd, 2)) {
        say_text(place,
                 "{\"event\":\"said\",\"room\":\"room%d\",\"id\":%d,"
                 "\"data\":%s}",
                 place->room, asked->id, data);
    } else {
        say_text(place, "{\"event\":\"relay\",\"id\":%d,\"data\":%s}",
                 asked->id, data);
    }
}

static void join_or_leave(struct crowd *crowd, struct place *place)
{
    int room = (int)some(crowd, HOUSE_ROOMS);
    bool joins = place->rooms[room] == OUT;
    struct asked *asked;

    if (place->rooms[room] != OUT && place->rooms[room] != INSIDE) {
        return;
    }
    asked = ask(crowd, place, joins ? ASKED_JOIN : ASKED_LEAVE, room);
    if (asked == NULL) {
        return;
    }
    place->rooms[room] = joins ? JOINING : GOING;
    if (place->line.is_tcp && may(crowd, 2)) {
        char payload[64];
        char frame[128];
        int size = snprintf(payload, sizeof payload,
                            "{\"room\":\"room%d\",\"id\":%d}", room, asked->id);

        line_write(&place->line, frame,
                   tcp_make(frame, joins ? TCP_JOIN_FRAME : TCP_LEAVE_FRAME,
                            NULL, payload, (size_t)size));
        return;
    }
    say_text(place,
             "{\"event\":\"peal:%s\",\"id\":%d,\"data\":{\"room\":"
             "\"room%d\"}}",
             joins ? "join" : "leave", asked->id, room);
}

static void request(struct crowd *crowd, struct place *place, const char *event,
                    int pad)
{
    struct asked *asked = ask(crowd, place, ASKED_ANY, 0);

    if (asked != NULL) {
        say_text(place, "{\"event\":\"%s\",\"id\":%d,\"data\":\"%0*d\"}", event,
                 asked->id, pad, 7);
    }
}

static void send_bytes(struct place *place)
{
    static const char header[] = "{\"event\":\"bytes\"}";
    char message[256] = {0, 0, 0, sizeof header - 1};
    char frame[512];

    memcpy(message + 4, header, sizeof header - 1);
    if (place->line.is_tcp) {
        line_write(&place->line, frame,
                   tcp_make(frame, TCP_BINARY_ENVELOPE_FRAME, NULL, message,
                            sizeof message));
    } else {
        line_say(&place->line, 2, message, sizeof message);
    }
}

/* What a member does; each of these leaves it a good client. */
static void act(struct crowd *crowd, struct place *place)
{
    switch (some(crowd, 11)) {
    case 0:
    case 1:
        join_or_leave(crowd, place);
        break;
    case 2:
    case 3:
    case 4:
        relay(crowd, place);
        break;
    case 5:
        request(crowd, place, "echo", 1 + (int)some(crowd, 6000));
        break;
    case 6:
        request(crowd, place, "later", 1);
        break;
    case 7:
        request(crowd, place, "nobody-knows-this", 1);
        break;
    case 8:
        say_text(place, "{\"event\":\"noise\",\"data\":[1,2,3]}");
        break;
    case 9:
        send_bytes(place);
        break;
    default:
        request(crowd, place, "peal:ping", 1);
    }
}

/* --- Coming -------------------------------------------------------------- */

/* Which door, and who stands at it; behind a proxy that says so first. */
static void knock(struct crowd *crowd, struct place *place, bool is_tcp,
                  bool is_secure)
{
    static const char binary[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                                 "\x0a\0\0\x01\x7f\0\0\x01\x30\x39\0\x50";
    bool is_proxied = !is_secure && may(crowd, 4);
    enum house_door door = is_proxied ? HOUSE_PROXIED_WS
                           : is_secure ? HOUSE_WSS
                                       : HOUSE_WS;

    if (is_tcp) {
        door = is_proxied  ? HOUSE_PROXIED_TCP
               : is_secure ? HOUSE_TLS
                           : HOUSE_TCP;
    }
    place->is_in_annex = !is_proxied && !is_secure &&
                         may(crowd, place->character == SLOW ? 2 : 3);
    if (place->is_in_annex && is_tcp) {
        door = HOUSE_ANNEX_TCP;
    }
    place->host = 1 + (int)some(crowd, 16);
    line_open(&place->line, place->host, crowd->house->ports[door], is_tcp,
              is_secure ? crowd->context : NULL,
              place->character == SLOW ? 4096 : 0);
    if (is_proxied && may(crowd, 2)) {
        line_write(&place->line, binary, sizeof binary - 1);
    } else if (is_proxied) {
        char header[64];

        line_write(&place->line, header,
                   (size_t)snprintf(header, sizeof header,
                                    "PROXY TCP4 10.0.0.%d 127.0.0.1 1234 80"
                                    "\r\n",
                                    place->host));
    }
    crowd->tally.proxied += is_proxied;
    crowd->tally.in_annex += place->is_in_annex;
}

static void ask_for_upgrade(struct crowd *crowd, struct place *place)
{
    static const char *const targets[] = {"/",
                                          "/?door=later",
                                          "/rooms/a%20b/chat",
                                          "/plain",
                                          "/?door=notlater",
                                          "/?door=no",
                                          "/?door=code",
                                          "/nothing/is/here",
                                          "/rooms/x/chat?door=later",
                                          "/",
                                          "/",
                                          "/"};
    static const char *const offers[] = {
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; "
        "server_max_window_bits=10"};
    char head[512];
    int size =
        snprintf(head, sizeof head,
                 "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
                 place->is_in_annex
                     ? ANNEX_PATH
                     : targets[some(crowd, sizeof targets / sizeof *targets)],
                 place->wants_compression ? "Sec-WebSocket-Extensions: " : "",
                 place->wants_compression ? offers[some(crowd, 3)] : "",
                 place->wants_compression ? "\r\n" : "");

    line_write(&place->line, head, (size_t)size);
}

static void come(struct crowd *crowd, struct place *place)
{
    bool is_tcp = may(crowd, 3);
    bool is_secure = may(crowd, 4);
    unsigned luck = some(crowd, 20);

    place->character = luck < 11   ? MEMBER
                       : luck < 13 ? SLOW
                       : luck < 14 ? BOMBER
                       : luck < 17 ? VANDAL
                                   : BROWSER;
    if (place->character == BROWSER) {
        is_tcp = false;
    }
    knock(crowd, place, is_tcp, is_secure);
    crowd->tally.opened++;
    memset(place->asked, 0, sizeof place->asked);
    memset(place->due, 0xff, sizeof place->due);
    memset(place->rooms, 0, sizeof place->rooms);
    place->due[HOUSE_ROOMS] = 0;
    place->next_id = 0;
    place->says_too_much = false;
    place->said = 0;
    place->life = ++crowd->lives;
    place->room = (int)some(crowd, HOUSE_ROOMS);
    place->until_ms = crowd->now_ms + 50 + some(crowd, 6000);
    place->act_ms = crowd->now_ms;
    place->wants_compression = place->character == BOMBER ||
                               (place->character != SLOW && may(crowd, 2));
    enter(crowd, place, KNOCKING);
    if (place->character == VANDAL || place->character == BROWSER) {
        enter(crowd, place, RUDE);
        place->pages_due = 0;
    } else if (!is_tcp) {
        ask_for_upgrade(crowd, place);
    }
}

static void welcome(struct crowd *crowd, struct place *place)
{
    enter(crowd, place, IN);
    crowd->tally.members++;
    crowd->tally.secured += place->line.ssl != NULL;
    crowd->tally.compressed += place->line.is_deflated;
}

/* Not let in: by a status, a close or a hang-up. */
static void not_welcome(struct crowd *crowd, struct place *place)
{
    crowd->tally.refused++;
    go_away(crowd, place, false);
}

/* The answer to an upgrade, when its head is there. */
static void read_head(struct crowd *crowd, struct place *place)
{
    struct line_bytes *in = &place->line.in;
    size_t size = in->end - in->start;
    char head[2048];
    const char *end;

    if (size >= sizeof head) {
        size = sizeof head - 1;
    }
    if (size == 0) {
        return;
    }
    memcpy(head, in->data + in->start, size);
    head[size] = '\0';
    end = strstr(head, "\r\n\r\n");
    if (end == NULL) {
        return;
    }
    if (strncmp(head, "HTTP/1.1 101 ", 13) == 0) {
        in->start += (size_t)(end - head) + 4;
        head[end - head] = '\0';
        line_agree(&place->line, head);
        place->pages_due = -1; /* the head is read */
        return;
    }
    for (int i = 0; i < 5; i++) {
        static const char *const refusals[] = {" 401 ", " 403 ", " 404 ",
                                               " 429 ", " 503 "};

        if (strncmp(head + 8, refusals[i], 5) == 0) {
            not_welcome(crowd, place);
            return;
        }
    }
    betrayed(crowd, place, "what an answer to an upgrade", head, size);
}

/* --- Hearing ------------------------------------------------------------- */

static long long number_after(const struct line_message *message,
                              const char *key)
{
    const char *at = memmem(message->data, message->size, key, strlen(key));
    char digits[24] = "";
    size_t left;

    if (at == NULL) {
        return -1;
    }
    at += strlen(key);
    left = (size_t)(message->data + message->size - at);
    memcpy(digits, at, left < sizeof digits - 1 ? left : sizeof digits - 1);
    return atoll(digits);
}

static bool has(const struct line_message *message, const char *text)
{
    return memmem(message->data, message->size, text, strlen(text)) != NULL;
}

/* A numbered message: it has to be the next one of its stream. */
static void hear_numbered(struct crowd *crowd, struct place *place,
                          const struct line_message *message)
{
    long long stream = number_after(message, "\"s\":");
    uint64_t number = (uint64_t)number_after(message, "\"n\":");
    long long life = number_after(message, "\"g\":");
    long long room = stream < HOUSE_ROOMS || stream >= HOUSE_DROPS
                         ? stream
                         : number_after(message, "\"r\":");

    if (stream < 0 || stream >= STREAMS) {
        betrayed(crowd, place, "a stream that there is not", message->data,
                 message->size);
    }
    if (stream != HOUSE_ROOMS && stream < HOUSE_DROPS &&
        place->rooms[room] == OUT) {
        betrayed(crowd, place, "a message of a room that it is not in",
                 message->data, message->size);
    }
    if (life >= 0 && place->lives[stream] != (uint64_t)life) {
        place->lives[stream] = (uint64_t)life;
        place->due[stream] = UNKNOWN;
    }
    if (place->due[stream] != UNKNOWN && place->due[stream] != number) {
        betrayed(crowd, place, "a gap, or the wrong order", message->data,
                 message->size);
    }
    place->due[stream] = number + 1;
    crowd->tally.messages++;
}

/* Messages that it does not get, told in their place; before the first one that
 * it gets they are of no interest. */
static void hear_gap(struct crowd *crowd, struct place *place,
                     const struct line_message *message)
{
    long long room = number_after(message, "\"room\":\"drop");
    long long count = number_after(message, "\"count\":");

    if (!place->is_in_annex || room < 0 || room >= ANNEX_ROOMS || count <= 0) {
        betrayed(crowd, place, "a gap where there may be none", message->data,
                 message->size);
    }
    if (place->due[HOUSE_DROPS + room] != UNKNOWN) {
        place->due[HOUSE_DROPS + room] += (uint64_t)count;
    }
    crowd->tally.gaps++;
    crowd->tally.missed += (uint64_t)count;
}

/* It does not hear of this room any more: what it missed is no gap. */
static void forget_room(struct crowd *crowd, struct place *place, int room)
{
    place->due[room] = UNKNOWN;
    for (int i = 0; i < HOUSE_PLACES; i++) {
        if (crowd->places[i].room == room) {
            place->due[HOUSE_ROOMS + 1 + i] = UNKNOWN;
        }
    }
}

static void hear_answer(struct crowd *crowd, struct place *place,
                        const struct line_message *message, bool is_good)
{
    long long id = number_after(message, "\"id\":");
    struct asked *asked = NULL;

    for (int i = 0; i < ASKED_MAX && id > 0; i++) {
        if (place->asked[i].id == id) {
            asked = &place->asked[i];
        }
    }
    if (asked == NULL) {
        if (id < 0 && !is_good) {
            return; /* a complaint about an event that wanted no answer */
        }
        betrayed(crowd, place, "an answer that nobody waits for", message->data,
                 message->size);
    }
    switch (asked->kind) {
    case ASKED_JOIN:
        place->rooms[asked->room] = is_good ? INSIDE : OUT;
        break;
    case ASKED_LEAVE:
        place->rooms[asked->room] = is_good ? OUT : INSIDE;
        if (is_good) {
            forget_room(crowd, place, asked->room);
        }
        break;
    case ASKED_RELAY:
        place->said += is_good;
        break;
    case ASKED_ANY:
        break;
    }
    asked->id = 0;
    crowd->tally.answers++;
}

static void hear_question(struct crowd *crowd, struct place *place,
                          const struct line_message *message)
{
    long long id = number_after(message, "\"id\":");

    if (may(crowd, 4)) {
        return; /* it is not known to be polite */
    }
    say_text(place,
             may(crowd, 4) ? "{\"event\":\"peal:fail\",\"id\":%lld,\"data\":"
                             "{\"code\":1000}}"
                           : "{\"event\":\"peal:answer\",\"id\":%lld}",
             id);
}

static void hear_close(struct crowd *crowd, struct place *place,
                       const struct line_message *message)
{
    long long code = place->line.is_tcp ? number_after(message, "\"code\":")
                     : message->size >= 2
                         ? (unsigned char)message->data[0] << 8 |
                               (unsigned char)message->data[1]
                         : 1005;

    if (place->state == KNOCKING) {
        not_welcome(crowd, place);
        return;
    }
    if (place->state != LEAVING) {
        bool is_known = code == 1008 || code == 1013 || code == 4000 ||
                        (code == 1009 && place->says_too_much);

        if (!is_known) {
            betrayed(crowd, place, "an unexpected close", message->data,
                     message->size);
        }
        crowd->tally.closes++;
        crowd->tally.slow += code == 1013;
        crowd->tally.too_large += code == 1009;
        crowd->tally.kicked += code == 4000;
        crowd->tally.rates += code == 1008;
        if (!place->line.is_tcp) {
            line_say(&place->line, 8, message->data,
                     message->size >= 2 ? 2 : 0);
            line_move(&place->line);
        }
    } else if (code == 1013) {
        crowd->tally.slow++; /* it heard only now that it was too slow */
    } else {
        crowd->tally.farewells++;
    }
    go_away(crowd, place, false);
}

static void hear(struct crowd *crowd, struct place *place,
                 const struct line_message *message)
{
    if (place->state == LEAVING) {
        place->since_ms = crowd->now_ms; /* the answer comes behind all that */
    }
    switch (message->kind) {
    case LINE_PING:
        if (place->line.is_tcp) {
            char pong[256];

            CHECK(message->size < 128);
            line_write(&place->line, pong,
                       tcp_make(pong, TCP_PONG_FRAME, NULL, message->data,
                                message->size));
        } else {
            line_say(&place->line, 10, message->data, message->size);
        }
        return;
    case LINE_PONG:
        return;
    case LINE_CLOSE:
        hear_close(crowd, place, message);
        return;
    case LINE_BYTES:
    case LINE_TEXT:
        break;
    }
    if (place->state == KNOCKING) {
        if (message->type != TCP_CONNECT_FRAME &&
            !has(message, "\"peal:welcome\"")) {
            betrayed(crowd, place, "no welcome", message->data, message->size);
        }
        welcome(crowd, place);
    } else if (has(message, "{\"event\":\"peal:gap\"")) {
        hear_gap(crowd, place, message);
    } else if (message->type == TCP_ANSWER_FRAME ||
               has(message, "{\"event\":\"peal:ok\"")) {
        hear_answer(crowd, place, message, true);
    } else if (message->type == TCP_ERROR_FRAME ||
               has(message, "{\"event\":\"peal:error\"")) {
        hear_answer(crowd, place, message, false);
    } else if (message->type == TCP_REQUEST_FRAME ||
               has(message, "{\"event\":\"question\"")) {
        hear_question(crowd, place, message);
    } else if (message->kind == LINE_TEXT && has(message, "\"s\":")) {
        hear_numbered(crowd, place, message);
    }
}

/* --- Slow ---------------------------------------------------------------- */

static void be_slow(struct crowd *crowd, struct place *place)
{
    if (place->line.is_deaf) {
        place->line.is_deaf = false;
        place->act_ms = UINT64_MAX;
        return;
    }
    if (!place->is_in_annex) {
        request(crowd, place, "flood", 1);
        line_move(&place->line);
    }
    place->line.is_deaf = true;
    place->act_ms = crowd->now_ms + (place->is_in_annex ? 800 : 200) +
                    some(crowd, 1500);
    place->until_ms = place->act_ms + 3000;
}

/* --- Bombs --------------------------------------------------------------- */

/* Sixteen megabytes of nothing in sixteen kilobytes. */
static void drop_bomb(struct place *place)
{
    size_t size = (size_t)16 << 20;
    char *nothing = calloc(1, size);

    CHECK(nothing != NULL);
    memset(nothing, ' ', size);
    place->says_too_much = true;
    if (place->line.is_tcp) {
        line_write(&place->line, "\x01\x00\x00\x00\x10\x00\x00", 7);
    } else if (place->line.is_deflated) {
        line_say(&place->line, 1, nothing, size);
    } else {
        /* The head alone: nothing of it is to be waited for. */
        line_write(&place->line, "\x81\xff\0\0\0\0\x01\0\0\0\1\2\3\4", 14);
    }
    free(nothing);
}

/* --- Vandals ------------------------------------------------------------- */

static void be_rude(struct crowd *crowd, struct place *place)
{
    static const char upgrade[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    static const struct {
        const char *data;
        size_t size;
    } insults[] = {
#define INSULT(text) {text, sizeof(text) - 1}
        INSULT("\x81\x05hello"),                    /* not masked */
        INSULT("\x83\x80\1\2\3\4"),                 /* no such opcode */
        INSULT("\xf1\x80\1\2\3\4"),                 /* reserved bits */
        INSULT("\x81\x82\0\0\0\0\xc3\x28"),         /* no UTF-8 */
        INSULT("\x88\x81\0\0\0\0\1"),               /* half a close code */
        INSULT("\x09\x80\0\0\0\0"),                 /* a ping in pieces */
        INSULT("\x01\x83\0\0\0\0{\"e"),             /* and never goes on */
        INSULT("\xc1\x84\0\0\0\0\xff\xff\xff\xff"), /* no deflate data */
        INSULT("\x81\x9f\0\0\0\0{\"event\":\"ec"),  /* half a frame */
        INSULT("\x81\x82\0\0\0\0{}"),               /* no event */
    };
    static const struct {
        const char *data;
        size_t size;
    } frames[] = {
        INSULT("\0\0\0\3\0\0\0"),           /* too short for its header */
        INSULT("\xff\xff\xff\xff\0\0\0"),   /* too long for anything */
        INSULT("\0\0\0\x08\0\xff\xff\0"),   /* an event beyond its frame */
        INSULT("\0\0\0\x40\0\0\1x{\"half"), /* half a frame */
        INSULT("\0\0\0\x09\x10\0\0{}"),     /* no event */
        INSULT("\0\0\0\x08\x63\0\0x"),      /* no such type */
    };
#undef INSULT
    unsigned kind = some(crowd, 8);

    place->act_ms = UINT64_MAX;
    place->until_ms = crowd->now_ms + some(crowd, 3000);
    if (kind == 0) {
        line_write(&place->line, upgrade, some(crowd, sizeof upgrade - 1));
    } else if (kind == 1) {
        char noise[200];

        for (size_t i = 0; i < sizeof noise; i++) {
            noise[i] = (char)some(crowd, 256);
        }
        line_write(&place->line, noise, sizeof noise);
    } else if (place->line.is_tcp) {
        unsigned which = some(crowd, sizeof frames / sizeof *frames);

        line_write(&place->line, frames[which].data, frames[which].size);
    } else {
        unsigned which = some(crowd, sizeof insults / sizeof *insults);

        line_write(&place->line, upgrade, sizeof upgrade - 1);
        line_write(&place->line, insults[which].data, insults[which].size);
    }
}

/* --- Browsers ------------------------------------------------------------ */

static const struct {
    const char *request;
    const char *body; /* of a good answer; NULL: whatever there is */
} pages[] = {
    {"GET /page HTTP/1.1\r\nHost: x\r\n\r\n", "page"},
    {"GET /hello/ada HTTP/1.1\r\nHost: x\r\n\r\n", "ada"},
    {"GET /later HTTP/1.1\r\nHost: x\r\n\r\n", "later"},
    {"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhooks",
     "hooks"},
    {"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
     "abcde"},
    {"GET /nothing/at/all HTTP/1.1\r\nHost: x\r\n\r\n", NULL},
    {"DELETE /page HTTP/1.1\r\nHost: x\r\n\r\n", NULL},
    {"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", NULL},
};

static void browse(struct crowd *crowd, struct place *place)
{
    unsigned count = 1 + some(crowd, 4);

    /* One kind at a time, so that what comes back is known. */
    place->room = (int)some(crowd, sizeof pages / sizeof *pages);
    for (unsigned i = 0; i < count; i++) {
        line_write(&place->line, pages[place->room].request,
                   strlen(pages[place->room].request));
        place->pages_due++;
    }
    if (may(crowd, 6)) {
        static const char large[] = "POST /hook HTTP/1.1\r\nHost: x\r\n"
                                    "Content-Length: 99999999\r\n\r\n";

        line_write(&place->line, large, sizeof large - 1);
        place->act_ms = UINT64_MAX; /* the last one: it ends with a 413 */
        place->pages_due++;
        return;
    }
    place->act_ms = crowd->now_ms + some(crowd, 500);
}

/* Takes answers that are there as a whole. */
static void read_pages(struct crowd *crowd, struct place *place)
{
    struct line_bytes *in = &place->line.in;

    while (in->end > in->start) {
        struct line_message all = {.data = in->data + in->start,
                                   .size = in->end - in->start};
        const char *end = memmem(all.data, all.size, "\r\n\r\n", 4);
        const char *expected = pages[place->room].body;
        long long body;
        size_t head;

        if (end == NULL) {
            return;
        }
        head = (size_t)(end - all.data) + 4;
        body = number_after(&all, "Content-Length: ");
        if (body < 0 || place->pages_due == 0) {
            betrayed(crowd, place, "what a page", all.data, all.size);
        }
        if (all.size - head < (size_t)body) {
            return;
        }
        if (memcmp(all.data, "HTTP/1.1 200 ", 13) == 0 && expected != NULL &&
            (strlen(expected) != (size_t)body ||
             memcmp(all.data + head, expected, (size_t)body) != 0)) {
            betrayed(crowd, place, "another's page", all.data, all.size);
        }
        place->pages_due--;
        if (memmem(all.data, head, "Connection: close", 17) != NULL) {
            place->pages_due = 0; /* what was asked after it is not answered */
            place->act_ms = UINT64_MAX;
        }
        in->start += head + (size_t)body;
        crowd->tally.pages++;
        place->since_ms = crowd->now_ms;
    }
}

/* --- A place's turn ------------------------------------------------------ */

static void listen_to(struct crowd *crowd, struct place *place)
{
    struct line_message message;

    if (place->state == RUDE) {
        if (place->character == BROWSER) {
            read_pages(crowd, place);
        } else {
            place->line.in.start = place->line.in.end;
        }
        return;
    }
    if (place->state == KNOCKING && !place->line.is_tcp &&
        place->pages_due != -1) {
        read_head(crowd, place);
    }
    while (place->state != AWAY &&
           (place->line.is_tcp || place->pages_due == -1) &&
           line_hear(&place->line, &message)) {
        hear(crowd, place, &message);
    }
}

/* The stream has ended without a word. */
static void hear_end(struct crowd *crowd, struct place *place)
{
    switch (place->state) {
    case KNOCKING:
        not_welcome(crowd, place); /* by a hang-up */
        return;
    case RUDE:
        if (place->character == BROWSER && place->pages_due > 0 &&
            !place->line.is_reset) {
            betrayed(crowd, place, "a page that never came",
                     pages[place->room].request,
                     strlen(pages[place->room].request));
        }
        crowd->tally.vandals += place->character == VANDAL;
        go_away(crowd, place, false);
        return;
    case LEAVING:
        crowd->tally.farewells++;
        go_away(crowd, place, false);
        return;
    default:
        /*
         * A reset may overtake the close that went before it, when the server
         * had not read all of ours; and whoever reads nothing for longer than
         * the closing handshake may take is cut. Else nothing is lost.
         */
        if (!place->line.is_reset && place->character != SLOW) {
            betrayed(crowd, place, "an end without a word", "", 0);
        }
        crowd->tally.cut++;
        go_away(crowd, place, false);
    }
}

/* Well, or not. */
static void leave(struct crowd *crowd, struct place *place)
{
    if (place->state == RUDE) {
        if (place->character == BROWSER && place->pages_due > 0) {
            return;
        }
        crowd->tally.vandals += place->character == VANDAL;
        go_away(crowd, place, may(crowd, 2));
        return;
    }
    if (place->state == KNOCKING) {
        return; /* it wants to know first */
    }
    if (may(crowd, 4)) {
        if (may(crowd, 2)) {
            line_write(&place->line, "\x81\xfe\x01", 3); /* half a frame */
            line_move(&place->line);
        }
        go_away(crowd, place, true);
        return;
    }
    if (!awaits_nothing(place)) {
        return;
    }
    if (place->line.is_tcp) {
        char frame[64];

        line_write(
            &place->line, frame,
            tcp_make(frame, TCP_DISCONNECT_FRAME, NULL, "{\"code\":1000}", 13));
    } else {
        line_say(&place->line, 8, "\x03\xe8", 2);
    }
    enter(crowd, place, LEAVING);
}

/* No promise may be kept too late. */
static void check_patience(struct crowd *crowd, struct place *place)
{
    if (place->line.is_deaf) {
        place->since_ms = crowd->now_ms;
        for (int i = 0; i < ASKED_MAX; i++) {
            place->asked[i].at_ms = crowd->now_ms;
        }
        return;
    }
    for (int i = 0; i < ASKED_MAX; i++) {
        if (place->asked[i].id != 0 &&
            crowd->now_ms - place->asked[i].at_ms > PATIENCE_MS) {
            betrayed(crowd, place, "a request without an outcome", "", 0);
        }
    }
    if (place->state == IN ||
        (place->state == RUDE &&
         (place->character != BROWSER || place->pages_due == 0))) {
        return;
    }
    if (crowd->now_ms - place->since_ms > PATIENCE_MS) {
        betrayed(crowd, place, "no answer, and no end", "", 0);
    }
}

static void act_in_character(struct crowd *crowd, struct place *place)
{
    place->act_ms = crowd->now_ms + 5 + some(crowd, 150);
    if (place->state == RUDE) {
        if (place->character == BROWSER) {
            if (place->pages_due == 0) {
                browse(crowd, place);
            }
        } else {
            be_rude(crowd, place);
        }
    } else if (place->state == IN) {
        if (place->character == SLOW) {
            be_slow(crowd, place);
        } else if (place->character == BOMBER && may(crowd, 3)) {
            drop_bomb(place);
            place->act_ms = UINT64_MAX;
        } else {
            act(crowd, place);
        }
    }
}

static void turn(struct crowd *crowd, struct place *place, bool is_over)
{
    if (place->state == AWAY) {
        if (!is_over && place->act_ms <= crowd->now_ms) {
            place->pages_due = 0;
            come(crowd, place);
        }
        return;
    }
    line_move(&place->line);
    listen_to(crowd, place);
    if (place->state != AWAY && place->line.is_ended) {
        hear_end(crowd, place);
    }
    if (place->state == AWAY) {
        return;
    }
    check_patience(crowd, place);
    if (place->state == LEAVING) {
        return;
    }
    if (is_over || place->until_ms <= crowd->now_ms) {
        place->line.is_deaf = false;
        leave(crowd, place);
    } else if (place->act_ms <= crowd->now_ms) {
        act_in_character(crowd, place);
    }
    if (place->state != AWAY) {
        line_move(&place->line);
    }
}

static bool is_empty(const struct crowd *crowd)
{
    for (int i = 0; i < HOUSE_PLACES; i++) {
        if (crowd->places[i].state != AWAY) {
            return false;
        }
    }
    return true;
}

static void wait_for_lines(struct crowd *crowd)
{
    struct pollfd polled[HOUSE_PLACES];
    nfds_t count = 0;

    for (int i = 0; i < HOUSE_PLACES; i++) {
        if (crowd->places[i].state != AWAY) {
            polled[count++] = (struct pollfd){
                .fd = crowd->places[i].line.fd,
                .events = line_events(&crowd->places[i].line),
            };
        }
    }
    poll(polled, count, 5);
}

void crowd_visit(struct crowd *crowd, uint64_t ms,
                 void (*each_minute)(uint64_t minute, void *user), void *user)
{
    uint64_t begin_ms = check_now_ms();
    uint64_t minute = 0;
    bool is_over = false;

    do {
        wait_for_lines(crowd);
        crowd->now_ms = check_now_ms();
        is_over = crowd->now_ms - begin_ms >= ms;
        for (int i = 0; i < HOUSE_PLACES; i++) {
            turn(crowd, &crowd->places[i], is_over);
        }
        if (each_minute != NULL &&
            (crowd->now_ms - begin_ms) / 60000 > minute) {
            each_minute(++minute, user);
        }
    } while (!is_over || !is_empty(crowd));
}

struct crowd *crowd_new(const struct house *house, uint64_t seed,
                        SSL_CTX *context)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);

    CHECK(crowd != NULL);
    crowd->house = house;
    crowd->context = context;
    crowd->chance.state = seed;
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    free(crowd);
}

struct crowd_tally crowd_tally(const struct crowd *crowd)
{
    return crowd->tally;
}
