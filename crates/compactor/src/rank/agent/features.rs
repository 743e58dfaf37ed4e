//! What is known of each line of a tool's result: which words of the call and of the conversation stand in it and near
//! it, what stands around it, what kind of line it is, and where.

use std::collections::HashMap;

use epitome_text::terms::is_stop_word;

use super::line::{Line, Mark, is_compound, parts, words};
use crate::compaction::Call;

/// Identifiers that were used last, and all that are looked at.
const RECENT: usize = 8;
const SEEN: usize = 60;
/// Characters of the words before the call, and of the task, from their ends; most words of a source.
const SAID: usize = 1500;
const TASK: usize = 2500;
const WORDS: usize = 500;
/// In how many lines a hit fades, and over how many it is spread.
const FADE: f32 = 4.0;
const SPREAD: f32 = 10.0;
const DENSITY: f32 = 6.0;
/// Rarest parts of words whose weights are summed.
const PARTS: usize = 4;

/// Words of programs and of talk about them that tell no line from another.
const COMMON: &[&str] = &[
    "func", "class", "let", "const", "var", "new", "nil", "null", "true", "false", "err", "error", "return",
    "string", "int", "self", "import", "public", "private", "static", "void", "type", "struct", "file",
    "files", "code", "line", "lines", "read", "check", "look", "need", "needs", "use", "used", "using",
    "get", "set", "end", "def", "all",
];

/// The names of arguments of tools, which are no words of a call.
const ARGUMENTS: &[&str] = &[
    "file_path",
    "path",
    "command",
    "description",
    "pattern",
    "output_mode",
    "limit",
    "offset",
    "subagent_type",
    "prompt",
];

/// One number per line.
type Column = Vec<f32>;

/// Numbers for words, in the order in which they come.
#[derive(Default)]
struct Words {
    known: HashMap<String, usize>,
}

impl Words {
    fn add(&mut self, word: &str) -> usize {
        let next = self.known.len();
        *self.known.entry(word.to_lowercase()).or_insert(next)
    }

    /// Numbers of the words of a line, each once.
    fn of<'w>(&mut self, all: impl Iterator<Item = &'w str>) -> Vec<usize> {
        let mut numbers: Vec<usize> = all.map(|word| self.add(word)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// How rare each is: the logarithm of the share of lines that have it.
    fn rarity(&self, lines: &[Vec<usize>]) -> Vec<f32> {
        let mut counts = vec![0_usize; self.known.len()];
        for word in lines.iter().flatten() {
            if let Some(count) = counts.get_mut(*word) {
                *count += 1;
            }
        }
        counts.into_iter().map(|count| ((lines.len() + 1) as f32 / count.max(1) as f32).ln()).collect()
    }

    /// Which of them stand among `wanted`.
    fn among(&self, wanted: &[String]) -> Vec<bool> {
        let mut among = vec![false; self.known.len()];
        for word in wanted {
            if let Some(found) = self.known.get(word).and_then(|number| among.get_mut(*number)) {
                *found = true;
            }
        }
        among
    }
}

/// The words of a line, in numbers, and how rare each is.
struct Text<'a> {
    lines: Vec<Line<'a>>,
    names: Vec<Vec<usize>>,
    parts: Vec<Vec<usize>>,
    name_words: Words,
    part_words: Words,
    name_rarity: Vec<f32>,
    part_rarity: Vec<f32>,
    /// Of the whole text: what every rarity is measured by.
    most: f32,
}

/// What one source of words says of each line.
struct Hits {
    /// The rarest name of the source in the line.
    name: Column,
    /// The rarest part of a name.
    part: Column,
    /// The rarest few parts together.
    sum: Column,
}

impl<'a> Text<'a> {
    fn of(text: &'a str) -> Self {
        let lines: Vec<Line<'a>> = text.split('\n').map(Line::of).collect();
        let (mut name_words, mut part_words) = (Words::default(), Words::default());
        let told = |word: &&str| !word.bytes().all(|byte| byte.is_ascii_digit()) || word.len() > RECENT / 2;
        let names: Vec<_> = lines.iter().map(|line| name_words.of(words(line.body).filter(told))).collect();
        let parts: Vec<_> =
            lines.iter().map(|line| part_words.of(words(line.body).flat_map(parts))).collect();
        let (name_rarity, part_rarity) = (name_words.rarity(&names), part_words.rarity(&parts));
        let most = ((lines.len() + 1) as f32).ln();
        Self { lines, names, parts, name_words, part_words, name_rarity, part_rarity, most }
    }

    fn hits(&self, source: &str) -> Hits {
        let (mut names, mut own_parts) = (Vec::new(), Vec::new());
        let says = |word: &str| !COMMON.contains(&word) && !is_stop_word(word);
        for word in words(source).take(WORDS).filter(|word| !ARGUMENTS.contains(word)) {
            names.push(word.to_lowercase());
            own_parts.extend(parts(word).into_iter().map(str::to_lowercase));
        }
        names.retain(|word| says(word));
        own_parts.retain(|word| says(word));
        let (names, own_parts) = (self.name_words.among(&names), self.part_words.among(&own_parts));
        let found = |line: &[usize], among: &[bool], rarity: &[f32]| -> Vec<f32> {
            let own = line.iter().filter(|word| among.get(**word) == Some(&true));
            let mut found: Vec<f32> =
                own.filter_map(|word| rarity.get(*word)).map(|r| r / self.most).collect();
            found.sort_by(|a, b| b.total_cmp(a));
            found
        };
        let mut hits = Hits { name: Vec::new(), part: Vec::new(), sum: Vec::new() };
        for (line, line_parts) in self.names.iter().zip(&self.parts) {
            hits.name.push(found(line, &names, &self.name_rarity).first().copied().unwrap_or_default());
            let found = found(line_parts, &own_parts, &self.part_rarity);
            hits.part.push(found.first().copied().unwrap_or_default());
            hits.sum.push(found.iter().take(PARTS).sum::<f32>() / PARTS as f32);
        }
        hits
    }
}

/// The weighted sum of columns.
fn mixed(columns: &[(&Column, f32)], count: usize) -> Column {
    let mut out = vec![0.0; count];
    for (column, weight) in columns {
        out.iter_mut().zip(*column).for_each(|(out, value)| *out += weight * value);
    }
    out
}

/// What of the lines before fades to each line; a line counts for itself.
fn fading<'c>(column: impl Iterator<Item = &'c f32>) -> Column {
    let keep = (-1.0 / FADE).exp();
    let mut value = 0.0_f32;
    column
        .map(|own| {
            value = own.max(value * keep);
            value
        })
        .collect()
}

fn before(column: &Column) -> Column {
    fading(column.iter())
}

fn behind(column: &Column) -> Column {
    let mut out = fading(column.iter().rev());
    out.reverse();
    out
}

/// The mean around each line, near ones counting more.
fn around(column: &Column, lines: f32) -> Column {
    let keep = (-1.0 / lines).exp();
    let mut value = 0.0;
    let mut out: Column = column
        .iter()
        .map(|own| {
            value = own + value * keep;
            value
        })
        .collect();
    value = 0.0;
    for (out, own) in out.iter_mut().zip(column).rev() {
        *out += value * keep;
        value = own + value * keep;
    }
    let all = 2.0 / (1.0 - keep) - 1.0;
    out.iter_mut().for_each(|value| *value /= all);
    out
}

/// The group of each line, counted from 0: stretches between blank lines, or what hangs under a line that is not
/// indented.
fn stretches(lines: &[Line<'_>]) -> Vec<usize> {
    let (mut group, mut open) = (0, false);
    lines
        .iter()
        .map(|line| {
            let blank = line.has(Mark::Blank);
            group += usize::from(!blank && !open);
            open = !blank;
            group
        })
        .collect()
}

fn sections(lines: &[Line<'_>]) -> Vec<usize> {
    let base = lines.iter().filter(|line| !line.has(Mark::Blank)).map(|line| line.indent).min().unwrap_or(0);
    let mut group = 0;
    let mut last: Option<&Line<'_>> = None;
    lines
        .iter()
        .map(|line| {
            let closes = line.body.trim_start().starts_with(['}', ')', ']']);
            let heads = last.is_none_or(|last| last.has(Mark::Blank) || last.indent > base);
            let begins = !line.has(Mark::Blank) && line.indent <= base && !closes;
            group += usize::from(begins && (heads || line.has(Mark::Signature)));
            last = Some(line);
            group
        })
        .collect()
}

/// What is known of the group of each line.
fn groups(of: &[usize], hits: &Column, sums: &Column, out: &mut Vec<Column>) {
    let count = of.last().map_or(0, |last| last + 1);
    let (mut sizes, mut first) = (vec![0.0_f32; count], vec![usize::MAX; count]);
    let (mut most, mut sum, mut head) = (vec![0.0_f32; count], vec![0.0_f32; count], vec![0.0_f32; count]);
    for (line, (group, (hit, own))) in of.iter().zip(hits.iter().zip(sums)).enumerate() {
        if first[*group] == usize::MAX {
            (first[*group], head[*group]) = (line, *own);
        }
        sizes[*group] += 1.0;
        most[*group] = most[*group].max(*hit);
        sum[*group] += own;
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| most[*b].total_cmp(&most[*a]).then(a.cmp(b)));
    let mut rank = vec![0.0_f32; count];
    order.iter().enumerate().for_each(|(at, group)| rank[*group] = at as f32 / count as f32);
    let each = |value: &dyn Fn(usize, usize) -> f32| -> Column {
        of.iter().enumerate().map(|(line, group)| value(line, *group)).collect()
    };
    let offset = |line: usize, group: usize| (line - first[group]) as f32;
    out.push(each(&|_, group| most[group]));
    out.push(each(&|_, group| sum[group] / sizes[group]));
    out.push(each(&|_, group| sizes[group].ln_1p()));
    out.push(each(&|line, group| offset(line, group) / sizes[group]));
    out.push(each(&|line, group| offset(line, group).ln_1p()));
    out.push(each(&|_, group| rank[group]));
    out.push(each(&|_, group| head[group]));
    out.push(vec![(count as f32).ln_1p(); of.len()]);
}

/// The last characters of a text.
fn end(text: &str, most: usize) -> &str {
    let start = text.char_indices().rev().nth(most).map_or(0, |(at, _)| at);
    text.get(start..).unwrap_or_default()
}

/// The names that a conversation used, as a text of words.
fn named(seen: &[String], range: std::ops::Range<usize>) -> String {
    let own = seen.get(range.start.min(seen.len())..range.end.min(seen.len()));
    own.unwrap_or_default().join(" ")
}

/// Whether a tool lists what it finds.
fn lists(tool: &str) -> bool {
    ["grep", "glob", "ls", "find", "search", "lsp"].iter().any(|name| tool.eq_ignore_ascii_case(name))
}

/// For each feature a column with a number for each line of `text`, which the call of `tool` with `arguments` gave.
pub fn columns(text: &str, tool: &str, arguments: &str, call: &Call) -> Vec<Column> {
    let text = Text::of(text);
    let count = text.lines.len();
    let sources = [
        arguments.to_owned(),
        end(&call.said, SAID).to_owned(),
        end(&call.task, TASK).to_owned(),
        named(&call.seen, 0..RECENT),
        named(&call.seen, RECENT..SEEN),
    ];
    let hits = sources.each_ref().map(|source| text.hits(source));
    let [asked, said, task, recent, seen] = &hits;
    let mut out: Vec<Column> = Vec::new();

    let weights = [1.0, 1.0, 0.6, 0.8, 0.4];
    let all = |of: &dyn Fn(&Hits) -> Column| {
        let columns = hits.each_ref().map(of);
        mixed(&columns.iter().zip(weights).collect::<Vec<_>>(), count)
    };
    let (names, sums) = (all(&|hits| hits.name.clone()), all(&|hits| hits.sum.clone()));
    let spread = [&names, &sums, &asked.name, &asked.sum, &said.name, &said.sum, &recent.name, &recent.sum];
    for column in spread {
        out.extend([before(column), behind(column), around(column, SPREAD)]);
    }
    out.push(around(&task.name, SPREAD));
    out.push(around(&seen.name, SPREAD));
    groups(&stretches(&text.lines), &names, &sums, &mut out);
    groups(&sections(&text.lines), &names, &sums, &mut out);
    out.extend([names, sums]);
    for Hits { name, part, sum } in hits {
        out.extend([name, part, sum]);
    }
    marks(&text.lines, &mut out);
    places(&text.lines, &mut out);
    content(&text, &mut out);
    let flag = |value: bool| vec![f32::from(u8::from(value)); count];
    out.push(flag(lists(tool)));
    out.push(vec![call.seen.len().min(SEEN) as f32 / SEEN as f32; count]);
    out
}

/// The marks of each line, and how dense some are around it.
fn marks(lines: &[Line<'_>], out: &mut Vec<Column>) {
    let dense = [Mark::Comment, Mark::Figure, Mark::Quoted, Mark::Import, Mark::Failure, Mark::Test];
    let each =
        |mark: Mark| -> Column { lines.iter().map(|line| f32::from(u8::from(line.has(mark)))).collect() };
    out.extend(Mark::ALL.map(each));
    out.extend(dense.map(|mark| around(&each(mark), DENSITY)));
}

/// Where each line stands, and how far it is indented.
fn places(lines: &[Line<'_>], out: &mut Vec<Column>) {
    let count = lines.len();
    let each = |value: &dyn Fn(usize) -> f32| -> Column { (0..count).map(value).collect() };
    let relative = |at: usize| at as f32 / count.saturating_sub(1).max(1) as f32;
    let shown = lines.iter().filter(|line| !line.has(Mark::Blank)).map(|line| line.indent);
    let base = shown.min().unwrap_or(0);
    let indent =
        |at: usize| lines.get(at).map_or(0, |line| line.indent.saturating_sub(base).min(40)) as f32 / 4.0;
    out.push(each(&relative));
    out.push(each(&|at| (relative(at) - 0.5).abs()));
    out.push(each(&|at| (at as f32).ln_1p()));
    out.push(each(&|at| ((count - 1 - at) as f32).ln_1p()));
    out.push(each(&indent));
    out.push(each(&|at| if at + 1 < count { (indent(at + 1) - indent(at)).clamp(-2.0, 2.0) } else { 0.0 }));
    out.push(vec![(count as f32).ln_1p(); count]);
}

/// How much a line says: its length, how rare its words are, what of it is new.
fn content(text: &Text<'_>, out: &mut Vec<Column>) {
    let lines = &text.lines;
    let each = |value: &dyn Fn(&Line<'_>) -> f32| -> Column { lines.iter().map(value).collect() };
    let length: Column = each(&|line| (line.body.trim().len() as f32).ln_1p());
    out.push(around(&length, DENSITY));
    out.push(length);
    out.push(text.names.iter().map(|words| (words.len() as f32).ln_1p()).collect());
    out.push(each(&|line| line.letters as f32 / line.body.trim().chars().count().max(1) as f32));
    out.push(each(&|line| (words(line.body).filter(|word| is_compound(word)).count() as f32).ln_1p()));
    let rarity = |of: &[usize]| -> Vec<f32> {
        of.iter().filter_map(|word| text.name_rarity.get(*word)).map(|rarity| rarity / text.most).collect()
    };
    out.push(text.names.iter().map(|own| rarity(own).into_iter().fold(0.0, f32::max)).collect());
    out.push(
        text.names.iter().map(|own| rarity(own).iter().sum::<f32>() / own.len().max(1) as f32).collect(),
    );

    let mut had = vec![false; text.name_rarity.len()];
    let mut is_new = |word: &usize| had.get_mut(*word).is_some_and(|had| !std::mem::replace(had, true));
    let mut new = Vec::with_capacity(lines.len());
    for own in &text.names {
        new.push(own.iter().filter(|word| is_new(word)).count() as f32 / own.len().max(1) as f32);
    }
    out.push(around(&new, DENSITY));
    out.push(new);

    // The same but for figures.
    let pattern = |line: &Line<'_>| -> String {
        let mut pattern = String::with_capacity(line.body.len());
        for c in line.body.trim().chars() {
            let figure = c.is_ascii_digit();
            if !figure || !pattern.ends_with('0') {
                pattern.push(if figure { '0' } else { c });
            }
        }
        pattern
    };
    let mut alike: HashMap<String, usize> = HashMap::new();
    let patterns: Vec<String> = lines.iter().map(pattern).collect();
    for pattern in &patterns {
        *alike.entry(pattern.clone()).or_default() += 1;
    }
    out.push(patterns.iter().map(|pattern| (alike.get(pattern).copied().unwrap_or(1) as f32).ln()).collect());

    let mut times: HashMap<&str, usize> = HashMap::new();
    out.push(
        lines
            .iter()
            .map(|line| match line.path {
                Some(path) => {
                    let times = times.entry(path).or_default();
                    *times += 1;
                    ((*times - 1) as f32).ln_1p()
                }
                None => -1.0,
            })
            .collect(),
    );
}
