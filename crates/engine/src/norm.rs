//! Norms and biased residual additions of the encoders.

use super::kernels::layer_norm;

/// Layer normalisation of rows.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl Norm {
    /// Normalises all rows of a matrix.
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        layer_norm(rows, &self.weight, &self.bias, self.epsilon);
    }
}

/// `hidden += x + bias`, row by row.
pub(crate) fn add_biased(hidden: &mut [f32], x: &[f32], bias: &[f32]) {
    for (row, x) in hidden.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
        for ((value, x), bias) in row.iter_mut().zip(x).zip(bias) {
            *value += x + bias;
        }
    }
}
