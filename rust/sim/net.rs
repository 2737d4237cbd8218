// SPDX-License-Identifier: GPL-2.0

//! The partner link: connections as TCP has them. Bytes arrive late, and in order; a connection that is
//! reset loses the end of what was sent; what one end closed may still be arriving at the other. Now and
//! then something goes wrong that the link's checksum does not see: a bit turns, a message is lost, comes
//! twice, or overtakes another.

use crate::{
    errno::{Errno, Result},
    exec::{self, Event, MS},
    schedule::Harm,
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

/// Bytes on their way to one end.
#[derive(Default)]
struct Pipe {
    queue: VecDeque<(u64, Vec<u8>)>,
    here: VecDeque<u8>,
    last: u64,
    /// The sender has closed: nothing follows what was sent by then.
    end: Option<u64>,
}

impl Pipe {
    /// Only some of what is on its way arrives, perhaps to the middle of a message.
    fn lose_the_end(&mut self) {
        let n = self.queue.len() as u64;
        let kept = exec::rand(|r| r.below(n + 1));
        self.queue.truncate(kept as usize);
        if let Some((_, last)) = self.queue.back_mut() {
            let bytes = last.len() as u64;
            last.truncate(exec::rand(|r| r.below(bytes + 1)) as usize);
        }
    }
}

#[derive(Default)]
struct Connection {
    /// To which node each end belongs.
    nodes: [usize; 2],
    /// By the end that they go to.
    pipes: [RefCell<Pipe>; 2],
    wake: [Event; 2],
    reset: Cell<bool>,
    shut: [Cell<bool>; 2],
    /// The end's node died: nobody is there to answer.
    void: [Cell<bool>; 2],
}

/// One end of a connection.
#[derive(Clone)]
pub struct Stream {
    conn: Rc<Connection>,
    end: usize,
}

#[derive(Default)]
pub struct Listener {
    backlog: RefCell<VecDeque<Stream>>,
    arrived: Event,
}

/// The link.
#[derive(Default)]
pub struct Net {
    /// From which node nothing arrives at the other, until when.
    pub cut_until: [Cell<u64>; 2],
    pub slow_until: Cell<u64>,
    /// How many messages from now one does not arrive as it was sent.
    pub corrupt: Cell<Option<(u64, Harm)>>,
    conns: RefCell<Vec<Rc<Connection>>>,
    listeners: [RefCell<Option<Rc<Listener>>>; 2],
}

impl Net {
    fn arrival(&self, from: usize, last: u64) -> u64 {
        let now = exec::now();
        let slow = now < self.slow_until.get();
        let latency = exec::rand(|r| 20_000 + r.below(if slow { 80 * MS } else { 200_000 }));
        now.max(self.cut_until[from].get())
            .saturating_add(latency)
            .max(last)
    }

    /// What happens to the message that is sent now. One overtakes another only where that is still on
    /// its way.
    fn harm(&self, empty: bool) -> Option<Harm> {
        let (n, harm) = self.corrupt.get()?;
        if n > 1 {
            self.corrupt.set(Some((n - 1, harm)));
            return None;
        }
        if harm == Harm::Overtakes && empty {
            return None;
        }
        self.corrupt.set(None);
        Some(harm)
    }

    pub fn listen(&self, node: usize) -> Rc<Listener> {
        let l = Rc::new(Listener::default());
        *self.listeners[node].borrow_mut() = Some(l.clone());
        l
    }

    /// Connects to the other node.
    pub async fn connect(&self, node: usize, patience: u64) -> Result<Stream> {
        let until = exec::now().saturating_add(patience);
        let arrives = self.arrival(node, 0);
        exec::sleep_until(arrives.min(until)).await;
        let back = self.cut_until[1 - node].get();
        exec::sleep_until(back.min(until)).await;
        if exec::now() >= until {
            return Err(Errno::TimedOut);
        }
        let listener = self.listeners[1 - node].borrow().clone();
        let listener = listener.ok_or(Errno::Reset)?;
        let conn = Rc::new(Connection {
            nodes: [node, 1 - node],
            ..Connection::default()
        });
        self.conns.borrow_mut().push(conn.clone());
        listener.backlog.borrow_mut().push_back(Stream {
            conn: conn.clone(),
            end: 1,
        });
        listener.arrived.signal();
        Ok(Stream { conn, end: 0 })
    }

    /// A node died: whoever talks to it hears nothing, and of what it had sent nothing is sent again.
    pub fn died(&self, node: usize) {
        *self.listeners[node].borrow_mut() = None;
        for c in self.conns.borrow().iter() {
            for end in 0..2 {
                if c.nodes[end] == node {
                    c.void[end].set(true);
                    c.pipes[1 - end].borrow_mut().lose_the_end();
                }
            }
        }
    }

    /// It is there again, and knows nothing of its old connections.
    pub fn lives(&self, node: usize) {
        self.conns.borrow_mut().retain(|c| {
            let old = (0..2).any(|end| c.nodes[end] == node && c.void[end].get());
            if old {
                c.break_off(false);
            }
            !old
        });
    }

    /// All connections break.
    pub fn reset(&self) {
        for c in self.conns.take() {
            c.break_off(true);
        }
    }

    pub fn heal(&self) {
        for c in &self.cut_until {
            c.set(0);
        }
        self.slow_until.set(0);
        self.corrupt.set(None);
    }
}

impl Connection {
    /// Some of what was sent still arrives if `lag`.
    fn break_off(&self, lag: bool) {
        self.reset.set(true);
        for end in 0..2 {
            let mut p = self.pipes[end].borrow_mut();
            if lag {
                p.lose_the_end();
            } else {
                p.queue.clear();
            }
            drop(p);
            self.wake[end].signal();
        }
    }
}

impl Stream {
    pub fn send(&self, net: &Net, bytes: &[u8]) -> Result {
        let c = &self.conn;
        if c.reset.get() || c.shut[self.end].get() {
            return Err(Errno::Reset);
        }
        let to = 1 - self.end;
        if c.void[to].get() {
            return Ok(());
        }
        let mut bytes = bytes.to_vec();
        let mut p = c.pipes[to].borrow_mut();
        let harm = net.harm(p.queue.is_empty());
        if let Some(harm) = harm {
            exec::log(|| format!("a message of {} bytes: {harm:?}", bytes.len()));
        }
        let at = net.arrival(c.nodes[self.end], p.last);
        p.last = at;
        match harm {
            None => p.queue.push_back((at, bytes)),
            Some(Harm::Bit) => {
                let bit = exec::rand(|r| r.below(bytes.len() as u64 * 8)) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
                p.queue.push_back((at, bytes));
            }
            Some(Harm::Lost) => {}
            Some(Harm::Twice) => {
                p.queue.push_back((at, bytes.clone()));
                p.queue.push_back((at, bytes));
            }
            Some(Harm::Overtakes) => {
                let before = p.queue.pop_back();
                p.queue
                    .push_back((before.as_ref().map_or(at, |(at, _)| *at), bytes));
                p.queue.extend(before.map(|(_, bytes)| (at, bytes)));
            }
        }
        drop(p);
        c.wake[to].signal();
        Ok(())
    }

    fn collect(&self) -> (usize, u64, bool) {
        let mut p = self.conn.pipes[self.end].borrow_mut();
        let now = exec::now();
        while p.queue.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, bytes)) = p.queue.pop_front() {
                p.here.extend(bytes);
            }
        }
        let next = p.queue.front().map(|(at, _)| *at).or(p.end);
        let ended = p.queue.is_empty() && p.end.is_some_and(|at| at <= now);
        (p.here.len(), next.unwrap_or(u64::MAX), ended)
    }

    /// Whether something can be read at once.
    pub fn readable(&self) -> bool {
        self.collect().0 > 0
    }

    /// Fills `to`. `idle` is called when nothing arrived for `interval`; its error ends the wait.
    pub async fn fill(
        &self,
        to: &mut [u8],
        interval: u64,
        idle: &mut impl FnMut() -> Result,
    ) -> Result {
        loop {
            let (here, next, ended) = self.collect();
            if here >= to.len() {
                let mut p = self.conn.pipes[self.end].borrow_mut();
                let n = to.len();
                for (d, s) in to.iter_mut().zip(p.here.drain(..n)) {
                    *d = s;
                }
                return Ok(());
            }
            let c = &self.conn;
            if ended || c.shut[self.end].get() || (c.reset.get() && next == u64::MAX) {
                return Err(Errno::Reset);
            }
            let timeout = exec::now().saturating_add(interval);
            if !c.wake[self.end].wait_until(next.min(timeout)).await && exec::now() >= timeout {
                idle()?;
            }
        }
    }

    /// Closes both directions; what was sent still arrives.
    pub fn shutdown(&self, net: &Net) {
        let c = &self.conn;
        if c.shut[self.end].replace(true) {
            return;
        }
        let to = 1 - self.end;
        let mut p = c.pipes[to].borrow_mut();
        let at = net.arrival(c.nodes[self.end], p.last);
        p.last = at;
        p.end = Some(at);
        drop(p);
        c.wake[to].signal();
        c.wake[self.end].signal();
    }
}

impl Listener {
    pub async fn accept(&self, ns: u64) -> Option<Stream> {
        let until = exec::now().saturating_add(ns);
        loop {
            if let Some(s) = self.backlog.borrow_mut().pop_front() {
                return Some(s);
            }
            if exec::now() >= until {
                return None;
            }
            self.arrived.wait_until(until).await;
        }
    }
}
