// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "image.h"
#include "log.h"
#include "memfd.h"

#define LOADED	"/sys/kernel/kexec_loaded"

/* Is there while an image is loaded for a trial, in case that luod dies then. */
#define TRIAL	"/run/luod.trial"

/* Is there while luod's image is loaded, for the next luod to know. */
#define OURS		"/run/luod.image"

/* Larger than any image: what is larger is not kept in memory. */
#define COPY_MAX	(1024L * 1024 * 1024)

#define SEALS		(F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

/* What luod has loaded, to load it again after a trial. */
static struct {
	int kernel;
	int initrd;
	char *cmdline;
} image = { -1, -1, NULL };

/* What is loaded is not to be gone into. */
static bool trial;

/* What is loaded is what luod loaded, as far as luod can know. */
static bool ours;

/* A trial is loaded that could not be unloaded, or another's image in its place. */
static bool doubtful;

static int file_load(int kernel, int initrd, const char *cmdline)
{
	unsigned long flags = initrd < 0 ? KEXEC_FILE_NO_INITRAMFS : 0;

	return syscall(SYS_kexec_file_load, kernel, initrd, strlen(cmdline) + 1, cmdline,
		       flags) ? -errno : 0;
}

static int unload(void)
{
	return syscall(SYS_kexec_file_load, -1, -1, 0UL, NULL,
		       (unsigned long)KEXEC_FILE_UNLOAD) ? -errno : 0;
}

/* Without the mark, the next luod would take what is on trial for an image to go into. */
static int begin_trial(void)
{
	int fd = open(TRIAL, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), err = -errno;

	if (fd < 0) {
		log_warning("no image is checked without a mark: " TRIAL ": %s",
			    strerror(-err));
		return err;
	}
	close(fd);
	trial = true;
	return 0;
}

static void end_trial(void)
{
	trial = false;
	unlink(TRIAL);
}

/*
 * While somebody else loads an image, this one cannot be unloaded, nor later: what
 * is loaded then is that other image, if that went well.
 */
static int drop_trial(void)
{
	int err = trial ? unload() : 0;

	if (!trial)
		return 0;
	if (err) {
		log_warning("the image of a check cannot be unloaded, somebody else is about to load one: no update until one is loaded by luod");
		doubtful = true;
	}
	end_trial();
	return err;
}

static bool any_loaded(void)
{
	int fd = open(LOADED, O_RDONLY | O_CLOEXEC);
	char c = '0';

	if (fd < 0)
		return image.kernel >= 0;
	if (read(fd, &c, 1) != 1)
		c = '0';
	close(fd);
	return c == '1';
}

/* Read only: the kernel loads no file that somebody could write to. */
static int seal(int fd)
{
	char path[32];

	if (fcntl(fd, F_ADD_SEALS, SEALS))
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int copy_bytes(int to, int from, off_t size)
{
	off_t at = 0;
	ssize_t n;

	while (at < size) {
		n = sendfile(to, from, &at, size - at);
		if (n <= 0)
			return n ? -errno : -EIO;
	}
	return 0;
}

/* A file of luod's own with the same contents. */
static int copy_file(int from)
{
	struct stat st;
	int fd, err;

	if (fstat(from, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > COPY_MAX)
		return -EINVAL;
	fd = new_memfd("image", MFD_ALLOW_SEALING);
	if (fd < 0)
		return fd;
	err = copy_bytes(fd, from, st.st_size) ?: seal(fd);
	close(fd);
	return err;
}

/* Without the mark, a luod that is started again wants it loaded again. */
static void set_ours(bool is)
{
	int fd = is ? open(OURS, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

	if (fd >= 0)
		close(fd);
	else if (!is && ours)
		unlink(OURS);
	ours = is;
}

static void close_files(int kernel, int initrd)
{
	if (kernel >= 0)
		close(kernel);
	if (initrd >= 0)
		close(initrd);
}

static int copy_files(int kernel, int initrd, int copies[2])
{
	int err;

	copies[0] = copy_file(kernel);
	copies[1] = -1;
	if (copies[0] < 0 || initrd < 0)
		return copies[0] < 0 ? copies[0] : 0;
	copies[1] = copy_file(initrd);
	err = copies[1];
	if (err < 0)
		close(copies[0]);
	return err < 0 ? err : 0;
}

static void keep(int kernel, int initrd, char *cmdline)
{
	close_files(image.kernel, image.initrd);
	free(image.cmdline);
	image.kernel = kernel;
	image.initrd = initrd;
	image.cmdline = cmdline;
}

static void forget(void)
{
	keep(-1, -1, NULL);
}

/**
 * image_start - unload what a luod that died has loaded for a trial
 */
void image_start(void)
{
	ours = !access(OURS, F_OK);
	if (access(TRIAL, F_OK))
		return;
	trial = true;
	log_warning("the last luod died while it checked an image: it is unloaded");
	drop_trial();
}

/*
 * Load copies, and keep those: what is loaded again later is the same then, and the
 * file system that the files came from can be unmounted.
 */
static int load_copies(int kernel, int initrd, const char *cmdline, int copies[2])
{
	int err;

	if (copy_files(kernel, initrd, copies))
		return -EACCES;
	err = file_load(copies[0], copies[1], cmdline);
	if (err)
		close_files(copies[0], copies[1]);
	return err;
}

/**
 * image_load - load the next kernel
 * @kernel: its image; luod's from now on, unless this fails
 * @initrd: its initramfs, likewise; negative for none
 * @cmdline: its command line
 *
 * Without memory for copies, or if the kernel has rules (-%EACCES) by which it
 * takes none of those, the files themselves are loaded, and stay open.
 *
 * Return: 0 or why not; what was loaded before is still loaded then.
 */
int image_load(int kernel, int initrd, const char *cmdline)
{
	char *line = strdup(cmdline);
	int copies[2], err;

	if (!line)
		return -ENOMEM;
	/* No room for what nobody can load again. */
	if (!any_loaded())
		forget();
	err = load_copies(kernel, initrd, cmdline, copies);
	if (!err) {
		close_files(kernel, initrd);
		keep(copies[0], copies[1], line);
	} else if (err == -EACCES) {
		err = file_load(kernel, initrd, cmdline);
	}
	if (err) {
		free(line);
		return err;
	}
	if (image.cmdline != line) {
		log_warning("the files of the image stay open: there is no copy of them");
		keep(kernel, initrd, line);
	}
	doubtful = false;
	set_ours(true);
	return 0;
}

/**
 * image_loaded - whether there is an image to go into, whoever loaded it
 *
 * If there is none any more, there is no copy of one, either.
 */
bool image_loaded(void)
{
	bool loaded = any_loaded();

	if (!loaded) {
		doubtful = false;
		set_ours(false);
		forget();
	}
	return loaded && !doubtful;
}

/**
 * image_renew - have the kernel look at the image once more
 *
 * It looked when the image was loaded, and then there may have been nothing to
 * lose, or pages that are damaged by now.
 *
 * Return: 0, also for an image that another luod has loaded; why the image cannot
 * be loaded any more, and it still is; -%ESTALE for one that is not luod's.
 */
int image_renew(void)
{
	if (!ours)
		return -ESTALE;
	return image.kernel < 0 ? 0 : file_load(image.kernel, image.initrd, image.cmdline);
}

/* The trial was a success: load what was loaded before it. */
static int load_again(void)
{
	int err = file_load(image.kernel, image.initrd, image.cmdline);

	if (!err) {
		end_trial();
		return 0;
	}
	log_err("the image that was loaded before a check cannot be loaded again: %s",
		image_explain(err));
	forget();
	drop_trial();
	return -ESTALE;
}

/**
 * image_check - ask the kernel whether an image could be loaded
 * @kernel: as for image_load(); the caller's, whatever happens
 * @initrd: likewise
 * @cmdline: likewise
 *
 * What was loaded before is loaded again afterwards, so it has to be luod's. It is
 * never the trial that stays.
 *
 * Return: 0 or why it could not be loaded; -%EBUSY if somebody else has loaded
 * an image, or is about to; -%ESTALE if what was loaded before could not be loaded
 * again, so that nothing is loaded now.
 */
int image_check(int kernel, int initrd, const char *cmdline)
{
	bool loaded = image_loaded();
	int err;

	if (doubtful || (loaded && image.kernel < 0))
		return -EBUSY;
	err = begin_trial();
	if (err)
		return err;
	err = file_load(kernel, initrd, cmdline);
	if (err) {
		end_trial();
		return err;
	}
	return loaded ? load_again() : drop_trial();
}

/**
 * image_jump - go into the next kernel
 *
 * What is dirty has to be written out by now.
 *
 * Return: why not. Sessions and files are as they were.
 */
int image_jump(void)
{
	reboot(LINUX_REBOOT_CMD_KEXEC);
	return -errno;
}

/**
 * image_explain - why an image was not loaded, for people
 * @err: negative errno
 */
const char *image_explain(int err)
{
	switch (-err) {
	case ENOEXEC:
		return "this is not a kernel that can be loaded";
	case EOPNOTSUPP:
		return "started like this, it cannot take what is preserved: see the kernel's log";
	case EADDRNOTAVAIL:
		return "there is no room for it: boot with a larger kho_scratch=";
	case EBUSY:
		return "somebody else has loaded an image, or is about to";
	case EPERM:
		return "luod may not load a kernel";
	case EKEYREJECTED:
	case ENOKEY:
	case ENODATA:
		return "the kernel's signature was not accepted";
	case ENOMEM:
		return "there is not enough memory for it";
	case EINVAL:
		return "it is not a regular file with a kernel, or its command line is too long";
	case ESTALE:
		return "it can, but the image that was loaded cannot any more: none is loaded now";
	case EBADF:
		return "it is not a file that can be read";
	default:
		return strerror(-err);
	}
}
