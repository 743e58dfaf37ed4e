//! Vectors of all spans by the static embedder, and the query's: the first dense stage, cheap enough
//! for every span of a text of any length.

use std::borrow::Cow;

use epitome_engine::{CrossEncoder, StaticEmbedder};
use epitome_text::Document;
use epitome_work::{Cancel, workers};

use super::{RankError, dense::SpanVectors};

/// Bytes of a single span that are read; the rest of a huge unit does not count.
const SPAN_BYTES: usize = 4000;
/// Spans that one worker takes at a time.
const BATCH: usize = 512;

/// Vectors of all spans.
pub(crate) fn embed(
    doc: &Document<'_>,
    tokenizer: &CrossEncoder,
    table: &StaticEmbedder,
    cancel: &Cancel,
) -> Result<SpanVectors, RankError> {
    let count = doc.spans.len();
    let parts = workers::each(count.div_ceil(BATCH), cancel, |index| {
        let spans = index * BATCH..((index + 1) * BATCH).min(count);
        let texts: Vec<Cow<'_, str>> = spans.map(|span| doc.plain(span)).collect();
        let texts: Vec<&str> = texts.iter().map(|text| cut(text)).collect();
        let ids = tokenizer.tokenize(&texts)?;
        let mut rows = vec![0.0; ids.len() * table.dim()];
        for (row, ids) in rows.chunks_exact_mut(table.dim()).zip(&ids) {
            table.add(ids, row);
        }
        Ok::<_, RankError>(rows)
    })?;
    Ok(SpanVectors::from_sums(table.dim(), parts.concat()))
}

/// The unit vector of a query.
pub(crate) fn embed_query(
    query: &str,
    tokenizer: &CrossEncoder,
    table: &StaticEmbedder,
) -> Result<Vec<f32>, RankError> {
    let ids = tokenizer.tokenize(&[cut(query)])?;
    let mut sum = vec![0.0; table.dim()];
    ids.iter().for_each(|ids| table.add(ids, &mut sum));
    super::dense::normalize(&mut sum);
    Ok(sum)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SPAN_BYTES)]
}
