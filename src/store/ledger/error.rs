use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi;
use thiserror::Error;

/// Why the ledger cannot be used, by what can be done about it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LedgerError {
    /// The file does not say what it said once. `tollgate ledger recover` saves what can be proved.
    #[error("the ledger {file} is damaged: {what}")]
    Corrupt { file: String, what: String },
    #[error("the ledger {file} has schema {found}, and this version of tollgate knows up to {known}")]
    Newer { file: String, found: i64, known: i64 },
    /// Full, read-only, not permitted, or the disk fails.
    #[error("the ledger {file} cannot be used: {what}")]
    Unwritable { file: String, what: String },
    #[error("another process writes the ledger {file}")]
    Busy { file: String },
    /// Nothing was ever written.
    #[error("there is no ledger {file}")]
    Missing { file: String },
}

/// What went wrong within the file, before it is known which file.
#[derive(Debug)]
pub(super) enum Trouble {
    Sql(rusqlite::Error),
    /// What was read cannot be.
    Damaged(String),
}

impl Trouble {
    pub(super) fn at(self, file: &Path) -> LedgerError {
        match self {
            Self::Sql(error) => LedgerError::of(file, &error),
            Self::Damaged(what) => LedgerError::corrupt(file, what),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl LedgerError {
    /// The name under which operators are told of it.
    #[must_use]
    pub fn alert(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } | Self::Newer { .. } => "ledger_damaged",
            Self::Unwritable { .. } | Self::Missing { .. } => "ledger_poisoned",
            Self::Busy { .. } => "ledger_busy",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => "`tollgate ledger recover` saves what can be proved and disputes the rest; the damaged file is kept",
            Self::Newer { .. } => "use the newer version of tollgate that wrote it",
            Self::Unwritable { .. } => "look at the disk's space and the state folder's owner and permissions",
            Self::Busy { .. } => "try again when the other process has ended",
            Self::Missing { .. } => "a daemon writes it once it runs; name its file or state folder with `--config` or `--state`",
        }
    }

    /// Whether no waiting helps.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Newer { .. })
    }

    pub(super) fn corrupt(file: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.display().to_string(), what: what.into() }
    }

    pub(super) fn io(file: &Path, error: &std::io::Error) -> Self {
        Self::Unwritable { file: file.display().to_string(), what: error.to_string() }
    }

    /// What SQLite's error means for the file.
    pub(super) fn of(file: &Path, error: &rusqlite::Error) -> Self {
        let (name, what) = (file.display().to_string(), error.to_string());
        let rusqlite::Error::SqliteFailure(failure, _) = error else {
            // A column that is not there, or not of its type.
            return Self::Corrupt { file: name, what };
        };
        let is_torn = [ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_DATA, ffi::SQLITE_IOERR_CORRUPTFS].contains(&failure.extended_code);
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { file: name },
            ErrorCode::SystemIoFailure if is_torn => Self::Corrupt { file: name, what },
            ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed => Self::Unwritable { file: name, what },
            _ => Self::Corrupt { file: name, what },
        }
    }
}
