//! The format's reader: text in, records out, with the place of whatever is wrong. It knows no store.

use std::io::{BufRead, Read};

use serde::de::DeserializeOwned;

use super::error::ImportError;
use super::format::{EndLine, FORMAT, FORMAT_VERSION, Header, Line};

/// The longest line that is read: more than a store's row can hold, one gigabyte.
const LONGEST: u64 = 2 << 30;

/// Reads the lines of an export, one after the other, and sees that it is whole: a header of a
/// version that is known, an end that counts what came before it, and nothing behind that.
///
/// ```
/// use ipa_eventstore::transfer::{Line, Lines};
///
/// let text = r#"{"format":"ipa-events","version":1}
/// {"stream":{"name":"task-1","type":"task"}}
/// {"end":{"streams":1,"events":0,"snapshots":0}}
/// "#;
/// let mut lines = Lines::new(text.as_bytes())?;
/// assert!(matches!(lines.next_line()?, Some((2, Line::Stream(stream))) if stream.name.as_str() == "task-1"));
/// assert!(matches!(lines.next_line()?, Some((3, Line::End(_)))));
/// assert!(lines.next_line()?.is_none());
///
/// let error = Lines::new("{".as_bytes()).unwrap_err();
/// assert!(error.to_string().starts_with("line 1, column 1: "), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    line: u64,
    seen: EndLine,
    ended: bool,
}

const CUT_SHORT: &str = "the file was cut short: export it again; what is imported already will be skipped";
const NOT_OURS: &str = "give a file that `ipa-events export` wrote";
const MEND: &str = "export it again, or mend the line";

impl<R: BufRead> Lines<R> {
    /// Reads the first line of this input, which says what it is.
    ///
    /// # Errors
    ///
    /// [`Malformed`](ImportError::Malformed) and [`Read`](ImportError::Read).
    pub fn new(input: R) -> Result<Self, ImportError> {
        let (buffer, seen) = (Vec::new(), EndLine::default());
        let mut lines = Self { input, buffer, line: 0, seen, ended: false };
        lines.header()?;
        Ok(lines)
    }

    /// The next line with its number; `None` behind the end.
    ///
    /// # Errors
    ///
    /// [`Malformed`](ImportError::Malformed) and [`Read`](ImportError::Read). Behind an error there is
    /// nothing that makes sense.
    pub fn next_line(&mut self) -> Result<Option<(u64, Line)>, ImportError> {
        if !self.read()? {
            return if self.ended {
                Ok(None)
            } else {
                Err(self.malformed(1, "the input ends here, without an end line".to_owned(), CUT_SHORT))
            };
        }
        if self.ended {
            return Err(self.malformed(1, "a line behind the end line".to_owned(), MEND));
        }
        let line = self.parse(MEND)?;
        match &line {
            Line::Stream(_) => self.seen.streams += 1,
            Line::Event(_) => self.seen.events += 1,
            Line::Snapshot(_) => self.seen.snapshots += 1,
            Line::End(end) if *end == self.seen => self.ended = true,
            Line::End(end) => {
                let problem = format!(
                    "the end line counts {} streams, {} events and {} snapshots, but {}, {} and {} came before it",
                    end.streams,
                    end.events,
                    end.snapshots,
                    self.seen.streams,
                    self.seen.events,
                    self.seen.snapshots
                );
                return Err(self.malformed(1, problem, "lines are missing or were added: export it again"));
            }
        }
        Ok(Some((self.line, line)))
    }

    fn header(&mut self) -> Result<(), ImportError> {
        if !self.read()? {
            self.line = 1;
            return Err(self.malformed(1, "the input is empty".to_owned(), NOT_OURS));
        }
        let header: Header = self.parse(NOT_OURS)?;
        if header.format != FORMAT {
            return Err(self.malformed(
                1,
                format!("the format is {:?}, not {FORMAT:?}", header.format),
                NOT_OURS,
            ));
        }
        if header.version != FORMAT_VERSION {
            let problem =
                format!("version {} of the format; this program knows {FORMAT_VERSION}", header.version);
            return Err(self.malformed(1, problem, "import it with the version of ipa-events that wrote it"));
        }
        Ok(())
    }

    /// Reads up to the next line that is not blank; `false` at the end of the input.
    fn read(&mut self) -> Result<bool, ImportError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let mut line = (&mut self.input).take(LONGEST);
            let length = line
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| ImportError::Read { line: self.line, source })?;
            if length == 0 {
                return Ok(false);
            }
            if u64::try_from(length).is_ok_and(|length| length == LONGEST) {
                return Err(self.malformed(LONGEST, "the line is too long".to_owned(), NOT_OURS));
            }
            // The line break is for the line before it: what is cut short, is so in its own line.
            if self.buffer.ends_with(b"\n") {
                self.buffer.pop();
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, remedy: &'static str) -> Result<T, ImportError> {
        serde_json::from_slice(&self.buffer).map_err(|error| {
            let text = error.to_string();
            // The place is ours to say: what serde_json has is a place in one line.
            let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
            let column = u64::try_from(error.column()).unwrap_or(u64::MAX).max(1);
            self.malformed(column, problem.to_owned(), remedy)
        })
    }

    fn malformed(&self, column: u64, problem: String, remedy: &'static str) -> ImportError {
        ImportError::Malformed { line: self.line, column, problem, remedy }
    }
}
