// A client over raw TCP. It joins a topic and prints the messages that it gets. Each line
// of its input is a JSON object, which it pushes as the event "msg".
//
//	cc -o client examples/tcp/c/client.c && ./client 127.0.0.1 4001 room:1 [token]
//
// Nothing is allocated: a packet that does not fit into body ends the connection. The
// topic and the token must need no escapes in JSON.

#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { TEXT = 1, CONNECT = 3, ACCEPTED = 4, REFUSED = 5, CLOSE = 8, PING = 9, PONG = 10 };

static uint8_t body[16384];

static int send_packet(int fd, uint8_t type, const void *data, uint32_t n) {
	uint8_t packet[5 + sizeof body] = {(n + 1) >> 24, (n + 1) >> 16, (n + 1) >> 8, n + 1, type};
	memcpy(packet + 5, data, n);
	for (size_t at = 0; at < 5 + n;) {
		ssize_t sent = send(fd, packet + at, 5 + n - at, MSG_NOSIGNAL);
		if (sent <= 0) return -1;
		at += sent;
	}
	return 0;
}

// push sends a message of version 2: [join_ref, ref, topic, event, payload].
static int push(int fd, const char *refs, const char *topic, const char *event, const char *payload) {
	char text[sizeof body];
	int n = snprintf(text, sizeof text, "[%s,\"%s\",\"%s\",%s]", refs, topic, event, payload);
	return n < (int)sizeof text ? send_packet(fd, TEXT, text, n) : -1;
}

static int receive(int fd, void *data, size_t n) { return n == 0 || recv(fd, data, n, MSG_WAITALL) == (ssize_t)n ? 0 : -1; }

// receive_packet fills body, with a zero behind it, and returns the type, -1 at the end.
static int receive_packet(int fd, uint32_t *n) {
	uint8_t head[5];
	if (receive(fd, head, 5)) return -1;
	*n = ((uint32_t)head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3]) - 1;
	if (*n >= sizeof body || receive(fd, body, *n)) return -1;
	body[*n] = 0;
	return head[4];
}

// session runs until the connection ends. It sets accepted if the server let the client in,
// and returns how many seconds to wait at least before the next.
static int session(int fd, const char *topic, const char *token, int *accepted) {
	static int input = STDIN_FILENO;
	char line[8192];
	uint32_t n = snprintf(line, sizeof line, "{\"path\":\"/socket\",\"params\":{\"token\":\"%s\"}}", token);
	struct timeval most = {.tv_sec = 45}; // for the rest of a packet
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
	if (send_packet(fd, CONNECT, line, n) || push(fd, "\"1\",\"1\"", topic, "phx_join", "{}")) return 0;
	for (time_t heard = time(NULL), beat = heard + 30;;) {
		struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = input, .events = POLLIN}};
		poll(wait, 2, 1000);
		if (time(NULL) >= beat) {
			if (time(NULL) > heard + 45 || push(fd, "null,\"3\"", "phoenix", "heartbeat", "{}")) return 0;
			beat += 30;
		}
		if (wait[1].revents) {
			if (!fgets(line, sizeof line, stdin)) input = -1;
			else if (push(fd, "\"1\",\"2\"", topic, "msg", line)) return 0;
		}
		if (!wait[0].revents) continue;
		heard = time(NULL);
		switch (receive_packet(fd, &n)) {
		case ACCEPTED: *accepted = 1; break;
		case REFUSED: printf("refused %d %s\n", body[0] << 8 | body[1], body + 4); return body[2] << 8 | body[3];
		case TEXT: printf("%s\n", body); break;
		case PING: send_packet(fd, PONG, body, n); break;
		case CLOSE: if (n > 1) printf("closed %d %s\n", body[0] << 8 | body[1], body + 2); break;
		case -1: return 0;
		}
	}
}

int main(int argc, char **argv) {
	if (argc < 4 || argc > 5) return fputs("usage: client HOST PORT TOPIC [TOKEN]\n", stderr), 2;
	setvbuf(stdin, NULL, _IONBF, 0), setvbuf(stdout, NULL, _IOLBF, 0), srand(time(NULL) ^ getpid());
	for (int failures = 0;; failures++) {
		int least = 0, accepted = 0, fd = -1;
		struct addrinfo *at, hints = {.ai_socktype = SOCK_STREAM};
		if (getaddrinfo(argv[1], argv[2], &hints, &at) == 0) {
			if ((fd = socket(at->ai_family, SOCK_STREAM, 0)) >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0)
				least = session(fd, argv[3], argc > 4 ? argv[4] : "", &accepted);
			freeaddrinfo(at), close(fd);
		}
		if (accepted) failures = 0;
		int most = failures < 5 ? 1000 << failures : 30000; // milliseconds
		int wait = least * 1000 + most / 2 + rand() % (most / 2); // so that not all come back at once
		printf("reconnecting in %d ms\n", wait);
		poll(NULL, 0, wait);
	}
}
