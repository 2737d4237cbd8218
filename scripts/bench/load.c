// SPDX-License-Identifier: GPL-2.0
/*
 * The load: direct I/O at a fixed depth, and how long each one took.
 *
 *	load [options] <device> [<device> ...]
 *	  -n <count>	I/Os that are measured			(2000)
 *	  -w <count>	I/Os before those, not measured		(200)
 *	  -b <bytes>	of one I/O				(4096)
 *	  -q <depth>	I/Os in flight				(1)
 *	  -m <MiB>	they go to the first so many MiB	(512)
 *	  -o <MiB>	behind so many				(0)
 *	  -s		sequential, not random
 *	  -r <percent>	so many of them are reads		(0)
 *	  -f		fdatasync after each (depth 1)
 *	  -t <ms>	counting goes on so long afterwards, for work behind the host's back, which
 *			those before get as well		(0)
 *	  -S <seed>	other places
 *
 * Prints one line of JSON; times are nanoseconds. Several devices take turns. Depth 1 uses pwrite
 * and pread, more of it io_submit, since that is what programs would do. Places come from a
 * generator with a fixed seed, so that two runs do the same.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mark.h"

#define DEPTH_MAX	256
#define DEVICES_MAX	64

struct plan {
	long count, warm, block, depth, mib, offset_mib, reads, settle_ms;
	int sequential, sync;
	int devices, fd[DEVICES_MAX];
	uint64_t random, place;
	/* Ends with the program: its end would wait for a timer tick. */
	aio_context_t context;
};

struct io {
	uint64_t offset;
	int fd, is_read;
};

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* xorshift64*: small, and the same everywhere. */
static uint64_t dice(struct plan *p)
{
	p->random ^= p->random >> 12;
	p->random ^= p->random << 25;
	p->random ^= p->random >> 27;
	return p->random * 2685821657736338717ull;
}

static struct io next_io(struct plan *p)
{
	uint64_t blocks = ((uint64_t)p->mib << 20) / p->block;
	uint64_t block = p->sequential ? p->place % blocks : dice(p) % blocks;
	struct io io = {
		.offset = ((uint64_t)p->offset_mib << 20) + block * p->block,
		.fd = p->fd[p->place % p->devices],
		.is_read = p->reads && (long)(dice(p) % 100) < p->reads,
	};

	p->place++;
	return io;
}

/* Both return when the last one was done. */
static uint64_t run_one_by_one(struct plan *p, char *buffer, long count, uint64_t *took)
{
	uint64_t ended = now();

	for (long i = 0; i < count; i++) {
		struct io io = next_io(p);
		uint64_t began = now();
		ssize_t done = io.is_read ? pread(io.fd, buffer, p->block, io.offset)
					  : pwrite(io.fd, buffer, p->block, io.offset);

		if (done != p->block)
			die(io.is_read ? "pread" : "pwrite");
		if (p->sync && fdatasync(io.fd))
			die("fdatasync");
		ended = now();
		took[i] = ended - began;
	}
	return ended;
}

static uint64_t run_deep(struct plan *p, char *buffer, long count, uint64_t *took)
{
	static struct iocb blocks[DEPTH_MAX], *batch[DEPTH_MAX];
	static struct io_event events[DEPTH_MAX];
	static uint64_t began[DEPTH_MAX];
	static int idle[DEPTH_MAX];
	uint64_t ended = now();
	long submitted = 0, done = 0;
	int idles = 0;

	for (int i = 0; i < p->depth; i++)
		idle[idles++] = i;
	while (done < count) {
		int fresh = 0;

		for (; idles && submitted < count; submitted++) {
			int slot = idle[--idles];
			struct io io = next_io(p);

			blocks[slot] = (struct iocb){
				.aio_data = slot,
				.aio_lio_opcode = io.is_read ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
				.aio_fildes = io.fd,
				.aio_buf = (uintptr_t)(buffer + slot * p->block),
				.aio_nbytes = p->block,
				.aio_offset = io.offset,
			};
			batch[fresh++] = &blocks[slot];
			began[slot] = now();
		}
		if (fresh && syscall(SYS_io_submit, p->context, (long)fresh, batch) != fresh)
			die("io_submit");

		long got = syscall(SYS_io_getevents, p->context, 1l, p->depth, events, NULL);
		ended = now();
		if (got < 1)
			die("io_getevents");
		for (long i = 0; i < got; i++) {
			int slot = events[i].data;

			if ((long)events[i].res != p->block) {
				errno = -(long)events[i].res;
				die("I/O");
			}
			took[done++] = ended - began[slot];
			idle[idles++] = slot;
		}
	}
	return ended;
}

static uint64_t run(struct plan *p, char *buffer, long count, uint64_t *took)
{
	return (p->depth == 1 ? run_one_by_one : run_deep)(p, buffer, count, took);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const struct plan *p, uint64_t *took, uint64_t began, uint64_t elapsed)
{
	double sum = 0;
	long n = p->count;

	qsort(took, n, sizeof(*took), ascending);
	for (long i = 0; i < n; i++)
		sum += took[i];
	printf("{\"n\": %ld, \"bytes\": %ld, \"p50\": %lu, \"p90\": %lu, \"p99\": %lu, \"max\": %lu, "
	       "\"mean\": %.1f, \"per_io\": %.1f, \"began\": %lu, \"elapsed\": %lu}\n",
	       n, n * p->block, took[n / 2], took[n * 9 / 10], took[n * 99 / 100], took[n - 1],
	       sum / n, (double)elapsed / n, began, elapsed);
}

static void parse(struct plan *p, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "n:w:b:q:m:o:sr:ft:S:")) != -1) {
		long value = optarg ? atol(optarg) : 1;

		switch (c) {
		case 'n': p->count = value; break;
		case 'w': p->warm = value; break;
		case 'b': p->block = value; break;
		case 'q': p->depth = value; break;
		case 'm': p->mib = value; break;
		case 'o': p->offset_mib = value; break;
		case 's': p->sequential = 1; break;
		case 'r': p->reads = value; break;
		case 'f': p->sync = 1; break;
		case 't': p->settle_ms = value; break;
		case 'S': p->random ^= (uint64_t)value * 0x9e3779b97f4a7c15ull; break;
		default: exit(2);
		}
	}
	if (p->depth < 1 || p->depth > DEPTH_MAX || optind == argc || argc - optind > DEVICES_MAX ||
	    (p->sync && p->depth > 1)) {
		fprintf(stderr, "load: bad arguments\n");
		exit(2);
	}
	for (; optind < argc; optind++) {
		int fd = open(argv[optind], O_RDWR | O_DIRECT);

		if (fd < 0)
			die(argv[optind]);
		p->fd[p->devices++] = fd;
	}
}

int main(int argc, char **argv)
{
	struct plan p = { .count = 2000, .warm = 200, .block = 4096, .depth = 1, .mib = 512,
			  .random = 88172645463325252ull };

	parse(&p, argc, argv);
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		die("mlockall");

	size_t length = (size_t)p.block * p.depth;
	long most = p.count > p.warm ? p.count : p.warm;
	uint64_t *took = calloc(most, sizeof(*took));
	char *buffer;

	if (!took || posix_memalign((void **)&buffer, 4096, length))
		die("memory");
	/* Nothing that a device could store as zeroes, and no two blocks alike. */
	for (size_t i = 0; i + 8 <= length; i += 8) {
		uint64_t word = dice(&p);

		memcpy(buffer + i, &word, 8);
	}
	if (p.depth > 1 && syscall(SYS_io_setup, p.depth, &p.context))
		die("io_setup");
	run(&p, buffer, p.warm, took);
	/* What the first ones left to be done is not to be counted with the others. */
	if (p.settle_ms)
		usleep(p.settle_ms * 1000);

	mark_begin();
	uint64_t began = now();
	uint64_t elapsed = run(&p, buffer, p.count, took) - began;
	if (p.settle_ms)
		usleep(p.settle_ms * 1000);
	mark_end();

	report(&p, took, began, elapsed);
	return 0;
}
