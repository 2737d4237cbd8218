// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin that counts what a guest executes between two marks (mark.h).
 *
 *	-plugin count.so,out=<file>[,profile=1][,region=<from>-<to>...][,callers=<address>]
 *
 * Always: instructions. With profile: how often each block of code ran, so that functions can be
 * told apart. With regions of guest-physical memory (persistent memory): stores there, their
 * bytes, how many were non-temporal, and all stores of the kernel, fences and flushes of lines.
 * With callers: which blocks ran before the one at that address, the start of a function.
 *
 * One window a record in the output:
 *
 *	window <number> <instructions>
 *	region <number> <stores> <bytes> <non-temporal stores>
 *	stores <stores of the kernel> <bytes>
 *	order <sfence> <flushes of cache lines>
 *	block <address> <runs> <instructions of one run>
 *	fence <address> <runs>
 *	caller <address> <runs>
 *	end
 *
 * For one virtual processor. A block that a fault ends early counts as a whole.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu-plugin.h"
#include "mark.h"

#define REGIONS_MAX	4
#define KERNEL_HALF	(1ull << 63)

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

struct block {
	uint64_t address, instructions, runs, calls;
	struct block *next;
};

struct site {
	uint64_t address, runs;
	struct site *next;
};

static struct {
	uint64_t from, to, stores, bytes, streamed;
} region[REGIONS_MAX];
static int regions;

static uint64_t instructions, windows;
static uint64_t kernel_stores, kernel_bytes, fences, flushes;
static struct block *blocks, *before;
static uint64_t called;
static struct site *sites;
static int profile;
static FILE *out;

static void on_block(unsigned int cpu, void *data)
{
	struct block *b = data;

	(void)cpu;
	b->runs++;
	instructions += b->instructions;
	if (b->address == called && before)
		before->calls++;
	before = b;
}

static void on_fence(unsigned int cpu, void *data)
{
	(void)cpu;
	fences++;
	((struct site *)data)->runs++;
}

static void on_flush(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	flushes++;
}

static void on_store(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *streamed)
{
	struct qemu_plugin_hwaddr *place;
	uint64_t bytes, physical;

	(void)cpu;
	bytes = 1u << qemu_plugin_mem_size_shift(info);
	kernel_stores++;
	kernel_bytes += bytes;
	place = qemu_plugin_get_hwaddr(info, address);
	if (!place || qemu_plugin_hwaddr_is_io(place))
		return;
	physical = qemu_plugin_hwaddr_phys_addr(place);
	for (int i = 0; i < regions; i++) {
		if (physical >= region[i].from && physical < region[i].to) {
			region[i].stores++;
			region[i].bytes += bytes;
			region[i].streamed += streamed != NULL;
			return;
		}
	}
}

static void begin(void)
{
	instructions = kernel_stores = kernel_bytes = fences = flushes = 0;
	for (int i = 0; i < regions; i++)
		region[i].stores = region[i].bytes = region[i].streamed = 0;
	for (struct block *b = blocks; b; b = b->next)
		b->runs = b->calls = 0;
	for (struct site *s = sites; s; s = s->next)
		s->runs = 0;
}

static void end(void)
{
	fprintf(out, "window %" PRIu64 " %" PRIu64 "\n", windows++, instructions);
	for (int i = 0; i < regions; i++)
		fprintf(out, "region %d %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", i, region[i].stores,
			region[i].bytes, region[i].streamed);
	if (regions) {
		fprintf(out, "stores %" PRIu64 " %" PRIu64 "\n", kernel_stores, kernel_bytes);
		fprintf(out, "order %" PRIu64 " %" PRIu64 "\n", fences, flushes);
	}
	for (struct block *b = profile ? blocks : NULL; b; b = b->next)
		if (b->runs)
			fprintf(out, "block %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", b->address, b->runs,
				b->instructions);
	for (struct block *b = blocks; b; b = b->next)
		if (b->calls)
			fprintf(out, "caller %" PRIx64 " %" PRIu64 "\n", b->address, b->calls);
	for (struct site *s = sites; s; s = s->next)
		if (s->runs)
			fprintf(out, "fence %" PRIx64 " %" PRIu64 "\n", s->address, s->runs);
	fprintf(out, "end\n");
	fflush(out);
}

static void on_mark(unsigned int cpu, void *code)
{
	(void)cpu;
	if ((uintptr_t)code == MARK_BEGIN)
		begin();
	else if ((uintptr_t)code == MARK_END)
		end();
}

/* The code of a mark, or 0. */
static unsigned int mark_of(const uint8_t *bytes, size_t length)
{
	if (length != 8 || memcmp(bytes, "\x0f\x1f\x84\x00", 4) ||
	    (bytes[6] | bytes[7] << 8) != MARK_MAGIC)
		return 0;
	return bytes[4] | bytes[5] << 8;
}

/* What stands behind the prefixes; says whether one of them was 66. */
static const uint8_t *opcode(const uint8_t *at, const uint8_t *limit, int *operand_size)
{
	*operand_size = 0;
	for (; at < limit && (*at == 0x66 || *at == 0xf2 || *at == 0xf3 || (*at & 0xf0) == 0x40); at++)
		*operand_size |= *at == 0x66;
	return at;
}

static struct site *site_at(uint64_t address)
{
	struct site *s;

	for (s = sites; s; s = s->next)
		if (s->address == address)
			return s;
	s = calloc(1, sizeof(*s));
	s->address = address;
	s->next = sites;
	sites = s;
	return s;
}

static void look_at_memory(struct qemu_plugin_insn *insn, const uint8_t *bytes, size_t length)
{
	int operand_size;
	const uint8_t *op = opcode(bytes, bytes + length, &operand_size);
	size_t left = bytes + length - op;
	/* movnti, movntq and movntdq, movntps and movntpd */
	int streamed = left >= 2 && op[0] == 0x0f && (op[1] == 0xc3 || op[1] == 0xe7 || op[1] == 0x2b);

	if (left >= 3 && op[0] == 0x0f && op[1] == 0xae) {
		int reg = op[2] >> 3 & 7, mod = op[2] >> 6;

		if (mod == 3 && reg == 7)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fence, QEMU_PLUGIN_CB_NO_REGS,
							       site_at(qemu_plugin_insn_vaddr(insn)));
		else if (mod != 3 && ((reg == 6 && operand_size) || reg == 7))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_flush, QEMU_PLUGIN_CB_NO_REGS, NULL);
	}
	/* Programs do not map these regions: only the kernel's stores can go there. */
	if (qemu_plugin_insn_vaddr(insn) & KERNEL_HALF)
		qemu_plugin_register_vcpu_mem_cb(insn, on_store, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W,
						 streamed ? (void *)1 : NULL);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = calloc(1, sizeof(*b));
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	b->address = qemu_plugin_tb_vaddr(tb);
	b->instructions = count;
	b->next = blocks;
	blocks = b;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);

	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t bytes[16] = { 0 };
		size_t length = qemu_plugin_insn_data(insn, bytes, sizeof(bytes));
		unsigned int code = mark_of(bytes, length);

		if (code)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(uintptr_t)code);
		if (regions)
			look_at_memory(insn, bytes, length);
	}
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
					   char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value++)
			return 1;
		if (!strncmp(argv[i], "out=", 4)) {
			out = fopen(value, "w");
		} else if (!strncmp(argv[i], "profile=", 8)) {
			profile = atoi(value);
		} else if (!strncmp(argv[i], "callers=", 8)) {
			called = strtoull(value, NULL, 0);
		} else if (!strncmp(argv[i], "region=", 7) && regions < REGIONS_MAX) {
			region[regions].from = strtoull(value, &value, 0);
			region[regions].to = *value ? strtoull(value + 1, NULL, 0) : 0;
			regions++;
		} else {
			return 1;
		}
	}
	if (!out)
		return 1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
