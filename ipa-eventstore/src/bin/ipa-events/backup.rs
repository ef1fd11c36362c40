//! `backup`: a copy beside a running writer.

use std::io::Write;
use std::process::ExitCode;

use ipa_eventstore::StoreError;

use crate::args::Backup;
use crate::bar::Bar;
use crate::failure::{FILE, Failure, INTERRUPTED, chain};
use crate::interrupt::Interrupt;
use crate::{reading, stdout, text};

pub async fn run(args: Backup, json: bool) -> Result<ExitCode, Failure> {
    let Backup { store: path, target } = args;
    let interrupt = Interrupt::listen()?;
    reading(&path, async |store| {
        let bar = Bar::new();
        let shown = bar.clone();
        // Dropped at an interrupt, the backup removes its draft, and the end of the runtime waits for that.
        let made = interrupt.or(store.backup_with(&target, move |progress| shown.show(progress))).await;
        bar.clear();
        let made = match made {
            Some(Ok(made)) => made,
            // The store itself is open by now: it is the other file.
            Some(Err(error @ StoreError::CannotOpen { .. })) => {
                return Err(Failure::new(FILE, chain(&error)));
            }
            Some(Err(error)) => return Err(Failure::of_store(&path, &error)),
            None => return Err(Failure::new(INTERRUPTED, "interrupted: no backup was made")),
        };
        let mut out = stdout();
        if json {
            text::json_line(&mut out, &made)?;
        } else {
            let (target, size) = (made.target.display(), text::size(made.bytes));
            writeln!(out, "{target}: {} pages, {size}, checked", text::count(made.pages))?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
