//! One sequence that a model of candle's reads and continues.

use std::fmt;

use candle_core::{Result, bail};

use crate::decoder::kv_bytes::Counted;

/// Prompts are read in pieces of this many tokens, whatever the steps are: results differ in the last bits
/// with the size of a piece, and steps follow the measured speed.
const PIECE: usize = 256;

/// A model with the keys and values of one sequence.
pub(super) trait CandleModel: Send + Sync {
    /// The logits after the last of `ids`, which begin at position `start`.
    fn forward(&mut self, ids: &[u32], start: usize) -> Result<Vec<f32>>;
}

/// The state of a sequence.
pub(crate) struct CandleSequence {
    model: Box<dyn CandleModel>,
    /// Number of tokens read.
    read: usize,
    /// Tokens that are still to be read.
    unread: Vec<u32>,
    context: usize,
    token_bytes: usize,
    counted: Counted,
}

impl CandleSequence {
    /// `model` has read nothing. A token's keys and values take `token_bytes`.
    pub(super) fn new(
        model: Box<dyn CandleModel>,
        context: usize,
        token_bytes: usize,
        counted: Counted,
    ) -> Self {
        Self { model, read: 0, unread: Vec::new(), context, token_bytes, counted }
    }

    /// Takes new tokens. Returns the logits after the last one if they are `wanted`, else nothing; the tokens
    /// of an incomplete piece are then read later.
    pub(super) fn read(&mut self, ids: &[u32], wanted: bool) -> Result<Vec<f32>> {
        let (rows, before) = (ids.len(), self.read + self.unread.len());
        if rows == 0 || before + rows > self.context {
            bail!("{rows} tokens after {before} do not fit a context of {}", self.context);
        }
        self.unread.extend_from_slice(ids);
        while self.unread.len() > PIECE {
            let rest = self.unread.split_off(PIECE);
            let piece = std::mem::replace(&mut self.unread, rest);
            self.forward(&piece)?;
        }
        if !wanted {
            return Ok(Vec::new());
        }
        let piece = std::mem::take(&mut self.unread);
        self.forward(&piece)
    }

    fn forward(&mut self, piece: &[u32]) -> Result<Vec<f32>> {
        let logits = self.model.forward(piece, self.read)?;
        self.read += piece.len();
        self.counted.add(piece.len() * self.token_bytes);
        Ok(logits)
    }
}

impl fmt::Debug for CandleSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CandleSequence").field("read", &self.read).finish_non_exhaustive()
    }
}
