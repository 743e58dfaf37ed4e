//! The engine with a real model: batching, memory, the queue.

use std::{sync::LazyLock, thread};

use super::*;
use crate::Models;

const MODEL: &str = "smollm2-135m-instruct";
/// Memory for 20 blocks of this model: enough for one or two of these prompts.
const FEW: usize = 20 * 30 * 3 * 2 * 64 * 32 * 4;

fn files() -> Located {
    Models::new(&crate::testing::config()).unwrap().pull(MODEL).unwrap()
}

static PLENTY: LazyLock<Decoder> =
    LazyLock::new(|| Decoder::load(&files(), DecoderPrecision::File, true).unwrap());

fn sampling(max_tokens: usize) -> Sampling {
    Sampling::greedy(max_tokens)
}

fn text(decoder: &Decoder, class: Class, prompt: &str, max_tokens: usize) -> Result<String, ModelError> {
    let generated =
        decoder.generate(class, prompt, &sampling(max_tokens), &mut |_| ControlFlow::Continue(()))?;
    Ok(generated.text)
}

/// Prompts of different lengths; half of them share a prefix of more than a block.
fn prompts() -> Vec<String> {
    let common = "Answer in one short sentence and use only what the text says. ".repeat(6);
    let stories = ["The Monitor met the Merrimack off Hampton Roads in 1862.", "A fox ran.", "Rain fell."];
    (0..12)
        .map(|at| {
            let own = stories[at % 3].repeat(1 + at % 5 * 3);
            if at % 2 == 0 { format!("{common}{own} It") } else { format!("{own} {at} and") }
        })
        .collect()
}

fn all_at_once(decoder: &Decoder, prompts: &[String]) -> Vec<String> {
    thread::scope(|scope| {
        let each = |(at, prompt): (usize, &String)| {
            let (class, prompt) = (if at % 3 == 0 { Class::Chat } else { Class::Summary }, prompt.clone());
            scope.spawn(move || text(decoder, class, &prompt, 6 + at % 4).unwrap())
        };
        let running: Vec<_> = prompts.iter().enumerate().map(each).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    })
}

#[test]
fn output_does_not_depend_on_the_batch() {
    let prompts = prompts();
    // Once with a cold prefix cache, then with a warm one.
    let fresh = Decoder::load(&files(), DecoderPrecision::File, true).unwrap();
    let together = all_at_once(&fresh, &prompts);
    assert_eq!(all_at_once(&fresh, &prompts), together);
    for (at, (prompt, together)) in prompts.iter().zip(&together).enumerate() {
        assert_eq!(&text(&PLENTY, Class::Chat, prompt, 6 + at % 4).unwrap(), together, "{prompt}");
    }
}

#[test]
fn requests_take_turns_when_memory_is_short() {
    let prompts = prompts();
    let narrow =
        Decoder::with(&files(), DecoderPrecision::File, Limits { open: 64, kv_bytes: FEW, lookup: true })
            .unwrap();
    assert_eq!(all_at_once(&narrow, &prompts), all_at_once(&PLENTY, &prompts));
    // Each decoder counts its own memory.
    let most = |decoder: &Decoder| decoder.keys_and_values().bytes().1;
    assert!(most(&narrow) > 0 && most(&narrow) <= FEW && most(&PLENTY) > FEW, "{}", most(&narrow));
}

#[test]
fn a_full_queue_refuses_at_once() {
    let narrow =
        Decoder::with(&files(), DecoderPrecision::File, Limits { open: 3, kv_bytes: FEW, lookup: true })
            .unwrap();
    // A request that can never fit is refused outright.
    let too_long = text(&narrow, Class::Chat, &"word ".repeat(700), 1);
    assert!(matches!(too_long, Err(ModelError::PromptTooLong { limit: 576, .. })), "{too_long:?}");
    let long = "one two three four five six seven eight nine ten ".repeat(30);
    let results: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..12).map(|_| scope.spawn(|| text(&narrow, Class::Chat, &long, 2))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    let busy = |result: &Result<String, ModelError>| matches!(result, Err(ModelError::Busy { waiting, .. }) if *waiting > 0);
    assert!(results.iter().any(Result::is_ok));
    assert!(results.iter().any(busy), "{results:?}");
    assert!(results.iter().all(|result| result.is_ok() || busy(result)));
    // Afterwards there is room again.
    assert!(text(&narrow, Class::Chat, "Hello", 1).is_ok());
}

#[test]
fn cancelled_requests_make_room() {
    let narrow =
        Decoder::with(&files(), DecoderPrecision::File, Limits { open: 4, kv_bytes: FEW, lookup: true })
            .unwrap();
    let left = narrow
        .generate(Class::Chat, "Count to a thousand:", &sampling(400), &mut |piece| {
            if piece.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap();
    assert_eq!(left.finish, Finish::Cancelled);
    assert!(text(&narrow, Class::Chat, "Hello", 1).is_ok());
}

/// Mean squared difference between these logits and the 32-bit ones after a prompt, relative to the latter.
#[test]
fn every_precision_is_close_to_full_precision() {
    use super::{kv::KvCache, step::Step};
    let logits = |precision: DecoderPrecision| {
        let mut weights = Weights::open(&files()).unwrap();
        let transformer = Transformer::load(&mut weights, precision.of_all()).unwrap();
        let ids = PLENTY.ids("The Monitor met the Merrimack off Hampton Roads in").unwrap();
        let mut cache = KvCache::with_prefix(Vec::new());
        let mut steps = [Step { ids: &ids, cache: &mut cache, logits: 1, best_only: false, watch: None }];
        transformer.forward(&mut steps).unwrap().remove(0)
    };
    let full = logits(DecoderPrecision::F32);
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    let off = |precision| {
        let ours = logits(precision);
        square(&mut ours.iter().zip(&full).map(|(a, b)| a - b)) / square(&mut full.iter().copied())
    };
    // The file's weights are in 4 bits, so keeping them adds only the rounding error of the activations.
    let (file, int8, int4) =
        (off(DecoderPrecision::File), off(DecoderPrecision::Int8), off(DecoderPrecision::Int4));
    assert!(file < 3e-3 && int8 < 3e-3 && int4 < 3e-2, "file {file:e}, int8 {int8:e}, int4 {int4:e}");
    assert!(file > 0.0 && file <= int8 * 1.5, "file {file:e}, int8 {int8:e}");
    let bf16 = off(DecoderPrecision::Bf16);
    assert!(bf16 > 0.0 && bf16 < 3e-4, "bf16 {bf16:e}");
}

#[test]
fn prompt_lookup_does_not_change_the_output() {
    let plain =
        Decoder::with(&files(), DecoderPrecision::File, Limits { open: 64, kv_bytes: FEW, lookup: false })
            .unwrap();
    let list = "one, two, three, four, five, six; ".repeat(4);
    let story = include_str!("../../../../eval/corpus/story.txt");
    let prompts = [
        format!("{list}one, two,"),
        format!("{}\nRepeat the text:\n", &story[..story.floor_char_boundary(600)]),
        "The Monitor met the Merrimack".to_owned(),
    ];
    for prompt in &prompts {
        let expected = text(&plain, Class::Chat, prompt, 60).unwrap();
        assert_eq!(text(&PLENTY, Class::Chat, prompt, 60).unwrap(), expected);
        // The last proposal does not exceed the limit.
        for most in 1..6 {
            let short = PLENTY
                .generate(Class::Chat, prompt, &sampling(most), &mut |_| ControlFlow::Continue(()))
                .unwrap();
            assert!(short.completion_tokens <= most && expected.starts_with(&short.text));
        }
    }
}

#[test]
fn grounded_output_has_only_bound_words_of_the_source() {
    let grounds = Arc::new(Grounds::new("Nora sold 17 boats in Oslo.", ["the", "she", "in"]));
    let prompt = "Write about ships, with names and years: In 18";
    let free = text(&PLENTY, Class::Chat, prompt, 40).unwrap();
    let bound = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        let bound = |word: &&str| word.contains(|c: char| c.is_numeric() || c.is_uppercase());
        words.filter(bound).map(str::to_owned).collect()
    };
    assert!(!bound(&free).is_empty(), "{free}");
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, grounds: Some(grounds.clone()), ..sampling(40) };
        let kept =
            PLENTY.generate(Class::Chat, prompt, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
        let allowed = ["Nora", "Sold", "17", "Boats", "Oslo", "The", "She", "In"];
        let mut words = bound(&kept.text);
        // The last word may be cut off by the limit.
        if kept.finish == Finish::Length {
            words.pop();
        }
        assert!(words.iter().all(|word| allowed.contains(&word.as_str())), "{}", kept.text);
    }
}

/// The byte range of each sentence of a prompt, and of the prompt.
fn parts(prompt: &str) -> Vec<std::ops::Range<usize>> {
    let mut start = 0;
    let part = |sentence: &str| {
        start += sentence.len();
        start - sentence.len()..start
    };
    prompt.split_inclusive('.').map(part).collect()
}

fn attention(decoder: &Decoder, class: Class, prompt: &str) -> Attention {
    let go_on = &mut || ControlFlow::Continue(());
    decoder.attention(class, prompt, &parts(prompt), go_on).unwrap().unwrap()
}

#[test]
fn attention_is_a_share_of_the_whole_and_does_not_depend_on_the_batch() {
    let prompts = prompts();
    let fresh = Decoder::load(&files(), DecoderPrecision::File, true).unwrap();
    let together: Vec<Attention> = thread::scope(|scope| {
        let fresh = &fresh;
        let reading = |prompt: &String| {
            let prompt = prompt.clone();
            scope.spawn(move || attention(fresh, Class::Reading, &prompt))
        };
        let running: Vec<_> = prompts.iter().map(reading).collect();
        let writing = scope.spawn(|| text(fresh, Class::Chat, "Count to ten:", 20));
        assert!(writing.join().unwrap().is_ok());
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    for (prompt, together) in prompts.iter().zip(&together) {
        assert_eq!(&attention(&PLENTY, Class::Reading, prompt), together, "{prompt}");
        assert_eq!(together.heads(), 270);
        let parts = parts(prompt).len();
        for masses in together.by_head() {
            // The parts cover the whole prompt, so their shares sum to the total.
            let whole: f32 = masses.iter().sum();
            assert!(masses.len() == parts && (whole - 1.0).abs() < 1e-4, "{whole}");
        }
        assert_eq!(together.tokens().iter().sum::<usize>(), PLENTY.count(prompt).unwrap());
    }
    // Abandoned requests end, and parts outside the prompt get nothing.
    let whole = prompts.join(" ").repeat(3);
    let left = fresh.attention(Class::Reading, &whole, &[], &mut || ControlFlow::Break(()));
    assert!(matches!(left, Ok(None)), "{left:?}");
    let outside = 40..50;
    let parts = std::slice::from_ref(&outside);
    let none = PLENTY.attention(Class::Reading, "A fox ran.", parts, &mut || ControlFlow::Continue(()));
    assert!(none.unwrap().unwrap().by_head().all(|masses| masses == [0.0]));
}
