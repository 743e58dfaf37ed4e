//! Reads a journal back.

use std::io::{self, BufRead, Read};

use super::entry::Entry;

/// The longest line that is looked at. The journal writes none above 4 KiB.
const LONGEST: u64 = 1 << 20;

/// Hands every entry of a journal to `each`, and returns how many lines are no entries: other text, or a line that
/// was cut off. Blank lines are not counted.
///
/// # Errors
///
/// The error of reading.
pub fn read(mut source: impl BufRead, mut each: impl FnMut(Entry)) -> io::Result<u64> {
    let (mut line, mut skipped) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = source.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(skipped);
        }
        if read as u64 == LONGEST && !line.ends_with(b"\n") {
            source.skip_until(b'\n')?;
            skipped += 1;
            continue;
        }
        let line = line.trim_ascii();
        match serde_json::from_slice(line) {
            _ if line.is_empty() => {}
            Ok(entry) => each(entry),
            Err(_) => skipped += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::entry::tests::entry;

    #[test]
    fn lines_that_are_no_entries_are_skipped_and_counted() {
        let good = entry().line().unwrap();
        let long = "x".repeat(3 << 20);
        // A later version may add keys.
        let newer = good.replacen('{', "{\"new\":{\"a\":1},", 1);
        let text = format!("{good}{{\"time\":\n\n  \n{long}\n{newer}\u{1}\n[]\n{}", good.trim_end());
        let mut entries = Vec::new();
        assert_eq!(read(text.as_bytes(), |entry| entries.push(entry)).unwrap(), 4);
        assert_eq!(entries, [entry(), entry(), entry()]);
        let cut = &good[..good.len() - 5];
        assert_eq!(read(cut.as_bytes(), |_| panic!("half a line is no entry")).unwrap(), 1);
    }

    #[test]
    fn bytes_of_any_kind_are_no_error() {
        assert_eq!(read(&b"\xff\xfe\n\0\n"[..], |_| panic!("no entry")).unwrap(), 2);
    }
}
