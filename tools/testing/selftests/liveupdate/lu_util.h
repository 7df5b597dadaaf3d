/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the live update tests share: the requests as functions, contents that
 * can be made again in the next kernel, and the way into it.
 *
 * A function that can fail returns a negative errno, like the kernel, so that
 * a test reads ASSERT_EQ(-ENOENT, lu_retrieve(dev, "x")).
 */
#ifndef _LU_UTIL_H
#define _LU_UTIL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/liveupdate.h>

#define LU_DEVICE	"/dev/liveupdate"

#define LU_KIB		1024ULL
#define LU_MIB		(1024 * LU_KIB)
#define LU_GIB		(1024 * LU_MIB)
#define LU_PAGE		4096ULL

/*
 * How long to wait for what has to come. It is waited for in vain only if it never
 * does, so this is more than a machine that is busy with others ever takes.
 */
#define LU_PATIENCE_S	60
#define LU_PATIENCE_MS	(LU_PATIENCE_S * 1000)

/* Requests. */
int lu_open_dev(void);
int lu_create(int dev, const char *name);
int lu_retrieve(int dev, const char *name);
int lu_preserve(int session, int fd, uint64_t token);
int lu_retrieve_fd(int session, uint64_t token);
int lu_finish(int session);
int lu_get_name(int session, char name[LIVEUPDATE_SESSION_NAME_LENGTH]);

/* Contents: a word of them depends on the seed and on its place in the file. */
int lu_memfd(const char *name, size_t size, uint64_t seed);
void lu_fill_mem(void *mem, off_t off, size_t len, uint64_t seed);
int lu_fill(int fd, off_t off, size_t len, uint64_t seed);
int lu_check(int fd, off_t off, size_t len, uint64_t seed);
int lu_check_zero(int fd, off_t off, size_t len);
int lu_checksum(int fd, uint64_t *sum);
off_t lu_size(int fd);
blkcnt_t lu_blocks(int fd);
bool lu_same_file(int a, int b);

/* The machine. */
int lu_count_fds(void);
int lu_fd_link(int fd, char *buf, size_t len);
struct lu_stall {
	int fd;
	int uffd;
	char *page;
	pthread_t thread;
	ssize_t written;
};

int lu_stall_write(struct lu_stall *stall, int fd);
int lu_stall_end(struct lu_stall *stall);
long lu_number_in(const char *path, const char *key);
long lu_free_kib(void);
long lu_meminfo_kib(const char *key);
long lu_total_kib(void);
long lu_pins(void);
#define LU_MEMORY	96
const char *lu_memory(char line[LU_MEMORY]);
long lu_swap_free_kib(void);
bool lu_await_free_kib(long want);
int lu_log_lines(const char *what, int level);
int lu_write_file(const char *path, const char *text);
int lu_need_shm(void);
int lu_load_module(const char *module, const char *options);
int lu_run(char *const argv[]);
int lu_unload_module(const char *module);
bool lu_await_unload(const char *module);
bool lu_await_sleep(pid_t pid, const char *where);
bool lu_await_end(pid_t pid, int *status);
int lu_send_fd(int socket, int fd);
int lu_recv_fd(int socket);

/* The way into the next kernel. */
int lu_stage(void);
bool lu_param(const char *key, char *buf, size_t len);
uint64_t lu_param_u64(const char *key);
int lu_cmdline(char *buf, size_t len, int stage, const char *more);
char lu_letter(void);
const char *lu_next_image(void);
int lu_load(int stage, const char *more);
int lu_load_image(const char *image, const char *cmdline);
int lu_load_tools(char *mode, int stage);
int lu_load_old(void);
int lu_unload(void);
int lu_jump(void);
int lu_kexec(int stage, const char *more);

#endif /* _LU_UTIL_H */
