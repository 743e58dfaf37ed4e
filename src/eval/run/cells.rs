//! The cells of a run, in the order of its records.

use epitome_compactor::Budget;

use crate::eval::{
    arms::Arm,
    record::Record,
    row::Row,
    suite::{ArmSpec, Suite},
    tasks::Task,
};

/// One row through one arm at one budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Index of the task.
    pub task: usize,
    /// Index of the row in its task.
    pub row: usize,
    /// Index of the arm.
    pub arm: usize,
    /// The budget; `None` for an arm without one.
    pub budget: Option<Budget>,
}

/// All cells of a run: by task, then row, then arm, then budget. Each gives one reader-free record, followed
/// by one per reader.
#[derive(Debug)]
pub struct Cells<'a> {
    tasks: &'a [Task],
    arms: Vec<String>,
    readers: Vec<String>,
    cells: Vec<Cell>,
}

impl<'a> Cells<'a> {
    /// The cells of `suite` over its tasks and arms, both in suite order. Rows for which an arm can produce
    /// nothing are left out, and so are budgets that the arm cannot honour ([`left_out`]).
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

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Number of records per cell.
    pub fn records_each(&self) -> usize {
        1 + self.readers.len()
    }

    /// Number of records of all cells.
    pub fn records(&self) -> usize {
        self.len() * self.records_each()
    }

    /// A cell and its row.
    pub fn get(&self, index: usize) -> Option<(Cell, &'a Row)> {
        let cell = *self.cells.get(index)?;
        Some((cell, self.tasks.get(cell.task)?.rows.get(cell.row)?))
    }

    /// Whether `record` is the record at `index`.
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

/// The arms and budgets of a suite that are not run because the arm cannot honour the budget: a retention
/// floor requires an arm that predicts retention.
pub fn left_out(suite: &Suite) -> Vec<(&str, Budget)> {
    let sized = suite.arms.iter().filter(|arm| arm.kind.takes_budget());
    let of_arm = |arm| ArmSpec::sizes(arm, suite).map(move |size| (arm, size));
    let out = sized.flat_map(of_arm).filter(|(arm, size)| !arm.kind.keeps_to(*size));
    out.map(|(arm, size)| (arm.label(), size)).collect()
}

/// A budget as recorded.
pub(super) fn written(budget: Option<Budget>) -> String {
    budget.map(|budget| budget.to_string()).unwrap_or_default()
}
