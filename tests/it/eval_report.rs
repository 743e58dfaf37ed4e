//! Report and gate over results with known answers: figures, coverage of intervals, the four layouts, exit
//! codes of the real binary, hostile names, broken files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use epitome::eval::{
    record::{DataSource, Header, Record},
    results::Results,
    row::{Scoring, Stratum},
    statistics::{
        Analysis, Measure, Options, Scope,
        bootstrap::{Replicates, Sums},
        figures::Curve,
        interval::percentile,
        paired::{Adjusted, Differences},
        random::SplitMix64,
    },
};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::epitome;

const SUITE: &str = r#"
name = "made"
budgets = ["50%", "25%", "10%", 500]
[[tasks]]
name = "nq_multidoc_20"
path = "x"
[[tasks]]
name = "bamboo"
path = "x"
[[tasks]]
name = "niah"
path = "x"
[[arms]]
kind = "full"
[[arms]]
kind = "closed-book"
[[arms]]
kind = "oracle"
[[arms]]
kind = "head"
[[arms]]
kind = "bm25"
[[arms]]
kind = "epitome"
"#;

fn header() -> Header {
    Header {
        suite: "made".into(),
        version: "0.1.0".into(),
        commit: "0123abc".into(),
        command: "epitome eval run eval/suites/made.toml".into(),
        config: "[plan]\nbudget = \"50%\"\n".into(),
        suite_toml: SUITE.into(),
        models: vec!["all-minilm-l6-v2@53aa51172d142c89d9012cce15ae4d6cc0ca6895".into()],
        files: Vec::new(),
        data: vec![DataSource {
            task: "nq_multidoc_20".into(),
            path: "data/nq_multidoc_20.jsonl.zst".into(),
            hash: "ab".repeat(32),
            rows: 100,
        }],
        hardware: "2 cores, 8 GiB, no GPU".into(),
        seed: 7,
        started: 1_785_542_399,
    }
}

fn record(task: &str, row: &str, document: &str, arm: &str, budget: &str) -> Record {
    Record {
        task: task.into(),
        row: row.into(),
        document: document.into(),
        stratum: Stratum::Semantic,
        scoring: Scoring::SubspanEm,
        arm: arm.into(),
        budget: budget.into(),
        reader: None,
        position: None,
        tokens_full: 3_000,
        tokens: 3_000,
        outcome: "passed".into(),
        reason: None,
        answer_kept: None,
        gold_kept: None,
        predicted_retention: None,
        rouge: None,
        filler: None,
        covered: None,
        ungrounded: None,
        answer: None,
        score: None,
        compact_ms: 0.0,
        cache_lookups: 0,
        cache_hits: 0,
        first_token_ms: None,
        reader_ms: None,
        prompt_tokens: None,
        completion_tokens: None,
        model_memory: None,
        peak_memory: None,
        peak_gpu_memory: None,
        joules: None,
        co2_grams: None,
        price: None,
    }
}

/// A record with a reader's score.
fn scored(row: &str, document: &str, arm: &str, budget: &str, score: f64) -> Record {
    Record { reader: Some("r".into()), score: Some(score), ..record("t", row, document, arm, budget) }
}

fn text(header: &Header, records: &[Record]) -> String {
    let mut text = serde_json::to_string(header).unwrap() + "\n";
    for record in records {
        text += &serde_json::to_string(record).unwrap();
        text.push('\n');
    }
    text
}

fn results(records: &[Record]) -> Results {
    Results::parse(text(&header(), records).as_bytes(), "made.jsonl").unwrap()
}

fn write(home: &TempDir, name: &str, records: &[Record]) -> PathBuf {
    let path = home.path().join(name);
    fs::write(&path, text(&header(), records)).unwrap();
    path
}

/// Plausible results: three tasks, six arms, four budgets, with and without a reader.
fn plausible(seed: u64, skill: f64) -> Vec<Record> {
    let mut random = SplitMix64::new(seed);
    let mut records = Vec::new();
    let budgets = [("50%", 0.5), ("25%", 0.25), ("10%", 0.1), ("500", 0.06)];
    // Task, rows, rows per document, base accuracy, stratum, tokens.
    let tasks = [
        ("nq_multidoc_20", 100, 5, 0.62, Stratum::Semantic, 2_900),
        ("bamboo", 60, 2, 0.8, Stratum::Semantic, 5_000),
        ("niah", 60, 1, 0.97, Stratum::Lexical, 9_000),
    ];
    for (task, rows, size, base, stratum, tokens) in tasks {
        let mut document_luck = 0.0;
        for i in 0..rows {
            if i % size == 0 {
                document_luck = random.unit();
            }
            let luck = 0.5 * document_luck + 0.5 * random.unit();
            let position = (task != "bamboo").then(|| (i % 5) as f64 / 5.0 + 0.05);
            let full = (f64::from(tokens) * (0.3 + 1.9 * random.unit())) as usize;
            let mut push =
                |arm: &str, budget: &str, share: f64, keep: f64, ms: f64, random: &mut SplitMix64| {
                    let kept = random.unit() < keep;
                    let tokens = (full as f64 * share) as usize;
                    let right = luck < base * if kept { 1.0 } else { 0.35 };
                    let ms = ms * (0.6 + 0.8 * random.unit());
                    let free = Record {
                        stratum,
                        position,
                        tokens_full: full,
                        tokens,
                        outcome: if budget.is_empty() { "passed" } else { "compacted" }.into(),
                        answer_kept: (task != "bamboo").then_some(kept),
                        gold_kept: Some(if kept { 1.0 } else { (random.unit() * 2.0).floor() / 2.0 }),
                        compact_ms: ms,
                        cache_lookups: 4,
                        cache_hits: i % 3,
                        model_memory: None,
                        peak_memory: Some(700 << 20),
                        ..record(task, &format!("row-{i}"), &format!("document-{}", i / size), arm, budget)
                    };
                    records.push(free.clone());
                    records.push(Record {
                        reader: Some("qwen2.5-1.5b".into()),
                        answer: Some("an answer".into()),
                        score: Some(f64::from(right)),
                        first_token_ms: Some(40.0 + tokens as f64 * 0.4),
                        reader_ms: Some(400.0 + tokens as f64 * 0.4),
                        prompt_tokens: Some(tokens + 40),
                        completion_tokens: Some(12),
                        price: Some(tokens as f64 * 1e-7),
                        ..free
                    });
                };
            push("full", "", 1.0, 1.0, 0.0, &mut random);
            push("closed-book", "", 0.0, 0.05, 0.0, &mut random);
            push("oracle", "", 0.05, 1.0, 0.0, &mut random);
            for (budget, share) in budgets {
                let lexical = stratum == Stratum::Lexical;
                let near_head = position.is_some_and(|position| position < share);
                push("head", budget, share, if near_head { 0.97 } else { 0.08 }, 0.1, &mut random);
                let bm25 = if lexical { 0.99 } else { 0.35 + 0.6 * share.sqrt() };
                push("bm25", budget, share, bm25, 12.0, &mut random);
                let ours = if lexical { 0.99 } else { (skill + 0.3 * share).min(0.99) };
                push("epitome", budget, share, ours, 400.0, &mut random);
            }
        }
    }
    records
}

fn command(home: &Path, arguments: &[&str]) -> Output {
    epitome(home).arg("eval").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// 40 documents of one row: the full prompt right on 30; the arm wrong on 10 of those, right on 2 others.
fn known() -> Vec<Record> {
    let mut records = Vec::new();
    for i in 0..40 {
        let name = format!("d{i}");
        records.push(scored(&name, &name, "full", "", f64::from(i < 30)));
        let score = f64::from((10..32).contains(&i));
        let tokens = Record { tokens: 750, ..scored(&name, &name, "epitome", "25%", score) };
        records.push(tokens);
    }
    records
}

#[test]
fn report_figures_match_hand_calculation() {
    let home = tempfile::tempdir().unwrap();
    let path = write(&home, "known.jsonl", &known());
    let text = stdout(&command(home.path(), &["report", path_text(&path), "--format", "json"]));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["baseline"], "full");
    let groups = report["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2);
    let (full, ours) = (&groups[0], &groups[1]);
    assert_eq!((full["arm"].as_str(), full["paired"].is_null()), (Some("full"), true));
    let near = |value: &Value, known: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - known).abs() < 1e-9, "{value} is not {known}");
    };
    near(&full["estimate"]["mean"], 0.75);
    // Wilson's interval of 30 of 40, from (0.75 + z^2/80 -+ z sqrt(0.75 0.25/40 + z^2/6400)) / (1 + z^2/40).
    let z = 1.959_963_984_540_054_f64;
    let half = z * (0.75 * 0.25 / 40.0 + z * z / 6_400.0).sqrt();
    near(&full["estimate"]["interval"]["low"], (0.75 + z * z / 80.0 - half) / (1.0 + z * z / 40.0));
    near(&full["estimate"]["interval"]["high"], (0.75 + z * z / 80.0 + half) / (1.0 + z * z / 40.0));
    near(&ours["estimate"]["mean"], 0.55);
    near(&ours["paired"]["difference"], -0.2);
    near(&ours["paired"]["retention"], 22.0 / 30.0);
    // 10 losses, 2 gains: 2 (1 + 12 + 66) / 2^12.
    assert_eq!(ours["paired"]["exact"]["losses"], 10);
    assert_eq!(ours["paired"]["exact"]["gains"], 2);
    near(&ours["paired"]["exact"]["p"], 158.0 / 4_096.0);
    // Variance of the differences 12/40 - 0.2^2, times 40/39, over 40.
    let error = ((0.3 - 0.04) * 40.0 / 39.0 / 40.0_f64).sqrt();
    near(&ours["paired"]["standard_error"], error);
    near(&ours["paired"]["detectable"], (z + 0.841_621_233_572_914_2) * error);
    let interval = &ours["paired"]["interval"];
    // The bootstrap's ends are close to those of the normal approximation.
    assert!((interval["low"].as_f64().unwrap() + 0.2 + z * error).abs() < 0.03, "{interval}");
    assert!((interval["high"].as_f64().unwrap() + 0.2 - z * error).abs() < 0.03, "{interval}");
    near(&ours["tokens"], 750.0);
}

#[test]
fn intervals_by_document_cover_the_truth_and_those_by_row_do_not() {
    let mut random = SplitMix64::new(20);
    let mut luck = SplitMix64::new(21);
    let (mut by_document, mut by_row) = (0, 0);
    let runs = 300;
    for _ in 0..runs {
        let mut documents: Vec<Vec<f64>> = Vec::new();
        for _ in 0..40 {
            let shared = luck.unit();
            let row = |random: &mut SplitMix64| {
                let own = random.unit();
                f64::from(if random.unit() < 0.7 { shared } else { own } < 0.6)
            };
            documents.push((0..5).map(|_| row(&mut random)).collect());
        }
        let holds = |sums: &[Sums]| {
            let replicates = Replicates::draw(sums, 400, &mut SplitMix64::new(3));
            let (low, high) = percentile(&replicates.mean, 0.05).unwrap();
            (low..=high).contains(&0.6)
        };
        let sums: Vec<Sums> = documents
            .iter()
            .map(|rows| Sums { rows: 5.0, value: rows.iter().sum(), ..Sums::default() })
            .collect();
        let rows: Vec<Sums> = documents
            .iter()
            .flatten()
            .map(|value| Sums { rows: 1.0, value: *value, ..Sums::default() })
            .collect();
        by_document += usize::from(holds(&sums));
        by_row += usize::from(holds(&rows));
    }
    let share = |count: usize| count as f64 / runs as f64;
    assert!((0.90..=0.98).contains(&share(by_document)), "{}", share(by_document));
    assert!(share(by_row) < 0.85, "{}", share(by_row));
}

#[test]
fn the_small_sample_interval_covers_the_truth() {
    let mut random = SplitMix64::new(31);
    for (documents, size) in [(12, 1), (40, 1), (8, 4)] {
        let mut held = 0;
        let runs = 600;
        for _ in 0..runs {
            let differences: Vec<Differences> = (0..documents)
                .map(|_| {
                    let shared = random.unit();
                    let sum = (0..size).map(|_| {
                        let luck = if random.unit() < 0.5 { shared } else { random.unit() };
                        // A gain in 5 of 100, a loss in 15.
                        if luck < 0.05 {
                            1.0
                        } else if luck < 0.2 {
                            -1.0
                        } else {
                            0.0
                        }
                    });
                    Differences { pairs: f64::from(size), sum: sum.sum() }
                })
                .collect();
            let (low, high) = Adjusted::of(&differences).unwrap().interval();
            held += usize::from((low..=high).contains(&-0.1));
        }
        let share = f64::from(held as u32) / f64::from(runs);
        assert!(share > 0.93, "{documents} documents of {size}: {share}");
    }
}

#[test]
fn strata_bins_and_reader_free_figures() {
    let results = results(&plausible(1, 0.7));
    let analysis = Analysis::of(&results, &Options { resamples: 200, ..Options::default() });
    // Three measures. Answers are known in two tasks, and retention is counted once, without a reader.
    let count = |measure| analysis.groups.iter().filter(|group| group.measure == measure).count();
    assert_eq!((count(Measure::Score), count(Measure::AnswerKept), count(Measure::GoldKept)), (45, 30, 45));
    let readers = |measure| {
        let of = analysis.groups.iter().filter(|group| group.measure == measure);
        of.map(|group| group.reader.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(readers(Measure::Score).into_iter().collect::<Vec<_>>(), [Some("qwen2.5-1.5b".into())]);
    assert_eq!(readers(Measure::GoldKept).into_iter().collect::<Vec<_>>(), [None]);

    let stratum = |stratum, arm: &str| {
        let of = |s: &&epitome::eval::statistics::StratumSummary| {
            s.measure == Measure::Score && s.stratum == stratum && s.arm == arm && s.budget == "25%"
        };
        analysis.strata.iter().find(of).unwrap()
    };
    let (semantic, lexical) = (stratum(Stratum::Semantic, "bm25"), stratum(Stratum::Lexical, "bm25"));
    assert_eq!((semantic.tasks, lexical.tasks), (2, 1));
    let tasks: Vec<f64> = analysis
        .groups
        .iter()
        .filter(|g| g.measure == Measure::Score && g.arm == "bm25" && g.budget == "25%" && g.task != "niah")
        .map(|group| group.summary.estimate.mean)
        .collect();
    assert!((semantic.summary.estimate.mean - (tasks[0] + tasks[1]) / 2.0).abs() < 1e-12);

    let rows = |curve, scope: Scope| {
        let of = analysis.curves.iter().filter(|point| {
            point.curve == curve
                && point.scope == scope
                && point.arm == "full"
                && point.measure == Measure::Score
        });
        of.map(|point| (point.label, point.summary.estimate.rows)).collect::<Vec<_>>()
    };
    let positions = ["0-20%", "20-40%", "40-60%", "60-80%", "80-100%"].map(|label| (label, 20));
    assert_eq!(rows(Curve::Position, Scope::Task("nq_multidoc_20".into())), positions);
    assert!(rows(Curve::Position, Scope::Task("bamboo".into())).is_empty());
    let lengths = rows(Curve::Length, Scope::Stratum(Stratum::Semantic));
    assert_eq!(lengths.iter().map(|(_, rows)| rows).sum::<usize>(), 160);
    assert_eq!(lengths[0].0, "to 2k");
}

/// Predicted against measured retention, and a file from before predictions existed.
#[test]
fn predicted_and_measured_retention_are_compared() {
    let home = tempfile::tempdir().unwrap();
    let free = |task: &str, i: usize, arm: &str, budget: &str| {
        let (row, document) = (format!("{arm}-{i}"), format!("{task}:{i}"));
        Record { outcome: "compacted".into(), ..record(task, &row, &document, arm, budget) }
    };
    let mut records = Vec::new();
    for i in 0..40 {
        // The mean prediction is 0.9; 30 of 40 answers of the first task are kept, and 3 of 4 gold spans of
        // the second.
        let one = free("nq_multidoc_20", i, "epitome", "floor=0.9");
        let predicted_retention = Some(if i % 2 == 0 { 0.85 } else { 0.95 });
        let known = Record { answer_kept: Some(i < 30), gold_kept: Some(0.0), predicted_retention, ..one };
        records.push(known);
        let two = free("bamboo", i, "epitome", "floor=0.9");
        records.push(Record { gold_kept: Some([0.5, 1.0][i % 2]), predicted_retention, ..two });
        // Neither counts: one has no prediction, the other no known retention.
        records.push(Record { answer_kept: Some(true), ..free("bamboo", i, "bm25", "25%") });
        let unknown = free("niah", i, "epitome", "25%");
        records.push(Record { predicted_retention, stratum: Stratum::Lexical, ..unknown });
    }
    let path = write(&home, "made.jsonl", &records);
    let report = |format| stdout(&command(home.path(), &["report", path_text(&path), "--format", format]));
    let json: Value = serde_json::from_str(&report("json")).unwrap();
    let found: Vec<(Option<&str>, f64, f64, f64)> = json["calibration"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let number = |value: &Value| (value.as_f64().unwrap() * 1e9).round() / 1e9;
            let ends = &one["found"]["interval"];
            assert!(number(&ends["low"]) < 0.75 && number(&ends["high"]) > 0.75, "{one}");
            assert_eq!((&one["arm"], &one["budget"]), (&"epitome".into(), &"floor=0.9".into()));
            let shares = [&one["predicted"], &one["found"]["mean"], &one["difference"]].map(number);
            (one["task"].as_str(), shares[0], shares[1], shares[2])
        })
        .collect();
    assert_eq!(
        found,
        [
            (Some("nq_multidoc_20"), 0.9, 0.75, -0.15),
            (Some("bamboo"), 0.9, 0.75, -0.15),
            (None, 0.9, 0.75, -0.15)
        ]
    );
    for format in ["terminal", "markdown", "html"] {
        let text = report(format);
        let line = text.lines().find(|line| line.contains("(macro average)"));
        assert!(line.is_some_and(|line| line.contains("90.0") && line.contains("75.0")), "{format}: {text}");
        assert!(text.contains("floor=0.98 is no size"), "{format}");
    }

    let older = text(&header(), &known()).replace("\"predicted_retention\":null,", "");
    assert!(!older.contains("predicted_retention"));
    let results = Results::parse(older.as_bytes(), "older.jsonl").unwrap();
    assert!(results.records.iter().all(|seeded| seeded.record.predicted_retention.is_none()));
    let analysis = Analysis::of(&results, &Options::default());
    assert!(analysis.calibration.is_empty() && analysis.groups.len() == 2);
}

/// Rows of one document form one unit, within a task and across tasks; a single document has no interval.
#[test]
fn documents_are_the_units_over_all_tasks() {
    let home = tempfile::tempdir().unwrap();
    // Each of `documents` has two rows that agree, in each of two tasks, whose documents are numbered from
    // `first` on.
    let made = |firsts: [usize; 2]| {
        let mut records = Vec::new();
        for (task, first) in ["nq_multidoc_20", "bamboo"].into_iter().zip(firsts) {
            for i in 0..60 {
                let (row, document) = (format!("row-{i}"), format!("document-{}", first + i / 2));
                let score = |arm, budget, score| Record {
                    task: task.into(),
                    ..scored(&row, &document, arm, budget, score)
                };
                records.push(score("full", "", 1.0));
                records.push(score("epitome", "25%", f64::from(i / 2 % 3 > 0)));
            }
        }
        results(&records)
    };
    let average = |firsts: [usize; 2]| {
        let analysis = Analysis::of(&made(firsts), &Options::default());
        let of_arm = analysis.strata.into_iter().find(|average| average.arm == "epitome");
        of_arm.unwrap().summary
    };
    let (shared, apart) = (average([0, 0]), average([0, 30]));
    assert_eq!((shared.estimate.documents, apart.estimate.documents), (30, 60));
    assert_eq!((shared.estimate.rows, shared.estimate.mean), (120, apart.estimate.mean));
    let width = |summary: &epitome::eval::statistics::Summary| {
        let interval = summary.paired.unwrap().retention_interval.unwrap();
        interval.high - interval.low
    };
    // A factor of the square root of 2, from twice the number of documents.
    let ratio = width(&shared) / width(&apart);
    assert!((1.25..1.6).contains(&ratio), "{ratio}");

    let mut records = Vec::new();
    for i in 0..5 {
        let row = format!("row-{i}");
        records.push(scored(&row, "only", "full", "", 1.0));
        records.push(scored(&row, "only", "epitome", "25%", 1.0));
    }
    let path = write(&home, "one.jsonl", &records);
    for format in FORMATS {
        let text = stdout(&command(home.path(), &["report", path_text(&path), "--format", format]));
        match format {
            "json" => {
                let report: Value = serde_json::from_str(&text).unwrap();
                for group in
                    report["groups"].as_array().unwrap().iter().chain(report["strata"].as_array().unwrap())
                {
                    assert!(group["estimate"]["interval"].is_null(), "{group}");
                    assert!(group["paired"].is_null() || group["paired"]["interval"].is_null(), "{group}");
                    assert!(group["paired"].is_null() || group["paired"]["retention_interval"].is_null());
                }
            }
            "markdown" => assert!(text.contains("100.0 \\[unknown\\]"), "{text}"),
            _ => assert!(text.contains("100.0 [unknown]") && text.contains("0.0 [unknown]"), "{text}"),
        }
        assert!(!text.contains("[100.0 100.0]") && !text.contains("[0.0 0.0]"), "{format}");
    }
}

#[test]
fn results_of_several_seeds_are_combined() {
    let home = tempfile::tempdir().unwrap();
    let one = write(&home, "one.jsonl", &known());
    let two = home.path().join("two.jsonl");
    fs::write(&two, text(&Header { seed: 8, ..header() }, &known())).unwrap();
    let both = Results::read_all(&[&one, &two]).unwrap();
    assert_eq!(both.records.len(), 160);
    assert_eq!(both.warnings, [""; 0]);
    let analysis = Analysis::of(&both, &Options::default());
    let ours = analysis.groups.iter().find(|group| group.arm == "epitome").unwrap();
    let paired = ours.summary.paired.unwrap();
    // Twice the rows, but of the same documents: no additional information.
    assert_eq!((paired.rows, paired.documents), (80, 40));
    let error = ((0.3 - 0.04) * 40.0 / 39.0 / 40.0_f64).sqrt();
    assert!((paired.standard_error.unwrap() - error).abs() < 1e-9);
    // The same file twice repeats the same measurements.
    let same = Results::read_all(&[&one, &one]).unwrap();
    assert_eq!(same.records.len(), 80);
    assert!(same.warnings[0].contains("80 records"), "{:?}", same.warnings);
    let other = home.path().join("other.jsonl");
    let mut data = header();
    data.data[0].hash = "cd".repeat(32);
    fs::write(&other, text(&Header { commit: "fff".into(), ..data }, &known())).unwrap();
    let warnings = Results::read_all(&[&one, &other]).unwrap().warnings.join("\n");
    assert!(warnings.contains("same data for task nq_multidoc_20"), "{warnings}");
    assert!(warnings.contains("different commits"), "{warnings}");
}

#[test]
fn the_baseline_is_compared_at_the_same_budget() {
    let home = tempfile::tempdir().unwrap();
    let path = write(&home, "made.jsonl", &plausible(2, 0.7));
    let arguments = ["report", path_text(&path), "--format", "json", "--baseline", "bm25"];
    let report: Value = serde_json::from_str(&stdout(&command(home.path(), &arguments))).unwrap();
    let find = |arm: &str, budget: &str| {
        let groups = report["groups"].as_array().unwrap().iter();
        let mut of = groups.filter(|g| {
            g["arm"] == arm && g["budget"] == budget && g["measure"] == "gold_kept" && g["task"] == "bamboo"
        });
        of.next().unwrap().clone()
    };
    for budget in ["50%", "25%", "10%", "500"] {
        let (ours, theirs) = (find("epitome", budget), find("bm25", budget));
        let difference =
            ours["estimate"]["mean"].as_f64().unwrap() - theirs["estimate"]["mean"].as_f64().unwrap();
        assert!((ours["paired"]["difference"].as_f64().unwrap() - difference).abs() < 1e-9, "{budget}");
    }
    // It is ambiguous which of its four budgets to compare an arm without a budget with.
    assert!(find("full", "")["paired"].is_null());
    let output = command(home.path(), &["report", path_text(&path), "--baseline", "nobody"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no arm `nobody`") && stderr.contains("closed-book"), "{stderr}");
}

/// Checks that every tag is closed, in order.
fn check_markup(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag that does not end");
        let tag = &rest[..end];
        assert!(!tag.contains('<'), "a tag within a tag: {tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "an attribute that does not end: {tag}");
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap();
        if tag.starts_with('!') || tag.ends_with('/') || name == "meta" {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
        } else {
            open.push(name);
        }
        if name == "style" && !tag.starts_with('/') {
            rest = &rest[rest.find("</style>").unwrap()..];
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
}

const FORMATS: [&str; 4] = ["terminal", "json", "markdown", "html"];

#[test]
fn all_layouts_name_their_provenance_and_are_reproducible() {
    let home = tempfile::tempdir().unwrap();
    let path = write(&home, "made.jsonl", &plausible(1, 0.7));
    for format in FORMATS {
        let render = |threads: &str| {
            let arguments = ["eval", "report", path_text(&path), "--format", format];
            stdout(&epitome(home.path()).args(arguments).env("RAYON_NUM_THREADS", threads).output().unwrap())
        };
        let text = render("1");
        assert!(text == render("4"), "{format} differs");
        let config = blake3_of(&header().config);
        let config = if format == "json" { config.as_str() } else { &config[..16] };
        for fact in ["0123abc", config, "53aa51172d142c89", "abababababababab", "2 cores", "eval run"] {
            assert!(text.contains(fact), "{format} lacks {fact}");
        }
        assert!(!text.contains("NaN") && !text.contains(" inf") && !text.contains("null ["), "{format}");
        match format {
            "terminal" => {
                let long = text.lines().find(|line| line.chars().count() > 100);
                assert_eq!(long, None);
                assert!(text.contains("unknown"), "energy is unknown");
                assert!(text.contains("By place of the gold in the text, vs full"));
                // The baseline comes first.
                let costs = text.find("Compaction, without a reader").unwrap();
                let first = text[costs..].lines().nth(2).unwrap();
                assert!(first.starts_with("full "), "{first}");
            }
            "json" => {
                let report: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(report["runs"][0]["seed"], 7);
                assert_eq!(report["costs"].as_array().unwrap().len(), 30);
                assert!(report["costs"][0]["joules"].is_null());
            }
            "markdown" => {
                let widths = |line: &str| line.replace("\\|", "").matches('|').count();
                for pair in text.lines().collect::<Vec<_>>().windows(2) {
                    if pair[0].starts_with('|') && pair[1].starts_with('|') {
                        assert_eq!(widths(pair[0]), widths(pair[1]), "{pair:?}");
                    }
                }
            }
            _ => {
                check_markup(&text);
                for outside in ["http://", "https://", "src=", "@import", "url(", "<script", "<link"] {
                    assert!(!text.contains(outside), "{outside}");
                }
                assert!(text.contains("prefers-color-scheme: dark"));
                for plot in ["against ratio", "against time", "against position", "against length"] {
                    assert!(text.contains(plot), "{plot}");
                }
            }
        }
    }
    let out = home.path().join("report.html");
    let output =
        command(home.path(), &["report", path_text(&path), "--format", "html", "-o", path_text(&out)]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(fs::read_to_string(out).unwrap().starts_with("<!DOCTYPE html>"));
}

fn blake3_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

#[test]
fn hostile_names_stay_text() {
    let home = tempfile::tempdir().unwrap();
    let hostile = "</td><script>alert(1)</script>|`*_[x](y)\"'&\u{1b}[31m\n\u{202e}";
    let mut records = Vec::new();
    for i in 0..6 {
        for (arm, budget) in [("full", ""), (hostile, hostile), ("epitome", "25%")] {
            let row = format!("{hostile}{i}");
            records.push(Record {
                task: hostile.into(),
                reader: Some(hostile.into()),
                position: Some(f64::from(i) / 6.0),
                ..scored(&row, &row, arm, budget, f64::from(arm == "full" || i % 2 == 0))
            });
        }
    }
    let path = home.path().join("hostile.jsonl");
    let header = Header { suite: hostile.into(), command: hostile.into(), ..header() };
    fs::write(&path, text(&header, &records)).unwrap();
    for format in FORMATS {
        let text = stdout(&command(home.path(), &["report", path_text(&path), "--format", format]));
        assert!(!text.contains('\u{1b}'), "{format}");
        match format {
            "html" => {
                check_markup(&text);
                assert!(!text.contains("<script") && !text.contains('\u{202e}'));
            }
            "markdown" => {
                assert!(!text.contains("<script"), "{text}");
                let cell = text.lines().find(|line| line.contains("alert") && line.starts_with('|')).unwrap();
                assert!(cell.contains("\\|\\`\\*"), "{cell}");
            }
            "json" => assert!(serde_json::from_str::<Value>(&text).is_ok()),
            _ => assert!(!text.contains('\u{202e}')),
        }
    }
    let output =
        command(home.path(), &["gate", path_text(&path), "--baseline", path_text(&path), "--arm", hostile]);
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b));
}

#[test]
fn empty_cut_and_broken_files() {
    let home = tempfile::tempdir().unwrap();
    let path = write(&home, "empty.jsonl", &[]);
    for format in FORMATS {
        let text = stdout(&command(home.path(), &["report", path_text(&path), "--format", format]));
        assert!(text.contains("there are no records"), "{format}: {text}");
    }
    let whole = text(&header(), &known());
    fs::write(&path, &whole[..whole.len() - 40]).unwrap();
    let report = stdout(&command(home.path(), &["report", path_text(&path)]));
    assert!(report.contains("line 81: the last line is cut"), "{report}");
    let failed: Vec<Record> =
        known().into_iter().map(|record| Record { outcome: "failed".into(), ..record }).collect();
    fs::write(&path, text(&header(), &failed)).unwrap();
    let report = stdout(&command(home.path(), &["report", path_text(&path)]));
    assert!(report.contains("80 compactions failed"), "{report}");

    let broken = whole.replacen("\"arm\":\"epitome\"", "\"arm\":7", 1);
    for (content, words) in [
        (String::new(), "is empty"),
        ("name = \"suite\"\n".into(), "line 1: not the header"),
        (broken, "line 3: not a record"),
    ] {
        fs::write(&path, content).unwrap();
        for arguments in
            [&["report", path_text(&path)][..], &["gate", path_text(&path), "--baseline", path_text(&path)]]
        {
            let output = command(home.path(), arguments);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(words) && stderr.contains("hint: "), "{stderr}");
            assert!(output.stdout.is_empty());
        }
    }
    let output = command(home.path(), &["report", "not-there.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
}

/// `rows` rows of one arm, of which those in `wrong` are wrong.
fn run_of(rows: usize, wrong: std::ops::Range<usize>) -> Vec<Record> {
    let row = |i: usize| {
        let name = format!("row-{i:03}");
        let score = f64::from(!wrong.contains(&i));
        Record { answer: Some(score.to_string()), ..scored(&name, &name, "epitome", "25%", score) }
    };
    (0..rows).map(row).collect()
}

fn gate(home: &TempDir, before: &[Record], now: &[Record], more: &[&str]) -> (i32, String, String) {
    let (one, other) = (write(home, "before.jsonl", before), write(home, "now.jsonl", now));
    let mut arguments = vec!["gate", path_text(&other), "--baseline", path_text(&one)];
    arguments.extend(more);
    let output = command(home.path(), &arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_gate_passes_fails_or_is_undecided() {
    let home = tempfile::tempdir().unwrap();
    // Nothing changed, however small the run.
    let (code, out, err) = gate(&home, &run_of(5, 0..0), &run_of(5, 0..0), &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("verdict: pass, nothing changed"), "{out}");
    // 1 row of 400 worse, 1 better: within 2 points.
    let (code, out, _) = gate(&home, &run_of(400, 0..1), &run_of(400, 1..2), &[]);
    assert_eq!(code, 0, "{out}");
    // 30 rows of 400 worse: 7.5 points.
    let (code, out, err) = gate(&home, &run_of(400, 0..0), &run_of(400, 10..40), &["--rows", "3"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains("row-010") && out.contains("row-012") && !out.contains("row-013"), "{out}");
    assert!(out.contains("and 27 more") && out.contains("verdict: drop"), "{out}");
    assert!(err.contains("a real drop, more than the 2 points allowed: epitome at 25%"), "{err}");
    // The same drop passes if more is allowed.
    let (code, out, _) = gate(&home, &run_of(400, 0..0), &run_of(400, 10..40), &["--max-drop", "0.12"]);
    assert_eq!(code, 0, "{out}");
    // 1 row of 20 worse: it may be noise, or a drop of 20 points.
    let (code, out, err) = gate(&home, &run_of(20, 0..0), &run_of(20, 0..1), &[]);
    assert_eq!(code, 2, "{out}");
    assert!(err.contains("too small to tell") && err.contains("more rows would tell"), "{err}");
    // Equal scores from different answers, on few rows: still too small.
    let mut other = run_of(10, 0..0);
    other[0].answer = Some("else".into());
    let (code, out, _) = gate(&home, &run_of(10, 0..0), &other, &[]);
    assert_eq!(code, 2, "{out}");
    // Many rows of few documents count as few.
    let few = |mut records: Vec<Record>| {
        for (i, record) in records.iter_mut().enumerate() {
            record.document = format!("document-{}", i * 3 / 400);
        }
        records
    };
    let (code, out, _) = gate(&home, &few(run_of(400, 0..0)), &few(run_of(400, 10..40)), &[]);
    assert_eq!(code, 2, "{out}");
    for bad in ["0", "-1", "1.5", "NaN", "much"] {
        let (code, _, err) = gate(&home, &run_of(5, 0..0), &run_of(5, 0..0), &[&format!("--max-drop={bad}")]);
        assert_eq!(code, 2, "{bad}");
        assert!(err.contains("--max-drop"), "{err}");
    }
}

#[test]
fn the_gate_writes_json() {
    let home = tempfile::tempdir().unwrap();
    let (code, out, err) = gate(&home, &run_of(60, 0..0), &run_of(60, 0..9), &["--format", "json"]);
    assert_eq!(code, 1, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["verdict"], "drop");
    let comparison = &report["comparisons"][0];
    assert_eq!(comparison["rows"], 60);
    let worse: Vec<_> =
        comparison["worse"].as_array().unwrap().iter().map(|row| row["row"].clone()).collect();
    assert_eq!(worse, (0..9).map(|n| format!("row-{n:03}")).collect::<Vec<_>>());
    // 9 losses: 2 / 2^9.
    assert!((comparison["p"].as_f64().unwrap() - 2.0 / 512.0).abs() < 1e-12);
    assert_eq!(comparison["tasks"][0]["task"], "t");
}

#[test]
fn the_gate_compares_the_pipeline_arms() {
    let home = tempfile::tempdir().unwrap();
    let with = |arm: &str, wrong: std::ops::Range<usize>| {
        let renamed = |record: Record| Record { arm: arm.into(), ..record };
        run_of(100, wrong).into_iter().map(renamed).collect::<Vec<_>>()
    };
    // BM25 drops, the pipeline does not. Only the pipeline is compared, according to the suite.
    let before = [with("bm25", 0..0), run_of(100, 0..0)].concat();
    let now = [with("bm25", 0..40), run_of(100, 0..0)].concat();
    assert_eq!(gate(&home, &before, &now, &[]).0, 0);
    assert_eq!(gate(&home, &before, &now, &["--arm", "bm25"]).0, 1);
    assert_eq!(gate(&home, &before, &now, &["--arm", "bm25", "--budget", "25.0%"]).0, 1);
    for unknown in [["--arm", "nobody"], ["--budget", "33%"]] {
        let (code, _, err) = gate(&home, &before, &now, &unknown);
        assert_eq!(code, 2);
        assert!(err.contains("in the results; there is:"), "{err}");
    }
    // No rows in common.
    let elsewhere: Vec<Record> = run_of(10, 0..0)
        .into_iter()
        .map(|record| Record { row: format!("x{}", record.row), ..record })
        .collect();
    let (code, _, err) = gate(&home, &elsewhere, &run_of(10, 0..0), &[]);
    assert_eq!(code, 2);
    assert!(err.contains("no row of the results is in the baseline too"), "{err}");
    // Missing rows are counted.
    let (code, _, err) = gate(&home, &run_of(100, 0..0), &run_of(90, 0..0), &[]);
    assert_eq!(code, 0);
    assert!(err.contains("10 measured rows of the baseline"), "{err}");
    // Without a reader: whether the answer is kept, else the gold spans.
    let free = |kept: usize| {
        let row = |(i, record): (usize, Record)| Record {
            reader: None,
            score: None,
            answer_kept: (i % 2 == 0).then_some(i >= kept),
            gold_kept: Some(if i >= kept { 1.0 } else { 0.5 }),
            ..record
        };
        run_of(200, 0..0).into_iter().enumerate().map(row).collect::<Vec<_>>()
    };
    let (code, out, _) = gate(&home, &free(0), &free(40), &["--format", "json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&out).unwrap();
    // 20 rows lose 1, 20 rows lose one half, of 200 rows.
    let difference = report["comparisons"][0]["difference"].as_f64().unwrap();
    assert!((difference + 0.15).abs() < 1e-12, "{difference}");
}

#[test]
fn the_gate_rarely_gives_false_alarms() {
    use epitome::eval::gate::{Gate, Options, Verdict};
    let mut random = SplitMix64::new(44);
    let options = Options { max_drop: 0.02, arm: None, budget: None, measure: None };
    let runs = 200;
    let (mut alarms, mut found) = (0, 0);
    for _ in 0..runs {
        let mut draw = |lost: f64| {
            let mut now = run_of(150, 0..0);
            let mut before = run_of(150, 0..0);
            for (now, before) in now.iter_mut().zip(&mut before) {
                // A fifth of the rows come out either way by chance.
                let base = random.unit() < 0.7;
                let flips = random.unit() < 0.1;
                let lost = random.unit() < lost;
                before.score = Some(f64::from(base));
                now.score = Some(f64::from(if flips { random.unit() < 0.7 } else { base && !lost }));
            }
            Gate::of(&results(&now), &results(&before), &options).unwrap().verdict
        };
        alarms += usize::from(draw(0.0) == Verdict::Drop);
        found += usize::from(draw(0.25) == Verdict::Drop);
    }
    assert!(alarms * 100 <= 5 * runs, "{alarms} false alarms in {runs}");
    assert!(found * 100 >= 80 * runs, "{found} found in {runs}");
}
