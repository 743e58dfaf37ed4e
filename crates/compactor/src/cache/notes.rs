//! A few short values that outlive what the layers hold: files beside the segments, one for each key.

use std::{fs, io::Write, path::PathBuf, time::SystemTime};

use super::Key;

/// The folder of this layout.
const FOLDER: &str = "notes-v1";
/// Most notes; those written longest ago leave first.
const MOST: usize = 64;
/// Most bytes of a note.
const LONGEST: u64 = 4096;

pub(super) struct Notes {
    folder: PathBuf,
}

impl Notes {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { folder: directory.join(FOLDER) }
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name)
    }

    /// The note of `key`, if there is one and it can be read.
    pub(super) fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        let is_note = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
        is_note.then(|| fs::read(path).ok()).flatten()
    }

    /// Writes the note of `key`. That it cannot be written costs a line in the log.
    pub(super) fn put(&self, key: &Key, value: &[u8]) {
        if let Err(error) = self.write(key, value) {
            tracing::debug!(folder = %self.folder.display(), %error, "a note was not written");
        }
    }

    fn write(&self, key: &Key, value: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        super::disk::close_to_others(&self.folder, super::disk::FOLDER_MODE);
        // Another process may read it meanwhile: it is there as a whole, or not.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(value)?;
        file.persist(self.path(key)).map_err(|error| error.error)?;
        self.prune()
    }

    fn prune(&self) -> std::io::Result<()> {
        let mut all: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.folder)?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        all.sort();
        let extra = all.len().saturating_sub(MOST);
        for (_, path) in all.into_iter().take(extra) {
            // Another process may have been first.
            drop(fs::remove_file(path));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::KeyParts;

    fn key(name: &str) -> Key {
        Key::from(&KeyParts { stage: name, segment: b"", model: "", template: "", params: b"" })
    }

    #[test]
    fn notes_are_kept_replaced_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::new(folder.path().to_owned());
        assert_eq!(notes.get(&key("one")), None);
        notes.put(&key("one"), b"1");
        notes.put(&key("one"), b"2");
        assert_eq!(notes.get(&key("one")).as_deref(), Some(b"2".as_slice()));
        assert_eq!(Notes::new(folder.path().to_owned()).get(&key("one")).as_deref(), Some(b"2".as_slice()));
        for at in 0..2 * MOST {
            notes.put(&key(&at.to_string()), b"n");
        }
        assert_eq!(fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), MOST);
        // A folder that cannot be made is no error.
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let none = Notes::new(file);
        none.put(&key("one"), b"1");
        assert_eq!(none.get(&key("one")), None);
    }
}
