/* peal request - asks the server and prints its answer. */
#include "commands.h"
#include "data.h"
#include "output.h"
#include "session.h"

#include <string.h>

struct asking {
    struct session session;
    const struct options *options;
    struct data data;
    uint64_t began_ns;
};

static void print_json(const struct peal_answer *answer, double took_ms)
{
    printf("{\"ok\":%s,\"ms\":%.3f", answer->status == 0 ? "true" : "false",
           took_ms);
    if (answer->status == 0) {
        output_json_data(stdout, &answer->event);
    } else if (answer->status == PEAL_EREFUSED) {
        printf(",\"code\":%d,\"name\":", answer->failure.code);
        output_json_string(stdout, peal_slice(answer->failure.name));
        printf(",\"message\":");
        output_json_string(stdout, peal_slice(answer->failure.message));
        printf(",\"temporary\":%s",
               answer->failure.temporary ? "true" : "false");
    } else {
        printf(",\"name\":\"%s\",\"message\":\"%s\"",
               peal_error_name(answer->status), peal_strerror(answer->status));
    }
    printf("}\n");
}

static void print_answer(const struct options *options,
                         const struct peal_event *answer)
{
    if (options->raw) {
        output_raw(stdout, answer);
    } else {
        output_data(stdout, answer);
    }
    if (!options->no_newline &&
        (answer->data.size > 0 || answer->kind == PEAL_BYTES)) {
        fputc('\n', stdout);
    }
}

static void on_answer(struct peal_link *link, const struct peal_answer *answer,
                      void *user)
{
    struct asking *asking = user;
    double took_ms = (double)(session_now_ns() - asking->began_ns) / 1e6;
    char why[600];
    int exit_code = session_explain(answer, why, sizeof why);

    (void)link;
    if (asking->session.is_done) {
        return;
    }
    if (asking->options->json) {
        print_json(answer, took_ms);
    } else if (exit_code == EXIT_OK) {
        print_answer(asking->options, &answer->event);
    } else {
        output_say(OUTPUT_ERROR, "%s", why);
    }
    session_end(&asking->session, exit_code);
}

static void on_connected(struct session *session, uint64_t connects)
{
    struct asking *asking = session->user;
    struct peal_event event =
        data_event(&asking->data, asking->options->arguments[0], NULL);
    int rc;

    if (connects > 1) {
        return;
    }
    asking->began_ns = session_now_ns();
    rc = peal_link_request(session->link, &event, 0, on_answer, asking);
    if (rc < 0) {
        output_say(OUTPUT_ERROR, "cannot ask: %s", peal_strerror(rc));
        session_end(session, EXIT_ERROR);
    }
}

int request_run(const struct options *options)
{
    struct asking asking = {.options = options};
    const char *data =
        options->argument_count > 1 ? options->arguments[1] : NULL;
    int exit_code;

    if (!data_check_event(options->arguments[0])) {
        return EXIT_USAGE;
    }
    if (data != NULL && strcmp(data, "-") == 0) {
        data = "@-";
    }
    if (!data_make_argument(&asking.data, options, data)) {
        return EXIT_ERROR;
    }
    if (session_begin(&asking.session, options)) {
        asking.session.user = &asking;
        asking.session.on_connected = on_connected;
        asking.session.is_one_shot = true;
        exit_code = session_run(&asking.session);
    } else {
        exit_code = asking.session.exit_code;
    }
    data_free(&asking.data);
    return exit_code;
}
