//! `tail`: what is stored, then what comes.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ipa_eventstore::{EventStore, Expected, SqliteEventStore, StreamId};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::tool::{Place, events, field, stream, versions};

/// A running `tail --json`, whose lines are read as they come.
struct Tail {
    /// `None` once it has ended.
    child: Option<std::process::Child>,
    lines: mpsc::UnboundedReceiver<Value>,
}

impl Tail {
    fn start(place: &Place, words: &[&str]) -> Self {
        let words = [&["tail", "events.db", "--json"], words].concat();
        let mut child = place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(output) {
                // A test that has seen enough lets the tool write on.
                let _ = send.send(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        Self { child: Some(child), lines }
    }

    /// The next line; a minute without one is a failure and not a hang.
    async fn next(&mut self) -> Value {
        let next = tokio::time::timeout(Duration::from_secs(60), self.lines.recv()).await;
        next.expect("a line within a minute").expect("the tool goes on")
    }

    async fn take(&mut self, count: usize) -> Vec<Value> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.next().await);
        }
        lines
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it has not been waited for"))
    }

    fn interrupt(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// How it ended, and what it said about that. A minute without an end is a failure and not a hang.
    async fn end(mut self) -> (ExitStatus, String) {
        let pid = self.pid();
        let child = self.child.take().unwrap();
        let mut waiting = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
        let waited = tokio::time::timeout(Duration::from_secs(60), &mut waiting).await;
        if waited.is_err() {
            // The runtime's end would wait for it, too.
            kill_process(pid, Signal::KILL).unwrap();
        }
        let output = waited.expect("an end within a minute").unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // After a failure: it would follow for ever.
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

async fn append(store: &SqliteEventStore, stream: &StreamId, count: usize) {
    store.append(stream, Expected::Any, events(count)).await.unwrap();
}

#[tokio::test]
async fn catches_up_and_follows_in_order() {
    let place = Place::new();
    let writer = place.open().await;
    let (a, b) = (stream(&writer, "a", 1200).await, stream(&writer, "b", 0).await);
    let mut tail = Tail::start(&place, &["--from-start"]);
    let mut seen = tail.take(1200).await;
    for _ in 0..10 {
        append(&writer, &a, 1).await;
        append(&writer, &b, 2).await;
    }
    seen.extend(tail.take(30).await);
    assert!(field(&seen, "position").is_sorted_by(|a, b| a.as_str() < b.as_str()));
    let of =
        |name: &str| -> Vec<Value> { seen.iter().filter(|line| line["stream"] == name).cloned().collect() };
    assert_eq!(versions(&of("a")), (1..=1210).collect::<Vec<_>>());
    assert_eq!(versions(&of("b")), (1..=20).collect::<Vec<_>>());
    tail.interrupt(Signal::INT);
    let (status, stderr) = tail.end().await;
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));

    // Goes on from the last position that was printed.
    let last = seen.last().unwrap()["position"].as_str().unwrap();
    let mut tail = Tail::start(&place, &["--position", last]);
    append(&writer, &b, 1).await;
    let next = tail.next().await;
    assert_eq!((&next["stream"], &next["version"]), (&"b".into(), &21.into()));
    tail.interrupt(Signal::TERM);
    assert_eq!(tail.end().await.0.code(), Some(0));
    writer.close().await.unwrap();
}

#[tokio::test]
async fn of_one_stream_from_a_version_and_by_type() {
    let place = Place::new();
    let writer = place.open().await;
    let (a, b) = (stream(&writer, "a", 3).await, stream(&writer, "b", 3).await);
    let mut from_two = Tail::start(&place, &["a", "--after", "2"]);
    let mut by_type = Tail::start(&place, &["--from-start", "--type", "e2", "--type", "e3"]);
    assert_eq!(versions(&from_two.take(1).await), [3]);
    append(&writer, &b, 3).await;
    append(&writer, &a, 2).await;
    assert_eq!(versions(&from_two.take(2).await), [4, 5]);
    let lines = by_type.take(7).await;
    let names = ["a", "a", "b", "b", "b", "b", "a"].map(Value::from);
    assert_eq!(field(&lines, "stream"), names.iter().collect::<Vec<_>>());
    assert_eq!(versions(&lines), [2, 3, 2, 3, 5, 6, 5]);

    // The stream goes: so does what follows it.
    writer.delete_stream(&a).await.unwrap();
    let (status, stderr) = from_two.end().await;
    assert_eq!(status.code(), Some(4));
    assert!(stderr.contains("no stream a"), "{stderr}");
    by_type.interrupt(Signal::INT);
    assert_eq!(by_type.end().await.0.code(), Some(0));
    writer.close().await.unwrap();
}

/// By default nothing old is printed, and from the first line on nothing is left out.
#[tokio::test]
async fn from_now_on() {
    let place = Place::new();
    let writer = place.open().await;
    let a = stream(&writer, "a", 500).await;
    for words in [&[][..], &["a"]] {
        let old = writer.stream_version(&a).await.unwrap();
        let mut tail = Tail::start(&place, words);
        // It says nothing when it is ready: events come until it sees one.
        let first = loop {
            append(&writer, &a, 1).await;
            tokio::select! {
                biased;
                first = tail.next() => break first,
                () = tokio::task::yield_now() => {}
            }
        };
        append(&writer, &a, 1).await;
        let last = writer.stream_version(&a).await.unwrap();
        let mut seen = versions(&[first]);
        assert!(seen[0] > old);
        while seen.last() < Some(&last) {
            seen.extend(versions(&tail.take(1).await));
        }
        assert_eq!(seen, (seen[0]..=last).collect::<Vec<_>>());
        tail.interrupt(Signal::INT);
        assert_eq!(tail.end().await.0.code(), Some(0));
    }
    writer.close().await.unwrap();
}

/// Nobody reads any more: it ends, though there is nothing to write.
#[tokio::test]
async fn ends_with_its_reader() {
    let place = Place::with(&[("a", 1)]).await;
    let words = ["tail", "events.db", "--from-start"];
    let mut child = place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert!(line.starts_with("a 1  20") && line.ends_with("  e1  {\"n\":1}\n"), "{line}");
    drop(output);
    let (_, lines) = mpsc::unbounded_channel();
    let (status, stderr) = Tail { child: Some(child), lines }.end().await;
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}
