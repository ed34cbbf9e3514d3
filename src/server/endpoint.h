/*
 * The server's own endpoints: /metrics, /livez, /readyz, /healthz, /health.
 * endpoint.c finds and answers them; health.c and metrics.c say what.
 */
#ifndef SERVER_ENDPOINT_H
#define SERVER_ENDPOINT_H

#include "base/buffer.h"
#include "proto/http.h"
#include "server/conn.h"

/* Most of it could be taken by requests: METHODS_MAX histograms with names. */
#define ENDPOINT_BODY_MAX (640 * 1024)
#define ENDPOINT_SPACE_BYTES_MAX (384 * 1024) /* more for each namespace */

/* --- endpoint.c ---------------------------------------------------------- */

/*
 * Answers a request without an upgrade whose path is an endpoint, or that came
 * to a listener for nothing else. False: it is for others.
 */
bool endpoint_serve(struct conn *conn, const struct http_request *request);

/* Appends formatted text; false when there is no memory or room. */
__attribute__((format(printf, 2, 3))) bool
endpoint_print(struct buffer *body, const char *format, ...);

/* --- health.c ------------------------------------------------------------ */

/* [L] Whether every loop turns: no turn has lasted for turn_timeout_ms. */
bool health_is_live(const struct worker *worker);

/* [L] Whether new clients should be sent here. */
bool health_is_ready(const struct worker *worker);

/* The checks behind the two, one per line: "[+]accepting ok". */
bool health_list_live(const struct worker *worker, struct buffer *body);
bool health_list_ready(const struct worker *worker, struct buffer *body);

/* The state as JSON. */
bool health_state(const struct worker *worker, struct buffer *body);

/* --- metrics.c ----------------------------------------------------------- */

/* All metrics, in Prometheus' text format 0.0.4 or in OpenMetrics 1.0. */
bool metrics_write(const struct worker *worker, bool is_open_metrics,
                   struct buffer *body);

#endif
