//! Texts and questions in other languages than English, with the encoder in the binary.

use std::sync::{Arc, OnceLock};

use epitome::config::Config;
use epitome_compactor::{Budget, Cache, CompactRequest, Compaction, Compactor, compaction::Outcome};
use epitome_engine::Models;
use epitome_work::Cancel;

fn compactor() -> &'static Compactor {
    static ONE: OnceLock<Compactor> = OnceLock::new();
    ONE.get_or_init(|| {
        let config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
        let models = Arc::new(Models::new(&config.models).unwrap());
        epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap()
    })
}

const GERMAN: [&str; 8] = [
    "Der Leuchtturm auf der Sandbank wurde 1904 fertig. Seine Lampe ist bei klarem Wetter zwanzig Seemeilen weit zu sehen.",
    "Die Bäckerei am Markt öffnet um sechs Uhr. Samstags gibt es dort ein Brot aus Roggen und Leinsamen.",
    "Im Winter fährt die Fähre nur zweimal am Tag. Bei starkem Eis bleibt sie im Hafen liegen.",
    "Der Chor probt donnerstags in der alten Schule. Neue Sängerinnen und Sänger sind willkommen.",
    "Die Gemeinde hat im Mai neue Laternen gekauft. Sie verbrauchen die Hälfte des Stroms der alten.",
    "Auf der Wiese hinter dem Deich brüten Kiebitze. Hunde müssen dort von März bis Juli an die Leine.",
    "Das Museum zeigt Werkzeuge von Netzmachern. Die ältesten sind aus Walknochen geschnitzt.",
    "Der Arzt kommt jeden zweiten Dienstag auf die Insel. Wer nicht gehen kann, wird zu Hause besucht.",
];

const JAPANESE: [&str; 6] = [
    "砂州の灯台は1904年に完成した。晴れた日には二十海里先からその光が見える。",
    "市場のパン屋は朝六時に開く。土曜日にはライ麦と亜麻仁のパンが買える。",
    "冬の間、渡し船は一日に二便しか出ない。氷が厚いときは港にとどまる。",
    "合唱団は毎週木曜日に古い学校で練習する。新しい歌い手も歓迎される。",
    "堤防の裏の草地ではタゲリが巣を作る。三月から七月まで犬は綱につながなければならない。",
    "博物館には網職人の道具が展示されている。最も古いものは鯨の骨から削り出された。",
];

fn text(passages: &[&str]) -> String {
    let named = passages.iter().enumerate();
    named.map(|(at, passage)| format!("Document [{}](Title: -) {passage}\n", at + 1)).collect()
}

fn compact(text: &str, query: &str, share: f64) -> Compaction {
    let request = CompactRequest {
        query: Some(query.to_owned()),
        ..CompactRequest::new(text.to_owned(), Budget::Share(share))
    };
    compactor().compact(&request, &Cancel::never()).unwrap()
}

#[test]
fn answers_are_kept_in_and_across_languages() {
    let (german, japanese) = (text(&GERMAN), text(&JAPANESE));
    for (text, query, kept) in [
        (&german, "Wie weit sieht man das Licht des Leuchtturms?", "zwanzig Seemeilen"),
        (&german, "Woraus sind die ältesten Werkzeuge der Netzmacher?", "Walknochen"),
        (&german, "When do dogs have to be kept on a leash?", "von März bis Juli"),
        (&german, "How often does the ferry run in winter?", "zweimal am Tag"),
        (&japanese, "犬はいつ綱につながなければなりませんか。", "三月から七月まで"),
        (&japanese, "What were the oldest tools carved from?", "鯨の骨"),
        (&japanese, "Wann öffnet die Bäckerei?", "朝六時"),
    ] {
        let compaction = compact(text, query, 0.5);
        assert_eq!(compaction.outcome, Outcome::Compacted, "{query}");
        assert!(compaction.text.contains(kept), "{query}:\n{}", compaction.text);
        assert!(compaction.figures.tokens_after * 2 <= compaction.figures.tokens_before, "{query}");
        // From the cache as without it.
        assert_eq!(compact(text, query, 0.5).text, compaction.text);
    }
}

#[test]
fn models_are_those_of_the_languages() {
    let by = |text: &str, query: &str| compact(text, query, 0.5).figures.models;
    let english =
        "The lighthouse on the sandbank was finished in 1904. Its lamp is seen twenty miles away.\n\n"
            .to_owned()
            + "The bakery at the market opens at six. On Saturdays it sells a bread of rye and linseed.\n\n"
            + "In winter the ferry runs twice a day. When the ice is thick it stays in the harbour.\n\n"
            + "The choir meets on Thursdays in the old school. New singers are welcome there.\n";
    let multilingual = |models: &[String]| models.iter().any(|model| model.contains("multilingual"));
    for query in
        ["When does the bakery open?", "Who wrote 'À la recherche du temps perdu'?", "AI vs xAI vs Meta AI"]
    {
        assert!(!multilingual(&by(&english, query)), "{query}");
    }
    assert!(multilingual(&by(&english, "Wann öffnet die Bäckerei am Markt?")));
    assert!(multilingual(&by(&text(&GERMAN), "When does the bakery open?")));
}
