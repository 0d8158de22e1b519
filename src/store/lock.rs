use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Keeps a state folder for one daemon. Free again when this is dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a state folder could not be had.
#[derive(Debug)]
pub enum Unlocked {
    /// Another daemon has it; its process id, where it could be read.
    Held(Option<u32>),
    Failed(io::Error),
}

impl Lock {
    /// Takes the folder, or says who has it. A file system without locks is told and put up with.
    pub fn take(state: &Path) -> Result<Self, Unlocked> {
        let path = state.join("lock");
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(Unlocked::Failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                file.read_to_string(&mut owner).ok();
                return Err(Unlocked::Held(owner.trim().parse().ok()));
            }
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, "the state folder cannot be locked: see that no other daemon uses it");
            }
        }
        let owner = format!("{}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(owner.as_bytes()));
        written.map_err(Unlocked::Failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l04_a_held_folder_names_its_owner_until_it_is_free() {
        let state = std::env::temp_dir().join(format!("tollgate-lock-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&state).unwrap();
        let held = Lock::take(&state).unwrap();
        assert!(matches!(Lock::take(&state), Err(Unlocked::Held(Some(owner))) if owner == std::process::id()));
        drop(held);
        Lock::take(&state).unwrap();
        assert!(matches!(Lock::take(&state.join("nowhere")), Err(Unlocked::Failed(_))));
        std::fs::remove_dir_all(state).unwrap();
    }
}
