//! `tail`: events as they are stored.

use std::io::Write;
use std::process::ExitCode;

use ipa_eventstore::transfer::EventLine;
use ipa_eventstore::{EventStore, Position, ReadAll, SqliteEventStore, StoreError, Subscribe};

use crate::args::Tail;
use crate::failure::Failure;
use crate::{interrupt, reading, stdout, text};

pub async fn run(args: Tail, json: bool) -> Result<ExitCode, Failure> {
    let path = args.store.clone();
    reading(&path, async |store| {
        // Interrupted or not: the end of following is no failure.
        match interrupt::until(follow(store, args, json)).await? {
            Some(ended) => ended.map(|()| ExitCode::SUCCESS),
            None => Ok(ExitCode::SUCCESS),
        }
    })
    .await
}

async fn follow(store: &SqliteEventStore, args: Tail, json: bool) -> Result<(), Failure> {
    let of_store = |error| Failure::of_store(&args.store, &error);
    let mut from = begin(store, &args).await.map_err(of_store)?;
    if !args.r#type.is_empty() {
        from = from.event_types(args.r#type.clone());
    }
    let mut events = store.subscribe(from).await.map_err(of_store)?;
    let mut out = stdout();
    while let Some(event) = events.next().await {
        let event = event.map_err(of_store)?;
        if json {
            text::json_line(&mut out, &EventLine::from(event))?;
        } else {
            writeln!(out, "{}", text::event(&event, args.stream.is_none()))?;
        }
        out.flush()?;
    }
    Ok(())
}

async fn begin(store: &SqliteEventStore, args: &Tail) -> Result<Subscribe, StoreError> {
    Ok(match (&args.stream, args.from_start) {
        (Some(stream), true) => Subscribe::stream(stream, 0),
        (Some(stream), false) => {
            let after = match args.after {
                Some(after) => after,
                None => store.stream_version(stream).await?,
            };
            Subscribe::stream(stream, after)
        }
        (None, true) => Subscribe::all(Position::START),
        (None, false) => {
            let after = match args.position {
                Some(position) => position,
                None => {
                    let last = store.read_all(ReadAll::new().backward().max_count(1)).await?;
                    last.last().map_or(Position::START, |event| event.position)
                }
            };
            Subscribe::all(after)
        }
    })
}
