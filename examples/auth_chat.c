/*
 * A chat whose clients have signed in: HTTP gives a token for a password, the
 * token opens the WebSocket, and everybody can be sure who says what.
 *
 *     auth_chat [--port N] [--loops N]
 *
 *     curl http://127.0.0.1:8080/login \
 *         -d '{"user":"ada","password":"lovelace"}'
 *     {"token":"ada.1763720000000.5f0c..."}
 *
 *     ws://127.0.0.1:8080/?token=ada.1763720000000.5f0c...
 *     or the header  Authorization: Bearer ada.1763720000000.5f0c...
 *
 *     {"event":"say","id":1,"data":"hi"}      the others: "said", with the user
 *     {"event":"whisper","id":2,"data":{"to":"grace","text":"hi"}}
 *
 *     curl -X POST -H 'Authorization: Bearer ada...' .../logout
 *
 * closes all sessions of the user, and the tokens given before open nothing
 * any more. Who has signed out is asked of a thread of its own, as a program
 * would ask its database: no loop ever waits for it.
 */
#include "example.h"

#include <peal/http.h>
#include <peal/policy.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <time.h>

#define NAME_MAX_BYTES 16
#define TOKEN_MAX 256
#define TOKEN_LIFE_MS (3600 * 1000LL)
#define TEXT_MAX 1000
#define UNAUTHORIZED 4401 /* close code: the page should sign in again */

/* Stands for a table of users; a real one has hashes of the passwords. */
static struct account {
    const char *name;
    const char *password;
    _Atomic long long signed_out_ms; /* tokens up to then are void */
} accounts[] = {{"ada", "lovelace", 0}, {"grace", "hopper", 0}};

static unsigned char secret[32]; /* of this run: tokens die with the process */

static struct account *find_account(const char *name)
{
    for (size_t i = 0; i < sizeof accounts / sizeof *accounts; i++) {
        if (strcmp(accounts[i].name, name) == 0) {
            return &accounts[i];
        }
    }
    return NULL;
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* --- Tokens: NAME.ISSUED.SIGNATURE --------------------------------------- */

#define SIGNATURE_SIZE 64 /* SHA-256, in hexadecimal */

struct identity {
    char name[NAME_MAX_BYTES];
    long long issued_ms;
};

/* Writes the signature of some text, with a zero byte behind it. */
static void sign(const char *text, size_t size, char *signature)
{
    unsigned char mac[EVP_MAX_MD_SIZE] = {0};

    HMAC(EVP_sha256(), secret, sizeof secret, (const unsigned char *)text, size,
         mac, NULL);
    for (size_t i = 0; i < SIGNATURE_SIZE / 2; i++) {
        snprintf(signature + 2 * i, 3, "%02x", mac[i]);
    }
}

static void write_token(const struct identity *who, char *token)
{
    int size = snprintf(token, TOKEN_MAX - SIGNATURE_SIZE - 1, "%s.%lld",
                        who->name, who->issued_ms);

    token[size] = '.';
    sign(token, (size_t)size, token + size + 1);
}

/* What a token says, if it is one of ours and not too old. */
static bool read_token(const char *token, struct identity *who)
{
    const char *dot = strrchr(token, '.');
    char expected[SIGNATURE_SIZE + 1];

    if (dot == NULL || strlen(dot + 1) != SIGNATURE_SIZE) {
        return false;
    }
    sign(token, (size_t)(dot - token), expected);
    return CRYPTO_memcmp(expected, dot + 1, SIGNATURE_SIZE) == 0 &&
           sscanf(token, "%15[a-z].%lld", who->name, &who->issued_ms) == 2 &&
           now_ms() - who->issued_ms < TOKEN_LIFE_MS;
}

/* The token of an Authorization header. */
static bool read_bearer(struct peal_slice header, char *token)
{
    static const char scheme[] = "Bearer ";
    size_t skipped = sizeof scheme - 1;

    if (header.size <= skipped || header.size - skipped >= TOKEN_MAX ||
        memcmp(header.data, scheme, skipped) != 0) {
        return false;
    }
    memcpy(token, header.data + skipped, header.size - skipped);
    token[header.size - skipped] = '\0';
    return true;
}

/* --- The thread that knows who has signed out ---------------------------- */

struct question {
    struct question *next;
    struct peal_admission admission;
    struct identity who;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct question *first;
    struct question **last;
    bool is_over;
} directory = {.lock = PTHREAD_MUTEX_INITIALIZER,
               .changed = PTHREAD_COND_INITIALIZER,
               .last = &directory.first};

static bool is_signed_in(const char *name, long long issued_ms)
{
    struct account *account = find_account(name);

    return account != NULL && issued_ms > account->signed_out_ms;
}

static void decide(const struct question *question)
{
    static const struct peal_denial denial = {.code = UNAUTHORIZED,
                                              .reason = "signed out"};
    bool is_in = is_signed_in(question->who.name, question->who.issued_ms);

    /* The client may have gone meanwhile; then there is nothing to do. */
    peal_admission_decide(question->admission, is_in ? PEAL_ALLOW : PEAL_REFUSE,
                          is_in ? NULL : &denial);
}

static void *answer_questions(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&directory.lock);
    while (!directory.is_over || directory.first != NULL) {
        struct question *question = directory.first;

        if (question == NULL) {
            pthread_cond_wait(&directory.changed, &directory.lock);
            continue;
        }
        directory.first = question->next;
        if (directory.first == NULL) {
            directory.last = &directory.first;
        }
        pthread_mutex_unlock(&directory.lock);
        decide(question);
        free(question);
        pthread_mutex_lock(&directory.lock);
    }
    pthread_mutex_unlock(&directory.lock);
    return NULL;
}

static bool ask_directory(struct peal_admission admission,
                          const struct identity *who)
{
    struct question *question = malloc(sizeof *question);

    if (question == NULL) {
        return false;
    }
    *question = (struct question){.admission = admission, .who = *who};
    pthread_mutex_lock(&directory.lock);
    *directory.last = question;
    directory.last = &question->next;
    pthread_cond_signal(&directory.changed);
    pthread_mutex_unlock(&directory.lock);
    return true;
}

static void end_directory(pthread_t thread)
{
    pthread_mutex_lock(&directory.lock);
    directory.is_over = true;
    pthread_cond_signal(&directory.changed);
    pthread_mutex_unlock(&directory.lock);
    pthread_join(thread, NULL);
}

/* --- Who comes in -------------------------------------------------------- */

/*
 * Without a token: 401, before the upgrade. With a bad one: a close code, which
 * a page can see. Else the directory has the last word.
 */
static enum peal_verdict check_token(const struct peal_connect *connect,
                                     struct peal_admission admission,
                                     struct peal_denial *denial, void *user)
{
    char token[TOKEN_MAX];
    char issued[32];
    struct identity who;

    (void)user;
    if (!read_bearer(peal_connect_header(connect, "Authorization"), token) &&
        peal_connect_query(connect, "token", token, sizeof token) < 0) {
        denial->status = 401;
        return PEAL_REFUSE;
    }
    if (!read_token(token, &who)) {
        denial->code = UNAUTHORIZED;
        denial->reason = "bad token";
        return PEAL_REFUSE;
    }
    snprintf(issued, sizeof issued, "%lld", who.issued_ms);
    if (peal_admission_set(admission, "user", who.name) < 0 ||
        peal_admission_set(admission, "issued", issued) < 0 ||
        !ask_directory(admission, &who)) {
        denial->status = 503;
        return PEAL_REFUSE;
    }
    return PEAL_LATER;
}

/* All sessions of a user are in a room of their own. */
static void user_room(const char *name, char *room)
{
    snprintf(room, NAME_MAX_BYTES + 5, "user:%s", name);
}

static void on_connect(struct peal_client *client,
                       const struct peal_connect *connect, void *user)
{
    const char *name = peal_client_get(client, "user");
    char room[NAME_MAX_BYTES + 5];

    (void)connect;
    (void)user;
    user_room(name, room);
    if (peal_client_join(client, "lobby") < 0 ||
        peal_client_join(client, room) < 0) {
        peal_client_close(client, 1013, "no room");
    }
    /* A sign-out since the directory was asked did not find it in the room. */
    if (!is_signed_in(name, atoll(peal_client_get(client, "issued")))) {
        peal_client_close(client, UNAUTHORIZED, "signed out");
    }
}

/* --- What is said -------------------------------------------------------- */

static void fail(struct peal_request request, int error)
{
    struct peal_failure failure = {1000, peal_error_name(error),
                                   peal_strerror(error), false};

    peal_request_fail(request, &failure);
}

/* Writes the event's data: the name is the server's word, not the client's. */
static bool attribute(struct peal_client *from, struct peal_slice text,
                      char *json, size_t size)
{
    char plain[TEXT_MAX + 1];

    if (peal_json_text(text, plain, sizeof plain) < 0) {
        return false;
    }
    snprintf(json, size, "{\"from\":\"%s\",\"text\":%.*s}",
             peal_client_get(from, "user"), (int)text.size, text.data);
    return true;
}

static void on_say(struct peal_client *from, const struct peal_event *event,
                   struct peal_request request, void *user)
{
    char json[6 * TEXT_MAX + 64]; /* an escape has six bytes */
    struct peal_event said;

    (void)user;
    if (!attribute(from, event->data, json, sizeof json)) {
        fail(request, PEAL_EINVAL);
        return;
    }
    said = peal_json("said", json);
    peal_room_emit(from, "lobby", &said);
    peal_request_answer(request, NULL);
}

static void on_whisper(struct peal_client *from, const struct peal_event *event,
                       struct peal_request request, void *user)
{
    struct peal_server *server = peal_client_server(from);
    struct peal_slice to;
    struct peal_slice text;
    char name[NAME_MAX_BYTES];
    char room[NAME_MAX_BYTES + 5];
    char json[6 * TEXT_MAX + 64];
    struct peal_event whispered;

    (void)user;
    if (peal_json_get(event->data, "to", &to) < 0 ||
        peal_json_text(to, name, sizeof name) < 0 ||
        peal_json_get(event->data, "text", &text) < 0 ||
        !attribute(from, text, json, sizeof json)) {
        fail(request, PEAL_EINVAL);
        return;
    }
    user_room(name, room);
    if (peal_server_members(server, room, NULL, 0) == 0) {
        fail(request, PEAL_ENOTFOUND);
        return;
    }
    whispered = peal_json("whispered", json);
    peal_server_room_emit(server, room, &whispered, NULL, 0);
    peal_request_answer(request, NULL);
}

/* --- Signing in and out -------------------------------------------------- */

static void respond(struct peal_http_reply reply, int status, const char *json)
{
    struct peal_http_response response = {
        .size = sizeof response,
        .status = status,
        .type = "application/json",
        .body = peal_slice(json),
    };

    peal_http_respond(reply, &response);
}

static bool read_member(struct peal_slice json, const char *name, char *out,
                        size_t size)
{
    struct peal_slice value;

    return peal_json_get(json, name, &value) == 0 &&
           peal_json_text(value, out, size) >= 0;
}

static void on_login(const struct peal_http_request *request,
                     struct peal_http_reply reply, void *user)
{
    struct identity who = {.issued_ms = now_ms()};
    struct account *account = NULL;
    char password[64];
    char token[TOKEN_MAX];
    char json[TOKEN_MAX + 32];

    (void)user;
    if (read_member(request->body, "user", who.name, sizeof who.name) &&
        read_member(request->body, "password", password, sizeof password)) {
        account = find_account(who.name);
    }
    if (account == NULL || strcmp(account->password, password) != 0) {
        respond(reply, 401, "{\"error\":\"unknown user or password\"}");
        return;
    }
    write_token(&who, token);
    snprintf(json, sizeof json, "{\"token\":\"%s\"}", token);
    respond(reply, 200, json);
}

/* Closes what is open; what comes with an old token later is refused. */
static size_t close_sessions(struct peal_server *server, const char *name)
{
    struct peal_client_ref sessions[64];
    char room[NAME_MAX_BYTES + 5];
    size_t closed = 0;
    size_t count;

    user_room(name, room);
    count = peal_server_members(server, room, sessions, 64);
    for (size_t i = 0; i < count && i < 64; i++) {
        if (peal_server_close(server, sessions[i], UNAUTHORIZED,
                              "signed out") == 0) {
            closed++;
        }
    }
    return closed;
}

static void on_logout(const struct peal_http_request *request,
                      struct peal_http_reply reply, void *user)
{
    struct account *account;
    struct identity who;
    char token[TOKEN_MAX];
    char json[64];

    (void)user;
    if (!read_bearer(peal_http_header(request, "Authorization"), token) ||
        !read_token(token, &who)) {
        respond(reply, 401, "{\"error\":\"bad token\"}");
        return;
    }
    account = find_account(who.name);
    account->signed_out_ms = now_ms(); /* first: see on_connect */
    snprintf(json, sizeof json, "{\"closed\":%zu}",
             close_sessions(reply.server, who.name));
    respond(reply, 200, json);
}

int main(int argc, char **argv)
{
    struct peal_server_options options = example_options(argc, argv);
    struct peal_server *server;
    pthread_t thread;
    int code;

    options.on_connect = on_connect;
    server = example_new(&options);
    if (RAND_bytes(secret, sizeof secret) != 1 ||
        peal_server_use(server, check_token, NULL) < 0 ||
        peal_server_on_request(server, "say", on_say, NULL) < 0 ||
        peal_server_on_request(server, "whisper", on_whisper, NULL) < 0 ||
        peal_server_http(server, "POST", "/login", on_login, NULL) < 0 ||
        peal_server_http(server, "POST", "/logout", on_logout, NULL) < 0 ||
        pthread_create(&thread, NULL, answer_questions, NULL) != 0) {
        fputs("auth_chat: cannot be set up\n", stderr);
        return 1;
    }
    code = example_serve(server);
    end_directory(thread); /* first: what it decides goes to the server */
    peal_server_free(server);
    return code;
}
