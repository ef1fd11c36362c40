//! Who is to look again after a commit.
//!
//! One `watch` channel for those that follow the whole store and one for each followed stream, so
//! that an append wakes nobody who follows another stream. A wake-up carries nothing (see
//! [`subscription`](crate::subscription)), so it can be sent after the fact and out of order.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::StreamId;

#[derive(Clone, Default)]
pub(crate) struct Wakeups(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    all: Option<Arc<watch::Sender<()>>>,
    streams: HashMap<StreamId, Arc<watch::Sender<()>>>,
    closed: bool,
}

/// Which commits a subscriber wants to hear of.
#[derive(Clone)]
pub(crate) enum Topic {
    All,
    Stream(StreamId),
}

impl Wakeups {
    /// Hears of a topic's commits from now on, until the guard is dropped (after the receiver).
    /// On a closed table the receiver's sender is gone at once.
    pub(crate) fn listen(&self, topic: Topic) -> (watch::Receiver<()>, Listening) {
        let mut table = self.0.lock();
        let receiver = if table.closed {
            watch::channel(()).1
        } else {
            let sender = match &topic {
                Topic::All => table.all.get_or_insert_default(),
                Topic::Stream(stream) => table.streams.entry(stream.clone()).or_default(),
            };
            sender.subscribe()
        };
        drop(table);
        let listening = Listening { wakeups: self.clone(), topic };
        (receiver, listening)
    }

    /// Wakes those that follow one of these streams or the whole store.
    pub(crate) fn wake<'a>(&self, streams: impl IntoIterator<Item = &'a StreamId>) {
        // Collected under the lock and sent after it: sending calls wakers, which are foreign code.
        let senders: Vec<_> = {
            let table = self.0.lock();
            let of_streams = streams.into_iter().filter_map(|s| table.streams.get(s));
            of_streams.chain(&table.all).cloned().collect()
        };
        for sender in senders {
            sender.send_replace(());
        }
    }

    /// Wakes everyone, for a change that may be anywhere.
    pub(crate) fn wake_everyone(&self) {
        let senders: Vec<_> = {
            let table = self.0.lock();
            table.streams.values().chain(&table.all).cloned().collect()
        };
        for sender in senders {
            sender.send_replace(());
        }
    }

    /// Ends every subscription, and those to come.
    pub(crate) fn close(&self) {
        let table = {
            let mut table = self.0.lock();
            table.closed = true;
            (table.all.take(), std::mem::take(&mut table.streams))
        };
        // After the lock: the last sender's drop calls wakers.
        drop(table);
    }

    /// How many topics somebody listens to.
    #[cfg(test)]
    pub(crate) fn topics(&self) -> usize {
        let table = self.0.lock();
        table.streams.len() + usize::from(table.all.is_some())
    }
}

/// Keeps a topic in the table while somebody listens to it.
pub(crate) struct Listening {
    wakeups: Wakeups,
    topic: Topic,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // New receivers are made under the lock, so a count of zero stays zero until we let go.
        let unused = {
            let mut table = self.wakeups.0.lock();
            let is_unused = |sender: &mut Arc<watch::Sender<()>>| sender.receiver_count() == 0;
            match &self.topic {
                Topic::All => table.all.take_if(is_unused),
                Topic::Stream(stream) => match table.streams.get_mut(stream).map(is_unused) {
                    Some(true) => table.streams.remove(stream),
                    _ => None,
                },
            }
        };
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamId {
        StreamId::new(name).unwrap()
    }

    /// ES-41 the last subscriber of a topic takes the topic with it.
    #[test]
    fn a_topic_lives_as_long_as_its_listeners() {
        let wakeups = Wakeups::default();
        let (first, first_guard) = wakeups.listen(Topic::Stream(stream("a")));
        let (second, second_guard) = wakeups.listen(Topic::Stream(stream("a")));
        let (all, all_guard) = wakeups.listen(Topic::All);
        assert_eq!(wakeups.topics(), 2);
        drop((first, first_guard));
        assert_eq!(wakeups.topics(), 2, "one listener is left");
        drop((second, second_guard));
        assert_eq!(wakeups.topics(), 1);
        drop((all, all_guard));
        assert_eq!(wakeups.topics(), 0);
    }

    #[test]
    fn a_commit_wakes_its_stream_and_the_whole_store_only() {
        let wakeups = Wakeups::default();
        let (a, _a) = wakeups.listen(Topic::Stream(stream("a")));
        let (b, _b) = wakeups.listen(Topic::Stream(stream("b")));
        let (all, _all) = wakeups.listen(Topic::All);
        wakeups.wake([&stream("a")]);
        let changed = [&a, &b, &all].map(|receiver| receiver.has_changed().unwrap());
        assert_eq!(changed, [true, false, true]);
    }

    #[test]
    fn closing_ends_listeners_of_before_and_after() {
        let wakeups = Wakeups::default();
        let (before, _before) = wakeups.listen(Topic::All);
        wakeups.close();
        let (after, _after) = wakeups.listen(Topic::Stream(stream("a")));
        assert!(before.has_changed().is_err());
        assert!(after.has_changed().is_err());
        assert_eq!(wakeups.topics(), 0);
    }
}
