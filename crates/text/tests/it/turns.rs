//! Transcripts, chats, captions and mail.

use epitome_text::{
    cut::{Hint, Role},
    kinds::turns::{cut, detect},
};
use proptest::prelude::*;

use super::common::{check, check_borders, role_of};

macro_rules! fixtures {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../../tests/fixtures/turns/", $name)))),*] };
}

/// Created by exporters: the WhatsApp chat by whatstk's generator, captions by pysubs2, mail by Python's
/// mailbox module. The others were written by a script in the documented formats of the programs.
const ALL: [(&str, &str); 14] = fixtures![
    "whatsapp-android.txt",
    "whatsapp-ios.txt",
    "captions.srt",
    "captions.vtt",
    "mailbox.mbox",
    "thread.mbox",
    "pasted.txt",
    "slack.txt",
    "teams.txt",
    "zoom.txt",
    "irc.log",
    "bold.md",
    "behind.txt",
    "interview.txt"
];

fn fixture(name: &str) -> &'static str {
    ALL.iter().find(|(other, _)| *other == name).unwrap().1
}

#[test]
fn turns_are_detected_and_tile() {
    for (name, text) in ALL {
        assert!(detect(text, &Hint::default()), "{name}");
        let blocks = cut(text);
        check(text, &blocks);
        check_borders(text, &blocks, |_| false);
    }
}

#[test]
fn turns_are_blocks_with_labels() {
    for (name, turns) in [
        ("whatsapp-android.txt", 100),
        ("whatsapp-ios.txt", 100),
        ("slack.txt", 40),
        ("teams.txt", 40),
        ("zoom.txt", 40),
        ("irc.log", 40),
        ("bold.md", 40),
        ("behind.txt", 40),
        ("interview.txt", 24),
    ] {
        let blocks = cut(fixture(name));
        let labelled = blocks.iter().filter(|block| block.pieces[0].role == Role::Label);
        assert!(labelled.clone().count() >= turns, "{name} {}", labelled.count());
        for block in labelled {
            assert_eq!(block.pieces.iter().filter(|p| p.role == Role::Label).count(), 1, "{name}");
            assert!(block.pieces.len() > 1 && block.pieces[0].range.len() < 60, "{name}");
        }
    }
    let irc = fixture("irc.log");
    assert_eq!(role_of(irc, &cut(irc), "-!-"), Some(Role::Noise));
}

#[test]
fn captions() {
    for name in ["captions.srt", "captions.vtt"] {
        let text = fixture(name);
        let blocks = cut(text);
        let cues = text.matches("-->").count();
        let labelled =
            blocks.iter().filter(|b| b.pieces[0].role == Role::Label && b.pieces.len() > 1).count();
        assert_eq!(labelled, cues);
        for block in blocks.iter().filter(|b| b.pieces[0].role == Role::Label) {
            assert!(text[block.pieces[0].range.clone()].contains("-->"));
            assert!(block.pieces[1..].iter().all(|p| !text[p.range.clone()].contains("-->")));
        }
    }
    let vtt = fixture("captions.vtt");
    assert_eq!(role_of(vtt, &cut(vtt), "WEBVTT"), Some(Role::Noise));
}

#[test]
fn mail() {
    let thread = fixture("thread.mbox");
    let blocks = cut(thread);
    let roles = |mark: &str| -> Vec<Role> {
        let at = thread.match_indices(mark).map(|(at, _)| at);
        at.map(|at| blocks.iter().flat_map(|b| &b.pieces).find(|p| p.range.contains(&at)).unwrap().role)
            .collect()
    };
    assert_eq!(roles("Subject: Draft"), [Role::Label]);
    assert_eq!(roles("Subject: Re: Draft"), [Role::Label; 7]);
    assert_eq!(roles("Message-ID"), [Role::Noise; 8]);
    assert!(roles("\n-- \n").len() == 8);
    assert!(roles("Example Organisation, Room").iter().all(|role| *role == Role::Noise));
    // The quotation repeats text above, so only the first occurrence is text.
    let said = roles("Whereas disregard and contempt");
    assert!(
        said.len() >= 2 && said[0] == Role::Text && said[1..].iter().all(|role| *role == Role::Noise),
        "{said:?}"
    );
    assert!(roles("> wrote:").iter().all(|role| *role == Role::Noise));
    // An answer is in a block with its header.
    let answer = thread.find("Whereas it is essential to promote").unwrap();
    let block = blocks.iter().find(|b| b.pieces.iter().any(|p| p.range.contains(&answer))).unwrap();
    assert!(
        block
            .pieces
            .iter()
            .any(|p| p.role == Role::Label && thread[p.range.clone()].starts_with("From: Ben"))
    );
    // Enclosures are noise.
    let mailbox = fixture("mailbox.mbox");
    let at = mailbox.find("R0lGODdhAAEAAfAAAP").unwrap();
    let piece = cut(mailbox).into_iter().flat_map(|b| b.pieces).find(|p| p.range.contains(&at)).unwrap();
    assert_eq!(piece.role, Role::Noise);
}

#[test]
fn a_quotation_not_found_elsewhere_is_text() {
    let text = "From: Ann <ann@example.org>\nTo: Ben\nSubject: Re: Tea\nDate: Tue, 12 Mar 2024 09:00:00 +0000\n\n\
        On Mon, Ben wrote:\n> Which tea shall we have at the meeting tomorrow?\n\nGreen tea. And cake.\n-- \nAnn\n";
    assert!(detect(text, &Hint::default()));
    let blocks = cut(text);
    let found: Vec<_> =
        super::common::blocks_of(text, &blocks).into_iter().map(|(_, _, pieces)| pieces).collect();
    assert_eq!(found[0], [(Role::Text, &text[..text.find("On Mon").unwrap()])]);
    assert_eq!(
        found[1],
        [
            (Role::Label, "On Mon, Ben wrote:\n"),
            (Role::Text, "> Which tea shall we have at the meeting tomorrow?\n\n")
        ]
    );
    assert_eq!(found[2], [(Role::Text, "Green tea. "), (Role::Text, "And cake.\n")]);
    assert_eq!(found[3], [(Role::Noise, "-- \nAnn\n")]);
}

#[test]
fn other_texts_are_not_turns() {
    for file in super::common::corpus() {
        assert!(!detect(&file, &Hint::default()), "{:.80}", file);
    }
    let plain = "Ann Lee: Good morning.\n\nBen: Good morning to you.\n\n".repeat(10);
    let notes = "**Note**: Do not.\n\n**Warning**: Never.\n\n".repeat(10);
    let api = "# f\n\n**Parameters**: a\n\n**Returns**: b\n\n".repeat(10);
    let log = "[12:30:05] INFO: Started\n[12:30:06] ERROR: Stopped\n".repeat(10);
    let stamped = "2026-01-02 03:04:05 INFO main: Started\n".repeat(20);
    let steps = (1..20).map(|n| format!("**Step {n}**: Do it.\n\n")).collect::<String>();
    let yaml = "From: a\nTo: b\nKey: c\n";
    let quote = "He wrote:\n> To be\n\nand that is all there is to say of it.\n";
    let arrows = "a --> b\nb --> c\nc --> d\n";
    for other in [&plain, &notes, &api, &log, &stamped, &steps, yaml, quote, arrows, "", "<", "[", "**"] {
        assert!(!detect(other, &Hint::default()), "{other}");
    }
}

#[test]
fn large_texts() {
    let mut texts: Vec<String> = ALL.iter().map(|(_, text)| text.repeat(3_000_000 / text.len())).collect();
    texts.extend([
        "> ".repeat(1_000_000),
        "From: a\n".repeat(300_000),
        "[12:30] ".repeat(300_000),
        "*".repeat(3_000_000),
    ]);
    texts.push("> a\n\n".repeat(300_000));
    texts.push("boundary=\"a\"\n--a\n".repeat(100_000));
    texts.push("On a\nwrote:\n".repeat(200_000));
    for text in texts {
        detect(&text, &Hint::default());
        check(&text, &cut(&text));
    }
}

proptest! {
    #[test]
    fn any_text_tiles(text in ".{0,400}") {
        check(&text, &cut(&text));
        detect(&text, &Hint::default());
    }

    #[test]
    fn any_turns_tile(parts in proptest::collection::vec(
        prop_oneof![
            "\\[1[0-9]:[0-5][0-9]\\] ", "Ann: ", "<ann> ", "\\*\\*Ann\\*\\*: ", "Ann 12:30 PM\n", "> ", "\n", "\r\n",
            "From: a\nDate: b\n\n", "From a Tue Mar 12 09:00:00 2024\n", "On a wrote:\n", "-- \n", "--a\n", "boundary=a\n",
            "1\n00:00:01,000 --> 00:00:02,000\n", "WEBVTT\n\n", "NOTE x\n",
            "[A-Za-z .!?>:<\u{301}\u{200D}\u{1F468}\u{1F1E9}ก้क्ष한-]{0,16}",
        ], 0..60)
    ) {
        let text = parts.concat();
        let blocks = cut(&text);
        check(&text, &blocks);
        check_borders(&text, &blocks, |c| " \n>\r".contains(c));
        detect(&text, &Hint::default());
    }
}
