/* What every user of libpeal shares: include/peal/peal.h. */
#include "peal/peal.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/slice.h"

#define PEAL_TEXT_OF(value) #value
#define PEAL_DOTTED(major, minor, patch)                                       \
    PEAL_TEXT_OF(major) "." PEAL_TEXT_OF(minor) "." PEAL_TEXT_OF(patch)

struct peal_error_text {
    const char *name;
    const char *sentence;
};

/* By the negated error. */
static const struct peal_error_text peal_errors[] = {
    [-PEAL_OK] = {"ok", "No error"},
    [-PEAL_EINVAL] = {"inval", "An argument or option makes no sense"},
    [-PEAL_ENOMEM] = {"nomem", "Memory could not be had"},
    [-PEAL_EGONE] = {"gone", "The client, room or request is no more"},
    [-PEAL_EFULL] = {"full", "A bounded queue or buffer is full"},
    [-PEAL_ELIMIT] = {"limit", "A configured limit forbids it"},
    [-PEAL_ESTATE] = {"state", "This cannot be done in the present state"},
    [-PEAL_EEXIST] = {"exist", "The name or id is taken"},
    [-PEAL_ENOTFOUND] = {"notfound", "There is nothing of that name"},
    [-PEAL_ETIMEOUT] = {"timeout", "It did not happen in time"},
    [-PEAL_ENOTSUP] = {"notsup", "The peer's dialect has no way to say this"},
    [-PEAL_EREFUSED] = {"refused", "The other side said no"},
    [-PEAL_EADDRESS] = {"address", "The address cannot be read or resolved"},
    [-PEAL_EADDRINUSE] = {"addrinuse", "The address is already in use"},
    [-PEAL_EACCESS] = {"access", "The system does not allow it"},
    [-PEAL_ESYSTEM] = {"system", "A system call failed"},
    [-PEAL_ETOOBIG] = {"toobig", "The message is larger than the limit"},
    [-PEAL_EPROTOCOL] = {"protocol", "The peer broke the protocol"},
    [-PEAL_ETLS] = {"tls", "A certificate, key or handshake is no good"},
};

static const struct peal_error_text *peal_error_find(int error)
{
    static const struct peal_error_text unknown = {"unknown", "Unknown error"};

    if (error > 0 || error <= -(int)ARRAY_SIZE(peal_errors)) {
        return &unknown;
    }
    return &peal_errors[-error];
}

const char *peal_version(void)
{
    return PEAL_DOTTED(PEAL_VERSION_MAJOR, PEAL_VERSION_MINOR,
                       PEAL_VERSION_PATCH);
}

const char *peal_commit(void)
{
    return
#include "base/commit.inc"
        ;
}

int peal_version_number(void)
{
    return PEAL_VERSION_MAJOR * 1000000 + PEAL_VERSION_MINOR * 1000 +
           PEAL_VERSION_PATCH;
}

const char *peal_strerror(int error)
{
    return peal_error_find(error)->sentence;
}

const char *peal_error_name(int error)
{
    return peal_error_find(error)->name;
}

struct peal_slice peal_slice(const char *text)
{
    return slice_make(text, text != NULL ? strlen(text) : 0);
}

bool peal_slice_equal(struct peal_slice a, struct peal_slice b)
{
    return slice_equal(a, b);
}

struct peal_event peal_json(const char *name, const char *json)
{
    return (struct peal_event){
        .name = peal_slice(name),
        .data = peal_slice(json),
        .kind = PEAL_JSON,
    };
}

struct peal_event peal_bytes(const char *name, const void *data, size_t size)
{
    return (struct peal_event){
        .name = peal_slice(name),
        .data = slice_make(data, size),
        .kind = PEAL_BYTES,
    };
}

struct peal_event peal_text(const char *text)
{
    return (struct peal_event){.data = peal_slice(text), .kind = PEAL_TEXT};
}

const char *peal_log_level_name(enum peal_log_level level)
{
    switch (level) {
    case PEAL_LOG_DEFAULT:
        return "default";
    case PEAL_LOG_TRACE:
        return "trace";
    case PEAL_LOG_DEBUG:
        return "debug";
    case PEAL_LOG_INFO:
        return "info";
    case PEAL_LOG_WARN:
        return "warn";
    case PEAL_LOG_ERROR:
        return "error";
    case PEAL_LOG_OFF:
        return "off";
    }
    return "unknown";
}
