//! `epitome bill`: what requests cost, and what they would have cost without epitome.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::{
    bill::{
        log,
        prices::PriceList,
        summary::{By, Pricing, Summary, Totals},
        time::{Time, TimeError},
    },
    config::Config,
    error::Error,
    eval::report::{
        escape,
        table::{Cell, Table},
    },
};

/// Most unknown models that are named.
const NAMED: usize = 5;

/// Say what requests through the proxy cost, and what they would have cost without it.
///
/// Reads the log that the proxy writes (`bill.log`). Paid is what the provider's own usage says. Direct
/// is what the originals would have cost by the same rule for cached prefixes. Saved is the
/// difference, and negative where compaction cost more than it saved.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log, `-` for standard input. Without it, the one that bill.log names.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Only requests from this day (UTC) or time on, such as 2026-11-01 or 2026-11-01T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// Only requests up to the end of this day (UTC), or before this time.
    #[arg(long, value_name = "TIME", value_parser = end)]
    until: Option<Time>,
    /// What a row of the table is.
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Price all requests anew, by this list and, for models that it lacks, by the built-in one.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
}

fn end(text: &str) -> Result<Time, TimeError> {
    Time::end_of(text)
}

/// Runs the command.
///
/// # Errors
///
/// No log is named, or it or the price list cannot be read.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    let named = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    let Some(path) = args.log.or_else(|| named(&config.bill.log)) else {
        return Err(Error::Usage(
            "no log: name one with --log FILE, or with bill.log in the configuration".into(),
        ));
    };
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since >= until
    {
        return Err(Error::Usage(format!("--since {since} is not before the end of the period, {until}")));
    }
    let list = PriceList::load(args.prices.clone().or_else(|| named(&config.bill.prices)).as_deref())?;
    let pricing = if args.prices.is_some() { Pricing::Anew(&list) } else { Pricing::Recorded(&list) };
    let mut summary = Summary::new(args.by, pricing, args.since, args.until);
    let skipped = log::read(open(&path)?, |entry| summary.add(&entry)).map_err(Error::file(&path))?;
    let text =
        if args.json { json_of(&summary, args.by, skipped) } else { table(&summary, args.by).to_terminal() };
    super::print(&text)?;
    super::tell(&notes(&summary, &path, skipped));
    Ok(())
}

/// The table of what a log has from a time on, and notes on it.
pub(super) fn since(path: &Path, since: Time, list: &PriceList) -> Result<String, Error> {
    let mut summary = Summary::new(By::Model, Pricing::Recorded(list), Some(since), None);
    let skipped = log::read(open(path)?, |entry| summary.add(&entry)).map_err(Error::file(path))?;
    Ok(format!("{}{}", table(&summary, By::Model).to_terminal(), notes(&summary, path, skipped)))
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    if super::is_standard(path) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(Error::file(path))?;
    Ok(Box::new(BufReader::new(file)))
}

fn table(summary: &Summary<'_>, by: By) -> Table {
    let group = format!("<{}", by.as_str());
    let mut table = Table::new(
        "",
        &[
            &group,
            "requests",
            "compacted",
            "before",
            "after",
            "cached",
            "written",
            "output",
            "paid $",
            "direct $",
            "saved $",
            "%",
        ],
    );
    let all = (summary.rows.len() != 1).then(|| ("all".to_owned(), summary.total));
    let rows = summary.rows.iter().map(|(group, totals)| (group.clone(), *totals));
    // Cents are enough for sums that are not small.
    let decimals = if summary.total.direct.max(summary.total.paid) < 100.0 { 4 } else { 2 };
    table.rows = rows.chain(all).map(|(group, totals)| row(group, &totals, decimals)).collect();
    table
}

fn row(group: String, totals: &Totals, decimals: usize) -> Vec<Cell> {
    let counts = [
        totals.requests,
        totals.compacted,
        totals.tokens_before,
        totals.tokens_after,
        totals.usage.cached,
        totals.usage.written(),
        totals.usage.output,
    ];
    let share = totals.share().map_or_else(|| "-".to_owned(), |share| signed(share * 100.0, 1));
    let money = [
        format!("{:.decimals$}", totals.paid),
        format!("{:.decimals$}", totals.direct),
        signed(totals.net_saved, decimals),
        share,
    ];
    let group = if group.is_empty() { "(unknown)".to_owned() } else { group };
    [group].into_iter().chain(counts.map(short)).chain(money).map(Cell::new).collect()
}

/// A number of at most five digits, with a suffix for thousands, millions or billions.
fn short(number: u64) -> String {
    let value = number as f64;
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{:.0}k", value / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1}M", value / 1e6),
        _ => format!("{:.1}G", value / 1e9),
    }
}

/// A number with its sign, and none for zero.
fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    let is_zero = !text.contains(|c: char| ('1'..='9').contains(&c));
    if is_zero { text.trim_start_matches(['+', '-']).to_owned() } else { text }
}

/// What the table does not say.
fn notes(summary: &Summary<'_>, path: &Path, skipped: u64) -> String {
    let mut text = String::new();
    let total = &summary.total;
    if total.requests == 0 {
        text.push_str("no requests in this period\n");
    }
    if skipped > 0 {
        let name = escape::terminal(&path.display().to_string());
        text.push_str(&format!("{skipped} line(s) of {name} are not of a bill and were skipped\n"));
    }
    if total.unpriced > 0 {
        let models = &summary.unpriced_models;
        let name = |model: &String| match model.is_empty() {
            true => "no model named".to_owned(),
            false => escape::terminal(model),
        };
        let mut named: Vec<String> = models.iter().take(NAMED).map(name).collect();
        if models.len() > NAMED {
            named.push(format!("{} more", models.len() - NAMED));
        }
        text.push_str(&format!(
            "{} request(s) of unknown price ({}) are in the tokens, but not in paid, direct and saved; counted in \
             tokens of plain input, they saved {}. A list of prices can be given: --prices FILE, or bill.prices\n",
            total.unpriced,
            named.join(", "),
            signed(total.unpriced_net_saved, 0)
        ));
    }
    if total.unmetered > 0 {
        text.push_str(&format!(
            "{} request(s) reported no usage and are not in paid, direct and saved\n",
            total.unmetered
        ));
    }
    text
}

fn json_of(summary: &Summary<'_>, by: By, skipped: u64) -> String {
    let row = |totals: &Totals, group: Option<&str>| {
        let mut row = Map::new();
        if let Some(group) = group {
            row.insert(by.as_str().to_owned(), group.into());
        }
        if let Ok(Value::Object(totals)) = serde_json::to_value(totals) {
            row.extend(totals);
        }
        Value::Object(row)
    };
    let rows: Vec<Value> = summary.rows.iter().map(|(group, totals)| row(totals, Some(group))).collect();
    let mut text = json!({
        "by": by.as_str(),
        "rows": rows,
        "total": row(&summary.total, None),
        "unpriced_models": summary.unpriced_models,
        "skipped_lines": skipped,
    })
    .to_string();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    /// A request a line: the day, the model, and what it paid and would have paid.
    fn summary(list: &PriceList) -> Summary<'_> {
        let lines: String = [
            ("2026-11-01", "claude-opus-5-5", 0.5, 2.75),
            ("2026-11-01", "claude-opus-5-5", 1.5, 1.25),
            ("2026-11-02", "claude-opus-5-5", 0.75, 0.5),
            ("2026-11-02", "house\u{1b}[2J", 0.0, 0.0),
        ]
        .iter()
        .map(|(day, model, paid, direct)| {
            let cost = if *paid > 0.0 {
                json!({"unit": "usd", "paid": paid, "direct": direct, "net_saved": direct - paid})
            } else {
                json!({"unit": "input-tokens", "paid": 1, "direct": 2, "net_saved": 1})
            };
            let mut line = json!({
                "time": format!("{day}T01:00:00Z"), "id": "1", "dialect": "messages", "route": "/v1/messages",
                "model": model, "outcome": "compacted", "status": 200, "ms": 1, "evidence": 0,
                "prompts": {"original": 120_000, "sent": 60_000, "original_repeated": 0, "sent_repeated": 0},
                "prefix": {"state": "new"},
                "usage": {"input": 50_000, "cached": 10_000, "written_5m": 0, "written_1h": 0, "output": 80},
            });
            line.as_object_mut().unwrap().extend(cost.as_object().unwrap().clone());
            format!("{line}\n")
        })
        .collect();
        let mut summary = Summary::new(By::Day, Pricing::Recorded(list), None, None);
        assert_eq!(log::read(lines.as_bytes(), |entry| summary.add(&entry)).unwrap(), 0);
        summary
    }

    #[test]
    fn the_table_has_a_sign_and_fits_a_terminal() {
        let list = PriceList::built_in().unwrap();
        let text = table(&summary(&list), By::Day).to_terminal();
        insta::assert_snapshot!(text, @r"
        day        requests compacted before after cached written output paid $ direct $ saved $     %
        2026-11-01        2         2   240k  120k  20000       0    160 2.0000   4.0000 +2.0000 +50.0
        2026-11-02        2         2   240k  120k  20000       0    160 0.7500   0.5000 -0.2500 -50.0
        all               4         4   480k  240k  40000       0    320 2.7500   4.5000 +1.7500 +38.9
        ");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn what_is_not_in_the_table_is_said() {
        let list = PriceList::built_in().unwrap();
        let text = notes(&summary(&list), Path::new("bill.jsonl"), 3);
        assert!(
            text.contains("3 line(s) of bill.jsonl") && text.contains("1 request(s) of unknown price"),
            "{text}"
        );
        assert!(text.contains("they saved +60000.") && !text.contains('\u{1b}'), "{text}");
        let nothing = Summary::new(By::Day, Pricing::Recorded(&list), None, None);
        assert_eq!(notes(&nothing, Path::new("x"), 0), "no requests in this period\n");
    }

    #[test]
    fn json_has_the_same_numbers() {
        let list = PriceList::built_in().unwrap();
        let value: Value = serde_json::from_str(&json_of(&summary(&list), By::Day, 2)).unwrap();
        assert_eq!(value["rows"][0]["day"], "2026-11-01");
        assert_eq!(value["rows"][1]["net_saved"], -0.25);
        assert_eq!(value["total"]["requests"], 4);
        assert_eq!(value["total"]["usage"]["cached"], 40_000);
        assert_eq!(value["unpriced_models"][0], "house\u{1b}[2J");
        assert_eq!(value["skipped_lines"], 2);
    }

    #[test]
    fn numbers_are_short_and_signed() {
        assert_eq!(
            [0, 99_999, 123_456, 12_345_678, 12_345_678_901].map(short),
            ["0", "99999", "123k", "12.3M", "12.3G"]
        );
        assert_eq!(
            [0.0, -0.001, 1.5, -2.0].map(|value| signed(value, 2)),
            ["0.00", "0.00", "+1.50", "-2.00"]
        );
    }

    #[test]
    fn bad_arguments_end_with_2() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("bill.jsonl");
        let bad = dir.path().join("prices.toml");
        fs::write(&log, "").unwrap();
        fs::write(&bad, "[models.a]\ninput = 1").unwrap();
        let (log, bad) = (log.to_str().unwrap(), bad.to_str().unwrap());
        let missing = dir.path().join("none.jsonl");
        for args in [
            vec![],
            vec!["--log", missing.to_str().unwrap()],
            vec!["--log", log, "--prices", bad],
            vec!["--log", log, "--since", "2026-11-02", "--until", "2026-11-01"],
        ] {
            let command = Command::try_parse_from([&["bill"], args.as_slice()].concat()).unwrap();
            assert_eq!(run(command.args, Config::default()).unwrap_err().exit_code(), 2, "{args:?}");
        }
        for args in [["--since", "soon"], ["--until", "2026-02-30"], ["--by", "weekday"]] {
            assert!(Command::try_parse_from([&["bill"], &args[..]].concat()).is_err(), "{args:?}");
        }
        let day = ["bill", "--log", log, "--since", "2026-11-01", "--until", "2026-11-01"];
        assert!(run(Command::try_parse_from(day).unwrap().args, Config::default()).is_ok());
    }
}
