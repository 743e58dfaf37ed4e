//! Ranking by a decoder's attention, end to end.

use std::{fs, path::Path, sync::Arc};

use epitome::config::Config;
use epitome_compactor::{Budget, Cache, CompactRequest, Compaction, compaction::Outcome, config::FusionKind};
use epitome_engine::Models;
use epitome_work::Cancel;

use crate::corpus;

fn compact(cache: &Arc<Cache>, decoder: Option<&str>) -> Result<Compaction, String> {
    let mut config = Config::load(None, &[]).unwrap();
    config.rank.fusion = FusionKind::Attention;
    config.models.decoder = decoder.map_or(config.models.decoder, str::to_owned);
    let models = Arc::new(Models::new(&config.models).unwrap());
    let compactor = epitome::compactor::compactor(&config, models, cache.clone()).unwrap();
    let request = CompactRequest {
        text: corpus::text("documents.txt"),
        query: Some("When did Phineas Pratt die?".into()),
        budget: Budget::Share(0.25),
        model: None,
        explain: true,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    };
    compactor.compact(&request, &Cancel::default()).map_err(|error| error.to_string())
}

#[test]
fn attention_ranks_and_says_so() {
    let cache = Arc::new(Cache::memory_only());
    let compaction = compact(&cache, None).unwrap();
    let figures = &compaction.figures;
    assert_eq!(compaction.outcome, Outcome::Compacted);
    assert!(figures.tokens_after <= figures.budget, "{figures:?}");
    assert!(figures.segments > 1 && figures.cache_lookups == figures.segments, "{figures:?}");
    assert!(compaction.text.contains("April 19, 1680"), "{}", compaction.text);
    let [model] = figures.models.as_slice() else { panic!("{:?}", figures.models) };
    assert!(model.starts_with("smollm2-135m-instruct@"), "{model}");
    let spans = compaction.explain.as_ref().unwrap();
    assert!(spans.iter().all(|span| span.cross.is_none() && span.probability.is_none()));
    assert!(spans.iter().any(|span| span.attention.is_some()));
    assert_eq!(figures.retention, None);
    // The second time, from the cache.
    let again = compact(&cache, None).unwrap();
    assert_eq!(again.figures.cache_hits, figures.segments);
    assert_eq!((again.text, again.explain), (compaction.text, compaction.explain));
}

#[test]
fn a_decoder_without_a_probe_is_refused() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let other = tempfile::tempdir().unwrap();
    for file in
        ["decoders/llama3/config.json", "decoders/llama3/model.safetensors", "rankers/bert/tokenizer.json"]
    {
        let file = fixtures.join(file);
        fs::copy(&file, other.path().join(file.file_name().unwrap())).unwrap();
    }
    let error = compact(&Arc::new(Cache::memory_only()), other.path().to_str()).unwrap_err();
    assert!(error.contains("smollm2-135m-instruct") && error.contains("rank.fusion"), "{error}");
    // The error comes before anything is fetched.
    let flags = [("rank.fusion", "attention"), ("models.decoder", "qwen2.5-coder-0.5b-instruct")];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let error = Config::load(None, &flags).unwrap_err().to_string();
    assert!(error.contains("rank.fusion"), "{error}");
}
