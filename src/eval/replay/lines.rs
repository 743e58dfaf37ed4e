//! What the simple arms make of a text: some of its lines, or a placeholder.

use epitome_text::tokens::TokenCounter;

use crate::eval::statistics::random::SplitMix64;

/// Longer lines are cut, in bytes: a text of one line must not be kept or lost as a whole.
const LINE: usize = 400;

/// The first lines up to half of `tokens`, and the last ones up to the rest, with a line that says how many are left out.
pub(super) fn head_tail(text: &str, tokens: usize, counter: &dyn TokenCounter) -> String {
    let parts = parts(text);
    let sizes: Vec<usize> = parts.iter().map(|part| counter.count(part)).collect();
    let budget = tokens.saturating_sub(counter.count(&left_out(parts.len())));
    let mut used = 0;
    let mut fits = |size: &usize, ceiling: usize| {
        let fits = used + size <= ceiling;
        used += if fits { *size } else { 0 };
        fits
    };
    let head = sizes.iter().take_while(|size| fits(size, budget / 2)).count();
    let tail = sizes[head..].iter().rev().take_while(|size| fits(size, budget)).count();
    let out = parts.len() - head - tail;
    if out == 0 {
        return text.to_owned();
    }
    let mut kept = parts[..head].concat();
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    kept + &left_out(out) + &parts[parts.len() - tail..].concat()
}

/// Lines drawn at random, in the order of the text. The same text and size give the same lines.
pub(super) fn random(text: &str, tokens: usize, seed: u64, counter: &dyn TokenCounter) -> String {
    let parts = parts(text);
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let mut draw = SplitMix64::named(&["replay", &seed.to_string(), &hash]);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, draw.below(at + 1));
    }
    let mut left = tokens;
    let mut kept: Vec<usize> = Vec::new();
    for at in order {
        let size = counter.count(parts[at]);
        if size <= left {
            left -= size;
            kept.push(at);
        }
    }
    kept.sort_unstable();
    kept.into_iter().map(|at| parts[at]).collect()
}

/// What stands for a tool result that was masked.
pub(super) fn placeholder(text: &str) -> String {
    format!("[Tool result of {} lines left out]", text.lines().count())
}

fn left_out(lines: usize) -> String {
    format!("[{lines} lines left out]\n")
}

/// The lines with their breaks, long ones in parts.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while rest.len() > LINE {
            let (part, more) = rest.split_at(rest.floor_char_boundary(LINE));
            parts.push(part);
            rest = more;
        }
        parts.push(rest);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{super::message::tests::Words, *};

    #[test]
    fn both_ends_are_kept_within_the_size() {
        let text: String = (0..10).map(|n| format!("line {n}\n")).collect();
        // Four tokens are the mark, four the head, eight less the mark's the tail.
        assert_eq!(head_tail(&text, 12, &Words), "line 0\nline 1\n[6 lines left out]\nline 8\nline 9\n");
        assert_eq!(head_tail(&text, 99, &Words), text);
        assert_eq!(head_tail(&text, 0, &Words), "[10 lines left out]\n");
    }

    #[test]
    fn random_lines_are_the_same_each_time() {
        let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let one = random(&text, 20, 1, &Words);
        assert_eq!(one, random(&text, 20, 1, &Words));
        assert_ne!(one, random(&text, 20, 2, &Words));
        assert_eq!(one.lines().count(), 10);
        let numbers: Vec<u32> = one.lines().map(|line| line[5..].parse().unwrap()).collect();
        assert!(numbers.is_sorted());
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let text = "é".repeat(1000);
        let parts = parts(&text);
        assert!(parts.len() == 5 && parts.iter().all(|part| part.len() <= LINE));
        assert_eq!(parts.concat(), text);
    }
}
