use super::{cut_as, cut_text, fixture};
use crate::{
    cut::{Content, Hint, Role},
    kinds::{
        Kind,
        machine::{
            delimited::{self, Format},
            lines::{cut, detect},
            machine,
        },
    },
};

#[test]
fn separated_values() {
    for name in ["orders-csv", "orders-tsv", "orders-semi", "orders-pipe"] {
        let checked = cut_as(Kind::Table, &format!("csv/{name}"));
        assert_eq!(checked.blocks.len(), 1, "{name}");
        assert_eq!(checked.blocks[0].content, Content::Table);
        assert_eq!(checked.of(Role::Label).len(), 1, "{name}");
        assert!(checked.of(Role::Label)[0].starts_with("id"));
        assert_eq!(checked.role("Chidi"), Role::Text);
    }
    // 80 rows and the header, although some rows have quoted line breaks or quoted separators.
    for name in ["orders-csv", "orders-tsv", "orders-semi"] {
        assert_eq!(cut_as(Kind::Table, &format!("csv/{name}")).pieces(), 81, "{name}");
    }
}

#[test]
fn irregular_rows_leave_the_table_whole() {
    let mut rows: Vec<String> = fixture("csv/orders-csv").lines().map(str::to_owned).collect();
    rows[5].push_str(",one more, and another");
    rows[9] = "9,short".to_owned();
    rows[12] = "12,\"never closed,3.4,2026-01-01 07:00:00,".to_owned();
    let checked = cut_text(Kind::Table, rows.join("\n"), "odd rows");
    assert_eq!(checked.blocks.len(), 1);
    assert!(checked.pieces() > 75);
}

#[test]
fn a_record_ends_with_its_quotation() {
    let text = "a,b,c\n1,\"x\n\ny\",3\n4,5,6\n";
    let lines = crate::kinds::machine::marks::lines(text);
    let starts = delimited::starts(text, &lines, Format { separator: b',', fields: 3 });
    assert_eq!(starts, [true, true, false, false, true]);
}

#[test]
fn each_table_is_a_block() {
    let text = "Sales\nname,north,south\nAda,1,2\nBob,3,4\nCy,5,6\n\nReturns\nname,north,south\nAda,0,1\nBob,0,0\nCy,2,0\n";
    let checked = cut_text(Kind::Table, text.to_owned(), "two tables");
    let levels: Vec<u8> = checked.blocks.iter().map(|block| block.level).collect();
    assert_eq!(levels, [3, 0, 3, 0]);
    assert_eq!(checked.of(Role::Label), ["name,north,south", "name,north,south"]);
}

#[test]
fn markdown_tables() {
    let checked = cut_as(Kind::Table, "csv/markdown");
    let labels = checked.of(Role::Label);
    assert_eq!(labels.len(), 1);
    assert!(labels[0].contains("customer") && labels[0].contains("|----|"));
    assert_eq!(checked.pieces(), 31);
}

#[test]
fn columns_with_a_header() {
    for (name, header, rows) in [
        ("ps", "USER       PID", 60),
        ("pip-list", "Package ", 99),
        ("sqlite-col", "id  customer", 31),
        ("psql-one", " id |     customer", 48),
    ] {
        let checked = cut_as(Kind::Table, &format!("columns/{name}"));
        assert_eq!(checked.blocks.len(), 1, "{name}");
        assert_eq!(checked.pieces(), rows, "{name}");
        assert_eq!(checked.of(Role::Label).len(), 1, "{name}");
        assert_eq!(checked.role(header), Role::Label, "{name}");
    }
    assert_eq!(cut_as(Kind::Table, "columns/psql-one").of(Role::Outline), ["(45 rows)"]);
    assert_eq!(cut_as(Kind::Table, "columns/dpkg-l").role("||/ Name"), Role::Label);
}

#[test]
fn tables_in_a_session() {
    let checked = cut_as(Kind::Table, "columns/psql");
    checked.all(
        Role::Label,
        &[" id |     customer", "     customer      | count", "-[ RECORD 1 ]", "-[ RECORD 5 ]"],
    );
    assert_eq!(checked.of(Role::Outline), ["(50 rows)", "(4 rows)"]);
}

#[test]
fn columns_without_a_header() {
    for name in ["ls-la", "ls-etc"] {
        let checked = cut_as(Kind::Table, &format!("columns/{name}"));
        assert_eq!(checked.blocks.len(), 1, "{name}");
        assert!(checked.of(Role::Label).is_empty(), "{name}");
        assert_eq!(checked.pieces(), checked.text.lines().count());
    }
}

#[test]
fn searches() {
    let context = cut_as(Kind::Lines, "lines/grep-c2");
    assert_eq!(context.blocks.len(), context.text.lines().filter(|line| *line == "--").count() + 1);
    for name in ["grep-rn", "rg-flat", "rg-count"] {
        let checked = cut_as(Kind::Lines, &format!("lines/{name}"));
        assert_eq!(checked.pieces(), checked.text.lines().count(), "{name}");
        assert_eq!(checked.of(Role::Text).len(), checked.pieces());
    }
    let grouped = cut_as(Kind::Lines, "lines/rg-heading");
    assert!(grouped.blocks.len() > 10);
    assert!(grouped.of(Role::Label).iter().all(|label| label.starts_with("src/") && label.ends_with(".rs")));
    assert_eq!(grouped.of(Role::Label).len(), grouped.blocks.len());
}

#[test]
fn lists() {
    for name in
        ["find", "rg-l", "git-oneline", "git-status-s", "git-diff-stat", "du", "wc", "sha", "sysctl", "osrel"]
    {
        let checked = cut_as(Kind::Lines, &format!("lines/{name}"));
        assert_eq!(checked.pieces(), checked.text.lines().count(), "{name}");
        assert!(checked.blocks.iter().all(|block| block.content == Content::Line), "{name}");
        assert!(checked.of(Role::Label).is_empty(), "{name}");
    }
    let packages = cut_as(Kind::Lines, "columns/apt-list");
    assert_eq!(packages.of(Role::Outline), ["Listing..."]);
    let tree = cut_as(Kind::Lines, "lines/ls-R");
    assert!(tree.of(Role::Label).contains(&"src/batch:"));
}

#[test]
fn commits() {
    for (name, commits) in [("git-log", 23), ("git-log-stat", 12)] {
        let checked = cut_as(Kind::Lines, &format!("lines/{name}"));
        assert_eq!(checked.blocks.len(), commits, "{name}");
        let heads = checked.of(Role::Outline);
        assert_eq!(heads.len(), commits, "{name}");
        let whole = |head: &&str| {
            head.starts_with("commit ") && head.contains("\nAuthor: ") && head.contains("\n\n    ")
        };
        assert!(heads.iter().all(whole), "{heads:?}");
    }
    let graph = "* commit 81c040481dac (HEAD -> main)\n| Author: Ada <ada@example.org>\n| Date:   Fri Mar 13 10:34:00 2026 +0100\n| \n|     Bump the version\n| \n* commit 72aeecfe0c32\n  Author: Ben <ben@example.org>\n  Date:   Tue Mar 10 09:27:00 2026 +0100\n  \n      Refuse orders\n";
    assert_eq!(cut_text(Kind::Lines, graph.to_owned(), "graph").of(Role::Outline).len(), 2);
}

#[test]
fn names_need_evidence_or_a_hint() {
    let text = fixture("lines/ls");
    assert!(!detect(&text, &Hint::default()));
    let hint = Hint { call: Some(("bash", "{\"command\":\"ls src\"}")), ..Hint::default() };
    assert!(detect(&text, &hint));
    assert_eq!(cut(&text)[0].pieces.len(), text.lines().count());
}

#[test]
fn settings() {
    let text = "[server]\nhost = db.internal\nport = 5432\n\n; limits\n[pool]\nmin = 1\nmax = 20\n";
    let checked = cut_text(Kind::Lines, text.to_owned(), "ini");
    assert_eq!(checked.of(Role::Label), ["[server]", "[pool]"]);
}

#[test]
fn the_command_is_separate() {
    let text = format!(
        "$ grep -rn parse src\nExit code: 0\nOutput:\n{}\nWall time: 0.2 seconds\n",
        fixture("lines/grep-rn")
    );
    let checked = cut_text(Kind::Lines, text, "with its command");
    assert_eq!(
        checked.of(Role::Outline),
        ["$ grep -rn parse src", "Exit code: 0", "Output:", "Wall time: 0.2 seconds"]
    );
    assert!(machine("Exit code: 0\n", &Hint::default()).is_none());
}
