//! Wall-clock time in the microseconds that stores keep, so that a time reads back as it was given.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time, in whole microseconds.
pub(crate) fn now() -> SystemTime {
    from_micros(to_micros(SystemTime::now()))
}

/// Microseconds since 1970, negative before.
pub(crate) fn to_micros(time: SystemTime) -> i64 {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

/// The time so many microseconds after 1970.
pub(crate) fn from_micros(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    let time = if micros < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}
