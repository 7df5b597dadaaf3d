// SPDX-License-Identifier: GPL-2.0
/*
 * What the tests see of the machine, and how they get it into the next kernel.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/kexec.h>
#include <linux/magic.h>
#include <linux/reboot.h>
#include <linux/userfaultfd.h>

#include "lu_util.h"

#define LU_INITRD		"/host/initrd"
#define LU_CMDLINE_MAX		2048
#define SLABS			"/sys/kernel/slab"
/* Between two looks at what is waited for. */
#define LU_TICK_MS		10

int lu_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int n = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n - 1;	/* the directory itself */
}

int lu_fd_link(int fd, char *buf, size_t len)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, buf, len - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return 0;
}

static ssize_t read_file(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return n;
}

int lu_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* The number behind a word in /proc/meminfo or /proc/vmstat, -1 if there is none. */
long lu_number_in(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	long number = -1, n;
	char word[64];

	while (f && fscanf(f, "%63s %ld%*[^\n]", word, &n) == 2)
		if (!strcmp(word, key))
			number = n;
	if (f)
		fclose(f);
	return number;
}

/* A line of /proc/meminfo, its name with the colon: -1 if there is none. */
long lu_meminfo_kib(const char *key)
{
	char buf[4096], *line;

	if (read_file("/proc/meminfo", buf, sizeof(buf)) < 0)
		return -1;
	line = strstr(buf, key);
	return line ? atol(line + strlen(key)) : -1;
}

/* Pages that are pinned for long, all over the system. */
long lu_pins(void)
{
	lu_write_file("/proc/sys/vm/stat_refresh", "1");
	return lu_number_in("/proc/vmstat", "nr_foll_pin_acquired") -
	       lu_number_in("/proc/vmstat", "nr_foll_pin_released");
}

/* Them, pages of shmem, and memory that was promised, as a line. */
const char *lu_memory(char line[LU_MEMORY])
{
	/* It brings the others up to date, too. */
	long pins = lu_pins();

	snprintf(line, LU_MEMORY, "%ld pins, shmem %ld KiB, committed %ld KiB", pins,
		 lu_meminfo_kib("Shmem:"), lu_meminfo_kib("Committed_AS:"));
	return line;
}

/*
 * Free pages that the CPUs hold back: several MiB, and not in MemFree. A line
 * "count: N" for each zone and CPU.
 */
static long held_back_kib(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	long pages = 0, n;
	char line[256];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	fclose(f);
	return pages * (LU_PAGE / LU_KIB);
}

/*
 * What a process had that ended, its stack and its page tables, is freed by
 * callbacks after a grace period; all those that are waiting have run then.
 */
static void await_callbacks(void)
{
	lu_write_file("/sys/module/rcutree/parameters/do_rcu_barrier", "1");
}

/*
 * Give back the empty slabs of all caches, and with KASAN the freed objects that it
 * keeps to see whether somebody uses them still.
 */
static void shrink_slabs(void)
{
	char path[300];
	struct dirent *entry;
	DIR *dir = opendir(SLABS);

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), SLABS "/%s/shrink", entry->d_name);
		lu_write_file(path, "1");
	}
	if (dir)
		closedir(dir);
}

/* Free memory; caches of the kernel's are emptied first. */
long lu_free_kib(void)
{
	long held, again, kib;
	int tries = 10;

	/* The callbacks of what just ended have callbacks of their own. */
	await_callbacks();
	lu_write_file("/proc/sys/vm/drop_caches", "3");
	await_callbacks();
	shrink_slabs();
	again = held_back_kib();
	do {
		/* What goes from a CPU's list to the free ones meanwhile is in neither. */
		held = again;
		lu_write_file("/proc/sys/vm/stat_refresh", "1");
		kib = lu_meminfo_kib("MemFree:");
		again = held_back_kib();
	} while (again != held && --tries);
	return kib + held;
}

long lu_total_kib(void)
{
	return lu_meminfo_kib("MemTotal:");
}

long lu_swap_free_kib(void)
{
	return lu_meminfo_kib("SwapFree:");
}

static void rest(void)
{
	usleep(LU_TICK_MS * 1000);
}

/* Memory is freed after a grace period now and then: give it some time. */
bool lu_await_free_kib(long want)
{
	struct timespec start, now;
	long have;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		have = lu_free_kib();
		if (have >= want)
			return true;
		rest();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < LU_PATIENCE_S);
	fprintf(stderr, "# MemFree: %ld KiB, wanted %ld KiB\n", have, want);
	return false;
}

static void *stalled_write(void *arg)
{
	struct lu_stall *stall = arg;

	stall->written = pwrite(stall->fd, stall->page, LU_PAGE, 0);
	return NULL;
}

/*
 * Have a write(2) to the first page of @fd under way that does not come to an
 * end before lu_stall_end(): the page it reads from is nowhere yet.
 */
int lu_stall_write(struct lu_stall *stall, int fd)
{
	struct uffdio_register range = {
		.range.len = LU_PAGE,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_api api = { .api = UFFD_API };
	struct uffd_msg msg;

	stall->fd = fd;
	stall->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (stall->uffd < 0 || ioctl(stall->uffd, UFFDIO_API, &api))
		return -errno;
	stall->page = mmap(NULL, LU_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stall->page == MAP_FAILED)
		return -errno;
	range.range.start = (uintptr_t)stall->page;
	if (ioctl(stall->uffd, UFFDIO_REGISTER, &range))
		return -errno;
	if (pthread_create(&stall->thread, NULL, stalled_write, stall))
		return -EAGAIN;
	return read(stall->uffd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -EIO;
}

/* Let it write: zeroes. */
int lu_stall_end(struct lu_stall *stall)
{
	struct uffdio_zeropage zero = {
		.range.start = (uintptr_t)stall->page,
		.range.len = LU_PAGE,
	};

	if (ioctl(stall->uffd, UFFDIO_ZEROPAGE, &zero))
		return -errno;
	pthread_join(stall->thread, NULL);
	close(stall->uffd);
	munmap(stall->page, LU_PAGE);
	return stall->written == (ssize_t)LU_PAGE ? 0 : -EIO;
}

static bool contains(const char *line, const char *what)
{
	size_t len = strlen(what);

	for (; *line; line++)
		if (!strncasecmp(line, what, len))
			return true;
	return false;
}

/* Lines of the kernel log with @what, and as urgent as @level at least. */
int lu_log_lines(const char *what, int level)
{
	int size = klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0), n = 0;
	char *buf, *line, *rest;

	if (size < 0)
		return -errno;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	size = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, buf, size);
	buf[size > 0 ? size : 0] = 0;
	for (rest = buf; (line = strsep(&rest, "\n"));) {
		/* "<LEVEL>[TIME] WHAT: ..." */
		if (*line != '<' || (atoi(line + 1) & 7) > level)
			continue;
		if (!contains(line, what) || contains(line, "command line"))
			continue;
		printf("# log: %s\n", line);
		n++;
	}
	free(buf);
	return n;
}

/* A tmpfs at /dev/shm, also where no init system has mounted one. */
int lu_need_shm(void)
{
	struct statfs fs;

	if (!statfs("/dev/shm", &fs) && fs.f_type == TMPFS_MAGIC)
		return 0;
	mkdir("/dev/shm", 0755);
	return mount("shm", "/dev/shm", "tmpfs", 0, NULL) ? -errno : 0;
}

/* Load a module of this kernel by its place in the tree, without ".ko". */
int lu_load_module(const char *module, const char *options)
{
	struct utsname u;
	char path[256];
	int fd, err;

	if (uname(&u))
		return -errno;
	snprintf(path, sizeof(path), "/lib/modules/%s/kernel/%s.ko", u.release, module);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, options, 0) ? -errno : 0;
	close(fd);
	return err;
}

/* Run a program to its end: its exit status, or a negative errno. */
int lu_run(char *const argv[])
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

/* By its name alone. */
int lu_unload_module(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* A file that was closed lets go of its module a moment later. */
bool lu_await_unload(const char *module)
{
	int i;

	for (i = 0; i < LU_PATIENCE_MS / LU_TICK_MS; i++) {
		if (!lu_unload_module(module))
			return true;
		rest();
	}
	return false;
}

static ssize_t read_of(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return read_file(path, buf, size);
}

/* As in /proc/PID/stat; 'X' if there is no such process. */
static char state_of(pid_t pid)
{
	char stat[512], *state;

	if (read_of(pid, "stat", stat, sizeof(stat)) < 0)
		return 'X';
	state = strrchr(stat, ')');
	return state && state[1] ? state[2] : 'X';
}

/*
 * Wait until a process sleeps so that nothing but SIGKILL or the event wakes it, in a
 * function of the kernel whose name has @where in it; false if it ends before.
 */
bool lu_await_sleep(pid_t pid, const char *where)
{
	char function[128], state;
	int i;

	for (i = 0; i < LU_PATIENCE_MS / LU_TICK_MS; i++) {
		state = state_of(pid);
		if (state == 'D' && read_of(pid, "wchan", function, sizeof(function)) >= 0 &&
		    strstr(function, where))
			return true;
		if (state == 'Z' || state == 'X')
			return false;
		rest();
	}
	return false;
}

/* The end of a child, which may be one that hangs. */
bool lu_await_end(pid_t pid, int *status)
{
	int i;

	for (i = 0; i < LU_PATIENCE_MS / LU_TICK_MS; i++) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		rest();
	}
	return false;
}

union fd_control {
	char buf[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int lu_send_fd(int socket, int fd)
{
	union fd_control control = {};
	struct iovec data = { .iov_base = "\n", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(socket, &msg, 0) < 0 ? -errno : 0;
}

int lu_recv_fd(int socket)
{
	union fd_control control = {};
	char byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -EIO;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -ENOMSG;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

/* Which boot of a test this is, from 1; 0 outside of a guest. */
int lu_stage(void)
{
	const char *stage = getenv("LU_STAGE");

	return stage ? atoi(stage) : 0;
}

/* The value of KEY=VALUE on the kernel's command line, the last one counts. */
bool lu_param(const char *key, char *buf, size_t len)
{
	char line[LU_CMDLINE_MAX], *rest = line, *word;
	size_t n = strlen(key);
	bool found = false;

	if (read_file("/proc/cmdline", line, sizeof(line)) < 0)
		return false;
	while ((word = strsep(&rest, "\n "))) {
		if (strncmp(word, key, n) || word[n] != '=')
			continue;
		snprintf(buf, len, "%s", word + n + 1);
		found = true;
	}
	return found;
}

uint64_t lu_param_u64(const char *key)
{
	char value[32];

	return lu_param(key, value, sizeof(value)) ? strtoull(value, NULL, 0) : 0;
}

/* Whether @word sets a key that @more sets again. */
static bool replaced(const char *word, const char *more)
{
	size_t n = strcspn(word, "=");

	for (; more && *more; more += strcspn(more, " ")) {
		more += strspn(more, " ");
		if (!strncmp(word, more, n) && (more[n] == '=' || more[n] == ' ' || !more[n]))
			return true;
	}
	return false;
}

/* This kernel's command line for stage @stage, with the words of @more set. */
int lu_cmdline(char *buf, size_t len, int stage, const char *more)
{
	char line[LU_CMDLINE_MAX], last[LU_CMDLINE_MAX], *rest = line, *word;
	size_t used = 0;
	int n;

	if (read_file("/proc/cmdline", line, sizeof(line)) < 0)
		return -errno;
	line[strcspn(line, "\n")] = 0;
	n = snprintf(last, sizeof(last), "lu.stage=%d%s%s", stage,
		     more ? " " : "", more ?: "");
	if (n < 0 || (size_t)n >= sizeof(last))
		return -E2BIG;
	while ((word = strsep(&rest, " "))) {
		if (!*word || replaced(word, last))
			continue;
		n = snprintf(buf + used, len - used, "%s ", word);
		if (n < 0 || (size_t)n >= len - used)
			return -E2BIG;
		used += n;
	}
	n = snprintf(buf + used, len - used, "%s", last);
	return n < 0 || (size_t)n >= len - used ? -E2BIG : 0;
}

/* 'a' or 'b': the last letter of the running kernel's release. */
char lu_letter(void)
{
	struct utsname u;

	return uname(&u) ? 0 : u.release[strlen(u.release) - 1];
}

const char *lu_next_image(void)
{
	return lu_letter() == 'b' ? "/host/bzImage-a" : "/host/bzImage-b";
}

int lu_load_image(const char *image, const char *cmdline)
{
	int kernel = open(image, O_RDONLY | O_CLOEXEC);
	int initrd = open(LU_INITRD, O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (kernel < 0 || initrd < 0)
		err = -errno;
	else if (syscall(SYS_kexec_file_load, kernel, initrd,
			 strlen(cmdline) + 1, cmdline, 0UL))
		err = -errno;
	if (kernel >= 0)
		close(kernel);
	if (initrd >= 0)
		close(initrd);
	return err;
}

/* Load the other kernel for stage @stage. */
int lu_load(int stage, const char *more)
{
	char cmdline[LU_CMDLINE_MAX];
	int err = lu_cmdline(cmdline, sizeof(cmdline), stage, more);

	return err ?: lu_load_image(lu_next_image(), cmdline);
}

/* The same with kexec-tools: @mode is -s for kexec_file_load(2), -c for the old call. */
int lu_load_tools(char *mode, int stage)
{
	char line[LU_CMDLINE_MAX], arg[LU_CMDLINE_MAX + 32];
	char * const argv[] = {
		"kexec", mode, "-l", (char *)lu_next_image(), "--initrd=" LU_INITRD, arg, NULL,
	};
	int err = lu_cmdline(line, sizeof(line), stage, NULL);

	snprintf(arg, sizeof(arg), "--command-line=%s", line);
	return err ?: lu_run(argv);
}

/* By the old call, an image that is as good as any as long as it is not started. */
int lu_load_old(void)
{
	static char page[LU_PAGE];
	struct kexec_segment segment = {
		.buf = page,
		.bufsz = sizeof(page),
		.mem = (void *)(64 * LU_MIB),
		.memsz = sizeof(page),
	};

	return syscall(SYS_kexec_load, 64 * LU_MIB, 1UL, &segment,
		       (unsigned long)KEXEC_ARCH_DEFAULT) ? -errno : 0;
}

int lu_unload(void)
{
	return syscall(SYS_kexec_file_load, -1, -1, 0UL, NULL,
		       (unsigned long)KEXEC_FILE_UNLOAD) ? -errno : 0;
}

/* Returns only on failure. */
int lu_jump(void)
{
	fflush(stdout);
	fflush(stderr);
	return reboot(LINUX_REBOOT_CMD_KEXEC) ? -errno : -EIO;
}

int lu_kexec(int stage, const char *more)
{
	int err = lu_load(stage, more);

	return err ?: lu_jump();
}
