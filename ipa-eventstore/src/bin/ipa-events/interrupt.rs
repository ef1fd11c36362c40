//! Ctrl-C and SIGTERM, for verbs that have something to put in order before they end.

use std::process;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::failure::{Failure, INTERRUPTED, STORE};

/// How long a verb that may be blocked has to end after an interrupt.
const MOMENT: Duration = Duration::from_secs(1);

/// The first interrupt, from the moment it is listened for: an earlier one ends the process.
pub struct Interrupt(oneshot::Receiver<()>);

impl Interrupt {
    /// Listens from here on. A second interrupt ends the process at once.
    pub fn listen() -> Result<Self, Failure> {
        Self::listen_and(|| {})
    }

    /// The same for a verb that writes to standard output, where a reader that does not read may block it for ever: it has a moment to put things
    /// in order, and then the process ends.
    pub fn listen_and_end() -> Result<Self, Failure> {
        Self::listen_and(|| {
            tokio::spawn(async {
                sleep(MOMENT).await;
                process::exit(i32::from(INTERRUPTED));
            });
        })
    }

    /// The same for a verb that may block its thread: this lets it go on.
    pub fn listen_and(let_go_on: impl FnOnce() + Send + 'static) -> Result<Self, Failure> {
        let cannot = |error| Failure::new(STORE, format!("cannot listen for Ctrl-C: {error}"));
        let mut interrupts = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut terminates = signal(SignalKind::terminate()).map_err(cannot)?;
        let (tell, told) = oneshot::channel();
        // On another thread than the verb, which may block its own.
        tokio::spawn(async move {
            let mut tell = Some((tell, let_go_on));
            loop {
                tokio::select! {
                    Some(()) = interrupts.recv() => {}
                    Some(()) = terminates.recv() => {}
                    else => return,
                }
                match tell.take() {
                    // Nobody waits if the verb has ended: then what is left is quick.
                    Some((tell, let_go_on)) => {
                        let _ = tell.send(());
                        let_go_on();
                    }
                    None => process::exit(i32::from(INTERRUPTED)),
                }
            }
        });
        Ok(Self(told))
    }

    /// Runs a verb until it ends or until the interrupt: then its future is dropped and the answer is `None`.
    pub async fn or<T>(self, verb: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            Ok(()) = self.0 => None,
            done = verb => Some(done),
        }
    }
}
