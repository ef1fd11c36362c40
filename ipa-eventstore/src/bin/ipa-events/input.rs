//! The input of an import, read on a thread of its own: it may have nothing to say for long, and an interrupt is to be heard meanwhile.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use crate::failure::{FILE, Failure};

/// How much is read at once, and how many of these are read ahead.
const CHUNK: usize = 1 << 18;
const AHEAD: usize = 4;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    /// How the reading has ended, when it has.
    ended: Option<io::Result<()>>,
    broken_off: bool,
}

/// Ends the input where it is.
#[derive(Clone, Default)]
pub struct BreakOff(Arc<Shared>);

impl BreakOff {
    pub fn now(&self) {
        self.0.state.lock().broken_off = true;
        self.0.changed.notify_all();
    }
}

/// What reading gives after that.
#[derive(Debug)]
pub struct BrokenOff;

impl BrokenOff {
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was interrupted")
    }
}

impl Error for BrokenOff {}

pub struct Input {
    shared: Arc<Shared>,
    current: Cursor<Vec<u8>>,
}

impl Input {
    /// Opens the input on the thread, too, as that may wait as well.
    pub fn read<R: Read>(
        open: impl FnOnce() -> io::Result<R> + Send + 'static,
        break_off: &BreakOff,
    ) -> Result<BufReader<Self>, Failure> {
        let shared = break_off.0.clone();
        let mut end = End(shared.clone(), Err(io::Error::other("whoever reads it has panicked")));
        let fills = move || {
            let ended = open().and_then(|input| fill(input, &end.0));
            end.is(ended);
        };
        let thread = thread::Builder::new().name("input".into()).spawn(fills);
        thread.map_err(|error| Failure::new(FILE, format!("cannot read the input on a thread: {error}")))?;
        Ok(BufReader::with_capacity(CHUNK, Self { shared, current: Cursor::default() }))
    }
}

/// Says how the reading has ended, when it has, however that was.
struct End(Arc<Shared>, io::Result<()>);

impl End {
    fn is(&mut self, ended: io::Result<()>) {
        self.1 = ended;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.state.lock().ended = Some(std::mem::replace(&mut self.1, Ok(())));
        self.0.changed.notify_all();
    }
}

fn fill(mut input: impl Read, shared: &Shared) -> io::Result<()> {
    loop {
        let mut chunk = vec![0; CHUNK];
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => chunk.truncate(length),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let mut state = shared.state.lock();
        state.chunks.push_back(chunk);
        shared.changed.notify_all();
        shared.changed.wait_while(&mut state, |state| state.chunks.len() >= AHEAD && !state.broken_off);
        if state.broken_off {
            return Ok(());
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.current.read(buffer)? {
                0 if !buffer.is_empty() => {}
                length => return Ok(length),
            }
            let mut state = self.shared.state.lock();
            let idle =
                |state: &mut State| state.chunks.is_empty() && state.ended.is_none() && !state.broken_off;
            self.shared.changed.wait_while(&mut state, idle);
            if state.broken_off {
                return Err(io::Error::other(BrokenOff));
            }
            match state.chunks.pop_front() {
                Some(chunk) => self.current = Cursor::new(chunk),
                None => return state.ended.replace(Ok(())).unwrap_or(Ok(())).map(|()| 0),
            }
            self.shared.changed.notify_all();
        }
    }
}
