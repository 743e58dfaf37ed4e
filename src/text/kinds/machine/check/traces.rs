use super::cut_as;
use crate::text::{cut::Role, kinds::Kind};

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
