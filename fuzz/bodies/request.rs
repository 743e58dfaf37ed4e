//! Chat requests: locating texts and splicing in replacements.

use epitome::{
    config::{self, WithoutQuery},
    plan::{RequestOverrides, plan},
    wire::{
        conversation::Conversation,
        dialect::Dialect,
        json::{Replacement, splice},
    },
};
use epitome_compactor::Budget;
use epitome_work::Cancel;
use serde_json::value::RawValue;

use super::dice::{Dice, Words};

const NEW: [&str; 5] = ["", "x", "\"gist\"\n\\ of it: é😀", "\u{0}\u{7f}\u{2028}", "}],\"messages\":[{"];

/// Texts are found at their byte ranges; after splicing, each replacement is in place and every other byte is
/// unchanged.
pub fn request(data: &[u8]) {
    let Ok(chat) = Dialect::Chat.read(data) else { return };
    let mut dice = Dice::of(data);
    let mut replacements = Vec::new();
    let mut expected = Vec::new();
    for text in chat.messages.iter().flat_map(|message| &message.texts) {
        let (mut said, halves) = text.literal.decode_lossy().expect("a string can be read");
        assert_eq!(text.literal.decode(), halves.is_empty().then(|| said.clone()));
        let start = text.literal.start();
        assert!(said.len() <= text.literal.max_len());
        assert_eq!(text.literal.range(&(0..said.len())), Some(start..start + text.literal.max_len()));
        let part = dice.part_of(&said);
        let range = text.literal.range(&part).expect("a range of whole characters");
        if !halves.iter().any(|half| part.contains(half)) {
            assert_eq!(says(&data[range.clone()]), said[part.clone()]);
        }
        let new = dice.pick(&NEW);
        // With nothing between them, two surrogate halves would combine into one character.
        if !dice.one_in(4) && (halves.is_empty() || !new.is_empty()) {
            said.replace_range(part, new);
            replacements.push(Replacement { range, text: new.to_owned() });
        }
        expected.push(said);
    }
    let out = spliced(data, replacements);
    assert_eq!(texts(&out), expected);
    planned(data, &chat, &mut dice);
}

fn planned(data: &[u8], chat: &Conversation<'_>, dice: &mut Dice) {
    let mut roles = vec!["user".to_owned(), "tool".to_owned()];
    if dice.one_in(2) {
        roles.extend(["system", "assistant", ""].map(str::to_owned));
    }
    let budgets = [Budget::Share(0.5), Budget::Share(0.01), Budget::Tokens(1), Budget::Floor(0.9)];
    let config = config::Plan {
        min_tokens: dice.pick(&[0, 1, 20, 150]),
        roles,
        wording_tokens: dice.pick(&[0, 100, 2000]),
        without_query: dice.pick(&[WithoutQuery::Pass, WithoutQuery::Condense]),
        budget: dice.pick(&budgets),
        ..config::Plan::default()
    };
    let query = dice.one_in(3).then(|| "Who is asked?".to_owned());
    let budget = dice.one_in(3).then(|| dice.pick(&budgets));
    let Ok(plan) = plan(chat, &config, &Words, &RequestOverrides { query, budget }, &Cancel::never()) else {
        return;
    };
    assert!(!plan.targets.is_empty());
    assert_eq!(plan.targets.iter().map(|target| target.tokens).sum::<usize>(), plan.tokens);
    let mut end = 0;
    let mut replacements = Vec::new();
    for target in &plan.targets {
        assert!(target.range.start >= end, "targets overlap");
        assert_eq!(says(&data[target.range.clone()]), target.text);
        assert!(!target.text.is_empty());
        end = target.range.end;
        replacements.push(Replacement { range: target.range.clone(), text: dice.pick(&NEW).to_owned() });
    }
    let out = spliced(data, replacements);
    assert_eq!(texts(&out).len(), texts(data).len());
}

/// Splices the replacements into the body, checked against a naive implementation.
fn spliced(body: &[u8], replacements: Vec<Replacement>) -> Vec<u8> {
    let (mut expected, mut done) = (Vec::new(), 0);
    for Replacement { range, text } in &replacements {
        expected.extend_from_slice(&body[done..range.start]);
        let quoted = serde_json::to_string(text).unwrap();
        expected.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
        done = range.end;
    }
    expected.extend_from_slice(&body[done..]);
    let out = splice(body, replacements.into_iter().rev().collect()).expect("they fit");
    assert_eq!(out, expected, "another byte has changed");
    serde_json::from_slice::<&RawValue>(&out).expect("it is JSON still");
    out
}

fn texts(body: &[u8]) -> Vec<String> {
    let chat = Dialect::Chat.read(body).expect("a chat request still");
    chat.messages
        .iter()
        .flat_map(|message| &message.texts)
        .filter_map(|text| text.literal.decode_lossy())
        .map(|(said, _)| said)
        .collect()
}

/// Decodes the inside of a JSON string.
fn says(written: &[u8]) -> String {
    let written = std::str::from_utf8(written).expect("whole characters");
    serde_json::from_str(&format!("\"{written}\"")).expect("whole escapes")
}
