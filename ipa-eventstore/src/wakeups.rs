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
    all: Option<Listeners>,
    streams: HashMap<StreamId, Listeners>,
    closed: bool,
}

/// Those who listen to one topic.
#[derive(Default)]
struct Listeners {
    sender: Arc<watch::Sender<()>>,
    /// How many guards there are. Counted here, as a receiver may live on beyond its guard.
    count: usize,
}

impl Listeners {
    fn add(&mut self) -> watch::Receiver<()> {
        self.count += 1;
        self.sender.subscribe()
    }

    /// Answers whether nobody is left.
    fn remove(&mut self) -> bool {
        self.count -= 1;
        self.count == 0
    }
}

/// Which commits a subscriber wants to hear of.
#[derive(Clone)]
pub(crate) enum Topic {
    All,
    Stream(StreamId),
}

impl Wakeups {
    /// Hears of a topic's commits from now on, until the guard is dropped. On a closed table the receiver's sender is gone at once.
    pub(crate) fn listen(&self, topic: Topic) -> (watch::Receiver<()>, Listening) {
        let mut table = self.0.lock();
        let receiver = match (table.closed, &topic) {
            (true, _) => watch::channel(()).1,
            (false, Topic::All) => table.all.get_or_insert_default().add(),
            (false, Topic::Stream(stream)) => table.streams.entry(stream.clone()).or_default().add(),
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
            of_streams.chain(&table.all).map(|listeners| listeners.sender.clone()).collect()
        };
        for sender in senders {
            sender.send_replace(());
        }
    }

    /// Wakes everyone, for a change that may be anywhere.
    pub(crate) fn wake_everyone(&self) {
        let senders: Vec<_> = {
            let table = self.0.lock();
            table.streams.values().chain(&table.all).map(|listeners| listeners.sender.clone()).collect()
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
        let unused = {
            let mut table = self.wakeups.0.lock();
            // None there: the table was closed, before or after this one came.
            match &self.topic {
                Topic::All => table.all.take_if(Listeners::remove),
                Topic::Stream(stream) => match table.streams.get_mut(stream).map(Listeners::remove) {
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
        // In whichever order.
        drop(all_guard);
        assert_eq!(wakeups.topics(), 0);
        drop(all);
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
