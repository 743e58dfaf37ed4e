//! Measurements that do not fit criterion: some take too long to repeat ten times, others are pairs whose
//! difference is the figure.

use std::{
    env,
    hint::black_box,
    io::{self, Write},
    time::{Duration, Instant},
};

/// Which measurements the command line selects, with criterion's syntax.
pub struct Asked {
    filter: Option<String>,
    list: bool,
    once: bool,
}

impl Asked {
    /// Reads the command line. Options with a value must be written as `--option=value`.
    pub fn read() -> Self {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        Self {
            filter: arguments.iter().find(|argument| !argument.starts_with('-')).cloned(),
            list: has("--list"),
            once: has("--test") || !has("--bench"),
        }
    }

    fn rounds(&self, name: &str, rounds: usize) -> Option<usize> {
        let wanted = !self.list && self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
        wanted.then_some(if self.once { 1 } else { rounds })
    }
}

/// Prints the median of `rounds` runs of `work`, and the throughput for `elements` tokens.
pub fn median_of<T>(asked: &Asked, name: &str, rounds: usize, elements: usize, mut work: impl FnMut() -> T) {
    let Some(rounds) = asked.rounds(name, rounds) else { return };
    let mut times: Vec<Duration> = (0..rounds).map(|_| timed(&mut work)).collect();
    times.sort();
    let median = middle(&times);
    say(&format!(
        "{name}: median {median:.3?} of {rounds} ({:.3?} to {:.3?}), {:.0} elements/s",
        times[0],
        times[rounds - 1],
        elements as f64 / median.as_secs_f64()
    ));
}

/// Runs `base` and `other` alternately, `rounds` times each after a warm-up of a tenth as many rounds, and
/// prints the medians, their difference and their ratio. The two take turns at going first.
pub fn compare<T, U>(
    asked: &Asked,
    name: &str,
    rounds: usize,
    (base_name, mut base): (&str, impl FnMut() -> T),
    (other_name, mut other): (&str, impl FnMut() -> U),
) {
    let Some(rounds) = asked.rounds(name, rounds) else { return };
    for _ in 0..rounds / 10 {
        black_box(base());
        black_box(other());
    }
    let (mut bases, mut others) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..rounds {
        if round % 2 == 0 {
            bases.push(timed(&mut base));
            others.push(timed(&mut other));
        } else {
            others.push(timed(&mut other));
            bases.push(timed(&mut base));
        }
    }
    bases.sort();
    others.sort();
    let (a, b) = (middle(&bases), middle(&others));
    say(&format!(
        "{name}: {base_name} {a:.1?}, {other_name} {b:.1?}, difference {:+.1} µs, ratio {:.2} (medians of {rounds})",
        (b.as_secs_f64() - a.as_secs_f64()) * 1e6,
        b.as_secs_f64() / a.as_secs_f64()
    ));
}

fn timed<T>(work: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    let result = black_box(work());
    let time = start.elapsed();
    drop(result);
    time
}

fn middle(sorted: &[Duration]) -> Duration {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2 }
}

fn say(line: &str) {
    writeln!(io::stdout().lock(), "{line}").expect("standard output");
}
