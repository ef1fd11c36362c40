//! The queue in front of a loop: lanes of descending priority, one reader, bounded where callers write.
//!
//! Apart from tokio's channels for two reasons. A supervisor must see a stop that is queued before the exits that are, and in
//! one queue both what may wait for a place and what never may: lanes under one lock say just that, where several channels would
//! each allocate a block of 32 slots per supervisor. And an idle mailbox must cost next to nothing, as there is one per child: an
//! empty lane allocates nothing.
//!
//! A supervisor's is open from the start and closed once. A mailbox is opened and closed for each incarnation of its server, and what
//! was in it for one, callers in line included, is never seen by the next: each has a line of its own.
//!
//! It does not know what it carries. Items are never dropped, and wakers never called, under the lock.

use std::collections::VecDeque;
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, Waker};

use tokio::task::Id;

use crate::sync::{Mutex, Semaphore};

/// A queue of `T` with `LANES` lanes; lane 0 is read first.
pub(crate) struct Inbox<T, const LANES: usize, B = ()> {
    lanes: Mutex<Lanes<T, LANES, B>>,
    /// Whether the reader has just taken the last item, or none yet: it will find nothing. No more than a guess.
    emptied: AtomicBool,
}

pub(crate) struct Lanes<T, const LANES: usize, B> {
    /// What is looked at together with the queue, and so is under its lock.
    pub(crate) beside: B,
    queues: [VecDeque<Item<T>>; LANES],
    closed: bool,
    /// The reader, while it waits. Here rather than in a `Notify`, which would cost each waiting reader a place in a list, and each
    /// item more than the lock.
    reader: Option<Waker>,
    /// The task that reads it, if it was opened on one.
    task: Option<Id>,
    /// Places that are free, as long as nobody stands in line; from then on they are handed out there.
    free: u32,
    /// Boxed, as most inboxes never have one. The next opening begins without.
    line: Option<Box<Line>>,
}

/// The line of callers who wait for a place.
struct Line {
    places: Arc<Semaphore>,
    waiting: usize,
}

struct Item<T> {
    value: T,
    /// Whether it took one of the places that are bounded.
    bounded: bool,
}

struct Taken<T> {
    value: T,
    /// The line to which its place goes.
    line: Option<Arc<Semaphore>>,
}

impl<T, const LANES: usize, B> Lanes<T, LANES, B> {
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// As [`Inbox::push`], but the reader is left to sleep: whoever calls this sees to the item, or has the reader woken.
    pub(crate) fn push_unheard(&mut self, lane: usize, value: T) -> Result<(), Closed<T>> {
        if self.closed {
            return Err(Closed(value));
        }
        self.append(lane, Item { value, bounded: false });
        Ok(())
    }

    fn append(&mut self, lane: usize, item: Item<T>) {
        let queue = &mut self.queues[lane];
        if queue.capacity() == 0 {
            // Most never hold more at once: the room that a first item makes by itself would be for four.
            queue.reserve_exact(FIRST);
        }
        queue.push_back(item);
    }

    fn take_next(&mut self) -> Option<Taken<T>> {
        let queue = self.queues.iter_mut().find(|queue| !queue.is_empty())?;
        let Item { value, bounded } = queue.pop_front()?;
        if queue.is_empty() && queue.capacity() > kept::<T>(LANES) {
            *queue = VecDeque::new();
        }
        let line = self.line.as_ref().filter(|line| bounded && line.waiting > 0);
        let line = line.map(|line| line.places.clone());
        self.free += u32::from(bounded && line.is_none());
        Some(Taken { value, line })
    }

    /// The line, if it is still that of this opening.
    fn own_line(&mut self, places: &Arc<Semaphore>) -> Option<&mut Line> {
        self.line.as_deref_mut().filter(|line| Arc::ptr_eq(&line.places, places))
    }
}

/// A caller's turn in the line; dropped, the caller is out of it.
struct Turn<'a, T, const LANES: usize, B> {
    inbox: &'a Inbox<T, LANES, B>,
    places: Arc<Semaphore>,
}

impl<'a, T, const LANES: usize, B> Turn<'a, T, LANES, B> {
    /// `None`: the inbox is closed.
    fn take(inbox: &'a Inbox<T, LANES, B>) -> Option<Self> {
        let mut lanes = inbox.lanes.lock();
        // Looked at, and the line made, under the lock: whoever closes the inbox after this finds the line to close.
        if lanes.closed {
            return None;
        }
        // Freed since the caller looked: theirs, or that of whoever is first.
        let freed = std::mem::take(&mut lanes.free);
        let line = lanes
            .line
            .get_or_insert_with(|| Box::new(Line { places: Arc::new(Semaphore::new(0)), waiting: 0 }));
        line.waiting += 1;
        let places = line.places.clone();
        drop(lanes);
        places.add_permits(freed as usize);
        Some(Self { inbox, places })
    }
}

impl<T, const LANES: usize, B> Drop for Turn<'_, T, LANES, B> {
    fn drop(&mut self) {
        if let Some(line) = self.inbox.lanes.lock().own_line(&self.places) {
            line.waiting -= 1;
        }
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
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
    /// Whoever asks would wait for itself.
    Own(T),
}

/// Room for so many is made when the first one comes.
const FIRST: usize = 2;

/// How many items there is room for in the buffer that an emptied lane keeps: a page of them, or a few that are large. It gives a larger one
/// back: a burst should not be paid for for ever.
///
/// Four pages where there are several lanes, as a supervisor's queue has. One would not do if all of its [places](crate::message) are taken and its
/// children report as well: it would be given back and made anew all the time, and glibc tidies up all small blocks of an arena whenever
/// one of a thousand bytes is asked for.
fn kept<T>(lanes: usize) -> usize {
    const PAGE: usize = 4096;
    let pages = if lanes == 1 { 1 } else { 4 };
    (pages * PAGE / size_of::<Item<T>>()).max(FIRST)
}

/// As many places as can be counted.
pub(crate) fn places(wanted: usize) -> u32 {
    u32::try_from(wanted.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX)
}

impl<T, const LANES: usize, B: Default> Inbox<T, LANES, B> {
    /// An open inbox with places for what is pushed by [`push_bounded`](Self::push_bounded).
    pub(crate) fn new(wanted: usize) -> Self {
        let inbox = Self::closed();
        inbox.open(places(wanted));
        inbox
    }

    /// An inbox that is yet to be opened.
    pub(crate) fn closed() -> Self {
        Self {
            lanes: Mutex::new(Lanes {
                beside: B::default(),
                queues: std::array::from_fn(|_| VecDeque::new()),
                closed: true,
                reader: None,
                task: None,
                free: 0,
                line: None,
            }),
            emptied: AtomicBool::new(true),
        }
    }
}

impl<T, const LANES: usize, B> Inbox<T, LANES, B> {
    /// The queue, and what lies beside it. No item is to be dropped, and no waker called, under this lock.
    pub(crate) fn lock(&self) -> impl DerefMut<Target = Lanes<T, LANES, B>> {
        self.lanes.lock()
    }

    /// Opens what is closed. It is read on the current task.
    pub(crate) fn open(&self, places: u32) {
        let task = tokio::task::try_id();
        let mut lanes = self.lanes.lock();
        debug_assert!(lanes.closed, "a mailbox has one reader at a time");
        lanes.closed = false;
        lanes.task = task;
        lanes.free = places;
        self.emptied.store(true, Ordering::Relaxed);
    }

    /// Appends to a lane without waiting and without bound: for reports, which must never wait.
    pub(crate) fn push(&self, lane: usize, value: T) -> Result<(), Closed<T>> {
        self.insert(lane, Item { value, bounded: false }, None)
    }

    /// Wakes the reader, if it waits.
    pub(crate) fn wake_reader(&self) {
        let reader = self.lanes.lock().reader.take();
        wake(reader);
    }

    /// Appends to a lane when there is a place for it. Cancel safe: dropped before it returns, nothing was appended.
    pub(crate) async fn push_bounded(&self, lane: usize, value: T) -> Result<(), Closed<T>> {
        match self.try_push_bounded(lane, value, None) {
            Ok(()) => Ok(()),
            Err(Refused::Closed(value) | Refused::Own(value)) => Err(Closed(value)),
            Err(Refused::Full(value)) => self.push_in_turn(lane, value).await,
        }
    }

    /// Stands in line for a place, then appends. Cancel safe, as [`push_bounded`](Self::push_bounded).
    pub(crate) async fn push_in_turn(&self, lane: usize, value: T) -> Result<(), Closed<T>> {
        let Some(turn) = Turn::take(self) else { return Err(Closed(value)) };
        match turn.places.acquire().await {
            Ok(place) => {
                // The place is given back when the item is taken out.
                place.forget();
                self.insert(lane, Item { value, bounded: true }, Some(&turn.places))
            }
            Err(_closed) => Err(Closed(value)),
        }
    }

    /// Appends to a lane if there is a place for it now. `asker` is the task that is going to wait for what comes of it.
    pub(crate) fn try_push_bounded(
        &self,
        lane: usize,
        value: T,
        asker: Option<Id>,
    ) -> Result<(), Refused<T>> {
        let item = Item { value, bounded: true };
        let reader = {
            let mut lanes = self.lanes.lock();
            if lanes.closed {
                return Err(Refused::Closed(item.value));
            }
            if asker.is_some() && asker == lanes.task {
                return Err(Refused::Own(item.value));
            }
            if lanes.free > 0 {
                lanes.free -= 1;
            } else {
                match lanes.line.as_ref().map(|line| line.places.try_acquire()) {
                    // One that was handed out there, and nobody stood there any more.
                    Some(Ok(place)) => place.forget(),
                    _ => return Err(Refused::Full(item.value)),
                }
            }
            lanes.append(lane, item);
            lanes.reader.take()
        };
        wake(reader);
        Ok(())
    }

    /// Whether the current task is the one that reads it.
    pub(crate) fn is_read_here(&self) -> bool {
        let task = tokio::task::try_id();
        task.is_some() && self.lanes.lock().task == task
    }

    /// `line`: the one in which the item's place was got. A place is one of its own opening.
    fn insert(&self, lane: usize, item: Item<T>, line: Option<&Arc<Semaphore>>) -> Result<(), Closed<T>> {
        let reader = {
            let mut lanes = self.lanes.lock();
            if lanes.closed || line.is_some_and(|line| lanes.own_line(line).is_none()) {
                return Err(Closed(item.value));
            }
            lanes.append(lane, item);
            lanes.reader.take()
        };
        wake(reader);
        Ok(())
    }

    /// Takes the next item: of the lowest lane that has one, the oldest.
    pub(crate) fn try_pop(&self) -> Option<T> {
        let taken = self.lanes.lock().take_next()?;
        Some(Self::hand_on(taken))
    }

    /// Takes the next item, or has the reader woken when there is one. For one reader.
    pub(crate) fn poll_pop(&self, cx: &task::Context<'_>) -> Poll<T> {
        self.poll_look(cx, |lanes| {
            let taken = lanes.take_next()?;
            self.emptied.store(lanes.is_empty(), Ordering::Relaxed);
            Some(taken)
        })
        .map(Self::hand_on)
    }

    /// The same without taking it.
    pub(crate) fn poll_any(&self, cx: &task::Context<'_>) -> Poll<()> {
        self.poll_look(cx, |lanes| (!lanes.is_empty()).then_some(()))
    }

    fn poll_look<F>(
        &self,
        cx: &task::Context<'_>,
        mut look: impl FnMut(&mut Lanes<T, LANES, B>) -> Option<F>,
    ) -> Poll<F> {
        // Cloned before, and dropped after: no waker's code runs under the lock. At once, where there is likely to be nothing.
        let mut reader = self.emptied.load(Ordering::Relaxed).then(|| cx.waker().clone());
        loop {
            let mut lanes = self.lanes.lock();
            if let Some(found) = look(&mut lanes) {
                return Poll::Ready(found);
            }
            // Its waker may be here from the last look.
            if lanes.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if reader.is_some() {
                std::mem::swap(&mut lanes.reader, &mut reader);
                // When it is woken, there will be something.
                self.emptied.store(false, Ordering::Relaxed);
                return Poll::Pending;
            }
            drop(lanes);
            reader = Some(cx.waker().clone());
        }
    }

    /// Waits for the next item.
    #[cfg(test)]
    pub(crate) async fn pop(&self) -> T {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    /// Gives the place of an item that was taken out to the first in line, if it is theirs.
    fn hand_on(taken: Taken<T>) -> T {
        if let Some(line) = taken.line {
            // Whoever was the last in line may have left it by now: then the next one to come finds it there.
            line.add_permits(1);
        }
        taken.value
    }

    /// Refuses everything from now on, until it is opened again, and hands back what was still queued, in the order it would have been
    /// read.
    pub(crate) fn close(&self) -> Vec<T> {
        let (left, line, reader) = {
            let mut lanes = self.lanes.lock();
            lanes.closed = true;
            let left = std::mem::replace(&mut lanes.queues, std::array::from_fn(|_| VecDeque::new()));
            // Not kept: a waker keeps a task from being freed.
            (left, lanes.line.take(), lanes.reader.take())
        };
        drop(reader);
        if let Some(line) = line {
            line.places.close();
        }
        // Mostly there is nothing, and to make a list of that takes longer than all of this.
        if left.iter().all(VecDeque::is_empty) {
            return Vec::new();
        }
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
        assert!(matches!(inbox.try_push_bounded(2, 2, None), Err(Refused::Full(2))));
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
        assert!(matches!(inbox.try_push_bounded(2, 4, None), Err(Refused::Closed(4))));
    }

    #[tokio::test]
    async fn places_are_neither_made_nor_lost_by_reports_and_lines() {
        let inbox: Inbox<u32, 2> = Inbox::new(1);
        inbox.push(0, 1).unwrap();
        assert_eq!(inbox.try_pop(), Some(1));
        inbox.push_bounded(1, 2).await.unwrap();
        assert!(
            matches!(inbox.try_push_bounded(1, 3, None), Err(Refused::Full(3))),
            "the report has made no place"
        );
        {
            let mut waiting = std::pin::pin!(inbox.push_bounded(1, 4));
            assert!(futures_poll(waiting.as_mut()).await.is_none());
            assert_eq!(inbox.try_pop(), Some(2));
            assert!(
                matches!(inbox.try_push_bounded(1, 5, None), Err(Refused::Full(5))),
                "the place is the line's"
            );
            waiting.await.unwrap();
        }
        assert_eq!(inbox.try_pop(), Some(4));
        let lanes = inbox.lanes.lock();
        assert_eq!(
            (lanes.line.as_ref().unwrap().waiting, lanes.free),
            (0, 1),
            "nobody stands in line, so the place is anybody's"
        );
    }

    #[tokio::test]
    async fn a_place_that_was_handed_to_one_who_left_is_the_next_ones() {
        let inbox: Inbox<u32, 1> = Inbox::new(1);
        inbox.push_bounded(0, 1).await.unwrap();
        {
            let mut leaves = std::pin::pin!(inbox.push_bounded(0, 2));
            assert!(futures_poll(leaves.as_mut()).await.is_none());
            assert_eq!(inbox.try_pop(), Some(1));
        }
        assert!(matches!(inbox.try_push_bounded(0, 3, None), Ok(())));
        assert!(matches!(inbox.try_push_bounded(0, 4, None), Err(Refused::Full(4))));
        assert_eq!(inbox.try_pop(), Some(3));
        assert_eq!(inbox.lanes.lock().free, 1);
    }

    #[test]
    fn a_place_that_was_freed_on_the_way_to_the_line_is_found_there() {
        let inbox: Inbox<u32, 1> = Inbox::new(2);
        let turn = Turn::take(&inbox).unwrap();
        let _both = (turn.places.try_acquire().unwrap(), turn.places.try_acquire().unwrap());
        assert!(turn.places.try_acquire().is_err(), "and no third");
        assert_eq!(inbox.lanes.lock().free, 0);
    }

    /// How many items there is room for in a lane that held so many and was emptied.
    fn kept_after<T: Clone, const LANES: usize>(item: &T, burst: usize) -> usize {
        let inbox: Inbox<T, LANES> = Inbox::new(1);
        (0..burst).for_each(|_| assert!(inbox.push(0, item.clone()).is_ok()));
        assert_eq!(std::iter::from_fn(|| inbox.try_pop()).count(), burst);
        inbox.lanes.lock().queues[0].capacity()
    }

    #[test]
    fn an_emptied_lane_keeps_its_buffer_only_if_that_is_small() {
        // Items of 16 bytes: a page has room for 256, and room is doubled when there is none.
        assert_eq!([256, 257, 2560].map(|burst| kept_after::<_, 1>(&0_u64, burst)), [256, 0, 0]);
        assert_eq!([1024, 1025, 2560].map(|burst| kept_after::<_, 2>(&0_u64, burst)), [1024, 0, 0]);
        // And of more than that: as many as there is room for at first.
        assert_eq!([2, 3].map(|burst| kept_after::<_, 1>(&[0_u8; 4096], burst)), [2, 0]);
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
