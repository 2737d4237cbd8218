// SPDX-License-Identifier: GPL-2.0
/*
 * The load whose writes the crash images are compared with.
 *
 *	client <device> <threads> <from> <to> [<processor>...]
 *
 * Each thread makes its writes <from> to <to>, one at a time, and marks each one (trace.h) before it
 * submits it and after it was told that it is there. Threads take the processors in turn.
 *
 * What a write does follows from its thread and number alone (plan), and what stands in a sector of
 * it as well (fill): rust/images/client.rs knows the same.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "trace.h"

#define SECTOR		512
/* Sectors that are written to: few, so that most writes overlap older ones. */
#define REGION		2048
#define LENGTH_MAX	128
#define MAGIC		0x21656c7069636e69ull

struct plan {
	unsigned int first, sectors;
	int zero, fua;
};

struct thread {
	pthread_t id;
	int number, cpu;
};

static int device;
static unsigned long from, to;

/* 64 bits that follow from the write (splitmix64). */
static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static struct plan plan(uint64_t id)
{
	static const unsigned int lengths[] = { 1, 1, 2, 3, 4, 8, 8, 8, 8, 8, 16, 16, 24, 32, 64, LENGTH_MAX };
	uint64_t bits = mix(id);
	struct plan p = { .sectors = lengths[bits % 16] };

	p.first = (bits >> 8) % (REGION - p.sectors + 1);
	p.zero = (bits >> 32) % 13 == 0;
	p.fua = (bits >> 40) % 5 == 0;
	return p;
}

static void fill(uint64_t *words, uint64_t id, unsigned int index)
{
	words[0] = MAGIC;
	words[1] = id;
	words[2] = index;
	for (int i = 3; i < SECTOR / 8; i++)
		words[i] = mix(id << 8 ^ index) * (2 * i + 1);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void write_one(uint64_t id, uint64_t *buffer)
{
	struct plan p = plan(id);

	if (p.zero) {
		uint64_t range[2] = { (uint64_t)p.first * SECTOR, (uint64_t)p.sectors * SECTOR };

		if (ioctl(device, BLKZEROOUT, range))
			die("zero");
	} else {
		struct iovec v = { buffer, (size_t)p.sectors * SECTOR };

		for (unsigned int i = 0; i < p.sectors; i++)
			fill(buffer + i * (SECTOR / 8), id, i);
		if (pwritev2(device, &v, 1, (off_t)p.first * SECTOR, p.fua ? RWF_DSYNC : 0) != (ssize_t)v.iov_len)
			die("write");
	}
}

static void *work(void *data)
{
	struct thread *t = data;
	void *buffer;

	if (t->cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(t->cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			die("processor");
	}
	if (posix_memalign(&buffer, 4096, LENGTH_MAX * SECTOR))
		die("memory");
	for (unsigned long n = from; n <= to; n++) {
		uint64_t id = (uint64_t)t->number << 48 | n;

		trace_mark(MARK_SAY(MARK_SUBMITTED, t->number, n));
		write_one(id, buffer);
		trace_mark(MARK_SAY(MARK_DONE, t->number, n));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct thread threads[16];
	int count;

	if (argc < 5)
		return 2;
	count = atoi(argv[2]);
	from = strtoul(argv[3], NULL, 0);
	to = strtoul(argv[4], NULL, 0);
	device = open(argv[1], O_RDWR | O_DIRECT);
	if (device < 0)
		die(argv[1]);
	for (int i = 0; i < count && i < 16; i++) {
		threads[i].number = i + 1;
		threads[i].cpu = argc > 5 ? atoi(argv[5 + i % (argc - 5)]) : -1;
		if (pthread_create(&threads[i].id, NULL, work, &threads[i]))
			die("thread");
	}
	for (int i = 0; i < count && i < 16; i++)
		pthread_join(threads[i].id, NULL);
	return 0;
}
