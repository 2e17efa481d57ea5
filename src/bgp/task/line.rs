//! A connection with what waits on either side of it. Both sides are bounded: by the longest message where it is read, by what the session
//! sends before it hears of [`Event::Writable`](crate::bgp::session::Event::Writable) where it is written.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

use super::BATCH;
use crate::machine::Instant;
use crate::net::tcp::Connection;

/// A connection of a session, or one being made.
#[derive(Debug)]
pub(super) struct Line {
    /// As the session counts them.
    pub(super) number: u64,
    pub(super) connected: bool,
    /// Something was sent since the session was last told that everything is written.
    pub(super) owes_writable: bool,
    /// Received, not yet a whole message.
    pub(super) inbox: Vec<u8>,
    outbox: Vec<u8>,
    pub(super) connection: Connection,
}

impl Line {
    pub(super) fn new(number: u64, connection: Connection) -> Self {
        Self { number, connected: false, owes_writable: false, inbox: Vec::new(), outbox: Vec::new(), connection }
    }

    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_ready(context, !self.connected || !self.outbox.is_empty())
    }

    pub(super) fn send(&mut self, message: &[u8]) {
        self.outbox.extend_from_slice(message);
        self.owes_writable = true;
    }

    /// Writes as much as the kernel takes; whether that is all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while !self.outbox.is_empty() {
            match self.connection.try_write(&self.outbox) {
                Ok(written) => drop(self.outbox.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A connection that is done with: it waits for the peer to read the last words and to close, but not for long. Closed at once with
/// something unread, it would be reset, and the peer might never see why.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) until: Instant,
    connection: Connection,
}

impl Closing {
    pub(super) fn new(mut line: Line, until: Instant) -> Self {
        // "As far as the peer takes it at once."
        drop(line.flush());
        line.connection.finish();
        Self { until, connection: line.connection }
    }

    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_ready(context, false)
    }

    /// Drops what comes; whether more may come.
    pub(super) fn drain(&self, scratch: &mut [u8], now: Instant) -> bool {
        // Not all of it at once: who sends without end would keep everybody else from their turn.
        for _ in 0..BATCH {
            match self.connection.try_read(scratch) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        now < self.until
    }
}
