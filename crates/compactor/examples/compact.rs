//! Compacts a text file for a question, with the library alone, and shows where each piece comes from.
//!
//!     cargo run --release --package epitome-compactor --example compact -- \
//!         eval/corpus/meeting.txt "What share of users find most remote controls ugly?" 500
#![allow(clippy::print_stdout)]

use std::{env, error::Error, fs, sync::Arc};

use epitome_compactor::{Cache, Cancel, CompactRequest, Compactor, config::Config};
use epitome_engine::{Models, config};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, question, budget] = &arguments[..] else {
        return Err("usage: compact FILE QUESTION BUDGET (tokens, as 500, or a share, as 25%)".into());
    };
    // The ranker is compiled in. A compactor is cheap to clone and works for many threads.
    let models = Arc::new(Models::new(&config::Models::default())?);
    let compactor = Compactor::new(Config::default(), models, Arc::new(Cache::disabled()))?;

    let request = CompactRequest::new(fs::read_to_string(file)?, budget.parse()?).query(question.as_str());
    let compaction = compactor.compact(&request, &Cancel::never())?;

    println!("{}", compaction.text);
    for piece in &compaction.pieces {
        println!("[#{}] bytes {:?} of {file}, score {:.2}", piece.reference, piece.source, piece.score);
    }
    let figures = &compaction.figures;
    println!("{} -> {} tokens", figures.tokens_before, figures.tokens_after);
    Ok(())
}
