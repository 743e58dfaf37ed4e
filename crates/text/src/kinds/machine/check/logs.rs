use super::{cut_as, cut_text, fixture};
use crate::{
    cut::{Hint, Role},
    kinds::{
        Kind,
        machine::{
            log::detect,
            stamp::{Level, head},
        },
    },
};

#[test]
fn logs_with_timestamps() {
    let dated = cut_as(Kind::Log, "log/log-dated");
    assert_eq!(dated.blocks.len(), 160);
    dated.all(
        Role::Critical,
        &["order 9061 cannot be priced", "order 9118 cannot", "disk quota exceeded", "KeyError: 'SEK'"],
    );
    dated.all(Role::Text, &["slow query took", "Traceback (most recent call last)"]);
    let rust = cut_as(Kind::Log, "log/log-env_logger");
    assert_eq!(rust.of(Role::Critical).len(), 1);
    assert!(rust.of(Role::Critical)[0].contains("too many open files"));
    let spans = cut_as(Kind::Log, "log/log-tracing");
    assert_eq!(spans.of(Role::Critical).len(), 1);
    let java = cut_as(Kind::Log, "log/log-java");
    java.all(
        Role::Critical,
        &["SEVERE: order 33 lost", "Caused by: java.net.ConnectException", "Suppressed: "],
    );
    java.all(Role::Noise, &["at java.base/java.util.stream.AbstractPipeline.copyInto"]);
    assert_eq!(java.blocks.len(), 61);
    let database = cut_as(Kind::Log, "log/postgres-log");
    assert!(database.of(Role::Critical).iter().any(|record| record.contains("\"missing\" does not exist")));
}

#[test]
fn logs_without_timestamps() {
    for name in ["log-plain", "log-worker", "log-bracket"] {
        let checked = cut_as(Kind::Log, &format!("log/{name}"));
        assert_eq!(checked.blocks.len(), 160, "{name}");
        checked.all(
            Role::Critical,
            &["order 9061 cannot be priced", "disk quota exceeded", "shop.cart.CartError: no rate"],
        );
        checked.all(Role::Text, &["slow query took"]);
    }
    let pairs = cut_as(Kind::Log, "log/log-logfmt");
    assert_eq!(pairs.of(Role::Critical).len(), 1);
    assert!(pairs.of(Role::Critical)[0].starts_with("level=error"));
}

#[test]
fn web_servers() {
    let access = cut_as(Kind::Log, "log/nginx-access");
    let critical = access.of(Role::Critical);
    assert!(!critical.is_empty() && critical.iter().all(|record| record.contains("\" 502 ")));
    assert_eq!(access.role("/missing/"), Role::Text);
    // Nearly all records are errors, so only the first of each shape is critical.
    let errors = cut_as(Kind::Log, "log/nginx-error");
    assert!((1..8).contains(&errors.of(Role::Critical).len()));
}

#[test]
fn heads() {
    let level = |text: &str| head(text).map(|head| head.level);
    assert_eq!(level("worker-3 INFO acked batch 935878 in 3 ms"), Some(Some(Level::Low)));
    assert_eq!(level("E0102 15:04:05.678901    4321 main.go:12] lost"), Some(Some(Level::Severe)));
    assert_eq!(level("Jan  2 03:04:05 host sshd[1]: error: bad"), Some(Some(Level::Severe)));
    assert_eq!(level("Jan  2 03:04:05 host sshd[1]: opened"), Some(None));
    assert_eq!(level("[   12.345678] usb 1-1: new"), Some(None));
    assert_eq!(level("[ERROR] no disk"), Some(Some(Level::Severe)));
    assert_eq!(level("2026-01-02T03:04:05.123Z  WARN shop: slow"), Some(Some(Level::Warning)));
    for other in [
        "Error rates fell",
        "[00:12:30] Ann: Thank you.",
        "1.2.3 Aims",
        "The ERROR was found late",
        "  INFO x",
        "12:30 is late",
    ] {
        assert!(head(other).is_none_or(|head| other.starts_with("The") && head.stamp == 0), "{other}");
    }
}

#[test]
fn dialogue_is_not_a_log() {
    let meeting: String = (10..59)
        .map(|minute| format!("[00:{minute}:30] Ann Lee: Well, I think that we can go on with it.\n"))
        .collect();
    assert!(!detect(&meeting, &Hint::default()));
    let chat: String = (10..59)
        .map(|minute| format!("2026-01-02 10:{minute}:30 Ann: Well, we can go on with it now.\n"))
        .collect();
    assert!(!detect(&chat, &Hint::default()));
    let captions: String = (10..59)
        .map(|minute| format!("00:{minute}:01.000 --> 00:{minute}:04.000\nWell, we can go on.\n\n"))
        .collect();
    assert!(!detect(&captions, &Hint::default()));
}

#[test]
fn failure_words_substitute_for_levels() {
    let mut lines: Vec<String> =
        (0..50).map(|n| format!("[{:>5}.{:06}] eth0: link is up, {n} packets", n, n * 7919)).collect();
    lines[20] = "[   20.158380] eth0: firmware load failed with -2".to_owned();
    let checked = cut_text(Kind::Log, lines.join("\n"), "kernel");
    assert_eq!(checked.of(Role::Critical), [lines[20].as_str()]);
    assert!(!fixture("log/log-plain").is_empty());
}
