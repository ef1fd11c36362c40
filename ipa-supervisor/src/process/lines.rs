//! What a process writes, line by line to `tracing`, on a thread per stream.
//!
//! The one trick is how it ends. Waiting for the end of the file would lose nothing, and would last for as long as any
//! grandchild that has escaped the group keeps the pipe open. So this side keeps a writer of its own: when the process has
//! ended, and all it wrote is in the pipe, a flag is set and a byte written, which wakes the reader; it takes what is in the
//! pipe at that moment, and is done.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::log;
use crate::machine::ChildRef;

/// Longer lines are broken, so that a process that never ends its line costs no more memory than this.
const LONGEST: usize = 8 * 1024;

/// Which of a process's two outputs.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn log(self, child: &ChildRef, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        // Blank: a line of the process's, or the byte that woke the reader.
        if line.is_empty() {
            return;
        }
        match self {
            Self::Stdout => {
                log::said(
                    || tracing::info!(target: "ipa_supervisor::process", %child, stream = "stdout", "{line}"),
                );
            }
            Self::Stderr => {
                log::said(
                    || tracing::warn!(target: "ipa_supervisor::process", %child, stream = "stderr", "{line}"),
                );
            }
        }
    }
}

/// A stream that is being logged. Its drop ends that, after the last line that is in the pipe by then; it blocks meanwhile.
pub(super) struct Lines {
    ended: Arc<AtomicBool>,
    waker: PipeWriter,
    thread: Option<JoinHandle<()>>,
}

impl Lines {
    /// The end of the pipe that the process is to write to, and the thread at the other.
    pub(super) fn start(child: ChildRef, stream: Stream) -> io::Result<(Stdio, Self)> {
        let (reader, writer) = io::pipe()?;
        let waker = writer.try_clone()?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = ended.clone();
        let thread = thread::Builder::new()
            .name("ipa-process-log".into())
            .spawn(move || read(reader, &seen, |line| stream.log(&child, line)))?;
        Ok((Stdio::from(writer), Self { ended, waker, thread: Some(thread) }))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Refused if the reader has seen the flag already and is gone.
        let _ = self.waker.write_all(b"\n");
        if let Some(thread) = self.thread.take() {
            // A subscriber that panicked has been told of by the panic's hook.
            let _ = thread.join();
        }
    }
}

fn read(mut pipe: PipeReader, ended: &AtomicBool, line: impl FnMut(&[u8])) {
    let mut split = Split { rest: Vec::new(), line };
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => split.feed(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        // Looked at after each read, and set before the byte is written: no read blocks once it is set. What the process wrote
        // is in the pipe by then, and only that much is read, as an escaped grandchild may go on writing for ever.
        if ended.load(Ordering::Acquire) {
            let left = rustix::io::ioctl_fionread(&pipe).unwrap_or(0);
            let mut tail = Vec::new();
            let _ = pipe.take(left).read_to_end(&mut tail);
            split.feed(&tail);
            break;
        }
    }
    split.end();
}

/// Bytes in, lines out.
struct Split<F> {
    rest: Vec<u8>,
    line: F,
}

impl<F: FnMut(&[u8])> Split<F> {
    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            self.push(&bytes[..at]);
            self.end();
            bytes = &bytes[at + 1..];
        }
        self.push(bytes);
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while let Some((piece, more)) = bytes.split_at_checked(LONGEST - self.rest.len())
            && !more.is_empty()
        {
            self.rest.extend_from_slice(piece);
            // Not within a character.
            let whole = self.rest.len() - begun(&self.rest);
            (self.line)(&self.rest[..whole]);
            self.rest.drain(..whole);
            bytes = more;
        }
        self.rest.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        (self.line)(&self.rest);
        self.rest.clear();
    }
}

/// How many of the last bytes are the beginning of a character in UTF-8 that is not there in full.
fn begun(bytes: &[u8]) -> usize {
    let mut last = bytes.iter().rev().take(3).enumerate();
    let Some((after, lead)) = last.find(|(_, byte)| **byte & 0b1100_0000 != 0b1000_0000) else { return 0 };
    let length = match lead.leading_ones() {
        length @ 2..=4 => length as usize,
        _ => 1,
    };
    if length > after + 1 { after + 1 } else { 0 }
}

#[cfg(test)]
mod tests;
