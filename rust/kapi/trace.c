// SPDX-License-Identifier: GPL-2.0
/* The tracepoints themselves, and a function for each through which Rust fires it. */

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "rcopy_trace.h"
