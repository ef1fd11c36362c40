//! A child's word that it is alive, under loom: the orderings of `pulse.rs` and nothing else.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::pulse::Pulse;

/// The pulse, and how many messages were sent about it. To send one is a release, as a push into an inbox is.
#[derive(Default)]
struct Wire {
    pulse: Pulse,
    sent: AtomicUsize,
}

impl Wire {
    fn say(&self, working: bool) {
        if self.pulse.beat(working) {
            self.sent.fetch_add(1, Ordering::Release);
        }
    }

    fn end(&self) {
        if self.pulse.end() {
            self.sent.fetch_add(1, Ordering::Release);
        }
    }
}

/// The loop: reads a message if there is one, and keeps the word.
#[derive(Default)]
struct Reader {
    read: usize,
    word: bool,
}

impl Reader {
    fn look(&mut self, wire: &Wire) -> bool {
        let sent = wire.sent.load(Ordering::Acquire);
        assert!(sent <= self.read + 1, "more than one message on its way");
        let news = sent > self.read;
        if news {
            self.read += 1;
            self.word = wire.pulse.read();
        }
        news
    }
}

/// Runs the scenario through all interleavings, and all that weak memory may show in each.
fn all(scenario: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = runs.clone();
    loom::model(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        scenario();
    });
    println!("{}: all {} interleavings", super::name(), runs.load(std::sync::atomic::Ordering::Relaxed));
}

/// However the words and the looks fall: when all is quiet, the loop has the last word.
#[test]
fn the_last_word_arrives() {
    all(|| {
        let wire = Arc::new(Wire::default());
        let child = thread::spawn({
            let wire = wire.clone();
            move || {
                wire.say(true);
                wire.say(false);
                wire.say(true);
            }
        });
        let mut reader = Reader::default();
        reader.look(&wire);
        child.join().unwrap();
        while reader.look(&wire) {}
        assert!(reader.word, "the last word was that it works");
    });
}

/// Once `run` is over the child waits, whatever a closure of it on another thread still says.
#[test]
fn nothing_is_said_after_the_end() {
    all(|| {
        let wire = Arc::new(Wire::default());
        let closure = thread::spawn({
            let wire = wire.clone();
            move || wire.say(true)
        });
        wire.end();
        closure.join().unwrap();
        let mut reader = Reader::default();
        while reader.look(&wire) {}
        assert!(!reader.word, "it was taken to work after its run was over");
    });
}
