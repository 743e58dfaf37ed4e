//! The text of spans for readers and models, who need no line numbers.

use std::{borrow::Cow, ops::Range};

use super::Document;
use crate::{Kind, kinds};

impl<'a> Document<'a> {
    /// The text of a span for reading: in extracted pages, words hyphenated at line breaks are rejoined.
    pub fn reading(&self, span: usize) -> Cow<'a, str> {
        match self.plain(span) {
            text if self.kind.plain() != Kind::Pages => text,
            Cow::Borrowed(text) => kinds::pages::joined(text),
            Cow::Owned(text) => Cow::Owned(kinds::pages::joined(&text).into_owned()),
        }
    }

    /// The text of a span without line numbers and surrounding white space.
    pub fn plain(&self, span: usize) -> Cow<'a, str> {
        match self.numbering {
            Some(_) => Cow::Owned(self.words(span).collect::<String>().trim().to_owned()),
            None => Cow::Borrowed(self.span_text(span)),
        }
    }

    /// The stretches of a span that are not line numbers: all of it, or what is behind the number of each line.
    pub fn words(&self, span: usize) -> impl Iterator<Item = &'a str> {
        let text = &self.text[self.spans[span].range.clone()];
        let behind = self.numbering.into_iter().flat_map(move |numbering| numbering.behind(text));
        self.numbering.is_none().then_some(text).into_iter().chain(behind)
    }

    /// The end of consecutive spans without numbered blank lines at their end.
    pub fn said_end(&self, spans: &Range<usize>) -> usize {
        let Some(last) = spans.clone().next_back() else { return 0 };
        let (start, mut end) = (self.spans[spans.start].range.start, self.spans[last].range.end);
        let Some(numbering) = self.numbering else { return end };
        for line in self.text[start..end].split_inclusive('\n').rev() {
            if end - line.len() == start || !numbering.behind(line).all(|text| text.trim().is_empty()) {
                break;
            }
            end -= line.len();
        }
        end
    }
}
