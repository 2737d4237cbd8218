// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin that writes down what a guest does to its persistent memory: every store with its
 * bytes, every flush of a line, every fence, on which processor; and the marks of the load (trace.h).
 *
 *	-plugin trace.so,out=<file>,region=<from>-<to>
 *
 * The region is one range of guest-physical memory. Of the guest's programs only the marks are
 * looked at: the region is the kernel's.
 *
 * A processor's record is in the trace before anybody can have seen what it did behind its next
 * fence: the emulator runs the callback of an instruction before the next instruction. Locked
 * instructions, which x86 promises to wait for stores past the cache as well, are not in the trace.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qemu-plugin.h"
#include "trace.h"

/* Of glib, which the emulator brings and this machine has no header of. */
struct _GArray {
	char *data;
	unsigned int len;
};
struct _GByteArray {
	uint8_t *data;
	unsigned int len;
};
GByteArray *g_byte_array_new(void);
GByteArray *g_byte_array_set_size(GByteArray *array, unsigned int length);
char *g_array_free(GArray *array, int segment);

#define KERNEL_HALF	(1ull << 63)
/* Where the kernel sees all of memory (4-level page tables, nokaslr). */
#define DIRECT_MAP	0xffff888000000000ull
#define REGISTERS	16
/* Stores that follow each other become one record of at most so many bytes. */
#define RUN_MAX		4096
#define SITES_MAX	64

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static uint64_t from, to;
static FILE *out;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct trace_record run;		/* not written yet, if it has bytes */
static uint8_t run_bytes[RUN_MAX];

static pthread_mutex_t registers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct qemu_plugin_register *registers[REGISTERS];
static GByteArray *scratch;

/* Where the stores stand that say what a mark says. */
static uint64_t sites[SITES_MAX];
static int site_count;

static void put(const void *bytes, size_t n)
{
	if (fwrite(bytes, 1, n, out) != n) {
		perror("trace");
		_exit(1);
	}
}

static void end_run(void)
{
	if (run.bytes) {
		put(&run, sizeof(run));
		put(run_bytes, run.bytes);
		run.bytes = 0;
	}
}

static void put_event(enum trace_kind kind, unsigned int cpu, uint64_t address)
{
	struct trace_record r = { .kind = kind, .cpu = cpu, .address = address };

	pthread_mutex_lock(&lock);
	end_run();
	put(&r, sizeof(r));
	pthread_mutex_unlock(&lock);
}

static void put_store(enum trace_kind kind, unsigned int cpu, uint64_t address, const void *bytes, uint32_t n)
{
	pthread_mutex_lock(&lock);
	if (run.bytes && (run.kind != kind || run.cpu != cpu || run.address + run.bytes != address ||
			  run.bytes + n > RUN_MAX))
		end_run();
	if (!run.bytes)
		run = (struct trace_record){ .kind = kind, .cpu = cpu, .address = address };
	memcpy(run_bytes + run.bytes, bytes, n);
	run.bytes += n;
	run.stores++;
	pthread_mutex_unlock(&lock);
}

/* Whether an address is traced; where it is then. */
static int traced(qemu_plugin_meminfo_t info, uint64_t address, uint64_t *place)
{
	struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, address);

	if (!hw || qemu_plugin_hwaddr_is_io(hw))
		return 0;
	*place = qemu_plugin_hwaddr_phys_addr(hw);
	if (*place < from || *place >= to)
		return 0;
	*place -= from;
	return 1;
}

static void on_store(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *kind)
{
	qemu_plugin_mem_value value;
	uint64_t place;

	if (!traced(info, address, &place))
		return;
	value = qemu_plugin_mem_get_value(info);
	/* The members of its union all begin at the same place, and the lower half of 128 bits first. */
	if (value.type == QEMU_PLUGIN_MEM_VALUE_U128) {
		uint64_t halves[2] = { value.data.u128.low, value.data.u128.high };

		put_store((uintptr_t)kind, cpu, place, halves, sizeof(halves));
	} else {
		put_store((uintptr_t)kind, cpu, place, &value.data, 1u << qemu_plugin_mem_size_shift(info));
	}
}

static void on_mark(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
	qemu_plugin_mem_value value = qemu_plugin_mem_get_value(info);

	(void)address;
	(void)data;
	if (value.type == QEMU_PLUGIN_MEM_VALUE_U64)
		put_event(TRACE_MARK, cpu, value.data.u64);
}

static void on_fence(unsigned int cpu, void *address)
{
	put_event(TRACE_FENCE, cpu, (uintptr_t)address);
}

/*
 * The emulator does nothing for a flush, so it tells no address either: it is computed from the
 * registers, as the instruction says, and taken to be in the kernel's direct map.
 */
struct flush {
	enum trace_kind kind;
	int base, index, scale;		/* numbers of registers, -1: none */
	int32_t displacement;
};

static uint64_t register_of(int number)
{
	struct qemu_plugin_register *handle = number < 0 ? NULL : registers[number];
	uint64_t value = 0;

	if (handle) {
		g_byte_array_set_size(scratch, 0);
		if (qemu_plugin_read_register(handle, scratch) == sizeof(value))
			memcpy(&value, scratch->data, sizeof(value));
	}
	return value;
}

static void on_flush(unsigned int cpu, void *data)
{
	struct flush *f = data;
	uint64_t place;

	pthread_mutex_lock(&registers_lock);
	place = register_of(f->base) + (register_of(f->index) << f->scale) + (int64_t)f->displacement;
	pthread_mutex_unlock(&registers_lock);
	place -= DIRECT_MAP;
	if (place >= from && place < to)
		put_event(f->kind, cpu, place - from);
}

static void on_processor(qemu_plugin_id_t id, unsigned int cpu)
{
	static const char *const names[REGISTERS] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
	};
	GArray *all = qemu_plugin_get_registers();
	qemu_plugin_reg_descriptor *d = (void *)all->data;

	(void)id;
	(void)cpu;
	if (!scratch)
		scratch = g_byte_array_new();
	for (unsigned int i = 0; i < all->len; i++)
		for (int n = 0; n < REGISTERS; n++)
			if (!strcmp(d[i].name, names[n]))
				registers[n] = d[i].handle;
	g_array_free(all, 1);
}

/* What is flushed by the instruction whose ModRM byte is at op. */
static struct flush *flush_at(const uint8_t *op, enum trace_kind kind, int rex)
{
	int mod = op[0] >> 6, rm = op[0] & 7;
	struct flush *f = calloc(1, sizeof(*f));
	const uint8_t *displacement = op + 1;

	f->kind = kind;
	f->base = rm | (rex & 1) << 3;
	f->index = -1;
	if (rm == 4) {
		f->base = (op[1] & 7) | (rex & 1) << 3;
		f->index = (op[1] >> 3 & 7) | (rex & 2) << 2;
		f->scale = op[1] >> 6;
		if (f->index == 4)
			f->index = -1;
		displacement++;
		rm = op[1] & 7;
	}
	if (mod == 0 && rm == 5)
		f->base = -1;
	if (mod == 1)
		f->displacement = (int8_t)*displacement;
	else if (mod == 2)
		memcpy(&f->displacement, displacement, sizeof(f->displacement));
	return f;
}

static int is_mark_site(uint64_t address)
{
	for (int i = 0; i < site_count; i++)
		if (sites[i] == address)
			return 1;
	return 0;
}

static void add_mark_site(uint64_t address)
{
	if (!is_mark_site(address) && site_count < SITES_MAX)
		sites[site_count++] = address;
}

static void look_at(struct qemu_plugin_insn *insn)
{
	uint8_t bytes[16] = { 0 };
	size_t length = qemu_plugin_insn_data(insn, bytes, sizeof(bytes));
	uint64_t address = qemu_plugin_insn_vaddr(insn);
	enum trace_kind store = TRACE_STORE;
	int operand_size = 0, rex = 0;
	size_t p = 0;

	if (!(address & KERNEL_HALF)) {
		if (length == sizeof(TRACE_NOP) - 1 && !memcmp(bytes, TRACE_NOP, length))
			add_mark_site(address + length);
		else if (is_mark_site(address))
			qemu_plugin_register_vcpu_mem_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W, NULL);
		return;
	}
	while (p + 3 < length && (bytes[p] == 0x66 || bytes[p] == 0xf2 || bytes[p] == 0xf3 || bytes[p] == 0x3e ||
				  (bytes[p] & 0xf0) == 0x40)) {
		operand_size |= bytes[p] == 0x66;
		rex = (bytes[p] & 0xf0) == 0x40 ? bytes[p] & 0xf : 0;
		p++;
	}
	if (bytes[p] == 0x0f) {
		int reg = bytes[p + 2] >> 3 & 7, mod = bytes[p + 2] >> 6;

		/* movnti, movntq and movntdq, movntps and movntpd */
		if (bytes[p + 1] == 0xc3 || bytes[p + 1] == 0xe7 || bytes[p + 1] == 0x2b)
			store = TRACE_STREAM;
		/* sfence and mfence */
		if (bytes[p + 1] == 0xae && mod == 3 && (reg == 7 || reg == 6))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fence, QEMU_PLUGIN_CB_NO_REGS, (void *)address);
		/* clwb; clflushopt or clflush */
		if (bytes[p + 1] == 0xae && mod != 3 && ((reg == 6 && operand_size) || reg == 7))
			qemu_plugin_register_vcpu_insn_exec_cb(
				insn, on_flush, QEMU_PLUGIN_CB_R_REGS,
				flush_at(bytes + p + 2, operand_size ? TRACE_FLUSH : TRACE_EVICT, rex));
	}
	qemu_plugin_register_vcpu_mem_cb(insn, on_store, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W, (void *)store);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++)
		look_at(qemu_plugin_tb_get_insn(tb, i));
	pthread_mutex_unlock(&lock);
}

static void on_exit_(qemu_plugin_id_t id, void *data)
{
	(void)id;
	(void)data;
	pthread_mutex_lock(&lock);
	end_run();
	fclose(out);
	pthread_mutex_unlock(&lock);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value++)
			return 1;
		if (!strncmp(argv[i], "out=", 4)) {
			out = fopen(value, "w");
		} else if (!strncmp(argv[i], "region=", 7)) {
			from = strtoull(value, &value, 0);
			to = *value ? strtoull(value + 1, NULL, 0) : 0;
		} else {
			return 1;
		}
	}
	if (!out || from >= to)
		return 1;
	qemu_plugin_register_vcpu_init_cb(id, on_processor);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, on_exit_, NULL);
	return 0;
}
