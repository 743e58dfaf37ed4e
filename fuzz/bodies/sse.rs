//! Answers, whole and as server-sent events.

use epitome::{
    bill::{Dialect, reader::UsageReader},
    wire::openai_answer::Collector,
};

use super::dice::Dice;

const DIALECTS: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::Responses];
const CODINGS: [&str; 5] = ["", "gzip", "deflate", "br", "zstd"];
const TYPES: [&str; 4] = ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/json", ""];

/// The collected answer and its usage do not depend on how the bytes are chunked, and the answer is no larger than
/// they are.
pub fn sse(data: &[u8]) {
    let mut dice = Dice::of(data);
    for kind in [TYPES[0], dice.pick(&TYPES)] {
        let mut whole = Collector::new(kind);
        whole.push(data);
        assert!(whole.len() <= data.len(), "{} bytes of {}", whole.len(), data.len());
        let (begun, length) = (whole.has_begun(), whole.len());
        let expected = whole.finish();
        for most in [1, 3, 64, data.len()] {
            let mut collector = Collector::new(kind);
            let mut rest = data;
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at((1 + dice.below(most)).min(rest.len()));
                collector.push(chunk);
                if dice.one_in(8) {
                    collector.push(b"");
                }
                rest = after;
            }
            assert_eq!((collector.has_begun(), collector.len()), (begun, length));
            assert_eq!(collector.finish(), expected);
        }
    }
    for coding in [CODINGS[0], dice.pick(&CODINGS)] {
        let (dialect, kind) = (DIALECTS[dice.below(3)], dice.pick(&TYPES));
        let read = |chunks: &mut dyn Iterator<Item = &[u8]>| {
            let mut reader = UsageReader::new(dialect, kind, coding);
            chunks.for_each(|chunk| reader.push(chunk));
            reader.finish().ok()
        };
        let whole = read(&mut [data].into_iter());
        for most in [1, 3, 64] {
            assert_eq!(read(&mut data.chunks(1 + dice.below(most))), whole);
        }
    }
}
