//! A text that comes again with the same query and budget costs a look-up.

use epitome_work::Cancel;

use super::{
    CompactError, Compactor,
    evidence::Unknown,
    memory::{Memory, sent_whole},
};
use crate::compaction::{CompactRequest, Compaction};

impl Compactor {
    /// Compacts a text unless what was decided for it is known: then that is the result.
    ///
    /// # Errors
    ///
    /// As [`Compactor::compact`]. Who hands on the original says so by [`Compactor::settle`].
    pub fn compact_once(
        &self,
        request: &CompactRequest,
        cancel: &Cancel,
    ) -> Result<Compaction, CompactError> {
        let Some(memory) = self.known_memory(request) else { return self.compact(request, cancel) };
        let mut compaction = match memory.compaction(request) {
            Some(known) => self.recalled(known),
            None => {
                let made = self.measured(request, cancel)?;
                // A request beside this one may have had no time for the text, and sent it whole.
                if memory.has_missed_text() {
                    return Ok(sent_whole(request));
                }
                memory.keep(&made);
                made
            }
        };
        compaction.evidence = self.evidence(request, &compaction, Some(&memory), Unknown::Find(cancel))?;
        Ok(compaction)
    }

    /// As [`Compactor::compact_once`], for callers that send nothing upstream: what a proxy once had no time for is
    /// compacted.
    ///
    /// # Errors
    ///
    /// As [`Compactor::compact`].
    pub fn compact_cached(
        &self,
        request: &CompactRequest,
        cancel: &Cancel,
    ) -> Result<Compaction, CompactError> {
        let Some(memory) = self.known_memory(request) else { return self.compact(request, cancel) };
        let mut compaction = match memory.made(request) {
            Some(known) => self.recalled(known),
            None => {
                let made = self.measured(request, cancel)?;
                memory.keep(&made);
                made
            }
        };
        compaction.evidence = self.evidence(request, &compaction, Some(&memory), Unknown::Find(cancel))?;
        Ok(compaction)
    }

    /// The memory of a text, where the models are there and anything is kept.
    fn known_memory(&self, request: &CompactRequest) -> Option<Memory<'_>> {
        let identity = self.known_identity()?.to_owned();
        self.memory(request, Some(identity))
    }

    /// What was decided before, with what it takes now: next to nothing, and none if no counter can be read.
    fn recalled(&self, mut known: Compaction) -> Compaction {
        known.figures.record_energy(self.meter.as_ref().map(|meter| meter.begin()()).unwrap_or_default());
        known
    }

    /// What is known of a text. What is not known is decided here, without any work, and for as long as an upstream
    /// keeps a prefix: the text goes whole, and a later question gets no evidence of it. Loads no model: as long as none
    /// is there, what was decided with those that were there last is what is known.
    pub fn settle(&self, request: &CompactRequest) -> Compaction {
        let Some(memory) = self.memory(request, self.last_identity()) else { return sent_whole(request) };
        let Some(mut known) = memory.compaction(request) else {
            memory.miss_text();
            return sent_whole(request);
        };
        // Nothing is computed, so nothing can fail.
        known.evidence = self.evidence(request, &known, Some(&memory), Unknown::Miss).unwrap_or_default();
        known
    }

    /// As [`Compactor::settle`], for a text that is not sent anywhere: nothing is remembered. `None` if nothing is known.
    pub fn recall(&self, request: &CompactRequest) -> Option<Compaction> {
        let memory = self.memory(request, self.last_identity())?.unused();
        let mut known = memory.compaction(request)?;
        known.evidence = self.evidence(request, &known, Some(&memory), Unknown::Leave).unwrap_or_default();
        Some(known)
    }
}
