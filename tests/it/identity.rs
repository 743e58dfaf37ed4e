//! Results made with one set of model files, servers and templates are never taken for those of another set,
//! whatever the files are called.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use epitome::config::Config;
use epitome_compactor::{
    Cache,
    config::{DenseKind, SummarizerKind},
};
use epitome_engine::Models;
use serde_json::json;

use crate::{cli::epitome, corpus};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Copies the files of a fixture; returns the target.
fn copy(name: &str, to: &Path) -> String {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(fixture(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    to.display().to_string()
}

/// A compactor's identity; nothing is cached between calls.
fn identity(adjust: impl FnOnce(&mut Config)) -> String {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.rank.dense = DenseKind::None;
    adjust(&mut config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only()))
        .unwrap()
        .identity()
        .unwrap()
}

/// Appends a blank to a file, which does not change its meaning.
fn touch(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.push(b' ');
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_file_of_a_used_model_is_part_of_the_identity() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let ranker = copy("rankers/bert", &at("ranker"));
    // The model is not loaded here, so any files will do.
    let embedder = copy("rankers/bert", &at("embedder"));
    let decoder = copy("decoders/qwen2", &at("decoder"));
    fs::copy(fixture("rankers/bert/tokenizer.json"), at("decoder/tokenizer.json")).unwrap();
    fs::create_dir(at("lora")).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::write(at("lora").join(file), file).unwrap();
    }
    let all = || {
        identity(|config| {
            config.models.ranker = ranker.clone();
            config.models.embedder = embedder.clone();
            config.rank.dense = DenseKind::Encoder;
            config.models.decoder = decoder.clone();
            config.models.decoder_lora = vec![at("lora").display().to_string()];
            config.summarize.kind = SummarizerKind::Abstractive;
        })
    };
    let mut known = vec![all()];
    assert_eq!(all(), known[0], "nothing has changed");
    for file in [
        "ranker/config.json",
        "ranker/tokenizer.json",
        "embedder/config.json",
        "embedder/tokenizer.json",
        "embedder/model.safetensors",
        "decoder/config.json",
        "decoder/tokenizer.json",
        "decoder/model.safetensors",
        "lora/adapter_config.json",
        "lora/adapter_model.safetensors",
    ] {
        touch(&at(file));
        let now = all();
        assert!(!known.contains(&now), "{file} was changed, and it is still\n{now}");
        known.push(now);
    }
    // A ranker-only identity depends on the ranker alone, wherever its files are.
    let alone = |ranker: &str| identity(|config| config.models.ranker = ranker.to_owned());
    let here = alone(&ranker);
    assert_eq!(here, alone(&copy_of(&at("ranker"), &at("elsewhere"))));
    assert_ne!(here, alone("builtin"));
}

fn copy_of(from: &Path, to: &Path) -> String {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    to.display().to_string()
}

#[test]
fn built_in_files_and_servers_are_part_of_the_identity() {
    let plain = identity(|_| {});
    assert_ne!(plain, identity(|config| config.rank.dense = DenseKind::Static));
    let served = |url: &str, model: &str| {
        identity(|config| {
            config.summarize.kind = SummarizerKind::OpenAi;
            (config.summarizer.url, config.summarizer.model) = (url.to_owned(), model.to_owned());
        })
    };
    let one = served("http://127.0.0.1:9/v1", "m");
    assert_ne!(plain, one);
    assert_ne!(one, served("http://127.0.0.1:9/v1", "n"));
    assert_ne!(one, served("http://127.0.0.1:8/v1", "m"));

    let home = tempfile::tempdir().unwrap();
    let templated = || identity(|config| config.render.templates = home.path().display().to_string());
    assert_eq!(templated(), plain);
    let prompt = "Make {{ text }} short, in {{ words }} words.";
    fs::write(home.path().join("summary-leaf.txt"), prompt).unwrap();
    assert_ne!(templated(), plain);
}

#[test]
fn a_batch_does_not_resume_with_a_changed_model_file() {
    let home = tempfile::tempdir().unwrap();
    copy("rankers/bert", &home.path().join("ranker"));
    // The second line fails open, so that there is something to resume.
    let lines = [
        json!({ "text": corpus::text("story.txt"), "budget": "10%" }),
        json!({ "text": corpus::text("story.txt"), "budget": 1 }),
    ];
    fs::write(home.path().join("in.jsonl"), lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let run = |ranker: &str| {
        let output = epitome(home.path())
            .args(["batch", "in.jsonl", "--output", "out.jsonl", "--query", "Who is Ivy?"])
            .args(["--set", &format!("models.ranker={ranker}")])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = run("./ranker");
    assert_eq!(code, Some(3), "{told}");
    let (code, told) = run("./ranker");
    assert_eq!(code, Some(3), "it is the same run: {told}");
    let before = fs::read(home.path().join("out.jsonl")).unwrap();

    // The same files at another path are the same model.
    fs::rename(home.path().join("ranker"), home.path().join("moved")).unwrap();
    let (code, told) = run("./moved");
    assert_eq!(code, Some(3), "{told}");
    touch(&home.path().join("moved/config.json"));
    let (code, told) = run("./moved");
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("it was begun with other settings, model files or templates"), "{told}");
    assert_eq!(fs::read(home.path().join("out.jsonl")).unwrap(), before);
}
