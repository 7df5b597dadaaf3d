// SPDX-License-Identifier: GPL-2.0
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lu_util.h"
#include "luod_slow.h"
#include "luod_util.h"

/* Of 9P2000.L: requests; each has its answer one above. */
enum {
	GETATTR = 24,
	LOPEN = 12,
	ERROR = 6,
	VERSION = 100,
	ATTACH_ROOT = 104,
	FLUSH = 108,
	WALK = 110,
	READ = 116,
	WRITE = 118,
	CLUNK = 120,
};

#define DIRECTORY	0x80
#define VERSION_NAME	"9P2000.L"
#define MSIZE		8192
#define HEAD		7
#define FIDS		64

/*
 * A filesystem with one file, by a server that can leave the end of a file without
 * an answer: whoever closes the last descriptor of it waits. The same for whoever
 * reads it, and for what is written to it, where the mount has that wait for a sync.
 */
static struct {
	int socket;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t held;
	bool hold;
	unsigned int nr_held;
	bool is_file[FIDS];
	bool is_open[FIDS];
} server = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.held = PTHREAD_COND_INITIALIZER,
};

/* A message: size, type, tag, and what belongs to the type. */
struct message {
	size_t len;
	unsigned char buf[MSIZE];
};

static void put(struct message *m, uint64_t value, size_t bytes)
{
	uint64_t le = htole64(value);

	memcpy(m->buf + m->len, &le, bytes);
	m->len += bytes;
}

static uint64_t get(const struct message *m, size_t at, size_t bytes)
{
	uint64_t le = 0;

	memcpy(&le, m->buf + at, bytes);
	return le64toh(le);
}

static void put_qid(struct message *m, bool file)
{
	put(m, file ? 0 : DIRECTORY, 1);
	put(m, 0, 4);
	put(m, file ? 2 : 1, 8);
}

static void put_attr(struct message *m, bool file)
{
	int i;

	put(m, 0x7ff, 8);
	put_qid(m, file);
	put(m, file ? S_IFREG | 0666 : S_IFDIR | 0755, 4);
	put(m, 0, 8);			/* owner, group */
	put(m, 1, 8);
	put(m, 0, 8);
	put(m, file ? 4096 : 0, 8);
	put(m, 4096, 8);
	put(m, 8, 8);
	for (i = 0; i < 10; i++)	/* times, generation, version */
		put(m, 0, 8);
}

static void walk(struct message *m, const struct message *in)
{
	unsigned int from = get(in, HEAD, 4) % FIDS, to = get(in, HEAD + 4, 4) % FIDS;
	unsigned int names = get(in, HEAD + 8, 2);

	server.is_file[to] = names || server.is_file[from];
	server.is_open[to] = false;
	put(m, names, 2);
	if (names)
		put_qid(m, true);
}

static void answer(const struct message *in)
{
	unsigned int type = in->buf[4], fid = get(in, HEAD, 4) % FIDS;
	struct message m = { .len = 4 };
	uint32_t size;

	put(&m, type + 1, 1);
	put(&m, get(in, 5, 2), 2);
	switch (type) {
	case VERSION:
		put(&m, MSIZE, 4);
		put(&m, strlen(VERSION_NAME), 2);
		memcpy(m.buf + m.len, VERSION_NAME, strlen(VERSION_NAME));
		m.len += strlen(VERSION_NAME);
		break;
	case ATTACH_ROOT:
		server.is_file[fid] = false;
		put_qid(&m, false);
		break;
	case WALK:
		walk(&m, in);
		break;
	case GETATTR:
		put_attr(&m, server.is_file[fid]);
		break;
	case LOPEN:
		server.is_open[fid] = true;
		put_qid(&m, server.is_file[fid]);
		put(&m, 0, 4);
		break;
	case CLUNK:
	case FLUSH:
		break;
	default:
		m.buf[4] = ERROR + 1;
		put(&m, EOPNOTSUPP, 4);
	}
	size = htole32(m.len);
	memcpy(m.buf, &size, sizeof(size));
	send(server.socket, m.buf, m.len, MSG_NOSIGNAL);
}

static bool is_held(const struct message *in)
{
	bool hold;

	pthread_mutex_lock(&server.lock);
	hold = server.hold && (in->buf[4] == READ || in->buf[4] == WRITE ||
			       (in->buf[4] == CLUNK && server.is_open[get(in, HEAD, 4) % FIDS]));
	if (hold) {
		server.nr_held++;
		pthread_cond_broadcast(&server.held);
	}
	pthread_mutex_unlock(&server.lock);
	return hold;
}

static bool receive(struct message *in)
{
	if (recv(server.socket, in->buf, 4, MSG_WAITALL) != 4)
		return false;
	in->len = get(in, 0, 4);
	return in->len >= HEAD && in->len <= MSIZE &&
	       recv(server.socket, in->buf + 4, in->len - 4, MSG_WAITALL) == in->len - 4;
}

static void *server_main(void *arg)
{
	struct message in;

	while (receive(&in))
		if (!is_held(&in))
			answer(&in);
	return NULL;
}

int luod_slow_start(const char *more)
{
	char options[160];
	int err, pair[2];

	err = lu_load_module("net/9p/9pnet_fd", "");
	if (err && err != -EEXIST)
		return err;
	mkdir(LUOD_SLOW, 0755);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	server.socket = pair[0];
	server.hold = false;
	server.nr_held = 0;
	err = -pthread_create(&server.thread, NULL, server_main, NULL);
	snprintf(options, sizeof(options),
		 "trans=fd,rfdno=%d,wfdno=%d,version=9p2000.L,access=any%s", pair[1], pair[1],
		 more);
	if (!err && mount("slow", LUOD_SLOW, "9p", 0, options))
		err = -errno;
	close(pair[1]);
	return err;
}

/* Without a server, nobody waits for it any more. */
void luod_slow_stop(void)
{
	shutdown(server.socket, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	umount2(LUOD_SLOW, MNT_DETACH);
	close(server.socket);
}

void luod_slow_hold(bool hold)
{
	pthread_mutex_lock(&server.lock);
	server.hold = hold;
	pthread_mutex_unlock(&server.lock);
}

/* Wait until so many ends are held: somebody waits in each. */
bool luod_slow_holds(unsigned int nr)
{
	struct timespec end;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += LUOD_PATIENCE_MS / 1000;
	pthread_mutex_lock(&server.lock);
	while (server.nr_held < nr && !err)
		err = pthread_cond_timedwait(&server.held, &server.lock, &end);
	nr = server.nr_held >= nr;
	pthread_mutex_unlock(&server.lock);
	return nr;
}
