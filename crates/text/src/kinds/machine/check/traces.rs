use super::{Checked, cut_as, fixture, tiles};
use crate::{
    cut::{Hint, Role},
    kinds::{Kind, machine::mixed},
};

/// Cuts traces among other output.
fn cut_mixed(text: String) -> Checked {
    let (kind, blocks) = mixed(&text, &Hint::default()).unwrap();
    assert_eq!(kind, Kind::Trace);
    tiles(&text, &blocks);
    Checked { text, blocks }
}

#[test]
fn traces_after_and_between_other_output() {
    let pool = cut_mixed(fixture("kept/pool"));
    pool.all(Role::Critical, &["ValueError: invalid literal", "line 12, in load", "StageError: shard 57"]);
    pool.all(Role::Text, &["loaded shard 00", "loaded shard 56"]);
    let batch = cut_mixed(fixture("kept/batch"));
    batch.all(
        Role::Critical,
        &[
            "Exception in thread",
            "Caused by: java.lang.Ill",
            "at org.shop.Batch.row",
            "Caused by: java.lang.Num",
        ],
    );
    let several: String = ["py-chain", "js-deep", "go-panic", "rs-trace1", "java-trace"]
        .iter()
        .map(|name| {
            format!("step {name} begins\n{}step {name} is over\n\n", fixture(&format!("trace/{name}")))
        })
        .collect();
    cut_mixed(several).all(
        Role::Critical,
        &[
            "KeyError: 'SEK'",
            "[cause]: Error: cannot read",
            "panic: assignment to entry",
            "panicked at shop/src/lib.rs:6:45",
            "Caused by: java.net.ConnectException",
        ],
    );
}

#[test]
fn a_panic_without_frames() {
    let text = "reading 3 files\nreading 4 files\n\nthread 'main' panicked at src/main.rs:4:9:\nno such file\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
    cut_mixed(text.to_owned()).all(Role::Critical, &["thread 'main' panicked", "no such file"]);
}

#[test]
fn python_syntax_errors() {
    let text = "setup done\nrun 1 of 2\n  File \"a.py\", line 7\n    def f(:\n          ^\nSyntaxError: invalid syntax\nrun 2 of 2\n";
    let checked = cut_mixed(text.to_owned());
    checked.all(Role::Critical, &["line 7", "SyntaxError: invalid"]);
    checked.all(Role::Text, &["run 1", "run 2"]);
}

#[test]
fn a_trace_in_a_letter_is_prose() {
    let letter = "Since the last update the import of our orders stops in the middle of the night.\nNobody has changed anything on this machine, and the file is the same as before.\nCan you tell us what we have to do about it, please?\n\n";
    let trace = "Traceback (most recent call last):\n  File \"a.py\", line 3, in run\nKeyError: 'SEK'\n";
    assert!(mixed(&format!("{letter}{trace}"), &Hint::default()).is_none());
    let progress: String =
        (0..9).map(|n| format!("Looking at file {n} for words that are not spelled well\n")).collect();
    cut_mixed(format!("{progress}{trace}")).all(Role::Critical, &["KeyError: 'SEK'"]);
}

#[test]
fn python() {
    let checked = cut_as(Kind::Trace, "trace/py-chain");
    checked.all(
        Role::Critical,
        &[
            "json.decoder.JSONDecodeError: Expecting value",
            "During handling of the above exception",
            "KeyError: 'SEK'",
            "The above exception was the direct cause",
            "shop.cart.CartError: no rate for SEK",
            "RuntimeError: the request cannot be answered",
            "line 22, in total",
        ],
    );
    checked.all(Role::Noise, &["in raw_decode", "in loads"]);
    checked.all(Role::Text, &["line 8, in deep", "Traceback (most"]);
    assert_eq!(checked.blocks.len(), 1);
}

#[test]
fn java() {
    let checked = cut_as(Kind::Trace, "trace/java-trace");
    checked.all(
        Role::Critical,
        &[
            "Exception in thread",
            "Caused by: org.shop.web.Server$StartException",
            "Caused by: java.lang.IllegalStateException",
            "Suppressed: java.lang.Unsupported",
            "Caused by: java.net.ConnectException",
            "at org.shop.db.Pool.connect",
            "at org.shop.db.Pool.close",
        ],
    );
    checked.all(Role::Noise, &["at java.base/java.lang.Thread.run", "FutureTask.get"]);
    assert_eq!(checked.role("... 18 more"), Role::Text);
}

#[test]
fn javascript() {
    let deep = cut_as(Kind::Trace, "trace/js-deep");
    deep.all(
        Role::Critical,
        &[
            "TypeError: the server cannot start",
            "[cause]: Error: cannot read",
            "[cause]: Error: ENOENT",
            "at readConfig",
        ],
    );
    assert_eq!(deep.role("at Object.readFileSync"), Role::Noise);
    let several = cut_as(Kind::Trace, "trace/js-agg");
    several.all(Role::Critical, &["AggregateError: two failed", "RangeError: too long", "at a ("]);
    let promised = cut_as(Kind::Trace, "trace/js-async");
    promised.all(Role::Critical, &["Error: relation \"orders\"", "at query ("]);
    assert_eq!(promised.role("page 0"), Role::Text);
}

#[test]
fn rust() {
    let checked = cut_as(Kind::Trace, "trace/rs-trace1");
    checked.all(
        Role::Critical,
        &[
            "panicked at shop/src/lib.rs:6:45",
            "no rate",
            "5: shop::Cart::total",
            "called `Result::unwrap()`",
            "4: shop::main",
        ],
    );
    checked.all(
        Role::Noise,
        &["core::option::expect_failed", "note: Some details", "0: __rustc::rust_begin_unwind"],
    );
    checked.all(Role::Text, &["9: shop::inner"]);
    assert_eq!(checked.blocks.len(), 2);
}

#[test]
fn go() {
    let lock = cut_as(Kind::Trace, "trace/go-deadlock");
    lock.all(Role::Critical, &["fatal error: all goroutines", "goroutine 1 [", "main.main()"]);
    lock.all(Role::Text, &["goroutine 19 [chan send]"]);
    lock.all(Role::Noise, &["sync.runtime_Semacquire"]);
    let panic = cut_as(Kind::Trace, "trace/go-panic");
    panic.all(Role::Critical, &["panic: assignment to entry in nil map", "main.deep("]);
}

#[test]
fn ruby() {
    let checked = cut_as(Kind::Trace, "trace/ruby");
    checked.all(Role::Critical, &["the order cannot be priced", "key not found: \"SEK\""]);
    assert_eq!(checked.of(Role::Text).len(), 7);
}
