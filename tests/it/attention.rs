//! Ranking by a decoder's attention, end to end.

use std::{path::Path, sync::Arc};

use epitome::{
    budget::Budget,
    cache::Cache,
    compaction::{Cancel, CompactRequest, Compaction, Outcome},
    compactor::{CompactError, Compactor},
    config::{Config, FusionKind},
    model::Models,
};

/// Answers stand in one of many like sentences.
fn text() -> String {
    let towns =
        ["Ashford", "Bexley", "Corby", "Dudley", "Epsom", "Frome", "Goole", "Hexham", "Ilkley", "Jarrow"];
    let about = |at: usize, town: &str| {
        format!(
            "The town of {town} stands on a hill above the river. Its market is held on the first day of the week, \
             and farmers come from all around with what they have grown. The bridge of {town} was built in {} by \
             a guild of masons. Children learn its story at school.\n\n",
            1400 + 17 * at
        )
    };
    (0..40)
        .map(|at| {
            about(
                at,
                &format!("{} {}", towns[at % towns.len()], ["Magna", "Parva", "Regis", "Abbas"][at / 10]),
            )
        })
        .collect()
}

fn compact(cache: &Arc<Cache>, decoder: Option<&str>) -> Result<Compaction, CompactError> {
    let mut config = Config::load(None, &[]).unwrap();
    config.rank.fusion = FusionKind::Attention;
    config.models.decoder = decoder.map_or(config.models.decoder, str::to_owned);
    let models = Arc::new(Models::new(&config.models).unwrap());
    let compactor = Compactor::new(Arc::new(config), models, cache.clone()).unwrap();
    let request = CompactRequest {
        text: text(),
        query: Some("When was the bridge of Corby Parva built?".into()),
        budget: Budget::Share(0.1),
        model: None,
        explain: true,
    };
    compactor.compact(&request, &Cancel::default())
}

#[test]
fn attention_ranks_and_says_so() {
    let cache = Arc::new(Cache::memory_only());
    let compaction = compact(&cache, None).unwrap();
    let figures = &compaction.figures;
    assert_eq!(compaction.outcome, Outcome::Compacted);
    assert!(figures.tokens_after <= figures.budget, "{figures:?}");
    assert!(figures.segments > 1 && figures.cache_lookups == figures.segments, "{figures:?}");
    // The twelfth town of the second ten.
    assert!(compaction.text.contains("was built in 1604"), "{}", compaction.text);
    let [model] = figures.models.as_slice() else { panic!("{:?}", figures.models) };
    assert!(model.starts_with("smollm2-135m-instruct@"), "{model}");
    let spans = compaction.explain.as_ref().unwrap();
    assert!(spans.iter().all(|span| span.cross.is_none() && span.probability.is_none()));
    assert!(spans.iter().any(|span| span.attention.is_some()));
    assert_eq!(figures.retention, None);
    // The same again, from the cache and without it.
    let again = compact(&cache, None).unwrap();
    assert_eq!((again.text.as_str(), again.figures.cache_hits), (compaction.text.as_str(), figures.segments));
    let fresh = compact(&Arc::new(Cache::memory_only()), None).unwrap();
    assert_eq!((fresh.text, fresh.explain), (compaction.text, compaction.explain));
}

#[test]
fn a_decoder_without_a_probe_is_refused() {
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decoders/llama3");
    let error = compact(&Arc::new(Cache::memory_only()), other.to_str()).unwrap_err().to_string();
    assert!(error.contains("smollm2-135m-instruct") && error.contains("rank.fusion"), "{error}");
    // And before anything is fetched.
    let flags = [("rank.fusion", "attention"), ("models.decoder", "qwen2.5-coder-0.5b-instruct")];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let error = Config::load(None, &flags).unwrap_err().to_string();
    assert!(error.contains("rank.fusion"), "{error}");
}
