/* The floor: what no server can be faster than that makes one system call per event and connection.
 *
 *     cc -O2 -o floor floor.c && ./floor PORT
 *
 * Answers a GET with the head of an event stream, and writes the body of a POST, as one event in one chunk,
 * to every stream there is, or, of a POST to /one, to one of them, each in its turn.  A GET with
 * "Last-Event-ID: N" gets the last N events in the same write.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST = 65536, KEPT = 64, AT_ONCE = 1024, EVENT = 8192, MOST = 1 << 20 };

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
    "transfer-encoding: chunked\r\n\r\n8\r\n: open\n\n\r\n";
static const char DONE[] = "HTTP/1.1 204 No Content\r\n\r\n";

/* What a connection has sent of its next request; most have sent all of it at once. */
struct request {
    char *got;
    size_t size;
};

static struct request *requests; /* by descriptor */
static int *streams;             /* descriptors */
static int *place;               /* of a descriptor among the streams, and one more; 0: it is none */
static int open_streams, turn;
static char kept[KEPT][EVENT];
static size_t kept_size[KEPT];
static unsigned events;

static void out_of(const char *what)
{
    perror(what);
    exit(1);
}

static void deliver(int fd, const char *event, size_t size)
{
    send(fd, event, size, MSG_NOSIGNAL);
}

static void publish(const char *body, size_t length, int everybody)
{
    char *event = kept[events % KEPT];
    int head = snprintf(event, EVENT, "%zx\r\ndata: ", length + 8);
    if (head + length + 4 > EVENT) {
        fprintf(stderr, "an event of %zu bytes is too large\n", length);
        exit(1);
    }
    memcpy(event + head, body, length);
    memcpy(event + head + length, "\n\n\r\n", 4);
    size_t size = kept_size[events++ % KEPT] = head + length + 4;
    if (everybody)
        for (int n = 0; n < open_streams; n++)
            deliver(streams[n], event, size);
    else if (open_streams)
        deliver(streams[turn++ % open_streams], event, size);
}

static void open_stream(int fd, unsigned missed)
{
    static char first[sizeof HEAD + KEPT * EVENT];
    size_t size = sizeof HEAD - 1;
    memcpy(first, HEAD, size);
    if (missed > KEPT || missed > events)
        missed = events < KEPT ? events : KEPT;
    for (unsigned n = events - missed; n != events; n++) {
        memcpy(first + size, kept[n % KEPT], kept_size[n % KEPT]);
        size += kept_size[n % KEPT];
    }
    deliver(fd, first, size);
    if (!place[fd]) {
        streams[open_streams] = fd;
        place[fd] = ++open_streams;
    }
}

static void let_go(int fd)
{
    if (place[fd]) {
        int last = streams[--open_streams];
        streams[place[fd] - 1] = last;
        place[last] = place[fd];
        place[fd] = 0;
    }
    free(requests[fd].got);
    requests[fd] = (struct request){0};
    close(fd);
}

static unsigned long number_after(const char *head, const char *name)
{
    const char *found = strcasestr(head, name);
    return found ? strtoul(found + strlen(name), NULL, 10) : 0;
}

/* Answer the first request in got; how many bytes it had, 0 if it is not complete. */
static size_t answer(int fd, char *got, size_t size)
{
    char *end = memmem(got, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *end = 0;
    char *body = end + 4;
    size_t length = number_after(got, "\r\ncontent-length: ");
    if (size - (body - got) < length) {
        *end = '\r';
        return 0;
    }
    if (!strncmp(got, "POST ", 5)) {
        publish(body, length, strncmp(got, "POST /one ", 10));
        send(fd, DONE, sizeof DONE - 1, MSG_NOSIGNAL);
    } else {
        open_stream(fd, number_after(got, "\r\nlast-event-id: "));
    }
    return body + length - got;
}

static void hear(int fd)
{
    static char buffer[2 * LARGEST];
    struct request *request = &requests[fd];
    if (request->size > LARGEST) {
        let_go(fd);
        return;
    }
    if (request->size)
        memcpy(buffer, request->got, request->size);
    ssize_t n = recv(fd, buffer + request->size, LARGEST, 0);
    if (n <= 0) {
        let_go(fd);
        return;
    }
    size_t size = request->size + n, from = 0, had;
    while ((had = answer(fd, buffer + from, size - from)))
        from += had;
    free(request->got);
    *request = (struct request){0};
    if (size > from) {
        if (!(request->got = malloc(size - from)))
            out_of("malloc");
        memcpy(request->got, buffer + from, request->size = size - from);
    }
}

int main(int argc, char **argv)
{
    int most = getdtablesize() < MOST ? getdtablesize() : MOST;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener}, ready[AT_ONCE];
    requests = calloc(most, sizeof *requests);
    streams = calloc(most, sizeof *streams);
    place = calloc(most, sizeof *place);
    if (!requests || !streams || !place)
        out_of("calloc");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096))
        out_of("listen");
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &wanted);
    for (;;) {
        int count = epoll_wait(poll, ready, AT_ONCE, -1);
        for (int n = 0; n < count; n++) {
            int fd = ready[n].data.fd;
            if (fd != listener) {
                hear(fd);
                continue;
            }
            int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (accepted < 0 || accepted >= most)
                continue;
            setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            wanted.data.fd = accepted;
            epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &wanted);
        }
    }
}
