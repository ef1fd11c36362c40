//! `check`: looks for damage in the whole store.

use std::io::{self, Write};
use std::process::ExitCode;

use ipa_eventstore::{CheckReport, SqliteEventStore};
use serde_json::json;

use crate::args::Store;
use crate::bar::Bar;
use crate::failure::{DAMAGE, Failure};
use crate::text::{count, plain};
use crate::{stdout, text};

pub async fn run(Store { store: path }: Store, json: bool) -> Result<ExitCode, Failure> {
    let bar = Bar::new();
    let shown = bar.clone();
    let report = SqliteEventStore::check_with(&path, move |progress| shown.show(progress)).await;
    bar.clear();
    let report = report.map_err(|error| Failure::of_store(&path, &error))?;
    match show(&report, json) {
        // Whoever read it may have seen enough; what was found does not depend on that.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ if report.is_sound() => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::from(DAMAGE)),
    }
}

fn show(report: &CheckReport, json: bool) -> io::Result<()> {
    let mut out = stdout();
    if json {
        let sound = report.is_sound();
        let report = serde_json::to_value(report)?;
        text::json_line(&mut out, &json!({ "sound": sound, "report": report }))?;
    } else {
        print(&mut out, report)?;
    }
    out.flush()
}

fn print(out: &mut impl Write, report: &CheckReport) -> io::Result<()> {
    for finding in &report.findings {
        let area = serde_json::to_value(finding.area).map_err(io::Error::from)?;
        write!(out, "{}", area.as_str().unwrap_or_default())?;
        if let Some(stream) = &finding.stream {
            write!(out, ": stream {}", plain(stream.as_str()))?;
        }
        if let Some(version) = finding.version {
            write!(out, ", version {version}")?;
        }
        writeln!(out, ": {}", plain(&finding.message))?;
    }
    let looked_at = format!(
        "{} streams, {} events, {} snapshots",
        count(report.streams),
        count(report.events),
        count(report.snapshots)
    );
    let path = report.path.display();
    if report.is_sound() {
        return writeln!(out, "{path} is sound: {looked_at}");
    }
    let findings = report.findings.len() as u64 + report.more;
    writeln!(
        out,
        "{path} is damaged: {} findings in {looked_at}; stop writing to it, keep a copy of it with its -wal \
         file, and restore a backup",
        count(findings)
    )
}
