//! Products with weights whose outputs are arranged in panels, whatever their storage format.

use std::ops::Range;

use super::{LANES, team};

/// Rows that go through all panels together, so that they stay in the L2 cache.
const ROWS_TOGETHER: usize = 96;
/// Pieces of work per thread, so that a slow thread can do fewer of them.
const PARTS: usize = 2;

/// A weight matrix of shape (outputs, inputs) whose outputs are arranged in panels of [`LANES`].
pub(crate) trait Panels: Sync {
    /// Input rows in the format that this kind of matrix multiplies.
    type Rows<'a>: Sync;

    fn outputs(&self) -> usize;

    fn inputs(&self) -> usize;

    /// Size of the weights in bytes, as stored.
    fn bytes(&self) -> usize;

    /// Converts rows of `inputs` values.
    fn rows<'a>(&self, x: &'a [f32]) -> Self::Rows<'a>;

    /// The number of rows.
    fn count(&self, rows: &Self::Rows<'_>) -> usize;

    /// Calls `take` with the outputs of one panel for some of the rows.
    fn panel(
        &self,
        rows: &Self::Rows<'_>,
        range: Range<usize>,
        panel: usize,
        take: impl FnMut(usize, &[f32; LANES]),
    );

    /// The product, on this thread: `outputs` values per row.
    fn product(&self, rows: &Self::Rows<'_>, out: &mut [f32]) {
        for (index, out) in out.chunks_mut(ROWS_TOGETHER * self.outputs().max(1)).enumerate() {
            self.some_rows(rows, index * ROWS_TOGETHER, out);
        }
    }

    /// The product with a few rows, on all threads, each of which reads its own part of the weights once.
    fn product_by_outputs(&self, rows: &Self::Rows<'_>) -> Vec<f32> {
        let (count, outputs) = (self.count(rows), self.outputs().max(1));
        let mut out = vec![0.0; count * self.outputs()];
        let panels = self.outputs().div_ceil(LANES);
        let share = panels.div_ceil(PARTS * team::threads()).max(1);
        let mut by_panel = vec![[0.0; LANES]; panels * count];
        team::each_chunk(&mut by_panel, (share * count).max(1), |part, out| {
            for (index, out) in out.chunks_mut(count).enumerate() {
                self.panel(rows, 0..count, part * share + index, |row, values| {
                    if let Some(place) = out.get_mut(row) {
                        *place = *values;
                    }
                });
            }
        });
        for (panel, values) in by_panel.chunks_exact(count.max(1)).enumerate() {
            for (row, values) in out.chunks_exact_mut(outputs).zip(values) {
                write(row, panel, values);
            }
        }
        out
    }

    /// The product with the rows from `first` on, as many as fit into `out`.
    fn some_rows(&self, rows: &Self::Rows<'_>, first: usize, out: &mut [f32]) {
        let width = self.outputs().max(1);
        let last = first + out.len() / width;
        for panel in 0..self.outputs().div_ceil(LANES) {
            self.panel(rows, first..last, panel, |row, values| {
                let at = (row - first) * width;
                if let Some(row) = out.get_mut(at..at + width) {
                    write(row, panel, values);
                }
            });
        }
    }
}

/// Copies the outputs of a panel to their place in a row.
fn write(row: &mut [f32], panel: usize, values: &[f32; LANES]) {
    let end = row.len().min((panel + 1) * LANES);
    if let Some(place) = row.get_mut(panel * LANES..end) {
        place.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
    }
}
