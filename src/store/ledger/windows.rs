//! The counters of every window that is in use, as they stand in the file.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use sha2::{Digest, Sha256};

use super::error::Trouble;
use crate::units::{BudgetName, Period, QuickMap, RememberedWindow, Usd, WindowKey};

/// One window's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) id: i64,
    pub(super) budget: i64,
    pub(super) period: Period,
    pub(super) starts: i64,
    pub(super) ends: Option<i64>,
    pub(super) granted: i64,
    pub(super) posted: i64,
    pub(super) disputed: i64,
    is_changed: bool,
}

/// Windows and the names of their budgets, read when they are first asked for.
#[derive(Debug, Default)]
pub(super) struct Windows {
    by_id: QuickMap<i64, Window>,
    by_key: QuickMap<(i64, Period, i64), i64>,
    budgets: QuickMap<BudgetName, i64>,
    names: QuickMap<i64, BudgetName>,
    changed: Vec<i64>,
}

const COLUMNS: &str = "SELECT id, budget, period, starts, ends, granted, posted, disputed, seal FROM windows";

impl Windows {
    /// Reads the names of all budgets, and the windows that have not ended by `now` or are not explained.
    pub(super) fn load(connection: &Connection, now: i64) -> Result<Self, Trouble> {
        let mut windows = Self::default();
        let mut names = connection.prepare("SELECT id, name FROM budgets")?;
        for row in names.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))? {
            let (id, name) = row?;
            let name = BudgetName::parse(&name).map_err(|_| Trouble::Damaged(format!("`{name}` is no budget's name")))?;
            windows.budgets.insert(name.clone(), id);
            windows.names.insert(id, name);
        }
        let live = format!(
            "{COLUMNS} WHERE ends > ?1 UNION ALL {COLUMNS} WHERE ends IS NULL
             UNION ALL {COLUMNS} WHERE granted > posted + disputed AND ends <= ?1"
        );
        let found: Vec<_> = connection.prepare(&live)?.query_map([now], |row| Ok(Window::read(row)))?.collect::<Result<_, _>>()?;
        for window in found {
            windows.keep(window?);
        }
        Ok(windows)
    }

    /// The id of that window, which begins with empty counters where it is met for the first time.
    pub(super) fn id(&mut self, key: &WindowKey, connection: &Connection) -> Result<i64, Trouble> {
        let budget = self.budget(&key.budget, connection)?;
        let starts = key.starts.as_microsecond();
        if let Some(id) = self.by_key.get(&(budget, key.period, starts)) {
            return Ok(*id);
        }
        let mut find = connection.prepare_cached(&format!("{COLUMNS} WHERE budget = ? AND period = ? AND starts = ?"))?;
        let found = find.query_row(params![budget, key.period.as_str(), starts], |row| Ok(Window::read(row))).optional()?;
        if let Some(window) = found {
            return Ok(self.keep(window?));
        }
        let ends = key.ends.map(Timestamp::as_microsecond);
        let mut window = Window { id: 0, budget, period: key.period, starts, ends, granted: 0, posted: 0, disputed: 0, is_changed: false };
        let mut add = connection.prepare_cached(
            "INSERT INTO windows (budget, period, starts, ends, granted, posted, disputed, seal) VALUES (?, ?, ?, ?, 0, 0, 0, zeroblob(16))",
        )?;
        window.id = add.insert(params![budget, key.period.as_str(), starts, ends])?;
        let id = self.keep(window);
        // Sealed with the other changes.
        self.change(id, connection, |_| {})?;
        Ok(id)
    }

    /// Changes one window's counters, in memory until [`Self::write`].
    pub(super) fn change(&mut self, id: i64, connection: &Connection, change: impl FnOnce(&mut Window)) -> Result<(), Trouble> {
        self.read(id, connection)?;
        let Some(window) = self.by_id.get_mut(&id) else { return Ok(()) };
        change(window);
        if !window.is_changed {
            window.is_changed = true;
            self.changed.push(id);
        }
        Ok(())
    }

    /// Writes what was changed.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for id in self.changed.drain(..) {
            let Some(window) = self.by_id.get_mut(&id) else { continue };
            window.is_changed = false;
            window.store(connection)?;
        }
        Ok(())
    }

    /// The budget goes on under another name. Answers false where nobody has the old one, or somebody has the new one.
    pub(super) fn rename(&mut self, was: &BudgetName, name: &BudgetName, connection: &Connection) -> rusqlite::Result<bool> {
        if self.budgets.contains_key(name) {
            return Ok(false);
        }
        let Some(id) = self.budgets.remove(was) else { return Ok(false) };
        self.budgets.insert(name.clone(), id);
        self.names.insert(id, name.clone());
        connection.execute("UPDATE budgets SET name = ? WHERE id = ?", params![name.as_str(), id])?;
        Ok(true)
    }

    /// Ids of all windows that are in memory.
    pub(super) fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn get(&mut self, id: i64, connection: &Connection) -> Result<Window, Trouble> {
        self.read(id, connection)?;
        self.by_id.get(&id).cloned().ok_or_else(|| Trouble::Damaged(format!("there is no window {id}")))
    }

    /// What others know that window by.
    pub(super) fn key(&mut self, id: i64, connection: &Connection) -> Result<WindowKey, Trouble> {
        let window = self.get(id, connection)?;
        let damaged = || Trouble::Damaged(format!("window {id} has no budget or begins at no moment"));
        Ok(WindowKey {
            budget: self.names.get(&window.budget).cloned().ok_or_else(damaged)?,
            period: window.period,
            starts: Timestamp::from_microsecond(window.starts).map_err(|_| damaged())?,
            ends: window.ends.and_then(|ends| Timestamp::from_microsecond(ends).ok()),
        })
    }

    /// All that is in memory, as a start tells it.
    pub(super) fn remembered(&mut self, connection: &Connection) -> Result<Vec<RememberedWindow>, Trouble> {
        let mut remembered = Vec::new();
        for id in self.ids() {
            let (key, window) = (self.key(id, connection)?, self.get(id, connection)?);
            remembered.push(RememberedWindow { key, posted: usd(window.posted), disputed: usd(window.disputed) });
        }
        Ok(remembered)
    }

    fn read(&mut self, id: i64, connection: &Connection) -> Result<(), Trouble> {
        if !self.by_id.contains_key(&id) {
            let mut find = connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?"))?;
            let found = find.query_row([id], |row| Ok(Window::read(row))).optional()?;
            let window = found.ok_or_else(|| Trouble::Damaged(format!("there is no window {id}")))??;
            self.keep(window);
        }
        Ok(())
    }

    fn keep(&mut self, window: Window) -> i64 {
        let id = window.id;
        self.by_key.insert((window.budget, window.period, window.starts), id);
        self.by_id.insert(id, window);
        id
    }

    fn budget(&mut self, name: &BudgetName, connection: &Connection) -> rusqlite::Result<i64> {
        if let Some(id) = self.budgets.get(name) {
            return Ok(*id);
        }
        let id = connection.prepare_cached("INSERT INTO budgets (name) VALUES (?)")?.insert([name.as_str()])?;
        self.budgets.insert(name.clone(), id);
        self.names.insert(id, name.clone());
        Ok(id)
    }
}

impl Window {
    /// A row whose seal holds.
    pub(super) fn read(row: &SqlRow<'_>) -> Result<Self, Trouble> {
        let period: String = row.get(2)?;
        let damaged = |id| Trouble::Damaged(format!("the counters of window {id} are not what was written"));
        let id = row.get(0)?;
        let window = Self {
            id,
            budget: row.get(1)?,
            period: Period::parse(&period).ok_or_else(|| damaged(id))?,
            starts: row.get(3)?,
            ends: row.get(4)?,
            granted: row.get(5)?,
            posted: row.get(6)?,
            disputed: row.get(7)?,
            is_changed: false,
        };
        let seal: [u8; 16] = row.get(8)?;
        if seal == window.seal() { Ok(window) } else { Err(damaged(id)) }
    }

    /// What is granted and cannot be explained.
    pub(super) fn unexplained(&self) -> i64 {
        self.granted.saturating_sub(self.posted.saturating_add(self.disputed)).max(0)
    }

    pub(super) fn post(&mut self, amount: i64) {
        self.posted = self.posted.saturating_add(amount).max(0);
    }

    pub(super) fn dispute(&mut self, amount: i64) {
        self.disputed = self.disputed.saturating_add(amount).max(0);
    }

    /// Writes the counters over those of its row.
    pub(super) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut update = connection.prepare_cached("UPDATE windows SET granted = ?, posted = ?, disputed = ?, seal = ? WHERE id = ?")?;
        update.execute(params![self.granted, self.posted, self.disputed, &self.seal()[..], self.id]).map(|_| ())
    }

    fn seal(&self) -> [u8; 16] {
        let mut hasher = Sha256::new();
        let ends = self.ends.unwrap_or(i64::MIN);
        for number in [self.id, self.budget, self.starts, ends, self.granted, self.posted, self.disputed] {
            hasher.update(number.to_le_bytes());
        }
        hasher.update(self.period.as_str());
        let mut seal = [0; 16];
        seal.copy_from_slice(&hasher.finalize()[..16]);
        seal
    }
}

pub(super) fn usd(nano: i64) -> Usd {
    Usd::from_nano(u64::try_from(nano).unwrap_or_default())
}
