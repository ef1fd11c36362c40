//! How things look in print: times, sizes, tables, and text that may hold anything.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use ipa_eventstore::{Json, RecordedEvent};
use jiff::Timestamp;
use serde::Serialize;

/// RFC 3339, in UTC.
pub fn time(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => "beyond the calendar".to_owned(),
    }
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A count for people.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Text on one line: control characters, which could also move a terminal's cursor, are escaped.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// JSON on one line. Control characters stand only between tokens there, where a space does as well.
fn json(json: &Json) -> Cow<'_, str> {
    if !json.get().contains(char::is_control) {
        return Cow::Borrowed(json.get());
    }
    // Beyond ASCII there are control characters that JSON allows within a string.
    let place = |c: char| match c {
        '\n' | '\r' | '\t' => " ".to_owned(),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    Cow::Owned(json.get().chars().map(place).collect())
}

/// An event on one line.
pub fn event(event: &RecordedEvent, with_stream: bool) -> String {
    let mut line = String::new();
    if with_stream {
        line.push_str(&plain(event.stream.as_str()));
        line.push(' ');
    }
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        "{}  {}  {}  {}",
        event.version,
        time(event.recorded_at),
        plain(&event.event_type),
        json(&event.data)
    );
    let parts =
        [("actor", &event.actor), ("causation", &event.causation), ("correlation", &event.correlation)];
    let mut gap = "  ";
    for (name, value) in parts {
        if let Some(value) = value {
            let _ = write!(line, "{gap}{name}={}", plain(value));
            gap = " ";
        }
    }
    if let Some(metadata) = &event.metadata {
        let _ = write!(line, "{gap}metadata={}", json(metadata));
        gap = " ";
    }
    if event.schema_version != 1 {
        let _ = write!(line, "{gap}schema={}", event.schema_version);
    }
    line
}

/// One JSON object, on a line of its own.
pub fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Rows with their columns aligned; those that are named in `right`, to the right.
pub fn table(out: &mut impl Write, rows: &[Vec<String>], right: &[usize]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let _ = if right.contains(&column) {
                write!(line, "{cell:>width$}")
            } else {
                write!(line, "{cell:<width$}")
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a b"), "a b");
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(json(&Json::parse("{\n\t\"a\": \"\u{9b}\"}").unwrap()), "{  \"a\": \"\\u009b\"}");
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [["name", "n"], ["é", "10"], ["long one", "7"]].map(|row| row.map(String::from).to_vec());
        let mut out = Vec::new();
        table(&mut out, &rows, &[1]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "name       n\né         10\nlong one   7\n");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
    }
}
