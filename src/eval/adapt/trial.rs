//! The pipeline itself, with given weights, at several budgets: what it keeps, and what it predicts to keep.

use epitome_compactor::{Budget, CompactError, CompactRequest, Compaction, Compactor, compaction::Outcome};
use epitome_work::{Cancel, workers};

use super::{AdaptError, curve::Found, shown};

/// How many subjects are compacted at once, on threads of their own: one may wait for what another computes.
const AT_ONCE: usize = 4;
/// After how many the display is told.
const TOLD: usize = 4 * AT_ONCE;

/// Shares of the tokens that are kept.
pub(super) const SHARES: [f64; 8] = [0.04, 0.07, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8];
/// Those of them at which what is kept is compared.
pub(super) const COMPARED: [f64; 2] = [0.1, 0.25];

/// Something that is compacted, and how what it keeps is judged.
pub(super) struct Subject<'a> {
    /// The text and what is asked of it.
    pub(super) request: CompactRequest,
    /// The share of what is needed that a compaction holds.
    pub(super) found: Box<dyn Fn(&Compaction) -> f64 + Sync + Send + 'a>,
    /// What it shares a fold with.
    pub(super) document: &'a str,
    /// Its fold.
    pub(super) fold: usize,
}

/// What the pipeline made of a subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tried {
    /// The share of what is needed that is kept, by [`SHARES`].
    pub(super) kept: Vec<f64>,
    /// Predicted and found, where something was predicted.
    pub(super) found: Vec<Found>,
}

/// Compacts every subject to every share with the compactor of its fold. Where what is predicted is not mapped to what
/// is found, the prediction is the mass.
///
/// # Errors
///
/// The first of a compaction.
pub(super) fn tried(
    subjects: &[Subject<'_>],
    by_fold: &[Compactor],
    cancel: &Cancel,
) -> Result<Vec<Tried>, AdaptError> {
    let one = |subject: &Subject<'_>| {
        let (mut kept, mut found) = (Vec::new(), Vec::new());
        for share in SHARES {
            let Some(compactor) = by_fold.get(subject.fold) else { continue };
            let request = CompactRequest { budget: Budget::Share(share), ..subject.request.clone() };
            let compaction = match compactor.compact(&request, cancel) {
                // What must stay is more than the share: the text goes whole.
                Err(CompactError::BudgetTooSmall { .. } | CompactError::CodeTooLarge { .. }) => {
                    kept.push(1.0);
                    continue;
                }
                compaction => compaction?,
            };
            let held = (subject.found)(&compaction);
            kept.push(held);
            if let (Outcome::Compacted, Some(mass)) = (&compaction.outcome, compaction.figures.retention) {
                found.push(Found { mass, found: held });
            }
        }
        Ok(Tried { kept, found })
    };
    let chunks: Vec<&[Subject<'_>]> = subjects.chunks(TOLD).collect();
    // Each for itself, and in their order: threads change nothing of the results.
    let made = shown(&format!("parts of the texts compacted to {} sizes", SHARES.len()), &chunks, |chunk| {
        workers::with(AT_ONCE, chunk.len(), cancel, |at| match chunk.get(at) {
            Some(subject) => one(subject),
            None => Err(AdaptError::Internal("a text is missing".into())),
        })
    })?;
    Ok(made.into_iter().flatten().collect())
}
