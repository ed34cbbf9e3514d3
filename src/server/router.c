/* A trie of segments. */
#include "server/router.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/slice.h"
#include "proto/http.h"

#include <string.h>

struct router_node {
    struct map literals;       /* of struct router_node, by segment */
    struct router_node *param; /* the node behind a parameter */
    struct router_entry *end;  /* the pattern that ends here */
    struct router_entry *rest; /* the one that ends in * behind this */
    size_t segment_size;
    char segment[];
};

static struct peal_slice node_key(const void *value)
{
    const struct router_node *node = value;

    return slice_make(node->segment, node->segment_size);
}

static struct router_node *node_new(struct peal_slice segment)
{
    struct router_node *node = mem_zalloc(sizeof *node + segment.size + 1);

    if (node != NULL) {
        map_init(&node->literals, node_key);
        node->segment_size = segment.size;
        if (segment.size > 0) {
            memcpy(node->segment, segment.data, segment.size);
        }
    }
    return node;
}

static void entry_free(struct router_entry *entry, void (*release)(void *))
{
    if (entry != NULL) {
        if (release != NULL) {
            release(entry->value);
        }
        mem_free(entry->pattern);
        mem_free(entry);
    }
}

/* As deep as the longest pattern: ROUTER_SEGMENTS_MAX. */
static void node_free(struct router_node *node, void (*release)(void *))
{
    struct router_node *child;
    size_t cursor = 0;

    if (node == NULL) {
        return;
    }
    while ((child = map_next(&node->literals, &cursor)) != NULL) {
        node_free(child, release);
    }
    map_fini(&node->literals);
    node_free(node->param, release);
    entry_free(node->end, release);
    entry_free(node->rest, release);
    mem_free(node);
}

void router_init(struct router *router)
{
    *router = (struct router){0};
}

void router_fini(struct router *router, void (*release)(void *value))
{
    node_free(router->root, release);
    router_init(router);
}

/*
 * Takes the next segment off `*rest`, which begins with its slash. False at the
 * end.
 */
static bool take(struct peal_slice *rest, struct peal_slice *segment)
{
    const char *slash;

    if (rest->size == 0) {
        return false;
    }
    *segment = slice_make(rest->data + 1, rest->size - 1);
    slash = segment->size > 0 ? memchr(segment->data, '/', segment->size)
                              : NULL;
    if (slash != NULL) {
        segment->size = (size_t)(slash - segment->data);
    }
    *rest = slice_make(segment->data + segment->size,
                       rest->size - 1 - segment->size);
    return true;
}

enum segment_kind { SEGMENT_LITERAL, SEGMENT_PARAM, SEGMENT_REST };

/* What a segment of a pattern is; `*name` is what it is called or says. */
static enum segment_kind kind_of(struct peal_slice segment,
                                 struct peal_slice *name)
{
    *name = segment;
    if (segment.size == 0 || segment.data[0] != ':') {
        return SEGMENT_LITERAL;
    }
    *name = slice_make(segment.data + 1, segment.size - 1);
    if (name->size == 0 || name->data[name->size - 1] != '*') {
        return SEGMENT_PARAM;
    }
    name->size--;
    return SEGMENT_REST;
}

/* --- Patterns ------------------------------------------------------------ */

static bool is_name(struct peal_slice text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

    for (size_t i = 0; i < text.size; i++) {
        if (memchr(letters, text.data[i], sizeof letters - 1) == NULL) {
            return false;
        }
    }
    return text.size > 0;
}

/* Whether the pattern has a parameter of this name before `end`. */
static bool is_doubled(const char *pattern, const char *end,
                       struct peal_slice name)
{
    struct peal_slice rest = slice_make(pattern, (size_t)(end - pattern));
    struct peal_slice segment;
    struct peal_slice other;

    while (take(&rest, &segment)) {
        if (kind_of(segment, &other) != SEGMENT_LITERAL &&
            slice_equal(other, name)) {
            return true;
        }
    }
    return false;
}

static bool is_segment(const char *pattern, struct peal_slice segment,
                       bool is_last)
{
    struct peal_slice name;

    if (segment.size > ROUTER_SEGMENT_BYTES_MAX) {
        return false;
    }
    switch (kind_of(segment, &name)) {
    case SEGMENT_LITERAL:
        return segment.size > 0 || is_last;
    case SEGMENT_REST:
        if (!is_last) {
            return false;
        }
        break;
    case SEGMENT_PARAM:
        break;
    }
    return is_name(name) && !is_doubled(pattern, segment.data - 1, name);
}

static bool is_pattern(const char *pattern)
{
    struct peal_slice rest = peal_slice(pattern);
    struct peal_slice segment;
    int count = 0;

    if (rest.size == 0 || rest.data[0] != '/' ||
        rest.size > ROUTER_PATTERN_MAX || strpbrk(pattern, "?#%") != NULL) {
        return false;
    }
    while (take(&rest, &segment)) {
        if (++count > ROUTER_SEGMENTS_MAX ||
            !is_segment(pattern, segment, rest.size == 0)) {
            return false;
        }
    }
    return true;
}

static struct router_node *descend_literal(struct router_node *node,
                                           struct peal_slice segment)
{
    struct router_node *child = map_get(&node->literals, segment);

    if (child == NULL) {
        child = node_new(segment);
        if (child != NULL && map_add(&node->literals, child) < 0) {
            node_free(child, NULL);
            child = NULL;
        }
    }
    return child;
}

/*
 * The place for a pattern's entry, with the nodes on the way to it made where
 * there are none; NULL when there is no memory. Nodes without an entry, left
 * over by that, are never found.
 */
static struct router_entry **place_of(struct router_node *node,
                                      const char *pattern)
{
    struct peal_slice rest = peal_slice(pattern);
    struct peal_slice segment;
    struct peal_slice name;

    while (node != NULL && take(&rest, &segment)) {
        switch (kind_of(segment, &name)) {
        case SEGMENT_REST:
            return &node->rest;
        case SEGMENT_PARAM:
            if (node->param == NULL) {
                node->param = node_new(slice_make(NULL, 0));
            }
            node = node->param;
            break;
        case SEGMENT_LITERAL:
            node = descend_literal(node, segment);
            break;
        }
    }
    return node != NULL ? &node->end : NULL;
}

static struct router_entry *entry_new(const char *pattern)
{
    struct router_entry *entry = mem_zalloc(sizeof *entry);

    if (entry != NULL) {
        entry->pattern = mem_copy(pattern, strlen(pattern));
        if (entry->pattern == NULL) {
            mem_free(entry);
            entry = NULL;
        }
    }
    return entry;
}

int router_add(struct router *router, const char *pattern,
               struct router_entry **entry)
{
    struct router_entry **place;

    if (pattern == NULL || !is_pattern(pattern)) {
        return PEAL_EINVAL;
    }
    if (router->root == NULL) {
        router->root = node_new(slice_make(NULL, 0));
    }
    place = place_of(router->root, pattern);
    if (place == NULL) {
        return PEAL_ENOMEM;
    }
    if (*place != NULL) {
        *entry = *place;
        return PEAL_EEXIST;
    }
    *place = entry_new(pattern);
    if (*place == NULL) {
        return PEAL_ENOMEM;
    }
    router->count++;
    *entry = *place;
    return 0;
}

/* --- Paths --------------------------------------------------------------- */

/* The node behind a literal segment, or NULL. */
static const struct router_node *literal(const struct router_node *node,
                                         struct peal_slice segment)
{
    char decoded[ROUTER_SEGMENT_BYTES_MAX + 1];

    if (segment.size > 0 && memchr(segment.data, '%', segment.size) != NULL) {
        long size =
            http_decode_text(segment, false, decoded, sizeof decoded);

        if (size < 0) {
            return NULL; /* longer than any literal */
        }
        segment = slice_make(decoded, (size_t)size);
    }
    return map_get(&node->literals, segment);
}

/*
 * Every node stands for one beginning of patterns and is looked at once at
 * most, and never deeper than the longest pattern.
 */
static const struct router_entry *find(const struct router_node *node,
                                       struct peal_slice rest)
{
    const struct router_entry *entry = NULL;
    const struct router_node *child;
    struct peal_slice behind = rest;
    struct peal_slice segment;

    if (!take(&behind, &segment)) {
        return node->end;
    }
    child = literal(node, segment);
    if (child != NULL) {
        entry = find(child, behind);
    }
    if (entry == NULL && node->param != NULL && segment.size > 0) {
        entry = find(node->param, behind);
    }
    return entry != NULL ? entry : node->rest;
}

/* Whether each % begins an escape that http_decode takes. */
static bool is_decodable(struct peal_slice path)
{
    size_t i = 0;

    while (i < path.size) {
        char out[3];
        const char *mark = memchr(path.data + i, '%', path.size - i);

        if (mark == NULL) {
            return true;
        }
        i = (size_t)(mark - path.data);
        if (path.size - i < 3 ||
            http_decode(slice_make(mark, 3), false, out) < 0) {
            return false;
        }
        i += 3;
    }
    return true;
}

int router_find(const struct router *router, struct peal_slice path,
                const struct router_entry **entry)
{
    if (!is_decodable(path)) {
        return PEAL_EINVAL;
    }
    if (router->root == NULL || path.size == 0 || path.data[0] != '/') {
        return PEAL_ENOTFOUND;
    }
    *entry = find(router->root, path);
    return *entry != NULL ? 0 : PEAL_ENOTFOUND;
}

long router_param(const char *pattern, struct peal_slice path,
                  const char *name, char *out, size_t size)
{
    struct peal_slice rest = peal_slice(pattern);
    struct peal_slice wanted = peal_slice(name);
    struct peal_slice segment;
    struct peal_slice called;
    struct peal_slice value;

    while (path.size > 0 && take(&rest, &segment)) {
        struct peal_slice whole = slice_make(path.data + 1, path.size - 1);
        enum segment_kind kind = kind_of(segment, &called);

        take(&path, &value);
        if (kind != SEGMENT_LITERAL && slice_equal(called, wanted)) {
            return http_decode_text(kind == SEGMENT_REST ? whole : value, false,
                                    out, size);
        }
    }
    return PEAL_ENOTFOUND;
}
