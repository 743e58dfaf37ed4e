use super::cut_as;
use crate::{cut::Role, kinds::Kind};

#[test]
fn pytest() {
    for name in ["pytest-q", "pytest-v", "pytest-short"] {
        let checked = cut_as(Kind::Tests, &format!("tests/{name}"));
        checked.all(
            Role::Critical,
            &[
                "__ test_total_dollars __",
                "E       AssertionError: assert 42.12 == 42.0",
                "FAILED tests/test_cart.py::test_no_rate - ",
                "ERROR tests/test_stock.py::test_rows",
            ]
            .map(|needle| {
                if name == "pytest-short" { needle.trim_start_matches("E       ") } else { needle }
            }),
        );
        assert_eq!(checked.of(Role::Outline).len(), 1, "{name}");
        assert!(checked.of(Role::Outline)[0].contains("5 failed, 66 passed"));
    }
    let long = cut_as(Kind::Tests, "tests/pytest-v");
    long.all(Role::Noise, &["tests/test_cart.py::test_add[1] PASSED", "platform ", "rootdir"]);
    long.all(Role::Critical, &["tests/test_cart.py:27: AssertionError", ">       cart.total(\"SEK\")"]);
    long.all(Role::Text, &["self = <json.decoder", "warnings.warn(", "DeprecationWarning: load is slow"]);
}

#[test]
fn unittest() {
    for name in ["unittest", "unittest-v"] {
        let checked = cut_as(Kind::Tests, &format!("tests/{name}"));
        checked.all(
            Role::Critical,
            &[
                "ERROR: test_rate",
                "FAIL: test_lists",
                "AssertionError: Lists differ",
                "AssertionError: 4.5 != 4.6",
            ],
        );
        checked.all(Role::Outline, &["Ran 36 tests", "FAILED (failures=2"]);
    }
    assert_eq!(cut_as(Kind::Tests, "tests/unittest-v").role("test_dump ("), Role::Noise);
}

#[test]
fn cargo() {
    let tests = cut_as(Kind::Tests, "tests/cargo-test");
    tests.all(
        Role::Critical,
        &[
            "test tests::missing ... FAILED",
            "---- tests::missing stdout",
            "panicked at shop/src/lib.rs:16:26",
            "assertion `left == right` failed: the total",
            "left: 6",
            "right: 7",
        ],
    );
    tests.all(
        Role::Noise,
        &["Compiling util", "test tests::a1 ... ok", "running 29 tests", "core::option::expect_failed"],
    );
    tests.all(Role::Outline, &["test result: FAILED", "error: test failed"]);
    let build = cut_as(Kind::Tests, "tests/cargo-build2");
    build.all(
        Role::Critical,
        &["error[E0599]", "--> shop/src/lib.rs:22:72", "error[E0382]", "24 | pub fn moved"],
    );
    build.all(Role::Text, &["help: there is a method", "note: function defined here"]);
    build.all(Role::Outline, &["error: could not compile"]);
    assert!(cut_as(Kind::Tests, "tests/cargo-deps").of(Role::Critical).is_empty());
}

#[test]
fn go() {
    let quick = cut_as(Kind::Tests, "tests/go-test");
    quick.all(
        Role::Critical,
        &["--- FAIL: TestTotal", "shop_test.go:3: Total(2)", "panic: assignment", "shop.TestZPanic("],
    );
    quick.all(Role::Outline, &["FAIL\texample.org/shop/shop"]);
    let long = cut_as(Kind::Tests, "tests/go-test-v");
    long.all(Role::Critical, &["--- FAIL: TestMany/case_17", "case 17: bad rate"]);
    long.all(Role::Noise, &["=== RUN   TestMany/case_3", "--- PASS: TestOK"]);
    let logged = cut_as(Kind::Tests, "tests/go-logged");
    logged.all(Role::Critical, &["=== RUN   TestMissing", "want: 80 cents", "--- FAIL: TestMissing"]);
    logged.all(
        Role::Noise,
        &["paid 112, back 12", "the drawer has 12 notes", "--- PASS: TestDrawer", "=== RUN   TestDrawer"],
    );
    let critical = logged.of(Role::Critical);
    assert!(critical.iter().all(|piece| !piece.contains("--- PASS")), "{critical:?}");
    cut_as(Kind::Tests, "tests/go-build").all(Role::Critical, &["undefined: Missing"]);
}

#[test]
fn javascript() {
    let jest = cut_as(Kind::Tests, "tests/jest");
    jest.all(
        Role::Critical,
        &[
            "FAIL jt/cart.test.js",
            "✕ shape",
            "● cart › total in dollars",
            "Expected: 42",
            "Received: 42.12",
            "> 4 |",
        ],
    );
    jest.all(Role::Text, &["      9 |"]);
    jest.all(Role::Noise, &["✓ adds item 3", "PASS jt/stock.test.js"]);
    jest.all(Role::Outline, &["Tests:       3 failed"]);
    let node = cut_as(Kind::Tests, "tests/node-spec");
    node.all(
        Role::Critical,
        &["✖ in dollars", "AssertionError [ERR_ASSERTION]: Expected values to be strictly equal"],
    );
    node.all(Role::Noise, &["✔ adds item 7", "at Test.runInAsyncScope"]);
    node.all(Role::Outline, &["ℹ fail 3"]);
    let tap = cut_as(Kind::Tests, "tests/node-tap");
    tap.all(Role::Critical, &["not ok 42 - throws", "error: 'no rate for SEK'"]);
    tap.all(
        Role::Critical,
        &["not ok 2 - in dollars", "42.12 !== 42", "location: '/home/dev/shop/cart.test.js:4:77'"],
    );
    tap.all(Role::Noise, &["ok 1 - adds item 0", "duration_ms: 1.4", "ok 1 - in euro"]);
    tap.all(Role::Outline, &["# fail 3"]);
}

#[test]
fn compilers() {
    for name in ["tsc", "tsc-pretty"] {
        let checked = cut_as(Kind::Tests, &format!("tests/{name}"));
        checked.all(Role::Critical, &["error TS2322", "error TS2345", "error TS2561"]);
    }
    let gcc = cut_as(Kind::Tests, "tests/gcc");
    gcc.all(Role::Critical, &["main.c:4:49: error:", "    4 | static double price", "main.c:10:19: error"]);
    gcc.all(Role::Text, &["main.c:5:25: warning", "main.c: In function"]);
    let make = cut_as(Kind::Tests, "tests/make");
    make.all(
        Role::Critical,
        &["main.c:4:49: error:", "error: 'missing' was not declared", "list.hpp:4:85: error"],
    );
    make.all(Role::Noise, &["gcc -Wall -Wextra -c -o ok2.o"]);
    make.all(Role::Outline, &["make: *** [Makefile:10: cc.o] Error 1"]);
    let javac = cut_as(Kind::Tests, "tests/javac");
    javac.all(Role::Critical, &["error: incompatible types", "symbol:   class IllegalStat"]);
    javac.all(Role::Outline, &["2 errors"]);
}

#[test]
fn other_runners() {
    let ctest = cut_as(Kind::Tests, "tests/ctest");
    ctest.all(Role::Critical, &["***Failed", "13 - item_13 (Failed)"]);
    ctest.all(Role::Noise, &["Test  #1: item_1 ", "-- Detecting C compiler ABI"]);
    ctest.all(Role::Outline, &["96% tests passed"]);
    let pip = cut_as(Kind::Tests, "tests/pip");
    pip.all(Role::Critical, &["ERROR: No matching distribution"]);
    pip.all(Role::Noise, &["Collecting rich", "Downloading requests"]);
    pip.all(Role::Outline, &["Successfully installed"]);
}
