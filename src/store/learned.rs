use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::units::{Ratios, TargetName};

/// Ratios of another way to estimate mean nothing.
const VERSION: u32 = 1;
/// What is older is not believed: providers change what they count.
const BELIEVED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How estimates of prompts compare with what providers counted, by target: `learned.json` in the state folder. Losing it loses no
/// money: what was learned is learned again.
#[derive(Debug)]
pub struct Learned {
    path: PathBuf,
    /// What the file says, so that it is written only for something new.
    written: BTreeMap<TargetName, Ratios>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    written_at: Timestamp,
    /// True tokens per thousand estimated.
    targets: BTreeMap<String, Ratios>,
}

impl Learned {
    #[must_use]
    pub fn in_folder(state: &Path) -> Self {
        Self { path: state.join("learned.json"), written: BTreeMap::new() }
    }

    /// What was kept, within bounds. Nothing where there is no such file, or it is damaged, of another version, or above 30 days old.
    #[must_use]
    pub fn read(&self, now: Timestamp) -> BTreeMap<TargetName, Ratios> {
        let kept = fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let kept = kept.filter(|kept| kept.version == VERSION && now.duration_since(kept.written_at) <= BELIEVED);
        let targets = kept.map(|kept| kept.targets).unwrap_or_default();
        targets.into_iter().filter_map(|(name, ratios)| Some((TargetName::parse(&name).ok()?, ratios.bounded()))).collect()
    }

    /// Keeps what is learned now, whole or not at all. Does nothing where that is written already.
    pub fn write(&mut self, learned: BTreeMap<TargetName, Ratios>, now: Timestamp) -> io::Result<()> {
        if learned == self.written {
            return Ok(());
        }
        let targets = learned.iter().map(|(name, ratios)| (name.to_string(), *ratios)).collect();
        let beside = self.path.with_extension("json.new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(&Kept { version: VERSION, written_at: now, targets })?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        self.written = learned;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_read_again_unless_it_is_old_damaged_or_of_another_version() {
        let state = std::env::temp_dir().join(format!("tollgate-learned-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&state).unwrap();
        let (mut learned, now) = (Learned::in_folder(&state), "2026-06-01T00:00:00Z".parse::<Timestamp>().unwrap());
        assert!(learned.read(now).is_empty(), "there is no file yet");
        let ratios = BTreeMap::from([(TargetName::parse("openai/gpt-4o").unwrap(), Ratios { largest: 1_200, usual: 1_010 })]);
        learned.write(ratios.clone(), now).unwrap();
        assert_eq!(Learned::in_folder(&state).read(now), ratios);
        assert_eq!(learned.read(now + SignedDuration::from_hours(720)), ratios);
        assert!(learned.read(now + SignedDuration::from_hours(721)).is_empty(), "it is old");

        // What is written already is not written again.
        fs::remove_file(state.join("learned.json")).unwrap();
        learned.write(ratios, now).unwrap();
        assert!(!state.join("learned.json").exists());

        let said = |text: &str| {
            fs::write(state.join("learned.json"), text).unwrap();
            learned.read(now).into_values().collect::<Vec<_>>()
        };
        let text =
            |version: u32, targets: &str| format!(r#"{{"version":{version},"written_at":"2026-05-31T00:00:00Z","targets":{targets}}}"#);
        let one = r#"{"a/b":{"largest":99999,"usual":1},"no target":{"largest":1000,"usual":1000}}"#;
        assert_eq!(said(&text(1, one)), [Ratios { largest: 2_500, usual: 500 }]);
        assert_eq!(said(&text(2, one)), []);
        assert_eq!(said(&text(1, "[]")), []);
        assert_eq!(said("{\"version\":1"), []);
        fs::remove_dir_all(&state).unwrap();
    }
}
