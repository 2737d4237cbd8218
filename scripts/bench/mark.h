/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Marks in the instruction stream of a guest program, for the counting plugin.
 *
 * A mark is an eight-byte no-operation whose displacement carries a magic number: it costs
 * one instruction, touches nothing, and does nothing where no plugin looks.
 */
#ifndef BENCH_MARK_H
#define BENCH_MARK_H

#define MARK_MAGIC	0x0dbc
#define MARK_BEGIN	1	/* a window begins: counts start from zero */
#define MARK_END	2	/* it ends: counts are written out */

#define MARK_CODE(code)	".byte 0x0f, 0x1f, 0x84, 0x00, " #code ", 0x00, 0xbc, 0x0d"
#define mark_begin()	__asm__ volatile(MARK_CODE(0x01) ::: "memory")
#define mark_end()	__asm__ volatile(MARK_CODE(0x02) ::: "memory")

#endif
