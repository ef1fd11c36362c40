//! The judge: is what is found in a store one of the things that may be there?

use std::collections::BTreeMap;

use ipa_eventstore::{EventStore, ListStreams, Position, ReadAll, ReadStream, SqliteEventStore};

use super::{Data, End, History, Step, Stored, event_id, pad, snapshot};
use crate::trouble::{Trouble, broken, unexpected};

/// What of the acknowledged has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// All of it.
    Everything,
    /// A beginning of it, in the order of acknowledgement; and all that was there when the store was last closed.
    Beginning,
}

/// What is found in a store.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The streams.
    pub streams: BTreeMap<String, Stored>,
    /// The position of the last event.
    pub last: Position,
}

impl Found {
    /// Reads a whole store. What holds whatever was sent is checked on the way: versions are dense, positions rise, an
    /// append's events stand together, and each event carries what it was given.
    ///
    /// # Errors
    ///
    /// When any of that does not hold, or the store does not answer.
    pub async fn read(store: &SqliteEventStore) -> Result<Self, Trouble> {
        let mut found = Self::default();
        let streams = store.list_streams(ListStreams::new()).await.map_err(unexpected("listing streams"))?;
        for info in streams {
            let id = info.id.as_str().to_owned();
            let events = store
                .read_stream(&info.id, ReadStream::new())
                .await
                .map_err(unexpected(format!("reading {id}")))?;
            let versions = events.iter().map(|event| event.version);
            if !versions.eq(1..=info.version) {
                return broken(format!("{id} is at version {}, its versions are not dense", info.version));
            }
            let snapshot = store.load_snapshot(&info.id).await.map_err(unexpected("a snapshot"))?;
            let mut stored = Stored { events: Vec::new(), snapshot: snapshot.as_ref().map(|s| s.version) };
            for event in &events {
                let data: Data = event.data().map_err(unexpected("an event's data"))?;
                let size = u32::try_from(data.pad.len()).unwrap_or(u32::MAX);
                if event.id != event_id(data.op, data.n) || data.pad != pad(data.op, data.n, size) {
                    return broken(format!("{id} version {} carries another event's data", event.version));
                }
                stored.events.push((data.op, data.n));
            }
            if let Some(found) = snapshot {
                let given = self::snapshot(found.version).map_err(unexpected("a snapshot"))?;
                if found != given || found.version > info.version {
                    return broken(format!("the snapshot of {id} is not what was saved: {found:?}"));
                }
            }
            found.streams.insert(id, stored);
        }
        let all = store.read_all(ReadAll::new()).await.map_err(unexpected("reading all"))?;
        if !all.is_sorted_by(|a, b| a.position < b.position) {
            return broken("positions do not rise");
        }
        let in_streams: usize = found.streams.values().map(|stored| stored.events.len()).sum();
        if all.len() != in_streams {
            return broken(format!("{} events in all, {in_streams} in the streams", all.len()));
        }
        for pair in all.windows(2) {
            let [before, after] = pair else { continue };
            let parts = |event: &ipa_eventstore::RecordedEvent| {
                let id = event.id.as_uuid().as_u128();
                ((id >> 64) as u64, id as u32)
            };
            let (op, n) = parts(after);
            if n > 0 && parts(before) != (op, n - 1) {
                return broken(format!("event {n} of operation {op} does not follow the one before it"));
            }
        }
        found.last = all.last().map(|event| event.position).unwrap_or_default();
        Ok(found)
    }
}

impl History {
    /// Judges what is found.
    ///
    /// # Errors
    ///
    /// When it cannot be true: something acknowledged is missing, something that was surely not done is there, half an
    /// append, something that nobody sent, or an order that never was.
    pub fn judge(&self, found: &Found, promise: Promise) -> Result<(), Trouble> {
        for stream in found.streams.keys() {
            if !self.base.contains_key(stream) && !self.streams.contains_key(stream) {
                return broken(format!("there is a stream {stream}, which nobody started"));
            }
        }
        for (stream, stored) in &self.base {
            if !self.streams.contains_key(stream) && found.streams.get(stream) != Some(stored) {
                return broken(format!("{stream} is not what it was, and nobody has touched it"));
            }
        }
        // Under `Beginning`, what is there for sure and what is missing for sure.
        let mut there: Option<usize> = None;
        let mut missing: Option<(usize, &Step)> = None;
        for (stream, steps) in &self.streams {
            let found_here = found.streams.get(stream);
            let states = self.states(stream, steps)?;
            let fits = |states: &Vec<Option<Stored>>| states.iter().any(|state| state.as_ref() == found_here);
            let whole = states.last().is_some_and(fits);
            if promise == Promise::Everything {
                if whole {
                    continue;
                }
                return broken(format!(
                    "{stream}: {}",
                    difference(found_here, steps, states.last().and_then(|s| s.first()))
                ));
            }
            let needed = steps.iter().filter(|step| step.acknowledged().is_some_and(|at| at <= self.closed));
            let needed = needed.count();
            let shortest = states.iter().position(fits);
            let longest = states.iter().rposition(fits).filter(|longest| *longest >= needed);
            let (Some(shortest), Some(longest)) = (shortest, longest) else {
                return broken(format!(
                    "{stream}: no beginning of what was sent: {}",
                    difference(found_here, steps, states.last().and_then(|s| s.first()))
                ));
            };
            there = there.max(steps[..shortest].iter().map(|step| step.sent).max());
            for step in &steps[longest..] {
                if let Some(at) = step.acknowledged()
                    && missing.is_none_or(|(earliest, _)| at < earliest)
                {
                    missing = Some((at, step));
                }
                if let Some(End::Done { position: Some(position), .. }) = step.end
                    && position < found.last
                {
                    return broken(format!(
                        "{stream}: operation {} at {position} is lost, what came after it is not",
                        step.op.id
                    ));
                }
            }
        }
        if let (Some(there), Some((missing, step))) = (there, missing)
            && missing < there
        {
            return broken(format!(
                "{}: operation {} is lost, and one that was sent after its answer is not",
                step.op.stream, step.op.id
            ));
        }
        Ok(())
    }

    /// What may stand in the stream after none, one, two ... of its operations.
    fn states(&self, stream: &str, steps: &[Step]) -> Result<Vec<Vec<Option<Stored>>>, Trouble> {
        let mut states = vec![vec![self.base.get(stream).cloned()]];
        for step in steps {
            let before = states.last().cloned().unwrap_or_default();
            let applied = before.iter().map(|state| step.op.apply(state.clone()));
            let after = match step.end {
                Some(End::NotDone) => before,
                Some(End::Done { version, .. }) => {
                    let is = |state: &Option<Stored>| state.as_ref().map_or(0, |s| s.events.len() as u64);
                    let counts = step.op.count() > 0;
                    let after: Vec<_> = applied.filter(|state| !counts || is(state) == version).collect();
                    if after.is_empty() {
                        let id = step.op.id;
                        return broken(format!(
                            "{stream}: operation {id} cannot have led to version {version}"
                        ));
                    }
                    after
                }
                Some(End::Unknown) | None => {
                    let mut both: Vec<_> = applied.collect();
                    both.extend(before.iter().cloned());
                    both.dedup();
                    both
                }
            };
            states.push(after);
        }
        Ok(states)
    }
}

impl Step {
    fn acknowledged(&self) -> Option<usize> {
        match self.end {
            Some(End::Done { at, .. }) => Some(at),
            _ => None,
        }
    }
}

/// Says what is wrong with a stream, beside the last thing it was expected to be.
fn difference(found: Option<&Stored>, steps: &[Step], expected: Option<&Option<Stored>>) -> String {
    let say = |stored: Option<&Stored>| match stored {
        None => "no stream".to_owned(),
        Some(stored) => {
            let last = stored.events.last().map_or("none".to_owned(), |(op, n)| format!("{n} of {op}"));
            format!("{} events, the last {last}, snapshot {:?}", stored.events.len(), stored.snapshot)
        }
    };
    let end = steps.iter().rev().take(3).rev();
    let end: Vec<_> = end.map(|step| format!("{} {:?} {:?}", step.op.id, step.op.what, step.end)).collect();
    format!(
        "found {}; expected {}; the last operations: {}",
        say(found),
        say(expected.and_then(Option::as_ref)),
        end.join(", ")
    )
}
