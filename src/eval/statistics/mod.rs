//! From records to figures with intervals.
//!
//! ```text
//! records
//!   -> order      tasks, arms, budgets and readers in the order of the suite
//!   -> analysis   cells of one task, arm, budget and reader; each row paired with its baseline
//!   -> summary    mean, paired difference, retention
//!        bootstrap   intervals, resampled by document
//!        interval    Wilson's interval for shares
//!        paired      standard error by document, small-sample interval, detectable difference
//!        exact       McNemar's test and the sign test
//!   -> average    macro average over tasks
//!   -> cut        words up to which texts are compared by ROUGE
//!   -> texts      their ROUGE in full
//!   -> calibration   predicted against measured retention
//!   -> cost       tokens, time, memory, energy and price of each arm
//! ```
//!
//! The unit of resampling is the document, because rows that ask about one text tend to be right or wrong
//! together. All intervals are at 95 %, all tests two-sided. The same records give bit-identical figures: the
//! random number generator is our own, seeded by the names of what is summarised.

pub mod analysis;
pub mod average;
pub mod bootstrap;
pub mod calibration;
pub mod cost;
pub mod cut;
pub mod exact;
pub mod figures;
pub mod interval;
pub mod order;
pub mod paired;
pub mod random;
pub mod student;
pub mod summary;
pub mod texts;

pub use analysis::{Analysis, Options};
pub use calibration::Calibration;
pub use cost::Cost;
pub use exact::Exact;
pub use figures::{Curve, CurvePoint, Group, Measure, Scope, Size, StratumSummary};
pub use interval::{Interval, Method};
pub use summary::{Estimate, Paired, Summary};
pub use texts::Texts;

/// Default number of bootstrap resamples. Efron and Tibshirani, An Introduction to the Bootstrap (1993),
/// chapter 13, take 1,000 and more for percentile intervals.
pub const RESAMPLES: usize = 2_000;

/// Share that an interval excludes on both sides together.
pub const ALPHA: f64 = 0.05;

/// Quantile of the standard normal distribution at 97.5 %.
pub const Z_TWO_SIDED: f64 = 1.959_963_984_540_054;

/// Quantile of the standard normal distribution at 80 %: the power for which a run is planned.
pub const Z_POWER: f64 = 0.841_621_233_572_914_2;
