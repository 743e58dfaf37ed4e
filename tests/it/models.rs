//! Model files, tokenizers and models against real ones.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use epitome::{
    config::{self, Config},
    model::{ChatMessage, Class, Decoder, Finish, Generated, ModelError, Models, Sampling},
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

/// The decoder that the configuration would load for that name.
fn decoder(name: &str) -> Arc<Decoder> {
    Models::new(&config::Models { decoder: name.into(), ..config() }).unwrap().decoder().unwrap()
}

static DECODER: LazyLock<Arc<Decoder>> = LazyLock::new(|| decoder(SMOLLM));

fn greedy(max_tokens: usize) -> Sampling {
    Sampling::greedy(max_tokens)
}

fn generate(decoder: &Decoder, prompt: &str, sampling: &Sampling) -> Generated {
    let mut streamed = String::new();
    let result = decoder
        .generate(Class::Chat, prompt, sampling, &mut |piece| {
            streamed.push_str(piece);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(streamed, result.text);
    result
}

#[derive(Deserialize)]
struct Greedy {
    cases: Vec<GreedyCase>,
}

#[derive(Deserialize)]
struct GreedyCase {
    model: String,
    prompt: String,
    tokens: Vec<u32>,
    margins: Vec<f64>,
}

/// Quantized products are rounded differently here and in llama.cpp, so that near ties may fall the
/// other way: the texts are compared up to the first of them.
const NEAR_TIE: f64 = 0.75;

#[test]
fn greedy_tokens_are_those_of_llama_cpp() {
    let fixture: Greedy = serde_json::from_str(include_str!("../fixtures/greedy.json")).unwrap();
    for model in [SMOLLM, QWEN] {
        if skipped(model, "greedy tokens") {
            continue;
        }
        let decoder = decoder(model);
        let tokenizer = MODELS.tokenizer(model).unwrap();
        let mut compared = 0;
        for case in fixture.cases.iter().filter(|case| case.model == model) {
            let near_tie = case.margins.iter().position(|margin| *margin < NEAR_TIE);
            let sure = near_tie.unwrap_or(case.tokens.len()).min(case.tokens.len());
            let theirs = tokenizer.decode(&case.tokens[..sure], true).unwrap();
            let ours = generate(&decoder, &case.prompt, &greedy(sure)).text;
            assert!(
                ours.starts_with(&theirs),
                "{model}: {:?}\nours   {ours:?}\ntheirs {theirs:?}",
                case.prompt
            );
            compared += sure;
        }
        assert!(compared >= 24, "{model}: only {compared} tokens compared");
    }
}

const STORY: &str = "Once upon a time there was a little girl who lived in a village near the forest.";

#[test]
fn the_same_request_gives_the_same_text() {
    for sampling in [greedy(12), Sampling { temperature: 0.9, top_p: 0.9, seed: 3, ..greedy(12) }] {
        let first = generate(&DECODER, STORY, &sampling);
        assert_eq!(first.completion_tokens, 12);
        assert_eq!(first.finish, Finish::Length);
        assert_eq!(generate(&DECODER, STORY, &sampling), first);
    }
    let other = |seed| generate(&DECODER, STORY, &Sampling { temperature: 1.0, seed, ..greedy(12) }).text;
    assert_ne!(other(1), other(2));
}

#[test]
fn a_prompt_read_in_pieces_is_read_as_one() {
    // 700 tokens are two passes of the prefill; the numbers before fix what comes after.
    let prompt: String = (1..=180).map(|n| format!("{n}, ")).collect();
    let result = generate(&DECODER, prompt.trim_end(), &greedy(6));
    assert!(result.prompt_tokens > 600, "{}", result.prompt_tokens);
    assert!(result.text.starts_with(" 181"), "{:?}", result.text);
}

#[test]
fn generation_ends_where_it_should() {
    let stopped =
        generate(&DECODER, "one, two, three, four,", &Sampling { stop: vec!["six".into()], ..greedy(24) });
    assert_eq!((stopped.text.as_str(), stopped.finish), (" five, ", Finish::Stop));

    let mut pieces = 0;
    let cancelled = DECODER
        .generate(Class::Chat, STORY, &greedy(24), &mut |_| {
            pieces += 1;
            if pieces == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((cancelled.finish, pieces), (Finish::Cancelled, 3));

    assert_eq!(generate(&DECODER, STORY, &greedy(0)).completion_tokens, 0);
    assert_eq!(generate(&DECODER, "", &greedy(1)).prompt_tokens, 1);

    let looping = Sampling { repetition_guard: true, ..greedy(200) };
    let loops = generate(&DECODER, &"The cat sat on the mat and looked at the dog. ".repeat(8), &looping);
    assert_eq!(loops.finish, Finish::Repetition, "{:?}", loops.text);

    let long = "word ".repeat(DECODER.context_length());
    let error =
        DECODER.generate(Class::Chat, &long, &greedy(1), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, ModelError::PromptTooLong { limit: 8192, .. }), "{error}");
}

#[test]
fn chat_prompts_follow_the_template_of_the_model() {
    let message = |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
    let chat = [message("user", "Hi {{ 1 }}"), message("assistant", "Hello."), message("user", "Bye")];
    let prompt = DECODER.chat_prompt(&chat).unwrap();
    assert_eq!(
        prompt,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
         <|im_start|>user\nHi {{ 1 }}<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n\
         <|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    );
    let answer = generate(&DECODER, &prompt, &greedy(64));
    assert_eq!(answer.finish, Finish::Stop);
    assert!(!answer.text.contains("<|im_end|>"));
    if !skipped(QWEN, "chat template") {
        let prompt = decoder(QWEN).chat_prompt(&chat[..1]).unwrap();
        assert_eq!(
            prompt,
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
             <|im_start|>user\nHi {{ 1 }}<|im_end|>\n<|im_start|>assistant\n"
        );
    }
}

#[test]
fn a_gpu_that_is_wanted_and_not_there_is_an_error_that_says_what_is_missing() {
    let on = |device| Models::new(&config::Models { device, ..config() }).unwrap();
    let wanted = on(config::Device::Cuda);
    // A GPU that is there and sound is used, also where it is left open.
    let gpu = epitome::model::gpu().is_ok_and(|gpu| gpu.check.is_ok());
    if gpu {
        assert_eq!(wanted.precision().unwrap(), config::Precision::Gpu);
    } else {
        let error = wanted.built_in_ranker().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("models.device is cuda") && error.contains("cpu"), "{error}");
        assert!(wanted.decoder_key().is_err());
    }
    let open = on(config::Device::Auto).precision().unwrap();
    assert_eq!(open, if gpu { config::Precision::Gpu } else { config::Precision::Int8 });
    // By default the processor does it, and the keys are the processor's.
    let default = Models::new(&config()).unwrap();
    assert_eq!(default.precision().unwrap(), config::Precision::Int8);
    assert_eq!(default.decoder_key().unwrap(), format!("{}/File", default.decoder_id().unwrap().hash));
}
