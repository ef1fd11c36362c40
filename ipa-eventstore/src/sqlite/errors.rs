//! What SQLite's and the file system's errors mean for the caller of a store.

use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::{StoreError, StreamId};

/// An error while a store is open: it was surely not a commit's.
pub(super) fn running(path: &Path, error: impl Into<Arc<rusqlite::Error>>) -> StoreError {
    let error = error.into();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, None, None, error),
        // Our statements are sound, so a table or a column is not there.
        _ if is_wrong_sql(&error) => damaged(path, None, None, error),
        // What a row holds is not what its column promises.
        None if is_conversion(&error) => damaged(path, None, None, error),
        Some(ErrorCode::TooBig) => {
            StoreError::invalid(format!("larger than a row of {} can be, one gigabyte", path.display()))
        }
        _ => StoreError::Unavailable(Arc::new(AtPath::new(path, error))),
    }
}

/// An error while a store is being opened, created or prepared.
pub(super) fn opening(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            StoreError::NotOurs { path: path.to_owned(), found: "not an SQLite database".to_owned() }
        }
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure,
        ) => StoreError::CannotOpen {
            path: path.to_owned(),
            doing: "open",
            remedy: "check that it is a regular file, and that it, its -wal and -shm files and \
                         their directory may be read and written",
            source: Arc::new(error),
        },
        _ => running(path, error),
    }
}

/// What is stored cannot be right.
pub(super) fn damaged(
    path: &Path,
    stream: Option<&StreamId>,
    version: Option<u64>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), stream: stream.cloned(), version, source: Arc::new(source) }
}

/// A finding that no error value stands behind.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Finding(pub(super) String);

/// SQLite's errors do not say which file they are about.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(super) struct AtPath {
    path: std::path::PathBuf,
    source: Arc<rusqlite::Error>,
}

impl AtPath {
    pub(super) fn new(path: &Path, source: Arc<rusqlite::Error>) -> Self {
        Self { path: path.to_owned(), source }
    }
}

/// SQLite's most general error, which it gives for statements that make no sense.
fn is_wrong_sql(error: &rusqlite::Error) -> bool {
    let code = match error {
        rusqlite::Error::SqliteFailure(code, _) | rusqlite::Error::SqlInputError { error: code, .. } => code,
        _ => return false,
    };
    code.extended_code == rusqlite::ffi::SQLITE_ERROR
}

fn is_conversion(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}
