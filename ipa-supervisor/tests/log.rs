//! What is said to `tracing`, where nobody else hears of it.

mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use ipa_supervisor::{BoxError, Child, ChildSpec, Context, DynamicSupervisor, Exit, Shutdown, async_trait};
use support::Bomb;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};

/// Collects the messages of errors.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
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
    let errors = Errors::default();
    let _collecting = tracing::subscriber::set_default(errors.clone());
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let spec = ChildSpec::new("explosive", || Explosive { _bomb: Bomb }).shutdown(Shutdown::BrutalKill);
    let child = supervisor.start_child(spec).await.unwrap().child().unwrap();
    supervisor.terminate_child(&child).await.unwrap();
    let said = std::mem::take(&mut *errors.0.lock().unwrap());
    assert_eq!(said, ["panic in a child's future, when dropped", "panic in a child's value, when dropped"]);
    supervisor.shutdown().await.unwrap();
}
