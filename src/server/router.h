/*
 * Which pattern a path belongs to, and what its parameters are. A pattern is a
 * path of segments:
 *
 *     /chat                   this path; "/chat/" is another one
 *     /rooms/:room_id/chat    :name stands for one segment that is not empty
 *     /files/:path*           a last :name* stands for the rest, slashes and
 *                             all; it may be empty
 *
 * A literal segment wins over a parameter, and that over the rest; where the
 * winner leads nowhere, the next is tried. Segments are compared after percent-
 * decoding, so that an encoded slash is a part of a segment.
 *
 * A look-up costs one hash look-up for each segment of the path, as long as no
 * two patterns overlap, and never more than one for each pattern's segments.
 */
#ifndef SERVER_ROUTER_H
#define SERVER_ROUTER_H

#include "peal/peal.h"

#define ROUTER_PATTERN_MAX 1024
#define ROUTER_SEGMENTS_MAX 32
#define ROUTER_SEGMENT_BYTES_MAX 256 /* of one literal or name */

struct router_node;

/* What is found: lives as long as the router. */
struct router_entry {
    char *pattern;
    void *value; /* the user's */
};

struct router {
    struct router_node *root; /* NULL: nothing was added */
    size_t count;
};

/* Allocates nothing. */
void router_init(struct router *router);

/* Frees all; `release`, which may be NULL, gets the values. */
void router_fini(struct router *router, void (*release)(void *value));

/*
 * Adds a pattern. `*entry` is the new one, or with PEAL_EEXIST the one that
 * matches exactly the same paths. PEAL_EINVAL for what is no pattern; two
 * parameters may not have the same name. PEAL_ENOMEM: nothing has changed.
 */
int router_add(struct router *router, const char *pattern,
               struct router_entry **entry);

/*
 * Finds the entry for a path as it was sent: 0; PEAL_ENOTFOUND; PEAL_EINVAL for
 * a broken escape in it.
 */
int router_find(const struct router *router, struct peal_slice path,
                const struct router_entry **entry);

/*
 * Decodes what parameter `name` of the pattern stands for in a
 * path that matches it, with a zero byte behind it. Returns the size without
 * that; PEAL_ENOTFOUND; PEAL_ETOOBIG when `size` is too small; PEAL_EINVAL.
 */
long router_param(const char *pattern, struct peal_slice path,
                  const char *name, char *out, size_t size);

#endif
