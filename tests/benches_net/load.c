/* TFTP clients for measurements: many at once, each with an address of its own, every byte compared.

   load fetch SERVER NAME FILE BLKSIZE WINDOWSIZE CLIENTS FIRST_ADDRESS
       prints "client SECONDS" for each client that has FILE, then "all COMPLETED FAILED REPEATS SECONDS".
   load serve ADDRESS FILE BLKSIZE WINDOWSIZE
       the least a server can do: answers each datagram of one client with the next window. It is what the
       sockets and the wire cost; it repeats nothing and checks nothing. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RRQ = 1, DATA = 3, ACK = 4, ERROR = 5, OACK = 6, TRIES = 10, MOST_BATCH = 256 };
static const double PATIENCE = 1.0;

struct client {
    int fd, tries, connected, asked_again;
    uint64_t expected; /* the next block, without end */
    int in_window;
    uint64_t offset;
    double due, began, ended;
    int failed, reported_gap;
};

static const uint8_t *content;
static uint64_t size;
static int blksize, windowsize;
static long repeats;
static struct sockaddr_in server;
static char request[512];
static size_t request_length;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void load(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st))
        die(path);
    size = st.st_size;
    content = mmap(NULL, size ? size : 1, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (content == MAP_FAILED)
        die("mmap");
    close(fd);
}

static void word(const char *text)
{
    size_t length = strlen(text) + 1;
    memcpy(request + request_length, text, length);
    request_length += length;
}

static void number(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    word(name);
    word(text);
}

static void acknowledge(struct client *c)
{
    uint64_t block = c->expected - 1;
    uint8_t packet[4] = {0, ACK, block >> 8, block};
    c->in_window = 0;
    c->due = now() + PATIENCE;
    if (send(c->fd, packet, 4, 0) < 0 && errno != ECONNREFUSED)
        die("send");
}

static void ask(struct client *c)
{
    c->due = now() + PATIENCE;
    if (sendto(c->fd, request, request_length, 0, (struct sockaddr *)&server, sizeof server) < 0)
        die("sendto");
}

static void end(struct client *c, int failed)
{
    c->failed = failed;
    c->ended = now();
    close(c->fd);
}

static void take(struct client *c, const uint8_t *packet, ssize_t length)
{
    int opcode = length < 4 ? 0 : packet[1];
    uint16_t block = packet[2] << 8 | packet[3];
    if (opcode == ERROR) {
        fprintf(stderr, "error %d %.*s\n", block, (int)length - 4, (const char *)packet + 4);
        end(c, 1);
    } else if (opcode == OACK && c->expected == 1) {
        if (!memmem(packet, length, "windowsize", 10))
            windowsize = 1;
        acknowledge(c);
    } else if (opcode == DATA && block == (uint16_t)c->expected) {
        uint64_t got = length - 4, wanted = size - c->offset < (uint64_t)blksize ? size - c->offset : (uint64_t)blksize;
        if (got != wanted || memcmp(packet + 4, content + c->offset, got)) {
            fprintf(stderr, "block %lu is wrong\n", c->expected);
            end(c, 1);
            return;
        }
        c->offset += got;
        c->expected++;
        c->tries = c->reported_gap = 0;
        if (got < (uint64_t)blksize) {
            acknowledge(c);
            end(c, 0);
        } else if (++c->in_window == windowsize)
            acknowledge(c);
    } else if (opcode == DATA && (int16_t)(block - (uint16_t)c->expected) > 0 && !c->reported_gap) {
        c->reported_gap = 1;
        repeats++;
        acknowledge(c);
    }
}

static void receive(struct client *c)
{
    static uint8_t packet[65536];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t got;
    if (c->connected)
        got = recv(c->fd, packet, sizeof packet, 0);
    else
        got = recvfrom(c->fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &length);
    if (got < 0) {
        if (errno != EAGAIN && errno != ECONNREFUSED)
            die("recv");
        return;
    }
    if (!c->connected) {
        if (connect(c->fd, (struct sockaddr *)&from, sizeof from))
            die("connect");
        c->connected = 1;
    }
    take(c, packet, got);
}

static void overdue(struct client *c)
{
    repeats++;
    if (++c->tries > TRIES)
        end(c, 2);
    else if (c->connected)
        acknowledge(c);
    else
        ask(c);
}

static void start(struct client *c, uint32_t address)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    struct timeval patience = {.tv_sec = (long)PATIENCE};
    c->fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&own, sizeof own))
        die("bind");
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    c->expected = 1;
    c->began = now();
    ask(c);
}

static void run(struct client *clients, int count, uint32_t address)
{
    struct epoll_event events[MOST_BATCH];
    int poll = epoll_create1(0), left = count;
    double looked = now();
    for (int i = 0; i < count; i++) {
        start(&clients[i], address + i);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &event))
            die("epoll_ctl");
    }
    while (left) {
        int ready = 0;
        if (count == 1) { /* nothing but recv and send */
            receive(&clients[0]);
            left = !clients[0].ended;
        } else {
            ready = epoll_wait(poll, events, MOST_BATCH, 50);
            for (int i = 0; i < ready; i++) {
                receive(&clients[events[i].data.u32]);
                left -= clients[events[i].data.u32].ended != 0;
            }
        }
        double t = now();
        if (t - looked < 0.05)
            continue;
        looked = t;
        for (int i = 0; i < count; i++)
            if (!clients[i].ended && t > clients[i].due) {
                overdue(&clients[i]);
                left -= clients[i].ended != 0;
            }
    }
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static int fetch(char **words)
{
    int count = atoi(words[5]), completed = 0;
    struct client *clients = calloc(count, sizeof *clients);
    double *times = calloc(count, sizeof *times), began = now();
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(69)};
    inet_pton(AF_INET, words[0], &server.sin_addr);
    load(words[2]);
    blksize = atoi(words[3]);
    windowsize = atoi(words[4]);
    request[request_length++] = 0;
    request[request_length++] = RRQ;
    word(words[1]);
    word("octet");
    number("tsize", 0);
    number("blksize", blksize);
    if (windowsize > 1)
        number("windowsize", windowsize);
    run(clients, count, ntohl(inet_addr(words[6])));
    for (int i = 0; i < count; i++)
        if (!clients[i].failed)
            times[completed++] = clients[i].ended - clients[i].began;
    qsort(times, completed, sizeof *times, by_size);
    double seconds = now() - began;
    for (int i = 0; i < completed; i++)
        printf("client %.6f\n", times[i]);
    printf("all %d %d %ld %.6f\n", completed, count - completed, repeats, seconds);
    return 0;
}

static _Noreturn void serve(char **words)
{
    uint8_t packet[65536];
    char oack[128];
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(69)}, from;
    socklen_t length = sizeof from;
    int listening = socket(AF_INET, SOCK_DGRAM, 0);
    inet_pton(AF_INET, words[0], &own.sin_addr);
    load(words[1]);
    blksize = atoi(words[2]);
    windowsize = atoi(words[3]);
    if (bind(listening, (struct sockaddr *)&own, sizeof own))
        die("bind");
    for (;;) {
        if (recvfrom(listening, packet, sizeof packet, 0, (struct sockaddr *)&from, &length) < 0)
            die("recvfrom");
        int fd = socket(AF_INET, SOCK_DGRAM, 0), n;
        if (connect(fd, (struct sockaddr *)&from, sizeof from))
            die("connect");
        n = 2 + sprintf(oack + 2, "blksize%c%d", 0, blksize) + 1;
        oack[0] = 0, oack[1] = OACK;
        n += sprintf(oack + n, "windowsize%c%d", 0, windowsize) + 1;
        send(fd, oack, n, 0);
        uint64_t sent = 0, last = size / blksize + 1;
        while (sent < last) {
            if (recv(fd, packet, sizeof packet, 0) < 0)
                die("recv");
            for (int i = 0; i < windowsize && sent < last; i++, sent++) {
                uint64_t offset = sent * blksize, wire = sent + 1;
                uint8_t head[4] = {0, DATA, wire >> 8, wire};
                struct iovec parts[2] = {
                    {head, 4},
                    {(void *)(content + offset), size - offset < (uint64_t)blksize ? size - offset : (uint64_t)blksize},
                };
                if (writev(fd, parts, 2) < 0)
                    die("writev");
            }
        }
        recv(fd, packet, sizeof packet, 0);
        close(fd);
    }
}

int main(int count, char **words)
{
    if (count == 9 && !strcmp(words[1], "fetch"))
        return fetch(words + 2);
    if (count == 6 && !strcmp(words[1], "serve"))
        serve(words + 2);
    fprintf(stderr, "expected `fetch` or `serve` with their arguments, see the top of load.c\n");
    return 2;
}
