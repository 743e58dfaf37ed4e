//! The abstractive summarizer: a local decoder or a server writes, [`grounding`](super::grounding) and
//! [`support`] decide.
//!
//! A sentence that holds a figure, date, name, quotation or identifier that its source does not, or that no one to three
//! sentences of it support, is replaced by the source's best extracted sentence. A merge re-reads the extracted evidence of its
//! children beside their summaries, since merging summaries alone amplifies what was invented
//! (arXiv 2502.00977).

use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
};

use epitome_engine::{ChatMessage, Class, Finish, Grounds, Sampling};
use epitome_text as text;

use super::{
    Context, Nodes, Point, SummarizeError, Summarizer, Summary, extractive,
    grounding::{self, OPENERS},
    support,
};
use crate::{
    cache::{self, Key, KeyParts},
    remote::{Chat, RemoteError, Written},
};

/// Tokens of evidence that a merge re-reads for each child.
const EVIDENCE: usize = 80;
/// Bytes of a source that is not shortened any more.
const SHORTEST: usize = 400;
/// Words for a number of tokens.
const WORDS_PER_TOKEN: f32 = 0.7;

/// Summaries that are asked of the decoder at once; its engine batches them.
const AT_ONCE: usize = 64;

/// Summaries that somebody writes, greedily.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abstractive<'a> {
    /// Who.
    pub writer: Writer<'a>,
    /// Whether figures and capitalised words that the source does not hold are not even written; for the
    /// decoder alone.
    pub grounded_decoding: bool,
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writer<'a> {
    /// `models.decoder`.
    Decoder,
    /// The server in `summarizer`.
    Server(&'a Chat),
}

impl Summarizer for Abstractive<'_> {
    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn leaf(&self, context: &Context<'_>, index: usize, budget: usize) -> Result<Summary, SummarizeError> {
        let doc = context.doc;
        let segment = &doc.segments[index];
        let source = &doc.text[segment.range.clone()];
        let (written, nodes) = self.write(context, ("summary-leaf.txt", 0), source, budget)?;
        let spans: Vec<usize> = segment.spans.clone().collect();
        let summary = ground(context, &written, source, segment.range.clone(), &spans, budget);
        Ok(Summary { nodes, ..summary })
    }

    fn merge(
        &self,
        context: &Context<'_>,
        level: usize,
        children: &[Summary],
        segments: &[usize],
        budget: usize,
    ) -> Result<Summary, SummarizeError> {
        let doc = context.doc;
        let Some((first, last)) = segments.first().zip(segments.last()) else {
            return Ok(Summary::default());
        };
        let range = doc.segments[*first].range.start..doc.segments[*last].range.end;
        let spans: Vec<usize> = segments.iter().flat_map(|s| doc.segments[*s].spans.clone()).collect();
        let mut notes = String::new();
        for child in children {
            for point in &child.points {
                match point {
                    Point::Span(span) => notes.push_str(doc.span_text(*span)),
                    Point::Text { text, .. } => notes.push_str(text),
                }
                notes.push(' ');
            }
            notes.push('\n');
        }
        for point in extractive::choose(context, &spans, EVIDENCE * children.len()) {
            if let Point::Span(span) = point {
                notes.push_str(doc.span_text(span));
                notes.push('\n');
            }
        }
        let (written, nodes) = self.write(context, ("summary-merge.txt", level), &notes, budget)?;
        // Grounded in the segments themselves, not in the notes.
        let source: String = segments.iter().map(|s| &doc.text[doc.segments[*s].range.clone()]).collect();
        let mut summary = ground(context, &written, &source, range, &spans, budget);
        summary.nodes = nodes;
        for child in children {
            summary.ungrounded += child.ungrounded;
            summary.nodes += child.nodes;
        }
        Ok(summary)
    }
}

impl Abstractive<'_> {
    /// What is written for a template at a level, from the cache where it is there; and the node that this is.
    fn write(
        &self,
        context: &Context<'_>,
        (template, level): (&str, usize),
        source: &str,
        budget: usize,
    ) -> Result<(String, Nodes), SummarizeError> {
        context.cancel.check()?;
        let words = ((budget as f32 * WORDS_PER_TOKEN) as usize).max(10);
        let model = match self.writer {
            Writer::Decoder => context.models.decoder_key()?,
            Writer::Server(chat) => format!("server {}", chat.identity()),
        };
        let key = Key::from(&KeyParts {
            stage: "summary-3",
            segment: source.as_bytes(),
            model: &model,
            template: context.templates.source(template),
            params: format!("{budget} {} {level}", self.grounded_decoding).as_bytes(),
        });
        let compute = || {
            let (text, whole) = match self.writer {
                Writer::Decoder => self.decode(context, (template, level), source, words, budget),
                Writer::Server(chat) => ask(chat, context, (template, level), source, words, budget),
            }?;
            // What the repetition guard or the limit broke off has no end: its last sentence goes.
            Ok::<_, SummarizeError>(complete(&text, whole).into_bytes())
        };
        let (bytes, from) = context.cache.get_or_compute(&key, compute)?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), Nodes::one(from == cache::Source::Computed)))
    }

    /// By the decoder: the text, and whether it ended it itself. A source that does not fit its context is
    /// read as far as it does.
    fn decode(
        &self,
        context: &Context<'_>,
        (template, level): (&str, usize),
        mut source: &str,
        words: usize,
        budget: usize,
    ) -> Result<(String, bool), SummarizeError> {
        let decoder = context.models.decoder()?;
        // Of the source as a whole, though a part of it may be all that is read.
        let grounds = self.grounded_decoding.then(|| Arc::new(Grounds::new(source, OPENERS.iter().copied())));
        let sampling = Sampling { repetition_guard: true, grounds, ..Sampling::greedy(budget) };
        loop {
            let prompt = context.templates.prompt(template, source, words, level)?;
            let message = ChatMessage { role: "user".into(), content: prompt };
            let prompt = decoder.chat_prompt(&[message])?;
            if decoder.count(&prompt)? + budget < decoder.context_length() || source.len() < SHORTEST {
                let mut sink = |piece: &str| {
                    context.cancel.steps().wrote(piece);
                    match context.cancel.check() {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(_) => ControlFlow::Break(()),
                    }
                };
                let generated = decoder.generate(Class::Summary, &prompt, &sampling, &mut sink)?;
                context.cancel.check()?;
                return Ok((generated.text, generated.finish == Finish::Stop));
            }
            source = shortened(source);
        }
    }
}

/// By a server, likewise.
fn ask(
    chat: &Chat,
    context: &Context<'_>,
    (template, level): (&str, usize),
    mut source: &str,
    words: usize,
    budget: usize,
) -> Result<(String, bool), SummarizeError> {
    loop {
        let prompt = context.templates.prompt(template, source, words, level)?;
        match chat.write(&prompt, budget, context.cancel) {
            Ok(Written { text, whole }) => return Ok((text, whole)),
            Err(RemoteError::TooLong { .. }) if source.len() >= SHORTEST => source = shortened(source),
            Err(RemoteError::Stopped(stopped)) => return Err(stopped.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn shortened(source: &str) -> &str {
    source.get(..source.floor_char_boundary(source.len() * 3 / 4)).unwrap_or_default()
}

/// The text without a last sentence that was broken off.
fn complete(text: &str, whole: bool) -> String {
    let text = text.trim();
    if whole || text.ends_with(['.', '!', '?']) {
        return text.to_owned();
    }
    let ends = text::sentence_ends(text);
    let end = if ends.len() > 1 { ends[ends.len() - 2] } else { 0 };
    text[..end].trim().to_owned()
}

/// The sentences of `written` that `source` holds and supports, each other one replaced by the best extracted
/// sentence that is not used yet; at most `budget` tokens.
fn ground(
    context: &Context<'_>,
    written: &str,
    source: &str,
    range: Range<usize>,
    spans: &[usize],
    budget: usize,
) -> Summary {
    let known = grounding::Source::new(source);
    let sentences = support::Source::new(context.doc, spans);
    let mut summary = Summary::default();
    let mut left = budget;
    let mut seen: Vec<String> = Vec::new();
    let mut start = 0;
    let mut refused = 0;
    for end in text::sentence_ends(written) {
        let sentence = written[start..end].trim().to_owned();
        start = end;
        let plain = sentence.to_lowercase();
        if sentence.is_empty() || seen.contains(&plain) {
            continue;
        }
        seen.push(plain);
        let support = known.holds(&sentence).then(|| sentences.support(&sentence).ok()).flatten();
        let Some(support) = support else {
            refused += 1;
            continue;
        };
        let tokens = context.counter.count(&sentence);
        if tokens <= left {
            left -= tokens;
            let cites = support.into_iter().map(|span| context.doc.trimmed(&(span..span + 1))).collect();
            summary.points.push(Point::Text { text: sentence, source: range.clone(), cites, tokens });
        }
    }
    summary.ungrounded = refused;
    if refused > 0 || summary.points.is_empty() {
        let wanted = refused.max(1);
        let mut evidence = extractive::choose(context, spans, left);
        evidence.truncate(wanted);
        summary.points.extend(evidence);
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_sentence_goes() {
        assert_eq!(complete("One is here. Two is bro", false), "One is here.");
        assert_eq!(complete("One is here. Two is whole", true), "One is here. Two is whole");
        assert_eq!(complete("Only a broken", false), "");
    }
}
