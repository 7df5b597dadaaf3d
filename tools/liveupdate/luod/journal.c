// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "journal.h"
#include "log.h"
#include "luo.h"
#include "memfd.h"

#define HEADER		"luod-journal-1 %020ju %010zu %016jx\n"
#define HEADER_LEN	64
#define DEPTH_MAX	8

/* A journal, to the next kernel or from the last one. */
struct journal {
	int session;
	int file;
	uint64_t generation;
};

static struct journal outgoing = { -1, -1, 0 };
static struct journal incoming = { -1, -1, 0 };

/* FNV-1a: for what was half written, not against anybody. */
static uint64_t sum(const char *text, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	while (len--)
		h = (h ^ (unsigned char)*text++) * 0x100000001b3ULL;
	return h;
}

static void drop(struct journal *journal)
{
	if (journal->file >= 0)
		close(journal->file);
	if (journal->session >= 0)
		close(journal->session);
	*journal = (struct journal) { -1, -1, 0 };
}

static int make_file(void)
{
	int fd = new_memfd("luod-journal", 0), err;

	if (fd < 0)
		return fd;
	if (!ftruncate(fd, 2 * JOURNAL_HALF))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int make(int device)
{
	outgoing.session = luo_create(device, JOURNAL_SESSION);
	if (outgoing.session < 0)
		return outgoing.session;
	outgoing.file = make_file();
	if (outgoing.file < 0)
		return outgoing.file;
	return luo_preserve(outgoing.session, outgoing.file, JOURNAL_TOKEN);
}

/**
 * journal_make - make the journal for the next kernel, unless it is there
 * @device: /dev/liveupdate
 *
 * From here on the kernel has something to lose, and refuses images that cannot
 * take it. Without a journal the update goes on all the same.
 *
 * Return: whether it was made just now.
 */
bool journal_make(int device)
{
	int err;

	if (outgoing.file >= 0)
		return false;
	err = make(device);
	if (!err)
		return true;
	log_warning("no journal: %s: updates go on without it", strerror(-err));
	drop(&outgoing);
	return false;
}

/**
 * journal_drop - there is nothing to write down for the next kernel
 */
void journal_drop(void)
{
	drop(&outgoing);
}

static int write_half(struct journal *journal, struct json_object *json)
{
	const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
	uint64_t generation = journal->generation + 1;
	size_t len = text ? strlen(text) : 0;
	off_t at = generation % 2 * JOURNAL_HALF;
	char header[HEADER_LEN + 1];

	if (journal->file < 0)
		return -ENOENT;
	if (!text)
		return -ENOMEM;
	if (HEADER_LEN + len > JOURNAL_HALF)
		return -EFBIG;
	snprintf(header, sizeof(header), HEADER, generation, len, sum(text, len));
	if (pwrite(journal->file, text, len, at + HEADER_LEN) != len ||
	    pwrite(journal->file, header, HEADER_LEN, at) != HEADER_LEN)
		return -EIO;
	journal->generation = generation;
	return 0;
}

/**
 * journal_write - write the journal for the next kernel
 * @json: the whole of it
 *
 * Return: 0, -%ENOENT if there is none, or why it cannot be written; the last
 * text is still there then.
 */
int journal_write(struct json_object *json)
{
	return write_half(&outgoing, json);
}

/**
 * journal_rewrite - write down what became of an update
 * @json: the whole journal
 *
 * For a luod that is started again in this kernel.
 *
 * Return: as journal_write().
 */
int journal_rewrite(struct json_object *json)
{
	return write_half(&incoming, json);
}

/**
 * journal_parse - read half of a journal
 * @half: its bytes
 * @len: how many
 * @generation: which of the two is newer
 *
 * Return: the text as JSON, an object; NULL if it is damaged or empty.
 */
struct json_object *journal_parse(const char *half, size_t len, uint64_t *generation)
{
	struct json_object *json = NULL;
	char header[HEADER_LEN + 1], again[HEADER_LEN + 1];
	struct json_tokener *tok;
	uintmax_t n, s;
	size_t text;

	if (len < HEADER_LEN)
		return NULL;
	memcpy(header, half, HEADER_LEN);
	header[HEADER_LEN] = 0;
	if (sscanf(header, "luod-journal-1 %20ju %10zu %16jx", &n, &text, &s) != 3 ||
	    text > len - HEADER_LEN)
		return NULL;
	snprintf(again, sizeof(again), HEADER, n, text, s);
	half += HEADER_LEN;
	if (strcmp(header, again) || sum(half, text) != s)
		return NULL;
	tok = json_tokener_new_ex(DEPTH_MAX);
	if (!tok)
		return NULL;
	json = json_tokener_parse_ex(tok, half, text);
	json_tokener_free(tok);
	if (!json_object_is_type(json, json_type_object)) {
		json_object_put(json);
		return NULL;
	}
	*generation = n;
	return json;
}

static struct json_object *read_half(struct journal *journal, int half)
{
	char *buf = malloc(JOURNAL_HALF);
	struct json_object *json = NULL;
	uint64_t generation;
	ssize_t n;

	if (!buf)
		return NULL;
	n = pread(journal->file, buf, JOURNAL_HALF, half * JOURNAL_HALF);
	if (n > 0)
		json = journal_parse(buf, n, &generation);
	free(buf);
	if (!json || generation <= journal->generation) {
		json_object_put(json);
		return NULL;
	}
	journal->generation = generation;
	return json;
}

static int read_file(struct journal *journal, struct json_object **json)
{
	struct json_object *half;
	int i;

	journal->file = luo_retrieve_fd(journal->session, JOURNAL_TOKEN);
	if (journal->file < 0)
		return journal->file == -ENOENT ? -EBADMSG : journal->file;
	*json = NULL;
	for (i = 0; i < 2; i++) {
		half = read_half(journal, i);
		if (half) {
			json_object_put(*json);
			*json = half;
		}
	}
	return *json ? 0 : -EBADMSG;
}

/**
 * journal_take - take the journal from the previous kernel
 * @device: /dev/liveupdate
 * @json: gets its text
 *
 * If luod dies before journal_finish(), the next one can take it again.
 *
 * Return: 0; -%ENOENT if there is none, which is what a normal boot looks like;
 * -%EBADMSG for one that cannot be read, which is finished then; or why it
 * could not be retrieved this time.
 */
int journal_take(int device, struct json_object **json)
{
	int err = luo_retrieve(device, JOURNAL_SESSION);

	if (err < 0)
		return err;
	incoming.session = err;
	err = read_file(&incoming, json);
	if (err == -EBADMSG)
		journal_finish();
	else if (err)
		drop(&incoming);
	return err;
}

/**
 * journal_finish - nobody needs the previous kernel's journal any more
 *
 * Return: 0 or why it could not be finished; it is closed in any case.
 */
int journal_finish(void)
{
	int err = incoming.session < 0 ? 0 : luo_finish(incoming.session);

	drop(&incoming);
	return err;
}
