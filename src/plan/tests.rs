use super::{question::split, *};

/// One token a word.
struct Words;

impl TokenCounter for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        let mut lengths: Vec<u32> = text.split_inclusive(' ').map(|word| word.len() as u32).collect();
        lengths.retain(|len| *len > 0);
        lengths
    }
}

fn config() -> config::Plan {
    config::Plan { min_tokens: 100, query_max_tokens: 40, ..config::Plan::default() }
}

/// Paragraphs of a document, `n` of them, of 40 words each.
fn document(n: usize) -> String {
    let sentence = "The harbour of the old town was rebuilt in the year that followed the great storm.";
    vec![[sentence; 3].join(" "); n].join("\n\n")
}

fn short(text: &str) -> bool {
    text.split_whitespace().count() <= 40
}

/// Splits, and says what is document, what is not, and what is asked.
fn parts(text: &str) -> (&str, &str, &str, Option<String>) {
    let found = split(text, &short);
    let (before, rest) = text.split_at(found.document.start);
    let (document, after) = rest.split_at(found.document.len());
    (before, document, after, found.query)
}

#[test]
fn the_question_at_the_end() {
    let doc = document(4);
    for (tail, query) in [
        ("\n\nQuestion: who rebuilt the harbour?", "who rebuilt the harbour?"),
        ("\n\nQuestion: who rebuilt the harbour\nAnswer:", "who rebuilt the harbour"),
        ("\n\n**Question:** Who rebuilt it?\n\n**Answer:**", "Who rebuilt it?"),
        ("\n\nQ: Who rebuilt it?\n\nA:", "Who rebuilt it?"),
        ("\n\n### Question\nWho rebuilt it?\n\n### Response", "Who rebuilt it?"),
        ("\n\nQuestion:\n\nWho rebuilt it?", "Who rebuilt it?"),
        (
            "\n\nQuestion: Who rebuilt it?\n\nAnswer in one sentence, from the documents only.",
            "Who rebuilt it?",
        ),
        ("\n\nWho rebuilt the harbour?", "Who rebuilt the harbour?"),
        ("\n\nwho rebuilt the harbour", "who rebuilt the harbour"),
        (
            "\n\nright to rebuild the harbour according to the charter is a",
            "right to rebuild the harbour according to the charter is a",
        ),
        ("\n\nSummarize the report in three points.", "Summarize the report in three points."),
        ("\n\nPlease summarize what was said.", "Please summarize what was said."),
        ("\n\nWhich year? Answer with a number.\n", "Which year? Answer with a number."),
        ("\n\n<question>\nWho rebuilt it?\n</question>", "Who rebuilt it?"),
        ("\nQuestion: Who rebuilt it?\nAnswer:", "Who rebuilt it?"),
        ("\nWho rebuilt the harbour?", "Who rebuilt the harbour?"),
        (" Who rebuilt the harbour?", "Who rebuilt the harbour?"),
        ("\n\n谁重建了港口？", "谁重建了港口？"),
        ("\n\n问题：谁重建了港口？", "谁重建了港口？"),
    ] {
        let text = format!("{doc}{tail}");
        let (before, middle, after, found) = parts(&text);
        assert_eq!(found.as_deref(), Some(query), "{tail:?}");
        assert_eq!((before, middle, after), ("", doc.as_str(), tail), "{tail:?}");
    }
}

#[test]
fn the_question_at_the_start() {
    let doc = document(4);
    for (head, query) in [
        ("Question: who rebuilt the harbour?\n\n", "who rebuilt the harbour?"),
        ("What happened after the storm?\n\n", "What happened after the storm?"),
        ("Explain how the harbour was rebuilt.\n\n", "Explain how the harbour was rebuilt."),
        ("Answer the question with the documents below.\n\nQuestion: Who rebuilt it?\n\n", "Who rebuilt it?"),
        ("You are a historian.\n\nTake care.\n\nQuestion: Who rebuilt it?\n\n", "Who rebuilt it?"),
        ("Question: Who rebuilt it?\n", "Who rebuilt it?"),
    ] {
        let text = format!("{head}{doc}");
        let (before, middle, after, found) = parts(&text);
        assert_eq!(found.as_deref(), Some(query), "{head:?}");
        assert_eq!((before, middle, after), (head, doc.as_str(), ""), "{head:?}");
    }
}

#[test]
fn words_at_both_ends() {
    let doc = document(4);
    let text = format!(
        "Write a high-quality answer for the given question using only the provided search results.\n\n{doc}\n\nQuestion: who rebuilt it\nAnswer:"
    );
    let (before, middle, after, query) = parts(&text);
    assert!(before.starts_with("Write") && after.contains("Question:"));
    assert_eq!(middle, doc);
    assert_eq!(query.as_deref(), Some("who rebuilt it"));

    let text = format!("Who rebuilt the harbour?\n\n{doc}\n\nAnswer in one sentence.");
    let (_, middle, after, query) = parts(&text);
    assert_eq!((middle, after), (doc.as_str(), "\n\nAnswer in one sentence."));
    assert_eq!(query.as_deref(), Some("Who rebuilt the harbour?"));

    let text = format!("Question: Who?\n\n{doc}\n\nQuestion: Who?");
    assert_eq!(parts(&text).3.as_deref(), Some("Who?"));
}

#[test]
fn a_story_that_ends_with_a_question_does_not_hide_the_real_one() {
    let doc = document(4);
    let end = "He sat down. The sea was grey. Nobody came. It was late. How could he have gone back?";
    let text = format!("What happened after the storm?\n\n{doc}\n\n{end}");
    assert_eq!(parts(&text).3.as_deref(), Some("What happened after the storm?"));
    let long = vec!["The sea was grey that year."; 20].join(" ");
    let text = format!("What happened after the storm?\n\n{long} How could he have gone back?");
    assert_eq!(parts(&text).3.as_deref(), Some("What happened after the storm?"));
}

#[test]
fn no_question_means_none() {
    let doc = document(4);
    assert_eq!(parts(&doc), ("", doc.as_str(), "", None));
    for odd in ["", " ", "\n\n\n", "?", ":", "Question:", "<", "<question>", "</", "# ", "\u{3000}"] {
        let found = split(odd, &short);
        assert!(odd.get(found.document).is_some(), "{odd:?}");
    }
}

fn body(messages: &str) -> String {
    format!(r#"{{"model":"gpt-4o","messages":[{messages}]}}"#)
}

fn message(role: &str, content: &str) -> String {
    serde_json::json!({ "role": role, "content": content }).to_string()
}

fn planned(body: &str, wishes: &Wishes) -> Result<Plan, Leave> {
    let chat = ChatRequest::parse(body.as_bytes()).expect("chat");
    plan(&chat, &config(), &Words, wishes, &Cancel::never())
}

#[test]
fn a_tool_result_is_asked_by_the_user_before_it() {
    let doc = document(6);
    let messages = [
        message("system", &document(9)),
        message("user", "Who rebuilt the harbour?"),
        r#"{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}"#.into(),
        message("tool", &doc),
    ];
    let body = body(&messages.join(","));
    let plan = planned(&body, &Wishes::default()).expect("a plan");
    assert_eq!(plan.query.as_deref(), Some("Who rebuilt the harbour?"));
    assert_eq!(plan.targets.len(), 1);
    assert_eq!(plan.targets[0].text, doc);
    let written: String =
        serde_json::from_str(&format!("\"{}\"", &body[plan.targets[0].range.clone()])).expect("string");
    assert_eq!(written, doc);
}

#[test]
fn the_question_of_a_shared_message_stays_in_place() {
    let doc = document(6);
    let body = body(&message("user", &format!("{doc}\n\nQuestion: \"who\" rebuilt it?\nAnswer:")));
    let plan = planned(&body, &Wishes::default()).expect("a plan");
    assert_eq!(plan.query.as_deref(), Some("\"who\" rebuilt it?"));
    assert_eq!(plan.targets[0].text, doc);
    assert!(body[plan.targets[0].range.end..].starts_with(r#"\n\nQuestion: \"who\" rebuilt it?\nAnswer:""#));
}

#[test]
fn parts_of_their_own() {
    let doc = document(6);
    let part = |text: &str| serde_json::json!({ "type": "text", "text": text }).to_string();
    let image = r#"{"type":"image_url","image_url":{"url":"data:x"}}"#.to_owned();
    for parts in [
        vec![part("Who rebuilt it?"), part(&doc), image.clone()],
        vec![part("Document:"), part(&doc), image, part("Who rebuilt it?")],
        vec![part("Who rebuilt it?"), part(&doc), part("Thanks!")],
    ] {
        let body = body(&format!(r#"{{"role":"user","content":[{}]}}"#, parts.join(",")));
        let plan = planned(&body, &Wishes::default()).expect("a plan");
        assert_eq!(plan.query.as_deref(), Some("Who rebuilt it?"));
        assert_eq!(plan.targets.len(), 1);
        assert_eq!(plan.targets[0].text, doc);
    }
}

#[test]
fn budgets_and_wishes() {
    let messages = [
        message("user", &document(4)),
        message("assistant", "Read."),
        message("user", &document(8)),
        message("user", "And now?"),
    ];
    let body = body(&messages.join(","));
    let wishes = Wishes { query: Some("storm".into()), budget: Some(Budget::Tokens(90)) };
    let plan = planned(&body, &wishes).expect("a plan");
    assert_eq!(plan.query.as_deref(), Some("storm"));
    let budgets: Vec<usize> = plan.targets.iter().map(|t| t.budget.resolve(t.tokens)).collect();
    assert_eq!(budgets.len(), 2);
    assert!(budgets.iter().sum::<usize>() <= 90 && budgets[1] > budgets[0], "{budgets:?}");

    let share = planned(&body, &Wishes::default()).expect("a plan");
    assert_eq!(share.query.as_deref(), Some("And now?"));
    assert!(share.targets.iter().all(|t| t.budget == Budget::Share(0.5)));

    let wide = Wishes { budget: Some(Budget::Tokens(100_000)), ..Wishes::default() };
    assert_eq!(planned(&body, &wide).map_err(|l| l.reason), Err(LeaveReason::WithinBudget));
}

#[test]
fn what_is_left_alone() {
    let reason = |messages: &[String]| {
        planned(&body(&messages.join(",")), &Wishes::default()).map(|_| ()).map_err(|l| l.reason)
    };
    assert_eq!(reason(&[]), Err(LeaveReason::NoText));
    assert_eq!(reason(&[message("system", &document(9))]), Err(LeaveReason::NoText));
    assert_eq!(reason(&[message("user", "Hi")]), Err(LeaveReason::BelowThreshold));
    assert_eq!(reason(&[message("user", &"x".repeat(500))]), Err(LeaveReason::BelowThreshold));
    assert_eq!(reason(&[r#"{"role":"user","content":"\ud800"}"#.into()]), Err(LeaveReason::BelowThreshold));
}

#[test]
fn a_short_last_message_is_never_a_target() {
    let config = config::Plan { min_tokens: 2, query_max_tokens: 40, ..config::Plan::default() };
    let body =
        body(&[message("user", &document(4)), message("user", "Who rebuilt the harbour then?")].join(","));
    let chat = ChatRequest::parse(body.as_bytes()).expect("chat");
    let plan = plan(&chat, &config, &Words, &Wishes::default(), &Cancel::never()).expect("a plan");
    assert_eq!(plan.targets.len(), 1);
}
