use epitome_text::{Document, Hint, SegmentSize, kinds, tokens};
use epitome_work::Cancel;
use proptest::prelude::*;

use super::*;

const SIZE: SegmentSize = SegmentSize { min: 1000, max: 2000 };

/// The topics of a text as kinds and lines, and whether they are what topics must be.
fn lines(text: &str, most: usize) -> Vec<(TopicKind, String)> {
    let (kind, blocks) = kinds::cut(text, Hint::default());
    let counter = tokens::tiktoken("gpt-4").unwrap();
    let doc = Document::cut(text, kind, blocks, counter.as_ref(), SIZE, &Cancel::never()).unwrap();
    let topics = outline(&doc, most);
    let mut end = 0;
    for topic in &topics {
        assert_eq!(topic.source.start, end, "topics tile the text: {topics:?}");
        end = topic.source.end;
        assert!(topic.source.start <= topic.line.start && topic.line.end <= topic.source.end, "{topic:?}");
        let line = &text[topic.line.clone()];
        assert!(!line.trim().is_empty() && !line.contains('\n') && line == line.trim(), "{line:?}");
    }
    assert_eq!(end, if topics.is_empty() { 0 } else { text.len() });
    assert!(topics.len() <= most.max(1));
    topics.into_iter().map(|topic| (topic.kind, text[topic.line].to_owned())).collect()
}

/// About 150 tokens on one thing.
fn on(thing: &str) -> String {
    let said =
        |at: usize| format!("We looked at the {thing} for a while, and {at} of us liked the {thing} a lot. ");
    (2..9).map(said).collect()
}

fn kinds_of(lines: &[(TopicKind, String)]) -> Vec<TopicKind> {
    lines.iter().map(|(kind, _)| *kind).collect()
}

fn words(lines: &[(TopicKind, String)]) -> Vec<&str> {
    lines.iter().map(|(_, line)| line.as_str()).collect()
}

#[test]
fn announcements_begin_topics() {
    let text = format!(
        "Let's talk about the lease of the harbour. {}\n\nThat is all on this, let's move on to the next topic. \
         Now I'd like to discuss the topic of ferries and bridges. {}\n\nThe last item is the budget. {}",
        on("lease"),
        on("ferry"),
        on("budget")
    );
    let lines = lines(&text, 9);
    assert_eq!(words(&lines), ["the lease of the harbour", "ferries and bridges", "the budget"]);
    assert!(kinds_of(&lines).iter().all(|kind| *kind == TopicKind::Announcement));
}

#[test]
fn headings_begin_topics_and_of_too_many_the_deep_ones_go() {
    let text = format!(
        "# Harbour\n\n{}\n\n## The lease\n\n{}\n\n## Let's talk about ferries\n\n{}\n\n# Bridges\n\n{}\n",
        on("harbour"),
        on("lease"),
        on("ferry"),
        on("bridge")
    );
    let all = lines(&text, 9);
    assert_eq!(words(&all), ["Harbour", "The lease", "Let's talk about ferries", "Bridges"]);
    assert!(kinds_of(&all).iter().all(|kind| *kind == TopicKind::Heading));
    assert_eq!(words(&lines(&text, 2)), ["Harbour", "Bridges"]);
    assert_eq!(words(&lines(&text, 1)), ["Harbour"]);
    assert_eq!(words(&lines(&text, 0)), ["Harbour"]);
}

#[test]
fn passages_with_names_are_topics() {
    let passage = |at: usize| format!("Document [{at}](Title: Lake {at}) {}\n", on("lake"));
    let text: String = (1..5).map(passage).collect();
    let lines = lines(&text, 9);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[2], (TopicKind::Heading, "Document [3](Title: Lake 3)".to_owned()));
}

#[test]
fn in_a_conversation_who_asks_begins_topics() {
    let turns = |ask: &str, thing: &str| {
        let more = |at| format!("USER: And {at} more on the {thing}?\nASSISTANT: {}\n", on(thing));
        format!(
            "USER: {ask}\nASSISTANT: Let's discuss what matters. {}\n{}",
            on(thing),
            [3, 4].map(more).concat()
        )
    };
    let announced = turns("I want to talk about sourdough bread.", "dough")
        + &turns("I would like to discuss the topic of bicycle repair.", "chain");
    assert_eq!(words(&lines(&announced, 9)), ["sourdough bread", "bicycle repair"]);

    let asked = turns("How do I bake sourdough bread at home?", "dough")
        + &turns("What is wrong with my bicycle?", "chain")
        + &turns("Which tax form does a plumber need?", "form");
    let lines = lines(&asked, 9);
    let found = words(&lines);
    assert_eq!(found.first(), Some(&"How do I bake sourdough bread at home?"), "{found:?}");
    assert!(found.contains(&"What is wrong with my bicycle?"), "{found:?}");
    assert!(kinds_of(&lines).iter().all(|kind| *kind == TopicKind::Opening));
}

#[test]
fn text_without_structure_is_cut_where_its_words_change() {
    let text =
        ["lease", "ferry", "budget"].map(|thing| on(thing) + "\n\n" + &on(thing) + "\n\n" + &on(thing));
    let lines = lines(&text.join("\n\n"), 9);
    assert!(lines.len() >= 3, "{lines:?}");
    for thing in ["lease", "ferry", "budget"] {
        assert!(lines.iter().any(|(_, line)| line.contains(thing)), "no {thing} in {lines:?}");
    }
}

#[test]
fn short_and_odd_texts_have_a_line_or_none() {
    assert_eq!(lines("", 9), []);
    assert_eq!(lines(" \n\n", 9), []);
    assert_eq!(lines("...", 9), []);
    assert_eq!(words(&lines("A single sentence.", 9)), ["A single sentence"]);
    assert_eq!(words(&lines("他在1987年买了这艘船。然后他去了港口。", 9)).len(), 1);
    assert_eq!(words(&lines("Let's talk about the next topic.", 9)).len(), 1);
    let long = "word ".repeat(60);
    assert_eq!(lines(&long, 9)[0].1.split(' ').count(), 16);
    for text in [
        "a".repeat(2_000_000),
        "x\n".repeat(50_000),
        "let's discuss ".repeat(20_000),
        "# a\n\n".repeat(9_000),
    ] {
        lines(&text, 20);
    }
}

proptest! {
    #[test]
    fn topics_tile_any_text_and_lines_are_its_words(
        parts in prop::collection::vec(
            prop_oneof![
                "[A-Za-z é東。.,:!?'\"#<>/-]{0,60}",
                "#{1,3} [A-Z][a-zé ]{0,20}\n\n",
                "(USER|ASSISTANT|Ann): [A-Za-z ,]{0,80}\n",
                "Let's (talk about|move on to) [a-zé東 ]{0,40}[.!,]",
                "\n{1,3}",
            ],
            0..60,
        ),
        most in 0_usize..12,
    ) {
        lines(&parts.concat(), most);
        lines(&parts.concat(), usize::MAX);
    }
}

#[test]
fn the_head_covers_what_is_announced_and_is_small_for_what_is_guessed() {
    let counter = tokens::tiktoken("gpt-4").unwrap();
    let head = |text: &str, budget: usize| Head::of(&Document::new(text, counter.as_ref(), SIZE), budget);
    let topic = |at: usize| format!("Let's move on to item {at} of the budget. {}\n\n", on("budget"));
    let announced: String = (1..16).map(topic).collect();
    assert!(head(&announced, 900).unwrap().tokens <= 300);
    assert!(head(&announced, 300).is_some_and(|head| head.tokens <= 100));
    let guessed: String = (0..16).map(|at| on(&format!("lake{at}")).repeat(4) + "\n\n").collect();
    assert!(head(&guessed, 1200).is_some_and(|head| head.tokens <= 160));
    for text in [announced.as_str(), &guessed, "", "One."] {
        assert_eq!(head(text, 20), None);
    }
}

#[test]
fn headings_are_words_without_tags() {
    let of = |text: &str| phrase::of_heading(text, 0..text.len()).map(|range| text[range].to_owned());
    assert_eq!(of("## Buffer<span><a class=\"mark\" href=\"#all").as_deref(), Some("Buffer"));
    assert_eq!(
        of("## <a id=\"6.17.0\"></a>2020-05-26, Version 6.17.0").as_deref(),
        Some("2020-05-26, Version 6.17.0")
    );
    assert_eq!(of("<h2>Costs < 5 %</h2>").as_deref(), Some("Costs < 5 %"));
    assert_eq!(of("## Option<T> and Result<T, E>").as_deref(), Some("Option<T> and Result<T, E>"));
    assert_eq!(of("< 5 ms latencies").as_deref(), Some("< 5 ms latencies"));
    assert_eq!(of("<a href=\"#6.17.0"), None);
}
