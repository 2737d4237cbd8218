// SPDX-License-Identifier: GPL-2.0

//! Kernel threads.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use kernel::prelude::*;
use kernel::str::CString;

use crate::bindings;

/// A running kernel thread. Dropping it stops it.
///
/// The thread runs with `PF_MEMALLOC_NOIO`: whatever it allocates, directly or in code that it
/// calls, does not start I/O in order to get memory.
///
/// # Invariants
///
/// `task` is a thread that [`Thread::spawn`] made, on which this object holds a reference and
/// which nobody else stops. `start` is what its `threadfn` was given.
#[must_use = "dropping a Thread stops it"]
pub struct Thread {
    task: NonNull<bindings::task_struct>,
    start: KBox<Start>,
}

// SAFETY: A thread may be stopped from any other.
unsafe impl Send for Thread {}
// SAFETY: There is nothing that a `&Thread` can do.
unsafe impl Sync for Thread {}

/// What a new thread finds: the closure, until the thread has taken it.
///
/// While the thread may run, only it touches this. Once it has exited, only the owner of the
/// [`Thread`] does.
struct Start {
    run: core::cell::UnsafeCell<Option<KBox<dyn Run>>>,
}

trait Run: Send {
    fn run(self: KBox<Self>, token: &StopToken);
}

struct Closure<F>(F);

impl<F: FnOnce(&StopToken) + Send> Run for Closure<F> {
    fn run(self: KBox<Self>, token: &StopToken) {
        // Moves the closure to the stack and frees the box before it runs.
        let Closure(f) = KBox::into_inner(self);
        f(token);
    }
}

/// Tells a thread's function whether it should end. It cannot leave its thread.
pub struct StopToken(PhantomData<*mut ()>);

impl StopToken {
    /// Whether [`Thread::stop`] was called: the function should return soon.
    #[inline]
    pub fn should_stop(&self) -> bool {
        // SAFETY: Looks at the current task only.
        unsafe { bindings::kapi_should_stop() }
    }
}

impl Thread {
    /// Starts a thread named `name` (the kernel shows the first 15 bytes) that calls `f`.
    ///
    /// `f` should return soon after its token says so; it may return before. `f` and what it
    /// captured are dropped exactly once: by the thread, or by [`Thread::stop`] if the thread was
    /// stopped before it ever ran.
    ///
    /// Context: process, may sleep (allocates with `GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINTR` if the caller was killed meanwhile.
    pub fn spawn<F>(name: fmt::Arguments<'_>, f: F) -> Result<Self>
    where
        F: FnOnce(&StopToken) + Send + 'static,
    {
        let name = CString::try_from_fmt(name)?;
        let run: KBox<dyn Run> = KBox::new(Closure(f), GFP_KERNEL)?;
        let start = KBox::new(
            Start {
                run: core::cell::UnsafeCell::new(Some(run)),
            },
            GFP_KERNEL,
        )?;
        let data: *const Start = &*start;
        // SAFETY: `thread_main` has the type of a thread function. Its argument, `start`, lives
        // until the thread has exited: it is freed after `kthread_stop_put()`, or below if there
        // is no thread. The format takes one string, and `name` is one.
        let task = kernel::error::from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(thread_main),
                data.cast_mut().cast(),
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        let task = NonNull::new(task).ok_or(ENOMEM)?;
        // SAFETY: A new thread does not exit before it is woken, so `task` is valid. The reference
        // keeps it so until `stop`, even if the thread exits by itself.
        unsafe { bindings::get_task_struct(task.as_ptr()) };
        // SAFETY: As above.
        unsafe { bindings::wake_up_process(task.as_ptr()) };
        // INVARIANT: Made above, with a reference of our own.
        Ok(Self { task, start })
    }

    /// Asks the thread to end and waits until it has. Must not be called by the thread itself.
    ///
    /// Waits of [`Event`](crate::event::Event) and of the sockets in [`net`](crate::net) end when
    /// the thread that waits is asked to stop.
    ///
    /// Context: process, sleeps.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the task is valid and ours to stop; this puts the
        // reference as well. It returns when the thread has exited.
        unsafe { bindings::kthread_stop_put(self.task.as_ptr()) };
        // What a thread that never ran left behind goes with `self.start`: the thread has exited,
        // so nobody else can look at it any more.
        drop(self.start.run.get_mut().take());
    }
}

/// # Safety
///
/// `data` is the `Start` of the current thread, as [`Thread::spawn`] passes it.
unsafe extern "C" fn thread_main(data: *mut c_void) -> c_int {
    let start: *const Start = data.cast_const().cast();
    // SAFETY: `start` is valid until this thread has exited and only this thread touches `run`
    // until then.
    let run = unsafe { (*(*start).run.get()).take() };
    // The flag lives in the task and goes with it.
    // SAFETY: Changes a flag of the current task.
    unsafe { bindings::kapi_noio_save() };
    if let Some(run) = run {
        run.run(&StopToken(PhantomData));
    }
    0
}
