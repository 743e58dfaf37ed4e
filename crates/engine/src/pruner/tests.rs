//! Checkpoints with random weights, compared with the results of the Python package transformers;
//! `tests/fixtures/rankers/make.py` generated both.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::{CrossEncoder, Passage, Relevance, Role, Turn, bert::Sequence, config, store::Store};

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    query: String,
    title: String,
    parts: Vec<String>,
    window: f32,
    /// From the vectors before the final norm.
    before: Vec<f32>,
    /// From the vectors after it.
    after: Vec<f32>,
    #[serde(default)]
    hidden: Vec<Vec<f32>>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/rankers").join(name)
}

fn expected(name: &str) -> Vec<Expected> {
    serde_json::from_slice(&fs::read(fixture(name).join("expected.json")).unwrap()).unwrap()
}

fn load(dir: &Path, precision: Precision) -> CrossEncoder {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().display().to_string();
    let store = Store::new(&config::Models { cache, ..config::Models::default() }).unwrap();
    let files = store.ensure(&dir.display().to_string(), Role::Ranker).unwrap();
    CrossEncoder::load(&files, precision).unwrap()
}

/// The fixture as a different version of transformers would have written it.
fn written_by(name: &str, version: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        fs::copy(fixture(name).join(file), dir.path().join(file)).unwrap();
    }
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["transformers_version"] = version.into();
    fs::write(path, config.to_string()).unwrap();
    dir
}

fn near(ours: &[f32], theirs: &[f32]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-3)
}

/// Normalised vectors of all tokens: ours, and those of transformers.
fn hidden_states(precision: Precision) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let config: Value =
        serde_json::from_slice(&fs::read(fixture("modern_bert/config.json")).unwrap()).unwrap();
    let config: ModernBertConfig = serde_json::from_value(config["base_model_config"].clone()).unwrap();
    let tensors = Tensors::read(&fixture("modern_bert/model.safetensors")).unwrap().below("ranking_model.");
    let body = ModernBert::new(&tensors, &config, precision).unwrap();
    let pairs = expected("modern_bert");
    let windows: Vec<Sequence> =
        pairs.iter().map(|pair| Sequence { ids: pair.ids.clone(), second: 0 }).collect();
    let mut hidden = body.forward(&windows, &Turn::now()).unwrap();
    hidden.chunks_exact_mut(body.dim()).for_each(|row| body.last_norm().apply(row));
    let ours = hidden.chunks_exact(body.dim()).map(<[f32]>::to_vec).collect();
    (ours, pairs.into_iter().flat_map(|pair| pair.hidden).collect())
}

#[test]
fn hidden_states_match_transformers() {
    let (ours, theirs) = hidden_states(Precision::F32);
    assert_eq!(ours.len(), theirs.len());
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!(near(ours, theirs), "token {at}\nours   {ours:?}\ntheirs {theirs:?}");
    }
}

/// Scores all pairs of a fixture in one call.
fn score(encoder: &CrossEncoder, pairs: &[Expected]) -> Vec<Relevance> {
    let mut results = Vec::new();
    for pair in pairs {
        let ids = |text: &str| encoder.tokenize(&[text]).unwrap().remove(0);
        let (query, title) = (ids(&pair.query), ids(&pair.title));
        let parts: Vec<Vec<u32>> = pair.parts.iter().map(|part| ids(part)).collect();
        let whole = [vec![1], query.clone(), vec![2], title.clone(), parts.concat(), vec![2]].concat();
        assert_eq!(whole, pair.ids, "the tokenizers differ");
        let passage = Passage { title: &title, parts: parts.iter().map(Vec::as_slice).collect() };
        // A second passage in the same call mixes windows of different lengths.
        let short = Passage { title: &[], parts: vec![&parts[0][..1]] };
        results.extend(encoder.score(&query, &[passage, short]).unwrap().into_iter().take(1));
    }
    results
}

#[test]
fn scores_match_transformers() {
    let (older, newer) = (written_by("modern_bert", "5.0.0"), written_by("modern_bert", "5.1.0"));
    for (name, dir, normalised) in [
        ("modern_bert", fixture("modern_bert"), false),
        ("modern_bert", older.path().to_owned(), false),
        ("modern_bert", newer.path().to_owned(), true),
        ("modern_bert_biased", fixture("modern_bert_biased"), true),
        ("bert", fixture("bert"), true),
    ] {
        let pairs = expected(name);
        for (ours, theirs) in score(&load(&dir, Precision::F32), &pairs).iter().zip(&pairs) {
            let parts = if normalised { &theirs.after } else { &theirs.before };
            assert!(near(&[ours.passage], &[theirs.window]), "{name}: {} {}", ours.passage, theirs.window);
            assert!(near(&ours.parts, parts), "{name}: {:?} {parts:?}", ours.parts);
        }
    }
}

#[test]
fn int8_changes_scores_little() {
    let (hidden, theirs) = hidden_states(Precision::Int8);
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let mean = hidden.iter().zip(&theirs).map(|(a, b)| cosine(a, b)).sum::<f32>() / hidden.len() as f32;
    // Random weights of this magnitude are the worst case for attention.
    assert!(mean > 0.95, "{mean}");
}

#[test]
fn spelled_out_special_tokens_are_text() {
    for name in ["modern_bert", "modern_bert_biased"] {
        let encoder = load(&fixture(name), Precision::F32);
        let ids = encoder.tokenize(&["a [SEP] b [CLS]"]).unwrap().remove(0);
        assert!(ids.len() > 8 && !ids.contains(&1) && !ids.contains(&2), "{ids:?}");
    }
}

#[test]
fn transformers_version_decides_what_the_pruning_head_reads() {
    for (version, normalised) in [
        (None, false),
        (Some("4.57.1"), false),
        (Some("5.0.0"), false),
        (Some("5.1.0"), true),
        (Some("5.23.0.dev0"), true),
        (Some("6"), true),
        (Some("unknown"), false),
    ] {
        assert_eq!(normalised_since(version), normalised, "{version:?}");
    }
}

#[test]
fn input_beyond_the_window_is_ignored() {
    // This model reads 160 tokens.
    let encoder = load(&fixture("bert"), Precision::F32);
    let long: Vec<u32> = (0..200).map(|id| 10 + id).collect();
    let parts = vec![&long[..100], &long[100..199], &long[199..]];
    let read = encoder.score(&long, &[Passage { title: &long, parts }]).unwrap().remove(0);
    assert!(read.passage.is_finite() && read.parts[0].is_finite());
    assert!(read.parts[1..].iter().all(|part| part.is_nan()), "{:?}", read.parts);
    let error = encoder.score(&[], &[Passage { title: &[], parts: vec![&[4000]] }]).unwrap_err().to_string();
    assert!(error.contains("4000") && error.contains("bert"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_result_depends_only_on_its_window(
        lengths in prop::collection::vec(1usize..150, 1..6),
        seed in 0u32..1000,
        full in any::<bool>(),
    ) {
        let encoder = load(&fixture("modern_bert"), if full { Precision::F32 } else { Precision::Int8 });
        let ids: Vec<Vec<u32>> = lengths
            .iter()
            .enumerate()
            .map(|(w, n)| (0..*n as u32).map(|i| 4 + (seed + i * 7919 + w as u32 * 104_729) % 290).collect())
            .collect();
        let passages: Vec<Passage> = ids.iter().map(|ids| Passage { title: &[], parts: vec![ids] }).collect();
        let together = encoder.score(&[5, 6, 7], &passages).unwrap();
        for (passage, together) in passages.iter().zip(&together) {
            let alone = encoder.score(&[5, 6, 7], std::slice::from_ref(passage)).unwrap().remove(0);
            prop_assert!(&alone == together);
        }
    }
}
