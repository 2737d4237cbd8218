/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trace of a guest's persistent memory (trace.c writes it, rust/images reads it), and the marks
 * that the load in the guest leaves in it.
 *
 * A trace is a row of records, in the order in which things happened: this head, then, of a store,
 * its bytes. Little-endian, not aligned.
 */
#ifndef IMAGES_TRACE_H
#define IMAGES_TRACE_H

#include <stdint.h>

enum trace_kind {
	TRACE_STORE = 1,	/* address, bytes: into the cache */
	TRACE_STREAM = 2,	/* the same, past the cache (movnti and the like) */
	TRACE_FLUSH = 3,	/* address, in a line: clwb, clflushopt */
	TRACE_EVICT = 4,	/* the same: clflush */
	TRACE_FENCE = 5,	/* sfence, mfence; address: of the instruction */
	TRACE_MARK = 6,		/* address: what the load has to say */
};

struct trace_record {
	uint8_t kind;
	uint8_t cpu;
	uint16_t stores;	/* how many stores of one processor, each behind the other, this is */
	uint32_t bytes;
	uint64_t address;	/* from the begin of the region that is traced */
} __attribute__((packed));

/*
 * A mark is a no-operation of eight bytes whose displacement carries a magic number, and behind it a
 * store of eight bytes, whose value is what is said.
 */
#define TRACE_NOP	"\x0f\x1f\x84\x00\x03\x00\xbc\x0d"

static inline void trace_mark(uint64_t value)
{
	static __thread volatile uint64_t place;

	__asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00, 0x03, 0x00, 0xbc, 0x0d\n\tmovq %1, %0"
			 : "=m"(place) : "r"(value) : "memory");
}

/* What marks say: one of these, the thread, the number of its write. */
#define MARK_SUBMITTED	1ull	/* the host is about to write */
#define MARK_DONE	2ull	/* it was told that the write is there */
#define MARK_SAY(what, thread, number) \
	((what) << 56 | (uint64_t)(thread) << 48 | (uint64_t)(number))

#endif
