//! A run's progress and a short summary of its results, for people, on standard error.

use std::fmt::Write as _;

use crate::{display::Display, eval::record::Record};

/// Accumulates records and shows the run's progress.
pub struct Account {
    display: Display,
    done: u64,
    total: u64,
    /// The task of the last record.
    task: String,
    lines: Vec<Line>,
    readers: Vec<String>,
    /// Rows without an answer from a reader.
    unanswered: u64,
    failed: u64,
}

/// One arm at one budget, over all tasks.
struct Line {
    arm: String,
    budget: String,
    rows: u64,
    tokens_full: u64,
    tokens: u64,
    answer_kept: Mean,
    gold_kept: Mean,
    /// Recall of ROUGE-2 of whole texts: how far the others of a row are is not known yet.
    rouge2: Mean,
    filler: Mean,
    scores: Vec<Mean>,
}

#[derive(Clone, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.count += 1;
        }
    }

    fn text(&self) -> String {
        if self.count == 0 { "-".to_owned() } else { format!("{:.3}", self.sum / self.count as f64) }
    }
}

impl Account {
    /// For a run of `total` records, of which `done` are in the file; the caller passes those to
    /// [`Account::known`].
    pub fn new(readers: &[String], total: usize, done: usize) -> Self {
        Self {
            display: Display::new(Some(total as u64), done as u64),
            done: 0,
            total: total as u64,
            task: String::new(),
            lines: Vec::new(),
            readers: readers.to_vec(),
            unanswered: 0,
            failed: 0,
        }
    }

    /// Counts a record that was just written.
    pub fn add(&mut self, record: &Record) {
        self.known(record);
        if self.task != record.task {
            self.task.clone_from(&record.task);
        }
        self.show();
    }

    /// Shows the progress. Call it now and then while waiting for a long cell.
    pub(super) fn show(&mut self) {
        let (done, total, task) = (self.done, self.total, &self.task);
        let of_task = if task.is_empty() { String::new() } else { format!(", {task}") };
        self.display.update(done, || format!("{done} of {total} records{of_task}"));
    }

    /// Counts a record that was already in the file.
    pub fn known(&mut self, record: &Record) {
        self.done += 1;
        let at = self.lines.iter().position(|line| line.arm == record.arm && line.budget == record.budget);
        let at = at.unwrap_or_else(|| {
            self.lines.push(Line::new(record, self.readers.len()));
            self.lines.len() - 1
        });
        let Some(line) = self.lines.get_mut(at) else { return };
        match &record.reader {
            None => {
                line.rows += 1;
                line.tokens_full += record.tokens_full as u64;
                line.tokens += record.tokens as u64;
                line.answer_kept.add(record.answer_kept.map(f64::from));
                line.gold_kept.add(record.gold_kept);
                line.rouge2.add(record.rouge.as_ref().map(|rouge| rouge.rouge2.recall));
                line.filler.add(record.filler);
                self.failed += u64::from(record.outcome == "failed");
            }
            Some(reader) => {
                let index = self.readers.iter().position(|name| name == reader);
                if let Some(mean) = index.and_then(|index| line.scores.get_mut(index)) {
                    mean.add(record.score);
                }
                self.unanswered += u64::from(record.answer.is_none());
            }
        }
    }

    /// Writes a line above the progress bar.
    pub fn tell(&self, line: &str) {
        self.display.print_line(line);
    }

    /// Removes the bar and writes the table.
    pub fn finish(&self) {
        self.display.clear();
        self.display.print_line(self.table().trim_end());
        if self.failed > 0 {
            let failed = self.failed;
            self.display.print_line(&format!(
                "{failed} compactions failed; there the original counts, as in the proxy"
            ));
        }
        if self.unanswered > 0 {
            let unanswered = self.unanswered;
            self.display.print_line(&format!(
                "{unanswered} prompts got no answer, most likely because they do not fit into the reader's \
                 context; their records have no score and say why"
            ));
        }
    }

    fn table(&self) -> String {
        let mut rows = vec![vec![
            "arm".to_owned(),
            "budget".to_owned(),
            "rows".to_owned(),
            "tokens".to_owned(),
            "answer kept".to_owned(),
            "gold kept".to_owned(),
        ]];
        let summaries = self.lines.iter().any(|line| line.rouge2.count > 0);
        if let Some(head) = rows.first_mut() {
            if summaries {
                head.extend(["rouge2 (uncut)", "filler"].map(str::to_owned));
            }
            head.extend(self.readers.iter().cloned());
        }
        rows.extend(self.lines.iter().map(|line| {
            let share = 100.0 * line.tokens as f64 / line.tokens_full.max(1) as f64;
            let mut cells = vec![
                line.arm.clone(),
                line.budget.clone(),
                line.rows.to_string(),
                format!("{share:.1}%"),
                line.answer_kept.text(),
                line.gold_kept.text(),
            ];
            if summaries {
                cells.extend([line.rouge2.text(), line.filler.text()]);
            }
            cells.extend(line.scores.iter().map(Mean::text));
            cells
        }));
        let columns = rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = String::new();
        for row in &rows {
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Writing to a string cannot fail.
                let _ = match at {
                    0 => write!(text, "{cell:<width$}"),
                    1 => write!(text, "  {cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

impl Line {
    fn new(record: &Record, readers: usize) -> Self {
        Self {
            arm: record.arm.clone(),
            budget: record.budget.clone(),
            rows: 0,
            tokens_full: 0,
            tokens: 0,
            answer_kept: Mean::default(),
            gold_kept: Mean::default(),
            rouge2: Mean::default(),
            filler: Mean::default(),
            scores: vec![Mean::default(); readers],
        }
    }
}
