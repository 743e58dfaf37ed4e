//! Rankers other than the built-in one, by configuration: the checkpoints in `tests/fixtures/rankers`, intact
//! and broken.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::{DType, Device, Tensor, safetensors};
use epitome::config::{self, Config};
use epitome_compactor::{Budget, Cache, CompactRequest, Compaction, compaction::Outcome};
use epitome_engine::{CrossEncoder, ModelError, Models, Passage};
use epitome_work::Cancel;
use serde_json::{Value, json};

const FILES: [&str; 3] = ["model.safetensors", "tokenizer.json", "config.json"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rankers").join(name)
}

/// A modifiable copy of a fixture.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in FILES {
            fs::copy(fixture(name).join(file), dir.path().join(file)).unwrap();
        }
        Self(dir)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn config(self, change: impl FnOnce(&mut Value)) -> Self {
        let path = self.path("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
        self
    }

    fn tensors(self, change: impl FnOnce(&mut HashMap<String, Tensor>)) -> Self {
        let path = self.path("model.safetensors");
        let mut tensors = safetensors::load(&path, &Device::Cpu).unwrap();
        change(&mut tensors);
        safetensors::save(&tensors, path).unwrap();
        self
    }

    fn ranker(&self) -> Result<Arc<CrossEncoder>, ModelError> {
        ranker(&self.0.path().display().to_string())
    }

    /// The error, after checking that it names the file.
    fn error(&self, file: &str) -> String {
        let error = self.ranker().unwrap_err();
        let ModelError::Invalid { path, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*path, self.path(file).display().to_string(), "{error}");
        error.to_string()
    }
}

fn models(ranker: &str) -> config::Models {
    config::Models { ranker: ranker.into(), hub: false, ..Config::load(None, &[]).unwrap().models }
}

fn ranker(name: &str) -> Result<Arc<CrossEncoder>, ModelError> {
    Models::new(&models(name)).unwrap().ranker()
}

fn key(copy: &Copy) -> String {
    copy.ranker().unwrap().key()
}

fn compact(ranker: &str) -> Compaction {
    let config = Config { models: models(ranker), ..Config::default() };
    let models = Arc::new(Models::new(&config.models).unwrap());
    let compactor = epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/corpus/meeting.txt");
    let request = CompactRequest {
        text: fs::read_to_string(path).unwrap(),
        query: Some("Who takes care of the budget?".into()),
        budget: Budget::Share(0.4),
        model: None,
        explain: true,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    };
    compactor.compact(&request, &Cancel::default()).unwrap()
}

#[test]
fn a_ranker_from_a_folder_ranks() {
    for name in ["modern_bert", "modern_bert_biased", "bert"] {
        let folder = fixture(name).display().to_string();
        let compaction = compact(&folder);
        assert_eq!(compaction.outcome, Outcome::Compacted, "{name}");
        assert!(compaction.figures.tokens_after <= compaction.figures.budget, "{name}");
        let label = format!("{name}@{}", &ranker(&folder).unwrap().id().hash[..12]);
        assert!(compaction.figures.models.contains(&label), "{label}: {:?}", compaction.figures.models);
        let spans = compaction.explain.as_ref().unwrap();
        assert!(spans.iter().any(|span| span.cross.is_some() && span.cross_window.is_some()), "{name}");
        // The built-in ranker's calibration does not apply to this one.
        assert!(spans.iter().all(|span| span.probability.is_none()), "{name}");
        assert_eq!(compaction.figures.retention, None, "{name}");
        assert_eq!(compact(&folder).text, compaction.text, "{name}");
    }
}

#[test]
fn the_built_in_ranker_is_the_default() {
    for name in ["", "builtin"] {
        let encoder = ranker(name).unwrap();
        assert!(encoder.is_built_in());
        assert_eq!(encoder.id().name, "epitome-ranker");
    }
    assert_eq!(Config::default().models.ranker, "builtin");
    let spans = compact("builtin").explain.unwrap();
    assert!(!spans.is_empty() && spans.iter().all(|span| span.probability.is_some()));
}

#[test]
fn the_key_covers_everything_that_affects_scores() {
    let plain = key(&Copy::of("modern_bert"));
    assert_eq!(key(&Copy::of("modern_bert")), plain);
    let config = Copy::of("modern_bert").config(|config| config["transformers_version"] = "5.23.0".into());
    let weights = Copy::of("modern_bert").tensors(|tensors| {
        let name = "pruning_head.classifier.bias".to_owned();
        tensors.insert(name, Tensor::new(&[0.0_f32, 1.0], &Device::Cpu).unwrap());
    });
    let tokenizer = Copy::of("modern_bert");
    let text = fs::read_to_string(tokenizer.path("tokenizer.json")).unwrap();
    fs::write(tokenizer.path("tokenizer.json"), format!("{text} ")).unwrap();
    let keys = [plain, key(&config), key(&weights), key(&tokenizer), ranker("builtin").unwrap().key()];
    for (at, one) in keys.iter().enumerate() {
        assert!(keys.iter().skip(at + 1).all(|other| one != other), "{keys:?}");
    }
}

#[test]
fn half_precision_floats_are_read() {
    let half = Copy::of("modern_bert").tensors(|tensors| {
        tensors.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(DType::BF16).unwrap());
    });
    let score = |encoder: &CrossEncoder| {
        let part: Vec<u32> = (10..40).collect();
        encoder.score(&[5, 6], &[Passage { title: &[], parts: vec![&part] }]).unwrap().remove(0)
    };
    let encoder = half.ranker().unwrap();
    assert!(!encoder.is_built_in());
    let read = score(&encoder);
    assert!(read.passage.is_finite() && read.parts[0].is_finite());
}

#[test]
fn invalid_rankers_are_rejected_with_a_reason() {
    let base = |config: &mut Value, key: &str, value: Value| config["base_model_config"][key] = value;
    let cases: Vec<(&str, Copy, &[&str])> = vec![
        (
            "config.json",
            Copy::of("modern_bert").config(|config| *config = json!({ "model_type": "llama" })),
            &["\"llama\"", "not supported", "modernbert"],
        ),
        (
            "config.json",
            Copy::of("modern_bert").config(|config| base(config, "model_type", "deberta-v2".into())),
            &["\"deberta-v2\"", "not supported"],
        ),
        (
            "config.json",
            Copy::of("modern_bert").config(|config| config["base_model_config"] = Value::Null),
            &["base_model_config"],
        ),
        (
            "config.json",
            Copy::of("modern_bert").config(|config| config["max_length"] = 64.into()),
            &["64", "128"],
        ),
        (
            "config.json",
            Copy::of("modern_bert").config(|config| base(config, "hidden_size", "wide".into())),
            &["usize"],
        ),
        (
            "tokenizer.json",
            Copy::of("modern_bert").config(|config| base(config, "vocab_size", 99.into())),
            &["99", "one checkpoint"],
        ),
        (
            "model.safetensors",
            Copy::of("modern_bert").config(|config| base(config, "hidden_activation", "relu".into())),
            &["relu", "gelu"],
        ),
        (
            "model.safetensors",
            Copy::of("modern_bert").config(|config| base(config, "num_attention_heads", 7.into())),
            &["7 attention heads", "32"],
        ),
        (
            "model.safetensors",
            Copy::of("modern_bert").config(|config| base(config, "intermediate_size", 50.into())),
            &["model.layers.0.mlp.Wi.weight", "[96, 32]", "[100, 32]", "one checkpoint"],
        ),
        (
            "model.safetensors",
            Copy::of("modern_bert").config(|config| base(config, "num_hidden_layers", 5.into())),
            &["no tensor model.layers.4.", "another architecture or incomplete"],
        ),
        (
            "model.safetensors",
            Copy::of("modern_bert_biased").config(|config| {
                base(
                    config,
                    "layer_types",
                    json!(["full_attention", "chunked", "full_attention", "chunked"]),
                );
            }),
            &["chunked", "sliding_attention"],
        ),
        (
            "model.safetensors",
            Copy::of("modern_bert").tensors(|tensors| {
                tensors.remove("ranking_model.head.dense.weight");
            }),
            &["no tensor head.dense.weight"],
        ),
        (
            "model.safetensors",
            Copy::of("modern_bert").tensors(|tensors| tensors.retain(|name, _| !name.starts_with("pruning"))),
            &["pruning_head.classifier.weight", "does not prune"],
        ),
        (
            "model.safetensors",
            Copy::of("bert").config(|config| config["intermediate_size"] = 50.into()),
            &["bert.encoder.layer.0.intermediate.dense.weight", "[48, 32]", "[50, 32]"],
        ),
        (
            "model.safetensors",
            Copy::of("bert").tensors(|tensors| {
                tensors.remove("classifier.bias");
            }),
            &["no tensor classifier.bias"],
        ),
    ];
    for (file, copy, parts) in cases {
        let error = copy.error(file);
        for part in parts {
            assert!(error.contains(part), "{part:?} is missing in: {error}");
        }
    }

    for (file, content) in [("config.json", "{"), ("tokenizer.json", "{}"), ("model.safetensors", "none")] {
        let copy = Copy::of("modern_bert");
        fs::write(copy.path(file), content).unwrap();
        copy.error(file);
        fs::remove_file(copy.path(file)).unwrap();
        let error = copy.error(file);
        assert!(FILES.iter().all(|file| error.contains(file)), "{error}");
    }
}

#[test]
fn an_unknown_ranker_name_is_an_error() {
    let error = ranker("no-such-ranker").unwrap_err();
    assert!(matches!(error, ModelError::Unknown { .. }), "{error}");
    let error = ranker("all-minilm-l6-v2").unwrap_err().to_string();
    assert!(error.contains("not ranker") && error.contains("models.ranker"), "{error}");
    let error = ranker("nobody-at-all/no-such-ranker").unwrap_err();
    assert!(matches!(error, ModelError::NotFetched { .. }), "{error}");
    assert!(error.to_string().contains("turned off by models.hub"), "{error}");
}

#[test]
fn the_command_line_accepts_a_ranker() {
    let home = tempfile::tempdir().unwrap();
    let run = |ranker: &str, args: &[&str]| {
        let mut command = crate::cli::epitome(home.path());
        command.args(args).env("EPITOME_MODELS_RANKER", ranker).env("EPITOME_MODELS_HUB", "false");
        command.output().unwrap()
    };
    let folder = fixture("bert").display().to_string();
    let list: Value = serde_json::from_slice(&run(&folder, &["models", "list", "--json"]).stdout).unwrap();
    let own = list.as_array().unwrap().iter().find(|model| model["role"] == "ranker").unwrap();
    assert_eq!((own["name"].as_str(), own["state"].as_str()), (Some("bert"), Some("present")));
    assert!(run(&folder, &["models", "verify", &folder]).status.success());

    let query = "Who takes care of the budget?";
    fs::write(home.path().join("text.txt"), "The budget is kept by Ann. It rains. ".repeat(60)).unwrap();
    let compact = ["compact", "text.txt", "--query", query, "--budget", "100"];
    let output = run(&folder, &compact);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run("somewhere/else", &compact);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("somewhere/else"), "{message}");
}
