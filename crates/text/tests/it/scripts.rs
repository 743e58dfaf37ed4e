//! Sentence boundaries in many scripts: the Universal Declaration of Human Rights.

use epitome_text::sentences::{LONGEST, sentence_ends};
use proptest::prelude::*;
use unicode_segmentation::GraphemeCursor;

macro_rules! texts {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../../tests/fixtures/scripts/", $name, ".txt")))),*] };
}

const ALL: [(&str, &str); 17] = texts![
    "arb",
    "hin",
    "tha",
    "cmn_hans",
    "jpn",
    "kor",
    "hye",
    "amh",
    "mya",
    "ben",
    "tam",
    "urd",
    "pes_1",
    "khm",
    "lao",
    "bod",
    "ell_monotonic"
];

fn split(text: &str) -> Vec<&str> {
    let mut start = 0;
    let ends = sentence_ends(text).into_iter();
    ends.map(|end| text[std::mem::replace(&mut start, end)..end].trim()).collect()
}

fn check(text: &str) {
    let mut start = 0;
    for end in sentence_ends(text) {
        assert!(end > start && text.is_char_boundary(end));
        let whole = GraphemeCursor::new(end, text.len(), true).is_boundary(text, 0).unwrap();
        assert!(whole, "{end} in {text:?}");
        start = end;
    }
    assert_eq!(start, text.len());
}

#[test]
fn sentences_of_many_scripts() {
    for (name, text) in ALL {
        check(text);
        let parts = split(text);
        let mean = text.len() / parts.len();
        assert!((40..600).contains(&mean), "{name}: {mean} bytes a sentence");
        assert!(parts.iter().all(|part| part.len() <= LONGEST), "{name}");
        let marks = ['।', '۔', '؟', '。', '։', '።', '။', '។', '།'];
        for part in parts {
            let inner = part.trim_end_matches(|c: char| {
                marks.contains(&c) || c.is_whitespace() || "”»’\"')]".contains(c)
            });
            assert!(!inner.contains(marks), "{name}: {part}");
        }
    }
}

#[test]
fn borders() {
    for (text, expected) in [
        ("هل أنت هنا؟ نعم. حسنا!", &["هل أنت هنا؟", "نعم.", "حسنا!"][..]),
        ("یہ ایک جملہ ہے۔ یہ دوسرا ہے۔", &["یہ ایک جملہ ہے۔", "یہ دوسرا ہے۔"]),
        ("यह एक वाक्य है। यह दूसरा है॥", &["यह एक वाक्य है।", "यह दूसरा है॥"]),
        ("डॉ. शर्मा आए। वे गए।", &["डॉ. शर्मा आए।", "वे गए।"]),
        ("ए. पी. जे. अब्दुल कलाम आए। ठीक।", &["ए. पी. जे. अब्दुल कलाम आए।", "ठीक।"]),
        ("Բարեւ։ Ինչպե՞ս ես։", &["Բարեւ։", "Ինչպե՞ս ես։"]),
        ("ሰላም። እንዴት ነህ፧ ደህና።", &["ሰላም።", "እንዴት ነህ፧", "ደህና።"]),
        ("Πού είσαι; Είμαι εδώ. Ναι.", &["Πού είσαι;", "Είμαι εδώ.", "Ναι."]),
        ("It is here; There it is.", &["It is here; There it is."]),
        ("မင်္ဂလာပါ။နေကောင်းလား။", &["မင်္ဂလာပါ။", "နေကောင်းလား။"]),
        ("ខ្ញុំ។ល។ និងគេ។ ទៅ។", &["ខ្ញុំ។ល។ និងគេ។", "ទៅ។"]),
        ("真的？！是的。「好。」他说", &["真的？！", "是的。", "「好。」", "他说"]),
        ("なに⁉そう．次へ", &["なに⁉", "そう．", "次へ"]),
        ("What‼ No way.", &["What‼", "No way."]),
    ] {
        assert_eq!(split(text), expected, "{text}");
    }
}

#[test]
fn no_cluster_is_split() {
    for unit in ["👨‍👩‍👧‍👦", "🇩🇪", "क्ष्म्य", "각", "ก้", "e\u{301}\u{323}", "न्न", "\u{1100}\u{1161}\u{11A8}"]
    {
        check(&unit.repeat(9000 / unit.len()));
        check(&format!("x{}", unit.repeat(9000 / unit.len())));
    }
    // Thai without spaces is split between words.
    let thai = "ประเทศไทยเป็นประเทศที่สวยงามมาก".repeat(40);
    check(&thai);
    for part in split(&thai) {
        assert!(!part.starts_with(['ะ', 'า', '่', 'ั', 'ี']), "{part}");
        assert!(
            ["ประเทศ", "ไทย", "เป็น", "ที่", "สวย", "งาม", "มาก"].iter().any(|word| part.starts_with(word)),
            "{part}"
        );
    }
}

#[test]
fn large_texts() {
    let mut texts: Vec<String> = ALL.iter().map(|(_, text)| text.repeat(1_000_000 / text.len())).collect();
    for unit in ["a", "ก", "。", ".", " ", ". ", "🇩🇪", "\u{301}", "ข ", "།  ", ";", "α; ", "(", "! (", "ด้"]
    {
        texts.push(unit.repeat(1_000_000 / unit.len()));
    }
    for text in texts {
        check_ends(&text);
    }
}

fn check_ends(text: &str) {
    let ends = sentence_ends(text);
    assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(ends.last().copied(), Some(text.len()));
}

proptest! {
    #[test]
    fn no_border_falls_in_a_cluster(text in "[a-zA-Z .!?؟।。།ក។ก้่เ ་\u{301}\u{200D}\u{1F468}\u{1F469}\u{1F1E9}\u{1F1EA}क्षि각\u{1100}\u{1161}\r\n]{0,1500}") {
        check(&text);
    }
}
