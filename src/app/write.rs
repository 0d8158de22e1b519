use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// The next content of a file of the user: safe on disk beside it, and not yet in its place. Dropped, it is gone again.
#[derive(Debug)]
pub struct Staged {
    /// What links lead to, so that they stay links.
    path: PathBuf,
    /// Hidden, so that no `include` takes it for a file of its own.
    beside: PathBuf,
}

impl Staged {
    /// Lays `text` beside the file at `path` with that file's mode and owner; where there is none yet, with those of `like`.
    /// Fails with `PermissionDenied` where this user may not keep them.
    pub fn new(path: &Path, text: &str, like: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        fs::create_dir_all(&folder)?;
        let model = fs::metadata(&path).or_else(|_| fs::metadata(like)).ok();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = folder.join(format!(".{name}.new-{}", std::process::id()));
        let staged = Self { path, beside };
        // Nobody but its owner sees it before it has the mode that it is to have.
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&staged.beside)?;
        file.write_all(text.as_bytes())?;
        if let Some(model) = model {
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (model.uid(), model.gid()) {
                chown(&staged.beside, Some(model.uid()), Some(model.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(model.mode() & 0o7777))?;
        }
        file.sync_all()?;
        Ok(staged)
    }

    /// Puts it in its place, whole or not at all.
    pub fn commit(self) -> io::Result<()> {
        fs::rename(&self.beside, &self.path)?;
        File::open(self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already where it is in its place.
        fs::remove_file(&self.beside).ok();
    }
}
