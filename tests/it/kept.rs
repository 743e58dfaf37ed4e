//! What must be kept of each kind of text, and what may go: on the output of real programs, with the built-in
//! ranker.

use std::sync::{Arc, OnceLock};

use epitome::config::Config;
use epitome_compactor::{
    Budget, Cache, CompactRequest, Compaction, Compactor,
    compaction::{Outcome, PassReason},
    config::CodePolicy,
};
use epitome_engine::Models;
use epitome_text::Origin;
use epitome_work::Cancel;

/// A default compactor with the given policy on code.
fn new(code: CodePolicy) -> Compactor {
    static MODELS: OnceLock<Arc<Models>> = OnceLock::new();
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.plan.code = code;
    let models = MODELS.get_or_init(|| Arc::new(Models::new(&config.models).unwrap()));
    epitome::compactor::compactor(&config, Arc::clone(models), Arc::new(Cache::memory_only())).unwrap()
}

/// Keeps code whole.
fn keeping() -> &'static Compactor {
    static ONE: OnceLock<Compactor> = OnceLock::new();
    ONE.get_or_init(|| new(CodePolicy::Keep))
}

/// Ranks code.
fn ranking() -> &'static Compactor {
    static ONE: OnceLock<Compactor> = OnceLock::new();
    ONE.get_or_init(|| new(CodePolicy::Rank))
}

/// Shorter texts, in bytes, are compacted a second time with an empty cache.
const SHORT: usize = 2_500;

/// A text, its query, and the expected result.
struct Case {
    name: String,
    text: String,
    origin: Origin,
    query: Option<String>,
    share: f64,
    kinds: Vec<&'static str>,
    kept: Vec<String>,
    gone: Vec<String>,
    code: CodePolicy,
    /// Whether a number is in front of each line.
    lined: bool,
}

/// A fixture without further information about its origin.
fn fixture(path: &str) -> Case {
    let file = format!("{}/tests/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
    given(path, text)
}

/// A text without further information about its origin.
fn given(name: &str, text: String) -> Case {
    Case {
        name: name.to_owned(),
        text,
        origin: Origin::default(),
        query: None,
        share: 0.25,
        kinds: Vec::new(),
        kept: Vec::new(),
        gone: Vec::new(),
        code: CodePolicy::Keep,
        lined: false,
    }
}

impl Case {
    fn asked(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    /// Sets the budget as a share of its tokens.
    fn at(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Sets the file that it came from.
    fn file(mut self, file: &str) -> Self {
        self.origin.file = Some(file.to_owned());
        self
    }

    /// Sets the command that printed it.
    fn command(mut self, command: &str) -> Self {
        let arguments = serde_json::json!({ "command": command }).to_string();
        self.origin.call = Some(("bash".to_owned(), arguments));
        self
    }

    /// Sets its media type.
    fn media_type(mut self, media_type: &str) -> Self {
        self.origin.media_type = Some(media_type.to_owned());
        self
    }

    fn kind(mut self, kind: &'static str) -> Self {
        self.kinds.push(kind);
        self
    }

    fn keeps(mut self, parts: &[&str]) -> Self {
        self.kept.extend(parts.iter().map(|part| (*part).to_owned()));
        self
    }

    fn drops(mut self, parts: &[&str]) -> Self {
        self.gone.extend(parts.iter().map(|part| (*part).to_owned()));
        self
    }

    /// Puts a number in front of each line, as tools do.
    fn lined(mut self, separator: &str) -> Self {
        let lines = self.text.lines().enumerate();
        self.text = lines.map(|(at, line)| format!("{:>6}{separator}{line}\n", at + 1)).collect();
        self.lined = true;
        self
    }

    /// Expects the lines with these parts to be kept.
    fn keeps_lines(mut self, parts: &[&str]) -> Self {
        for part in parts {
            let line = self.text.lines().find(|line| line.contains(part));
            self.kept.push(format!("{}\n", line.unwrap_or_else(|| panic!("{} has no {part:?}", self.name))));
        }
        self
    }

    fn ranks_code(mut self) -> Self {
        self.code = CodePolicy::Rank;
        self
    }

    fn request(&self) -> CompactRequest {
        CompactRequest {
            text: self.text.clone(),
            query: self.query.clone(),
            budget: Budget::Share(self.share),
            model: None,
            explain: false,
            origin: self.origin.clone(),
            pinned: Vec::new(),
            part: false,
            later: Vec::new(),
            call: None,
        }
    }

    fn compacted(&self) -> Compaction {
        let compactor = if self.code == CodePolicy::Rank { ranking() } else { keeping() };
        let result = compactor.compact(&self.request(), &Cancel::never()).unwrap();
        // A second compaction gives the same result: short texts from scratch, long ones with the cache.
        let fresh = (self.text.len() < SHORT).then(|| new(self.code));
        let again = fresh.as_ref().unwrap_or(compactor);
        let again = again.compact(&self.request(), &Cancel::never()).unwrap();
        assert_eq!((&result.text, &result.pieces), (&again.text, &again.pieces), "{}", self.name);
        result
    }

    /// Checks that it is compacted and that all expectations hold.
    fn check(self) {
        let result = self.compacted();
        let name = &self.name;
        assert_eq!(result.outcome, Outcome::Compacted, "{name}");
        let figures = &result.figures;
        assert!(self.kinds.contains(&figures.kind.as_ref()), "{name} is {}", figures.kind);
        assert!(figures.tokens_after <= figures.budget, "{name}: {figures:?}");
        assert!(result.text.len() < self.text.len(), "{name}");
        let mut end = 0;
        for piece in &result.pieces {
            assert!(piece.output.start >= end, "{name}: pieces overlap");
            end = piece.output.end;
            assert_eq!(result.text[piece.output.clone()], self.text[piece.source.clone()], "{name}");
        }
        if figures.kind != "prose" {
            let sources: Vec<usize> = result.pieces.iter().map(|piece| piece.source.start).collect();
            assert!(sources.is_sorted(), "{name}: {sources:?}");
        }
        if self.lined {
            check_lines(name, &self.text, &result.text);
        } else if figures.kind == "json" {
            check_json(name, &self.text, &result.text);
        }
        let told = |what: &str, part: &str| format!("{name}: {part:?} is {what} in\n{}", result.text);
        for part in &self.kept {
            assert!(self.text.contains(part.as_str()), "{name} has no {part:?}");
            assert!(result.text.contains(part.as_str()), "{}", told("lost", part));
        }
        for part in &self.gone {
            assert!(self.text.contains(part.as_str()), "{name} has no {part:?}");
            assert!(!result.text.contains(part.as_str()), "{}", told("still", part));
        }
    }

    /// Checks that it passes unchanged.
    fn passes(self, reason: PassReason) {
        let result = self.compacted();
        assert_eq!(result.outcome, Outcome::Passed(reason), "{}", self.name);
        assert_eq!(result.text, self.text, "{}", self.name);
        assert!(
            self.kinds.contains(&result.figures.kind.as_ref()),
            "{} is {}",
            self.name,
            result.figures.kind
        );
    }
}

/// Each line is one of the input, or stands for those that are left out in its place and is shorter than they are.
fn check_lines(name: &str, before: &str, after: &str) {
    let lines: Vec<&str> = before.lines().collect();
    let mut next = 0;
    for line in after.lines().filter(|line| !line.is_empty()) {
        let left = line.strip_prefix("[line").and_then(|rest| rest.strip_suffix(" left out]"));
        let Some(left) = left else {
            assert_eq!(lines.get(next), Some(&line), "{name}: {after}");
            next += 1;
            continue;
        };
        let numbers: Vec<usize> =
            left.trim_start_matches('s').trim().split('-').map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers[0], next + 1, "{name}: {after}");
        next = numbers[numbers.len() - 1];
        let left: usize = lines[numbers[0] - 1..next].iter().map(|line| line.len() + 1).sum();
        assert!(left > line.len(), "{name}: {line}\n{after}");
    }
    assert_eq!(next, lines.len(), "{name}: {after}");
}

/// The output is valid JSON, and its numbers are spelled as before, in order.
fn check_json(name: &str, before: &str, after: &str) {
    let lines = serde_json::from_str::<serde_json::Value>(before).is_err();
    let documents: Vec<&str> = if lines { after.lines().collect() } else { vec![after] };
    for document in documents.iter().filter(|document| !document.trim().is_empty()) {
        assert!(serde_json::from_str::<serde_json::Value>(document).is_ok(), "{name}: {document}");
    }
    let written = numbers(before);
    let mut from = written.iter();
    for number in numbers(after) {
        assert!(from.any(|other| *other == number), "{name}: {number} is not where it was");
    }
}

/// The numbers in a JSON text, as spelled.
fn numbers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let start = at;
                while at < bytes.len() && matches!(bytes[at], b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
                {
                    at += 1;
                }
                found.push(&text[start..at]);
            }
            _ => at += 1,
        }
    }
    found
}

#[test]
fn json_documents() {
    fixture("json/pip_list.json")
        .command("pip list --format json")
        .asked("Which version of cryptography is installed?")
        .kind("json")
        .keeps(&[r#"{"name": "cryptography", "version": "48.0.0"}"#])
        .drops(&[r#""name": "asttokens""#])
        .check();
    fixture("json/pip_report_one.json")
        .file("report.json")
        .ranks_code()
        .asked("How is a number of bytes written for people with humanize.naturalsize?")
        .at(0.6)
        .kind("json")
        .keeps(&[
            r#""name": "humanize""#,
            r#""version": "4.17.0""#,
            "naturalsize(",
            r#""sha256": "02d0899527760efe18011944f882df4970943b4cdff7b5a0ba7fed43a576ef98""#,
        ])
        .check();
    fixture("kept/orders.json")
        .asked("What did order 60 weigh?")
        .kind("json")
        .keeps(&[
            r#"{"id":60,"customer":"Ada","total":194.60,"weight":15.000,"placed":"2026-01-18T12:00:00","note":null}"#,
        ])
        .check();
    // The members of a map from names to values are records.
    fixture("json/http_status.json")
        .asked("Which code says that something is unavailable for legal reasons?")
        .kind("json")
        .keeps(&[r#""451": "Unavailable For Legal Reasons""#])
        .drops(&["Switching Protocols"])
        .check();
}

#[test]
fn json_lines() {
    fixture("kept/orders.jsonl")
        .file("orders.jsonl")
        .asked("What did order 50 cost?")
        .at(0.2)
        .kind("json")
        .keeps(&[
            "{\"id\":50,\"customer\":\"Chidi \\\"Chi\\\" O.\",\"total\":159.60,\"weight\":12.500,\"placed\":\"2026-01-15T14:00:00\",\"note\":null}\n",
        ])
        .check();
    fixture("json/go_test.jsonl")
        .command("go test -json ./...")
        .asked("Why does TestSum fail?")
        .at(0.4)
        .kind("json")
        .keeps(&[r"--- FAIL: TestSum (0.00s)\n", r"--- FAIL: TestSum/four (0.00s)\n"])
        .check();
    fixture("json/cargo_messages.jsonl")
        .asked("Where was the library kit built?")
        .at(0.4)
        .kind("json")
        .keeps(&[
            r#""package_id":"path+file:///home/user/kit#kit@0.1.0""#,
            r#"{"reason":"build-finished","success":true}"#,
        ])
        .check();
    // The level marks critical records, without any query.
    fixture("json/pino.jsonl")
        .at(0.2)
        .kind("json")
        .keeps(&[
            r#""level":50,"time":1795972128575"#,
            r#"card <4711> \"declined\" by issuer"#,
            r#""url":"/accounts/357?page=51""#,
        ])
        .check();
}

#[test]
fn code_by_functions() {
    fixture("code/graphlib.py")
        .file("graphlib.py")
        .ranks_code()
        .asked("How is a cycle found?")
        .at(0.4)
        .kind("code")
        .keeps(&["class TopologicalSorter:\n", "    def _find_cycle(self):\n        n2i = self._node2info\n"])
        .check();
    fixture("code/dent.rs")
        .command("cat src/dent.rs")
        .ranks_code()
        .asked("How does a directory entry tell its metadata?")
        .at(0.3)
        .kind("code")
        .keeps(&[
            "impl DirEntry {\n",
            "    pub fn metadata(&self) -> Result<fs::Metadata> {\n        self.metadata_internal()\n    }\n",
        ])
        .check();
    fixture("code/proxy.go")
        .ranks_code()
        .asked("When does the proxy close because it was updated?")
        .at(0.4)
        .kind("code")
        .keeps(&["func (p *Proxy) closeOnUpdate() {\n"])
        .check();
    fixture("code/range-tree.ts")
        .file("range-tree.ts")
        .ranks_code()
        .asked("How is a tree split at a value?")
        .at(0.5)
        .kind("code")
        .keeps(&["export class RangeTree {\n", "  split(value: number): RangeTree {\n"])
        .check();
}

#[test]
fn code_stays_whole_by_default() {
    fixture("code/proxy.go")
        .asked("When does the proxy close because it was updated?")
        .kind("code")
        .passes(PassReason::Code);
    fixture("code/versions.sh")
        .command("cat ci/check_versions.sh")
        .asked("Which versions are compared?")
        .at(0.3)
        .kind("code")
        .passes(PassReason::Code);
    fixture("code/referrer.java")
        .file("RNInstallReferrerClient.java")
        .at(0.3)
        .kind("code")
        .passes(PassReason::Code);
}

#[test]
fn diffs() {
    fixture("diff/log.diff")
        .command("git log -p -3 --no-merges")
        .asked("Which function gives the file name as UTF-16?")
        .kind("diff")
        .keeps(&[
            "diff --git a/libloading/src/as_filename.rs b/libloading/src/as_filename.rs\n",
            "@@ -0,0 +1,242 @@\n",
        ])
        .check();
    fixture("diff/show.diff")
        .asked("What changed in ensure_compatible_types?")
        .at(0.6)
        .kind("diff")
        .keeps(&["diff --git a/libloading/src/util.rs b/libloading/src/util.rs\n", "@@ -2,11 +2,11 @@"])
        .check();
    fixture("diff/binary.diff")
        .file("change.patch")
        .asked("Did the mode of run.sh change?")
        .at(0.4)
        .kind("diff")
        .keeps(&["diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"])
        .drops(&["zcmdlXzD9aO2D6Cw"])
        .check();
    fixture("diff/mail.diff")
        .asked("What did the change do to ensure_compatible_types?")
        .at(0.6)
        .kind("diff")
        .keeps(&[
            "Subject: ",
            "diff --git a/libloading/src/util.rs b/libloading/src/util.rs\n",
            "@@ -2,11 +2,11 @@",
        ])
        .check();
}

#[test]
fn fixed_columns() {
    fixture("columns/ps.txt")
        .command("ps -eo user,pid,ppid,pcpu,pmem,vsz,stat,start,time,comm")
        .asked("Which process is ksoftirqd/1?")
        .kind("table")
        .keeps(&[
            "USER       PID  PPID %CPU %MEM    VSZ STAT  STARTED     TIME COMMAND\n",
            "root        22     2  0.0  0.0      0 S    16:45:38 00:00:00 ksoftirqd/1\n",
        ])
        .check();
    fixture("columns/dpkg-l.txt")
        .asked("Which version of gnupg-utils is installed?")
        .at(0.2)
        .kind("table")
        .keeps(&["||/ Name ", "ii  gnupg-utils                               2.2.40-1.1+deb12u2"])
        .check();
    fixture("columns/psql.txt")
        .asked("Which order of Dora costs 60.23?")
        .at(0.2)
        .kind("table")
        .keeps(&[
            " id |     customer      | total  |       placed        |      note      \n",
            " 19 | Dora              |  60.23 | 2026-01-06 13:00:00 | ",
        ])
        .check();
    fixture("columns/pip-list.txt")
        .command("pip list")
        .asked("Which version of cryptography is installed?")
        .at(0.2)
        .kind("table")
        .keeps(&["Package                   Version\n", "cryptography              48.0.0\n"])
        .check();
    // Records of a long table are named by their first lines.
    fixture("kept/settings.txt")
        .asked("What is the setting of autovacuum_naptime?")
        .at(0.2)
        .kind("table")
        .keeps(&["name       | autovacuum_naptime\nsetting    | 60\n"])
        .check();
}

#[test]
fn tables_of_sentences() {
    let said = [
        "the lamp at the gate is broken again",
        "nobody came to the meeting this month",
        "the new clock is slow",
    ];
    for separator in [",", "\t"] {
        let mut text = ["id", "author", "comment"].join(separator) + "\n";
        for row in 0..80 {
            let comment =
                if row == 41 { "the key of the boiler room hangs behind the door" } else { said[row % 3] };
            text.push_str(&[row.to_string().as_str(), ["Ada", "Ben"][row % 2], comment].join(separator));
            text.push('\n');
        }
        given("comments", text)
            .asked("Where is the key of the boiler room?")
            .kind("table")
            .keeps(&[
                &["id", "author", "comment"].join(separator),
                &["41", "Ben", "the key of the boiler room hangs behind the door"].join(separator),
            ])
            .check();
    }
}

#[test]
fn delimited_tables() {
    fixture("csv/orders-csv.txt")
        .file("orders.csv")
        .asked("Which order did Ada place on 24 January 2026?")
        .kind("table")
        .keeps(&["id,customer,total,placed,note\n", "\n80,Ada,253.60,2026-01-24 08:00:00,"])
        .check();
    fixture("csv/orders-tsv.txt")
        .asked("Which order has the total 63.40?")
        .kind("table")
        .keeps(&["id\tcustomer\ttotal\tplaced\tnote\n", "\n20\tAda\t63.40\t2026-01-06 20:00:00"])
        .check();
    fixture("csv/markdown.txt")
        .asked("What did the order with fragile glass cost?")
        .at(0.3)
        .kind("table")
        .keeps(&[
            "| id |     customer      | total |       placed        |      note      |\n|----|-",
            "| 18 | Chidi \"Chi\" O.    | 57.06 | 2026-01-06 06:00:00 | fragile, glass |\n",
        ])
        .check();
    fixture("csv/orders-pipe.txt")
        .command("psql -A -c 'select * from orders'")
        .asked("What is the total of order 19?")
        .at(0.35)
        .kind("table")
        .keeps(&["id|customer|total|placed|note\n", "\n19|Dora|60.23|2026-01-06 13:00:00|\n"])
        .check();
}

#[test]
fn lines_of_similar_shape() {
    fixture("lines/sysctl.txt")
        .command("sysctl -a")
        .asked("What is dev.tty.legacy_tiocsti set to?")
        .at(0.2)
        .kind("lines")
        .keeps(&["dev.tty.legacy_tiocsti = 1\n"])
        .check();
    fixture("lines/rg-flat.txt")
        .asked("Where is HashMap used in overlap.rs?")
        .kind("lines")
        .keeps(&[
            "src/eval/scoring/overlap.rs:3:use std::collections::HashMap;\n",
            "src/eval/scoring/overlap.rs:16:    let mut open: HashMap<&str, usize> = HashMap::new();\n",
        ])
        .check();
    fixture("lines/find.txt")
        .asked("Where is the zone file for Belgrade?")
        .at(0.2)
        .kind("lines")
        .keeps(&["/usr/share/zoneinfo/Europe/Belgrade\n"])
        .check();
    fixture("lines/grep-c2.txt")
        .command("grep -rn -C2 unwrap_or_default src")
        .asked("How does the embedded upstream find the path of a call?")
        .kind("lines")
        .keeps(&["src/upstream/embedded.rs:72:        let path = call.path.split('?').next().unwrap_or_default();\n"])
        .check();
    // Records of several lines, each kept with the line that names it.
    fixture("kept/apt-show.txt")
        .command("apt-cache show git curl nginx sqlite3 jq psmisc htop make")
        .asked("Which version of jq is offered?")
        .at(0.3)
        .kind("lines")
        .kind("passages")
        .keeps(&["Package: jq\nVersion: 1.6"])
        .check();
}

#[test]
fn logs_with_dates() {
    fixture("log/log-dated.txt")
        .kind("log")
        .keeps(&[
            "2026-11-29 16:55:36,102 ERROR shop.db: order 9061 cannot be priced\n",
            "2026-11-29 16:55:36,106 ERROR shop.http: order 9118 cannot be priced\n",
            "shop.cart.CartError: no rate for SEK\n",
        ])
        .check();
    fixture("log/log-tracing.txt")
        .file("server.log")
        .at(0.2)
        .kind("log")
        .keeps(&["2026-11-29T16:57:09.988503Z ERROR logs: payment refused by the bank order=51\n"])
        .check();
    fixture("log/log-java.txt")
        .asked("Why was order 33 lost?")
        .at(0.3)
        .kind("log")
        .keeps(&[
            "SEVERE: order 33 lost\norg.shop.web.Server$StartException: the service cannot start\n",
            "Caused by: java.lang.IllegalStateException: no connection to jdbc:shop://db.internal/orders\n",
            "Caused by: java.net.ConnectException: Connection refused\n",
        ])
        .check();
    fixture("log/log-env_logger.txt")
        .at(0.1)
        .kind("log")
        .keeps(&["[2026-11-29T16:57:09Z ERROR logs] cannot open /var/lib/shop/77.db: too many open files\n"])
        .check();
}

#[test]
fn logs_without_dates() {
    fixture("log/log-plain.txt")
        .command("docker logs shop")
        .kind("log")
        .keeps(&[
            "ERROR:shop.db:order 9061 cannot be priced\n",
            "ERROR:shop.http:order 9118 cannot be priced\n",
            "shop.cart.CartError: no rate for SEK\n",
        ])
        .check();
    fixture("log/log-worker.txt")
        .kind("log")
        .keeps(&["shop.db ERROR order 9061 cannot be priced\n", "shop.cart.CartError: no rate for SEK\n"])
        .check();
    fixture("log/log-bracket.txt")
        .asked("Which order could not be priced?")
        .kind("log")
        .keeps(&[
            "[ERROR] (MainThread) order 9061 cannot be priced\n",
            "[ERROR] (MainThread) order 9118 cannot be priced\n",
        ])
        .check();
    fixture("log/log-logfmt.txt")
        .at(0.1)
        .kind("log")
        .keeps(&[
            "level=error component=queue msg=\"publish failed: broker closed the connection\" attempt=3 batch=48213\n",
        ])
        .check();
}

#[test]
fn traces() {
    fixture("trace/py-chain.txt")
        .asked("Why can the request not be answered?")
        .at(0.45)
        .kind("trace")
        .keeps(&[
            "json.decoder.JSONDecodeError: Expecting value: line 1 column 20 (char 19)\n",
            "KeyError: 'SEK'\n",
            "shop.cart.CartError: no rate for SEK\n",
            "KeyError: 'fallback'\n",
            "RuntimeError: the request cannot be answered",
        ])
        .check();
    fixture("trace/java-trace.txt")
        .at(0.4)
        .kind("trace")
        .keeps(&[
            "Exception in thread \"main\" java.util.concurrent.ExecutionException: org.shop.web.Server$StartException: the service cannot start\n",
            "Caused by: org.shop.web.Server$StartException: the service cannot start\n",
            "Caused by: java.lang.IllegalStateException: no connection to jdbc:shop://db.internal/orders\n\tat org.shop.db.Pool.connect(Pool.java:3)\n",
            "Caused by: java.net.ConnectException: Connection refused\n",
        ])
        .drops(&["ForEachOps$ForEachOp$OfRef"])
        .check();
    fixture("trace/js-deep.txt")
        .command("node deep.js")
        .asked("Why does the server not start?")
        .at(0.45)
        .kind("trace")
        .keeps(&[
            "TypeError: the server cannot start\n",
            "[cause]: Error: cannot read /etc/shop/none.json\n",
            "[cause]: Error: ENOENT: no such file or directory, open '/etc/shop/none.json'\n",
        ])
        .check();
    fixture("trace/rs-trace1.txt")
        .at(0.4)
        .kind("trace")
        .keeps(&[
            "thread '<unnamed>' (19114) panicked at shop/src/lib.rs:6:45:\nno rate\n",
            "thread 'main' (19113) panicked at shop/src/main.rs:3:73:\ncalled `Result::unwrap()` on an `Err` value: Any { .. }\n",
        ])
        .check();
    fixture("trace/go-deadlock.txt")
        .at(0.5)
        .kind("trace")
        .keeps(&[
            "fatal error: all goroutines are asleep - deadlock!\n",
            "goroutine 1 [semacquire]:\n",
            "/home/dev/shop/main.go:8 +0xdf\n",
        ])
        .check();
}

#[test]
fn tests_that_failed() {
    fixture("tests/pytest-v.txt")
        .command("pytest -v")
        .asked("Why does test_total_dollars fail?")
        .kind("tests")
        .keeps(&[
            "E       AssertionError: assert 42.12 == 42.0\n",
            "tests/test_cart.py:27: AssertionError\n",
            "5 failed, 66 passed, 1 skipped",
        ])
        .drops(&["test_add[3] PASSED"])
        .check();
    fixture("tests/cargo-test.txt")
        .at(0.3)
        .kind("tests")
        .keeps(&[
            "thread 'tests::missing' (19040) panicked at shop/src/lib.rs:6:45:\nno rate\n",
            "panicked at shop/src/lib.rs:18:26:\nassertion `left == right` failed\n",
            "test result: FAILED. 25 passed; 3 failed; 1 ignored",
        ])
        .drops(&["test tests::a1 ... ok"])
        .check();
    fixture("tests/unittest-v.txt")
        .at(0.3)
        .kind("tests")
        .keeps(&[
            "line 16, in test_total\n",
            "AssertionError: 4.5 != 4.6\n",
            "FAILED (failures=2, errors=1, skipped=1)",
        ])
        .drops(&["test_many_10 (__main__.CartTest.test_many_10) ... ok"])
        .check();
    fixture("tests/go-test-v.txt")
        .command("go test -v ./...")
        .at(0.35)
        .kind("tests")
        .keeps(&[
            "    shop_test.go:3: Total(2) = 4, want 5\n",
            "--- FAIL: TestTotal (0.00s)\n",
            "FAIL\texample.org/shop/shop\t0.009s\n",
        ])
        .drops(&["--- PASS: TestMany/case_14"])
        .check();
    fixture("tests/ctest.txt")
        .asked("Which test failed?")
        .at(0.3)
        .kind("tests")
        .keeps(&["\t 13 - item_13 (Failed)\n", "96% tests passed, 1 tests failed out of 25\n"])
        .drops(&["Test #20: item_20"])
        .check();
    fixture("tests/jest.txt")
        .at(0.5)
        .kind("tests")
        .keeps(&[
            "    Expected: 42\n    Received: 42.12\n",
            "at Object.toBe (jt/cart.test.js:4:69)",
            "Tests:       3 failed, 2 skipped, 60 passed, 65 total\n",
        ])
        .drops(&["✓ adds item 12"])
        .check();
}

#[test]
fn builds() {
    fixture("tests/make.txt")
        .command("make -k")
        .at(0.15)
        .kind("tests")
        .keeps(&[
            "main.c:4:49: error: 'struct cart' has no member named 'totl'; did you mean 'total'?\n",
            "make: *** [Makefile:8: main.o] Error 1\n",
        ])
        .check();
    fixture("tests/cargo-build.txt")
        .asked("Where is the moved value borrowed?")
        .at(0.4)
        .kind("tests")
        .keeps(&[
            "error[E0382]: borrow of moved value: `c`\n  --> shop/src/lib.rs:25:61\n",
            "error: could not compile `shop` (lib) due to 4 previous errors",
        ])
        .check();
    fixture("tests/gcc.txt")
        .at(0.4)
        .kind("tests")
        .keeps(&[
            "main.c:4:49: error: ‘struct cart’ has no member named ‘totl’; did you mean ‘total’?\n",
            "main.c:10:19: error: expected ‘;’ before ‘return’\n",
        ])
        .check();
    fixture("tests/pip.txt")
        .asked("Which requirement could not be satisfied?")
        .at(0.3)
        .kind("tests")
        .keeps(&[
            "ERROR: Could not find a version that satisfies the requirement nosuchpackage-zz==9 (from versions: none)\n",
            "ERROR: No matching distribution found for nosuchpackage-zz==9\n",
        ])
        .check();
    // One error among 42 warnings, without a query.
    fixture("kept/clippy.txt")
        .command("cargo clippy")
        .at(0.15)
        .kind("tests")
        .keeps(&[
            "error: approximate value of `f{32, 64}::consts::PI` found\n  --> src/lib.rs:15:46\n",
            "error: could not compile `tally` (lib) due to 1 previous error; 42 warnings emitted",
        ])
        .check();
}

#[test]
fn html_pages() {
    fixture("html/npm.html")
        .media_type("text/html; charset=utf-8")
        .asked("What does npm ls --depth do?")
        .kind("html")
        .keeps(&[
            "<h4 id=\"depth\"><code>depth</code></h4>",
            "The depth to go when recursing packages for <code>npm ls</code>.",
        ])
        .drops(&["<style"])
        .check();
    fixture("html/gtkdoc.html")
        .asked("What does xsltStrxfrm return?")
        .at(0.3)
        .kind("html")
        .keeps(&["xsltStrxfrm ()</h3>", "the transformed string or NULL on error"])
        .drops(&["navigation"])
        .check();
    fixture("html/mkdocs.html")
        .command("curl -s https://example.org/intl/")
        .asked("How can ICU data be provided at runtime?")
        .at(0.2)
        .kind("html")
        .keeps(&[
            "<h4 id=\"providing-icu-data-at-runtime\">Providing ICU data at runtime</h4>",
            "node --icu-data-dir=/runtime/directory/with/dat/file",
        ])
        .drops(&["<script", "Keyboard Shortcuts"])
        .check();
}

#[test]
fn chats_captions_and_mails() {
    fixture("turns/teams.txt")
        .asked("Who spoke of torture?")
        .kind("turns")
        .keeps(&["[13:19] Ben Okoro: No one shall be subjected to torture or to cruel, inhuman or degrading"])
        .check();
    fixture("turns/zoom.txt")
        .file("meeting_saved_chat.txt")
        .asked("Who spoke of torture?")
        .kind("turns")
        .keeps(&[
            "[Carla Diaz] 16:45:00\nNo one shall be subjected to torture or to cruel, inhuman or degrading",
        ])
        .check();
    fixture("turns/irc.log")
        .asked("Who spoke of torture?")
        .kind("turns")
        .keeps(&["19:38 <zoë> No one shall be subjected to torture or to cruel, inhuman or degrading"])
        .drops(&["guest38 [~g@example.org] has joined"])
        .check();
    fixture("turns/captions.srt")
        .file("talk.srt")
        .asked("What is said about torture?")
        .at(0.2)
        .kind("turns")
        .keeps(&[
            "59\n00:02:53,040 --> 00:02:55,560\nNo one shall be subjected to torture or to\n",
            "60\n00:02:55,680 --> 00:02:58,800\ncruel, inhuman or degrading",
        ])
        .check();
    fixture("turns/interview.txt")
        .asked("What does paragraph 9 say?")
        .at(0.35)
        .kind("turns")
        .keeps(&[
            "Q: What does paragraph 9 say?\n",
            "A: All human beings are born free and equal in dignity and rights.",
        ])
        .check();
    // A repeated quotation is kept only once.
    fixture("turns/thread.mbox")
        .asked("What is said about torture?")
        .kind("turns")
        .keeps(&["\nNo one shall be subjected to torture or to cruel, inhuman or degrading\ntreatment or punishment.\n"])
        .drops(&[">>> No one shall be subjected to torture"])
        .check();
}

#[test]
fn text_of_pdfs() {
    fixture("pages/marked.txt")
        .asked("Shall education be free?")
        .at(0.2)
        .kind("pages")
        .keeps(&[
            "Article 26\nEveryone has the right to education. Education shall be\nfree, at least in the elementary and fundamental stages.",
        ])
        .drops(&["Declaration of Human Rights - draft 4"])
        .check();
    fixture("pages/layout.txt")
        .file("declaration.pdf")
        .asked("Shall education be free?")
        .at(0.2)
        .kind("pages")
        .keeps(&[
            "       Article 26\n       Everyone has the right to education. Education shall be\n       free, at least in the elementary and fundamental stages.",
        ])
        .check();
    fixture("pages/groff.txt")
        .asked("Who has the right to marry?")
        .at(0.2)
        .kind("pages")
        .keeps(&["Article 16\n       Men and women of full age, without any\nlimitation due to race"])
        .check();
}

#[test]
fn prose_in_other_scripts() {
    fixture("scripts/arb.txt")
        .asked("هل لكل فرد حق التمتع بجنسية؟")
        .at(0.2)
        .kind("prose")
        .kind("passages")
        .keeps(&["المادة 15\n", "لكل فرد حق التمتع بجنسية ما."])
        .check();
}

/// Ten passages in a retrieval application's layout; the query is about the fifth.
fn passages(layout: impl Fn(usize, &str, &str) -> String) -> String {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/eval/corpus/documents.txt");
    let corpus = std::fs::read_to_string(corpus).unwrap();
    let named = corpus.lines().filter_map(|line| {
        let (_, named) = line.split_once("(Title: ")?;
        let end = named.find(") ")?;
        Some((&named[..end], &named[end + 2..]))
    });
    named.skip(5).take(10).enumerate().map(|(at, (name, text))| layout(at + 1, name, text)).collect()
}

#[test]
fn passages_in_layouts_of_retrieval() {
    let xml = |n, name: &str, text: &str| {
        format!(
            "<document index=\"{n}\">\n<source>{name}</source>\n<document_content>\n{text}\n</document_content>\n</document>\n"
        )
    };
    let cases = [
        ("tags", "passages", passages(xml), "<document index=\"5\">\n<source>Mayflower</source>\n"),
        (
            "a line of the source",
            "passages",
            passages(|_, name, text| format!("Source: {name}\n{text}\n\n")),
            "Source: Mayflower\n",
        ),
        (
            "brackets",
            "prose",
            passages(|n, name, text| format!("[{n}] {name}\n{text}\n\n")),
            "[5] Mayflower\n",
        ),
        (
            "headings",
            "prose",
            passages(|_, name, text| format!("### {name}\n\n{text}\n\n")),
            "### Mayflower\n",
        ),
        (
            "attributes",
            "passages",
            passages(|n, name, text| format!("<doc id=\"{n}\" title=\"{name}\">\n{text}\n</doc>\n")),
            "<doc id=\"5\" title=\"Mayflower\">\n",
        ),
        (
            "the source behind",
            "passages",
            passages(|n, name, text| format!("{text}\n(Source: {name}, p. {n})\n\n")),
            "(Source: Mayflower, p. 5)\n",
        ),
    ];
    for (name, kind, text, label) in cases {
        given(name, text)
            .asked("How many years before the voyage did Captain Jones become master of the Mayflower?")
            .at(0.3)
            .kind(kind)
            .keeps(&[label, "Captain Jones became master of the Mayflower 11 years prior"])
            .check();
    }
}

/// Of a unit that is longer than the budget, a part is kept.
#[test]
fn units_longer_than_the_budget() {
    let shards = |at: usize, to: usize| -> String {
        (at..to).map(|at| format!("shard {at} answered after {} ms, ", at * 13)).collect()
    };
    let needle = "the rate for SEK was withdrawn by the bank of Uppsala";
    let long = format!("{}{needle}, {}", shards(0, 150), shards(150, 300));
    let query = "Who withdrew the rate for SEK?";

    let record =
        |at: usize| format!("2026-11-29 16:55:{:02},102 INFO shop.queue: batch {at} is stored\n", at % 60);
    let records: String = (0..50).map(record).collect();
    given("a record of a log", format!("{records}2026-11-29 16:56:01,102 ERROR shop.db: {long}\n{records}"))
        .asked(query)
        .kind("log")
        .keeps(&[needle])
        .check();

    let found: String =
        (0..40).map(|at| format!("src/d{at}.rs:{at}:    let rate{at} = read({at});\n")).collect();
    let minified: String = (0..300).map(|at| format!("function f{at}(a,b){{return a+b*{at}}};")).collect();
    given(
        "a line of minified code",
        format!("{found}dist/b.min.js:1:{minified}function withdrawRate(s){{drop(s)}};{minified}\n{found}"),
    )
    .command("grep -rn rate .")
    .asked("Where is withdrawRate?")
    .kind("lines")
    .keeps(&["function withdrawRate(s)"])
    .check();

    let rows = |separator: &str| -> String {
        (0..40)
            .map(|at| ["", &at.to_string(), "Ada", "12.50", "no note", ""].join(separator) + "\n")
            .collect()
    };
    let csv: String = (0..40).map(|at| format!("{at},Ada,12.50,no note\n")).collect();
    given("a cell of CSV", format!("id,customer,total,note\n{csv}40,Ben,1.50,\"{long}\"\n{csv}"))
        .file("orders.csv")
        .asked(query)
        .kind("table")
        .keeps(&[needle])
        .check();
    given(
        "a cell of Markdown",
        format!(
            "| id | customer | total | note |\n|---|---|---|---|\n{0}| 40 | Ben | 1.50 | {long} |\n{0}",
            rows(" | ").replace("\n ", "\n").replace(" \n", "\n").trim_start()
        ),
    )
    .asked(query)
    .kind("table")
    .keeps(&[needle])
    .check();

    let page = |inner: &str| {
        let rows: String =
            (0..30).map(|at| format!("<p>The batch {at} was stored by worker {at}.</p>\n")).collect();
        format!(
            "<!DOCTYPE html>\n<html><head><title>Orders</title></head><body>\n{rows}{inner}\n{rows}</body></html>\n"
        )
    };
    for (name, inner) in [
        ("a cell of HTML", format!("<table><tr><td>40</td><td>{long}</td></tr></table>")),
        ("preformatted HTML", format!("<pre>{long}</pre>")),
    ] {
        given(name, page(&inner)).asked(query).kind("html").keeps(&[needle]).check();
    }

    let tags =
        |of: usize| -> Vec<String> { (0..100).map(|at| format!("harbour{}", of * 100 + at)).collect() };
    let documents: Vec<_> = (0..8).map(|at| serde_json::json!({ "id": at, "tags": tags(at) })).collect();
    let document = serde_json::json!({ "documents": documents, "next": null }).to_string();
    given("a record of short strings", document)
        .asked("Which document has the tag harbour342?")
        .at(0.1)
        .kind("json")
        .keeps(&["\"harbour342\"", "\"id\":3"])
        .check();

    let lines: String = (0..300)
        .map(|at| {
            format!("-    let old_{at} = read(left, {at})?;\n+    let new_{at} = read(right, {at})?;\n")
        })
        .collect();
    given(
        "a hunk",
        format!(
            "diff --git a/src/a.rs b/src/a.rs\n--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,300 +1,300 @@\n{lines}"
        ),
    )
    .asked("What became of old_217?")
    .kind("diff")
    .keeps(&[
        "diff --git a/src/a.rs b/src/a.rs\n",
        "@@ -1,300 +1,300 @@\n",
        "let old_217 = read(left, 217)?;\n+    let new_217 =",
    ])
    .check();
}

#[test]
fn incompressible_json_stays_json() {
    let case = fixture("kept/explain.json").asked("Which scan took longest?").at(0.4);
    let result = case.compacted();
    assert!(serde_json::from_str::<serde_json::Value>(&result.text).is_ok(), "{}", result.text);
    assert_eq!(result.figures.kind, "json");
}

#[test]
fn traces_after_other_output() {
    fixture("kept/pool.txt")
        .command("python3 pool.py")
        .at(0.3)
        .kind("trace")
        .kind("log")
        .keeps(&[
            "ValueError: invalid literal for int() with base 10: '12a'\n",
            "line 12, in load\n",
            "StageError: shard 57 cannot be read\n",
        ])
        .check();
    fixture("kept/batch.txt")
        .asked("Why was the import given up?")
        .at(0.3)
        .kind("trace")
        .kind("log")
        .keeps(&[
            "Exception in thread \"main\" org.shop.Batch$BatchException: the import was given up\n",
            "Caused by: java.lang.IllegalArgumentException: row 311 of orders.csv is no number\n\tat org.shop.Batch.row(Batch.java:6)\n",
            "Caused by: java.lang.NumberFormatException: For input string: \"31l\"\n",
        ])
        .check();
}

#[test]
fn every_error_of_a_build_with_its_location() {
    for share in [0.4, 0.6] {
        fixture("tests/cargo-build.txt")
            .command("cargo build")
            .at(share)
            .kind("tests")
            .keeps(&[
                "error[E0106]: missing lifetime specifier\n  --> shop/src/lib.rs:23:20\n",
                "error[E0382]: borrow of moved value: `c`\n  --> shop/src/lib.rs:25:61\n",
                "error: could not compile `shop` (lib) due to 4 previous errors",
            ])
            .check();
    }
}

#[test]
fn failures_among_many_passed_subtests() {
    fixture("tests/node-tap.txt")
        .command("node --test")
        .at(0.35)
        .kind("tests")
        .keeps(&[
            "42.12 !== 42\n",
            "location: '/home/dev/shop/cart.test.js:4:77'\n",
            "error: 'no rate for SEK'\n",
            "location: '/home/dev/shop/cart.test.js:5:1'\n",
        ])
        .drops(&["# Subtest: adds item 12\n"])
        .check();
}

#[test]
fn failed_assertions_with_their_location() {
    fixture("tests/pytest-short.txt")
        .command("pytest --tb=short")
        .at(0.35)
        .kind("tests")
        .keeps(&[
            "shop/cart.py:15: in add\n",
            "E   ValueError: count must be positive, not -1\n",
            "FAILED tests/test_cart.py::test_no_rate - shop.cart.CartError: no rate for SEK\n",
            "5 failed, 66 passed",
        ])
        .check();
}

#[test]
fn failed_assertions_of_jest_with_their_location() {
    fixture("tests/jest.txt")
        .asked("Which total was expected and which received?")
        .at(0.35)
        .kind("tests")
        .keeps(&[
            "    Expected: 42\n    Received: 42.12\n",
            "at Object.toBe (jt/cart.test.js:4:69)",
            "  ● cart › throws\n",
        ])
        .check();
}

#[test]
fn logs_of_failed_go_tests() {
    fixture("tests/go-logged.txt")
        .command("go test -v ./...")
        .at(0.2)
        .kind("tests")
        .keeps(&[
            "=== RUN   TestMissing\n    till_test.go:23: the wrong error:\n          got:  80 cents are missing\n          want: 80 cents missing\n--- FAIL: TestMissing (0.00s)\n",
            "=== RUN   TestRound/cents_13\n    till_test.go:36: Round(13) = 10, want 15\n",
            "=== RUN   TestRound/cents_14\n    till_test.go:36: Round(14) = 10, want 15\n",
            "FAIL\texample.org/till\t0.010s\n",
        ])
        .drops(&["--- PASS: TestReceipt/line_7", "paid 112, back 12"])
        .check();
}

#[test]
fn commits_with_their_author_and_subject() {
    fixture("lines/git-log.txt")
        .command("git log")
        .asked("Who let customers pay in instalments?")
        .kind("lines")
        .keeps(&["commit 819c6ffcecdb0384a08c56cd961c46efd5c2327c\nAuthor: Ada Byron <ada@example.org>\nDate:   Sat Feb 7 09:17:00 2026 +0100\n\n    Let customers pay in instalments\n"])
        .check();
    fixture("lines/git-log.txt")
        .asked("How long does a search over all shops take since it is in memory?")
        .kind("lines")
        .keeps(&["commit 14866cd5d729e28986ddeeb37cd28d29cb8df5e7\nAuthor: Dora Lind <dora@example.org>\nDate:   Thu Feb 19 13:45:00 2026 +0100\n\n    Speed up the search for a product\n", "A search over all shops takes 4 ms"])
        .check();
    fixture("lines/git-log-stat.txt")
        .command("git log --stat -12")
        .asked("What opens the drawer when it is locked?")
        .at(0.3)
        .kind("lines")
        .keeps(&["    Lock the drawer after three wrong codes\n", "A key of the manager opens it at once."])
        .check();
}

#[test]
fn errors_in_output_embedded_in_json() {
    fixture("json/command.json")
        .at(0.2)
        .kind("json")
        .keeps(&["ERROR mirror: copy of shelf-43.db failed: checksum 9af1 is not 77c0", "\"exit_code\": 3"])
        .check();
}

#[test]
fn queries_by_name() {
    fixture("diff/log.diff")
        .asked("What changed in Cargo.lock?")
        .kind("diff")
        .keeps(&["diff --git a/libloading/Cargo.lock b/libloading/Cargo.lock\n", "@@ -1,47 +1,40 @@\n"])
        .check();
}

#[test]
fn queries_by_name_in_html() {
    fixture("html/sphinx.html")
        .asked("What does textwrap.dedent do?")
        .at(0.2)
        .kind("html")
        .keeps(&["<dt class=\"sig sig-object py\" id=\"textwrap.dedent\">"])
        .check();
}

#[test]
fn sections_of_html_with_their_heading() {
    fixture("html/alabaster.html")
        .asked("How do I download a specific version of an S3 object?")
        .at(0.2)
        .kind("html")
        .keeps(&[
            "<h1>Downloading a specific version of an S3 object",
            "<p>This example shows how to download a specific version of an\nS3 object.</p>",
        ])
        .check();
}

#[test]
fn headings_in_other_scripts() {
    for (file, query, kept) in [
        ("cmn_hans", "教育应当免费吗？", &["第二十六条\n", "人人都有受教育的权利,教育应当免费"][..]),
        (
            "hin",
            "क्या किसी को शारीरिक यातना दी जा सकती है?",
            &["अनुच्छेद ५.\n", "किसी को भी शारीरिक यातना न दी जाएगी"],
        ),
    ] {
        fixture(&format!("scripts/{file}.txt"))
            .asked(query)
            .at(0.2)
            .kind("prose")
            .kind("passages")
            .keeps(kept)
            .check();
    }
}

#[test]
fn mails_with_their_sender() {
    fixture("turns/thread.mbox")
        .asked("Who wrote about torture?")
        .kind("turns")
        .keeps(&["From: Ben Okoro <ben@example.org>\n", "\nNo one shall be subjected to torture"])
        .drops(&["X-Mailer: mailbox\n"])
        .check();
}

#[test]
fn pages_with_their_mark() {
    fixture("pages/marked.txt")
        .asked("Shall education be free?")
        .at(0.2)
        .kind("pages")
        .keeps(&["[page 8]\n", "Article 26\nEveryone has the right to education."])
        .check();
}

#[test]
fn page_marks_at_the_foot() {
    fixture("pages/layout.txt")
        .asked("Shall education be free?")
        .at(0.2)
        .kind("pages")
        .keeps(&["Everyone has the right to education. Education shall be\n", "Page 8 of 9\n"])
        .check();
}

#[test]
fn saved_pages_and_templates() {
    fixture("html/mkdocs.html")
        .file("docs/intl.html")
        .asked("How can ICU data be provided at runtime?")
        .at(0.2)
        .kind("html")
        .keeps(&["node --icu-data-dir=/runtime/directory/with/dat/file"])
        .drops(&["<script"])
        .check();
    fixture("html/npm.html")
        .command("cat npm-ls.html")
        .asked("What does npm ls --depth do?")
        .kind("html")
        .keeps(&["The depth to go when recursing packages for <code>npm ls</code>."])
        .check();
    let entry = "  <li class=\"entry\"><a href=\"{{ entry.url }}\">{{ entry.title }}</a>: what was said of it in the \
                 minutes of the last meeting of the council</li>\n";
    let template =
        format!("<!doctype html>\n<html>\n<body>\n<ul>\n{}</ul>\n</body>\n</html>\n", entry.repeat(20));
    let shell = format!(
        "<!doctype html>\n<html>\n<head>\n{}</head>\n<body><div id=\"app\"></div></body>\n</html>\n",
        "<link rel=\"preload\" href=\"/assets/chunk-4f1a.js\" as=\"script\">\n".repeat(30)
    );
    for (name, text) in [("template", template), ("shell", shell)] {
        given(name, text)
            .file("src/index.html")
            .asked("What was said?")
            .kind("html")
            .passes(PassReason::Code);
    }
}

#[test]
fn records_of_xml_with_their_own_tags() {
    fixture("xml/feed.xml")
        .file("feed.xml")
        .asked("Shall education be free?")
        .at(0.2)
        .kind("xml")
        .keeps(&[
            "    <item>\n      <title>Article 26</title>\n",
            "Education shall be free, at least in the elementary and fundamental stages.",
        ])
        .check();
    // Each record that is kept is kept from its start to its end tag.
    let case = fixture("xml/feed.xml").asked("Who may take part in the government?").at(0.25);
    let kept = case.compacted().text;
    let (mut open, mut records) = (false, 0);
    for line in kept.lines().map(str::trim) {
        match line {
            "<item>" => {
                assert!(!open, "{kept}");
                (open, records) = (true, records + 1);
            }
            _ if line.ends_with("</item>") => {
                assert!(open, "{kept}");
                open = false;
            }
            _ => {}
        }
    }
    assert!(!open && (1..26).contains(&records), "{kept}");
    // Settings are kept whole.
    let dependency = "  <dependency>\n    <groupId>org.example</groupId>\n    <artifactId>kit</artifactId>\n    \
                      <version>1.2.3</version>\n  </dependency>\n";
    let settings = format!("<?xml version=\"1.0\"?>\n<project>\n{}</project>\n", dependency.repeat(20));
    given("settings", settings).file("pom.xml").asked("Which version?").kind("xml").passes(PassReason::Code);
}

#[test]
fn short_records_stay_whole() {
    let record = |n: usize| {
        format!(
            "<url><loc>https://example.org/{n}</loc><lastmod>2024-01-{n:02}</lastmod><priority>0.5</priority></url>"
        )
    };
    let urls = |between: &str| (1..29).map(record).collect::<Vec<_>>().join(between);
    for between in ["\n", ""] {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n{}\n</urlset>\n",
            urls(between)
        );
        let case = given("sitemap", text).asked("When was page 17 changed?").at(0.3).kind("xml");
        let kept = case.compacted().text;
        assert!(kept.contains(&record(17)), "{kept}");
        assert_eq!(kept.matches("<url>").count(), kept.matches("</url>").count(), "{kept}");
        for part in kept.split("<url>").skip(1) {
            assert!(part.contains("<loc>") && part.contains("</url>"), "{kept}");
        }
    }
}

#[test]
fn passages_with_their_source_in_their_lines() {
    let cases = [
        (
            "a citation behind",
            passages(|n, name, text| format!("{text} ({name}, 20{n:02})\n\n")),
            "(Mayflower, 2005)\n",
        ),
        ("a name behind", passages(|_, name, text| format!("{text} [{name}]\n\n")), "[Mayflower]\n"),
        ("one line each", passages(|_, name, text| format!("[{name}]: {text}\n")), "[Mayflower]: "),
        (
            "items of a list",
            passages(|_, name, text| format!("- source: {name}\n  text: {text}\n")),
            "- source: Mayflower\n",
        ),
        (
            "items, the text first",
            passages(|n, name, text| format!("- text: {text}\n  source: {name}\n  page: {n}\n")),
            "  source: Mayflower\n  page: 5\n",
        ),
        (
            "a numbered name",
            passages(|n, name, text| format!("Passage {n} ({name}):\n{text}\n")),
            "Passage 5 (Mayflower):\n",
        ),
    ];
    for (name, text, label) in cases {
        given(name, text)
            .asked("How many years before the voyage did Captain Jones become master of the Mayflower?")
            .at(0.3)
            .kind("passages")
            .keeps(&[label, "Captain Jones became master of the Mayflower 11 years prior"])
            .check();
    }
}

#[test]
fn numbering_that_restarts() {
    let stretch = |from: usize, to: usize, topic: &str| {
        let all = passages(|n, _, text| format!("{n}\t{text}\n"));
        let of = all.lines().skip(from).take(to - from).enumerate();
        let of: String = of
            .map(|(at, line)| {
                format!("[#{}]\n{}\n\n", at + 1, line.split_once('\t').map_or(line, |(_, text)| text))
            })
            .collect();
        format!("Results for {topic}\n\n{of}")
    };
    given("two searches", stretch(0, 3, "families") + &stretch(3, 8, "ships"))
        .asked("How many years before the voyage did Captain Jones become master of the Mayflower?")
        .at(0.3)
        .kind("passages")
        .keeps(&[
            "Results for ships\n",
            "[#2]\n",
            "Captain Jones became master of the Mayflower 11 years prior",
        ])
        .check();
}

#[test]
fn wrapped_text_without_blank_lines() {
    fixture("pages/wrapped.txt")
        .asked("Shall education be free?")
        .at(0.2)
        .kind("prose")
        .keeps(&["Education\nshall be free, at least in the elementary\nand fundamental stages."])
        .check();
    // A narrow column, one with numbers, one in a script without spaces.
    let words = "the keeper of the light wrote down each ship that came into the bay and what it carried ";
    let figures = "of the 1,204 ships in 1871 some 311 carried salt and 72 (6 %) wool, as in 1870 ";
    let solid = "灯塔的看守人记下了每一艘进入海湾的船以及它所运载的货物";
    let wrapped = |text: String, width: usize| {
        let mut lines = vec![String::new()];
        for word in text.split_inclusive(' ') {
            if lines.last().is_some_and(|line| line.len() + word.len() > width) {
                lines.push(String::new());
            }
            lines.last_mut().unwrap().push_str(word);
        }
        lines.iter().map(|line| format!("{}\n", line.trim_end())).collect::<String>()
    };
    let chars: Vec<char> = solid.repeat(20).chars().collect();
    let chars: String = chars.chunks(24).map(|line| line.iter().collect::<String>() + "\n").collect();
    for text in [wrapped(words.repeat(20), 26), wrapped(figures.repeat(20), 50), chars] {
        let (kind, blocks) = epitome_text::kinds::cut(&text, epitome_text::Hint::default());
        assert_eq!(kind.as_str(), "prose", "{text}");
        let crosses = |piece: &epitome_text::cut::Piece| text[piece.range.clone()].trim().contains('\n');
        assert!(blocks.iter().flat_map(|block| &block.pieces).any(crosses), "{text}");
    }
}

#[test]
fn settings_with_their_parents() {
    fixture("lines/ci-yaml.txt")
        .asked("What does the step for the C bindings without AVX2 run?")
        .kind("lines")
        .keeps(&["jobs:\n", "    - name: cargo test C bindings no AVX2\n      run: cargo test"])
        .check();
    fixture("lines/hstore-sql.txt")
        .asked("Which function does the operator || call, and what does it return?")
        .kind("lines")
        .keeps(&[
            "CREATE FUNCTION hs_concat(hstore,hstore)\nRETURNS hstore\nAS 'MODULE_PATHNAME','hstore_concat'",
            "CREATE OPERATOR || (\n",
            "PROCEDURE = hs_concat",
        ])
        .check();
}

#[test]
fn files_with_line_numbers() {
    let voyage = "How many years before the voyage did Captain Jones become master of the Mayflower?";
    for separator in ["\t", "→", ": ", " | ", "  "] {
        fixture("pages/wrapped.txt")
            .asked("Shall education be free?")
            .at(0.2)
            .kind("prose")
            .lined(separator)
            .keeps_lines(&["shall be free, at least", "and fundamental stages."])
            .check();
        given("notes.md", passages(|_, name, text| format!("## {name}\n\n{text}\n\n")))
            .asked(voyage)
            .at(0.3)
            .kind("prose")
            .lined(separator)
            .keeps_lines(&["## Mayflower", "Captain Jones became master of the Mayflower 11 years prior"])
            .check();
        fixture("csv/orders-csv.txt")
            .file("orders.csv")
            .asked("Which order did Ada place on 24 January 2026?")
            .kind("table")
            .lined(separator)
            .keeps_lines(&["id,customer,total,placed,note", "80,Ada,253.60,2026-01-24 08:00:00,"])
            .check();
        fixture("log/log-java.txt")
            .asked("Why was order 33 lost?")
            .at(0.3)
            .kind("log")
            .lined(separator)
            .keeps_lines(&[
                "SEVERE: order 33 lost",
                "Caused by: java.net.ConnectException: Connection refused",
            ])
            .check();
        fixture("json/http_status.json")
            .asked("Which code says that something is unavailable for legal reasons?")
            .kind("json")
            .lined(separator)
            .keeps_lines(&[r#""451": "Unavailable For Legal Reasons""#])
            .check();
        fixture("lines/ci-yaml.txt")
            .asked("What does the step for the C bindings without AVX2 run?")
            .kind("lines")
            .lined(separator)
            .keeps_lines(&["jobs:", "- name: cargo test C bindings no AVX2"])
            .check();
    }
    // A table with an id is not a file with line numbers.
    for path in ["columns/psql-one.txt", "columns/sqlite-col.txt", "csv/orders-tsv.txt"] {
        let result = fixture(path).asked("Which order has the total 63.40?").compacted();
        assert_eq!(result.figures.kind, "table");
        assert!(!result.text.contains("[line"), "{}", result.text);
    }
}
