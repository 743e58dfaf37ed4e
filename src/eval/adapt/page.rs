//! What a fit is worth, for people.

use std::fmt::Write as _;

use super::{
    Figures,
    verdict::{Bin, Kept, Part, Taken},
};
use crate::eval::report::{
    format::{NONE, percent, points},
    table::{Cell, Table},
};

/// Tables of everything that was measured.
pub fn text(figures: &Figures) -> String {
    let mut out = String::new();
    let parts = [
        ("questions", "rows", "documents", &figures.questions),
        ("results of tools", "results", "sessions", &figures.results),
    ];
    for (what, items, documents, part) in parts {
        let Some(part) = part else {
            let _ = writeln!(out, "{what}: too few, so that what is compiled in stays\n");
            continue;
        };
        let _ = writeln!(
            out,
            "{what}: {} {items} of {} {documents}; {} parts were held out in turn\n",
            part.items, part.documents, figures.folds
        );
        out.push_str(&kept(&part.kept).to_terminal());
        out.push('\n');
        out.push_str(&predicted(part).to_terminal());
        let _ = writeln!(out, "\n{}\n", verdict(part));
    }
    out
}

fn kept(all: &[Kept]) -> Table {
    let mut table = Table::new("", &["<kept at", "built in, %", "fitted, %", "difference", "95 % interval"]);
    for kept in all {
        let interval = kept
            .difference
            .map_or_else(|| NONE.to_owned(), |[low, high]| format!("{} to {}", points(low), points(high)));
        let cells = [
            format!("{:.0} % of the tokens", kept.share * 100.0),
            percent(kept.before),
            percent(kept.after),
            points(kept.after - kept.before),
            interval,
        ];
        table.rows.push(cells.into_iter().map(Cell::new).collect());
    }
    table
}

fn predicted(part: &Part) -> Table {
    let mut table = Table::new("", &["<prediction", "predicted, %", "found, %", "results"]);
    let mut add = |name: &str, bins: &[Bin]| {
        for bin in bins {
            let cells =
                [name.to_owned(), percent(bin.predicted), percent(bin.found), bin.results.to_string()];
            table.rows.push(cells.into_iter().map(Cell::new).collect());
        }
    };
    add("built in", &part.bins_before);
    if part.prediction == Taken::Fitted {
        add("the file's", &part.bins_after);
    }
    table
}

/// What the file holds, and why.
fn verdict(part: &Part) -> String {
    let (before, after) = (part.error_before, part.error_after);
    let weights = match (part.weights, part.strength) {
        (Taken::Fitted, strength) => {
            let strength = strength.unwrap_or_default();
            format!(
                "better held out: the file has fitted weights, held to the built-in ones with strength {strength}"
            )
        }
        (Taken::BuiltIn, None) => {
            "no other weights lose less held out: the file has the built-in ones".into()
        }
        (Taken::BuiltIn, Some(_)) => {
            "fitted weights are not better held out: the file has the built-in ones".into()
        }
    };
    let prediction = match part.prediction {
        Taken::Fitted => format!("a new prediction (mean square error {after:.4}, before {before:.4})"),
        Taken::BuiltIn => {
            format!("the built-in prediction (mean square error {before:.4}; a new one is no better)")
        }
    };
    format!("{weights}, with {prediction}.")
}
