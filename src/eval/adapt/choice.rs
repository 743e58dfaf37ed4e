//! How strongly weights are held to those that are compiled in.

use serde::Serialize;

use super::{AdaptError, shown};

/// The strengths of the ridge that are tried, the strongest first; none: the weights stay as they are compiled in.
pub(super) const STRENGTHS: [Option<f64>; 5] = [None, Some(10.0), Some(1.0), Some(0.1), Some(0.01)];

/// What a text loses, in the mean over those that were held out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// How strongly the weights were held; none: they were the built-in ones.
    pub strength: Option<f64>,
    /// In nats.
    pub loss: f64,
}

/// What was fitted for each fold, by strength, and what each item lost when it was held out.
pub(super) struct Tried<M> {
    /// By fold, then by strength.
    pub(super) models: Vec<Vec<M>>,
    /// By strength, then by item.
    pub(super) losses: Vec<Vec<f64>>,
}

/// Fits to all but one fold, for each fold and strength; `fit` gets the items and the strength, `lost` a model and an item.
///
/// # Errors
///
/// The first of `fit`.
pub(super) fn tried<M>(
    folds: &[usize],
    count: usize,
    mut fit: impl FnMut(&[usize], Option<f64>) -> Result<M, AdaptError>,
    lost: impl Fn(&M, usize) -> f64,
) -> Result<Tried<M>, AdaptError> {
    let mut losses = vec![vec![0.0; folds.len()]; STRENGTHS.len()];
    let models = shown("parts held out", &(0..count).collect::<Vec<usize>>(), |fold| {
        let others: Vec<usize> = (0..folds.len()).filter(|item| folds.get(*item) != Some(fold)).collect();
        let mut of_fold = Vec::with_capacity(STRENGTHS.len());
        for (strength, losses) in STRENGTHS.iter().zip(&mut losses) {
            let model = fit(&others, *strength)?;
            for (item, _) in folds.iter().enumerate().filter(|(_, own)| *own == fold) {
                if let Some(loss) = losses.get_mut(item) {
                    *loss = lost(&model, item);
                }
            }
            of_fold.push(model);
        }
        Ok(of_fold)
    })?;
    Ok(Tried { models, losses })
}

impl<M> Tried<M> {
    /// The place in [`STRENGTHS`] of the least loss over the items that count; of equals the strongest.
    pub(super) fn best(&self, counts: impl Fn(usize) -> bool) -> usize {
        let sum = |losses: &Vec<f64>| -> f64 {
            losses.iter().enumerate().filter(|(item, _)| counts(*item)).map(|(_, loss)| loss).sum()
        };
        let mut best = (0, f64::INFINITY);
        for (at, losses) in self.losses.iter().enumerate() {
            let own = sum(losses);
            if own < best.1 {
                best = (at, own);
            }
        }
        best.0
    }

    /// The model that a fold is tried with: its strength is chosen by what the other folds lost.
    pub(super) fn held_out(&self, folds: &[usize], fold: usize) -> Option<&M> {
        let at = self.best(|item| folds.get(item) != Some(&fold));
        self.models.get(fold)?.get(at)
    }

    /// The mean loss of the items, by strength.
    pub(super) fn mean_losses(&self) -> Vec<Loss> {
        let mean = |losses: &Vec<f64>| losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        STRENGTHS
            .iter()
            .zip(&self.losses)
            .map(|(strength, own)| Loss { strength: *strength, loss: mean(own) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_is_judged_by_what_the_others_lost() {
        let folds = [0, 0, 1, 1];
        let seen = |items: &[usize], strength: Option<f64>| Ok((items.to_vec(), strength));
        // Items of fold 0 lose least at 0.1, those of fold 1 with the built-in weights.
        let lost = |model: &(Vec<usize>, Option<f64>), item: usize| {
            assert!(!model.0.contains(&item), "held out");
            match (item < 2, model.1) {
                (true, Some(0.1)) | (false, None) => 1.0,
                _ => 2.0,
            }
        };
        let tried = tried(&folds, 2, seen, lost).unwrap();
        assert_eq!(tried.held_out(&folds, 0).unwrap(), &(vec![2, 3], None));
        assert_eq!(tried.held_out(&folds, 1).unwrap(), &(vec![0, 1], Some(0.1)));
        // Both are as good over all: the strongest is taken.
        let losses = tried.mean_losses();
        assert_eq!((tried.best(|_| true), losses[0]), (0, Loss { strength: None, loss: 1.5 }));
        assert_eq!((losses.len(), losses[3]), (STRENGTHS.len(), Loss { strength: Some(0.1), loss: 1.5 }));
    }
}
