/* The server of tools/bench.py: reads and discards, as fast as this machine can.
 *
 *     sink [--tls CERT.PEM KEY.PEM] [--serve FILE] [--cap RATE]
 *
 *     accept -> thread: { head -> (100) -> body, discarded -> response }*
 *
 * It prints its port on 127.0.0.1 and exits at the end of its stdin. PUT and POST respond with a
 * link to the server itself; GET and HEAD serve FILE or one range of it; GET /statistics returns
 * the bytes of bodies received and sent. HEAD without FILE is a 404 (rclone asks before it
 * uploads). S3 clients get ETag, their CRC-32 and uploads in parts. --cap: at most RATE bytes per
 * second and connection, and 20 ms for a response.
 * tools/sink.py does the same in Python, for machines without a compiler.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { HEAD = 64 * 1024, BLOCK = 256 * 1024 };      /* a block stays in the cache */

#ifdef __linux__
enum { DISCARD = MSG_TRUNC };                       /* the kernel drops the bytes */
#else
enum { DISCARD = 0 };
#endif

struct wire { int fd; SSL *ssl; char *block; };
struct request {
    char method[16], path[2048], host[256], crc[64];
    long long length, first, last;
    int expects, closes, chunked, is_s3;
};

static SSL_CTX *tls;
static int served = -1;
static long long served_size, cap;
static atomic_llong received, sent;

/* 1 The wire */

static ssize_t receive(struct wire *w, char *to, size_t room) {
    return w->ssl ? SSL_read(w->ssl, to, (int)room) : recv(w->fd, to, room, 0);
}

static int send_all(struct wire *w, const char *from, size_t size) {
    while (size) {
        ssize_t n = w->ssl ? SSL_write(w->ssl, from, (int)size)
                           : send(w->fd, from, size, MSG_NOSIGNAL);
        if (n <= 0) return 0;
        from += n;
        size -= (size_t)n;
    }
    return 1;
}

static void pause_for(double seconds) {
    time_t full = (time_t)seconds;
    struct timespec duration = {full, (long)((seconds - (double)full) * 1e9)};
    nanosleep(&duration, NULL);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* 2 Requests */

static const char *header(const char *head, const char *name) {
    size_t size = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, size) && line[2 + size] == ':')
            return line + 3 + size + strspn(line + 3 + size, " ");
    return NULL;
}

static int parse(const char *head, struct request *r) {
    const char *value;
    memset(r, 0, sizeof *r);
    if (sscanf(head, "%15s %2047s", r->method, r->path) != 2) return 0;
    if ((value = header(head, "Host"))) sscanf(value, "%255[^\r\n]", r->host);
    if ((value = header(head, "Content-Length"))) r->length = atoll(value);
    r->last = served_size - 1;
    value = header(head, "Range");
    if (value && sscanf(value, "bytes=%lld-%lld", &r->first, &r->last) == 1 && r->first < 0)
        r->first += served_size;
    if (r->last >= served_size) r->last = served_size - 1;
    r->expects = (value = header(head, "Expect")) && !strncasecmp(value, "100-", 4);
    r->closes = (value = header(head, "Connection")) && !strncasecmp(value, "close", 5);
    r->chunked = header(head, "Transfer-Encoding") != NULL;
    r->is_s3 = header(head, "x-amz-content-sha256") != NULL;
    if ((value = header(head, "x-amz-checksum-crc32"))) sscanf(value, "%63[^\r\n]", r->crc);
    return 1;
}

/* Read a head into `head`; after it are the `*rest` bytes of the body that arrived with it. */
static char *read_head(struct wire *w, char *head, size_t *rest) {
    size_t have = 0;
    char *end = NULL;
    while (!end && have < HEAD - 1) {
        ssize_t n = receive(w, head + have, HEAD - 1 - have);
        if (n <= 0) return NULL;
        have += (size_t)n;
        head[have] = 0;
        end = memmem(head, have, "\r\n\r\n", 4);
    }
    if (!end) return NULL;
    end[2] = 0;
    *rest = have - (size_t)(end + 4 - head);
    return end + 4;
}

static int discard(struct wire *w, long long left) {
    double begun = now();
    long long size = left;
    while (left > 0) {
        if (cap) {
            double ahead = (double)(size - left) / (double)cap - (now() - begun);
            if (ahead > 0.001) pause_for(ahead);
        }
        size_t most = left < BLOCK ? (size_t)left : BLOCK;
        ssize_t n = w->ssl ? SSL_read(w->ssl, w->block, (int)most)
                           : recv(w->fd, w->block, most, DISCARD);
        if (n <= 0) return 0;
        left -= n;
        received += n;
    }
    return 1;
}

/* Search for the end of a chunked body, an empty chunk without trailers, without parsing it:
 * aws-chunked has chunks of its own inside. */
static int discard_chunks(struct wire *w, const char *first, size_t size) {
    char tail[14] = "";                 /* the last bytes: the end may arrive in two reads */
    size_t have = 0;
    const char *fresh = first;
    for (;;) {
        size_t added = size < 7 ? size : 7;
        size_t old = have < 7 ? have : 7;
        memmove(tail, tail + have - old, old);
        memcpy(tail + old, fresh + size - added, added);
        have = old + added;
        if (have >= 7 && !memcmp(tail + have - 7, "\r\n0\r\n\r\n", 7)) return 1;
        if (have == 5 && !memcmp(tail, "0\r\n\r\n", 5)) return 1;
        ssize_t n = receive(w, w->block, BLOCK);
        if (n <= 0) return 0;
        received += n;
        fresh = w->block;
        size = (size_t)n;
    }
}

/* 3 Responses */

static int respond(struct wire *w, const struct request *r, const char *status, const char *body) {
    char text[4096], crc[128] = "";
    int head_only = !strcmp(r->method, "HEAD");
    if (*r->crc) snprintf(crc, sizeof crc, "x-amz-checksum-crc32: %s\r\n", r->crc);
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nETag: \"sink\"\r\n%s"
                        "Content-Length: %zu\r\n\r\n%s",
                        status, crc, strlen(body), head_only ? "" : body);
    return send_all(w, text, (size_t)size);
}

static int respond_link(struct wire *w, const struct request *r) {
    char link[2560];
    const char *slash = strrchr(r->path, '/');
    const char *name = slash && slash[1] ? slash + 1 : "file.bin";
    snprintf(link, sizeof link, "%s://%s/abc/%s", tls ? "https" : "http", r->host, name);
    return respond(w, r, "200 OK", link);
}

static int respond_statistics(struct wire *w, const struct request *r) {
    char text[64];
    snprintf(text, sizeof text, "%lld %lld", (long long)received, (long long)sent);
    return respond(w, r, "200 OK", text);
}

static int respond_file(struct wire *w, const struct request *r) {
    char text[512];
    long long at = r->first, left = r->last - r->first + 1;
    int part = left != served_size;
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\nAccept-Ranges: bytes\r\n"
                        "Content-Type: application/octet-stream\r\nContent-Length: %lld\r\n",
                        part ? "206 Partial Content" : "200 OK", left);
    if (part)
        size += snprintf(text + size, sizeof text - (size_t)size,
                         "Content-Range: bytes %lld-%lld/%lld\r\n",
                         r->first, r->last, served_size);
    size += snprintf(text + size, sizeof text - (size_t)size, "\r\n");
    if (!send_all(w, text, (size_t)size) || !strcmp(r->method, "HEAD")) return 1;
    while (left > 0) {
        ssize_t n = pread(served, w->block, left < BLOCK ? (size_t)left : BLOCK, at);
        if (n <= 0 || !send_all(w, w->block, (size_t)n)) return 0;
        at += n;
        left -= n;
        sent += n;
    }
    return 1;
}

static int respond_any(struct wire *w, const struct request *r) {
    if (!strcmp(r->path, "/statistics")) return respond_statistics(w, r);
    if (!strcmp(r->method, "POST") && strstr(r->path, "?uploads"))
        return respond(w, r, "200 OK",
                       "<InitiateMultipartUploadResult><UploadId>1</UploadId>"
                       "</InitiateMultipartUploadResult>");
    if (!strcmp(r->method, "POST") && strstr(r->path, "uploadId="))
        return respond(w, r, "200 OK",
                       "<CompleteMultipartUploadResult><ETag>sink</ETag>"
                       "</CompleteMultipartUploadResult>");
    if (!strcmp(r->method, "PUT") && r->is_s3) return respond(w, r, "200 OK", "");
    if (!strcmp(r->method, "PUT") || !strcmp(r->method, "POST")) return respond_link(w, r);
    if (served < 0 || r->last < r->first) return respond(w, r, "404 Not Found", "not here");
    return respond_file(w, r);
}

/* 4 Connections */

static void handle_requests(struct wire *w) {
    char *head = malloc(HEAD);
    struct request r;
    size_t more;
    char *body;
    while ((body = read_head(w, head, &more)) && parse(head, &r)) {
        if (r.expects && !more && !send_all(w, "HTTP/1.1 100 Continue\r\n\r\n", 25)) break;
        received += (long long)more;
        if (r.chunked && !discard_chunks(w, body, more)) break;
        if (!r.chunked && !discard(w, r.length - (long long)more)) break;
        if (cap) pause_for(0.02);
        if (!respond_any(w, &r) || r.closes) break;
    }
    free(head);
}

static void *connection(void *argument) {
    struct wire w = {(int)(long)argument, NULL, malloc(BLOCK)};
    int on = 1;
    setsockopt(w.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tls) {
        w.ssl = SSL_new(tls);
        SSL_set_fd(w.ssl, w.fd);
    }
    if (!tls || SSL_accept(w.ssl) == 1) handle_requests(&w);
    if (tls) {
        SSL_shutdown(w.ssl);
        SSL_free(w.ssl);
    }
    close(w.fd);
    free(w.block);
    return NULL;
}

static void *until_stdin_ends(void *unused) {
    char byte;
    while (read(0, &byte, 1) > 0) { }
    exit(0);
    return unused;
}

static void start(void *(*function)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, argument) == 0) pthread_detach(thread);
}

/* 5 The program */

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void load_certificate(const char *certificate, const char *key) {
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, 256 * 1024);
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1) die(certificate);
    if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) die(key);
}

static void load_file(const char *path) {
    struct stat about;
    served = open(path, O_RDONLY);
    if (served < 0 || fstat(served, &about) != 0) die(path);
    served_size = about.st_size;
}

static int listen_on_loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 128)) die("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--tls") && i + 2 < argc) {
            load_certificate(argv[i + 1], argv[i + 2]);
            i += 2;
        } else if (!strcmp(argv[i], "--serve") && i + 1 < argc) {
            load_file(argv[++i]);
        } else if (!strcmp(argv[i], "--cap") && i + 1 < argc) {
            cap = atoll(argv[++i]);
        } else {
            fprintf(stderr, "usage: sink [--tls CERT KEY] [--serve FILE] [--cap RATE]\n");
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = listen_on_loopback();
    start(until_stdin_ends, NULL);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) start(connection, (void *)(long)fd);
    }
}
