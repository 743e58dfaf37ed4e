//! What the check is worth: sentences that are true of an excerpt, and inventions planted into such.

use std::collections::BTreeMap;

use epitome_text::{Document, SegmentSize};
use serde::Deserialize;

use super::{features::NAMES, *};
use crate::summarize::grounding;

#[derive(Deserialize)]
struct Fixture {
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    source: String,
    near: Vec<String>,
    reworded: Vec<String>,
    planted: Vec<(String, String)>,
}

/// Spans of a text.
fn read<T>(text: &str, with: impl FnOnce(&Document<'_>, &Source) -> T) -> T {
    let counter = epitome_text::tokens::tiktoken("gpt-4").unwrap();
    let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 1000, max: 2000 });
    let spans: Vec<usize> = (0..doc.spans.len()).collect();
    let source = Source::new(&doc, &spans);
    with(&doc, &source)
}

const TALK: &str = "Project Manager: Um , what do the users say ?\n\
    Marketing: Seventy five percent of users find most remote controls ugly .\n\
    Marketing: Eighty percent of users would spend more for a nice one .\n\
    Project Manager: Then we should not use the old case .\n";

#[test]
fn the_model_is_complete() {
    assert!(NAMES.iter().all(|name| MODEL.features.contains_key(*name)));
    assert_eq!(MODEL.features.len(), NAMES.len());
    assert!(MODEL.threshold.is_finite());
}

#[test]
fn support_is_named() {
    read(TALK, |doc, source| {
        let cited = |sentence: &str| -> Vec<&str> {
            source.support(sentence).unwrap().into_iter().map(|span| doc.span_text(span)).collect()
        };
        assert_eq!(cited("We should not use the old case."), ["Then we should not use the old case ."]);
        let both = "Seventy five percent of users find most remote controls ugly and eighty percent of users \
            would spend more for a nice one.";
        assert_eq!(cited(both).len(), 2);
    });
}

#[test]
fn words_are_their_speakers() {
    read(TALK, |_, source| {
        let ugly = "seventy five percent of users find most remote controls ugly.";
        for good in [format!("Marketing: {ugly}"), format!("Marketing said that {ugly}")] {
            assert!(source.support(&good).is_ok(), "{good}");
        }
        for bad in [format!("Project Manager: {ugly}"), format!("The Project Manager said that {ugly}")] {
            assert!(source.support(&bad).is_err(), "{bad}");
        }
    });
    let story = "\"There is a ravine ahead of us,\" Ann said.\n\nThey went on.\n\n\"I have lost the map,\" Jonathan said.\n";
    read(story, |_, source| {
        assert!(source.support("Ann said that there is a ravine ahead.").is_ok());
        assert!(source.support("Jonathan said that there is a ravine ahead.").is_err());
    });
}

#[test]
fn labels_may_differ_in_a_number_alone() {
    let talk = "Speaker 1: The users find the old case ugly , and they said so in the test .\n\
        Speaker 2: I will order the new rubber case from the factory in Leeds .\n\
        Speaker 1: Then we have to tell the board about the price .\n";
    read(talk, |_, source| {
        let said = "said that he will order the new rubber case from the factory in Leeds.";
        assert!(source.support(&format!("Speaker 1 {said}")).is_err());
        assert!(source.support(&format!("Speaker 2 {said}")).is_ok());
    });
}

#[test]
fn numbers_and_times_stand_in_what_is_cited() {
    for (text, sentence) in [
        (
            "The trial began in March. We signed the lease with the landlord.",
            "We signed the lease with the landlord in March.",
        ),
        (
            "The launch is on Monday. We met the client in the old office.",
            "We met the client in the old office on Monday.",
        ),
        (
            "About seventy shops were closed. It is clear that users find most remote controls ugly.",
            "Seventy users find most remote controls ugly.",
        ),
        (
            "The doctors met in 1987. They found that smokers had more heart attacks than others.",
            "In 1987 they found that smokers had more heart attacks than others.",
        ),
        ("The drug did not, in this trial, reduce mortality.", "The drug reduced mortality in this trial."),
        (
            "I will not, under any condition, sign the contract with the builders.",
            "He will sign the contract with the builders.",
        ),
    ] {
        read(text, |_, source| assert!(source.support(sentence).is_err(), "{sentence}"));
    }
}

#[test]
fn a_number_belongs_to_what_it_counts() {
    read(TALK, |_, source| {
        let swapped = "Eighty percent of users find most remote controls ugly.";
        assert_eq!(source.support(swapped), Err(Unsupported::Number));
        let other = "Sixty percent of users find most remote controls ugly.";
        assert_eq!(source.support(other), Err(Unsupported::Number));
        assert_eq!(source.support("We should not use the old case yesterday."), Err(Unsupported::Time));
    });
}

#[test]
fn nothing_and_other_scripts_do_no_harm() {
    for text in ["", " \n", "会議では新しい設計について話し合い、期限を決めました。", "\u{301}\n\n_", TALK]
    {
        read(text, |_, source| {
            for sentence in ["", ".", "会議では", "Marketing:", "The", "\"", "'s", "\u{301}"] {
                assert!(source.support(sentence).is_err(), "{sentence}");
            }
        });
    }
    let long = "word ".repeat(100_000);
    read(&long, |_, source| assert!(source.support(&long).is_err()));
}

/// Counts over `tests/fixtures/support/plants.json`: 80 sentences close to the words of their excerpt, 24 in words of
/// their own, 200 inventions of eight kinds.
#[test]
fn few_inventions_pass_and_most_of_what_is_close_to_the_source() {
    let fixture: Fixture =
        serde_json::from_str(include_str!("../../../../../tests/fixtures/support/plants.json")).unwrap();
    let mut passed: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut said = String::new();
    for text in &fixture.texts {
        let known = grounding::Source::new(&text.source);
        read(&text.source, |_, source| {
            let near = text.near.iter().map(|sentence| ("near", sentence));
            let reworded = text.reworded.iter().map(|sentence| ("reworded", sentence));
            let planted = text.planted.iter().map(|(kind, sentence)| (kind.as_str(), sentence));
            for (kind, sentence) in near.chain(reworded).chain(planted) {
                let (grounded, found) = (known.holds(sentence), source.support(sentence));
                let count = passed.entry(kind).or_default();
                let passes = grounded && found.is_ok();
                *count = (count.0 + usize::from(passes), count.1 + 1);
                if passes != matches!(kind, "near" | "reworded") {
                    said += &format!("{kind} {grounded} {found:?}: {sentence}\n");
                }
            }
        });
    }
    let near = passed.remove("near").unwrap();
    let reworded = passed.remove("reworded").unwrap();
    let inventions = passed.values().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    said += &format!("near {near:?}, reworded {reworded:?}, inventions {inventions:?}: {passed:?}");
    assert_eq!((near.1, reworded.1, inventions.1), (80, 24, 200));
    // Measured: 6 and 72.
    assert!(inventions.0 <= 7, "{said}");
    assert!(near.0 >= 71, "{said}");
}
