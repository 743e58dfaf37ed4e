//! Tells prose that gives orders to its reader from prose that tells of something: imperatives, requests, and what the
//! reader must and must not do. It decides in one direction only: what looks like orders is not compacted.

/// How sentences begin that tell the reader what to do, besides [`super::phrase`]'s tasks and instructions. Lower case.
const BEGINS: &[&str] = &[
    "add", "adjust", "allow", "always", "apply", "ask", "assume", "avoid", "build", "call", "change",
    "check", "clean", "confirm", "consider", "copy", "delete", "deploy", "document", "ensure", "follow",
    "handle", "hide", "include", "install", "leave", "log", "look", "mark", "measure", "mention", "move",
    "never", "note", "notify", "open", "prefer", "put", "read", "remember", "remove", "rename", "replace",
    "roll", "run", "save", "send", "set", "skip", "start", "stick", "stop", "store", "take", "test", "treat",
    "try", "update", "verify", "wait", "watch",
];

/// The same in other languages.
const OTHER: &[&str] = &[
    // German
    "achte",
    "ändere",
    "beachte",
    "bitte",
    "füge",
    "lass",
    "lies",
    "lösche",
    "nutze",
    "prüfe",
    "schreibe",
    "stelle",
    "verwende",
    "vermeide",
    // French
    "ajoutez",
    "écrivez",
    "évitez",
    "gardez",
    "supprimez",
    "utilisez",
    "vérifiez",
    "veuillez",
    // Spanish, Italian and Portuguese
    "agrega",
    "añade",
    "comprueba",
    "escribe",
    "evita",
    "mantén",
    "usa",
    "aggiungi",
    "scrivi",
];

/// What follows an imperative: many of its forms in English are nouns as well, and "Test results are in" is no order.
const OBJECTS: &[&str] = &[
    "a", "all", "an", "and", "any", "both", "each", "every", "for", "from", "her", "him", "his", "how", "if",
    "in", "into", "it", "its", "me", "my", "no", "not", "nothing", "off", "on", "one", "only", "our", "out",
    "over", "so", "sure", "that", "the", "their", "them", "these", "this", "those", "to", "up", "us", "what",
    "when", "where", "which", "whether", "with", "your",
];
/// Words of which no form is a noun that begins a sentence, in any of the languages.
const SURE: &[&str] = &["always", "avoid", "ensure", "never", "remember", "verify"];

/// What speaks to the reader, anywhere in a sentence. Lower case.
const SAYS: &[&str] = &[
    "make sure",
    "tell me",
    "ask me",
    "show me",
    "let me know",
    "i want you",
    "i need you",
    "i would like",
    "i'd like",
    "i expect",
    "you should",
    "you must",
    "you need to",
    "you have to",
    "you are to",
    "your task",
    "must never",
    "be sure to",
    "as soon as you",
    // German
    "du sollst",
    "du musst",
    "du darfst",
    "sie sollen",
    "sie müssen",
    "sag mir",
    // French
    "vous devez",
    "je veux que",
    "dites-moi",
    // Spanish, Italian and Portuguese
    "debes ",
    "quiero que",
    "no olvides",
    "você deve",
    // Russian
    "ты должен",
    "вы должны",
    // Chinese, Japanese and Korean
    "不要",
];

/// Share of the sentences that give orders, as a fraction, from which on their paragraph does.
const SHARE: (usize, usize) = (1, 5);

/// Whether a paragraph gives orders: some of its sentences do, outside quotation marks.
pub(super) fn is_order(paragraph: &str) -> bool {
    let said = without_quotations(paragraph).to_lowercase();
    let words = |sentence: &&str| sentence.split_whitespace().nth(1).is_some();
    let (mut all, mut orders) = (0, 0);
    for sentence in said.split(['.', '!', '?', ':', ';', '\n', '。', '！', '？']) {
        // Words without spaces between them are a sentence as well.
        if words(&sentence) || sentence.chars().any(|c| c > '\u{2e7f}') {
            all += 1;
            orders += usize::from(tells(sentence));
        }
    }
    orders > 0 && SHARE.1 * orders >= SHARE.0 * all
}

/// Whether a sentence in lower case tells the reader what to do.
fn tells(sentence: &str) -> bool {
    let begins_word = |at: usize| !sentence[..at].ends_with(char::is_alphanumeric);
    let says = |words: &&str| match words.is_ascii() || words.contains(' ') {
        true => sentence.match_indices(*words).any(|(at, _)| begins_word(at)),
        false => sentence.contains(*words),
    };
    if SAYS.iter().any(says) || is_begging(sentence) {
        return true;
    }
    let mut words = sentence
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .filter(|word| !word.is_empty());
    let (Some(word), Some(next)) = (words.next(), words.next()) else { return false };
    if matches!((word, next), ("do", "not") | ("don't" | "don’t", _)) {
        return true;
    }
    let may_begin = BEGINS.contains(&word) || OTHER.contains(&word) || super::phrase::is_imperative(word);
    may_begin && (OBJECTS.contains(&next) || SURE.contains(&word) || OTHER.contains(&word))
}

/// Whether a clause of a sentence in lower case asks for something politely.
pub(super) fn is_begging(sentence: &str) -> bool {
    const WORDS: [&str; 10] = [
        "please ",
        "bitte ",
        "s'il te plaît",
        "s'il vous plaît",
        "veuillez ",
        "por favor",
        "per favore",
        "пожалуйста",
        "ください",
        "십시오",
    ];
    // It is part of other words, such as those for an application and a request.
    let begs =
        |clause: &str| clause.trim_start().strip_prefix('请').is_some_and(|rest| !rest.starts_with('求'));
    sentence.split(['，', '、', ',']).any(begs)
        || WORDS.iter().any(|words| {
            sentence.match_indices(words).any(|(at, _)| {
                !words.is_ascii() && !words.contains(' ') || !sentence[..at].ends_with(char::is_alphanumeric)
            })
        })
}

/// What a story's people say to each other is not said to the reader.
pub(super) fn without_quotations(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = None;
    let mut before = ' ';
    for c in text.chars() {
        match (c, inside) {
            // Behind a figure it says inches.
            ('"', None) if !before.is_ascii_digit() => inside = Some('"'),
            ('“', None) => inside = Some('”'),
            ('„', None) => inside = Some('“'),
            ('«', None) => inside = Some('»'),
            ('»', None) => inside = Some('«'),
            ('「', None) => inside = Some('」'),
            (c, Some(close)) if c == close => inside = None,
            (_, Some(_)) => {}
            (c, None) => out.push(c),
        }
        before = c;
    }
    let inside = inside.is_some();
    // A mark that is not closed, such as that of inches, is none.
    if inside { text.to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_from_accounts() {
        for order in [
            "Keep the old tables. They are read by the finance team with a spreadsheet.",
            "A payment that timed out is another matter: ask the provider for its state first.",
            "The text below the field comes from them, and I would like to see it unchanged.",
            "Bitte schreibe die Tests mit den vorhandenen Daten.",
            "请把所有的价格都改成整数。",
            "Cut the shelf to 30\" and never drill the 12\" panel, and make sure that it is level.",
        ] {
            assert!(is_order(order), "{order}");
        }
        for account in [
            "The harbour was rebuilt in the year after the storm. The mayor paid for it himself.",
            "\"You must never go there,\" she said. He laughed, and left before noon.",
            "The supplier shall deliver the goods within thirty days of the order.",
            "申请人应当在三十日内提交申请。请求的内容由法院决定。",
            "Devi was a politician. Phoolan Devi was born in a village by the river.",
            "„Du musst gehen“, sagte sie. Er lachte und blieb.",
            "Running costs fell by a tenth. Test results are in the annex.",
            "Yeah. Please, go on. I don't know. We had the numbers from the shop. They were fine. That was it, I think.",
            "Read",
            "",
        ] {
            assert!(!is_order(account), "{account}");
        }
    }
}
