//! Model files, tokenizers and models, compared with reference implementations.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, LazyLock},
};

use epitome::config::{self, Config};
use epitome_engine::{ChatMessage, Class, Decoder, Finish, Generated, ModelError, Models, Sampling};
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
fn token_ids_match_llama_cpp() {
    has_the_token_ids_of_llama_cpp(SMOLLM);
}

#[test]
#[ignore = "needs qwen2.5-coder-0.5b-instruct: epitome models pull"]
fn token_ids_of_qwen_match_llama_cpp() {
    has_the_token_ids_of_llama_cpp(QWEN);
}

fn has_the_token_ids_of_llama_cpp(model: &str) {
    let fixture: TokenIds = serde_json::from_str(include_str!("../fixtures/token_ids.json")).unwrap();
    let plain = MODELS.tokenizer(model).expect("the model is on this machine");
    let mut special = plain.clone();
    special.set_encode_special_tokens(false);
    let (mut wrong, mut with_special) = (Vec::new(), 0);
    for case in &fixture.cases {
        let ids = plain.encode_fast(case.text.as_str(), false).unwrap().get_ids().to_vec();
        if ids != case.ids[model] {
            wrong.push(format!("{:?}\n  ours   {ids:?}\n  theirs {:?}", case.text, case.ids[model]));
        }
        let ids = special.encode_fast(case.text.as_str(), false).unwrap().get_ids().to_vec();
        let theirs = case.with_special.get(model).inspect(|_| with_special += 1).unwrap_or(&case.ids[model]);
        if ids != *theirs {
            wrong.push(format!("special: {:?}\n  ours   {ids:?}\n  theirs {theirs:?}", case.text));
        }
    }
    assert!(wrong.is_empty(), "{model}:\n{}", wrong.join("\n"));
    assert!(fixture.cases.len() > 10 && with_special > 0, "{} cases, {with_special}", fixture.cases.len());
}

#[test]
fn text_round_trips_through_token_ids() {
    let fixture: TokenIds = serde_json::from_str(include_str!("../fixtures/token_ids.json")).unwrap();
    let tokenizer = MODELS.tokenizer(SMOLLM).unwrap();
    for case in &fixture.cases {
        assert_eq!(tokenizer.decode(&case.ids[SMOLLM], false).unwrap(), case.text);
    }
}

/// The decoder that the configuration would load under that name.
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

/// Quantized products are rounded differently here and in llama.cpp, so that near ties may go either way:
/// texts are compared up to the first near tie.
const NEAR_TIE: f64 = 0.75;

#[test]
fn greedy_tokens_match_llama_cpp() {
    has_the_greedy_tokens_of_llama_cpp(SMOLLM);
}

#[test]
#[ignore = "needs qwen2.5-coder-0.5b-instruct: epitome models pull"]
fn greedy_tokens_of_qwen_match_llama_cpp() {
    has_the_greedy_tokens_of_llama_cpp(QWEN);
}

fn has_the_greedy_tokens_of_llama_cpp(model: &str) {
    let fixture: Greedy = serde_json::from_str(include_str!("../fixtures/greedy.json")).unwrap();
    let decoder = decoder(model);
    let tokenizer = MODELS.tokenizer(model).expect("the model is on this machine");
    let mut compared = 0;
    for case in fixture.cases.iter().filter(|case| case.model == model) {
        let near_tie = case.margins.iter().position(|margin| *margin < NEAR_TIE);
        let sure = near_tie.unwrap_or(case.tokens.len()).min(case.tokens.len());
        let theirs = tokenizer.decode(&case.tokens[..sure], true).unwrap();
        let ours = generate(&decoder, &case.prompt, &greedy(sure)).text;
        assert!(ours.starts_with(&theirs), "{model}: {:?}\nours   {ours:?}\ntheirs {theirs:?}", case.prompt);
        compared += sure;
    }
    assert!(compared >= 24, "{model}: only {compared} tokens compared");
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
fn chunked_prefill_reads_the_whole_prompt() {
    // 700 tokens take two prefill passes; the counting sequence determines the continuation.
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
}

#[test]
#[ignore = "needs qwen2.5-coder-0.5b-instruct: epitome models pull"]
fn chat_prompts_of_qwen_follow_its_template() {
    let chat = [ChatMessage { role: "user".into(), content: "Hi {{ 1 }}".into() }];
    assert_eq!(
        decoder(QWEN).chat_prompt(&chat).unwrap(),
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
         <|im_start|>user\nHi {{ 1 }}<|im_end|>\n<|im_start|>assistant\n"
    );
}

/// Hides a GPU that the machine may have, which requires a separate process.
#[test]
fn a_required_but_missing_gpu_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("in.txt"), "A short text. It is about nothing.\n".repeat(99)).unwrap();
    let on = |device: &str| {
        let output = crate::cli::epitome(home.path())
            .args(["compact", "in.txt", "--query", "What is it about?", "--budget", "25%"])
            .args(["--set", &format!("models.device={device}")])
            .env("CUDA_VISIBLE_DEVICES", "")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), output.stdout)
    };
    let (code, told, _) = on("cuda");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("models.device is cuda") && told.contains("cpu"), "{told}");
    // With `auto`, the CPU is used instead.
    let (open, told, text) = on("auto");
    assert_eq!((open, text), (Some(0), on("cpu").2), "{told}");
}

#[test]
fn keys_depend_on_the_device() {
    let on = |device| Models::new(&config::Models { device, ..config() }).unwrap();
    let cpu = on(config::Device::Cpu);
    assert_eq!(cpu.precision().unwrap(), config::Precision::Int8);
    assert_eq!(cpu.decoder_key().unwrap(), format!("{}/File", cpu.decoder_id().unwrap().hash));
    let open = on(config::Device::Auto);
    let (precision, key) = match epitome_engine::gpu() {
        Ok(gpu) if gpu.check.is_ok() => (config::Precision::Gpu, "Bf16"),
        _ => (config::Precision::Int8, "File"),
    };
    assert_eq!(open.precision().unwrap(), precision);
    assert_eq!(open.decoder_key().unwrap(), format!("{}/{key}", open.decoder_id().unwrap().hash));
}
