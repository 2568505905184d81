// The yardstick: what a server of Phoenix Channels costs at the very least.
//
// One thread, one epoll, and for a broadcast the tightest loop there is: one
// send(2) of the same frame to every socket. It speaks just as much of
// WebSocket and of version 2 of the protocol as mycelium bench needs:
//
//   - every handshake is answered with the accept key of bench's one key;
//   - phx_join is answered ok, and the socket gets what is broadcast from then on;
//   - "shout" goes to every socket that has joined, whatever its topic;
//   - everything else, heartbeats included, is answered ok.
//
// It checks nothing, has no timeouts, no topics, no limits and no queues: a
// receiver that does not take a whole frame at once makes it exit, since what
// it would cost to be fair to that one is no longer the least. It parses what
// clients send in the one form that bench writes.
//
//   cc -O2 -o yardstick yardstick.c && ./yardstick 4100

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_MESSAGE = 1 << 20, HEAD = 10 };

struct conn {
	enum { CLOSED, HANDSHAKE, OPEN, JOINED } state;
	int place;      // in receivers, once joined
	char *partial;  // a frame whose end has not come
	int length;     // of partial
};

static struct conn *conns; // by descriptor
static int *receivers, receiver_count, epoll_fd;
static char input[MAX_MESSAGE + 64], output[MAX_MESSAGE + 256];

static const char accepted[] =
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void die(const char *what) {
	perror(what);
	exit(1);
}

static void drop(int fd) {
	struct conn *c = &conns[fd];
	if (c->state == JOINED) {
		int last = receivers[--receiver_count];
		receivers[c->place] = last;
		conns[last].place = c->place;
	}
	free(c->partial);
	memset(c, 0, sizeof *c);
	close(fd);
}

// write_head writes a frame's head so that it ends where the payload, at
// output + HEAD, begins. It returns the beginning of the frame.
static char *write_head(int payload) {
	unsigned char *head;
	if (payload < 126) {
		head = (unsigned char *)output + HEAD - 2;
		head[1] = payload;
	} else if (payload < 65536) {
		head = (unsigned char *)output + HEAD - 4;
		head[1] = 126;
		head[2] = payload >> 8;
		head[3] = payload;
	} else {
		head = (unsigned char *)output;
		head[1] = 127;
		memset(head + 2, 0, 4);
		for (int i = 0; i < 4; i++)
			head[6 + i] = payload >> (24 - 8 * i);
	}
	head[0] = 0x81;
	return (char *)head;
}

static void send_whole(int fd, const char *frame, int length) {
	ssize_t n = send(fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n == length || (n < 0 && (errno == EPIPE || errno == ECONNRESET)))
		return; // one that is gone is dropped when epoll says so
	fprintf(stderr, "yardstick: a receiver took %zd of %d bytes\n", n, length);
	exit(1);
}

// field reads a string or null and the comma behind it.
static char *field(char *p, char *end, char **text, int *length) {
	if (p < end && *p == '"') {
		char *quote = memchr(p + 1, '"', end - p - 1);
		if (!quote)
			return NULL;
		*text = p + 1;
		*length = quote - p - 1;
		return quote + 2;
	}
	*text = NULL;
	*length = 0;
	return end - p > 5 ? p + 5 : NULL; // null,
}

static int is(const char *text, int length, const char *word) {
	return length == (int)strlen(word) && !memcmp(text, word, length);
}

static void broadcast(const char *topic, int topic_length, const char *payload, int payload_length) {
	int n = sprintf(output + HEAD, "[null,null,\"%.*s\",\"shout\",", topic_length, topic);
	memcpy(output + HEAD + n, payload, payload_length); // with the array's end
	n += payload_length;
	char *frame = write_head(n);
	int length = output + HEAD + n - frame;
	for (int i = 0; i < receiver_count; i++)
		send_whole(receivers[i], frame, length);
}

static int put_ref(char *p, const char *ref, int length) {
	return ref ? sprintf(p, "\"%.*s\",", length, ref) : sprintf(p, "null,");
}

// message handles ["join_ref","ref","topic","event",payload].
static void message(int fd, char *p, int length) {
	char *text[4], *end = p + length;
	int size[4];
	p++;
	for (int i = 0; i < 4; i++)
		if (!(p = field(p, end, &text[i], &size[i])))
			return;
	struct conn *c = &conns[fd];
	if (is(text[3], size[3], "shout")) {
		broadcast(text[2], size[2], p, end - p);
		return;
	}
	if (is(text[3], size[3], "phx_join") && c->state == OPEN) {
		c->state = JOINED;
		c->place = receiver_count;
		receivers[receiver_count++] = fd;
	}
	char *out = output + HEAD;
	*out++ = '[';
	out += put_ref(out, text[0], size[0]);
	out += put_ref(out, text[1], size[1]);
	out += sprintf(out, "\"%.*s\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]", size[2], text[2]);
	char *frame = write_head(out - output - HEAD);
	send_whole(fd, frame, out - frame);
}

static void unmask(char *p, uint64_t length, uint32_t key) {
	uint64_t wide = (uint64_t)key << 32 | key, i = 0;
	for (; i + 8 <= length; i += 8) {
		uint64_t v;
		memcpy(&v, p + i, 8);
		v ^= wide;
		memcpy(p + i, &v, 8);
	}
	for (; i < length; i++)
		p[i] ^= ((char *)&key)[i & 3];
}

// frames handles the whole frames in p and returns how many bytes they are, or
// -1 for a connection that is to be dropped.
static int frames(int fd, char *p, int length) {
	char *begin = p, *end = p + length;
	while (end - p >= 6) {
		unsigned char *head = (unsigned char *)p;
		uint64_t size = head[1] & 127;
		char *key = p + 2;
		if (size == 126) {
			size = head[2] << 8 | head[3];
			key += 2;
		} else if (size == 127) {
			if (end - p < 14)
				break;
			size = (uint64_t)head[6] << 24 | head[7] << 16 | head[8] << 8 | head[9];
			key += 8;
		}
		char *payload = key + 4;
		if (size > MAX_MESSAGE)
			return -1;
		if (payload > end || (uint64_t)(end - payload) < size)
			break;
		uint32_t mask;
		memcpy(&mask, key, 4);
		unmask(payload, size, mask);
		if ((head[0] & 15) == 8)
			return -1;
		if ((head[0] & 15) == 1)
			message(fd, payload, size);
		p = payload + size;
	}
	return p - begin;
}

static void readable(int fd) {
	struct conn *c = &conns[fd];
	int kept = c->length;
	if (kept)
		memcpy(input, c->partial, kept);
	ssize_t n = recv(fd, input + kept, sizeof input - kept, MSG_DONTWAIT);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			drop(fd);
		return;
	}
	n += kept;
	if (c->state == HANDSHAKE) {
		c->state = OPEN;
		send_whole(fd, accepted, sizeof accepted - 1);
		return;
	}
	int used = frames(fd, input, n);
	if (used < 0) {
		drop(fd);
		return;
	}
	free(c->partial);
	c->partial = NULL;
	c->length = n - used;
	if (c->length) {
		c->partial = malloc(c->length);
		memcpy(c->partial, input + used, c->length);
	}
}

static void accept_some(int listener) {
	for (int i = 0; i < 64; i++) {
		int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		conns[fd].state = HANDSHAKE;
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e))
			die("epoll_ctl");
	}
}

static int listen_on(int port) {
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 65535))
		die("listen");
	return fd;
}

int main(int argc, char **argv) {
	if (argc != 2) {
		fprintf(stderr, "usage: %s PORT\n", argv[0]);
		return 2;
	}
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	conns = calloc(files.rlim_cur, sizeof *conns);
	receivers = calloc(files.rlim_cur, sizeof *receivers);
	epoll_fd = epoll_create1(0);
	if (!conns || !receivers || epoll_fd < 0)
		die("starting");
	int listener = listen_on(atoi(argv[1]));
	struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[512];
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e))
		die("epoll_ctl");
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 512, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_some(listener);
			else
				readable(events[i].data.fd);
		}
	}
}
