//! Writes the features of every line of tool results, for `agent.py`. Reads rows `{"tool", "arguments", "said", "task",
//! "seen", "context"}` from standard input, one per line. For each writes the numbers of its lines and of features, and
//! then the features of line after line: 32 bits each, little-endian.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufWriter, Write};

use epitome_compactor::{compaction::Call, internals::columns};
use serde_json::Value;

fn main() {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let seen = row["seen"].as_array().unwrap().iter();
        let call = Call {
            said: text("said"),
            task: text("task"),
            seen: seen.map(|name| name.as_str().unwrap().to_owned()).collect(),
            stands: Vec::new(),
        };
        let columns = columns(&text("context"), &text("tool"), &text("arguments"), &call);
        let lines = columns.first().map_or(0, Vec::len);
        for count in [lines, columns.len()] {
            out.write_all(&u32::try_from(count).unwrap().to_le_bytes()).unwrap();
        }
        for line in 0..lines {
            for column in &columns {
                out.write_all(&column[line].to_le_bytes()).unwrap();
            }
        }
    }
    out.flush().unwrap();
}
