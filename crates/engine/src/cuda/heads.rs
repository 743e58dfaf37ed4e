//! Queries, keys and values of packed sequences, and attention over them: shared by decoders and encoders.

use std::sync::Arc;

use super::{
    CudaError,
    machine::{Argument, Buffer, Machine, NONE},
    pages::Pages,
};
use crate::kernels::KV_BLOCK;

type Result<T> = std::result::Result<T, CudaError>;

/// Tokens per split of the keys: `SPLIT_PAGES` of `attention.cu`.
const SPLIT: usize = 16 * KV_BLOCK;
/// Rows per warp, and warps per block when reading a prompt.
const WARP_ROWS: usize = 16;
const WARPS: usize = 4;
/// Number of integers in a `Tile`.
const TILE_INTS: usize = 6;
/// Larger than any sequence length.
const FARTHEST: usize = 1 << 29;
/// Threads per warp.
const WARP: u32 = 32;

/// How the columns of a row are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadShape {
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    pub(super) width: usize,
    pub(super) epsilon: f32,
    /// Whether rotations pair neighbouring values, or a value of each half.
    pub(super) neighbours: bool,
}

/// What a token attends to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sees {
    /// Itself and the tokens before it.
    Past,
    All,
    /// Tokens up to this distance away.
    Near(usize),
}

/// The weights that turn products into queries, keys and values; each is optional.
#[derive(Clone, Copy, Default)]
pub(super) struct HeadWeights<'a> {
    pub(super) bias: Option<&'a Buffer>,
    pub(super) query_norm: Option<&'a Buffer>,
    pub(super) key_norm: Option<&'a Buffer>,
    /// Cosine and sine of all angles by position.
    pub(super) turns: Option<&'a Buffer>,
}

/// New tokens of one sequence, and its pages.
#[derive(Clone, Debug)]
pub(super) struct Span {
    /// Number of its tokens that were read before.
    pub(super) before: usize,
    pub(super) tokens: usize,
    pub(super) pages: Vec<u32>,
}

/// Where the rows of a pass are, on the device.
pub(super) struct Layout {
    pub(super) rows: usize,
    places: Buffer,
    slots: Buffer,
    tables: Buffer,
    /// Tiles of several warps.
    prompts: (Buffer, usize),
    /// Tiles of one warp whose keys are split across blocks.
    singles: (Buffer, usize),
    divided_rows: usize,
    pieces: usize,
}

impl HeadShape {
    /// # Errors
    ///
    /// [`CudaError::Unsupported`].
    pub(super) fn check(&self) -> Result<()> {
        kernels_of(self.width)?;
        if self.key_heads == 0
            || !self.heads.is_multiple_of(self.key_heads)
            || self.group() > WARPS * WARP_ROWS
        {
            let Self { heads, key_heads, .. } = self;
            return Err(CudaError::Unsupported(format!("{heads} heads over {key_heads} key heads")));
        }
        Ok(())
    }

    fn group(&self) -> usize {
        self.heads / self.key_heads
    }

    /// Factor for the scores. It includes log2(e), because exponentials are computed as powers of two.
    pub(super) fn scale(&self) -> Argument {
        (std::f32::consts::LOG2_E / (self.width as f32).sqrt()).into()
    }

    /// Offset of a layer within a page, in bf16 values.
    pub(super) fn layer_start(&self, layer: usize) -> usize {
        Pages::stride_of(layer, self.key_heads * self.width)
    }
}

impl Layout {
    /// Lays out sequences whose rows follow one another. With `divided`, the keys of short spans are split
    /// across blocks; this is only valid for spans that attend to their past. The result is the same.
    pub(super) fn new(
        machine: &Arc<dyn Machine>,
        spans: &[Span],
        shape: &HeadShape,
        divided: bool,
    ) -> Result<Self> {
        let int = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let (mut places, mut slots, mut table) = (Vec::new(), Vec::new(), Vec::new());
        let (mut prompts, mut singles) = (Vec::new(), Vec::new());
        let (mut divided_rows, mut pieces) = (0, 0);
        let short = WARP_ROWS / shape.group();
        let together = WARPS * WARP_ROWS / shape.group();
        for span in spans {
            let (row, keys) = (places.len(), span.before + span.tokens);
            for place in span.before..keys {
                let page = span
                    .pages
                    .get(place / KV_BLOCK)
                    .copied()
                    .ok_or_else(|| CudaError::Unsupported(format!("no page for token {place}")))?;
                places.push(int(place));
                slots.push(int(page as usize * KV_BLOCK + place % KV_BLOCK));
            }
            let single = divided && span.tokens <= short;
            for first in (0..span.tokens).step_by(together) {
                let tokens = (span.tokens - first).min(together);
                let tile =
                    [row + first, tokens, span.before + first, keys, table.len(), divided_rows].map(int);
                if single { &mut singles } else { &mut prompts }.extend(tile);
            }
            if single {
                divided_rows += span.tokens;
                pieces = pieces.max(keys.div_ceil(SPLIT));
            }
            table.extend(span.pages.iter().map(|page| int(*page as usize)));
        }
        let tiles = |tiles: &[i32]| Ok((Buffer::of_ints(machine, tiles)?, tiles.len() / TILE_INTS));
        Ok(Self {
            rows: places.len(),
            places: Buffer::of_ints(machine, &places)?,
            slots: Buffer::of_ints(machine, &slots)?,
            tables: Buffer::of_ints(machine, &table)?,
            prompts: tiles(&prompts)?,
            singles: tiles(&singles)?,
            divided_rows,
            pieces,
        })
    }
}

/// Turns a product into queries, and writes keys and values to their pages. `layer` is the layer's index in
/// the pages.
pub(super) fn finish(
    machine: &Arc<dyn Machine>,
    shape: &HeadShape,
    weights: HeadWeights<'_>,
    layout: &Layout,
    (qkv, queries): (&Buffer, &Buffer),
    (pages, layer): (&Pages, usize),
) -> Result<()> {
    let all = shape.heads + 2 * shape.key_heads;
    let arguments = [
        queries.into(),
        pages.memory().into(),
        qkv.into(),
        weights.bias.into(),
        weights.query_norm.into(),
        weights.key_norm.into(),
        weights.turns.into(),
        (&layout.places).into(),
        (&layout.slots).into(),
        shape.heads.into(),
        shape.key_heads.into(),
        shape.width.into(),
        i32::from(shape.neighbours).into(),
        shape.epsilon.into(),
        pages.stride().into(),
        shape.layer_start(layer).into(),
    ];
    let warps = WARPS.min(all);
    machine.launch("finish_heads", [layout.rows, all.div_ceil(warps), 1], warps as u32 * WARP, &arguments)
}

/// Attention of all rows in bf16, before the output projection.
pub(super) fn attend(
    machine: &Arc<dyn Machine>,
    shape: &HeadShape,
    sees: Sees,
    layout: &Layout,
    (queries, out): (&Buffer, &Buffer),
    (pages, layer): (&Pages, usize),
) -> Result<()> {
    let (whole, split, join) = kernels_of(shape.width)?;
    let scale = shape.scale();
    let place = [pages.stride().into(), shape.layer_start(layer).into()];
    let heads = [Argument::from(shape.heads), shape.key_heads.into()];
    let from = |tiles: &Buffer| {
        [queries.into(), pages.memory().into(), (&layout.tables).into(), tiles.into(), heads[0], heads[1]]
    };
    let (tiles, count) = &layout.prompts;
    if *count > 0 {
        let reach: i32 = match sees {
            Sees::Past => -1,
            Sees::All => 0,
            Sees::Near(reach) => reach.min(FARTHEST) as i32 + 1,
        };
        let arguments = [&[out.into()], from(tiles).as_slice(), &[reach.into(), scale], &place].concat();
        machine.launch(whole, [*count, shape.key_heads, 1], WARPS as u32 * WARP, &arguments)?;
    }
    let (tiles, count) = &layout.singles;
    if *count > 0 {
        let rows = layout.pieces * layout.divided_rows * shape.heads;
        let parts = Buffer::new(machine, rows * shape.width * size_of::<f32>())?;
        let sums = Buffer::new(machine, rows * 2 * size_of::<f32>())?;
        let own = [Argument::from(&parts), (&sums).into()];
        let arguments =
            [own.as_slice(), &from(tiles), &[scale], &place, &[layout.divided_rows.into()]].concat();
        machine.launch(split, [*count, shape.key_heads, layout.pieces], WARP, &arguments)?;
        let arguments =
            [&[out.into()], own.as_slice(), &[tiles.into()], &heads, &[layout.divided_rows.into()]].concat();
        machine.launch(join, [*count, shape.key_heads, 1], 128, &arguments)?;
    }
    Ok(())
}

/// The attention kernels for a head width: one block per tile, several blocks per tile, and the one that
/// merges their parts.
fn kernels_of(width: usize) -> Result<(&'static str, &'static str, &'static str)> {
    Ok(match width {
        16 => ("attention_16", "attention_split_16", "join_16"),
        32 => ("attention_32", "attention_split_32", "join_32"),
        64 => ("attention_64", "attention_split_64", "join_64"),
        128 => ("attention_128", "attention_split_128", "join_128"),
        _ => return Err(CudaError::Unsupported(format!("heads of {width} values: only 16, 32, 64 and 128"))),
    })
}

/// A kernel over rows, one block per row.
pub(super) fn rows(
    machine: &Arc<dyn Machine>,
    kernel: &'static str,
    rows: usize,
    arguments: &[Argument],
) -> Result<()> {
    if rows == 0 {
        return Ok(());
    }
    machine.launch(kernel, [rows, 1, 1], ROW_THREADS, arguments)
}

/// Threads that sum a row. The number affects the result, since it sets the order of summation.
const ROW_THREADS: u32 = 128;

/// Makes a row kernel read the rows in order rather than picked ones.
pub(super) const IN_TURN: Argument = NONE;
