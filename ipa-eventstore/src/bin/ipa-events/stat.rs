//! `stat`: what there is in a store, counted.

use std::io::{self, Write};
use std::process::ExitCode;

use ipa_eventstore::SqliteSurvey;

use crate::args::Store;
use crate::failure::Failure;
use crate::text::{count, plain, size};
use crate::{reading, stdout, text};

pub async fn run(Store { store: path }: Store, json: bool) -> Result<ExitCode, Failure> {
    reading(&path, async |store| {
        let stats = store.survey().await.map_err(|error| Failure::of_store(&path, &error))?;
        let mut out = stdout();
        if json {
            text::json_line(&mut out, &stats)?;
        } else {
            print(&mut out, &stats)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

fn print(out: &mut impl Write, stats: &SqliteSurvey) -> io::Result<()> {
    let pages = format!(
        "{} of {}, {} of them free",
        count(stats.pages),
        size(stats.page_size),
        count(stats.free_pages)
    );
    let rows = [
        ("streams", count(stats.streams)),
        ("events", count(stats.events)),
        ("snapshots", count(stats.snapshots)),
        ("last position", stats.last_position.to_string()),
        ("file", size(stats.file_bytes)),
        ("log (-wal)", size(stats.log_bytes)),
        ("pages", pages),
        ("schema", stats.schema.to_string()),
        ("durability", stats.durability.clone().unwrap_or_else(|| "not recorded".to_owned())),
    ];
    text::table(out, &rows.map(|(name, value)| vec![name.to_owned(), value]), &[])?;
    section(out, &["STREAM TYPE", "STREAMS", "EVENTS"], &stats.stream_types, |kind| {
        vec![plain(&kind.stream_type).into_owned(), count(kind.streams), count(kind.events)]
    })?;
    section(out, &["EVENT TYPE", "EVENTS"], &stats.event_types, |kind| {
        vec![plain(&kind.event_type).into_owned(), count(kind.events)]
    })?;
    section(out, &["LARGEST STREAMS", "EVENTS"], &stats.largest, |largest| {
        vec![plain(largest.stream.as_str()).into_owned(), count(largest.events)]
    })
}

fn section<T>(
    out: &mut impl Write,
    header: &[&str],
    items: &[T],
    row: impl Fn(&T) -> Vec<String>,
) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(items.iter().map(row)).collect();
    text::table(out, &rows, &[1, 2])
}
