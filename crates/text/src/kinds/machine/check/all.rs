use proptest::prelude::*;

use super::{fixture, tiles};
use crate::{
    cut::{CutBlock, Hint},
    kinds::machine::{commits, lines, log, machine, marks::shifted, mixed, table, test_output, trace},
};

type Cut = fn(&str) -> Vec<CutBlock>;

const CUTS: [Cut; 7] =
    [table::cut, lines::cut, log::cut, trace::cut, test_output::cut, commits::cut, mixed::cut];

fn check(text: &str) {
    for cut in CUTS {
        tiles(text, &cut(text));
    }
    if let Some((_, blocks)) = machine(text, &Hint::default()) {
        tiles(text, &blocks);
    }
}

const FIXTURES: [&str; 18] = [
    "csv/orders-csv",
    "csv/markdown",
    "columns/psql",
    "lines/grep-c2",
    "lines/rg-heading",
    "log/log-java",
    "log/nginx-access",
    "trace/py-chain",
    "trace/js-deep",
    "tests/pytest-v",
    "tests/node-spec",
    "tests/make",
    "tests/node-tap",
    "tests/pytest-short",
    "tests/go-logged",
    "kept/pool",
    "kept/batch",
    "lines/git-log",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_tiles(text in "(?s).{0,300}") {
        check(&text);
    }

    #[test]
    fn any_signs_tile(text in "[-=_|:;,\"'\\[\\]{}()<>#*✔✖é\u{2028} \t\r\n.0-9aAtE/]{0,400}") {
        check(&text);
    }

    #[test]
    fn mixed_lines_tile(picks in proptest::collection::vec((0..FIXTURES.len(), 0_usize..400, 0_usize..120), 0..30)) {
        let texts: Vec<String> = FIXTURES.iter().map(|name| fixture(name)).collect();
        let mut text = String::new();
        for (file, line, cut) in picks {
            let all: Vec<&str> = texts[file].split_inclusive('\n').collect();
            let line = all[line % all.len()];
            text.push_str(if cut < 20 { &line[..line.floor_char_boundary(cut)] } else { line });
        }
        check(&text);
    }
}

#[test]
fn odd_texts_are_tiled() {
    for text in [
        "",
        "\n",
        "\r\n\r\n",
        "\0",
        "\u{feff}a,b\r\n1,2\r\n",
        "   \n\t\n",
        "--\n--\n--\n",
        "é\n\u{1F600},\"\n,",
        "at \n",
        "|\n|\n",
    ] {
        check(text);
    }
}

#[test]
fn long_texts_are_fast() {
    let texts = [
        "a".repeat(5_000_000),
        "\"".repeat(2_000_000),
        "[".repeat(100_000),
        "{\n".repeat(100_000),
        "\n".repeat(500_000),
        "a,\"b,c\n".repeat(100_000),
        "    at f (x.js:1:2) {\n".repeat(50_000),
        "Traceback (most recent call last):\n".repeat(50_000),
        "goroutine 1 [running]:\n\n".repeat(50_000),
        "1-2-3-4-5-6-7-8-".repeat(200_000),
        "panic: x\n".repeat(50_000),
        "error: x\n".repeat(50_000),
        "a  b  c\n\n".repeat(100_000),
    ];
    for text in &texts {
        check(text);
    }
}

#[test]
fn blocks_can_be_shifted() {
    let text = fixture("log/log-plain");
    let blocks = shifted(log::cut(&text), 7);
    assert_eq!(blocks[0].pieces[0].range.start, 7);
}

/// Texts that resemble machine text only in places.
const OTHERS: [(&str, &str); 13] = [
    (
        "prose",
        "The board met on Monday, counted the votes, and went home.\nIt rained, as it had done the year before.\nNobody spoke, though some would have liked to.\nThe clerk wrote it down: nine for, two against.\n",
    ),
    (
        "poem",
        "The river runs, the river bends,\nAnd no one asks it where it ends,\nIt carries leaves, it carries light,\nIt sings alone to fields at night.\n",
    ),
    (
        "meeting",
        "Ann: Well, I think we should start.\nBob: Yes, please, go on.\nAnn: The roof is leaking again.\nBob: Then we mend it, as always.\nCy: ERROR is what I would call it.\nAnn: So be it.\n",
    ),
    (
        "letters",
        "Ada Byron\n12 High Street, Dunmere, DX1 2AB\nTelephone 0123 456\n\nBob Cole\n7 Mill Lane, Eskdale, EK4 5CD\nTelephone 0987 654\n",
    ),
    (
        "markdown",
        "# Install\n\nRun `cargo build`:\n\n```\n   Compiling shop v0.1.0\n    Finished dev\n```\n\n- fast\n- small\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nThat is all there is to it.\n",
    ),
    (
        "passages",
        "Document [1](Title: Rivers) The river is long.\nDocument [2](Title: Hills) The hill is high.\nDocument [3](Title: Lakes) The lake is deep.\n",
    ),
    ("list", "1. Buy milk, bread and salt\n2. Call the office: they know\n3. Write to Ann\n4. Sleep\n"),
    (
        "recipe",
        "200 g flour\n2 eggs\n1 pinch of salt\nMix the flour and the eggs.\nBake it for 40 minutes.\n",
    ),
    ("code", "fn main() {\n    let a = [1, 2, 3];\n    for b in a {\n        println!(\"{b}\");\n    }\n}\n"),
    (
        "story",
        "At dawn (so they say) the ship left.\n  at the end of the pier (or near it) stood a man\n  at his side lay a dog (asleep)\n",
    ),
    (
        "constants",
        "pub const A: u32 = 1;\npub const B: u32 = 2;\npub const C: u32 = 3;\npub const D: u32 = 4;\n",
    ),
    ("words", "river\nhill\nlake\nwood\nfield\nroad\n"),
    (
        "two columns",
        "The river runs down to the sea and       it was a cold day in the north and the\nnobody knows how long it has been        people of the town stayed at home for\nthere before the first men came and      the whole of the long winter with their\nbuilt the bridge that still stands       cattle and what they had stored before\n",
    ),
];

#[test]
fn other_texts_are_not_machine_text() {
    for (name, text) in OTHERS {
        for text in [text.to_owned(), text.repeat(20)] {
            let found = machine(&text, &Hint::default()).map(|(kind, _)| kind.as_str());
            assert_eq!(found, None, "{name}");
        }
    }
}
