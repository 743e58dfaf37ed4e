//! Runs the bodies of the fuzz targets on seeds and simple mutations of them, with the same inputs every
//! time.

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// Most bytes taken from a fixture, at any position.
const WINDOW: usize = 3000;
/// Tokens with a meaning in some format.
const WORDS: [&str; 24] = [
    "\n",
    "\n\n",
    "\r\n",
    "\"",
    "\\",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud800",
    "{",
    "}",
    "[",
    "],",
    "```\n",
    "---\n",
    "<div>",
    "</",
    "@@ -1,2 +1 @@\n",
    "é",
    "😀",
    "\u{feff}",
    "\u{0}",
    "\u{c}",
    "data: ",
    "2026-01-02 03:04:05 ERROR ",
];

/// Runs a body on `count` inputs derived from the target's seeds and from `fixtures`.
fn run(target: &str, fixtures: &[&str], count: usize, body: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = files(&root.join("fuzz/seeds").join(target));
    assert!(!seeds.is_empty());
    seeds.iter().enumerate().for_each(|(at, seed)| check(target, at, seed, body));
    seeds.extend(fixtures.iter().flat_map(|folder| files(&root.join("tests/fixtures").join(folder))));
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    // Multiplies the number of inputs for a long run.
    let times: usize =
        std::env::var("EPITOME_FUZZ_TIMES").map_or(1, |times| times.parse().expect("a number"));
    for at in 0..count * times {
        let input = mutated(&seeds, &mut random);
        check(target, at, &input, body);
    }
}

fn check(target: &str, at: usize, input: &[u8], body: fn(&[u8])) {
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}-{at}"));
        fs::write(&path, input).unwrap();
        panic!("input {at} of {target} breaks it; it is in {}", path.display());
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().filter(|path| path.is_file()).map(|path| fs::read(path).unwrap()).collect()
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(most)).min(length)
    }
}

/// A seed, or a part of one, with some mutations.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let seed = &seeds[random.below(seeds.len())];
    let start = if seed.len() <= WINDOW { 0 } else { random.below(seed.len() - WINDOW) };
    let mut input = seed[start..seed.len().min(start + WINDOW)].to_vec();
    for _ in 0..random.below(6) {
        let at = random.below(input.len() + 1);
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => input.truncate(at),
            3 => drop(input.drain(random.range(input.len(), 64))),
            4 => {
                let again = input[random.range(input.len(), 200)].to_vec();
                input.splice(at..at, again);
            }
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let part = other[random.range(other.len(), 400)].to_vec();
                input.splice(at..at, part);
            }
            6 => {
                let line = input[at..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(input.len(), |end| at + end + 1);
                let again = input[at..line].repeat(1 + random.below(3));
                input.splice(at..at, again);
            }
            _ => {
                input.splice(at..at, WORDS[random.below(WORDS.len())].bytes());
            }
        }
    }
    input
}

#[test]
fn requests() {
    run("request", &[], 3000, bodies::request);
}

#[test]
fn rows() {
    run("rows", &[], 2000, bodies::rows);
}

#[test]
fn material() {
    run("material", &["turns", "scripts"], 1500, bodies::material);
}

#[test]
fn kinds() {
    let fixtures = [
        "code", "columns", "csv", "diff", "html", "lines", "log", "pages", "scripts", "tests", "trace",
        "turns",
    ];
    run("kinds", &fixtures, 150, bodies::kinds);
}

#[test]
fn json() {
    run("json_text", &["json"], 1000, bodies::json_text);
}

#[test]
fn compaction() {
    let fixtures = [
        "code", "columns", "csv", "diff", "html", "json", "lines", "log", "pages", "scripts", "tests",
        "trace", "turns",
    ];
    run("compact", &fixtures, 150, bodies::compact);
}

#[test]
fn answers() {
    run("sse", &[], 3000, bodies::sse);
}

#[test]
fn model_files() {
    run("gguf", &[], 300, bodies::gguf);
    bodies::gguf(&bodies::smallest_gguf());
}
