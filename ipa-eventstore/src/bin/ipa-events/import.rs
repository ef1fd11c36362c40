//! `import`: the events of an export, appended to a store. The one verb that writes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use ipa_eventstore::transfer::{self, Imported};
use ipa_eventstore::{InMemoryEventStore, SqliteEventStore};

use crate::args::Import;
use crate::bar::Bar;
use crate::failure::{FILE, Failure, INTERRUPTED, is_stdio};
use crate::{interrupt, reading, stdout, text};

pub async fn run(args: Import, json: bool) -> Result<ExitCode, Failure> {
    let (path, file) = (&args.store, &args.file);
    // Before the store: without an input, none is made.
    let (input, bar) = open(file)?;
    if !args.dry_run {
        let of_store = |error| Failure::of_store(path, &error);
        let store = SqliteEventStore::open(path).await.map_err(of_store)?;
        let done = import(transfer::Import::new(&store), input, &bar, &args, json).await;
        let closed = store.close().await.map_err(of_store);
        done?;
        closed?;
    } else if path.exists() {
        reading(path, async |store| {
            import(transfer::Import::new(store).dry_run(), input, &bar, &args, json).await
        })
        .await?;
    } else {
        let store = InMemoryEventStore::new();
        import(transfer::Import::new(&store).dry_run(), input, &bar, &args, json).await?;
    }
    Ok(ExitCode::SUCCESS)
}

fn open(file: &Path) -> Result<(Box<dyn BufRead>, Bar), Failure> {
    if is_stdio(file) {
        return Ok((Box::new(BufReader::new(io::stdin())), Bar::new()));
    }
    let cannot = |error| Failure::new(FILE, format!("cannot read {}: {error}", file.display()));
    let input = File::open(file).map_err(cannot)?;
    let bar = Bar::of_bytes(input.metadata().map_err(cannot)?.len());
    let input = bar.inner().wrap_read(input);
    Ok((Box::new(BufReader::with_capacity(1 << 20, input)), bar))
}

async fn import(
    mut import: transfer::Import<'_>,
    input: impl BufRead,
    bar: &Bar,
    args: &Import,
    json: bool,
) -> Result<(), Failure> {
    let run = interrupt::until(import.run(input)).await;
    bar.clear();
    let done = import.done();
    match run? {
        Some(Ok(())) => Ok(summary(&done, args.dry_run, json)?),
        Some(Err(error)) => {
            note(&done, args.dry_run);
            Err(Failure::of_import(&args.store, &args.file, &error))
        }
        None => {
            note(&done, args.dry_run);
            Err(Failure::new(INTERRUPTED, "interrupted: run the import again to go on"))
        }
    }
}

fn summary(done: &Imported, dry_run: bool, json: bool) -> io::Result<()> {
    let mut out = stdout();
    if json {
        text::json_line(&mut out, done)?;
    } else {
        writeln!(out, "{}", sentence(done, dry_run))?;
    }
    out.flush()
}

/// Before an error: what the store has of the input all the same.
fn note(done: &Imported, dry_run: bool) {
    let _ = writeln!(io::stderr(), "{}", sentence(done, dry_run));
}

fn sentence(done: &Imported, dry_run: bool) -> String {
    format!(
        "{}: {} streams, {} events, {} snapshots; there already: {} streams, {} events, {} snapshots",
        if dry_run { "would be imported" } else { "imported" },
        text::count(done.streams),
        text::count(done.events),
        text::count(done.snapshots),
        text::count(done.streams_skipped),
        text::count(done.events_skipped),
        text::count(done.snapshots_skipped)
    )
}
