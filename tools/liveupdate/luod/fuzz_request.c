// SPDX-License-Identifier: GPL-2.0
/*
 * What comes from outside, for libFuzzer: lines of clients, halves of journals.
 */
#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "journal.h"
#include "names.h"
#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_request(const char *line, size_t len)
{
	struct request req;
	const char *why = NULL;
	int err = request_parse(&req, line, len, &why);

	/* What is behind the parser relies on this. */
	if (err && !why)
		abort();
	if (!err && req.has & HAS_NAME && !name_valid(req.name))
		abort();
	if (!err && req.has & HAS_CMDLINE && strlen(req.cmdline) >= CMDLINE_MAX)
		abort();
	request_free(&req);
}

static void fuzz_name(const char *line, size_t len)
{
	char kernel[LUO_NAME_SIZE] = "", printable[NAME_PRINTABLE_SIZE];
	char name[LUO_AGENT_NAME_SIZE], again[LUO_NAME_SIZE];
	uid_t uid;

	memcpy(kernel, line, len < sizeof(kernel) ? len : sizeof(kernel) - 1);
	name_printable(printable, kernel);
	if (!name_from_kernel(kernel, &uid, name))
		return;
	name_to_kernel(again, uid, name);
	if (strcmp(kernel, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	uint64_t generation;

	fuzz_request(text, size);
	fuzz_name(text, size);
	json_object_put(journal_parse(text, size, &generation));
	return 0;
}
