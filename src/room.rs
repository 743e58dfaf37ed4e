//! Limits the number of bytes held in memory at once, and how long bodies may take to arrive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{self, Instant};

use crate::telemetry;

/// Room for a number of bytes, shared by all bodies.
#[derive(Debug)]
pub struct Rooms {
    limit: usize,
    taken: AtomicUsize,
}

/// Room taken by one body. Dropping it gives the room back.
#[derive(Debug)]
pub struct Room {
    of: Arc<Rooms>,
    bytes: usize,
}

/// Bytes with their room, which is given back with the last clone.
struct Held<T> {
    bytes: T,
    _room: Room,
}

/// Bytes of a part of a body, which has a time limit of its own.
const PART: usize = 1 << 20;

/// The pace at which a body must arrive to hold room: each part of `PART` bytes, or the remainder, within its
/// time limit. Neither a client that stops nor one that trickles bytes holds room for long.
#[derive(Debug)]
pub(crate) struct Pace {
    wait: Duration,
    /// Deadline of the current part; `None` if it is beyond the range of the clock.
    until: Option<Instant>,
    /// Length of the body at which the current part is complete.
    due: usize,
}

/// A body did not arrive in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

impl Pace {
    /// Allows each part of a body `wait_ms` milliseconds.
    pub(crate) fn new(wait_ms: u64) -> Self {
        Self { wait: Duration::from_millis(wait_ms), until: None, due: 0 }
    }

    /// The next piece of a body of which `came` bytes have arrived.
    ///
    /// # Errors
    ///
    /// [`Late`]; no bytes of the body are lost then.
    pub(crate) async fn next<S: Stream + Unpin>(
        &mut self,
        body: &mut S,
        came: usize,
    ) -> Result<Option<S::Item>, Late> {
        if came >= self.due {
            self.due = came.saturating_add(PART);
            self.until = Instant::now().checked_add(self.wait);
        }
        match self.until {
            Some(until) => time::timeout_at(until, body.next()).await.map_err(|_| Late),
            None => Ok(body.next().await),
        }
    }
}

impl Rooms {
    /// Creates room for `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    /// The total number of bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The number of bytes currently taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes room for `bytes`, if there is enough.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut room = Room { of: self.clone(), bytes: 0 };
        room.grow_to(bytes).then_some(room)
    }
}

impl Room {
    /// Grows to room for `bytes`; if there is not enough, returns false and takes nothing.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let fits = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= self.of.limit);
        if self.of.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return false;
        }
        telemetry::body_bytes(more as f64);
        self.bytes = bytes;
        true
    }

    /// Keeps the room until the last clone of the result is dropped.
    pub fn hold(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        telemetry::body_bytes(-(self.bytes as f64));
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_released_with_the_last_clone() {
        let rooms = Rooms::new(10);
        let mut one = rooms.take(6).unwrap();
        assert!(rooms.take(5).is_none() && !one.grow_to(11) && !one.grow_to(usize::MAX));
        assert_eq!(rooms.taken(), 6);
        assert!(one.grow_to(3), "smaller is always there");
        let two = rooms.take(4).unwrap();
        assert!(rooms.take(1).is_none() && rooms.take(0).is_some());
        drop(two);
        assert!(one.grow_to(10));

        let bytes = one.hold(vec![1, 2, 3]);
        let (clone, slice) = (bytes.clone(), bytes.slice(1..2));
        drop(bytes);
        assert_eq!((rooms.taken(), &clone[..]), (10, &[1, 2, 3][..]));
        drop(clone);
        assert_eq!((rooms.taken(), &slice[..]), (10, &[2][..]));
        drop(slice);
        assert_eq!(rooms.taken(), 0);
    }
}
