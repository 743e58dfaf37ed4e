//! Reads the usage that an answer reports while it passes.

use thiserror::Error;

use super::{
    Dialect,
    decode::{Coding, Decoder, UnknownCoding},
    events::{Events, Piece},
    scan::{Path, Scan},
    usage::{Reported, Usage},
};

/// Reads the chunks of an answer's body as they are forwarded. It holds nothing back: what it keeps is a few
/// hundred bytes, a usage object of at most 64 KiB, and what the content coding needs.
pub struct UsageReader {
    decoder: Result<Decoder, UnknownCoding>,
    /// Why the coding could not be undone to the end.
    damaged: Option<String>,
    inner: Inner,
}

/// Why an answer has no usage.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoUsage {
    /// It reported none: an error, an answer that broke off, a stream whose client did not ask for usage
    /// (`stream_options.include_usage` in a chat request), or a server that never reports it.
    #[error("the answer reports no usage")]
    Absent,
    /// Its content coding is not known here.
    #[error("the usage cannot be read: {0}")]
    Coding(#[from] UnknownCoding),
    /// Its content coding is damaged.
    #[error("the usage cannot be read: the content coding is damaged: {0}")]
    Damaged(String),
}

/// What is behind the content coding.
struct Inner {
    dialect: Dialect,
    /// Server-sent events; `None` for one JSON value.
    events: Option<Events>,
    scan: Scan,
    reported: Reported,
}

/// Where an answer of a dialect reports usage.
fn paths(dialect: Dialect) -> &'static [Path] {
    match dialect {
        Dialect::Chat => &[&["usage"]],
        // `message_start` has it in the message, `message_delta` and a plain answer outside.
        Dialect::Messages => &[&["usage"], &["message", "usage"]],
        // The events have it in the response, a plain answer is the response.
        Dialect::Responses => &[&["usage"], &["response", "usage"]],
    }
}

impl UsageReader {
    /// A reader for an answer with these values of `Content-Type` and `Content-Encoding` (empty if there is no
    /// such header).
    pub fn new(dialect: Dialect, content_type: &str, content_encoding: &str) -> Self {
        let is_stream = content_type.trim_start().to_ascii_lowercase().starts_with("text/event-stream");
        Self {
            decoder: Coding::parse(content_encoding).map(Decoder::new),
            damaged: None,
            inner: Inner {
                dialect,
                events: is_stream.then(Events::default),
                scan: Scan::new(paths(dialect)),
                reported: Reported::default(),
            },
        }
    }

    /// Reads the next chunk of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        let Self { decoder: Ok(decoder), damaged: damaged @ None, inner } = self else { return };
        if let Err(error) = decoder.push(chunk, &mut |bytes| inner.push(bytes)) {
            *damaged = Some(error.to_string());
        }
    }

    /// The usage reported so far.
    pub fn usage(&self) -> Option<Usage> {
        self.inner.reported.usage(self.inner.dialect)
    }

    /// The usage, once the body has ended or broken off.
    ///
    /// # Errors
    ///
    /// [`NoUsage`] if none was reported or could be read.
    pub fn finish(mut self) -> Result<Usage, NoUsage> {
        let Self { decoder, damaged, inner } = &mut self;
        if let (Ok(decoder), None) = (decoder, damaged) {
            decoder.finish(&mut |bytes| inner.push(bytes));
        }
        match (self.usage(), self.decoder, self.damaged) {
            (Some(usage), ..) => Ok(usage),
            (None, Err(unknown), _) => Err(unknown.into()),
            (None, _, Some(damaged)) => Err(NoUsage::Damaged(damaged)),
            (None, ..) => Err(NoUsage::Absent),
        }
    }
}

impl Inner {
    fn push(&mut self, bytes: &[u8]) {
        let Self { dialect, events, scan, reported } = self;
        let mut found = |json: &[u8]| reported.add(*dialect, json);
        let Some(events) = events else {
            scan.feed(bytes, &mut found);
            return;
        };
        events.feed(bytes, |piece| match piece {
            Piece::Data(data) => scan.feed(data, &mut found),
            // Data of several lines is joined by line breaks. Servers that forget the empty line between events
            // send complete values.
            Piece::Line if scan.is_at_rest() => scan.reset(),
            Piece::Line => {}
            Piece::End => scan.reset(),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bill::decode::tests::encoded;

    const CHAT_STREAM: &str = concat!(
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":",
        "{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
        ": keep-alive\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"say \\\"usage\\\":{\\\"prompt_tokens\\\":1}, ü\"}}],",
        "\"usage\":null}\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{\\\"usage\\\":{}}\"},",
        "\"usage\":{\"prompt_tokens\":1}}]}}],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":2006,\"completion_tokens\":300,\"total_tokens\":2306,",
        "\"prompt_tokens_details\":{\"cached_tokens\":1920,\"cache_write_tokens\":80,\"audio_tokens\":0}}}\n\n",
        "data: [DONE]\n\n"
    );
    const CHAT: Usage = Usage { input: 6, cached: 1920, written_5m: 80, written_1h: 0, output: 300 };

    const MESSAGES_STREAM: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",",
        "\"role\":\"assistant\",\"content\":[],\"model\":\"claude-opus-5-5\",\"stop_reason\":null,\"usage\":{",
        "\"input_tokens\":4,\"cache_creation_input_tokens\":1500,\"cache_read_input_tokens\":20000,",
        "\"cache_creation\":{\"ephemeral_5m_input_tokens\":1000,\"ephemeral_1h_input_tokens\":500},",
        "\"output_tokens\":1,\"service_tier\":\"standard\"}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{",
        "\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":",
        "\"text_delta\",\"text\":\"data: {\\\"usage\\\":{\\\"output_tokens\\\":7}}\"}}\n\n",
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",",
        "\"stop_sequence\":null},\"usage\":{\"output_tokens\":89}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    );
    const MESSAGES: Usage = Usage { input: 4, cached: 20_000, written_5m: 1000, written_1h: 500, output: 89 };

    const RESPONSES_STREAM: &str = concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":",
        "\"resp_1\",\"status\":\"in_progress\",\"output\":[],\"usage\":null}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"usage\"}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",",
        "\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":",
        "\"\\\"usage\\\":{}\"}],\"usage\":{\"input_tokens\":1}}],\"usage\":{\"input_tokens\":36,",
        "\"input_tokens_details\":{\"cached_tokens\":20},\"output_tokens\":87,\"output_tokens_details\":",
        "{\"reasoning_tokens\":64},\"total_tokens\":123},\"metadata\":{\"usage\":\"none\"}}}\n\n"
    );
    const RESPONSES: Usage = Usage { input: 16, cached: 20, written_5m: 0, written_1h: 0, output: 87 };

    fn streams() -> [(Dialect, &'static str, Usage); 3] {
        [
            (Dialect::Chat, CHAT_STREAM, CHAT),
            (Dialect::Messages, MESSAGES_STREAM, MESSAGES),
            (Dialect::Responses, RESPONSES_STREAM, RESPONSES),
        ]
    }

    fn read(dialect: Dialect, kind: &str, coding: &str, pieces: &[&[u8]]) -> Result<Usage, NoUsage> {
        let mut reader = UsageReader::new(dialect, kind, coding);
        pieces.iter().for_each(|piece| reader.push(piece));
        reader.finish()
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_usage(cuts in prop::collection::vec(0usize..4000, 0..16), step in 1usize..40) {
            for (dialect, stream, usage) in streams() {
                for stream in [stream.to_owned(), stream.replace("\r\n", "\n").replace('\n', "\r\n")] {
                    for (coding, bytes) in encoded(stream.as_bytes()) {
                        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
                        cuts.extend([0, bytes.len()]);
                        cuts.sort_unstable();
                        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
                        let kind = "Text/Event-Stream; charset=utf-8";
                        prop_assert_eq!(read(dialect, kind, coding, &pieces), Ok(usage));
                        let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
                        prop_assert_eq!(read(dialect, kind, coding, &pieces), Ok(usage));
                    }
                }
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, kind in prop::sample::select(vec!["text/event-stream", ""])) {
            for dialect in [Dialect::Chat, Dialect::Messages, Dialect::Responses] {
                let _ = read(dialect, kind, "", &[b"data: {\"usage\":", &bytes]);
            }
        }
    }

    /// Every byte boundary, not only those that are drawn.
    #[test]
    fn a_stream_may_be_cut_between_any_two_bytes() {
        for (dialect, stream, usage) in streams() {
            for cut in 0..=stream.len() {
                let (one, two) = stream.as_bytes().split_at(cut);
                assert_eq!(
                    read(dialect, "text/event-stream", "", &[one, two]),
                    Ok(usage),
                    "{dialect:?} {cut}"
                );
            }
        }
    }

    #[test]
    fn whole_answers_are_read() {
        let chat = r#"{"id":"chatcmpl-1","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":9}"}}],
            "usage":{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}},"x":1}"#;
        let expected = Usage { input: 8, cached: 4, output: 3, ..Usage::default() };
        assert_eq!(read(Dialect::Chat, "application/json", "", &[chat.as_bytes()]), Ok(expected));
        let messages = r#"{"type":"message","usage":{"input_tokens":12,"cache_read_input_tokens":4,"output_tokens":3},
            "content":[{"type":"tool_use","input":{"usage":{"input_tokens":99}}}]}"#;
        let expected = Usage { input: 12, cached: 4, output: 3, ..Usage::default() };
        assert_eq!(read(Dialect::Messages, "application/json", "", &[messages.as_bytes()]), Ok(expected));
        let responses = r#"{"object":"response","output":[{"usage":{"input_tokens":99}}],
            "usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":4},"output_tokens":3}}"#;
        let expected = Usage { input: 8, cached: 4, output: 3, ..Usage::default() };
        assert_eq!(read(Dialect::Responses, "application/json", "", &[responses.as_bytes()]), Ok(expected));
    }

    /// Wherever usage stands and however long the answer is, no more than the usage is kept.
    #[test]
    fn long_answers_are_not_kept() {
        let text = "x\\\"usage\\\":{".repeat(1 << 20);
        for (before, after) in [(text.as_str(), ""), ("", text.as_str())] {
            let body = format!(
                r#"{{"a":"{before}","usage":{{"prompt_tokens":5,"completion_tokens":2}},"b":"{after}"}}"#
            );
            let pieces: Vec<&[u8]> = body.as_bytes().chunks(1400).collect();
            assert_eq!(read(Dialect::Chat, "application/json", "", &pieces).unwrap().input, 5);
        }
        // One event as long as that, as Responses sends at the end.
        let event = format!(
            "data: {{\"response\":{{\"output\":\"{text}\",\"usage\":{{\"input_tokens\":5,\"output_tokens\":2}}}}}}\n\n"
        );
        let pieces: Vec<&[u8]> = event.as_bytes().chunks(1400).collect();
        assert_eq!(read(Dialect::Responses, "text/event-stream", "", &pieces).unwrap().input, 5);
    }

    #[test]
    fn a_stream_that_breaks_off_tells_what_it_told() {
        let cut = MESSAGES_STREAM.find("event: message_delta").unwrap();
        let usage = read(Dialect::Messages, "text/event-stream", "", &[&MESSAGES_STREAM.as_bytes()[..cut]]);
        assert_eq!(usage, Ok(Usage { output: 1, ..MESSAGES }));
        // The next event is read although the one before is not complete.
        let broken = format!("data: {{\"a\":\"\n\n{CHAT_STREAM}");
        assert_eq!(read(Dialect::Chat, "text/event-stream", "", &[broken.as_bytes()]), Ok(CHAT));
    }

    #[test]
    fn data_of_several_lines_and_events_without_a_gap_are_read() {
        let lines = "data: {\"usage\":\ndata: {\"prompt_tokens\":5,\ndata:\"completion_tokens\":2}}\n\n";
        assert_eq!(read(Dialect::Chat, "text/event-stream", "", &[lines.as_bytes()]).unwrap().prompt(), 5);
        let tight = "data: {\"usage\":null}\ndata: {\"usage\":{\"prompt_tokens\":5}}\ndata: [DONE]\n";
        assert_eq!(read(Dialect::Chat, "text/event-stream", "", &[tight.as_bytes()]).unwrap().prompt(), 5);
    }

    #[test]
    fn it_is_said_why_there_is_no_usage() {
        let answer = br#"{"choices":[{"usage":{"prompt_tokens":1}}],"usage":null}"#;
        assert_eq!(read(Dialect::Chat, "", "", &[answer]), Err(NoUsage::Absent));
        let unknown = read(Dialect::Chat, "", "compress", &[answer]).unwrap_err();
        assert!(unknown.to_string().contains("\"compress\" is not known"), "{unknown}");
        let damaged = read(Dialect::Chat, "", "gzip", &[answer]).unwrap_err();
        assert!(matches!(damaged, NoUsage::Damaged(_)), "{damaged}");
    }

    #[test]
    fn a_reader_may_move_between_threads() {
        fn moves<T: Send + 'static>(_: T) {}
        moves(UsageReader::new(Dialect::Chat, "", "zstd"));
    }
}
