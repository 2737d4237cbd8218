// SPDX-License-Identifier: GPL-2.0
/*
 * Waits until a field of a device-mapper status line has a value, cheaply.
 *
 *	watch <name> <field> <value> [<interval us> [<limit ms>]]
 *
 * Prints one line of JSON: when it began, when the value was there (clock of the kernel log,
 * nanoseconds), and the whole line. Starting dmsetup would cost a million instructions a look.
 * Counts as a window (mark.h) from the first look to the last.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "mark.h"

#define REPLY_SIZE	16384

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* The status line of the device's first target, in reply. */
static const char *status(int control, const char *name, void *reply)
{
	struct dm_ioctl *dm = reply;

	memset(dm, 0, sizeof(*dm));
	dm->version[0] = DM_VERSION_MAJOR;
	dm->data_size = REPLY_SIZE;
	dm->data_start = sizeof(*dm);
	dm->flags = DM_NOFLUSH_FLAG;
	snprintf(dm->name, sizeof(dm->name), "%s", name);
	if (ioctl(control, DM_TABLE_STATUS, dm)) {
		perror(name);
		exit(1);
	}
	return (char *)reply + dm->data_start + sizeof(struct dm_target_spec);
}

static int has(const char *line, const char *field, const char *value)
{
	size_t length = strlen(field);

	for (const char *at = line; (at = strstr(at, field)); at += length) {
		const char *word = at + length + 1;

		if ((at == line || at[-1] == ' ') && at[length] == ' ' &&
		    !strncmp(word, value, strlen(value)) && strchr(" /", word[strlen(value)]))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static char reply[REPLY_SIZE] __attribute__((aligned(16)));

	if (argc < 4) {
		fprintf(stderr, "watch: bad arguments\n");
		return 2;
	}

	long interval = argc > 4 ? atol(argv[4]) : 1000;
	uint64_t limit = (argc > 5 ? atol(argv[5]) : 60000) * 1000000ull;
	int control = open("/dev/mapper/control", O_RDWR);

	mark_begin();
	uint64_t began = now(), ended;
	const char *line;
	int met;

	do {
		line = status(control, argv[1], reply);
		ended = now();
		met = has(line, argv[2], argv[3]);
		if (!met)
			usleep(interval);
	} while (!met && ended - began < limit);
	mark_end();
	printf("{\"met\": %s, \"began\": %lu, \"ended\": %lu, \"status\": \"%s\"}\n",
	       met ? "true" : "false", began, ended, line);
	return !met;
}
