//! What a run consists of, in the order of its records.

use epitome_compactor::Budget;

use crate::eval::{
    arms::Arm,
    record::Record,
    row::Row,
    suite::{ArmSpec, Suite},
    tasks::Task,
};

/// One row through one arm at one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Index of the task.
    pub task: usize,
    /// Index of the row in its task.
    pub row: usize,
    /// Index of the arm.
    pub arm: usize,
    /// The size; none for an arm without one.
    pub budget: Option<Budget>,
}

/// All cells of a run: by task, then row, then arm, then budget. Each gives a record without a reader,
/// and then one for each reader.
#[derive(Debug)]
pub struct Cells<'a> {
    tasks: &'a [Task],
    arms: Vec<String>,
    readers: Vec<String>,
    cells: Vec<Cell>,
}

impl<'a> Cells<'a> {
    /// The cells of `suite` over its tasks and through its arms, both in its order. A row of which an
    /// arm has nothing to say is left out there, and so is a budget that the arm cannot keep to
    /// ([`left_out`]).
    pub fn new(suite: &Suite, tasks: &'a [Task], arms: &[Arm]) -> Self {
        let sizes: Vec<Vec<Option<Budget>>> = suite
            .arms
            .iter()
            .map(|arm| match arm.kind.takes_budget() {
                true => arm.sizes(suite).filter(|size| arm.kind.keeps_to(*size)).map(Some).collect(),
                false => vec![None],
            })
            .collect();
        let mut cells = Vec::new();
        for (task, rows) in tasks.iter().enumerate() {
            for (row, content) in rows.rows.iter().enumerate() {
                for (index, (arm, sizes)) in arms.iter().zip(&sizes).enumerate() {
                    if arm.applies(content) {
                        cells.extend(sizes.iter().map(|budget| Cell {
                            task,
                            row,
                            arm: index,
                            budget: *budget,
                        }));
                    }
                }
            }
        }
        let arms = arms.iter().map(|arm| arm.name().to_owned()).collect();
        let readers = suite.readers.iter().map(|reader| reader.name.clone()).collect();
        Self { tasks, arms, readers, cells }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// How many records a cell gives.
    pub fn records_each(&self) -> usize {
        1 + self.readers.len()
    }

    /// How many records all of them give.
    pub fn records(&self) -> usize {
        self.len() * self.records_each()
    }

    /// A cell and its row.
    pub fn get(&self, index: usize) -> Option<(Cell, &'a Row)> {
        let cell = *self.cells.get(index)?;
        Some((cell, self.tasks.get(cell.task)?.rows.get(cell.row)?))
    }

    /// Whether `record` is the one at `index`.
    pub fn is_record(&self, index: usize, record: &Record) -> bool {
        let Some((cell, row)) = self.get(index / self.records_each()) else { return false };
        let reader = (index % self.records_each()).checked_sub(1).and_then(|at| self.readers.get(at));
        record.task == row.task
            && record.row == row.id
            && record.arm == self.arm(cell)
            && record.budget == written(cell.budget)
            && record.reader.as_ref() == reader
    }

    /// The name of a cell's arm.
    pub fn arm(&self, cell: Cell) -> &str {
        self.arms.get(cell.arm).map_or("", String::as_str)
    }
}

/// Arms and budgets of a suite that are not run, because the arm cannot keep to the budget: a floor of
/// retention needs an arm that predicts it.
pub fn left_out(suite: &Suite) -> Vec<(&str, Budget)> {
    let sized = suite.arms.iter().filter(|arm| arm.kind.takes_budget());
    let of_arm = |arm| ArmSpec::sizes(arm, suite).map(move |size| (arm, size));
    let out = sized.flat_map(of_arm).filter(|(arm, size)| !arm.kind.keeps_to(*size));
    out.map(|(arm, size)| (arm.label(), size)).collect()
}

/// A budget as it stands in a record.
pub(super) fn written(budget: Option<Budget>) -> String {
    budget.map(|budget| budget.to_string()).unwrap_or_default()
}
