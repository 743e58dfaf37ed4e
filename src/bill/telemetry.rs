//! The metrics of the bill and of the answers that it is read from:
//!
//! | metric | kind | unit | labels |
//! | --- | --- | --- | --- |
//! | `epitome_answers_total` | counter | answers of the upstream | `dialect`, `class` of the status |
//! | `epitome_request_duration_seconds` | histogram | seconds from the request's head to its answer's end | `dialect` |
//! | `epitome_prefixes_total` | counter | requests by what became of what they repeat: `new`, `kept`, `broken` | `dialect`, `state` |
//! | `epitome_usage_tokens_total` | counter | tokens as the upstream reports them | `dialect`, `model`, `class` |
//! | `epitome_paid_usd` | gauge | US dollars paid since the start | `dialect`, `model` |
//! | `epitome_direct_usd` | gauge | US dollars that the originals would have cost | `dialect`, `model` |
//! | `epitome_net_saved_usd` | gauge | the difference, with its sign | `dialect`, `model` |
//! | `epitome_bill_lines_lost_total` | counter | lines that did not get into `bill.log` | |
//! | `epitome_net_off` | gauge | clients for whom a negative net keeps compaction off | `dialect` |
//!
//! `model` is the name in the price list, or `other`: clients may send any name.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::{
    Dialect,
    prefix::Fate,
    statement::{Statement, Unit as Currency},
    usage::Usage,
};

const ANSWERS: &str = "epitome_answers_total";
const DURATION: &str = "epitome_request_duration_seconds";
const PREFIXES: &str = "epitome_prefixes_total";
const USAGE: &str = "epitome_usage_tokens_total";
const PAID: &str = "epitome_paid_usd";
const DIRECT: &str = "epitome_direct_usd";
const NET: &str = "epitome_net_saved_usd";
const LOST: &str = "epitome_bill_lines_lost_total";
const OFF: &str = "epitome_net_off";

/// Says what the metrics are.
pub fn describe() {
    describe_counter!(ANSWERS, Unit::Count, "Answers of the upstream, by class of their status");
    describe_histogram!(DURATION, Unit::Seconds, "Time from a request's head to the end of its answer");
    describe_counter!(PREFIXES, Unit::Count, "Requests by whether what they repeat was repeated upstream");
    describe_counter!(USAGE, Unit::Count, "Tokens that the upstream reports, by price class");
    describe_gauge!(PAID, "US dollars paid, for models whose price is known");
    describe_gauge!(DIRECT, "US dollars that the originals would have cost");
    describe_gauge!(NET, "US dollars saved; negative if compaction cost more than it saved");
    describe_counter!(LOST, Unit::Count, "Lines that did not get into bill.log");
    describe_gauge!(OFF, "Clients for whom a negative net keeps compaction off");
}

/// An answer came to its end, or to nothing.
pub fn answered(dialect: Dialect, status: Option<u16>, time: Duration) {
    let class = match status {
        Some(100..200) => "1xx",
        Some(200..300) => "2xx",
        Some(300..400) => "3xx",
        Some(400..500) => "4xx",
        Some(_) => "5xx",
        None => "none",
    };
    counter!(ANSWERS, "dialect" => dialect.as_str(), "class" => class).increment(1);
    histogram!(DURATION, "dialect" => dialect.as_str()).record(time);
}

/// What became of what a request repeats.
pub fn prefix(dialect: Dialect, fate: Fate) {
    let state = match fate {
        Fate::New => "new",
        Fate::Kept => "kept",
        Fate::Broken { .. } => "broken",
    };
    counter!(PREFIXES, "dialect" => dialect.as_str(), "state" => state).increment(1);
}

/// What an answer cost. `model` is a name of the price list.
pub fn cost(dialect: Dialect, model: Option<&str>, usage: &Usage, statement: &Statement) {
    let (dialect, model) = (dialect.as_str(), model.unwrap_or("other").to_owned());
    for (class, tokens) in [
        ("input", usage.input),
        ("cached", usage.cached),
        ("written", usage.written()),
        ("output", usage.output),
    ] {
        counter!(USAGE, "dialect" => dialect, "model" => model.clone(), "class" => class).increment(tokens);
    }
    if statement.unit == Currency::Usd {
        for (name, amount) in [(PAID, statement.paid), (DIRECT, statement.direct), (NET, statement.net_saved)]
        {
            gauge!(name, "dialect" => dialect, "model" => model.clone()).increment(amount);
        }
    }
}

/// So many lines did not get into the journal since the start.
pub fn lost(lines: u64) {
    counter!(LOST).absolute(lines);
}

/// Compaction was turned off, or on again, for a client's dialect.
pub fn net_off(dialect: Dialect, off: bool) {
    gauge!(OFF, "dialect" => dialect.as_str()).increment(if off { 1.0 } else { -1.0 });
}
