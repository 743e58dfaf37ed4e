//! Fitting to the budget: select, summarize, place and render, until what the template wrote is
//! within the ceiling and fills it.

use std::{ops::Range, time::Instant};

use epitome_text::{Content, Document, Role, tokens::TokenCounter};
use epitome_work::{Cancel, Stage};

use super::{CompactError, Compactor, label, millis, opened::Opened};
use crate::{
    compaction::{Figures, Piece, PieceKind, Place},
    config::{CodePolicy, SummarizerKind},
    outline::Head,
    place::{self, Entry, Kept, Sizes, Unit, Written},
    rank::Ranking,
    remote::Chat,
    render::in_place,
    summarize::{
        self, Point, Summarizer, Summary,
        abstractive::{Abstractive, Writer},
        extractive::Extractive,
    },
};

/// Rounds in which the selection is fitted to the exact count of what the template wrote.
const ROUNDS: usize = 8;
/// Room that is left unused rather than to select again.
const SLACK: usize = 24;
/// A segment of which more than this share survives verbatim needs no summary.
const SURVIVES: f64 = 0.5;
/// One compaction under way, after ranking.
pub(super) struct Work<'a> {
    pub(super) compactor: &'a Compactor,
    pub(super) doc: &'a Document<'a>,
    pub(super) opened: &'a Opened<'a>,
    pub(super) ranking: &'a Ranking,
    pub(super) counter: &'a dyn TokenCounter,
    pub(super) query: &'a str,
    pub(super) budget: usize,
    /// What stands at the head, for a question about the structure of the text.
    pub(super) outline: Option<Head>,
    /// What of the text stands above it in what the model sees.
    pub(super) above: &'a [Range<usize>],
    pub(super) cancel: &'a Cancel,
}

/// A rendering that is within the budget.
pub(super) struct Fitted {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) tokens: usize,
    /// Where each span stands; `None` if it was left out.
    pub(super) places: Vec<Option<Place>>,
}

impl Work<'_> {
    /// Selects, summarizes, places and renders, until what the template wrote fills the budget and
    /// does not exceed it. What is pinned stands in it, or it is an error.
    pub(super) fn fit(
        &self,
        units: &[Unit],
        share: f64,
        figures: &mut Figures,
    ) -> Result<Fitted, CompactError> {
        let pin_code = self.compactor.config.code == CodePolicy::Keep && units.iter().any(|unit| unit.code);
        let pinned = units.iter().any(|unit| unit.is_pinned(pin_code));
        let open = self.budget.saturating_sub(self.outline.as_ref().map_or(0, |outline| outline.tokens));
        let mut summary_budget = ((self.budget as f64 * self.written_share(share)) as usize).min(open);
        let mut room = open;
        let mut summary: Option<Summary> = None;
        let mut best: Option<Fitted> = None;
        // What the last round that was over came to, and by how much room it was cut.
        let mut last = (0, 0);
        for _ in 0..ROUNDS {
            self.cancel.check()?;
            let stage = Instant::now();
            let spans_room = room.saturating_sub(summary.as_ref().map_or(summary_budget, |s| self.size(s)));
            let mut kept = self.select(units, spans_room, pin_code, share);
            figures.millis.place += millis(stage);
            if pinned && !self.holds_all_pinned(&kept, pin_code) {
                // Summaries give way to what is pinned.
                if summary_budget == 0 {
                    break;
                }
                (summary_budget, summary, room) = (0, None, open);
                continue;
            }
            if summary.is_none() && summary_budget > 0 {
                let stage = Instant::now();
                self.cancel.steps().enter(Stage::Summarize);
                let made = self.summarize(&kept, summary_budget)?;
                self.cancel.steps().enter(Stage::Fit);
                figures.millis.summarize += millis(stage);
                figures.ungrounded = made.ungrounded;
                // A floor is found in several rounds, and what one wrote the next has.
                figures.summary_nodes_new += made.nodes.new;
                figures.summary_nodes = made.nodes.all.max(figures.summary_nodes_new);
                if self.compactor.config.summarize.kind == SummarizerKind::Abstractive {
                    figures.models.push(label(&self.compactor.models.decoder_id()?));
                }
                figures.models.extend(self.compactor.remotes.summarizer.as_ref().map(Chat::identity));
                summary = Some(made);
            }
            let written = self.add_summary(summary.as_ref(), &mut kept);
            let stage = Instant::now();
            let fitted = self.render(&kept, &written)?;
            figures.millis.render += millis(stage);
            let tokens = fitted.tokens;
            if kept.is_empty() && written.is_empty() {
                break;
            }
            if tokens > self.budget {
                // Less room that leaves the selection as it was is not enough.
                let over = if last.0 == tokens { 2 * last.1 } else { tokens - self.budget };
                last = (tokens, over);
                // Spans give way first; when none are left, the summary does.
                match &mut summary {
                    Some(summary) if spans_room <= over && !summary.points.is_empty() => {
                        thin_out(&mut summary.points, self.budget, tokens);
                    }
                    _ if room <= over => break,
                    _ => {}
                }
                room = room.saturating_sub(over);
                continue;
            }
            let slack = self.budget - tokens;
            let better = best.as_ref().is_none_or(|best| best.tokens < tokens);
            if better {
                best = Some(fitted);
            }
            // What is free may hold one more unit; what that overshoots is taken back next round.
            if !better || slack < SLACK {
                break;
            }
            room += slack;
        }
        match best {
            Some(fitted) => Ok(fitted),
            None if pinned => self.pinned_alone(units, pin_code),
            None => self.single_span(),
        }
    }

    /// The share for summaries that are made apart from what is kept: of a whole, only those that are written.
    fn written_share(&self, share: f64) -> f64 {
        let extracts = !self.compactor.config.summarize.kind.writes();
        if self.ranking.whole.is_some() && extracts { 0.0 } else { share }
    }

    fn select(&self, units: &[Unit], room: usize, pin_code: bool, share: f64) -> Vec<Kept> {
        if self.ranking.called {
            return place::runs(self.doc, self.ranking, units, room, pin_code);
        }
        let Some(whole) = &self.ranking.whole else {
            return place::select(self.doc, self.ranking, units, room, pin_code);
        };
        let extracts = share > 0.0 && self.written_share(share) == 0.0;
        let kind = if extracts { PieceKind::Extract } else { PieceKind::Span };
        place::cover(self.doc, whole, units, room, pin_code, kind)
    }

    fn size(&self, summary: &Summary) -> usize {
        let context = self.context();
        summary.points.iter().map(|point| context.tokens(point) + place::ENTRY).sum()
    }

    fn holds_all_pinned(&self, kept: &[Kept], pin_code: bool) -> bool {
        let mut held = vec![false; self.doc.spans.len()];
        for run in kept {
            held[run.spans.clone()].fill(true);
        }
        let stays = |at: usize| {
            let span = &self.doc.spans[at];
            span.role == Role::Pinned && !self.doc.span_text(at).is_empty() || pin_code && span.code
        };
        held.into_iter().enumerate().all(|(at, held)| held || !stays(at))
    }

    fn context(&self) -> summarize::Context<'_> {
        summarize::Context {
            doc: self.doc,
            ranking: self.ranking,
            templates: &self.compactor.templates,
            models: &self.compactor.models,
            cache: &self.compactor.cache,
            counter: self.counter,
            cancel: self.cancel,
        }
    }

    /// The tree over the segments that do not survive verbatim.
    fn summarize(&self, kept: &[Kept], budget: usize) -> Result<Summary, CompactError> {
        let mut surviving = vec![0; self.doc.segments.len()];
        for span in kept.iter().flat_map(|run| run.spans.clone()) {
            surviving[self.doc.spans[span].segment] += self.doc.spans[span].tokens;
        }
        let lost: Vec<usize> = (0..self.doc.segments.len())
            .filter(|s| (surviving[*s] as f64) < SURVIVES * self.doc.segments[*s].tokens as f64)
            .collect();
        let leaf = self.compactor.config.summarize.leaf_tokens;
        let summarizer: &dyn Summarizer = match self.compactor.config.summarize.kind {
            SummarizerKind::Abstractive => &Abstractive {
                writer: Writer::Decoder,
                grounded_decoding: self.compactor.config.summarize.grounded_decoding,
            },
            SummarizerKind::OpenAi => match &self.compactor.remotes.summarizer {
                Some(chat) => &Abstractive { writer: Writer::Server(chat), grounded_decoding: false },
                // The clients are set up with the compactor.
                None => &Extractive,
            },
            _ => &Extractive,
        };
        Ok(summarize::tree::summarize(&self.context(), summarizer, &lost, budget, leaf)?)
    }

    /// Adds the sentences of a summary to the kept runs, and returns its generated text.
    fn add_summary(&self, summary: Option<&Summary>, kept: &mut Vec<Kept>) -> Vec<Written> {
        let mut taken = vec![false; self.doc.spans.len()];
        for span in kept.iter().flat_map(|run| run.spans.clone()) {
            taken[span] = true;
        }
        let mut written: Vec<Written> = Vec::new();
        for point in summary.iter().flat_map(|summary| &summary.points) {
            match point {
                Point::Span(span) if !std::mem::replace(&mut taken[*span], true) => kept.push(Kept {
                    spans: *span..span + 1,
                    kind: PieceKind::Extract,
                    score: self.ranking.salience[*span],
                }),
                Point::Span(_) => {}
                Point::Text { text, source, cites, .. } => match written.last_mut() {
                    Some(last) if last.source == *source => {
                        last.text.push(' ');
                        last.add(text, cites);
                    }
                    _ => {
                        let mut new = Written::new(source.clone());
                        new.add(text, cites);
                        written.push(new);
                    }
                },
            }
        }
        written
    }

    fn render(&self, kept: &[Kept], written: &[Written]) -> Result<Fitted, CompactError> {
        // What stands for a whole says some of it by its order, and so does what a tool gave.
        let sizes = match self.ranking.whole.is_some() || self.ranking.called {
            true => Sizes::NONE,
            false => Sizes::of(self.doc, self.budget, &self.compactor.config.place),
        };
        let entries = |entries| match &self.outline {
            Some(outline) => outline.above(entries),
            None => entries,
        };
        self.render_with(kept, written, sizes, &entries)
    }

    /// Without the outline.
    fn render_as(&self, kept: &[Kept], written: &[Written], sizes: Sizes) -> Result<Fitted, CompactError> {
        self.render_with(kept, written, sizes, &|entries| entries)
    }

    fn render_with(
        &self,
        kept: &[Kept],
        written: &[Written],
        sizes: Sizes,
        with: &dyn Fn(Vec<Entry>) -> Vec<Entry>,
    ) -> Result<Fitted, CompactError> {
        if self.doc.kind.is_in_place() {
            // The numbers of lines say where they stand.
            let held = match self.ranking.called && self.doc.kind.is_lined() {
                true => in_place::held_alone(self.doc, kept),
                false => in_place::held(self.doc, kept),
            };
            self.cancel.check()?;
            let (text, pieces) = self.opened.render(self.doc, &held, self.above);
            let places = held.iter().map(|held| held.map(|_| Place::Body)).collect();
            return Ok(Fitted { tokens: self.counter.count(&text), text, pieces, places });
        }
        let entries = with(place::arrange(self.doc, kept, written, sizes));
        let (text, pieces) = self.compactor.templates.render(self.doc.text, &entries, self.query)?;
        let places = span_places(self.doc, &pieces);
        Ok(Fitted { tokens: self.counter.count(&text), text, pieces, places })
    }

    /// The result for a budget that holds no unit: the most salient single span that fits.
    fn single_span(&self) -> Result<Fitted, CompactError> {
        let doc = self.doc;
        // A heading or a label alone says nothing, unless there is nothing else.
        let content = |span: &usize| doc.spans[*span].content != Content::Heading;
        let bare = !(0..doc.spans.len()).any(|span| content(&span) && !doc.span_text(span).is_empty());
        let says = |span: &usize| !doc.span_text(*span).is_empty() && (bare || content(span));
        let mut spans: Vec<usize> =
            (0..doc.spans.len()).filter(says).filter(|span| doc.spans[*span].tokens <= self.budget).collect();
        spans.sort_by(|a, b| self.ranking.salience[*b].total_cmp(&self.ranking.salience[*a]).then(a.cmp(b)));
        let alone = |span: usize| {
            let score = self.ranking.salience[span];
            let kept = [Kept { spans: span..span + 1, kind: PieceKind::Span, score }];
            self.render_as(&kept, &[], Sizes { head: self.budget, tail: 0 })
        };
        for span in spans.into_iter().take(64) {
            self.cancel.check()?;
            let fitted = alone(span)?;
            if fitted.tokens <= self.budget {
                return Ok(fitted);
            }
        }
        let mut shortest: Vec<usize> = (0..doc.spans.len()).filter(says).collect();
        shortest.sort_by_key(|span| (doc.spans[*span].tokens, *span));
        let mut minimum = None;
        for span in shortest.into_iter().take(16) {
            self.cancel.check()?;
            let fitted = alone(span)?;
            if fitted.tokens <= self.budget {
                return Ok(fitted);
            }
            minimum = Some(fitted.tokens.min(minimum.unwrap_or(usize::MAX)));
        }
        // Without any span, only all of it will do.
        let minimum = minimum.unwrap_or_else(|| self.counter.count(self.opened.raw()));
        Err(CompactError::BudgetTooSmall { budget: self.budget, minimum })
    }

    /// Nothing but what is pinned: what is left when that and a sentence do not fit together.
    fn pinned_alone(&self, units: &[Unit], pin_code: bool) -> Result<Fitted, CompactError> {
        let kept: Vec<Kept> = units
            .iter()
            .filter(|unit| unit.is_pinned(pin_code))
            .map(|unit| Kept { spans: unit.spans.clone(), kind: PieceKind::Span, score: unit.score })
            .collect();
        // The order of the source is the same for every budget.
        let fitted = self.render_as(&kept, &[], Sizes::NONE)?;
        if fitted.tokens <= self.budget && self.holds_all_pinned(&kept, pin_code) {
            return Ok(fitted);
        }
        let (budget, minimum) = (self.budget, fitted.tokens);
        if pin_code {
            return Err(CompactError::CodeTooLarge { budget, minimum });
        }
        Err(CompactError::BudgetTooSmall { budget, minimum })
    }
}

/// Leaves as many points, evenly chosen, as the budget is of the tokens that all of them came to; one
/// fewer at least.
fn thin_out(points: &mut Vec<Point>, budget: usize, tokens: usize) {
    let all = points.len();
    let left = (all * budget / tokens.max(1)).min(all.saturating_sub(1));
    let mut index = 0;
    points.retain(|_| {
        let keep = (index + 1) * left / all > index * left / all;
        index += 1;
        keep
    });
}

/// Where each span stands; `None` if it was left out.
fn span_places(doc: &Document<'_>, pieces: &[Piece]) -> Vec<Option<Place>> {
    let mut places = vec![None; doc.spans.len()];
    // A line of the outline is a part of a span at most.
    let stands = |piece: &&Piece| piece.kind.is_verbatim() && piece.kind != PieceKind::Outline;
    for piece in pieces.iter().filter(stands) {
        let first = doc.spans.partition_point(|span| span.range.end <= piece.source.start);
        for (span, place) in doc.spans.iter().zip(&mut places).skip(first) {
            if span.range.start >= piece.source.end {
                break;
            }
            *place = place.or(Some(piece.place));
        }
    }
    places
}
