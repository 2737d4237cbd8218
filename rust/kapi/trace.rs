// SPDX-License-Identifier: GPL-2.0

//! Tracepoints.
//!
//! As long as nobody has enabled one, it costs an instruction that does nothing: the branch is a static
//! key, as with a tracepoint in C, and what the event would say is not even put together, since it comes
//! from a closure. `rcopy_trace.h` defines them, in `TRACE_EVENT()`'s own words; the kernel crate's
//! `declare_trace!` does the same for tracepoints of the kernel itself.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

/// What is done to a record or asked for by a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// A host's write, or a record with data.
    Write = 0,
    /// A host's discard.
    Discard = 1,
    /// A host's write-zeroes.
    WriteZeroes = 2,
    /// A record that says "zeroes here".
    Zero = 3,
    /// A record that takes another one back.
    Cancel = 4,
}

/// A write, as far as it is known when the event happens.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The name of the set.
    pub set: &'a str,
    /// The network namespace in which the set lives.
    pub netns: u32,
    /// Which volume of the set.
    pub member: u16,
    /// What it does.
    pub op: Op,
    /// Its sequence; 0: it has none.
    pub seq: u64,
    /// The reign.
    pub generation: u32,
    /// The lane of its record.
    pub lane: u16,
    /// The position of its record in the lane.
    pub position: u64,
    /// Where it goes on the volume.
    pub sector: u64,
    /// How long it is.
    pub bytes: u32,
    /// How long the stage that ends with the event took; 0: nobody knows.
    pub ns: u64,
    /// What was answered: 0 or a negative errno.
    pub error: i32,
}

/// A change of a set's state.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The name of the set.
    pub set: &'a str,
    /// The network namespace in which the set lives.
    pub netns: u32,
    /// The reign.
    pub generation: u32,
    /// The state before.
    pub old: &'a str,
    /// The state from now on.
    pub new: &'a str,
    /// Why it changes.
    pub reason: &'a str,
}

#[cfg(CONFIG_TRACEPOINTS)]
mod enabled {
    use super::{State, Write};
    use crate::bindings;

    fn text(s: &str) -> bindings::kapi_trace_text {
        bindings::kapi_trace_text {
            at: s.as_ptr().cast(),
            // Far below 4 GiB; what is cut off would be read by nobody.
            len: u32::try_from(s.len()).unwrap_or(u32::MAX),
        }
    }

    pub(super) trait Event {
        type Raw;
        fn raw(&self) -> Self::Raw;
    }

    impl Event for Write<'_> {
        type Raw = bindings::kapi_trace_write;

        fn raw(&self) -> bindings::kapi_trace_write {
            bindings::kapi_trace_write {
                set: text(self.set),
                seq: self.seq,
                position: self.position,
                sector: self.sector,
                ns: self.ns,
                netns: self.netns,
                generation: self.generation,
                bytes: self.bytes,
                error: self.error,
                member: self.member,
                lane: self.lane,
                op: self.op as u8,
            }
        }
    }

    impl Event for State<'_> {
        type Raw = bindings::kapi_trace_state;

        fn raw(&self) -> bindings::kapi_trace_state {
            bindings::kapi_trace_state {
                set: text(self.set),
                old: text(self.old),
                now: text(self.new),
                reason: text(self.reason),
                netns: self.netns,
                generation: self.generation,
            }
        }
    }
}

/// A function for each tracepoint. What makes the event is called if somebody watches, and may find that
/// there is nothing to say.
macro_rules! tracepoints {
    ($($(#[$attr:meta])* fn $name:ident($event:ident) = $key:ident, $fire:ident;)*) => {$(
        $(#[$attr])*
        ///
        /// Context: any.
        #[inline(always)]
        pub fn $name<'a>(event: impl FnOnce() -> Option<$event<'a>>) {
            #[cfg(CONFIG_TRACEPOINTS)]
            {
                // SAFETY: The key belongs to a tracepoint of this module, which `trace.c` defines.
                let enabled = unsafe {
                    ::kernel::jump_label::static_branch_unlikely!(
                        $crate::bindings::$key,
                        ::kernel::bindings::tracepoint,
                        key
                    )
                };
                if enabled {
                    // Nothing of this burdens the caller's registers and stack.
                    #[cold]
                    #[inline(never)]
                    fn fire<'a>(event: impl FnOnce() -> Option<$event<'a>>) {
                        if let Some(event) = event() {
                            let raw = enabled::Event::raw(&event);
                            // SAFETY: Strings are as long as they say, and what the tracepoint keeps
                            // of all that it copies before it returns.
                            unsafe { $crate::bindings::$fire(&raw) };
                        }
                    }
                    fire(event);
                }
            }
            #[cfg(not(CONFIG_TRACEPOINTS))]
            let _ = event;
        }
    )*};
}

tracepoints! {
    /// The set has taken a write on. It has no sequence yet.
    fn accepted(Write) = __tracepoint_rcopy_accepted, rust_do_trace_rcopy_accepted;
    /// A record is durable in this node's log.
    fn logged(Write) = __tracepoint_rcopy_logged, rust_do_trace_rcopy_logged;
    /// The partner has a record.
    fn mirrored(Write) = __tracepoint_rcopy_mirrored, rust_do_trace_rcopy_mirrored;
    /// The local device has answered.
    fn local(Write) = __tracepoint_rcopy_local, rust_do_trace_rcopy_local;
    /// The host is about to be answered.
    fn completed(Write) = __tracepoint_rcopy_completed, rust_do_trace_rcopy_completed;
    /// A record is durable at the remote, as is everything before it.
    fn shipped(Write) = __tracepoint_rcopy_shipped, rust_do_trace_rcopy_shipped;
    /// The space of a record is free.
    fn retired(Write) = __tracepoint_rcopy_retired, rust_do_trace_rcopy_retired;
    /// A set is in another state.
    fn state(State) = __tracepoint_rcopy_state, rust_do_trace_rcopy_state;
}
