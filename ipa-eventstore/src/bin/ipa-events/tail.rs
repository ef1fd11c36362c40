//! `tail`: events as they are stored.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use ipa_eventstore::transfer::EventLine;
use ipa_eventstore::{EventStore, Position, ReadAll, SqliteEventStore, StoreError, Subscribe};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::args::Tail;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::{reading, stdout, text};

pub async fn run(args: Tail, json: bool) -> Result<ExitCode, Failure> {
    let path = args.store.clone();
    let interrupt = Interrupt::listen_and_end()?;
    reading(&path, async |store| {
        // Interrupted or not: the end of following is no failure.
        let following = async {
            tokio::select! {
                ended = follow(store, args, json) => ended,
                () = nobody_reads() => Ok(()),
            }
        };
        interrupt.or(following).await.unwrap_or(Ok(())).map(|()| ExitCode::SUCCESS)
    })
    .await
}

/// Waits until standard output is a pipe that nobody reads any more: without an event to write, nothing
/// else would tell. Anything but a pipe has no such end.
async fn nobody_reads() {
    let (tell, told) = oneshot::channel::<()>();
    // A plain thread, which the process does not wait for when it ends.
    let waiting = thread::Builder::new().spawn(move || {
        let stdout = io::stdout();
        loop {
            // No events: errors are always told of.
            let mut pipe = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut pipe, None) {
                Err(Errno::INTR) => {}
                // It cannot be told: the next event that is written will.
                Err(_) => loop {
                    thread::park();
                },
                Ok(_) => return drop(tell),
            }
        }
    });
    match waiting {
        // The thread never sends: the channel ends with it.
        Ok(_) => drop(told.await),
        Err(_) => std::future::pending().await,
    }
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
