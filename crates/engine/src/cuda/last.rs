//! What is needed of last tokens: the most likely next token, and how much of their attention falls on parts
//! of their prompts. Both are computed on the device, because copying logits and attention would be slow.

use std::{ops::Range, sync::Arc};

use super::{
    CudaError,
    heads::HeadShape,
    machine::{Argument, Buffer, Machine},
    pages::Pages,
};

type Result<T> = std::result::Result<T, CudaError>;

/// Threads per row of logits, and per query's keys.
const ROW_THREADS: u32 = 1024;
const KEY_THREADS: u32 = 128;

/// For each of `count` rows of `width` floats, the index of the greatest; `None` if all are NaN.
pub(super) fn greatest(
    machine: &Arc<dyn Machine>,
    rows: &Buffer,
    count: usize,
    width: usize,
) -> Result<Vec<Option<u32>>> {
    let out = Buffer::new(machine, count * size_of::<i32>())?;
    machine.launch("greatest", [count, 1, 1], ROW_THREADS, &[(&out).into(), rows.into(), width.into()])?;
    Ok(out.ints(count)?.into_iter().map(|place| u32::try_from(place).ok()).collect())
}

/// A query whose attention is reported.
pub(super) struct Watched<'a> {
    /// Its row in the pass.
    pub(super) row: usize,
    /// Number of keys that it sees.
    pub(super) keys: usize,
    pub(super) pages: &'a [u32],
    /// The ranges of keys to sum over.
    pub(super) ranges: &'a [Range<usize>],
}

/// The sums for all watched queries of a pass, on the device.
pub(super) struct Masses {
    watched: Buffer,
    tables: Buffer,
    ranges: Buffer,
    scores: Buffer,
    out: Buffer,
    /// Where the ranges of each query begin and end.
    own: Vec<Range<usize>>,
    layers: usize,
    all_keys: usize,
    all_ranges: usize,
}

impl Masses {
    /// `None` if no attention is requested.
    pub(super) fn new(
        machine: &Arc<dyn Machine>,
        shape: &HeadShape,
        layers: usize,
        queries: &[Watched<'_>],
    ) -> Result<Option<Self>> {
        if queries.is_empty() {
            return Ok(None);
        }
        let int = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let (mut watched, mut tables, mut ranges, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut all_keys, mut all_ranges) = (0, 0);
        for query in queries {
            let count = query.ranges.len();
            watched.extend([query.row, query.keys, tables.len(), all_ranges, count, all_keys].map(int));
            tables.extend(query.pages.iter().map(|page| int(*page as usize)));
            ranges.extend(query.ranges.iter().flat_map(|range| [int(range.start), int(range.end)]));
            own.push(all_ranges..all_ranges + count);
            all_keys += query.keys;
            all_ranges += count;
        }
        let floats = |count: usize| Buffer::new(machine, count * size_of::<f32>());
        Ok(Some(Self {
            watched: Buffer::of_ints(machine, &watched)?,
            tables: Buffer::of_ints(machine, &tables)?,
            ranges: Buffer::of_ints(machine, &ranges)?,
            scores: floats(shape.heads * all_keys)?,
            out: floats(layers * shape.heads * all_ranges)?,
            own,
            layers,
            all_keys,
            all_ranges,
        }))
    }

    /// Sums the attention of a layer's `queries`, once its keys are in their pages.
    pub(super) fn sum(
        &self,
        machine: &Arc<dyn Machine>,
        shape: &HeadShape,
        queries: &Buffer,
        pages: &Pages,
        layer: usize,
    ) -> Result<()> {
        let out = self.out.address() + (layer * shape.heads * self.all_ranges * size_of::<f32>()) as u64;
        let arguments = [
            Argument::at(out),
            (&self.scores).into(),
            queries.into(),
            pages.memory().into(),
            (&self.tables).into(),
            (&self.watched).into(),
            (&self.ranges).into(),
            shape.heads.into(),
            shape.key_heads.into(),
            shape.width.into(),
            shape.scale(),
            pages.stride().into(),
            shape.layer_start(layer).into(),
            self.all_keys.into(),
            self.all_ranges.into(),
        ];
        machine.launch("attention_mass", [self.own.len(), shape.heads, 1], KEY_THREADS, &arguments)
    }

    /// The sums of each query, by layer, head and range.
    pub(super) fn read(&self, shape: &HeadShape) -> Result<Vec<Vec<f32>>> {
        let all = self.out.floats(self.layers * shape.heads * self.all_ranges)?;
        let heads = || all.chunks_exact(self.all_ranges.max(1));
        let of = |own: &Range<usize>| {
            heads().flat_map(|head| head.get(own.clone()).unwrap_or_default()).copied().collect()
        };
        Ok(self.own.iter().map(of).collect())
    }
}
