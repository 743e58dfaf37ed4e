//! A bound on the bytes that are held at once, whoever holds them, and on how long they may take to come.

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

/// Room for a number of bytes, shared by all who take some of it.
#[derive(Debug)]
pub struct Rooms {
    limit: usize,
    taken: AtomicUsize,
}

/// What one of them has taken. Dropping it gives the room back.
#[derive(Debug)]
pub struct Room {
    of: Arc<Rooms>,
    bytes: usize,
}

/// Bytes and their room, which is given back with the last of their clones.
struct Held<T> {
    bytes: T,
    _room: Room,
}

/// A part of a body that has a time of its own to come in.
const PART: usize = 1 << 20;

/// How fast a body has to come to hold room: each part of `PART` bytes in its time, or the rest of it.
/// So neither a client that stops nor one that sends a byte now and then holds it for long.
#[derive(Debug)]
pub(crate) struct Pace {
    wait: Duration,
    /// When the part has to be there; none if that is beyond all clocks.
    until: Option<Instant>,
    /// With how many bytes of the body it is there.
    due: usize,
}

/// A body did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late;

impl Pace {
    /// For a body of which each part may take so long.
    pub(crate) fn new(wait_ms: u64) -> Self {
        Self { wait: Duration::from_millis(wait_ms), until: None, due: 0 }
    }

    /// The next piece of a body of which so many bytes have come.
    ///
    /// # Errors
    ///
    /// [`Late`]; nothing of the body is lost then.
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
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    /// How many bytes there can be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes are taken now.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes room for `bytes`, if there is as much.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut room = Room { of: self.clone(), bytes: 0 };
        room.grow_to(bytes).then_some(room)
    }
}

impl Room {
    /// Takes what is missing to `bytes`; false, and nothing taken, if there is not as much.
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

    /// Keeps the room for as long as any clone of the result lives.
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
    fn what_is_taken_comes_back_with_the_last_clone() {
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
