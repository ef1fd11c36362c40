//! The queue in front of a loop: lanes of descending priority, one reader, bounded where callers write.
//!
//! Apart from tokio's channels for two reasons. A supervisor must see a stop that is queued before the exits that are, and in
//! one queue both what may wait for a place and what never may: lanes under one lock say just that, where several channels would
//! each allocate a block of 32 slots per supervisor. And an idle mailbox must cost next to nothing, as there is one per child: an
//! empty lane allocates nothing.
//!
//! It does not know what it carries. Items are never dropped, and wakers never called, under the lock.

use std::collections::VecDeque;
use std::task::{self, Poll, Waker};

use crate::sync::{Mutex, Semaphore, TryAcquireError};

/// A queue of `T` with `LANES` lanes; lane 0 is read first.
pub(crate) struct Inbox<T, const LANES: usize> {
    lanes: Mutex<Lanes<T, LANES>>,
    room: Semaphore,
}

struct Lanes<T, const LANES: usize> {
    queues: [VecDeque<Item<T>>; LANES],
    closed: bool,
    /// The reader, while it waits. Here rather than in a `Notify`, which would cost each waiting reader a place in a list, and each
    /// item more than the lock.
    reader: Option<Waker>,
}

struct Item<T> {
    value: T,
    /// Whether it took one of the places that are bounded.
    bounded: bool,
}

impl<T, const LANES: usize> Lanes<T, LANES> {
    fn take_next(&mut self) -> Option<Item<T>> {
        let queue = self.queues.iter_mut().find(|queue| !queue.is_empty())?;
        let item = queue.pop_front()?;
        if queue.is_empty() && queue.capacity() > KEEP {
            *queue = VecDeque::new();
        }
        Some(item)
    }
}

/// The inbox is closed: its loop has ended. The refused item comes back.
#[derive(Debug)]
pub(crate) struct Closed<T>(pub(crate) T);

/// Why [`Inbox::try_push_bounded`] refused an item.
#[derive(Debug)]
pub(crate) enum Refused<T> {
    Closed(T),
    Full(T),
}

/// Beyond this, an emptied lane gives its buffer back: a burst should not be paid for for ever.
const KEEP: usize = 64;

impl<T, const LANES: usize> Inbox<T, LANES> {
    /// An inbox with `places` for what is pushed by [`push_bounded`](Self::push_bounded).
    pub(crate) fn new(places: usize) -> Self {
        Self {
            lanes: Mutex::new(Lanes {
                queues: std::array::from_fn(|_| VecDeque::new()),
                closed: false,
                reader: None,
            }),
            room: Semaphore::new(places.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Appends to a lane without waiting and without bound: for reports, which must never wait.
    pub(crate) fn push(&self, lane: usize, value: T) -> Result<(), Closed<T>> {
        self.insert(lane, Item { value, bounded: false })
    }

    /// Appends to a lane when there is a place for it. Cancel safe: dropped before it returns, nothing was appended.
    pub(crate) async fn push_bounded(&self, lane: usize, value: T) -> Result<(), Closed<T>> {
        match self.room.acquire().await {
            Ok(place) => {
                // The place is given back when the item is taken out.
                place.forget();
                self.insert(lane, Item { value, bounded: true })
            }
            Err(_closed) => Err(Closed(value)),
        }
    }

    /// Appends to a lane if there is a place for it now.
    pub(crate) fn try_push_bounded(&self, lane: usize, value: T) -> Result<(), Refused<T>> {
        match self.room.try_acquire() {
            Ok(place) => {
                place.forget();
                self.insert(lane, Item { value, bounded: true })
                    .map_err(|Closed(value)| Refused::Closed(value))
            }
            Err(TryAcquireError::NoPermits) => Err(Refused::Full(value)),
            Err(TryAcquireError::Closed) => Err(Refused::Closed(value)),
        }
    }

    fn insert(&self, lane: usize, item: Item<T>) -> Result<(), Closed<T>> {
        let reader = {
            let mut lanes = self.lanes.lock();
            if lanes.closed {
                return Err(Closed(item.value));
            }
            lanes.queues[lane].push_back(item);
            lanes.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Takes the next item: of the lowest lane that has one, the oldest.
    pub(crate) fn try_pop(&self) -> Option<T> {
        let item = self.lanes.lock().take_next()?;
        Some(self.taken(item))
    }

    /// Takes the next item, or has the reader woken when there is one. For one reader.
    pub(crate) fn poll_pop(&self, cx: &task::Context<'_>) -> Poll<T> {
        if let Some(value) = self.try_pop() {
            return Poll::Ready(value);
        }
        // Cloned before, and dropped after: no waker's code runs under the lock.
        let mut reader = Some(cx.waker().clone());
        let item = {
            let mut lanes = self.lanes.lock();
            // Again: what came since the first look has found no reader to wake.
            let item = lanes.take_next();
            if item.is_none() {
                std::mem::swap(&mut lanes.reader, &mut reader);
            }
            item
        };
        drop(reader);
        item.map_or(Poll::Pending, |item| Poll::Ready(self.taken(item)))
    }

    /// Waits for the next item.
    #[cfg(test)]
    pub(crate) async fn pop(&self) -> T {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    fn taken(&self, item: Item<T>) -> T {
        if item.bounded {
            self.room.add_permits(1);
        }
        item.value
    }

    /// Refuses everything from now on and hands back what was still queued, in the order it would have been read.
    pub(crate) fn close(&self) -> Vec<T> {
        let left = {
            let mut lanes = self.lanes.lock();
            lanes.closed = true;
            std::mem::replace(&mut lanes.queues, std::array::from_fn(|_| VecDeque::new()))
        };
        self.room.close();
        left.into_iter().flatten().map(|item| item.value).collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lanes.lock().closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lanes_are_read_in_order_of_priority() {
        let inbox: Inbox<u32, 3> = Inbox::new(8);
        inbox.push_bounded(2, 20).await.unwrap();
        inbox.push(1, 10).unwrap();
        inbox.push_bounded(2, 21).await.unwrap();
        inbox.push(0, 1).unwrap();
        inbox.push(1, 11).unwrap();
        let read: Vec<u32> = std::iter::from_fn(|| inbox.try_pop()).collect();
        assert_eq!(read, [1, 10, 11, 20, 21]);
    }

    #[tokio::test]
    async fn a_full_inbox_makes_callers_wait_and_never_reports() {
        let inbox: Inbox<u32, 3> = Inbox::new(1);
        inbox.push_bounded(2, 1).await.unwrap();
        assert!(matches!(inbox.try_push_bounded(2, 2), Err(Refused::Full(2))));
        let mut waiting = std::pin::pin!(inbox.push_bounded(2, 3));
        assert!(futures_poll(waiting.as_mut()).await.is_none(), "no place yet");
        inbox.push(1, 4).unwrap();
        assert_eq!(inbox.pop().await, 4);
        assert!(futures_poll(waiting.as_mut()).await.is_none(), "a report frees no place");
        assert_eq!(inbox.pop().await, 1);
        waiting.await.unwrap();
        assert_eq!(inbox.pop().await, 3);
    }

    #[tokio::test]
    async fn closing_hands_back_what_is_queued_and_refuses_the_rest() {
        let inbox: Inbox<u32, 3> = Inbox::new(1);
        inbox.push_bounded(2, 1).await.unwrap();
        let mut waiting = std::pin::pin!(inbox.push_bounded(2, 2));
        assert!(futures_poll(waiting.as_mut()).await.is_none());
        inbox.push(0, 0).unwrap();
        assert_eq!(inbox.close(), [0, 1]);
        assert!(matches!(waiting.await, Err(Closed(2))));
        assert!(matches!(inbox.push(1, 3), Err(Closed(3))));
        assert!(matches!(inbox.try_push_bounded(2, 4), Err(Refused::Closed(4))));
    }

    /// One look at a future: its output if it is ready.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match future.as_mut().poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
