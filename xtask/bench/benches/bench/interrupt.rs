//! Ctrl-C: the measurement at hand ends by it, as it is in the same group of processes; this one takes notice and cleans up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that is set by Ctrl-C, which then does not end this process.
pub fn flag() -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("a runtime for Ctrl-C: {error}"))?;
    // Told when the signal is caught, so that none before it is lost.
    let (caught, is_caught) = std::sync::mpsc::channel();
    let set = flag.clone();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
            let _ = caught.send(());
            let Ok(mut signal) = signal else { return };
            while signal.recv().await.is_some() {
                set.store(true, Ordering::Relaxed);
            }
        });
    });
    is_caught.recv().map_err(|error| format!("a thread for Ctrl-C: {error}"))?;
    Ok(flag)
}
