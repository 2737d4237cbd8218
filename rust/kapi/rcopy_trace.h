/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: /sys/kernel/tracing/events/remote_copy. Documentation/tracing.rst says what
 * each field means; trace.rs is how the driver gets there.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM remote_copy

#if !defined(KAPI_RCOPY_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KAPI_RCOPY_TRACE_H

#include <linux/tracepoint.h>

#ifndef KAPI_TRACE_TYPES
#define KAPI_TRACE_TYPES

/* In print formats they are numbers, so that tools which read those know them. */
#define KAPI_TRACE_WRITE 0
#define KAPI_TRACE_DISCARD 1
#define KAPI_TRACE_WRITE_ZEROES 2
#define KAPI_TRACE_ZERO 3
#define KAPI_TRACE_CANCEL 4

/* Bytes of a string, which no zero ends. */
struct kapi_trace_text {
	const char *at;
	u32 len;
};

/* A write, as far as it is known when the event happens. */
struct kapi_trace_write {
	struct kapi_trace_text set;
	u64 seq;
	u64 position;
	u64 sector;
	u64 ns;
	u32 netns;
	u32 generation;
	u32 bytes;
	s32 error;
	u16 member;
	u16 lane;
	u8 op;
};

/* A change of a set's state. */
struct kapi_trace_state {
	struct kapi_trace_text set;
	struct kapi_trace_text old;
	struct kapi_trace_text now;
	struct kapi_trace_text reason;
	u32 netns;
	u32 generation;
};

#define kapi_trace_op_names \
	{ KAPI_TRACE_WRITE, "write" }, \
	{ KAPI_TRACE_DISCARD, "discard" }, \
	{ KAPI_TRACE_WRITE_ZEROES, "write-zeroes" }, \
	{ KAPI_TRACE_ZERO, "zero" }, \
	{ KAPI_TRACE_CANCEL, "cancel" }

#endif /* KAPI_TRACE_TYPES */

/* The set has taken a write on. It has no sequence yet. */
TRACE_EVENT(rcopy_accepted,
	TP_PROTO(const struct kapi_trace_write *w),
	TP_ARGS(w),
	TP_STRUCT__entry(
		__string_len(set, w->set.at, w->set.len)
		__field(u32, netns)
		__field(u16, member)
		__field(u8, op)
		__field(u64, sector)
		__field(u32, bytes)
	),
	TP_fast_assign(
		__assign_str(set);
		__entry->netns = w->netns;
		__entry->member = w->member;
		__entry->op = w->op;
		__entry->sector = w->sector;
		__entry->bytes = w->bytes;
	),
	TP_printk("set=%s netns=%u member=%u op=%s sector=%llu bytes=%u",
		__get_str(set), __entry->netns, __entry->member,
		__print_symbolic(__entry->op, kapi_trace_op_names),
		__entry->sector, __entry->bytes)
);

/* A record of the log. */
DECLARE_EVENT_CLASS(rcopy_record,
	TP_PROTO(const struct kapi_trace_write *w),
	TP_ARGS(w),
	TP_STRUCT__entry(
		__string_len(set, w->set.at, w->set.len)
		__field(u32, netns)
		__field(u16, member)
		__field(u8, op)
		__field(u64, seq)
		__field(u32, generation)
		__field(u16, lane)
		__field(u64, position)
		__field(u64, sector)
		__field(u32, bytes)
		__field(u64, ns)
	),
	TP_fast_assign(
		__assign_str(set);
		__entry->netns = w->netns;
		__entry->member = w->member;
		__entry->op = w->op;
		__entry->seq = w->seq;
		__entry->generation = w->generation;
		__entry->lane = w->lane;
		__entry->position = w->position;
		__entry->sector = w->sector;
		__entry->bytes = w->bytes;
		__entry->ns = w->ns;
	),
	TP_printk("set=%s netns=%u seq=%llu generation=%u lane=%u position=%llu member=%u op=%s sector=%llu bytes=%u ns=%llu",
		__get_str(set), __entry->netns, __entry->seq, __entry->generation,
		__entry->lane, __entry->position, __entry->member,
		__print_symbolic(__entry->op, kapi_trace_op_names),
		__entry->sector, __entry->bytes, __entry->ns)
);

/* It is durable in this node's log. */
DEFINE_EVENT(rcopy_record, rcopy_logged,
	TP_PROTO(const struct kapi_trace_write *w), TP_ARGS(w));

/* The partner has it. */
DEFINE_EVENT(rcopy_record, rcopy_mirrored,
	TP_PROTO(const struct kapi_trace_write *w), TP_ARGS(w));

/* It is durable at the remote, as is everything before it. */
DEFINE_EVENT(rcopy_record, rcopy_shipped,
	TP_PROTO(const struct kapi_trace_write *w), TP_ARGS(w));

/* Its space is free. */
DEFINE_EVENT(rcopy_record, rcopy_retired,
	TP_PROTO(const struct kapi_trace_write *w), TP_ARGS(w));

/* Somebody has answered: error is 0 or a negative errno. */
DECLARE_EVENT_CLASS(rcopy_answer,
	TP_PROTO(const struct kapi_trace_write *w),
	TP_ARGS(w),
	TP_STRUCT__entry(
		__string_len(set, w->set.at, w->set.len)
		__field(u32, netns)
		__field(u16, member)
		__field(u8, op)
		__field(u64, seq)
		__field(u16, lane)
		__field(u64, position)
		__field(u64, sector)
		__field(u32, bytes)
		__field(u64, ns)
		__field(s32, error)
	),
	TP_fast_assign(
		__assign_str(set);
		__entry->netns = w->netns;
		__entry->member = w->member;
		__entry->op = w->op;
		__entry->seq = w->seq;
		__entry->lane = w->lane;
		__entry->position = w->position;
		__entry->sector = w->sector;
		__entry->bytes = w->bytes;
		__entry->ns = w->ns;
		__entry->error = w->error;
	),
	TP_printk("set=%s netns=%u seq=%llu lane=%u position=%llu member=%u op=%s sector=%llu bytes=%u ns=%llu error=%d",
		__get_str(set), __entry->netns, __entry->seq,
		__entry->lane, __entry->position, __entry->member,
		__print_symbolic(__entry->op, kapi_trace_op_names),
		__entry->sector, __entry->bytes, __entry->ns, __entry->error)
);

/* The local device, of the write. */
DEFINE_EVENT(rcopy_answer, rcopy_local,
	TP_PROTO(const struct kapi_trace_write *w), TP_ARGS(w));

/* The set, to the host: the write ends. */
DEFINE_EVENT(rcopy_answer, rcopy_completed,
	TP_PROTO(const struct kapi_trace_write *w), TP_ARGS(w));

TRACE_EVENT(rcopy_state,
	TP_PROTO(const struct kapi_trace_state *s),
	TP_ARGS(s),
	TP_STRUCT__entry(
		__string_len(set, s->set.at, s->set.len)
		__field(u32, netns)
		__field(u32, generation)
		__string_len(old, s->old.at, s->old.len)
		__string_len(new, s->now.at, s->now.len)
		__string_len(reason, s->reason.at, s->reason.len)
	),
	TP_fast_assign(
		__assign_str(set);
		__entry->netns = s->netns;
		__entry->generation = s->generation;
		__assign_str(old);
		__assign_str(new);
		__assign_str(reason);
	),
	TP_printk("set=%s netns=%u generation=%u old=%s new=%s reason=\"%s\"",
		__get_str(set), __entry->netns, __entry->generation,
		__get_str(old), __get_str(new), __get_str(reason))
);

#endif /* KAPI_RCOPY_TRACE_H */

/* Not protected against being read twice. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rcopy_trace
#include <trace/define_trace.h>
