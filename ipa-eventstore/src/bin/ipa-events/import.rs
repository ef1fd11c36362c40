//! `import`: the events of an export, appended to a store. The one verb that writes.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;

use ipa_eventstore::transfer::{self, Imported, Lines};
use ipa_eventstore::{Durability, InMemoryEventStore, SqliteEventStore, SqliteOptions, StoreError};

use crate::args::Import;
use crate::bar::Bar;
use crate::failure::{FILE, Failure, is_stdio};
use crate::input::{BreakOff, Input};
use crate::interrupt::Interrupt;
use crate::{reading, stdout, text};

pub async fn run(args: Import, json: bool) -> Result<ExitCode, Failure> {
    let (path, file) = (&args.store, &args.file);
    let break_off = BreakOff::default();
    let interrupt = Interrupt::listen_and({
        let break_off = break_off.clone();
        move || break_off.now()
    })?;
    // Before the store: without an input, none is made.
    let (input, bar) = open(file, &break_off)?;
    let lines = Lines::new(input).map_err(|error| Failure::of_import(path, file, &error))?;
    let done = if !args.dry_run {
        into_store(lines, interrupt, &bar, &args).await?
    } else if path.exists() {
        reading(path, async |store| {
            import(transfer::Import::new(store).dry_run(), lines, interrupt, &bar, &args).await
        })
        .await?
    } else {
        let store = InMemoryEventStore::new();
        import(transfer::Import::new(&store).dry_run(), lines, interrupt, &bar, &args).await?
    };
    let mut out = stdout();
    if json {
        text::json_line(&mut out, &done)?;
    } else {
        writeln!(out, "{}", sentence(&done, args.dry_run))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Does not sync each append by itself, where many small ones take turns: what a power loss takes away, the
/// next import of the same file brings back. In the end all of it is on disk before anything is said.
async fn into_store(
    lines: Lines<BufReader<Input>>,
    interrupt: Interrupt,
    bar: &Bar,
    args: &Import,
) -> Result<Imported, Failure> {
    let of_store = |error| Failure::of_store(&args.store, &error);
    let quick = SqliteOptions::new().durability(Durability::ProcessCrash);
    let store = quick.open(&args.store).await.map_err(of_store)?;
    let done = import(transfer::Import::new(&store), lines, interrupt, bar, args).await;
    // Whatever it says: what matters is whether it can be opened again. In full durability the store syncs all it has then, and records that
    // this is its mode.
    let _ = store.close().await;
    let synced = match SqliteEventStore::open(&args.store).await {
        Ok(store) => match store.close().await {
            // Somebody reads it. It is on disk, and the next open carries it over.
            Err(StoreError::LogLeft { .. }) => Ok(()),
            closed => closed,
        },
        Err(error) => Err(error),
    };
    let done = done?;
    synced.map_err(of_store)?;
    Ok(done)
}

fn open(file: &Path, break_off: &BreakOff) -> Result<(BufReader<Input>, Bar), Failure> {
    if is_stdio(file) {
        return Ok((Input::read(|| Ok(io::stdin()), break_off)?, Bar::new()));
    }
    let cannot = |error| Failure::new(FILE, format!("cannot read {}: {error}", file.display()));
    let found = file.metadata().map_err(cannot)?;
    if !found.is_file() {
        // A pipe, to which nobody may have come to write yet.
        let file = file.to_owned();
        return Ok((Input::read(|| File::open(file), break_off)?, Bar::new()));
    }
    let input = File::open(file).map_err(cannot)?;
    let bar = Bar::of_bytes(found.len());
    let input = bar.inner().wrap_read(input);
    Ok((Input::read(|| Ok(input), break_off)?, bar))
}

async fn import(
    mut import: transfer::Import<'_>,
    lines: Lines<BufReader<Input>>,
    interrupt: Interrupt,
    bar: &Bar,
    args: &Import,
) -> Result<Imported, Failure> {
    let run = interrupt.or(import.run(lines)).await;
    bar.clear();
    let done = import.done();
    match run {
        Some(Ok(())) => Ok(done),
        Some(Err(error)) => {
            note(&done, args.dry_run);
            Err(Failure::of_import(&args.store, &args.file, &error))
        }
        None => {
            note(&done, args.dry_run);
            Err(Failure::interrupted_import())
        }
    }
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
