//! The outline of a text by itself, or beside a result.

use std::ops::Range;

use epitome_work::Cancel;

use super::{CompactError, Compactor, Opened, error::LONGEST};
use crate::{
    compaction::{CompactRequest, Compaction, Outcome},
    outline::{self, Topic},
};

/// Most bytes of a character of text within JSON, for each byte of the character.
const ESCAPED: usize = 6;

impl Compactor {
    /// The outline of a text: a line for each of its topics, in the order of the source and in its own words. Of more
    /// than `most` topics, those that begin least clearly are joined to the one before. No model takes part, and of the
    /// request only the text, its model and its origin count.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use epitome_compactor::{Cache, Cancel, CompactRequest, Compactor, config::Config};
    /// # use epitome_engine::{Models, config};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let models = Arc::new(Models::new(&config::Models::default())?);
    /// # let compactor = Compactor::new(Config::default(), models, Arc::new(Cache::disabled()))?;
    /// let chat = format!(
    ///     "Let's talk about the lease. {}\n\nNow let's move on to the new lift. {}",
    ///     "It ends in May, and the landlord wants more. ".repeat(9),
    ///     "It stops between floors, and nobody knows why. ".repeat(9),
    /// );
    /// let request = CompactRequest::new(chat, "25%".parse()?);
    /// let topics = compactor.outline(&request, None, &Cancel::never())?;
    /// let lines: Vec<&str> = topics.iter().map(|topic| topic.line.as_str()).collect();
    /// assert_eq!(lines, ["the lease", "the new lift"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CompactError::TooLong`], or [`CompactError::Stopped`] when `cancel` says so.
    pub fn outline(
        &self,
        request: &CompactRequest,
        most: Option<usize>,
        cancel: &Cancel,
    ) -> Result<Vec<Topic>, CompactError> {
        let text = request.text.as_str();
        if text.len() > LONGEST {
            return Err(CompactError::TooLong { bytes: text.len() });
        }
        let counter = self.counter(request.model.as_deref());
        let opened = Opened::new(text, request.origin.hint(), &[], cancel)?;
        let doc = self.document(&opened, counter.as_ref(), cancel)?;
        cancel.check()?;
        let topics = outline::outline(&doc, most.unwrap_or(usize::MAX));
        let lines: Vec<Range<usize>> = topics.iter().map(|topic| topic.line.clone()).collect();
        let lines = opened.sources(&lines);
        let starts: Vec<Range<usize>> =
            topics.iter().map(|topic| topic.source.start..topic.source.start).collect();
        // What is not text of a JSON document belongs to the topic before it.
        let starts: Vec<usize> = opened.sources(&starts).into_iter().map(|at| at.start).collect();
        // A line of a text within JSON must be one there, too, and topics must rise: a string that holds a document of its
        // own has one place for all of its.
        let mut last = None;
        let mut own: Vec<(&outline::Stretch, Range<usize>, usize)> = Vec::with_capacity(topics.len());
        for ((topic, line), start) in topics.iter().zip(lines).zip(starts) {
            let rises = last.is_none_or(|last| start > last);
            if rises && !line.is_empty() && line.len() <= ESCAPED * topic.line.len() {
                last = Some(start);
                own.push((topic, line, if own.is_empty() { 0 } else { start }));
            }
        }
        let ends: Vec<usize> = own.iter().skip(1).map(|(_, _, start)| *start).chain([text.len()]).collect();
        let topic = |((topic, line, start), end): ((&outline::Stretch, Range<usize>, usize), usize)| {
            let said = text.get(line.clone())?.to_owned();
            Some(Topic {
                line: said,
                source: start..end,
                line_source: line,
                reference: None,
                kind: topic.kind,
            })
        };
        Ok(own.into_iter().zip(ends).filter_map(topic).collect())
    }

    /// As [`Compactor::outline`], with the number under which the first piece of `compaction` that stands in each topic is
    /// cited.
    ///
    /// # Errors
    ///
    /// As [`Compactor::outline`].
    pub fn outline_of(
        &self,
        request: &CompactRequest,
        compaction: &Compaction,
        cancel: &Cancel,
    ) -> Result<Vec<Topic>, CompactError> {
        let mut topics = self.outline(request, None, cancel)?;
        if compaction.outcome != Outcome::Compacted {
            return Ok(topics);
        }
        let mut pieces: Vec<(usize, usize)> =
            compaction.pieces.iter().map(|piece| (piece.source.start, piece.reference)).collect();
        pieces.sort_unstable();
        for topic in &mut topics {
            let at = pieces.partition_point(|(start, _)| *start < topic.source.start);
            let within = pieces.get(at).filter(|(start, _)| *start < topic.source.end);
            topic.reference = within.map(|(_, reference)| *reference);
        }
        Ok(topics)
    }
}
