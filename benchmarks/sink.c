/* The fast SMTP server of the measurements, as cheap as it can be: it shares two cores with those that it measures.

   Compiled when it is first needed (benchmarks/servers.py); it does what benchmarks/sink.py does, and is spoken to in
   the same way: its settings on the first line, a line of JSON for each further one, the end of input for its own. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 17, ANSWERS = 1 << 15, LONGEST_ANSWER = 256, AT_ONCE = 64 };

typedef struct {
    int fd;
    SSL *ssl;               /* NULL in clear */
    bool is_encrypted, has_signed_in, has_recipient, is_signing_in, in_message, in_chunk, is_last, ssl_wanted,
        is_over;
    size_t chunk;           /* octets of a BDAT that are awaited */
    size_t filled, said;
    char in[ROOM], out[ANSWERS];
} Client;

static SSL_CTX *context;
static char wanted[1024];   /* what AUTH PLAIN has to say; empty where nobody signs in */
static bool has_pipelining, has_chunking;
static long mails, connections, sign_ins;

static void say(Client *client, const char *words) {
    size_t length = strlen(words);
    memcpy(client->out + client->said, words, length);
    client->said += length;
}

static void hello(Client *client) {
    say(client, "250-sink\r\n250-8BITMIME\r\n");
    if (has_pipelining) say(client, "250-PIPELINING\r\n");
    if (has_chunking) say(client, "250-CHUNKING\r\n");
    if (context && !client->is_encrypted) say(client, "250-STARTTLS\r\n");
    else if (*wanted) say(client, "250-AUTH PLAIN\r\n");
    say(client, "250 SIZE 10000000\r\n");
}

static void accepted(Client *client) {
    client->has_recipient = false;
    mails++;
    say(client, "250 ok\r\n");
}

static void sign_in(Client *client, const char *given) {
    client->is_signing_in = false;
    client->has_signed_in = !strcmp(given, wanted);
    sign_ins += client->has_signed_in;
    say(client, client->has_signed_in ? "235 2.7.0 welcome\r\n" : "535 5.7.8 no\r\n");
}

static bool is(const char *line, const char *verb) {
    return !strncasecmp(line, verb, strlen(verb));
}

static void obey(Client *client, const char *line) {
    bool is_protected = client->is_encrypted || !context;
    if (client->is_signing_in) sign_in(client, line);
    else if (is(line, "EHLO")) hello(client);
    else if (is(line, "STARTTLS") && !is_protected) client->ssl_wanted = true, say(client, "220 go ahead\r\n");
    else if (is(line, "AUTH PLAIN ") && is_protected) sign_in(client, line + 11);
    else if (is(line, "AUTH PLAIN") && is_protected) client->is_signing_in = true, say(client, "334 \r\n");
    else if (is(line, "AUTH")) say(client, "504 5.5.4 not offered\r\n");
    else if (is(line, "MAIL") && *wanted && !client->has_signed_in) say(client, "530 5.7.0 sign in first\r\n");
    else if (is(line, "RCPT")) client->has_recipient = true, say(client, "250 ok\r\n");
    else if (is(line, "DATA")) {
        client->in_message = client->has_recipient;
        say(client, client->has_recipient ? "354 go ahead\r\n" : "503 not now\r\n");
    } else if (is(line, "BDAT")) { /* the answer is to the octets */
        char *rest;
        client->chunk = strtoul(line + 4, &rest, 10);
        client->is_last = *rest == ' ';
        client->in_chunk = true;
    } else if (is(line, "QUIT")) client->is_over = true, say(client, "221 bye\r\n");
    else say(client, "250 ok\r\n");
}

/* Deal with what stands first in the buffer, behind what is done; false until more of it is there. */
static bool take(Client *client, size_t *done) {
    char *from = client->in + *done, *end;
    size_t length = client->filled - *done;
    if (client->in_chunk) {
        size_t taken = length < client->chunk ? length : client->chunk;
        *done += taken;
        client->chunk -= taken;
        if (client->chunk) return false;
        client->in_chunk = false;
        if (!client->has_recipient) say(client, "503 not now\r\n");
        else if (client->is_last) accepted(client);
        else say(client, "250 ok\r\n");
    } else if (client->in_message) {
        if (!(end = memmem(from, length, "\r\n.\r\n", 5))) {
            *done += length > 4 ? length - 4 : 0;
            return false;
        }
        *done += end - from + 5;
        client->in_message = false;
        accepted(client);
    } else {
        if (!(end = memmem(from, length, "\r\n", 2))) return false;
        *done += end - from + 2;
        *end = 0;
        obey(client, from);
    }
    return true;
}

static bool flush(Client *client) {
    for (size_t done = 0; done < client->said;) {
        int left = client->said - done;
        int written = client->is_encrypted ? SSL_write(client->ssl, client->out + done, left)
                                           : write(client->fd, client->out + done, left);
        if (written > 0) {
            done += written;
            continue;
        }
        if (client->is_encrypted ? SSL_get_error(client->ssl, written) != SSL_ERROR_WANT_WRITE : errno != EAGAIN)
            return false;
        struct pollfd room = {client->fd, POLLOUT, 0};
        poll(&room, 1, -1);
    }
    client->said = 0;
    return true;
}

/* Answer whatever is whole; the answers to what came together go together. Whether the connection stays. */
static bool go_on(Client *client) {
    size_t done = 0;
    while (!client->is_over && !client->ssl_wanted && take(client, &done))
        if (client->said > ANSWERS - LONGEST_ANSWER && !flush(client)) return false;
    memmove(client->in, client->in + done, client->filled -= done);
    if (!flush(client) || client->is_over) return false;
    if (client->ssl_wanted && !client->ssl) {
        client->ssl = SSL_new(context);
        SSL_set_fd(client->ssl, client->fd);
    }
    return client->filled < ROOM;
}

/* Read what there is. Whether the connection stays. */
static bool hear(Client *client) {
    if (client->ssl && !client->is_encrypted) {
        int done = SSL_accept(client->ssl);
        if (done <= 0) return SSL_get_error(client->ssl, done) == SSL_ERROR_WANT_READ;
        client->is_encrypted = true;
        client->ssl_wanted = false;
    }
    do {
        char *to = client->in + client->filled;
        int room = ROOM - client->filled;
        int got = client->is_encrypted ? SSL_read(client->ssl, to, room) : read(client->fd, to, room);
        if (got <= 0) {
            bool is_all = client->is_encrypted ? SSL_get_error(client->ssl, got) == SSL_ERROR_WANT_READ
                                               : got < 0 && errno == EAGAIN;
            return is_all && go_on(client);
        }
        client->filled += got;
        bool comes_more = client->is_encrypted && SSL_has_pending(client->ssl) && client->filled < ROOM / 2;
        if (!comes_more && !go_on(client)) return false;
    } while (client->is_encrypted && SSL_has_pending(client->ssl));
    return true;
}

static void welcome(int listener, int events) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    Client *client = fd < 0 ? NULL : calloc(1, sizeof *client);
    if (!client) return;
    client->fd = fd;
    connections++;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    epoll_ctl(events, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = client});
    say(client, "220 sink\r\n");
    flush(client);
}

static void part(Client *client) {
    if (client->ssl) SSL_free(client->ssl);
    close(client->fd);
    free(client);
}

/* A value of a flat object whose texts need no escapes; "" if there is none. */
static const char *setting(const char *line, const char *name, char *value, size_t room) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\": ", name);
    const char *from = strstr(line, key);
    from = from ? from + strlen(key) : "";
    from += *from == '"';
    snprintf(value, room, "%.*s", (int)strcspn(from, "\",}"), from);
    return value;
}

static void configure(const char *line) {
    char chain[512], user[128], password[128], both[300], value[8];
    has_pipelining = !strcmp(setting(line, "pipelining", value, sizeof value), "true");
    has_chunking = !strcmp(setting(line, "chunking", value, sizeof value), "true");
    if (*setting(line, "chain_file", chain, sizeof chain)) {
        context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_read_ahead(context, 1);
        if (SSL_CTX_use_certificate_chain_file(context, chain) != 1) exit(2);
        if (SSL_CTX_use_PrivateKey_file(context, chain, SSL_FILETYPE_PEM) != 1) exit(2);
    }
    if (*setting(line, "username", user, sizeof user)) {
        setting(line, "password", password, sizeof password);
        int length = snprintf(both, sizeof both, "%c%s%c%s", 0, user, 0, password);
        EVP_EncodeBlock((unsigned char *)wanted, (unsigned char *)both, length);
    }
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void answer(void) {
    printf("{\"mails\": %ld, \"connections\": %ld, \"sign_ins\": %ld, \"cpu\": %f}\n", mails, connections, sign_ins,
           cpu_seconds());
    fflush(stdout);
}

int main(void) {
    static char line[4096];
    if (!fgets(line, sizeof line, stdin)) return 1;
    signal(SIGPIPE, SIG_IGN);
    configure(line);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), events = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 512)) return 1;
    getsockname(listener, (struct sockaddr *)&here, &(socklen_t){sizeof here});
    printf("{\"port\": %d}\n", ntohs(here.sin_port));
    fflush(stdout);
    epoll_ctl(events, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &here});
    epoll_ctl(events, EPOLL_CTL_ADD, STDIN_FILENO, &(struct epoll_event){.events = EPOLLIN, .data.ptr = line});
    for (struct epoll_event found[AT_ONCE];;) {
        int number = epoll_wait(events, found, AT_ONCE, -1);
        for (int each = 0; each < number; each++) {
            void *of = found[each].data.ptr;
            if (of == &here) welcome(listener, events);
            else if (of == line) {
                if (read(STDIN_FILENO, line, sizeof line) <= 0) return 0; /* whoever started us has gone */
                answer();
            } else if (!hear(of)) part(of);
        }
    }
}
