//! A request to stop and those who look for it: whether it is made is read without the lock.
//!
//! That is one of the standard library's atomics; the lock that is taken beside it is where others go on.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::thread;

use super::{every, point};
use crate::reason::Cause;
use crate::stop_request::StopRequest;

/// Who finds it made finds what was asked, in whichever way it looks.
#[test]
fn what_is_found_made_says_what_was_asked() {
    every(100_000, || {
        let stop = Arc::new(StopRequest::new());
        let asks = thread::spawn({
            let stop = stop.clone();
            move || {
                point();
                stop.make(Cause::Requested(None));
            }
        });
        point();
        let made = stop.is_made();
        let polled = stop.poll(&Context::from_waker(Waker::noop()));
        assert!(!made || matches!(polled, Poll::Ready(Cause::Requested(None))));
        asks.join().unwrap();
        assert!(matches!(stop.get(), Some(Cause::Requested(None))));
    });
}
