//! Outcomes of the gate other than a pass.

use thiserror::Error;

/// Why the gate did not pass.
#[derive(Debug, Error)]
pub enum GateError {
    /// There is a real drop.
    #[error("a real drop, more than the {allowed} points allowed: {what}")]
    Drop {
        /// Which comparisons.
        what: String,
        /// In percentage points.
        allowed: String,
    },
    /// The data show neither a drop nor its absence.
    #[error("too small to tell whether more than {allowed} points are lost: {what}")]
    Undecided {
        /// Which comparisons.
        what: String,
        /// In percentage points.
        allowed: String,
    },
    /// The two files have no row in common.
    #[error("no row of the results is in the baseline too: {reason}")]
    NoCommonRows {
        /// What was compared.
        reason: String,
    },
    /// An arm or a budget is not in the results.
    #[error("no {kind} `{name}` in the results; there is: {present}")]
    Unknown {
        /// `arm` or `budget`.
        kind: &'static str,
        /// The requested name.
        name: String,
        /// The names in the results.
        present: String,
    },
}

impl GateError {
    /// 1 for a drop; 2 if no verdict is possible.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Drop { .. } => 1,
            Self::Undecided { .. } | Self::NoCommonRows { .. } | Self::Unknown { .. } => 2,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Undecided { .. } => {
                Some("run more rows (`sample` of the suite's tasks), or allow more with --max-drop".into())
            }
            Self::NoCommonRows { .. } => Some(
                "rows are paired by task, row, arm, budget and reader: run both with the same suite; summaries are \
                 compared with --measure rouge2 and the like"
                    .into(),
            ),
            Self::Drop { .. } | Self::Unknown { .. } => None,
        }
    }
}
