//! Whether a question asks for the structure of a text: the order, the number or a list of its topics, or the whole.

use super::breadth;

/// What a text consists of. A noun stands for all words that begin with it.
const NOUNS: &[&str] = &[
    "agenda",
    "thema",
    "themen",
    "abschnitt",
    "kapitel",
    "tagesordnungspunkt",
    "sujet",
    "thème",
    "chapitre",
    "temas",
    "tópico",
    "capítulo",
    "sección",
    "capitolo",
    "capitoli",
    "argoment",
    "тема",
    "темы",
    "тему",
    "темах",
    "глав",
    "раздел",
];
/// The same in English, as words of their own, in the singular.
const ENGLISH: &[&str] = &["topic", "section", "chapter"];
/// What asks for a place in their order, for their number, or for all of them, from at most [`APART`] words before.
/// Words may have endings.
const CUES: &[&str] = &[
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "last",
    "final",
    "next",
    "how many",
    "number of",
    "list",
    "enumerate",
    "name all",
    "name the",
    "what are the",
    "what were the",
    "which",
    "all the",
    "all of the",
    "order of",
    "order in which",
    "sequence of",
    "erste",
    "zweite",
    "dritte",
    "vierte",
    "letzte",
    "wie viele",
    "welche",
    "alle",
    "nenne",
    "liste",
    "premier",
    "première",
    "deuxième",
    "troisième",
    "dernier",
    "dernière",
    "combien de",
    "tous les",
    "quels",
    "primer",
    "segundo",
    "tercer",
    "último",
    "cuántos",
    "cuáles",
    "todos los",
    "primeiro",
    "terceiro",
    "quantos",
    "quais",
    "secondo",
    "terzo",
    "ultimo",
    "quanti",
    "elenca",
    "перв",
    "втор",
    "трет",
    "последн",
    "сколько",
    "перечисл",
];
/// Words from a cue to its noun, the noun included.
const APART: usize = 4;
/// What asks for a whole in other languages; each stands for all words that begin with it.
const WHOLE: &[&str] =
    &["zusammenfass", "fasse", "résum", "resum", "riassum", "überblick", "резюм", "кратко"];
/// The same in scripts without spaces: what a text consists of, what asks for its order, number or a list, and for a
/// whole.
const UNSPACED_NOUNS: &[&str] = &["主题", "话题", "议题", "章节", "トピック", "話題", "議題", "주제"];
const UNSPACED_CUES: &[&str] = &[
    "第",
    "几个",
    "多少",
    "列出",
    "哪些",
    "所有",
    "顺序",
    "いくつ",
    "番目",
    "最後",
    "すべて",
    "몇",
    "번째",
    "모든",
];
const UNSPACED_WHOLE: &[&str] = &["总结", "概括", "摘要", "要約", "요약"];

/// Whether a question asks for the structure of a text, by its words.
pub(crate) fn asks_for_structure(query: &str) -> bool {
    if breadth::asks_for_whole(query) {
        return true;
    }
    let lower = query.to_lowercase();
    let has = |any: &[&str]| any.iter().any(|phrase| lower.contains(phrase));
    if has(UNSPACED_WHOLE) || has(UNSPACED_NOUNS) && has(UNSPACED_CUES) {
        return true;
    }
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let begins = |word: &str, any: &[&str]| any.iter().any(|stem| word.starts_with(stem));
    if words.iter().any(|word| begins(word, WHOLE)) {
        return true;
    }
    let discussed = words.iter().any(|word| word.starts_with("discuss"));
    let is_noun = |word: &str| {
        let one = word.strip_suffix('s').unwrap_or(word);
        begins(word, NOUNS)
            || ENGLISH.contains(&one)
            || word == "themes"
            || discussed && ["subject", "thing"].contains(&one)
    };
    CUES.iter().any(|cue| {
        let cue: Vec<&str> = cue.split(' ').collect();
        words.windows(cue.len()).enumerate().any(|(at, window)| {
            let stands = window.iter().zip(&cue).all(|(word, cue)| is_form(word, cue));
            let behind = words[at + cue.len()..].iter().take(APART);
            stands && behind.into_iter().any(|word| is_noun(word))
        })
    })
}

/// Whether `word` is `cue`, or that with a short ending.
fn is_form(word: &str, cue: &str) -> bool {
    word.strip_prefix(cue).is_some_and(|ending| {
        let longest = if cue.is_ascii() { 1 } else { 4 };
        ending.chars().count() <= longest
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_number_list_and_whole_are_structure() {
        for query in [
            "What is the second topic we discussed?",
            "What was the last thing that we discussed?",
            "List the topics",
            "How many chapters does it have?",
            "In which order were the subjects discussed?",
            "Summarize the meeting",
            "What are the main themes?",
            "Was ist das dritte Thema?",
            "Quel est le deuxième sujet ?",
            "¿Cuántos temas se trataron?",
            "Fasse das Gespräch zusammen",
            "Какая вторая тема?",
            "我们讨论的第二个话题是什么？",
            "请总结这次会议",
        ] {
            assert!(asks_for_structure(query), "{query}");
        }
    }

    #[test]
    fn other_questions_are_not() {
        for query in [
            "How many subjects were enrolled?",
            "Who was the first to enter the Capitol?",
            "Which theme park did they visit?",
            "Which customer discussed pricing?",
            "Сколько градусов была температура?",
            "",
            "How many people died?",
            "Who was the first president of the society?",
            "What share of users find most remote controls ugly?",
            "What was said on the topic of remote controls?",
            "List the ships that sank.",
            "Which cart carried order 3?",
            "谁付了钱？",
        ] {
            assert!(!asks_for_structure(query), "{query}");
        }
    }
}
