//! The engine with a real model: company, memory, queue.

use std::{sync::LazyLock, thread};

use super::*;
use crate::{config::Config, model::Models};

const MODEL: &str = "smollm2-135m-instruct";
/// Memory for 20 blocks of this model: one or two of the prompts here.
const FEW: usize = 20 * 30 * 3 * 2 * 64 * 32 * 4;

fn files() -> Located {
    let config = Config::load(None, &[]).unwrap();
    Models::new(&config.models).unwrap().pull(MODEL).unwrap()
}

static PLENTY: LazyLock<Decoder> = LazyLock::new(|| Decoder::load(&files(), Precision::Int8).unwrap());

fn sampling(max_tokens: usize) -> Sampling {
    Sampling { max_tokens, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new(), repetition_guard: false }
}

fn text(decoder: &Decoder, class: Class, prompt: &str, max_tokens: usize) -> Result<String, ModelError> {
    let generated =
        decoder.generate(class, prompt, &sampling(max_tokens), &mut |_| ControlFlow::Continue(()))?;
    Ok(generated.text)
}

/// Prompts of different lengths, half of which begin alike for more than a block.
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
fn a_text_does_not_depend_on_its_company() {
    let prompts = prompts();
    // Once with nothing known, then with the beginnings that were kept.
    let fresh = Decoder::load(&files(), Precision::Int8).unwrap();
    let together = all_at_once(&fresh, &prompts);
    assert_eq!(all_at_once(&fresh, &prompts), together);
    for (at, (prompt, together)) in prompts.iter().zip(&together).enumerate() {
        assert_eq!(&text(&PLENTY, Class::Chat, prompt, 6 + at % 4).unwrap(), together, "{prompt}");
    }
}

#[test]
fn where_memory_is_short_requests_take_turns() {
    let prompts = prompts();
    let narrow = Decoder::with(&files(), Limits { open: 64, kv_bytes: FEW }, Precision::Int8).unwrap();
    assert_eq!(all_at_once(&narrow, &prompts), all_at_once(&PLENTY, &prompts));
}

#[test]
fn a_full_queue_answers_at_once() {
    let narrow = Decoder::with(&files(), Limits { open: 3, kv_bytes: FEW }, Precision::Int8).unwrap();
    // What does not fit the memory is no request at all.
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
fn who_leaves_makes_room() {
    let narrow = Decoder::with(&files(), Limits { open: 4, kv_bytes: FEW }, Precision::Int8).unwrap();
    let left = narrow
        .generate(Class::Chat, "Count to a thousand:", &sampling(400), &mut |piece| {
            if piece.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap();
    assert_eq!(left.finish, Finish::Cancelled);
    assert!(text(&narrow, Class::Chat, "Hello", 1).is_ok());
}
