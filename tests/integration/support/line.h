/*
 * A client's connection that never blocks: WebSocket or TCP frames, with or
 * without TLS, with or without permessage-deflate.
 */
#ifndef SUPPORT_LINE_H
#define SUPPORT_LINE_H

#include "support/check.h"

#include <openssl/ssl.h>
#include <zlib.h>

struct line_bytes {
    char *data;
    size_t start;
    size_t end;
    size_t capacity;
};

struct line {
    int fd;
    SSL *ssl; /* NULL: not encrypted */
    bool is_tcp;
    bool is_ended; /* the stream has ended; is_reset: not in good order */
    bool is_reset;
    bool is_deaf; /* reads nothing */
    struct line_bytes in;
    struct line_bytes out;
    struct line_bytes plain; /* the last message, inflated */
    /* permessage-deflate, once it is agreed on. */
    bool is_deflated;
    bool keeps_in;  /* contexts are taken over, from the server */
    bool keeps_out; /* and to it */
    z_stream inflater;
    z_stream deflater;
};

enum line_kind { LINE_TEXT, LINE_BYTES, LINE_PING, LINE_PONG, LINE_CLOSE };

/* A message: for TCP with the type of its frame and its event. */
struct line_message {
    enum line_kind kind;
    int type;
    const char *event; /* of a TCP frame; event_size 0: none */
    size_t event_size;
    const char *data; /* lives until the next call for this line */
    size_t size;
};

/* A context for lines, which trusts any server; SSL_CTX_free frees it. */
SSL_CTX *line_context(void);

/*
 * Starts to connect from 127.0.0.`host` to 127.0.0.1:`port`. `context` NULL: no
 * TLS. `receive_bytes` 0: the system's own buffer.
 */
void line_open(struct line *line, int host, int port, bool is_tcp,
               SSL_CTX *context, int receive_bytes);

/* The same with a socket that is connected, for WebSocket without TLS. */
void line_take(struct line *line, int fd);

/* What poll is to wait for. */
short line_events(const struct line *line);

/* Moves what can be moved without waiting. */
void line_move(struct line *line);

/* Queues bytes as they are. */
void line_write(struct line *line, const void *data, size_t size);

/* Queues a WebSocket message of this opcode, compressed if that is agreed. */
void line_say(struct line *line, unsigned opcode, const void *data,
              size_t size);

/* Takes on what the server has agreed to, from the head of its answer. */
void line_agree(struct line *line, const char *head);

/* The next message that is there as a whole; false when there is none. */
bool line_hear(struct line *line, struct line_message *message);

/* Frees everything: with a proper end, or a reset. */
void line_close(struct line *line, bool by_reset);

#endif
