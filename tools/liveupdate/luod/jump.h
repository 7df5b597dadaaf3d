/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The way into the next kernel: at once, but for two seconds at most in which file
 * systems are written out; or by systemd, which stops services before. A shutdown
 * can be refused, can hang, and can be stopped as long as systemd itself runs:
 *
 *	asked --> waiting --> (the next kernel)
 *	  |          |  ^
 *	  |   cancel or too late
 *	  |          v  |        no: the shutdown goes on
 *	  |      cancelling
 *	  |          |
 *	  +----------+---------> off: there is no kexec, and none will come
 */
#ifndef LUOD_JUMP_H
#define LUOD_JUMP_H

/**
 * struct jump_hooks - who is told what becomes of a shutdown
 * @off: there is none: negative errno, and why
 * @stuck: it should be stopped and cannot be: why
 */
struct jump_hooks {
	void (*off)(int err, const char *message);
	void (*stuck)(const char *message);
};

int jump_prepare(void);
int jump_start(const struct jump_hooks *hooks);
int jump_take_over(const struct jump_hooks *hooks);
int jump_cancel(int err, const char *reason);

#endif /* LUOD_JUMP_H */
