// SPDX-License-Identifier: GPL-2.0

//! Threads on virtual time: each is a future, and which of those that can go on goes on next is drawn
//! from the seed. A thread belongs to a node, and dies with it.
//!
//! One run is one OS thread's; what it needs everywhere stands in a thread-local.

use crate::rng::Rng;
use std::{
    any::Any,
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    future::{poll_fn, Future},
    panic::{catch_unwind, resume_unwind, AssertUnwindSafe},
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;

/// Unwinds out of whatever a node is doing when its power fails in the middle of that.
pub struct PowerCut(pub usize);

type Fiber = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    future: Option<Fiber>,
    node: Option<usize>,
    /// Its node died while it ran.
    doomed: bool,
    queued: bool,
}

#[derive(Default)]
struct Exec {
    now: Cell<u64>,
    order: Cell<u64>,
    steps: Cell<u64>,
    current: Cell<usize>,
    rng: RefCell<Option<Rng>>,
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<usize>>,
    ready: RefCell<Vec<usize>>,
    timers: RefCell<BinaryHeap<Reverse<(u64, u64, usize)>>>,
    violation: RefCell<Option<String>>,
    trace: RefCell<Option<Vec<String>>>,
}

thread_local! {
    static EXEC: Exec = Exec::default();
}

/// Begins a run: time stands at one second, nothing is under way.
pub fn reset(rng: Rng, trace: bool) {
    // Dropping threads may touch what is below.
    let tasks = EXEC.with(|e| std::mem::take(&mut *e.tasks.borrow_mut()));
    drop(tasks);
    EXEC.with(|e| {
        e.now.set(1000 * MS);
        e.order.set(0);
        e.steps.set(0);
        e.current.set(usize::MAX);
        *e.rng.borrow_mut() = Some(rng);
        e.free.borrow_mut().clear();
        e.ready.borrow_mut().clear();
        e.timers.borrow_mut().clear();
        *e.violation.borrow_mut() = None;
        *e.trace.borrow_mut() = trace.then(Vec::new);
    });
}

/// Virtual nanoseconds.
pub fn now() -> u64 {
    EXEC.with(|e| e.now.get())
}

/// A number of the run that goes up.
pub fn steps() -> u64 {
    EXEC.with(|e| e.steps.get())
}

/// The thread that runs: also the processor that it runs on.
pub fn current() -> usize {
    EXEC.with(|e| e.current.get())
}

/// Draws from the run's numbers.
pub fn rand<T>(draw: impl FnOnce(&mut Rng) -> T) -> T {
    EXEC.with(|e| draw(e.rng.borrow_mut().as_mut().expect("a run is under way")))
}

/// A rule is broken: the run ends.
pub fn violate(what: String) {
    log(|| format!("VIOLATION: {what}"));
    EXEC.with(|e| {
        e.violation.borrow_mut().get_or_insert(what);
    });
}

/// What was broken first.
pub fn violation() -> Option<String> {
    EXEC.with(|e| e.violation.borrow().clone())
}

/// Adds a line to the trace, if there is one.
pub fn log(line: impl FnOnce() -> String) {
    EXEC.with(|e| {
        if e.trace.borrow().is_some() {
            let line = format!("{:12.3} ms  {}", (now() - 1000 * MS) as f64 / 1e6, line());
            if let Some(t) = e.trace.borrow_mut().as_mut() {
                t.push(line);
            }
        }
    });
}

/// The lines so far.
pub fn traced() -> Vec<String> {
    EXEC.with(|e| e.trace.borrow_mut().take().unwrap_or_default())
}

/// Starts a thread.
pub fn spawn(node: Option<usize>, future: impl Future<Output = ()> + 'static) {
    EXEC.with(|e| {
        let task = Task {
            future: Some(Box::pin(future)),
            node,
            doomed: false,
            queued: true,
        };
        let mut tasks = e.tasks.borrow_mut();
        let id = match e.free.borrow_mut().pop() {
            Some(id) => {
                tasks[id] = Some(task);
                id
            }
            None => {
                tasks.push(Some(task));
                tasks.len() - 1
            }
        };
        e.ready.borrow_mut().push(id);
    });
}

/// Ends all threads of a node, wherever they are.
pub fn kill(node: usize) {
    let mut gone = vec![];
    EXEC.with(|e| {
        let mut tasks = e.tasks.borrow_mut();
        for (id, slot) in tasks.iter_mut().enumerate() {
            let Some(t) = slot.as_mut().filter(|t| t.node == Some(node)) else {
                continue;
            };
            if t.future.is_none() {
                t.doomed = true;
                continue;
            }
            gone.push(slot.take());
            e.free.borrow_mut().push(id);
        }
    });
    drop(gone);
}

fn wake(id: usize) {
    EXEC.with(|e| {
        if let Some(Some(t)) = e.tasks.borrow_mut().get_mut(id) {
            if !t.queued {
                t.queued = true;
                e.ready.borrow_mut().push(id);
            }
        }
    });
}

fn timer(at: u64) {
    if at == u64::MAX {
        return;
    }
    EXEC.with(|e| {
        let order = e.order.get();
        e.order.set(order + 1);
        e.timers
            .borrow_mut()
            .push(Reverse((at, order, e.current.get())));
    });
}

/// Lets one thread go on; answers whether there was one. When none can, time passes.
///
/// # Errors
///
/// The node whose power failed meanwhile; its threads are for the caller to [`kill`].
pub fn step() -> Result<bool, PowerCut> {
    let Some((id, mut future)) = EXEC.with(next) else {
        return Ok(false);
    };
    let mut context = Context::from_waker(Waker::noop());
    let end = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
    let keep = matches!(end, Ok(Poll::Pending));
    EXEC.with(|e| {
        let mut tasks = e.tasks.borrow_mut();
        match tasks[id].as_mut() {
            Some(t) if keep && !t.doomed => t.future = Some(future),
            _ => {
                tasks[id] = None;
                e.free.borrow_mut().push(id);
                drop(tasks);
                drop(future);
            }
        }
        e.current.set(usize::MAX);
    });
    match end {
        Ok(_) => Ok(true),
        Err(payload) => Err(*payload
            .downcast::<PowerCut>()
            .unwrap_or_else(|other: Box<dyn Any + Send>| resume_unwind(other))),
    }
}

fn next(e: &Exec) -> Option<(usize, Fiber)> {
    loop {
        while e.ready.borrow().is_empty() {
            let mut timers = e.timers.borrow_mut();
            let Reverse((at, _, _)) = *timers.peek()?;
            e.now.set(e.now.get().max(at));
            while timers.peek().is_some_and(|Reverse((t, _, _))| *t <= at) {
                if let Some(Reverse((_, _, id))) = timers.pop() {
                    wake(id);
                }
            }
        }
        let id = {
            let mut ready = e.ready.borrow_mut();
            let n = ready.len() as u64;
            let i = rand(|r| r.below(n)) as usize;
            ready.swap_remove(i)
        };
        let mut tasks = e.tasks.borrow_mut();
        let Some(t) = tasks[id].as_mut() else {
            continue;
        };
        t.queued = false;
        let Some(future) = t.future.take() else {
            continue;
        };
        e.current.set(id);
        e.steps.set(e.steps.get() + 1);
        return Some((id, future));
    }
}

/// Waits until a time.
pub async fn sleep_until(at: u64) {
    let mut armed = false;
    poll_fn(|_| {
        if now() >= at {
            return Poll::Ready(());
        }
        if !armed {
            armed = true;
            timer(at);
        }
        Poll::Pending
    })
    .await;
}

/// Waits for so many nanoseconds.
pub async fn sleep(ns: u64) {
    sleep_until(now().saturating_add(ns)).await;
}

/// Waits for between `least` and `most` nanoseconds.
pub async fn pass(least: u64, most: u64) {
    let extra = rand(|r| r.below(most.saturating_sub(least).max(1)));
    sleep(least + extra).await;
}

/// The scheduler may take the processor away here.
pub async fn preempt() {
    let ns = rand(|r| if r.one_in(6) { r.below(200_000) } else { 0 });
    if ns > 0 {
        sleep(ns).await;
    }
}

/// What threads wait for. A signal that nobody waits for is kept.
#[derive(Default)]
pub struct Event {
    set: Cell<bool>,
    waiters: RefCell<Vec<usize>>,
}

impl Event {
    /// Takes the signal, if there is one.
    pub fn consume(&self) {
        self.set.set(false);
    }

    pub fn signal(&self) {
        self.set.set(true);
        for id in self.waiters.take() {
            wake(id);
        }
    }

    /// Waits for a signal, no longer than until `deadline`.
    pub async fn wait_until(&self, deadline: u64) -> bool {
        let mut armed = false;
        poll_fn(|_| {
            if self.set.replace(false) {
                return Poll::Ready(true);
            }
            if now() >= deadline {
                return Poll::Ready(false);
            }
            if !armed {
                armed = true;
                timer(deadline);
            }
            let mut waiters = self.waiters.borrow_mut();
            if !waiters.contains(&current()) {
                waiters.push(current());
            }
            Poll::Pending
        })
        .await
    }

    pub async fn wait_timeout(&self, ns: u64) -> bool {
        self.wait_until(now().saturating_add(ns)).await
    }
}

/// A lock that is held while its holder waits.
#[derive(Default)]
pub struct Mutex {
    held: Cell<bool>,
    waiters: RefCell<Vec<usize>>,
}

/// Unlocks when dropped.
pub struct Guard<'a>(&'a Mutex);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.held.set(false);
        for id in self.0.waiters.take() {
            wake(id);
        }
    }
}

impl Mutex {
    pub fn try_lock(&self) -> Option<Guard<'_>> {
        // Lazily: a guard that is made and dropped would unlock.
        (!self.held.replace(true)).then(|| Guard(self))
    }

    pub async fn lock(&self) -> Guard<'_> {
        poll_fn(|_| match self.try_lock() {
            Some(g) => Poll::Ready(g),
            None => {
                self.waiters.borrow_mut().push(current());
                Poll::Pending
            }
        })
        .await
    }
}
