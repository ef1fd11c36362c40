//! Ctrl-C, and SIGTERM, which means the same here: the first asks for an end in good order, the second for one at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the run was interrupted so far.
#[derive(Clone)]
pub struct Interrupt(watch::Receiver<u32>);

impl Interrupt {
    /// Listens from here on; the process does not end by these signals any more.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn listen() -> io::Result<Interrupt> {
        let (mut interrupts, mut terminates) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupts.recv() => {}
                    Some(()) = terminates.recv() => {}
                    else => return,
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Interrupt(counted))
    }

    /// One that is counted up by hand.
    #[cfg(test)]
    pub fn by_hand() -> (watch::Sender<u32>, Interrupt) {
        let (count, counted) = watch::channel(0);
        (count, Interrupt(counted))
    }

    /// How often it was.
    pub fn count(&self) -> u32 {
        *self.0.borrow()
    }

    /// Waits for the n-th; at once if it has been. Cancel safe.
    pub async fn nth(&mut self, nth: u32) {
        if self.0.wait_for(|count| *count >= nth).await.is_err() {
            // Nobody listens any more: it never comes.
            std::future::pending().await
        }
    }
}
