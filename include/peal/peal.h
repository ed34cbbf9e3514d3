/*
 * peal.h - what every part of libpeal shares: version, errors, text slices,
 * events, the log and the memory hooks.
 *
 * Stability: until 1.0 a minor version may change this header; the soname
 * changes with it. Everything public begins with peal_ or PEAL_.
 *
 * Threads: the functions here may be called from any thread, except where a
 * comment says otherwise.
 *
 * Memory: what you pass in is borrowed for the call and copied if it is kept.
 * What a callback is given lives until the callback returns.
 *
 *     struct peal_event event = peal_json("greeting", "{\"text\":\"hello\"}");
 *
 *     printf("libpeal %s\n", peal_version());
 *     if (peal_client_emit(client, &event) < 0) {
 *         ...
 *     }
 */
#ifndef PEAL_PEAL_H
#define PEAL_PEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PEAL_API __attribute__((visibility("default")))
#else
#define PEAL_API
#endif

#define PEAL_VERSION_MAJOR 0
#define PEAL_VERSION_MINOR 1
#define PEAL_VERSION_PATCH 0

/* The library's version at run time, such as "0.1.0". Static storage. */
PEAL_API const char *peal_version(void);

/*
 * The commit that it was built from, "b90ce1c5d0f2", or what the build was told
 * (PEAL_COMMIT); "unknown" where neither is known. Static storage.
 */
PEAL_API const char *peal_commit(void);

/* The version as one number: major * 1000000 + minor * 1000 + patch. */
PEAL_API int peal_version_number(void);

/*
 * What a function returns when it fails: always one of these, always
 * negative. The numbers do not change once released.
 */
enum peal_error {
    PEAL_OK = 0,
    PEAL_EINVAL = -1,      /* an argument or option makes no sense */
    PEAL_ENOMEM = -2,      /* memory could not be had */
    PEAL_EGONE = -3,       /* the client, room or request is no more */
    PEAL_EFULL = -4,       /* a bounded queue or buffer is full */
    PEAL_ELIMIT = -5,      /* a configured limit forbids it */
    PEAL_ESTATE = -6,      /* not now: running, stopped, already answered */
    PEAL_EEXIST = -7,      /* the name or id is taken */
    PEAL_ENOTFOUND = -8,   /* nothing of that name */
    PEAL_ETIMEOUT = -9,    /* it did not happen in time */
    PEAL_ENOTSUP = -10,    /* the peer's dialect has no way to say this */
    PEAL_EREFUSED = -11,   /* the other side said no */
    PEAL_EADDRESS = -12,   /* an address cannot be read or resolved */
    PEAL_EADDRINUSE = -13, /* the address is taken by someone else */
    PEAL_EACCESS = -14,    /* the system does not allow it */
    PEAL_ESYSTEM = -15,    /* a system call failed; the log has its errno */
    PEAL_ETOOBIG = -16,    /* larger than the limit for a single message */
    PEAL_EPROTOCOL = -17,  /* the peer broke the protocol */
    PEAL_ETLS = -18        /* a certificate, key or handshake is no good */
};

/* One English sentence for an error, without a full stop. Static storage. */
PEAL_API const char *peal_strerror(int error);

/* The constant's name in lower case without "PEAL_E": "gone". Static. */
PEAL_API const char *peal_error_name(int error);

/*
 * A stretch of bytes that someone else owns. Not terminated by a zero byte:
 * print it with "%.*s".
 */
struct peal_slice {
    const char *data;
    size_t size;
};

/* The slice of a C string. NULL gives the empty slice. */
PEAL_API struct peal_slice peal_slice(const char *text);

/* Whether both have the same bytes. */
PEAL_API bool peal_slice_equal(struct peal_slice a, struct peal_slice b);

/* How the data of an event is to be read. */
enum peal_data {
    PEAL_JSON,  /* one JSON text (RFC 8259) in UTF-8; empty means no data */
    PEAL_BYTES, /* any bytes */
    PEAL_TEXT   /* any UTF-8 text, not JSON; `raw` dialect only */
};

/*
 * A named message. `name` is at most 256 bytes of UTF-8 and, where an
 * application makes it, neither empty nor prefixed by "peal:", which belongs to
 * the protocol. `room` is set when the event came through a room.
 */
struct peal_event {
    struct peal_slice name;
    struct peal_slice data;
    struct peal_slice room;
    enum peal_data kind;
};

/* An event with JSON data. Both strings are borrowed; NULL means no data. */
PEAL_API struct peal_event peal_json(const char *name, const char *json);

/* An event with bytes. All is borrowed. */
PEAL_API struct peal_event peal_bytes(const char *name, const void *data,
                                      size_t size);

/* A text for clients of the `raw` dialect. Borrowed. */
PEAL_API struct peal_event peal_text(const char *text);

/*
 * Finds a member of a JSON object: `value` becomes the value as it stands in
 * the text, a string with its quotes. PEAL_ENOTFOUND when there is none;
 * PEAL_EINVAL when `json` is not a JSON object, or has the member twice. O(size
 * of json).
 */
PEAL_API int peal_json_get(struct peal_slice json, const char *name,
                           struct peal_slice *value);

/*
 * Decodes a JSON string into UTF-8 with a zero byte behind it. Returns the size
 * without that, PEAL_EINVAL when `json` is not a string (or is one with a lone
 * surrogate or a zero character in it), PEAL_ETOOBIG when `size` is too small.
 */
PEAL_API long peal_json_text(struct peal_slice json, char *out, size_t size);

/* Reads a JSON number. PEAL_EINVAL when `json` is not one. */
PEAL_API int peal_json_number(struct peal_slice json, double *out);

/*
 * Writes `text` as a JSON string, quotes included, with a zero byte behind it.
 * Returns the size without that; PEAL_ETOOBIG when `size` is too small,
 * PEAL_EINVAL when `text` is not UTF-8.
 */
PEAL_API long peal_json_quote(char *out, size_t size, struct peal_slice text);

/* Bytes of a client's id, without the zero byte. */
#define PEAL_ID_MAX 128

/* Switches off what has a default: .ping_interval_ms = PEAL_OFF. */
#define PEAL_OFF UINT32_MAX

/* How messages look on the wire. docs/protocol.md has them byte by byte. */
enum peal_dialect {
    PEAL_DIALECT_DEFAULT, /* the server's option, and there: peal */
    PEAL_DIALECT_PEAL,    /* JSON envelopes with ids, rooms and coded errors */
    PEAL_DIALECT_STELAR,  /* for clients of stelar-time-real */
    PEAL_DIALECT_RAW      /* no envelope: texts and bytes as they are */
};

/*
 * An error answer. Codes below 1000 are peal's own and listed in
 * docs/protocol.md; an application's begin at 1000.
 */
struct peal_failure {
    int code;
    const char *name;    /* stable, for programs: "no_such_user" */
    const char *message; /* for humans */
    bool temporary;      /* the same again may work later */
};

/*
 * What came back for a request: status 0 with the data and kind of `event`;
 * PEAL_EREFUSED with `failure`; or another error, with nothing.
 */
struct peal_answer {
    int status;
    struct peal_event event; /* data and kind */
    struct peal_failure failure;
};

enum peal_log_level {
    PEAL_LOG_DEFAULT, /* info */
    PEAL_LOG_TRACE,
    PEAL_LOG_DEBUG,
    PEAL_LOG_INFO,
    PEAL_LOG_WARN,
    PEAL_LOG_ERROR,
    PEAL_LOG_OFF
};

/* The level's name in lower case. Static storage. */
PEAL_API const char *peal_log_level_name(enum peal_log_level level);

/*
 * Where log lines go. `message` is a stable short name such as
 * "client connected"; `fields` is the rest as logfmt ("remote=127.0.0.1:4711
 * code=1001"), already escaped. Never payloads, never tokens. Lines of one name
 * of info and above come at most ten times a second from each thread, then one
 * says repeated=N. docs/operations.md has the names.
 *
 * Called on whatever thread has something to say, possibly on several at once;
 * it must not block and must not call back into libpeal.
 */
typedef void peal_log_function(enum peal_log_level level, const char *component,
                               const char *message, const char *fields,
                               void *user);

/* How lines look that peal_log_to_sink writes. */
enum peal_log_format {
    PEAL_LOG_FORMAT_DEFAULT, /* text on a terminal, else logfmt */
    PEAL_LOG_TEXT,   /* 2026-11-21T01:28:21.598Z info  server: listening a=b */
    PEAL_LOG_LOGFMT, /* ts=... level=info component=server msg=listening a=b */
    PEAL_LOG_JSON    /* an object with the same members, in one line */
};

/* Where lines go, and how they look. */
struct peal_log_sink {
    size_t size; /* sizeof(struct peal_log_sink) */
    int fd;      /* the program's; 0: standard error */
    enum peal_log_format format;
};

/*
 * A log function that writes each line with one write, whole also between
 * threads. `user` is a struct peal_log_sink that outlives the log, or NULL for
 * standard error and the default format. Where systemd has connected the
 * descriptor to the journal (JOURNAL_STREAM), lines begin with the level as it
 * wants it, "<6>". JSON is valid whatever a peer has sent: what is not UTF-8
 * becomes U+FFFD; numbers, true and false are such. A line that does not fit
 * into 4 KiB loses its last fields and says truncated=true.
 *
 *     static struct peal_log_sink sink = {
 *         .size = sizeof sink, .fd = 1, .format = PEAL_LOG_JSON,
 *     };
 *     options.log = peal_log_to_sink;
 *     options.log_user = &sink;
 */
PEAL_API void peal_log_to_sink(enum peal_log_level level, const char *component,
                               const char *message, const char *fields,
                               void *user);

/* The same, as logfmt to standard error. `user` is ignored. */
PEAL_API void peal_log_to_stderr(enum peal_log_level level,
                                 const char *component, const char *message,
                                 const char *fields, void *user);

/*
 * The allocator of the whole process's libpeal. The first three are called with
 * the contract of malloc, realloc and free, from any thread. `size_of` tells
 * what a block costs, with all that is rounded up and kept beside it; NULL when
 * that is not known: then memory is not accounted, and a server cannot have a
 * memory_bytes_max.
 */
struct peal_memory {
    void *(*allocate)(size_t size, void *user);
    void *(*reallocate)(void *block, size_t size, void *user);
    void (*release)(void *block, void *user);
    void *user;
    size_t (*size_of)(void *block, void *user);
};

/*
 * Sets the allocator. Call it before anything else of libpeal, once: blocks of
 * the former allocator would be released by the new one. NULL brings back
 * malloc. Not thread-safe.
 */
PEAL_API void peal_memory_set(const struct peal_memory *memory);

#ifdef __cplusplus
}
#endif

#endif
