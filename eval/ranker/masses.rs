//! Writes the decoder's attention over texts, for `attention.py`. Reads rows `{"query", "context"}` from
//! standard input, one per line, and writes for each segment its spans and, per span, each head's share of
//! attention.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{BufRead, Write},
    ops::ControlFlow,
};

use epitome::config::Config;
use epitome_compactor::internals::watch;
use epitome_engine::Models;
use epitome_text::{Document, SegmentSize, tokens};

fn main() {
    let config = Config::load(None, &[]).unwrap();
    let decoder = Models::new(&config.models).unwrap().decoder().unwrap();
    let counter = tokens::tiktoken(&config.text.default_encoding).unwrap();
    let size = SegmentSize { min: config.text.segment_min, max: config.text.segment_max };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let row: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let [query, context] = ["query", "context"].map(|key| row[key].as_str().unwrap());
        let doc = Document::new(context, counter.as_ref(), size);
        for (index, segment) in doc.segments.iter().enumerate() {
            let go_on = &mut || ControlFlow::Continue(());
            let attention = watch(&doc, index, query, &decoder, go_on).unwrap().unwrap();
            let spans = &doc.spans[segment.spans.clone()];
            let written = serde_json::json!({
                "spans": spans.iter().map(|span| [span.range.start, span.range.end]).collect::<Vec<_>>(),
                "tokens": attention.tokens(),
                "heads": attention.by_head().map(<[f32]>::to_vec).collect::<Vec<_>>(),
            });
            writeln!(out, "{written}").unwrap();
        }
        writeln!(out).unwrap();
        out.flush().unwrap();
    }
}
