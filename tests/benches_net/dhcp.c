/* PXE firmware for measurements: broadcasts DISCOVERs of many machines and waits for each one's OFFER.

   dhcp INTERFACE SERVER COUNT IN_FLIGHT
       prints "offer SECONDS" for each machine that was answered by SERVER, then "all ANSWERED LOST SECONDS".
   A machine whose OFFER does not come within a second is lost; it does not ask again. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { OPTIONS = 240, LENGTH = 347 };
static const double PATIENCE = 1.0;
static const uint32_t FIRST_XID = 0x5a000000;

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

/* What OVMF x64 sends, but for the long list of option 55. */
static void discover(uint8_t *packet, uint32_t number)
{
    static const uint8_t options[] =
        "\x63\x82\x53\x63\x35\x01\x01\x39\x02\x05\xc0\x37\x08\x01\x03\x06\x0c\x0f\x2b\x3c\x43"
        "\x61\x11\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x5e\x03\x01\x03\x00\x5d\x02\x00\x07"
        "\x3c\x20PXEClient:Arch:00007:UNDI:003000\xff";
    uint32_t xid = htonl(FIRST_XID + number), in_mac = htonl(number);

    memset(packet, 0, LENGTH);
    memcpy(packet, "\x01\x01\x06", 3);
    memcpy(packet + 4, &xid, 4);
    packet[10] = 0x80;
    memcpy(packet + 28, "\x52\x54", 2);
    memcpy(packet + 30, &in_mac, 4);
    memcpy(packet + 236, options, sizeof options - 1);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    uint32_t count = atoi(argv[3]), in_flight = atoi(argv[4]), sent = 0, answered = 0, lost = 0, oldest = 0;
    double *began = calloc(count, sizeof *began);
    struct sockaddr_in us = {.sin_family = AF_INET, .sin_port = htons(68)};
    struct sockaddr_in all = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = INADDR_BROADCAST};
    in_addr_t server = inet_addr(argv[2]);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1, room = 8 << 20;
    uint8_t packet[2048];

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on)
        || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, argv[1], strlen(argv[1]))
        || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) || bind(fd, (void *)&us, sizeof us))
        die("socket");
    double start = now(), t = start;
    while (answered + lost < count) {
        while (sent < count && sent - answered - lost < in_flight) {
            discover(packet, sent);
            began[sent++] = now();
            if (sendto(fd, packet, LENGTH, 0, (void *)&all, sizeof all) != LENGTH)
                die("sendto");
        }
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (poll(&waiting, 1, 50) > 0) {
            struct sockaddr_in from;
            socklen_t size = sizeof from;
            ssize_t length = recvfrom(fd, packet, sizeof packet, 0, (void *)&from, &size);
            uint32_t xid, number;
            memcpy(&xid, packet + 4, 4);
            number = ntohl(xid) - FIRST_XID;
            t = now();
            if (length >= OPTIONS && packet[0] == 2 && from.sin_addr.s_addr == server && number < sent
                && began[number] > 0) {
                printf("offer %.6f\n", t - began[number]);
                began[number] = 0;
                answered++;
            }
        }
        t = now();
        for (; oldest < sent && (began[oldest] == 0 || t - began[oldest] > PATIENCE); oldest++)
            if (began[oldest] > 0) {
                began[oldest] = 0;
                lost++;
            }
    }
    printf("all %u %u %.6f\n", answered, lost, t - start);
    return 0;
}
