//! `cat`: the events of a stream.

use std::io::Write;
use std::process::ExitCode;

use ipa_eventstore::transfer::EventLine;
use ipa_eventstore::{Direction, EventStore, ReadStream};

use crate::args::Cat;
use crate::failure::Failure;
use crate::{reading, stdout, text};

const PAGE: usize = 1000;

pub async fn run(args: Cat, json: bool) -> Result<ExitCode, Failure> {
    let Cat { store: path, stream, after, before, max, r#type, backward } = args;
    let mut read = ReadStream::new().after(after);
    read.before = before;
    if backward {
        read = read.backward();
    }
    if !r#type.is_empty() {
        read = read.event_types(r#type);
    }
    reading(&path, async |store| {
        let mut out = stdout();
        let mut left = max.unwrap_or(usize::MAX);
        loop {
            // At least once, to learn whether the stream exists.
            let asked = left.min(PAGE);
            let page = store.read_stream(&stream, read.clone().max_count(asked)).await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    // What came before is sound.
                    out.flush()?;
                    return Err(Failure::of_store(&path, &error));
                }
            };
            left -= page.len();
            let whole = page.len() == asked && left > 0;
            if let Some(last) = page.last() {
                match read.direction {
                    Direction::Forward => read.after = last.version,
                    Direction::Backward => read.before = Some(last.version),
                }
            }
            for event in page {
                if json {
                    text::json_line(&mut out, &EventLine::from(event))?;
                } else {
                    writeln!(out, "{}", text::event(&event, false))?;
                }
            }
            if !whole {
                out.flush()?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    })
    .await
}
