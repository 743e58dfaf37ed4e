//! What became of a request and its texts.

use std::time::Duration;

/// The outcome for the texts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At least one text was made shorter, and none failed.
    Compacted,
    /// Some texts were made shorter, and others failed and went upstream as they are.
    Partial,
    /// There was nothing to do, or nothing may be done now.
    Passed,
    /// Compaction was attempted and failed; the original went upstream.
    FailedOpen,
}

impl Verdict {
    /// The word used in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Compacted => "compacted",
            Verdict::Partial => "partial",
            Verdict::Passed => "passed",
            Verdict::FailedOpen => "failed-open",
        }
    }
}

/// What became of one text, or of a piece of one.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Decision {
    /// Its name: the same for the same text.
    pub id: String,
    /// What it is: `prose`, `json` and the like; empty if it was not looked at.
    pub kind: String,
    /// Where its query was found.
    pub query_from: &'static str,
    /// Its tokens.
    pub before: usize,
    /// The tokens of what went upstream.
    pub after: usize,
    /// Why it went whole; empty if it was compacted.
    pub reason: &'static str,
}

/// The account of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// What the texts became.
    pub verdict: Verdict,
    /// Why the texts, or the first that failed, were not compacted; empty if they were.
    pub reason: &'static str,
    /// How many texts were compacted, and how many there were to compact; `None` if the request did not get
    /// that far.
    pub texts: Option<(usize, usize)>,
    /// Tokens of evidence from earlier texts that was inserted into later turns; `None` if there was none.
    pub evidence: Option<usize>,
    /// Where the queries of the texts were found, without duplicates; empty if none was looked for.
    pub query_from: Vec<&'static str>,
    /// Tokens of the texts considered, before and after; `None` if they were not counted.
    pub tokens: Option<(usize, usize)>,
    /// Cache hits and lookups of the ranking.
    pub cache: Option<(usize, usize)>,
    /// The predicted share of similar requests whose texts still hold what the question needs: the lowest
    /// among the compacted texts; `None` if unknown.
    pub retention: Option<f64>,
    /// Energy of the compactions in joules; `None` if unknown.
    pub joules: Option<f64>,
    /// Steps of ageing that old texts have taken.
    pub ageing: u8,
    /// What became of each text.
    pub decisions: Vec<Decision>,
    /// Time from receiving the whole body to the decision.
    pub time: Duration,
}

impl Account {
    /// Nothing was done or counted.
    pub fn passed(reason: &'static str) -> Self {
        Self {
            verdict: Verdict::Passed,
            reason,
            texts: None,
            evidence: None,
            query_from: Vec::new(),
            tokens: None,
            cache: None,
            retention: None,
            joules: None,
            ageing: 0,
            decisions: Vec::new(),
            time: Duration::ZERO,
        }
    }

    /// Compaction was attempted and failed.
    pub fn failed_open(reason: &'static str) -> Self {
        Self { verdict: Verdict::FailedOpen, ..Self::passed(reason) }
    }
}
