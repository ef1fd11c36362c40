//! `export`: events as JSON lines.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ipa_eventstore::SqliteEventStore;
use ipa_eventstore::transfer::{self, Exported};

use crate::args::Export;
use crate::bar::Bar;
use crate::failure::{FILE, Failure, INTERRUPTED, is_stdio};
use crate::interrupt::Interrupt;
use crate::{reading, stdout, text};

pub async fn run(args: Export, json: bool) -> Result<ExitCode, Failure> {
    let path = args.store.clone();
    let interrupt = if is_stdio(&args.file) { Interrupt::listen_and_end() } else { Interrupt::listen() }?;
    reading(&path, async |store| {
        // After the store is open: without one, no file is made.
        let exported = if is_stdio(&args.file) {
            export(store, &args, interrupt, stdout()).await?
        } else {
            let new = NewFile::create(&args.file)?;
            let exported = export(store, &args, interrupt, BufWriter::new(&new.file)).await?;
            new.keep()?;
            exported
        };
        summary(&exported, is_stdio(&args.file), json)?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn export(
    store: &SqliteEventStore,
    args: &Export,
    interrupt: Interrupt,
    out: impl Write,
) -> Result<Exported, Failure> {
    let mut export = transfer::Export::new(store);
    for stream in &args.stream {
        export = export.stream(stream.clone());
    }
    if let Some(stream_type) = &args.r#type {
        export = export.stream_type(stream_type.clone());
    }
    // Not between the events themselves.
    let bar = if is_stdio(&args.file) && io::stdout().is_terminal() { Bar::hidden() } else { Bar::new() };
    let exported = interrupt.or(export.run(out, |progress| bar.show(progress))).await;
    bar.clear();
    match exported {
        Some(exported) => exported.map_err(|error| Failure::of_export(&args.store, &args.file, error)),
        None => Err(Failure::new(INTERRUPTED, "interrupted: the export is not whole")),
    }
}

/// Where the events are not.
fn summary(exported: &Exported, events_on_stdout: bool, json: bool) -> io::Result<()> {
    let line = if json {
        serde_json::to_string(exported)?
    } else {
        format!(
            "{} streams, {} events, {} snapshots",
            text::count(exported.streams),
            text::count(exported.events),
            text::count(exported.snapshots)
        )
    };
    let mut out: Box<dyn Write> =
        if events_on_stdout { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    writeln!(out, "{line}")?;
    if exported.deleted_meanwhile > 0 && !json {
        writeln!(
            out,
            "{} streams were deleted meanwhile; of those there may be the first events only",
            text::count(exported.deleted_meanwhile)
        )?;
    }
    out.flush()
}

/// A file that is removed again unless it is kept.
struct NewFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    fn create(path: &Path) -> Result<Self, Failure> {
        match File::create_new(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, kept: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::new(
                FILE,
                format!("{} exists, and an export replaces nothing: give another path", path.display()),
            )),
            Err(error) => Err(Failure::new(FILE, format!("cannot create {}: {error}", path.display()))),
        }
    }

    fn keep(mut self) -> Result<(), Failure> {
        self.file
            .sync_all()
            .map_err(|error| Failure::new(FILE, format!("cannot sync {}: {error}", self.path.display())))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // What stays has no end line, and is refused by an import.
            let _ = fs::remove_file(&self.path);
        }
    }
}
