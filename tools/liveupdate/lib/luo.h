/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libluo: live update for programs. See libluo(3).
 *
 * Every function that can fail returns a negative errno, and nothing has
 * changed then; 0, a descriptor or another number that is not negative is
 * success. errno itself means nothing after a call. Descriptors that are
 * returned are close-on-exec and the caller's to close; those that are passed
 * in stay the caller's.
 *
 * Functions on different descriptors and agents can run at the same time; a
 * struct luo_agent is for one thread at a time.
 */
#ifndef LUO_H
#define LUO_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LUO_DEVICE		"/dev/liveupdate"
#define LUO_AGENT_SOCKET	"/run/luod.sock"

/* Session names with their NUL, as the kernel knows them and as luod does. */
#define LUO_NAME_SIZE		64
#define LUO_AGENT_NAME_SIZE	48

/*
 * The device. One process at a time has it, so open it for the moment of a
 * request and close it. Sessions do not depend on it.
 */

/**
 * luo_open - open /dev/liveupdate
 * @timeout_ms: how long to wait while somebody else has it; 0 for not at all,
 *              negative for as long as it takes
 *
 * Return: a descriptor; -EBUSY when the time is over; -ENOENT or -ENXIO where
 * there is no live update, or another error of open(2).
 */
int luo_open(int timeout_ms);

/**
 * luo_create - make a session for the next kernel
 * @device: from luo_open()
 * @name: its name, 1 to 63 bytes
 *
 * Return: the session's descriptor, which keeps it; -EINVAL for a bad name,
 * -EEXIST for one that is in use.
 */
int luo_create(int device, const char *name);

/**
 * luo_retrieve - take a session from the previous kernel
 * @device: from luo_open()
 * @name: its name, 1 to 63 bytes
 *
 * Return: the session's descriptor; -EINVAL for a bad name or while somebody
 * holds the session, -ENOENT when there is none, -EBADMSG for a damaged one.
 */
int luo_retrieve(int device, const char *name);

/* What a session is, see <linux/liveupdate.h>. Kernels may know more. */
enum luo_session_state {
	LUO_SESSION_OUTGOING = 1,
	LUO_SESSION_INCOMING = 2,
	LUO_SESSION_HELD = 3,
};

/**
 * struct luo_session_info - a session in the kernel's list
 * @id: means it until the next kernel; never 0
 * @files: how many it has
 * @state: an enum luo_session_state
 * @by_name: luo_retrieve() finds it; older sessions of a name have the id only
 * @name: ends in a NUL, can hold any other byte
 */
struct luo_session_info {
	uint64_t id;
	uint64_t files;
	uint32_t state;
	bool by_name;
	char name[LUO_NAME_SIZE];
};

/**
 * luo_next - go through the kernel's list of sessions
 * @device: from luo_open()
 * @info: begin with all zeroes; the next session is written over the last one
 *
 * Return: 0; -ENOENT after the last one; -EOPNOTSUPP on kernels that have no
 * such list.
 */
int luo_next(int device, struct luo_session_info *info);

/**
 * luo_retrieve_id - as luo_retrieve(), for any session in the kernel's list
 * @device: from luo_open()
 * @id: from luo_next()
 *
 * Return: the session's descriptor; -ENOENT when it is no more, -EINVAL for an
 * outgoing one, -EBADMSG for a damaged one, -EBUSY while somebody holds it,
 * -EOPNOTSUPP on kernels that have no such list.
 */
int luo_retrieve_id(int device, uint64_t id);

/**
 * luo_discard - drop a session from the previous kernel that nobody wants
 * @device: from luo_open()
 * @id: from luo_next()
 *
 * Return: 0; -ENOENT when it is no more, -EINVAL for an outgoing one, -EBUSY
 * while somebody holds it or a file is not ready, -EAGAIN while state that its
 * files share cannot be had, -EOPNOTSUPP while a file has no handler and on
 * kernels that have no such list.
 */
int luo_discard(int device, uint64_t id);

/*
 * Sessions.
 */

/**
 * luo_preserve - put a file into a session
 * @session: an outgoing session
 * @fd: the file
 * @token: the number by which it is asked for in the next kernel
 *
 * Return: 0; -EBADF, -EEXIST for a token in use, -ENOENT for a kind of file
 * that cannot be preserved, -EBUSY for a file that is preserved already,
 * -EINVAL on an incoming session, -ENOTUNIQ on a finished one whose name is in
 * use again, -EAGAIN while state that such files share cannot be had, or the
 * error of the kind of file.
 */
int luo_preserve(int session, int fd, uint64_t token);

/**
 * luo_retrieve_fd - get a file out of a session
 * @session: an incoming session
 * @token: the file's number
 *
 * Return: a descriptor; -ENOENT for an unknown token, -EOPNOTSUPP while the
 * kind of file has no handler, -EBADMSG for a damaged file, -EINVAL on an
 * outgoing session, or the error of the kind of file.
 */
int luo_retrieve_fd(int session, uint64_t token);

/**
 * luo_finish - end a session from the previous kernel
 * @session: an incoming session
 *
 * Its files are their holders' alone from here on, what nobody retrieved is
 * freed. The descriptor can be used for the next update.
 *
 * Return: 0; -EBUSY when a file is not ready for it, -EAGAIN while state that
 * files share cannot be had, -EOPNOTSUPP while one that was not retrieved has no
 * handler, -EINVAL on an outgoing session.
 */
int luo_finish(int session);

/**
 * luo_name - what a session is called
 * @session: any session
 * @name: gets the name and a NUL
 *
 * Return: 0; -ENOTTY for a descriptor that is no session, -EBADF.
 */
int luo_name(int session, char name[LUO_NAME_SIZE]);

/**
 * luo_send - pass a session to another process
 * @socket: a Unix socket; of a stream, the other side reads nothing but this
 * @session: the session; the caller's descriptor stays open
 *
 * Return: 0; -ENOTTY for a descriptor that is no session, or an error of
 * sendmsg(2); -EPIPE comes without a signal.
 */
int luo_send(int socket, int session);

/**
 * luo_receive - get a session from luo_send()
 * @socket: a Unix socket
 * @name: gets the name and a NUL; can be NULL
 *
 * Return: the session's descriptor; -ECONNRESET when the other side is gone,
 * -EBADMSG when what came is no session, or an error of recvmsg(2).
 */
int luo_receive(int socket, char name[LUO_NAME_SIZE]);

/*
 * The agent, luod(8): it has the right to make sessions and hands them out, and
 * it says when an update comes. luod-protocol(7) has what goes over the socket.
 */
struct luo_agent;

/* Where a session comes from. */
enum luo_origin {
	LUO_NEW = 0,		/* made in this kernel */
	LUO_FROM_BEFORE = 1,	/* from the previous kernel: files to retrieve */
};

enum luo_event_type {
	/* Nothing within the time given. */
	LUO_EVENT_NONE = 0,
	/* An update comes: preserve what is large while going on. */
	LUO_EVENT_PREPARE,
	/* All are prepared: stop, preserve the rest. */
	LUO_EVENT_SUSPEND,
	/* No update after all: go on. */
	LUO_EVENT_CANCEL,
	/*
	 * An update comes, and does not ask this client, which needs no answer: what
	 * it has preserved goes as it is when the kernel goes, whatever it does until
	 * then. If that update is called off, nothing is said. Since version 1.3.
	 */
	LUO_EVENT_LEFT_OUT,
};

/**
 * struct luo_event - what the agent wants
 * @type: an enum luo_event_type
 * @update: which update it is about
 * @deadline_ms: how long the answer may take
 */
struct luo_event {
	enum luo_event_type type;
	uint64_t update;
	uint32_t deadline_ms;
};

/**
 * luo_agent_connect - talk to the agent
 * @agent: gets the connection, for luo_agent_close()
 * @path: the agent's socket; NULL for $LUOD_SOCKET or else LUO_AGENT_SOCKET
 *
 * Return: 0, or an error of connect(2); -EAGAIN when the agent is dead, and the
 * shutdown that it has asked for may still come, or when it has taken nobody for
 * ten seconds.
 */
int luo_agent_connect(struct luo_agent **agent, const char *path);

/**
 * luo_agent_close - end the connection
 * @agent: the connection; NULL is fine
 *
 * Sessions stay with the caller's descriptors.
 */
void luo_agent_close(struct luo_agent *agent);

/**
 * luo_agent_fd - a descriptor to poll for POLLIN
 * @agent: the connection
 *
 * Call luo_agent_event() until it gives LUO_EVENT_NONE before polling it.
 *
 * Return: the descriptor, which stays the library's.
 */
int luo_agent_fd(const struct luo_agent *agent);

/**
 * luo_agent_session - ask for a session by name
 * @agent: the connection
 * @name: the caller's name for it, 1 to 47 letters, digits or any of "._@:+-";
 *        every user has names of their own
 * @origin: gets LUO_FROM_BEFORE if the previous kernel left it, LUO_NEW if it
 *          was made just now; can be NULL
 *
 * From here on the agent sends events, see luo_agent_event().
 *
 * Return: the session's descriptor; -EINVAL for a bad name, -EBUSY while
 * somebody has the session, -EDQUOT over the user's limit, -ECONNRESET when the
 * agent is gone, -EBADMSG when what came is not this session, or an error of
 * luo_create() or luo_retrieve().
 */
int luo_agent_session(struct luo_agent *agent, const char *name, enum luo_origin *origin);

/**
 * luo_agent_attach - show the agent a session that one has
 * @agent: the connection
 * @session: from luo_agent_session() over another connection
 *
 * For when the agent was started again.
 *
 * Return: 0; -EINVAL for a session that is not of this user, -EBUSY while
 * another connection has it, -EAGAIN while an update is running, -ECONNRESET when
 * the agent is gone, -ETIMEDOUT when there is no answer within ten seconds; after
 * those two the connection is of no use.
 */
int luo_agent_attach(struct luo_agent *agent, int session);

/**
 * luo_agent_release - do without a session
 * @agent: the connection
 * @name: the session's name
 *
 * The agent forgets the session and closes its copy: with the caller's last
 * descriptor an outgoing session ends, and one from the previous kernel can be
 * asked for again. Since version 1.1 of the library.
 *
 * Return: 0; -ENOENT when this connection does not have it, -EAGAIN while an
 * update is running, -EOPNOTSUPP from an agent that knows no such request.
 */
int luo_agent_release(struct luo_agent *agent, const char *name);

/**
 * luo_agent_event - the next thing that the agent wants
 * @agent: the connection
 * @event: gets it
 * @timeout_ms: how long to wait; negative for as long as it takes
 *
 * Answer LUO_EVENT_PREPARE and LUO_EVENT_SUSPEND with luo_agent_ready() or
 * luo_agent_refuse(). Pass over types that you do not know: there can be more of
 * them.
 *
 * After an error the connection is of no use. Who has answered LUO_EVENT_SUSPEND
 * stays as it is then, and connects again: that luo_agent_attach() succeeds means
 * LUO_EVENT_CANCEL, and so does -ECONNREFUSED or -ENOENT of luo_agent_connect(),
 * for an agent that is dead has cancelled what it had begun. Everything else means
 * that the update can still come, and that the caller tries again.
 *
 * Return: 0; -ECONNRESET when the agent is gone, -EBADMSG when it talks
 * nonsense, -ENOMEM.
 */
int luo_agent_event(struct luo_agent *agent, struct luo_event *event, int timeout_ms);

/**
 * luo_agent_ready - done what the event asks for
 * @agent: the connection
 * @event: the event
 *
 * Return: 0; -ESTALE when the update was cancelled meanwhile, -ECONNRESET.
 */
int luo_agent_ready(struct luo_agent *agent, const struct luo_event *event);

/**
 * luo_agent_leave - end before the kernel does
 * @agent: the connection
 * @event: the LUO_EVENT_SUSPEND that luo_agent_ready() has answered
 *
 * The agent keeps the caller's sessions for the next kernel, and does not take the
 * end of the connection for a failure: without this it calls the update off if the
 * process that connected is still there two seconds later, or was gone before. If
 * there is no update after all, what is in the sessions is lost with the caller's
 * descriptors: who can wait for the kernel loses nothing. If the agent dies before the
 * kernel goes, a service manager gives them to the next agent, which keeps them for
 * the next update, and meanwhile luo_agent_session() says -EBUSY of their names; without
 * a service manager, see luod(8), they are lost. Since version 1.2 of the library.
 *
 * Return: 0; -ESTALE when the update was cancelled meanwhile, -ECONNRESET,
 * -EOPNOTSUPP from an agent that knows no such request.
 */
int luo_agent_leave(struct luo_agent *agent, const struct luo_event *event);

/**
 * luo_agent_refuse - not now
 * @agent: the connection
 * @event: the event
 * @reason: for whoever wants the update, a short line
 *
 * The update does not take place.
 *
 * Return: as luo_agent_ready().
 */
int luo_agent_refuse(struct luo_agent *agent, const struct luo_event *event,
		     const char *reason);

/**
 * luo_agent_call - any request of luod-protocol(7)
 * @agent: the connection
 * @request: a JSON object as text, without "id"
 * @fds: descriptors that go along, @nr_fds of them
 * @nr_fds: at most 2
 * @reply: gets the answer as JSON text, for free(3); also for errors
 *
 * A descriptor that comes with the answer is closed: use luo_agent_session() for
 * a session.
 *
 * Return: 0, or the error that the answer has; @reply is NULL when there is no
 * answer.
 */
int luo_agent_call(struct luo_agent *agent, const char *request, const int *fds,
		   unsigned int nr_fds, char **reply);

/**
 * luo_agent_line - wait for any event of luod-protocol(7)
 * @agent: the connection
 * @line: gets the event as JSON text, for free(3); NULL when the time is over
 * @timeout_ms: how long to wait; negative for as long as it takes
 *
 * Return: as luo_agent_event().
 */
int luo_agent_line(struct luo_agent *agent, char **line, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif /* LUO_H */
