//! Model files, tokenizers and models against real ones.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use epitome::{
    config::{self, Config},
    model::{ModelError, Models},
};
use serde::Deserialize;

const SMOLLM: &str = "smollm2-135m-instruct";
const QWEN: &str = "qwen2.5-coder-0.5b-instruct";

fn config() -> config::Models {
    Config::load(None, &[]).unwrap().models
}

/// The models of this machine; the default ones are fetched if they are missing.
static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let models = Models::new(&config()).unwrap();
    models.pull(SMOLLM).unwrap();
    models
});

fn skipped(model: &str, what: &str) -> bool {
    let missing = MODELS.locate(model).is_err();
    if missing {
        eprintln!("skipped: {what} of {model}, which is not on this machine");
    }
    missing
}

#[derive(Deserialize)]
struct TokenIds {
    cases: Vec<TokenCase>,
}

#[derive(Deserialize)]
struct TokenCase {
    text: String,
    ids: BTreeMap<String, Vec<u32>>,
    #[serde(default)]
    with_special: BTreeMap<String, Vec<u32>>,
}

#[test]
fn token_ids_are_those_of_llama_cpp() {
    let fixture: TokenIds = serde_json::from_str(include_str!("../fixtures/token_ids.json")).unwrap();
    for model in [SMOLLM, QWEN] {
        if skipped(model, "token ids") {
            continue;
        }
        let plain = MODELS.tokenizer(model).unwrap();
        let mut special = plain.clone();
        special.set_encode_special_tokens(false);
        let mut wrong = Vec::new();
        for case in &fixture.cases {
            let ids = plain.encode_fast(case.text.as_str(), false).unwrap().get_ids().to_vec();
            if ids != case.ids[model] {
                wrong.push(format!("{:?}\n  ours   {ids:?}\n  theirs {:?}", case.text, case.ids[model]));
            }
            let ids = special.encode_fast(case.text.as_str(), false).unwrap().get_ids().to_vec();
            let theirs = case.with_special.get(model).unwrap_or(&case.ids[model]);
            if ids != *theirs {
                wrong.push(format!("special: {:?}\n  ours   {ids:?}\n  theirs {theirs:?}", case.text));
            }
        }
        assert!(wrong.is_empty(), "{model}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn text_comes_back_from_its_ids() {
    let fixture: TokenIds = serde_json::from_str(include_str!("../fixtures/token_ids.json")).unwrap();
    let tokenizer = MODELS.tokenizer(SMOLLM).unwrap();
    for case in &fixture.cases {
        assert_eq!(tokenizer.decode(&case.ids[SMOLLM], false).unwrap(), case.text);
    }
}
