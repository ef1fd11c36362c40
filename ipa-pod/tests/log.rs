//! What pods say to the log, as a subscriber hears it.
//!
//! Every test here begins with a subscriber: a place in the code that is first come by on a thread without one is silent for all.

mod common;

use common::*;
use ipa_pod::PodSpec;

/// Writes down what the log is told of pods, and panics each time.
struct Panics(Log);

/// The message of a line.
struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl tracing::Subscriber for Panics {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("ipa_pod")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.push(message.0);
        panic!("as every time")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A subscriber of the log that panics does no harm to a pod: it starts, and it ends.
#[tokio::test(start_paused = true)]
async fn a_log_that_panics_harms_no_pod() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(Panics(log.clone()));
    let pods = start(&Streams::any(), |_| PodSpec::new().child(idle("a"))).await;
    let mut events = pods.subscribe();
    pods.start_pod("t").await.unwrap();
    pods.stop_pod("t").await.unwrap();
    assert_eq!(names(&mut events), ["t starting", "t active", "t stopping", "t ended"]);
    let lines = ["pod is starting", "pod is active", "pod is stopping", "pod has ended"];
    assert_eq!(log.take(), lines);
}
