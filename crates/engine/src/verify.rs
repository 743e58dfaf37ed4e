//! SHA-256 of model files, cached so that a file is hashed once rather than at every start.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ModelError, error::at};

/// Caches the hash of a file for as long as its size and modification time stay the same. The notes are in
/// our own directory, because the file's directory may be read-only.
#[derive(Clone, Debug)]
pub(crate) struct Verifier {
    notes: PathBuf,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    path: PathBuf,
    bytes: u64,
    modified_nanos: u128,
    sha256: String,
}

impl Verifier {
    pub(crate) fn new(notes: PathBuf) -> Self {
        Self { notes }
    }

    /// The file's hash, from its note if that is still valid.
    pub(crate) fn hash(&self, path: &Path) -> Result<String, ModelError> {
        self.lookup(path, false)
    }

    /// The file's hash, computed anew.
    pub(crate) fn rehash(&self, path: &Path) -> Result<String, ModelError> {
        self.lookup(path, true)
    }

    fn lookup(&self, path: &Path, anew: bool) -> Result<String, ModelError> {
        let path = &path.canonicalize().map_err(at(path))?;
        let metadata = path.metadata().map_err(at(path))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let note_path = self.note_path(path);
        let noted = (!anew).then(|| fs::read(&note_path).ok()).flatten();
        if let Some(note) = noted.and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok())
            && note.path == *path
            && note.bytes == metadata.len()
            && modified.is_some_and(|time| time.as_nanos() == note.modified_nanos)
        {
            return Ok(note.sha256);
        }
        let sha256 = sha256_of(path)?;
        if let Some(time) = modified {
            let note = Note {
                path: path.clone(),
                bytes: metadata.len(),
                modified_nanos: time.as_nanos(),
                sha256: sha256.clone(),
            };
            if let Err(error) = self.write(&note_path, &note) {
                tracing::debug!(%error, "the hash of a model file is not remembered");
            }
        }
        Ok(sha256)
    }

    fn write(&self, note_path: &Path, note: &Note) -> io::Result<()> {
        fs::create_dir_all(&self.notes)?;
        let mut temporary = tempfile::NamedTempFile::new_in(&self.notes)?;
        temporary.write_all(&serde_json::to_vec(note)?)?;
        temporary.persist(note_path)?;
        Ok(())
    }

    fn note_path(&self, path: &Path) -> PathBuf {
        let key = blake3::hash(path.as_os_str().as_encoded_bytes());
        self.notes.join(format!("{}.json", key.to_hex()))
    }
}

/// SHA-256 of a file, lower-case hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> Result<String, ModelError> {
    let mut file = File::open(path).map_err(at(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(at(path))? {
            0 => break,
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Lower-case hexadecimal encoding.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_hashed_again() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("f");
        let verifier = Verifier::new(dir.path().join("notes"));
        fs::write(&file, "abc")?;
        let first = verifier.hash(&file)?;
        assert_eq!(first, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        fs::write(&file, "abcd")?;
        assert_ne!(verifier.hash(&file)?, first);
        Ok(())
    }

    #[test]
    fn a_valid_note_is_used_unless_bypassed() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("f");
        let verifier = Verifier::new(dir.path().join("notes"));
        fs::write(&file, "abc")?;
        let honest = verifier.hash(&file)?;
        let note_path = verifier.note_path(&file.canonicalize()?);
        let mut note: Note = serde_json::from_slice(&fs::read(&note_path)?)?;
        note.sha256 = "noted".into();
        fs::write(&note_path, serde_json::to_vec(&note)?)?;
        assert_eq!(verifier.hash(&file)?, "noted");
        assert_eq!(verifier.rehash(&file)?, honest);
        assert_eq!(verifier.hash(&file)?, honest);
        Ok(())
    }
}
