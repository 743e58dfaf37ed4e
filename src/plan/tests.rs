use super::{
    marker,
    material::{Part, Stretch, stretches},
    *,
};
use crate::wire::dialect::Dialect;

/// One token per word.
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
    config::Plan { min_tokens: 100, originals: false, ..config::Plan::default() }
}

/// `n` paragraphs of a document, 48 words each.
fn document(n: usize) -> String {
    let subjects = ["harbour", "mill", "bridge", "market", "school", "tower", "quay"];
    let paragraph = |i: usize| {
        let subject = subjects[i % subjects.len()];
        let sentence = format!(
            "The {subject} of the old town was rebuilt in the year {i} that followed the great storm."
        );
        vec![sentence; 3].join(" ")
    };
    (0..n).map(paragraph).collect::<Vec<_>>().join("\n\n")
}

fn body(messages: &[String]) -> String {
    format!(r#"{{"model":"gpt-4o","messages":[{}]}}"#, messages.join(","))
}

fn message(role: &str, content: &str) -> String {
    serde_json::json!({ "role": role, "content": content }).to_string()
}

fn call(name: &str, arguments: &str, said: Option<&str>) -> String {
    let function = serde_json::json!({ "name": name, "arguments": arguments });
    let calls = serde_json::json!([{ "id": "1", "type": "function", "function": function }]);
    serde_json::json!({ "role": "assistant", "content": said, "tool_calls": calls }).to_string()
}

fn result(content: &str) -> String {
    serde_json::json!({ "role": "tool", "tool_call_id": "1", "content": content }).to_string()
}

fn planned(body: &str, wishes: &RequestOverrides) -> Result<Plan, Skip> {
    let chat = Dialect::Chat.read(body.as_bytes()).expect("chat");
    plan(&chat, &config(), &Words, wishes, &Cancel::never())
}

fn asked(plan: &Plan) -> (&str, &str) {
    let query = plan.targets[0].query.as_ref();
    query.map_or(("", ""), |query| (query.text.as_str(), query.source.as_str()))
}

/// The material of a message, and the rest.
fn parts(text: &str) -> (String, String) {
    let found: Vec<Stretch> = stretches(text, true, 2000).unwrap_or_default();
    let of = |material: bool| {
        let stretches = found.iter().filter(|s| (s.part == Part::Material) == material);
        stretches.map(|s| &text[s.range.clone()]).collect::<Vec<_>>().join("\u{0}")
    };
    (of(true), of(false))
}

#[test]
fn text_around_the_material_is_wording_in_any_form_and_language() {
    let doc = document(40);
    for wording in [
        "Who rebuilt the harbour?",
        "Check who rebuilt the harbour and reply in French.",
        "Builder and year of the harbour",
        "Question: who rebuilt the harbour\nAnswer:",
        "**Question:** Who rebuilt it?\n\n**Answer:**",
        "Who rebuilt it?\n\nPS: it goes on a sticker, so at most twenty words.",
        "Please cover:\n- who rebuilt it\n- when\n- at whose cost",
        "Who rebuilt it?\n\nRules:\n- no guesses\n- cite the paragraph\n- reply in Spanish",
        "Who rebuilt it?\n\nReturn this shape:\n\n```json\n{\"who\": \"...\", \"year\": 0}\n```",
        "Who rebuilt it?\n\nReturn JSON like this:\n{\"who\": \"...\", \"year\": 0}",
        "1. Who rebuilt it?\n2. In which year?\n3. Who paid?",
        "Nenne, wer den Hafen gebaut hat, und antworte auf Deutsch.",
        "谁重建了港口？请用中文回答。",
        "誰が港を再建しましたか。",
        "ช่วยบอกว่าใครสร้างท่าเรือ",
        "اذكر من أعاد بناء الميناء.",
        "<question>\nWho rebuilt it?\n</question>",
        "Say who. 🙏🏽\u{200d} \u{feff}\u{0} Thanks\r",
    ] {
        for text in [format!("{doc}\n\n{wording}"), format!("{wording}\n\n{doc}")] {
            let (material, kept) = parts(&text);
            assert!(kept.contains(wording), "{wording:?} is cut: {kept:?}");
            assert!(material.len() * 10 > doc.len() * 8, "{wording:?}: {} of {}", material.len(), doc.len());
        }
    }
}

#[test]
fn a_question_asked_three_times_is_not_a_passage_label() {
    let doc = document(40);
    let (above, below) = doc.split_at(doc.len() / 2);
    for question in
        ["質問: どの注文が失われましたか。", "Вопрос: кто построил мост?", "Kysymys: kuka rakensi sillan?"]
    {
        let text =
            format!("{question}\nBe brief.\n\n{above}\n\n{question}\n\n{below}\n\n{question}\nBe brief.");
        let (material, wording) = parts(&text);
        assert!(!material.is_empty());
        assert_eq!(wording.matches(question).count(), 3, "{question}: {wording}");
    }
}

#[test]
fn a_delimited_body_is_material_as_a_whole() {
    let doc = document(40);
    for (open, close) in [
        ("<document>\n", "\n</document>"),
        ("<context>", "</context>"),
        ("```\n", "\n```"),
        ("```text\n", "\n```"),
        ("\"\"\"\n", "\n\"\"\""),
        ("[CONTEXT]\n", "\n[/CONTEXT]"),
        ("---\n\n", "\n\n---"),
    ] {
        // Wording longer than a paragraph of the document, at both ends.
        let long =
            "Take care to read every line of it, since the harbour and the mole are not the same thing. "
                .repeat(4);
        let text = format!("{long}\n\n{open}{doc}{close}\n\n{long}\n\nWho rebuilt it?");
        let (material, kept) = parts(&text);
        assert_eq!(material, doc, "{open:?}");
        assert_eq!(kept.matches(&long).count(), 2, "{open:?}");
    }
    let quoted: String = doc.lines().map(|line| format!("> {line}\n")).collect();
    assert_eq!(parts(&format!("Sum this up.\n\n{quoted}\nIn one line.")).0, quoted.trim_end());
}

#[test]
fn a_question_in_the_middle_splits_the_material() {
    let doc = document(20);
    let question = "Question about what stands above and below: Who rebuilt it? Reply in Danish.";
    let (material, kept) = parts(&format!("{doc}\n\n{question}\n\n{doc}"));
    assert!(kept.contains(question) && !material.contains("Danish"));
    assert_eq!(material.matches('\u{0}').count(), 1);
}

#[test]
fn the_one_list_or_table_among_paragraphs_is_wording() {
    let doc = document(20);
    for said in [
        "Guidelines:\n* Only facts from the text\n* British spelling",
        "Fill in the table.\n\n| Item | Value |\n| --- | --- |\n| who rebuilt it | |",
        "```yaml\nresult: ...\nevidence:\n  - quote: ...\n```",
        "Put it between tags:\n\n<answer>\n  <value></value>\n</answer>",
        "Nach diesem Muster, bitte:\n\n{\n  \"wer\": \"...\",\n  \"wann\": 0\n}",
    ] {
        let (material, kept) = parts(&format!("{doc}\n\n{said}\n\n{doc}\n\nWho rebuilt it?"));
        for line in said.lines().filter(|line| !line.is_empty()) {
            assert!(kept.contains(line) && !material.contains(line.trim()), "{line:?} of {said:?}");
        }
    }
    // If lists are common in the text, they are part of it.
    let few = document(2);
    let listed = format!("{few}\n\n* Only facts from the text\n* British spelling\n\n").repeat(8);
    assert!(parts(&format!("{listed}{few}\n\nWho rebuilt it?")).0.contains("British spelling"));
}

#[test]
fn a_second_body_with_a_sample_is_wording() {
    let doc = document(30);
    let fields: String =
        (0..40).map(|i| format!("  \"field_{i}\": \"what the text says of it\",\n")).collect();
    let layout: String =
        (0..42).map(|i| format!("Line {i} of the answer says what was rebuilt.\n")).collect();
    for (text, said) in [
        (format!("```\n{doc}\n```\n\nSchema:\n\n```json\n{{\n{fields}}}\n```"), &fields),
        (format!("```\n{doc}\n```\n\nUse this layout for your answer:\n\n```\n{layout}```"), &layout),
        (format!("\"\"\"\n{doc}\n\"\"\"\n\nIn the style of this:\n\n\"\"\"\n{layout}\"\"\""), &layout),
    ] {
        let (material, kept) = parts(&text);
        assert!(material.contains("rebuilt in the year 15"), "{material}");
        for line in said.lines() {
            assert!(kept.contains(line), "{line:?} is material");
        }
    }
    // Two documents of similar size are both material.
    let both = parts(&format!("```\n{doc}\n```\n\nand\n\n```\n{doc}\n```\n\nWhich says more?")).0;
    assert_eq!(both.matches("rebuilt in the year 15").count(), 6);
}

#[test]
fn instruction_tags_enclose_wording_of_any_length() {
    let rules: String = (0..60).map(|i| format!("- Never call the harbour number {i} a port.\n")).collect();
    let examples: String = (0..30)
        .map(|i| format!("<example>\nInput: gate {i}\nOutput: {{\"gate\": {i}}}\n</example>\n"))
        .collect();
    let doc = document(12);
    for said in
        [format!("<instructions>\n{rules}</instructions>"), format!("<task>\n{rules}</task>"), examples]
    {
        let (material, kept) = parts(&format!("{said}\n\n<document>\n{doc}\n</document>\n\nWho rebuilt it?"));
        for line in said.lines() {
            assert!(kept.contains(line), "{line:?} is material");
        }
        assert!(material.contains("rebuilt in the year 5"), "{material}");
    }
}

#[test]
fn examples_rules_and_late_announcements_are_wording() {
    let doc = document(60);
    let pairs: String = (0..40).map(|i| format!("Q: Which gate is number {i}?\nA: gate {i}\n\n")).collect();
    let rules: String = (0..60).map(|i| format!("- Never call the harbour number {i} a port.\n")).collect();
    let long: String = (0..6)
        .map(|i| {
            format!(
                "{}\n\n",
                format!("You weigh what the text says of gate {i} and of nothing else at all. ").repeat(6)
            )
        })
        .collect();
    for said in [&pairs, &rules, &long] {
        let (material, kept) = parts(&format!("{said}\n\nDocument:\n\n{doc}\n\nWho rebuilt it?"));
        for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert!(kept.contains(line), "{line:?} is material");
        }
        assert!(material.contains("rebuilt in the year 30"), "{material}");
    }
    let (_, kept) = parts(&format!("{rules}\n\n{doc}\n\nWho rebuilt it?"));
    assert!(rules.lines().all(|line| kept.contains(line)));
    // More examples than wording allows, and the last one is open: none of it is material.
    let many: String = (0..400).map(|i| format!("Input: gate {i} of the harbour\nOutput: {i}\n\n")).collect();
    assert_eq!(stretches(&format!("{many}Input: the mill\nOutput:"), true, 2000), None);
}

#[test]
fn unclosed_openings_take_linear_time() {
    for line in ["<<<\n", "<a\n", "<a>\n", "\"\"\" x\n", "[A]\n", "```x\n"] {
        let time = |bytes: usize| {
            let text = line.repeat(bytes / line.len());
            let ends = format!("{text}{}", "</a> x\n".repeat(bytes / 10));
            let run = || {
                let start = std::time::Instant::now();
                stretches(&text, true, 2000);
                stretches(&ends, true, 2000);
                start.elapsed()
            };
            run().min(run())
        };
        // Quadratic time took half a minute here: sixteen times as long for four times the text.
        let (short, long) = (time(20_000), time(80_000));
        assert!(long < 10 * short + std::time::Duration::from_millis(100), "{line:?}: {short:?}, {long:?}");
    }
}

#[test]
fn long_instructions_without_delimiters_are_kept() {
    let doc = document(60);
    let long = "You compare what the text says of the harbour with what it says of the mill, and you say which of both \
                was built first, in the order in which the text names them, without any word about the storm itself.";
    for text in [format!("{long}\n\n{doc}"), format!("{doc}\n\n{long}")] {
        assert!(parts(&text).1.contains(long));
    }
}

#[test]
fn pure_wording_has_no_material() {
    let rules: String = (0..400).map(|i| format!("- Never use the word number {i}.\n\n")).collect();
    assert_eq!(stretches(&rules, true, 2000), None);
    assert_eq!(stretches("", true, 2000), None);
    assert_eq!(stretches(&document(2), true, 2000), None);
    let reason =
        planned(&body(&[message("user", &rules)]), &RequestOverrides::default()).map_err(|l| l.reason);
    assert_eq!(reason.err(), Some(SkipReason::NoMaterial));
}

#[test]
fn the_query_is_taken_from_all_wording_of_the_turn() {
    let doc = document(40);
    let ask = |text: &str| {
        let plan = planned(&body(&[message("user", text)]), &RequestOverrides::default()).expect("a plan");
        let (query, source) = asked(&plan);
        (query.to_owned(), source.to_owned())
    };
    for (wording, query, source) in [
        ("Question: who rebuilt it?\nAnswer:", "who rebuilt it?", "question"),
        ("Who rebuilt it?\n\nPS: at most twenty words.", "Who rebuilt it?", "question"),
        ("Summarize the report in three points.", "Summarize the report in three points.", "question"),
        (
            "It goes to a judge. Who rebuilt the harbour? Name no town.",
            "Who rebuilt the harbour?",
            "question",
        ),
        ("Builder of the harbour", "Builder of the harbour", "wording"),
        ("Podaj, kto odbudował port.", "Podaj, kto odbudował port.", "wording"),
    ] {
        for text in [format!("{doc}\n\n{wording}"), format!("{wording}\n\n{doc}")] {
            assert_eq!(ask(&text), (query.to_owned(), source.to_owned()), "{wording}");
        }
    }
    // Another person's question at the end of a thread does not take precedence.
    let thread = format!(
        "List who rebuilt the harbour, from this thread:\n\n{doc}\n\nSo will the lamps be ready by Friday?"
    );
    assert!(ask(&thread).0.contains("List who rebuilt the harbour"));
}

#[test]
fn the_system_message_is_the_query_if_the_user_says_nothing() {
    let doc = document(40);
    let system =
        message("system", "From each text that the user sends, give the firm that holds the licence.");
    let found =
        planned(&body(&[system, message("user", &doc)]), &RequestOverrides::default()).expect("a plan");
    assert_eq!(asked(&found).1, "system");
    let alone = planned(&body(&[message("user", &doc)]), &RequestOverrides::default());
    assert_eq!(
        alone.map_err(|l| (l.reason, l.source)).err(),
        Some((SkipReason::NoQuery, Some(QuerySource::None)))
    );
    let condense = config::Plan { without_query: config::WithoutQuery::Condense, ..config() };
    let body = body(&[message("user", &doc)]);
    let chat = Dialect::Chat.read(body.as_bytes()).expect("chat");
    assert_eq!(
        plan(&chat, &condense, &Words, &RequestOverrides::default(), &Cancel::never())
            .expect("a plan")
            .targets
            .len(),
        1
    );
}

#[test]
fn a_tool_result_is_queried_by_its_call_or_else_by_the_task() {
    let doc = document(40);
    let task = message("user", "Who rebuilt the tower?");
    let ask = |call: String| {
        let body = body(&[task.clone(), call, result(&doc)]);
        let plan = planned(&body, &RequestOverrides::default()).expect("a plan");
        assert_eq!(plan.targets.len(), 1);
        assert_eq!(plan.targets[0].text, doc);
        let (query, source) = asked(&plan);
        (query.to_owned(), source.to_owned())
    };
    let (query, source) = ask(call("search", r#"{"pattern":"quay school mill"}"#, None));
    assert_eq!((query.as_str(), source.as_str()), ("quay school mill", "call"));
    // Names of tools and files, and flags, do not concern the content of the result.
    let (query, source) = ask(call("harbour", r#"{"path":"src/mill.rs","flags":"--quay"}"#, None));
    assert_eq!((query.as_str(), source.as_str()), ("Who rebuilt the tower?", "question"));
    let (query, source) = ask(call("read", r#"{"n":7}"#, Some("Now I look for what is said of the mill.")));
    assert!(query.contains("mill") && source == "call", "{query}");
    // Both are used if the task concerns the result at least as much as the call does.
    let task = message("user", "Who rebuilt the tower and the bridge beside the market?");
    let both = body(&[task, call("search", r#"{"pattern":"quay"}"#, None), result(&doc)]);
    let plan = planned(&both, &RequestOverrides::default()).expect("a plan");
    let expected = "quay\nWho rebuilt the tower and the bridge beside the market?";
    assert_eq!(asked(&plan), (expected, "call"));
    // Calls that do not distinguish lines of the text.
    for (name, arguments) in
        [("fetch", "{}"), ("read_file", r#"{"path":"a.txt"}"#), ("grep", r#"{"pattern":"storm"}"#)]
    {
        let (query, source) = ask(call(name, arguments, None));
        assert_eq!((query.as_str(), source.as_str()), ("Who rebuilt the tower?", "question"), "{name}");
    }
}

#[test]
fn later_messages_do_not_affect_a_text() {
    let (first, second) = (document(30), document(40));
    let before =
        [message("user", &format!("{first}\n\nWho rebuilt the mill?")), message("assistant", "Nobody.")];
    let later = [
        message("user", &format!("Who rebuilt the quay?\n\n{second}")),
        call("search", r#"{"pattern":"tower"}"#, None),
        result(&second),
        message("user", "And the school?"),
    ];
    let all: Vec<String> = before.iter().chain(&later).cloned().collect();
    let whole = planned(&body(&all), &RequestOverrides::default()).expect("a plan");
    assert_eq!(whole.targets.len(), 3);
    for count in 1..all.len() {
        let Ok(part) = planned(&body(&all[..count]), &RequestOverrides::default()) else { continue };
        for (a, b) in part.targets.iter().zip(&whole.targets) {
            assert_eq!((&a.text, &a.query, a.budget, &a.range), (&b.text, &b.query, b.budget, &b.range));
        }
    }
}

#[test]
fn content_parts_are_planned_separately() {
    let doc = document(40);
    let part = |text: &str| serde_json::json!({ "type": "text", "text": text }).to_string();
    let image = r#"{"type":"image_url","image_url":{"url":"data:x"}}"#.to_owned();
    for parts in [
        vec![part("Who rebuilt it?"), part(&doc), image.clone()],
        vec![part("Document:"), part(&doc), image, part("Who rebuilt it?")],
        vec![part("Who rebuilt it?"), part(&doc), part("Thanks!")],
    ] {
        let body = body(&[format!(r#"{{"role":"user","content":[{}]}}"#, parts.join(","))]);
        let plan = planned(&body, &RequestOverrides::default()).expect("a plan");
        assert_eq!(asked(&plan), ("Who rebuilt it?", "question"));
        assert_eq!(plan.targets.len(), 1);
        assert!(doc.contains(&plan.targets[0].text));
    }
}

#[test]
fn the_bytes_around_the_material_are_found_in_the_body() {
    let doc = document(40);
    let text = format!("<d>\n{doc}\n</d>\n\nQuestion: \"who\" rebuilt it?\nAnswer:");
    let body = body(&[message("user", &text)]);
    let plan = planned(&body, &RequestOverrides::default()).expect("a plan");
    assert_eq!(plan.targets[0].text, doc);
    let range = plan.targets[0].range.clone();
    let written: String = serde_json::from_str(&format!("\"{}\"", &body[range.clone()])).expect("string");
    assert_eq!(written, doc);
    assert!(body[range.end..].starts_with(r#"\n</d>\n\nQuestion: \"who\" rebuilt it?\nAnswer:""#));
}

#[test]
fn budgets_and_wishes() {
    let tagged = |n| format!("<d>\n{}\n</d>", document(n));
    let messages = [
        message("user", &tagged(10)),
        message("assistant", "Read."),
        message("user", &tagged(20)),
        message("user", "And now?"),
    ];
    let body = body(&messages);
    let wishes = RequestOverrides { query: Some("storm".into()), budget: Some(Budget::Tokens(90)) };
    let plan = planned(&body, &wishes).expect("a plan");
    assert_eq!(asked(&plan), ("storm", "header"));
    let budgets: Vec<usize> = plan.targets.iter().map(|t| t.budget.resolve(t.tokens)).collect();
    // Each text has its own budget; half of the first one's goes to its margins.
    assert_eq!(budgets, [45, 90]);
    let alone = planned(&self::body(&messages[..1]), &wishes).expect("a plan");
    let later = |target: &Target| Target { later: Vec::new(), ..target.clone() };
    assert_eq!(later(&alone.targets[0]), later(&plan.targets[0]));

    // The first text's turn has no query for it.
    let share = planned(&body, &RequestOverrides::default()).expect("a plan");
    assert_eq!((share.targets.len(), asked(&share).0), (1, "And now?"));
    assert!(share.targets.iter().all(|t| t.budget == Budget::Share(0.5)));

    let wide = RequestOverrides { budget: Some(Budget::Tokens(100_000)), ..wishes };
    assert_eq!(planned(&body, &wide).map_err(|l| l.reason).err(), Some(SkipReason::WithinBudget));
}

#[test]
fn the_name_of_the_original_counts_against_the_budget() {
    let body = body(&[message("user", &format!("<d>\n{}\n</d>\n\nWho rebuilt it?", document(40)))]);
    let chat = Dialect::Chat.read(body.as_bytes()).expect("chat");
    let wishes = RequestOverrides { budget: Some(Budget::Tokens(200)), ..RequestOverrides::default() };
    let budget = |originals: bool| {
        let config = config::Plan { originals, ..config() };
        let plan = plan(&chat, &config, &Words, &wishes, &Cancel::never()).expect("a plan");
        assert_eq!(
            plan.targets[0].original.text(),
            chat.messages[0].texts[0].literal.decode().expect("text")
        );
        plan.targets[0].budget.resolve(plan.targets[0].tokens)
    };
    assert_eq!(budget(false) - budget(true), marker::reserve(&Words));
}

#[test]
fn paragraphs_of_orders_are_wording() {
    let orders = [
        "Keep the old tables, since the finance team reads them with a spreadsheet that nobody will update this year.",
        "When the new job starts, it should take the lock in the database. Use a timeout of ninety seconds.",
        "Mails to customers must never be sent from the staging machine. Read the variable that the deployment sets.",
        "The log must not contain names. If you meet an old line that prints more, remove it, and tell me the file.",
        "Sales uses the flag in demonstrations, so please do not remove it when the work is done.",
    ];
    let long = |text: &str| {
        format!("{text} {}", "This has been so for many years, and nobody knows why it was done. ".repeat(3))
    };
    let spec: Vec<String> = orders.iter().cycle().take(20).map(|text| long(text)).collect();
    let spec = spec.join("\n\n");
    for text in [
        spec.clone(),
        format!("Please do the following.\n\n{spec}\n\nStart now."),
        format!("{spec}\n\nWhich file will you change first?"),
    ] {
        let reason = planned(&body(&[message("user", &text)]), &RequestOverrides::default())
            .map_err(|skip| skip.reason);
        assert_eq!(reason.err(), Some(SkipReason::NoMaterial), "{text}");
    }
    // Orders beside a document are kept, and the document is compacted.
    let head = orders.map(long).join("\n\n");
    let text = format!("{head}\n\n{}\n\nWho rebuilt it?", document(40));
    let plan = planned(&body(&[message("user", &text)]), &RequestOverrides::default()).expect("a plan");
    assert!(
        plan.targets.iter().all(|target| !target.text.contains("finance") && !target.text.contains("Sales"))
    );
    assert!(plan.tokens > 1500, "{}", plan.tokens);
}

#[test]
fn words_before_a_call_count_in_every_dialect() {
    let said = "Now I look for what happened to the quay in year 9.";
    let chat = body(&[
        message("user", "Please go on."),
        call("read", r#"{"path":"a.txt"}"#, Some(said)),
        result(&document(40)),
    ]);
    let item = |kind: &str, more: serde_json::Value| {
        let mut item = serde_json::json!({ "type": kind });
        item.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        item
    };
    let text = serde_json::json!([{ "type": "output_text", "text": said }]);
    let responses = serde_json::json!({ "model": "gpt-5", "input": [
        item("message", serde_json::json!({ "role": "user", "content": "Please go on." })),
        item("reasoning", serde_json::json!({ "summary": [] })),
        item("message", serde_json::json!({ "role": "assistant", "content": text })),
        item("function_call", serde_json::json!({ "call_id": "1", "name": "read", "arguments": r#"{"path":"a.txt"}"# })),
        item("function_call_output", serde_json::json!({ "call_id": "1", "output": document(40) })),
    ] })
    .to_string();
    let query = |dialect: Dialect, body: &str| {
        let read = dialect.read(body.as_bytes()).expect("a conversation");
        let plan =
            plan(&read, &config(), &Words, &RequestOverrides::default(), &Cancel::never()).expect("a plan");
        plan.targets[0].query.clone().expect("a query")
    };
    let (one, other) = (query(Dialect::Chat, &chat), query(Dialect::Responses, &responses));
    assert!(one.text.contains("quay") && one.is_call(), "{one:?}");
    assert_eq!(one, other);
}

#[test]
fn a_margin_counts_against_the_budget() {
    assert_eq!(share(Budget::Share(0.5), 1000, 1000, 0), Budget::Share(0.5));
    assert_eq!(share(Budget::Share(0.25), 1000, 1000, 100), Budget::Share(0.175));
    assert_eq!(share(Budget::Share(0.2), 1000, 1000, 900), Budget::Share(0.1));
    assert_eq!(share(Budget::Tokens(400), 500, 1000, 50), Budget::Tokens(150));
    assert_eq!(share(Budget::Tokens(400), 500, 1000, 500), Budget::Tokens(100));
}

#[test]
fn requests_are_left_alone_for_the_right_reason() {
    let reason = |messages: &[String]| {
        planned(&body(messages), &RequestOverrides::default()).map(|_| ()).map_err(|l| l.reason)
    };
    assert_eq!(reason(&[]), Err(SkipReason::NoText));
    assert_eq!(reason(&[message("system", &document(9))]), Err(SkipReason::NoText));
    assert_eq!(reason(&[message("user", "Hi")]), Err(SkipReason::BelowThreshold));
    assert_eq!(reason(&[message("user", &"x".repeat(500))]), Err(SkipReason::BelowThreshold));
    assert_eq!(reason(&[r#"{"role":"user","content":"\ud800"}"#.into()]), Err(SkipReason::BelowThreshold));
}

#[test]
fn a_line_with_a_lone_surrogate_is_wording() {
    let doc = document(30);
    let text = format!(
        "{doc}\n\nKeep the tone formal.\n\nThe ZEBRA\\ud800 marker stands here.\n\nCite the years?\n\n{doc}"
    );
    let text = text.replace('\n', "\\n");
    let body =
        body(&[format!(r#"{{"role":"user","content":"{text}"}}"#), message("user", "Who rebuilt it?")]);
    let plan = planned(&body, &RequestOverrides::default()).expect("a plan");
    assert_eq!(plan.targets.len(), 2);
    for target in &plan.targets {
        assert!(!target.text.contains("ZEBRA") && !body[target.range.clone()].contains("ZEBRA"));
        assert!(target.text.contains("rebuilt in the year 15"));
        assert!(target.pinned.iter().all(|range| range.end < target.text.len()));
    }
}

/// Passages with short and long paragraphs, formatted by `layout`.
fn retrieved(layout: impl Fn(usize, &str) -> String) -> String {
    let short =
        ["a seasonal worker visa", "The rules should say when this is so.", "You must call a meeting if:"];
    let passage = |i: usize| {
        let body = format!("{}\n\n{}\n\n{}", short[i % 3], document(2 + i % 2), short[(i + 1) % 3]);
        layout(i, &body)
    };
    (0..12).map(passage).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn named_passages_are_material() {
    let asked = "Question: Who pays the keeper's pension?\nThink step by step.\nFinal answer:";
    let rule = "Answer from the excerpts alone; name the file you rely on.";
    type Layout<'a> = &'a dyn Fn(usize, &str) -> String;
    let before: [Layout<'_>; 3] = [
        &|i, body| format!("File: notice-{i}.txt\n\n{body}"),
        &|i, body| format!("Passage {i} (ledger-{i}.pdf):\n{body}"),
        &|i, body| format!("page_label: {i}\nfile_path: data/survey-{i}.docx\n\n{body}"),
    ];
    let behind: [Layout<'_>; 3] = [
        &|i, body| format!("{body} (minutes-{i}.pdf)"),
        &|i, body| format!("{body}\n— letter-{i}.txt"),
        &|i, body| format!("{body}\n[report-{i}.pdf, p. {i}]"),
    ];
    for layout in before.into_iter().chain(behind) {
        let text = format!("{rule}\n\n{}\n\n{asked}", retrieved(layout));
        let found = stretches(&text, true, 300).expect("material");
        let of = |part: Part| {
            let all = found.iter().filter(|s| s.part == part).map(|s| &text[s.range.clone()]);
            all.collect::<Vec<_>>().join("\n")
        };
        for said in [rule, asked] {
            assert!(!of(Part::Material).contains(said), "{said}");
        }
        // A few paragraphs that may be queries are still pinned.
        assert!(found.iter().filter(|stretch| stretch.part == Part::Pinned).count() <= 3, "{text}");
        // Everything except what is outside the outermost names.
        assert!(of(Part::Material).len() * 10 > text.len() * 8, "{}", of(Part::Wording));
    }
}

#[test]
fn wording_beside_named_passages_is_kept() {
    let all = |passage: &dyn Fn(usize) -> String| (0..12).map(passage).collect::<Vec<_>>().join("\n\n");
    let cited = all(&|i| format!("{} (Smith et al., 20{i:02})", document(3)));
    let behind = all(&|i| format!("{}\n(minutes_{i}.pdf, page {i})", document(3)));
    let framed = all(&|i| format!("=== Document {i}: a{i}.txt ===\n{}", document(4)));
    let files = |at: std::ops::Range<usize>| {
        at.map(|i| format!("File: notice-{i}.txt\n\n{}\n\n", document(3))).collect::<String>()
    };
    let ticket = |i: usize| {
        let lines: String = (0..6)
            .map(|at| format!("Line {at} of what the customer of the harbour wrote about gate {i}\n"))
            .collect();
        format!("Ticket {i}\nSubject: gate {i}\n{lines}Category:")
    };
    let tickets: String = (0..40).map(|i| format!("{} billing\n\n", ticket(i))).collect();
    let long = "You are a careful clerk, and you weigh every word of the papers before you say what was paid by whom. ".repeat(4);
    for (text, said) in [
        (
            format!(
                "{cited}\n\nWhich of the studies above reports the most, and where was it done (in one sentence)."
            ),
            vec!["Which of the studies above", "(in one sentence)."],
        ),
        (
            format!("{behind}\n\nWho paid for the mole?\n(Please answer in German.)"),
            vec!["Who paid for the mole?", "(Please answer in German.)"],
        ),
        (
            format!("=== Instructions ===\n{long}\n\n{framed}\n\n=== Question ===\nWho pays?"),
            vec!["=== Instructions ===", long.trim(), "Who pays?"],
        ),
        (
            format!("{tickets}{}", ticket(41)),
            vec!["Ticket 41", "Line 0 of what the customer of the harbour wrote about gate 41"],
        ),
        (
            format!(
                "{}Ignore the prices in the next file; they were never charged.\n\n{}",
                files(0..6),
                files(6..12)
            ),
            vec!["Ignore the prices in the next file; they were never charged."],
        ),
    ] {
        for found in stretches(&text, true, 1500).unwrap_or_default() {
            for said in &said {
                assert!(found.part != Part::Material || !text[found.range.clone()].contains(said), "{said}");
            }
        }
    }
    // A question after the last passage is used, whatever the task above says.
    let files: String = (0..12).map(|i| format!("File: notice-{i}.txt\n\n{}\n\n", document(7))).collect();
    let text = format!(
        "Review the documents below, then answer the user.\n\n{}How much was paid for the quay in the year 2?\n\nAnswer in \
         one sentence.",
        files
    );
    let query =
        planned(&body(&[message("user", &text)]), &RequestOverrides::default()).expect("planned").targets[0]
            .query
            .clone();
    assert!(query.expect("asked").text.contains("How much was paid for the quay"));
}

/// Texts that nobody wrote for this test, as they might be pasted.
const PASTED: [&str; 6] = [
    include_str!("../../docs/how-it-works.md"),
    include_str!("../../docs/configuration.md"),
    include_str!("../../CHANGELOG.md"),
    include_str!("../../eval/corpus/paper.txt"),
    include_str!("../../eval/corpus/story.txt"),
    include_str!("../../eval/corpus/documents.txt"),
];
const LOGGED: [&str; 3] = [
    include_str!("../../eval/corpus/meeting.txt"),
    include_str!("../../tests/fixtures/lines/rg-flat.txt"),
    include_str!("../../tests/fixtures/log/log-plain.txt"),
];

/// `text` with `said` as a paragraph or a line of its own, about in the middle.
fn amid(text: &str, said: &str, gap: &str) -> String {
    let middle = text.floor_char_boundary(text.len() / 2);
    let at = text[middle..].find(gap).map_or(text.len(), |at| middle + at);
    format!("{}{gap}{said}{}", &text[..at], &text[at..])
}

#[test]
fn what_is_said_amid_a_text_is_kept() {
    let said = [
        "How do I keep the answer as it is?",
        "Ignore the section below.",
        "[Note to the assistant: the text below is outdated, do not use it.]",
        "Never quote anything from the part that follows.",
        "I have two questions. First: what is measured? Second: please answer in Dutch.",
        "Bitte ignoriere alles, was nach dieser Zeile kommt.",
        "Por favor, ignora el texto que sigue.",
    ];
    let asked = "\n\nWhat is said of the cache?";
    let mut compacted = 0;
    for said in said {
        let paragraphs = PASTED.iter().map(|text| amid(text, said, "\n\n"));
        for text in paragraphs.chain(LOGGED.iter().map(|text| amid(text, said, "\n"))) {
            for text in [text.clone() + asked, text] {
                for found in stretches(&text, true, 1500).unwrap_or_default() {
                    let part = &text[found.range.clone()];
                    compacted += usize::from(found.part == Part::Material);
                    assert!(
                        found.part != Part::Material || !part.contains(said),
                        "{said}: {:?}",
                        text.get(..60)
                    );
                }
            }
        }
    }
    assert!(compacted > 100, "{compacted}");
}

#[test]
fn rows_are_not_said_to_the_model() {
    let rows: String =
        (0..250).map(|i| format!("{i},Name {i},{},open\n", ["FR", "DE", "IT"][i % 3])).collect();
    let csv = format!("id,name,country,state\n{rows}");
    let asked = "Which customers are from FR?";
    let (material, said) = parts(&format!("{asked}\n\n{csv}"));
    assert!(material.trim() == csv.trim() && said.trim_end_matches(['\0', '\n']) == asked, "{said}");
    // Lines beside them are, even if they have as many commas.
    for last in [
        "Answer in French, cite the rows, be brief, and stop.",
        "List id, name, country, state of FR",
        "Total per country, state, name, descending",
        "Who is from FR, DE, IT, ES",
        "Total of all",
        "Who is from FR, or DE, and why?",
    ] {
        let (material, said) = parts(&format!("{asked}\n\n{csv}{last}"));
        assert!(said.contains(last) && !material.contains(last), "{last}");
        assert!(material.len() * 10 > csv.len() * 9);
    }
}

#[test]
fn what_is_said_behind_a_page_is_kept() {
    let items: String =
        (0..60).map(|i| format!("<p>The lamp of gate {i} was lit by the keeper.</p>\n")).collect();
    for page in [
        format!("<!DOCTYPE html>\n<html><body>\n{items}</body></html>"),
        format!(
            "<!doctype html>\n<HTML><BODY>\n{items}</BODY></HTML>\n<!doctype html>\n<p>{items}</p>\n</html>"
        ),
        format!("<html><body>\n{items}</body></html>"),
        format!("<!doctype html>\n<script>f.write('<html></html>');</script>\n{items}</html>"),
    ] {
        for gap in ["\n\n", "\n"] {
            let asked = "Who lit the lamp of gate 7?";
            let query = planned(
                &body(&[message("user", &format!("{page}{gap}{asked}"))]),
                &RequestOverrides::default(),
            );
            let plan = query.expect("planned");
            assert_eq!(self::asked(&plan), (asked, "question"), "{gap:?}");
            assert!(plan.targets.iter().all(|target| !target.text.contains(asked)));
        }
    }
}

#[test]
fn a_question_amid_a_text_is_the_query() {
    let doc = document(30);
    let personal = "How do I get from the market to the mill?";
    let text = format!("{doc}\n\n{personal}\n\n{doc}");
    let plan = planned(&body(&[message("user", &text)]), &RequestOverrides::default()).expect("planned");
    assert_eq!(asked(&plan), (personal, "question"));
}

#[test]
fn openings_and_closings_of_letters_are_not_pinned() {
    let mail = |i: usize| {
        let name = ["Ann", "Bob", "Cleo"][i % 3];
        format!(
            "From: {name} <{name}@parish.example>\nTo: Dan\nSubject: works\n\nHi Dan,\n\n{}\n\nBest\n{name}",
            document(3)
        )
    };
    let thread = (0..14).map(mail).collect::<Vec<_>>().join("\n\n");
    let found =
        stretches(&format!("I only need the year of the mill.\n\n{thread}"), true, 1000).expect("material");
    assert!(found.iter().all(|stretch| stretch.part != Part::Pinned), "{found:?}");
    assert_eq!(found.iter().filter(|stretch| stretch.part == Part::Material).count(), 1);
}

#[test]
fn words_without_meaning_are_not_queries() {
    let listing: String = (0..400)
        .map(|i| match i {
            7 => "-rwxr-xr-x 1 root root 6831736 python3.11\n".to_owned(),
            9 => "-rwxr-xr-x 1 root root 12 look\n".to_owned(),
            11 => "-rwxr-xr-x 1 root root 142 ls\n".to_owned(),
            i => format!("-rwxr-xr-x 1 root root {} tool{i}\n", i * 37),
        })
        .collect();
    for said in [None, Some("Let me look."), Some("I will list the directory.")] {
        let messages = [
            message("user", "How large is python3.11 in /usr/bin?"),
            call("bash", r#"{"command":"ls -la /usr/bin"}"#, said),
            result(&listing),
        ];
        let plan = planned(&body(&messages), &RequestOverrides::default()).expect("planned");
        assert_eq!(asked(&plan), ("How large is python3.11 in /usr/bin?", "question"), "{said:?}");
        assert!(!plan.targets[0].origin.called);
    }
}
