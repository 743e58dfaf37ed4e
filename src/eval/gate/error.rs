//! The ends of the gate that are not its opening.

use thiserror::Error;

/// Why the gate does not open.
#[derive(Debug, Error)]
pub enum GateError {
    /// There is a real drop.
    #[error("a real drop, more than the {allowed} points allowed: {what}")]
    Drop {
        /// Which comparisons.
        what: String,
        /// Points of percent.
        allowed: String,
    },
    /// Neither a drop nor its absence can be concluded.
    #[error("too small to tell whether more than {allowed} points are lost: {what}")]
    Undecided {
        /// Which comparisons.
        what: String,
        /// Points of percent.
        allowed: String,
    },
    /// The two files have no row in common.
    #[error("no row of the results is in the baseline too: {reason}")]
    NothingPairs {
        /// What was looked for.
        reason: String,
    },
    /// An arm or a budget is not in the results.
    #[error("no {kind} `{name}` in the results; there is: {present}")]
    Unknown {
        /// `arm` or `budget`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What is there.
        present: String,
    },
}

impl GateError {
    /// 1 for a drop; 2 where nothing can be said.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Drop { .. } => 1,
            Self::Undecided { .. } | Self::NothingPairs { .. } | Self::Unknown { .. } => 2,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Undecided { .. } => {
                Some("run more rows (`sample` of the suite's tasks), or allow more with --max-drop".into())
            }
            Self::NothingPairs { .. } => Some(
                "rows are paired by task, row, arm, budget and reader: run both with the same suite".into(),
            ),
            Self::Drop { .. } | Self::Unknown { .. } => None,
        }
    }
}
