#include "proto/ws_deflate.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

/* One element of a Sec-WebSocket-Extensions list. */
struct extension {
    bool is_ours;  /* called permessage-deflate */
    bool is_known; /* every parameter is, comes once, and has a fit value */
    bool no_server_takeover;
    bool no_client_takeover;
    bool has_server_bits;
    bool has_client_bits;
    int server_bits; /* 0: none was given */
    int client_bits; /* the same; with has_client_bits: without a value */
};

struct cursor {
    const char *at;
    const char *end;
};

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end &&
           (*cursor->at == ' ' || *cursor->at == '\t')) {
        cursor->at++;
    }
}

/* Steps over `c` and the blanks around it, if it is there. */
static bool take(struct cursor *cursor, char c)
{
    skip_blanks(cursor);
    if (cursor->at == cursor->end || *cursor->at != c) {
        return false;
    }
    cursor->at++;
    skip_blanks(cursor);
    return true;
}

/* RFC 9110, 5.6.2. */
static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool take_token(struct cursor *cursor, struct peal_slice *token)
{
    const char *start = cursor->at;

    while (cursor->at < cursor->end && is_token_char(*cursor->at)) {
        cursor->at++;
    }
    *token = slice_make(start, (size_t)(cursor->at - start));
    return token->size > 0;
}

/*
 * A token, or one in quotes. What the quotes hold must be a token, too
 * (RFC 6455, 9.1), so there is nothing to escape.
 */
static bool take_value(struct cursor *cursor, struct peal_slice *value)
{
    bool is_quoted = cursor->at < cursor->end && *cursor->at == '"';

    if (!is_quoted) {
        return take_token(cursor, value);
    }
    cursor->at++;
    if (!take_token(cursor, value) || cursor->at == cursor->end ||
        *cursor->at != '"') {
        return false;
    }
    cursor->at++;
    return true;
}

/* 8 to 15 without leading zeros (RFC 7692, 7.1.2.1); 0 for anything else. */
static int bits_of(struct peal_slice value)
{
    if (value.size == 1 && (value.data[0] == '8' || value.data[0] == '9')) {
        return value.data[0] - '0';
    }
    if (value.size == 2 && value.data[0] == '1' && value.data[1] >= '0' &&
        value.data[1] <= '5') {
        return 10 + value.data[1] - '0';
    }
    return 0;
}

/* `value.data` is NULL when there was none. False: it must not be like this. */
static bool set_parameter(struct extension *extension, struct peal_slice name,
                          struct peal_slice value)
{
    bool *flag = NULL;

    if (slice_equal_nocase(name, SLICE("server_no_context_takeover"))) {
        flag = &extension->no_server_takeover;
    } else if (slice_equal_nocase(name, SLICE("client_no_context_takeover"))) {
        flag = &extension->no_client_takeover;
    }
    if (flag != NULL) {
        bool is_new = !*flag;

        *flag = true;
        return is_new && value.data == NULL;
    }
    if (slice_equal_nocase(name, SLICE("server_max_window_bits")) &&
        !extension->has_server_bits) {
        extension->has_server_bits = true;
        extension->server_bits = bits_of(value);
        return extension->server_bits != 0;
    }
    if (slice_equal_nocase(name, SLICE("client_max_window_bits")) &&
        !extension->has_client_bits) {
        extension->has_client_bits = true;
        extension->client_bits = bits_of(value);
        return extension->client_bits != 0 || value.data == NULL;
    }
    return false;
}

/* One element; false when it is malformed. */
static bool take_extension(struct cursor *cursor, struct extension *extension)
{
    struct peal_slice name;

    if (!take_token(cursor, &name)) {
        return false;
    }
    *extension = (struct extension){
        .is_ours = slice_equal_nocase(name, SLICE("permessage-deflate")),
        .is_known = true,
    };
    while (take(cursor, ';')) {
        struct peal_slice value = {NULL, 0};

        if (!take_token(cursor, &name) ||
            (take(cursor, '=') && !take_value(cursor, &value))) {
            return false;
        }
        if (!set_parameter(extension, name, value)) {
            extension->is_known = false;
        }
    }
    return true;
}

/*
 * Reads all elements of all lines. `each` is called for one after another until
 * it returns non-zero, which is returned; PEAL_EPROTOCOL when a line is
 * malformed, wherever that is.
 */
static int read_lines(const struct http_header *headers, size_t count,
                      int (*each)(const struct extension *extension,
                                  void *user),
                      void *user)
{
    int result = 0;

    for (size_t i = 0; i < count; i++) {
        struct cursor cursor = {
            .at = headers[i].value.data,
            .end = headers[i].value.data + headers[i].value.size,
        };

        if (!slice_equal_nocase(headers[i].name,
                                SLICE("sec-websocket-extensions"))) {
            continue;
        }
        do {
            struct extension extension;

            /* A list may have empty elements (RFC 9110, 5.6.1). */
            while (take(&cursor, ',')) {
            }
            if (cursor.at == cursor.end) {
                break;
            }
            if (!take_extension(&cursor, &extension)) {
                return PEAL_EPROTOCOL;
            }
            if (result == 0) {
                result = each(&extension, user);
            }
        } while (take(&cursor, ','));
        if (cursor.at != cursor.end) {
            return PEAL_EPROTOCOL;
        }
    }
    return result;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* --- The server's side --------------------------------------------------- */

struct agreement {
    const struct ws_deflate_wish *wish;
    struct ws_deflate_terms *terms;
    char *line;
};

static void write_answer(char *line, const struct ws_deflate_terms *terms,
                         const struct extension *offer)
{
    int size =
        snprintf(line, WS_DEFLATE_LINE_MAX,
                 "Sec-WebSocket-Extensions: permessage-deflate%s%s",
                 terms->server_takeover ? "" : "; server_no_context_takeover",
                 terms->client_takeover ? "" : "; client_no_context_takeover");

    if (offer->has_server_bits || terms->server_bits < WS_DEFLATE_BITS_MAX) {
        size += snprintf(line + size, WS_DEFLATE_LINE_MAX - (size_t)size,
                         "; server_max_window_bits=%d", terms->server_bits);
    }
    /* Never said to a client that has not mentioned it (7.1.2.2). */
    if (offer->has_client_bits && terms->client_bits < WS_DEFLATE_BITS_MAX) {
        size += snprintf(line + size, WS_DEFLATE_LINE_MAX - (size_t)size,
                         "; client_max_window_bits=%d", terms->client_bits);
    }
    size += snprintf(line + size, WS_DEFLATE_LINE_MAX - (size_t)size, "\r\n");
    ASSERT(size < WS_DEFLATE_LINE_MAX);
}

/* 1: this offer will do. */
static int consider(const struct extension *offer, void *user)
{
    const struct agreement *agreement = user;
    const struct ws_deflate_wish *wish = agreement->wish;
    struct ws_deflate_terms *terms = agreement->terms;
    int server_bits =
        offer->has_server_bits ? offer->server_bits : WS_DEFLATE_BITS_MAX;

    if (!offer->is_ours || !offer->is_known ||
        server_bits < WS_DEFLATE_BITS_MIN) {
        return 0;
    }
    *terms = (struct ws_deflate_terms){
        .server_bits = smaller(wish->bits, server_bits),
        .client_bits = WS_DEFLATE_BITS_MAX,
        .server_takeover = wish->takeover && !offer->no_server_takeover,
        .client_takeover = wish->takeover && !offer->no_client_takeover,
    };
    if (offer->has_client_bits) {
        terms->client_bits =
            smaller(wish->bits, offer->client_bits != 0 ? offer->client_bits
                                                        : WS_DEFLATE_BITS_MAX);
    } else if (wish->bits < WS_DEFLATE_BITS_MAX) {
        /* The client cannot be told to use less of a window, but it can be
         * told to use none that would have to be kept for it. */
        terms->client_takeover = false;
    }
    write_answer(agreement->line, terms, offer);
    return 1;
}

int ws_deflate_agree(struct ws_deflate_terms *terms,
                     char line[WS_DEFLATE_LINE_MAX],
                     const struct http_request *request,
                     const struct ws_deflate_wish *wish)
{
    struct agreement agreement = {wish, terms, line};

    ASSERT(wish->bits >= WS_DEFLATE_BITS_MIN &&
           wish->bits <= WS_DEFLATE_BITS_MAX);
    line[0] = '\0';
    return read_lines(request->headers, request->header_count, consider,
                      &agreement);
}

/* --- The client's side --------------------------------------------------- */

void ws_deflate_offer_write(char line[WS_DEFLATE_LINE_MAX],
                            const struct ws_deflate_wish *wish)
{
    int size = snprintf(line, WS_DEFLATE_LINE_MAX,
                        "Sec-WebSocket-Extensions: permessage-deflate%s",
                        wish->takeover ? ""
                                       : "; server_no_context_takeover"
                                         "; client_no_context_takeover");

    ASSERT(wish->bits >= WS_DEFLATE_BITS_MIN &&
           wish->bits <= WS_DEFLATE_BITS_MAX);
    if (wish->bits < WS_DEFLATE_BITS_MAX) {
        size += snprintf(line + size, WS_DEFLATE_LINE_MAX - (size_t)size,
                         "; server_max_window_bits=%d"
                         "; client_max_window_bits=%d\r\n",
                         wish->bits, wish->bits);
    } else {
        size += snprintf(line + size, WS_DEFLATE_LINE_MAX - (size_t)size,
                         "; client_max_window_bits\r\n");
    }
    ASSERT(size < WS_DEFLATE_LINE_MAX);
}

struct check {
    const struct ws_deflate_wish *wish;
    struct ws_deflate_terms *terms;
    int count;
    bool is_good;
};

/* There may be one element only, so all are looked at. */
static int check(const struct extension *answer, void *user)
{
    struct check *check = user;
    const struct ws_deflate_wish *wish = check->wish;

    *check->terms = (struct ws_deflate_terms){
        .server_bits =
            answer->has_server_bits ? answer->server_bits : WS_DEFLATE_BITS_MAX,
        .client_bits =
            answer->has_client_bits ? answer->client_bits : wish->bits,
        .server_takeover = !answer->no_server_takeover,
        .client_takeover = wish->takeover && !answer->no_client_takeover,
    };
    check->count++;
    check->is_good = check->count == 1 && answer->is_ours && answer->is_known &&
                     /* What was asked for must have been granted. */
                     check->terms->server_bits <= wish->bits &&
                     (wish->takeover || answer->no_server_takeover) &&
                     /* An answer must have a value here (7.1.2.2). */
                     check->terms->client_bits != 0 &&
                     check->terms->client_bits <= wish->bits;
    return 0;
}

int ws_deflate_check(struct ws_deflate_terms *terms,
                     const struct http_response *response,
                     const struct ws_deflate_wish *wish)
{
    struct check state = {.wish = wish, .terms = terms};
    int rc =
        read_lines(response->headers, response->header_count, check, &state);

    if (rc < 0) {
        return rc;
    }
    if (http_header_get(response->headers, response->header_count,
                        "sec-websocket-extensions")
            .data == NULL) {
        return 0;
    }
    return state.is_good ? 1 : PEAL_EPROTOCOL;
}
