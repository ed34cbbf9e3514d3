/*
 * A load generator for WebSocket servers and for peal's framed TCP protocol.
 *
 * It shares no code with libpeal on purpose: a client written from the
 * protocol's text finds what a server and a client with the same mistake would
 * hide from each other. It is one thread and one epoll set, meant to run pinned
 * to a core of its own beside a server pinned to another.
 *
 * Every message carries its sender and a sequence number and the rest of it is
 * known text, so that each one that comes back is checked whole: a message that
 * is missing, doubled, out of order or altered is an error of the run.
 *
 * One file per concern:
 *
 *   options.c    the command line
 *   template.c   a frame as a pattern: built once, stamped per message
 *   frame.c      what comes back and is not the expected message
 *   inflate.c    messages that come compressed, and one that goes out so
 *   secure.c     TLS
 *   conn.c       one connection: connect, handshake, read, write, close
 *   driver.c     the epoll set, the connections, the phases of a run
 *   echo.c, fanout.c, idle.c, churn.c    the modes
 *   histogram.c  latency percentiles
 *   process.c    CPU time and memory of the server
 *   report.c     the line of JSON that a run prints
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NS_PER_SECOND 1000000000ull
#define NS_PER_MS 1000000ull

/* The text that starts each payload: 8 letters of sequence, 8 of sender. */
#define STAMP_BYTES 16u

enum load_mode {
    MODE_ECHO,
    MODE_FANOUT,
    MODE_IDLE,
    MODE_CONNECT,
};

enum load_wire {
    WIRE_WS,
    WIRE_TCP,
};

struct load_options {
    enum load_mode mode;
    enum load_wire wire;
    struct sockaddr_in to;
    const char *dialect;
    const char *path;       /* ws: of echo, idle and connect */
    const char *send;       /* message with % where the payload goes */
    const char *expect;     /* what comes back for it */
    const char *join;       /* first message of a subscriber, or NULL */
    bool is_binary;         /* ws */
    bool is_deflated;       /* ws: offers permessage-deflate */
    bool takes_over;        /* and with context takeover */
    bool exchanges;         /* idle: each sends a message before */
    int tls;                /* 0: none; 12, 13: the version */
    bool resumes;           /* takes up sessions of before */
    bool close_by_frame;
    pid_t pid;              /* of the server, 0 if unknown */
    uint32_t conns;         /* subscribers in fan-out */
    uint32_t depth;
    uint32_t size;
    uint32_t publishers;
    uint32_t stalled;       /* subscribers that never read */
    uint32_t in_flight;
    uint32_t rate;          /* publishes per second, 0 for flat out */
    uint32_t sources;       /* how many 127.0.0.x to connect from */
    uint64_t count;         /* messages instead of seconds, 0 for seconds */
    double seconds;
    double warm;
};

void options_parse(struct load_options *options, int argc, char **argv);

/* Prints a message and ends the program: a measurement has no way on. */
void die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* ---- template.c ---- */

/* A whole frame, header included, with a hole for the stamp. */
struct template {
    unsigned char *bytes;
    size_t length;
    size_t stamp_at;
    uint64_t sequence_mask; /* what WebSocket masking does to the stamp */
    uint64_t sender_mask;
};

void template_init_out(struct template *template,
                       const struct load_options *options);
void template_init_in(struct template *template,
                      const struct load_options *options);
void template_fini(struct template *template);

/* Writes one frame of `template->length` bytes. */
void template_stamp(const struct template *template, unsigned char *to,
                    uint32_t sender, uint32_t sequence);

/*
 * Says whether the `template->length` bytes at `from` are this frame with any
 * stamp, and which. All bytes are compared.
 */
bool template_match(const struct template *template,
                    const unsigned char *from, uint32_t *sender,
                    uint32_t *sequence);

/* ---- frame.c ---- */

enum frame_kind {
    FRAME_MESSAGE,
    FRAME_SYSTEM,   /* of the dialect itself: welcome, connect */
    FRAME_PING,
    FRAME_PONG,
    FRAME_CLOSE,
};

struct frame {
    enum frame_kind kind;
    const unsigned char *payload;
    size_t length;
};

/*
 * Reads one frame of a server. Returns the bytes it takes, 0 when it is not
 * complete, -1 when it is not a frame that a server may send.
 */
ssize_t frame_parse(enum load_wire wire, const unsigned char *from,
                    size_t length, struct frame *frame);

/* The same for a compressed frame; `frame` has the payload as it came. */
ssize_t frame_parse_compressed(const unsigned char *from, size_t length,
                               struct frame *frame);

/* ---- inflate.c ---- */

/*
 * As template_match for a compressed frame: returns the bytes it takes, 0 when
 * it is not complete, -1 when it is not the expected message.
 */
ssize_t inflate_match(const struct template *in, const unsigned char *from,
                      size_t length, uint32_t *sender, uint32_t *sequence);

/*
 * Writes a frame of this message, compressed by itself, and returns its size.
 * `to` has room for the payload and FRAME_HEAD_MAX bytes more.
 */
size_t deflate_message(const struct template *in, uint32_t sender,
                       unsigned char *to);

/*
 * A message as the command line gives it. For WebSocket that is its payload;
 * for TCP, where type and event are fields of the frame, "TYPE EVENT PAYLOAD",
 * with "-" for an empty event.
 */
struct message {
    unsigned type;          /* ws: the opcode */
    char event[256];
    const char *payload;    /* lies in the text */
};

#define MESSAGE_MAX 4096u

void message_parse(struct message *message,
                   const struct load_options *options, const char *text);

/* Write what is before a payload of `length` bytes, and return its size. */
#define FRAME_HEAD_MAX 272u
size_t frame_ws_head(unsigned char *to, uint8_t opcode,
                     const unsigned char *mask, size_t length);
size_t frame_tcp_head(unsigned char *to, uint8_t type, const char *event,
                      size_t length);

/*
 * Write a whole frame of a client and return its length. `to` has room for the
 * payload and FRAME_HEAD_MAX bytes more.
 */
size_t frame_message(const struct load_options *options, const char *text,
                     unsigned char *to);
size_t frame_pong(enum load_wire wire, const struct frame *ping,
                  unsigned char *to);
size_t frame_close(enum load_wire wire, unsigned char *to);

/* ---- conn.c ---- */

enum conn_state {
    CONN_NONE,
    CONN_SECURING,          /* TLS */
    CONN_HANDSHAKE,
    CONN_JOINING,
    CONN_OPEN,
    CONN_CLOSING,
};

enum conn_role {
    ROLE_PLAIN,
    ROLE_SUBSCRIBER,
    ROLE_STALLED,
    ROLE_PUBLISHER,
};

/* Bytes kept for later: an incomplete frame, or what a socket did not take. */
struct stash {
    unsigned char *bytes;
    size_t length;
    size_t capacity;
};

struct ssl_st;

struct conn {
    int fd;
    struct ssl_st *tls;     /* NULL: none */
    enum conn_state state;
    enum conn_role role;
    bool wants_write;
    uint32_t index;
    uint32_t sent;          /* of this conn: the next sequence number */
    uint32_t received;
    struct stash in;
    struct stash out;
};

struct load;

/* How a mode takes part; any of these may be NULL. */
struct mode_events {
    void (*on_open)(struct load *load, struct conn *conn);
    void (*on_message)(struct load *load, struct conn *conn, uint32_t sender,
                       uint32_t sequence);
    /* After all messages of one read. */
    void (*on_batch)(struct load *load, struct conn *conn);
    void (*on_closed)(struct load *load, struct conn *conn);
    /* After all connections that were ready. */
    void (*on_turn)(struct load *load);
};

void conn_open(struct load *load, struct conn *conn);
void conn_ready(struct load *load, struct conn *conn, uint32_t events);

/* Sends `count` stamped messages in as few calls as the socket allows. */
void conn_send(struct load *load, struct conn *conn, uint32_t count);

/* Begins a clean end: on_closed follows when the server has closed too. */
void conn_close(struct load *load, struct conn *conn);

/* The same for one message, compressed by itself. */
void conn_send_compressed(struct load *load, struct conn *conn);

/* Frees the connection at once, without on_closed. */
void conn_drop(struct load *load, struct conn *conn);

/* ---- secure.c ---- */

/* Nothing without the option. */
void secure_init(const struct load_options *options);
void secure_fini(void);

void secure_open(struct conn *conn);

/* Frees it; says nothing to the server. */
void secure_close(struct conn *conn);

/* 1 when it is done, 0 when it needs to read, -1 when it failed. */
int secure_handshake(struct conn *conn, bool *is_resumed);

/* As send and recv on a socket that does not block; 0 bytes written: later. */
ssize_t secure_write(struct conn *conn, const void *bytes, size_t length);
ssize_t secure_read(struct conn *conn, unsigned char *to, size_t length);

/* Whether there is something that the socket does not know of. */
bool secure_has_more(const struct conn *conn);

/* Says that nothing more follows. */
void secure_finish(struct conn *conn);

/* ---- driver.c ---- */

struct load {
    const struct load_options *options;
    const struct mode_events *events;
    void *mode;
    struct template out;
    struct template in;
    int poller;
    struct conn *conns;
    uint32_t conns_count;
    uint32_t opening;       /* between connect and open */
    uint32_t open;
    uint32_t next_source;
    uint64_t now_ns;        /* of the read at hand */
    unsigned char *read_buffer;
    unsigned char *write_buffer;

    /* What went wrong. */
    uint64_t mismatches;    /* not the expected message */
    uint64_t closes;        /* by the server, unasked */
    uint64_t refused;       /* connect or handshake */
    uint64_t compressed;    /* messages that came so */
    uint64_t handshakes;    /* of TLS */
    uint64_t resumed;       /* of these: took up a session */
    int close_code;         /* of the last unasked close */
};

#define READ_BUFFER_BYTES (256u * 1024)
#define WRITE_BUFFER_BYTES (256u * 1024)

void load_init(struct load *load, const struct load_options *options,
               const struct mode_events *events, void *mode,
               uint32_t conns_count);
void load_fini(struct load *load);

/* Opens conns[first..last), a few hundred at a time, and waits for them. */
void load_open(struct load *load, uint32_t first, uint32_t last);

/* Handles what is ready, waiting until `until_ns` at the most. */
void load_turn(struct load *load, uint64_t until_ns);

/* Turns until that time. */
void load_run(struct load *load, uint64_t until_ns);

bool load_is_clean(const struct load *load);
uint64_t now_ns(void);

/* ---- process.c ---- */

struct process_memory {
    uint64_t rss;           /* of the server */
    uint64_t kernel_slab;   /* of the whole machine */
    uint64_t kernel_tcp;
};

uint64_t process_cpu_ns(pid_t pid);     /* 0 stands for this process */
void process_memory(pid_t pid, struct process_memory *memory);

/* One moment of a run; the difference of two is what a report says. */
struct mark {
    uint64_t wall_ns;
    uint64_t server_ns;
    uint64_t client_ns;
    uint64_t messages;
};

void mark_set(struct mark *mark, pid_t pid, uint64_t messages);

/* ---- histogram.c ---- */

#define HISTOGRAM_BUCKETS (64u * 40u)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
};

void histogram_add(struct histogram *histogram, uint64_t value);
uint64_t histogram_at(const struct histogram *histogram, double share);

/* ---- report.c ---- */

void report_begin(const struct load_options *options);
void report_count(const char *name, uint64_t value);
void report_real(const char *name, double value);
void report_text(const char *name, const char *value);
void report_span(const struct mark *from, const struct mark *to);

/* The counters of errors and the end of the line; returns the exit status. */
int report_end(const struct load *load, uint64_t lost);

/* ---- the modes ---- */

int echo_run(const struct load_options *options);
int fanout_run(const struct load_options *options);
int idle_run(const struct load_options *options);
int churn_run(const struct load_options *options);

#endif
