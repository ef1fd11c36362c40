//! What a supervisor says to the log, as a subscriber hears it.
//!
//! Every test here begins with a subscriber: a place in the code that is first come by on a thread without one is silent for all.

mod support;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipa_supervisor::{
    BoxError, Child, ChildSpec, ChildState, Context, DynamicSupervisor, Exit, ExitReason, Restart, Shutdown,
    Supervisor, TerminateChildError, async_trait,
};
use support::Bomb;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes down what this crate says, down to this level: warnings and errors, by default.
#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<String>>>, Level);

impl Default for Lines {
    fn default() -> Self {
        Self(Arc::default(), Level::WARN)
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.1 && metadata.target().starts_with("ipa_supervisor")
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// RT-04 a child that survives its kill is told of when its grace is over, and when it ends at last.
#[tokio::test(start_paused = true)]
async fn a_stuck_child_is_in_the_log() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let (send, mut leases) = mpsc::unbounded_channel();
    let spec = ChildSpec::task("a", move |cx| {
        let _ = send.send(cx.lease());
        std::future::pending::<()>()
    });
    let supervisor = Supervisor::builder().child(spec.shutdown(Shutdown::BrutalKill)).start().await.unwrap();
    let lease = leases.recv().await.unwrap();
    assert!(matches!(supervisor.terminate_child("a").await, Err(TerminateChildError::Stuck(_))));
    drop(lease);
    assert_eq!(supervisor.count_children().await.unwrap().active, 0);
    let killed =
        "ERROR message=child was killed but has not ended; it keeps its place until it does child=a#1";
    let ended = "WARN message=stuck child has ended at last child=a#1";
    assert_eq!(*lines.0.lock().unwrap(), [killed, ended]);
}

/// A child that has ended but for its lease is listed as running: why, the log says.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_is_in_the_log() {
    let lines = Lines(Arc::default(), Level::DEBUG);
    let _guard = tracing::subscriber::set_default(lines.clone());
    let (send, mut leases) = mpsc::unbounded_channel();
    let spec = ChildSpec::task("a", move |cx| {
        let _ = send.send(cx.lease());
        async {}
    });
    let supervisor = Supervisor::builder().child(spec.restart(Restart::Transient)).start().await.unwrap();
    let lease = leases.recv().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(supervisor.count_children().await.unwrap().active, 1);
    let held = "DEBUG message=child has ended, but its lease is held: it counts as running until that is let go child=a#1";
    let said = std::mem::take(&mut *lines.0.lock().unwrap());
    assert_eq!(said, ["DEBUG message=child started child=a#1", held]);
    drop(lease);
    assert_eq!(supervisor.count_children().await.unwrap().active, 0);
    assert_eq!(*lines.0.lock().unwrap(), ["DEBUG message=child ended child=a#1 reason=normal"]);
}

/// Panics at whatever it is told.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ipa_supervisor")
    }

    fn event(&self, _: &Event<'_>) {
        panic!("as every time")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A subscriber that panics does no harm to who speaks to it.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_harms_nobody() {
    let _guard = tracing::subscriber::set_default(Panics);
    let crash = Arc::new(tokio::sync::Notify::new());
    let spec = ChildSpec::task("a", {
        let crash = crash.clone();
        move |_cx| {
            let crash = crash.clone();
            async move { crash.notified().await }
        }
    });
    let untidy = ChildSpec::new("b", || NeverTidy).restart(Restart::Transient);
    let untidy = untidy.shutdown(Shutdown::Timeout(Duration::from_millis(100)));
    let supervisor = Supervisor::builder().child(spec).child(untidy).start().await.unwrap();
    crash.notify_one();
    tokio::time::sleep(Duration::from_millis(101)).await;
    let rows = supervisor.which_children().await.unwrap();
    let seen = rows.iter().map(|row| (row.child.to_string(), row.state, row.restarts));
    let (up, down) = (ChildState::Running, ChildState::Undefined);
    assert_eq!(seen.collect::<Vec<_>>(), [("a#2".to_owned(), up, 1), ("b#1".to_owned(), down, 0)]);
    supervisor.shutdown().await.unwrap();
}

/// Is done at once, but for its `terminate`.
struct NeverTidy;

#[async_trait]
impl Child for NeverTidy {
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        Ok(Exit::Normal)
    }

    async fn terminate(&mut self, _cx: &mut Context, _reason: &ExitReason) {
        std::future::pending().await
    }
}

/// A `terminate` that is cut short is told of, and by which limit.
#[tokio::test(start_paused = true)]
async fn a_terminate_that_is_cut_short_is_in_the_log() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let spec = ChildSpec::new("a", || NeverTidy).restart(Restart::Transient);
    let spec = spec.shutdown(Shutdown::Timeout(Duration::from_millis(100)));
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert_eq!(supervisor.count_children().await.unwrap().active, 0);
    let cut_short = "WARN message=terminate was cut short: it took longer than the child may child=a#1 bound=Timeout(100ms)";
    assert_eq!(*lines.0.lock().unwrap(), [cut_short]);
}

/// Panics when it is dropped, and so does its run.
struct Explosive {
    _bomb: Bomb,
}

#[async_trait]
impl Child for Explosive {
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        let _bomb = Bomb;
        cx.stopped().await;
        std::future::pending().await
    }
}

/// One that is killed cannot tell anybody that its drops have panicked: each is caught by itself, in order, and logged.
#[tokio::test(start_paused = true)]
async fn the_panics_in_the_drops_of_a_killed_child_are_logged() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let spec = ChildSpec::new("explosive", || Explosive { _bomb: Bomb }).shutdown(Shutdown::BrutalKill);
    let child = supervisor.start_child(spec).await.unwrap().child().unwrap();
    supervisor.terminate_child(&child).await.unwrap();
    let said = std::mem::take(&mut *lines.0.lock().unwrap());
    let panics =
        |of: &str| format!("ERROR message=panic in a child's {of}, when dropped panic=boom in a drop");
    assert_eq!(said, [panics("future"), panics("value")]);
    supervisor.shutdown().await.unwrap();
}

/// Panics when it is printed, and when it is dropped.
struct Nasty;

impl std::error::Error for Nasty {}

impl std::fmt::Display for Nasty {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("boom in a text");
    }
}

impl Debug for Nasty {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("boom in a text");
    }
}

impl Drop for Nasty {
    fn drop(&mut self) {
        panic!("boom in a drop");
    }
}

/// Says that it cannot be printed.
#[derive(Debug)]
struct Mute;

impl std::error::Error for Mute {}

impl std::fmt::Display for Mute {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Err(std::fmt::Error)
    }
}

/// An error's text is to be had whatever becomes of it.
#[test]
fn an_error_has_a_text() {
    let text = |error: BoxError| ExitReason::failed(error).to_string();
    assert_eq!(text("as told".into()), "failed: as told");
    assert_eq!(text(Box::new(Mute)), "failed: (an error that cannot be printed)");
    let ExitReason::Failed(failure) = ExitReason::failed(Mute) else { panic!() };
    assert_eq!((format!("{failure:?}"), failure.downcast_ref::<Mute>().is_some()), ("Mute".into(), true));
    assert!(failure.downcast_ref::<Nasty>().is_none());
}

/// An error that panics when it is printed or dropped is the child's own: its supervisor goes on, and so do its siblings.
#[tokio::test(start_paused = true)]
async fn an_error_that_panics_ends_its_child_alone() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let bad = ChildSpec::task("bad", |_cx| async { Err::<(), BoxError>(Box::new(Nasty)) });
    let idle = ChildSpec::task("idle", |_cx| std::future::pending::<()>());
    let supervisor = Supervisor::builder().child(idle).start().await.unwrap();
    let _ = supervisor.start_child(bad.restart(Restart::Temporary)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(supervisor.count_children().await.unwrap().active, 1);
    supervisor.shutdown().await.unwrap();
    let ended = "WARN message=child ended child=bad#1 \
                 reason=failed: (an error that panicked when printed: boom in a text) restart=false";
    let dropped = "ERROR message=panic in a child's error, when dropped panic=boom in a drop";
    assert_eq!(*lines.0.lock().unwrap(), [ended, dropped]);
    assert_eq!(
        format!("{:?}", ExitReason::failed(Nasty)),
        "Failed((an error that panicked when printed: boom in a text))"
    );
}
