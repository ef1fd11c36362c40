//! Opening: is the file ours, is it whole. Nothing is written before all of that is known.
//!
//! The order matters: first a look at the header that cannot write (SQLite's `immutable`); then the
//! lock, so that a second writer is refused before it touches anything; then a walk over what an
//! unclean end left of the write-ahead log; then SQLite itself, which takes that up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};
use tracing::{debug, info, warn};

use super::errors::{AtPath, Finding, damaged, opening};
use super::file::{create, refuse_hard_links, resolve, size, sync_directory};
use super::lock::{WriterLock, beside};
use super::log::{self, End, Log};
use super::schema::{self, APPLICATION_ID, SCHEMA};
use super::{Durability, SqliteOptions};
use crate::StoreError;

/// The name under which the durability mode is recorded in the store.
pub(super) const DURABILITY: &str = "durability";

/// A store opened for writing.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) lock: WriterLock,
}

/// Opens the store in this file for writing; creates it where there is none.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Opened, StoreError> {
    let path = resolve(path)?;
    if size(&path)?.unwrap_or(0) > 0 {
        // Before the lock too, so that not even a lock file is left beside a file that is not ours.
        identify(&path)?;
    }
    refuse_hard_links(&path)?;
    let lock = WriterLock::take(&path)?;
    let wal = size(&beside(&path, "-wal"))?.unwrap_or(0);
    if size(&path)?.unwrap_or(0) == 0 {
        if lock.was_there() && size(&path)?.is_some() {
            let text = "it is empty, and its lock file shows that a store was here; remove both if its events are not needed";
            return Err(damaged(&path, None, None, Finding(text.to_owned())));
        }
        if wal > 0 {
            return Err(StoreError::CannotOpen {
                path: beside(&path, "-wal"),
                doing: "create a store beside",
                remedy: "this log belongs to a store whose file is gone or empty: put that file \
                         back, or move the log away if its events are not needed",
                source: Arc::new(Finding(format!("a log of {wal} bytes without its store"))),
            });
        }
        create(&path, options.durability)?;
        info!(path = %path.display(), "created an event store");
    }
    identify(&path)?;
    if wal > 0 {
        // A clean close leaves no log.
        check_log(&path)?;
    } else {
        check_length(&path)?;
    }

    let mut connection = connect_writer(&path, options)?;
    let at_path = |error| opening(&path, error);
    let found = check_identity_in_log(&connection, &path)?;
    if found == SCHEMA {
        schema::check(&connection).map_err(at_path)?;
    }
    if wal > 0 {
        quick_check(&connection, &path)?;
        begin_log_anew(&connection).map_err(at_path)?;
    }
    schema::migrate(&mut connection, found).map_err(at_path)?;
    record_durability(&connection, &path, options)?;
    carry_over_at_close(&connection, true).map_err(at_path)?;
    debug!(path = %path.display(), durability = options.durability.name(), "opened an event store");
    Ok(Opened { path, connection, lock })
}

/// Finds the store in this file for reading beside its writer; touches nothing.
pub(super) fn find_for_reading(path: &Path) -> Result<PathBuf, StoreError> {
    let path = resolve(path)?;
    match size(&path)? {
        None | Some(0) => Err(StoreError::CannotOpen {
            path,
            doing: "read",
            remedy: "there is no event store: check the path, or create one with SqliteEventStore::open",
            source: Arc::new(std::io::Error::from(std::io::ErrorKind::NotFound)),
        }),
        Some(_) => {
            identify(&path)?;
            if size(&beside(&path, "-wal"))?.unwrap_or(0) == 0 {
                check_length(&path)?;
            }
            Ok(path)
        }
    }
}

/// Looks through the first connection whether the store is ours.
pub(super) fn check_for_reading(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    // Tables that are missing are told of by the reads that need them: what is readable stays readable.
    check_identity_in_log(connection, path).map(|_| ())
}

/// The write connection, as the writer opens it at first and again after a failed commit. Until
/// [`carry_over_at_close`] is called for it, closing it leaves the log as it is.
pub(super) fn connect_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let prepare = || {
        let connection = Connection::open_with_flags(path, flags)?;
        // First, so that whatever follows waits for others instead of failing.
        connection.busy_timeout(options.busy_timeout)?;
        carry_over_at_close(&connection, false)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        common_pragmas(&connection)?;
        set_synchronous(&connection, options.durability)?;
        connection.pragma_update(None, "wal_autocheckpoint", options.checkpoint_pages)?;
        connection.pragma_update(None, "journal_size_limit", log_kept(options.checkpoint_pages))?;
        // Nothing goes into the log before its commit: what stands there behind the last one is that one's, torn.
        connection.pragma_update(None, "cache_spill", false)?;
        check_writable(&connection)?;
        Ok((connection, mode))
    };
    let (connection, mode) = prepare().map_err(|error| opening(path, error))?;
    check_wal(path, &mode)?;
    // The log may just have been created. SQLite syncs its name too, with the first commit, but does not mind if that fails.
    sync_directory(path).map_err(|source| StoreError::CannotOpen {
        path: path.to_owned(),
        doing: "sync the directory of",
        remedy: "check that its disk is sound, and that the directory may be read",
        source: Arc::new(source),
    })?;
    Ok(connection)
}

/// SQLite falls back to reading alone where it cannot open the file, or its log, for writing, and would say so at the first write.
fn check_writable(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_readonly(MAIN_DB)? {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
        return Err(rusqlite::Error::SqliteFailure(code, None));
    }
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        // Somebody else is writing, so it can be written.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        other => other,
    }
}

/// A connection that cannot write and never checkpoints.
pub(super) fn connect_reader(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let prepare = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(options.busy_timeout)?;
        common_pragmas(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        carry_over_at_close(&connection, false)?;
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        Ok((connection, mode))
    };
    let (connection, mode) = prepare().map_err(|error| opening(path, error))?;
    check_wal(path, &mode)?;
    // The header that was looked at before may be behind what the log says.
    check_identity_in_log(&connection, path)?;
    Ok(connection)
}

/// The bytes to which the log's file shrinks at most when it begins anew. Not below what it has when it is carried over: it would be
/// extended again each time, and a sync of a file that has grown takes longer.
fn log_kept(checkpoint_pages: u32) -> i64 {
    /// A page and its header.
    const FRAME: i64 = 4096 + 24;
    let carried_over = i64::from(checkpoint_pages) * FRAME;
    // And what the last group has added.
    (carried_over + carried_over / 4).max(64 * 1024 * 1024)
}

/// Outside any transaction: within one, `foreign_keys` is silently ignored.
fn common_pragmas(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "foreign_keys", true)?;
    // Mapped reads turn an I/O error into a signal that ends the process.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

pub(super) fn check_wal(path: &Path, mode: &str) -> Result<(), StoreError> {
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(StoreError::CannotOpen {
        path: path.to_owned(),
        doing: "use a write-ahead log for",
        remedy: "put the store on a local file system with shared memory and locks",
        source: Arc::new(Finding(format!("journal_mode is {mode}, not wal"))),
    })
}

fn set_synchronous(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let (synchronous, full) = match durability {
        Durability::Full => ("FULL", true),
        Durability::ProcessCrash => ("NORMAL", false),
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Where a plain fsync leaves the disk's own cache alone (macOS); elsewhere without effect.
    connection.pragma_update(None, "fullfsync", full)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)
}

/// Whether the last connection carries the log over when it closes. Not from a store that is refused: it stays as it is.
pub(super) fn carry_over_at_close(connection: &Connection, yes: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !yes).map(|_| ())
}

/// Records under which mode what follows is written.
///
/// The log is judged by the mode that the file itself records, so nothing may stand in a log that was written under another one: it
/// is emptied before the record changes and again after it, and the record itself is written with full durability.
fn record_durability(
    connection: &Connection,
    path: &Path,
    options: &SqliteOptions,
) -> Result<(), StoreError> {
    let at_path = |error| opening(path, error);
    let mode = options.durability;
    if schema::recorded(connection, DURABILITY).map_err(at_path)?.as_deref() == Some(mode.name()) {
        return Ok(());
    }
    set_synchronous(connection, Durability::Full).map_err(at_path)?;
    empty_log(connection, path)?;
    schema::record(connection, DURABILITY, mode.name()).map_err(at_path)?;
    empty_log(connection, path)?;
    set_synchronous(connection, mode).map_err(at_path)
}

/// Carries the whole log over, so that the next transaction begins a new one.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if another process reads from the log for longer than the busy timeout.
pub(super) fn empty_log(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::Unavailable(Arc::new(AtPath::new(path, Arc::new(error))));
    if checkpoint(connection, "TRUNCATE").map_err(failed)?.is_done() {
        return Ok(());
    }
    let text = format!("{}: another process holds an old state of it in an open transaction", path.display());
    Err(StoreError::Unavailable(Arc::new(Finding(text))))
}

/// After an unclean end: carries over what SQLite took up, so that nothing is written behind it. Its frames may be in the system's
/// memory alone, if a sync of the process that ended had failed; behind them, not even what is synced from now on would be safe.
fn begin_log_anew(connection: &Connection) -> rusqlite::Result<()> {
    if !checkpoint(connection, "TRUNCATE")?.is_done() {
        warn!("another process reads the event store; its log could not be begun anew");
    }
    Ok(())
}

/// How far the log was carried over into the store's file, as SQLite says.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// Somebody was in the way.
    busy: bool,
    /// In frames; below zero where there was no looking.
    in_log: i64,
    carried: i64,
}

impl Checkpoint {
    /// Whether it came to its end: all of the log is in the file, and nobody needs it there.
    pub(super) fn is_done(&self) -> bool {
        !self.busy && self.in_log == self.carried
    }

    /// Whether all of the log is in the file.
    pub(super) fn is_whole(&self) -> bool {
        self.in_log >= 0 && self.in_log == self.carried
    }
}

/// Carries the log over into the store's file.
pub(super) fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<Checkpoint> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| {
        let (busy, in_log, carried): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Checkpoint { busy: busy != 0, in_log, carried })
    })
}

/// Looks at the file's header without any way to write: no lock, no recovery, no side files.
fn identify(path: &Path) -> Result<(), StoreError> {
    let connection = immutable(path).map_err(|error| opening(path, error))?;
    check_identity(&connection, path).map(|_| ())
}

/// How a file is looked at with [`immutable_uri`].
const IMMUTABLE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_URI).union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// The file as it stands, without its log.
fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(immutable_uri(path), IMMUTABLE)?;
    // After an end in the middle of a checkpoint the header may be ahead of the file's length. The log has the pages that
    // are missing; without it SQLite calls that damage, unless it is told to take a file as it is.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    Ok(connection)
}

/// The schema number, if the file is ours and not newer than we are: 1 at least.
fn check_identity(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let read = |pragma: &str| -> Result<i64, StoreError> {
        connection.pragma_query_value(None, pragma, |row| row.get(0)).map_err(|error| opening(path, error))
    };
    let application = read("application_id")?;
    if application != APPLICATION_ID {
        return Err(StoreError::NotOurs {
            path: path.to_owned(),
            found: format!("an SQLite database with application_id {application:#x}"),
        });
    }
    let found = read("user_version")?;
    if found > SCHEMA {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, supported: SCHEMA });
    }
    if found < 1 {
        // It is written with the application_id, in one transaction.
        return Err(damaged(path, None, None, Finding(format!("its schema number is {found}"))));
    }
    Ok(found)
}

/// The same once more through the log: what the header of the file alone says may be behind what the log says.
fn check_identity_in_log(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    check_identity(connection, path).map_err(|error| match error {
        StoreError::NotOurs { found, .. } => {
            let wal = beside(path, "-wal");
            let text = format!("its log {} is not its own; with it, it is {found}", wal.display());
            damaged(path, None, None, Finding(text))
        }
        error => error,
    })
}

/// Refuses a file that is shorter than its header says; SQLite would find out at the first read of what is missing. Only where there
/// is no log, which may have the pages that are not in the file yet.
///
/// Asked of SQLite, not of the file: whoever opens and closes the file beside SQLite takes its locks away from the whole process.
fn check_length(path: &Path) -> Result<(), StoreError> {
    let due = Connection::open_with_flags(immutable_uri(path), IMMUTABLE).and_then(|file| {
        let number = |pragma| file.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        Ok(number("page_count")?.unsigned_abs() * number("page_size")?.unsigned_abs())
    });
    let length = size(path)?.unwrap_or(0);
    match due {
        Ok(due) if due <= length => Ok(()),
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseCorrupt) => {
            Err(opening(path, error))
        }
        Ok(_) | Err(_) => {
            let text =
                format!("its header speaks of more pages than its {length} bytes can be: it was cut off");
            Err(damaged(path, None, None, Finding(text)))
        }
    }
}

/// Refuses a log that SQLite would cut: see [`log`].
fn check_log(path: &Path) -> Result<(), StoreError> {
    let found = walk_log(path)?;
    if let Some(damage) = log_damage(path, &found) {
        return Err(damaged(path, None, None, Finding(damage)));
    }
    let (commits, frames) = (found.commits, found.frames);
    match found.end {
        End::Clean => {
            warn!(path = %path.display(), commits, frames, "the event store was not closed; checking it")
        }
        End::Torn { frames: torn } => warn!(
            path = %path.display(), commits, frames, torn,
            "the event store was not closed, and its last commit is unfinished; checking it"
        ),
        End::Cut { frame, byte, commits: lost, frames: cut } => warn!(
            path = %path.display(), commits, frames, frame, byte, lost, cut,
            "the log of the event store has a gap: what was stored behind it is lost, as the durability mode process-crash allows"
        ),
    }
    Ok(())
}

/// Walks over the log of the store in this file.
pub(super) fn walk_log(path: &Path) -> Result<Log, StoreError> {
    let log = beside(path, "-wal");
    log::walk(&log).map_err(|source| StoreError::CannotOpen {
        path: log.clone(),
        doing: "look through",
        remedy: "check its permissions and those of its directory",
        source: Arc::new(source),
    })
}

/// What is wrong with a log that was walked over, if anything is that the store's durability mode does not allow.
pub(super) fn log_damage(path: &Path, log: &Log) -> Option<String> {
    let End::Cut { frame, byte, commits: lost, frames: cut } = log.end else { return None };
    let name = beside(path, "-wal");
    let name = name.display();
    // The header is synced in every mode.
    if frame == 0 {
        return Some(format!("the header of its log {name} is damaged"));
    }
    was_full(path).then(|| {
        format!(
            "frame {frame} of its log {name}, at byte {byte}, is damaged, with at least {lost} stored commits ({cut} frames) from \
             there on; {} commits before it are sound",
            log.commits
        )
    })
}

/// Whether the store's file records that its log was written with full durability. It is read as the file stands, without its log;
/// the record is never in the log alone.
fn was_full(path: &Path) -> bool {
    let recorded = immutable(path).ok().and_then(|file| schema::recorded(&file, DURABILITY).ok().flatten());
    recorded.as_deref() == Some(Durability::Full.name())
}

/// SQLite's own look at the pages of the whole file.
pub(super) fn quick_check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| opening(path, error))?;
    if answer == "ok" {
        return Ok(());
    }
    Err(damaged(path, None, None, Finding(answer)))
}

/// The path as SQLite's URI, which `immutable` needs: bytes that mean something there are encoded.
fn immutable_uri(path: &Path) -> std::ffi::OsString {
    use std::fmt::Write;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            // Writing to a String cannot fail.
            _ => {
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri.push_str("?mode=ro&immutable=1");
    uri.into()
}
