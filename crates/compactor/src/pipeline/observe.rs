//! What a fit of the ranking sees, and the compactor with what was fitted.

use std::sync::Arc;

use epitome_text::Hint;
use epitome_work::Cancel;

use super::{CompactError, Compactor, opened::Opened};
use crate::{
    compaction::CompactRequest,
    rank::{self, adapted::Adapted, agent, observed::Sentences},
    summarize::breadth,
};

impl Compactor {
    /// The sentences of a text, ranked for a question; none where no fitted weights rank it.
    ///
    /// # Errors
    ///
    /// As [`Compactor::compact`].
    #[doc(hidden)]
    pub fn sentences<'a>(
        &self,
        text: &'a str,
        query: &str,
        cancel: &Cancel,
    ) -> Result<Option<Sentences<'a>>, CompactError> {
        if breadth::asks_for_whole(query) || breadth::is_about_all(query) {
            return Ok(None);
        }
        let counter = self.counter(None);
        let opened = Opened::new(text, Hint::default(), &[], cancel)?;
        let (size, keep_code) = self.cut();
        let doc = opened.into_document(counter.as_ref(), size, keep_code, cancel)?;
        let Some(doc) = doc else { return Ok(None) };
        let ranking = rank::rank(&doc, Some(query), self.tools(cancel))?;
        Ok(Sentences::new(doc, query, &ranking))
    }

    /// What is known of each line of a tool's result; none where its lines are not ranked for its call.
    ///
    /// # Errors
    ///
    /// As [`Compactor::compact`].
    #[doc(hidden)]
    pub fn lines(
        &self,
        request: &CompactRequest,
        cancel: &Cancel,
    ) -> Result<Option<Vec<Vec<f32>>>, CompactError> {
        let Some(call) = request.call.as_ref().filter(|_| request.origin.called && request.query.is_some())
        else {
            return Ok(None);
        };
        let counter = self.counter(request.model.as_deref());
        let opened = Opened::new(&request.text, request.origin.hint(), &request.pinned, cancel)?;
        let doc = self.document(&opened, counter.as_ref(), cancel)?;
        Ok(agent::observed(&doc, &request.origin, call))
    }

    /// The same with these weights in place of those that are compiled in.
    #[doc(hidden)]
    pub fn with_adapted(&self, adapted: Option<Arc<Adapted>>) -> Self {
        let mut config = self.config.as_ref().clone();
        config.rank.model = adapted.as_ref().map(|adapted| adapted.hash().to_owned()).unwrap_or_default();
        Self { adapted, config: Arc::new(config), identity: Arc::default(), ..self.clone() }
    }
}
