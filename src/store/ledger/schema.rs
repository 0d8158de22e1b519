//! The file itself: its tables, its version, and how it is opened.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::LedgerError;
use super::{row, wal};

/// The version that this program writes. A file that is newer by one is understood, since versions only add.
pub(super) const VERSION: i64 = 1;
/// Says that an SQLite file is a ledger of tollgate: `toll`.
const APPLICATION: i64 = 0x746f_6c6c;
/// Memory for pages, in KiB (SQLite's sign): rows are written behind one another and never read back, so that more would only be filled.
const CACHE_KIB: i64 = -2_048;
/// How long to wait for a reader or another writer before the file is called busy.
const PATIENCE: Duration = Duration::from_millis(1_500);

const TABLES: &str = "
CREATE TABLE head (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  commits INTEGER NOT NULL,
  epoch INTEGER NOT NULL
) STRICT;
CREATE TABLE budgets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE windows (
  id INTEGER PRIMARY KEY,
  budget INTEGER NOT NULL REFERENCES budgets (id),
  period TEXT NOT NULL,
  starts INTEGER NOT NULL,
  ends INTEGER,
  granted INTEGER NOT NULL,
  posted INTEGER NOT NULL,
  disputed INTEGER NOT NULL,
  seal BLOB NOT NULL,
  UNIQUE (budget, period, starts)
) STRICT;
CREATE INDEX windows_by_end ON windows (ends);
CREATE INDEX windows_unexplained ON windows (id) WHERE granted > posted + disputed;
CREATE TABLE contexts (
  id INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL,
  rule TEXT,
  caller TEXT,
  tags TEXT,
  task TEXT NOT NULL,
  target TEXT,
  revision TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE
) STRICT;
CREATE TABLE terms (id INTEGER PRIMARY KEY, served_model TEXT, prices TEXT, hash BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE window_sets (id INTEGER PRIMARY KEY, windows TEXT NOT NULL, hash BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE holds (
  attempt INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  request TEXT NOT NULL,
  context INTEGER NOT NULL REFERENCES contexts (id),
  windows INTEGER NOT NULL REFERENCES window_sets (id),
  nth INTEGER NOT NULL,
  hold INTEGER NOT NULL,
  labels TEXT
) STRICT;
CREATE TABLE disputes (
  seq INTEGER PRIMARY KEY,
  attempt INTEGER,
  epoch INTEGER NOT NULL,
  context INTEGER REFERENCES contexts (id),
  windows INTEGER NOT NULL REFERENCES window_sets (id),
  class TEXT NOT NULL,
  amount INTEGER NOT NULL,
  counts_at INTEGER NOT NULL,
  until INTEGER,
  labels TEXT
) STRICT;
INSERT INTO head VALUES (1, 0, zeroblob(32), 0, 0);
";

/// By which disputes are found, which one that is older may lack.
const DISPUTES: &str = "CREATE INDEX IF NOT EXISTS disputes_by_attempt ON disputes (epoch, attempt)";

/// Opens the file for its one writer, and makes it where there is none. What a crash left in the write-ahead log is taken up.
pub(super) fn open(path: &Path) -> Result<Connection, LedgerError> {
    let of = |error: rusqlite::Error| LedgerError::of(path, &error);
    wal::check(path)?;
    // Made here, so that nobody else may ever read it.
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(LedgerError::io(path, &error)),
        _ => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut connection = Connection::open_with_flags(path, flags).map_err(of)?;
    connection.busy_timeout(PATIENCE).map_err(of)?;
    // Checkpoints are ours to order: SQLite tries a failed one again with the same descriptor, and hides that it failed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(of)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(of)?;
    is_whole(&connection, path)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(of)?;
    if mode != "wal" {
        let what = "its file system cannot share memory between processes, which the write-ahead log needs".into();
        return Err(LedgerError::Unwritable { file: path.display().to_string(), what });
    }
    for (name, value) in [("synchronous", 2), ("wal_autocheckpoint", 0), ("cache_size", CACHE_KIB), ("temp_store", 2)] {
        connection.pragma_update(None, name, value).map_err(of)?;
    }
    make(&mut connection, path)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens the file for reading, beside whoever writes it.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, LedgerError> {
    if !path.exists() {
        return Err(LedgerError::Missing { file: path.display().to_string() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let open = |name: &Path, flags| {
        let connection = Connection::open_with_flags(name, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(connection)
    };
    let opened = open(path, flags).or_else(|error| {
        // Who may not write beside the file cannot share memory with a writer, and need not where nothing waits in a log.
        let is_settled = std::fs::metadata(wal::beside(path)).map_or(true, |wal| wal.len() == 0);
        let name = format!("file:{}?immutable=1", path.display());
        if is_settled { open(Path::new(&name), flags | OpenFlags::SQLITE_OPEN_URI) } else { Err(error) }
    });
    let connection = opened.map_err(|error| LedgerError::of(path, &error))?;
    let (application, version) = versions(&connection, path)?;
    if application != APPLICATION {
        return Err(LedgerError::corrupt(path, "it is no ledger of tollgate"));
    }
    understood(path, version)?;
    Ok(connection)
}

/// Refuses a file that is shorter than it says.
fn is_whole(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count").and_then(|pages| Ok(pages * pragma("page_size")?)).map_err(|error| LedgerError::of(path, &error))?;
    let waits = std::fs::metadata(wal::beside(path)).is_ok_and(|wal| wal.len() > 0);
    let bytes = std::fs::metadata(path).map_err(|error| LedgerError::io(path, &error))?.len();
    if !waits && bytes < u64::try_from(pages).unwrap_or_default() {
        return Err(LedgerError::corrupt(path, format!("it has {bytes} bytes and should have {pages}")));
    }
    Ok(())
}

fn make(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    let of = |error: rusqlite::Error| LedgerError::of(path, &error);
    match versions(connection, path)? {
        (APPLICATION, version) => {
            understood(path, version)?;
            connection.execute_batch(DISPUTES).map_err(of)
        }
        (0, 0) => {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(of)?;
            let tables: i64 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(of)?;
            if tables > 0 {
                return Err(LedgerError::corrupt(path, "it is no ledger of tollgate"));
            }
            tx.execute_batch(TABLES)
                .and_then(|()| tx.execute_batch(&row::table()))
                .and_then(|()| tx.execute_batch(DISPUTES))
                .map_err(of)?;
            tx.pragma_update(None, "application_id", APPLICATION).map_err(of)?;
            tx.pragma_update(None, "user_version", VERSION).map_err(of)?;
            tx.commit().map_err(of)
        }
        _ => Err(LedgerError::corrupt(path, "it is no ledger of tollgate")),
    }
}

fn versions(connection: &Connection, path: &Path) -> Result<(i64, i64), LedgerError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    pragma("application_id").and_then(|id| Ok((id, pragma("user_version")?))).map_err(|error| LedgerError::of(path, &error))
}

fn understood(path: &Path, version: i64) -> Result<(), LedgerError> {
    if version > VERSION + 1 {
        return Err(LedgerError::Newer { file: path.display().to_string(), found: version, known: VERSION + 1 });
    }
    Ok(())
}
