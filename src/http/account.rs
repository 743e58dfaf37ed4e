//! The response headers that report what became of a request.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::rewrite::account::Account;

/// The header with the outcome.
pub(super) const OUTCOME: HeaderName = HeaderName::from_static("x-epitome-outcome");
/// The header with the reason.
pub(super) const REASON: HeaderName = HeaderName::from_static("x-epitome-reason");
const BEFORE: HeaderName = HeaderName::from_static("x-epitome-tokens-before");
const AFTER: HeaderName = HeaderName::from_static("x-epitome-tokens-after");
const RATIO: HeaderName = HeaderName::from_static("x-epitome-ratio");
const RETENTION: HeaderName = HeaderName::from_static("x-epitome-retention");
const JOULES: HeaderName = HeaderName::from_static("x-epitome-joules");
const MILLIS: HeaderName = HeaderName::from_static("x-epitome-ms");
const TEXTS: HeaderName = HeaderName::from_static("x-epitome-texts");
const EVIDENCE: HeaderName = HeaderName::from_static("x-epitome-evidence");
const AGEING: HeaderName = HeaderName::from_static("x-epitome-ageing");
const QUERY_FROM: HeaderName = HeaderName::from_static("x-epitome-query-from");
const CACHE: HeaderName = HeaderName::from_static("x-epitome-cache-hits");

/// Writes the account into the headers of a response, replacing any other.
pub(super) fn write(account: &Account, headers: &mut HeaderMap) {
    // An upstream that is itself an epitome proxy sends its own account.
    for name in [
        OUTCOME, REASON, TEXTS, EVIDENCE, AGEING, QUERY_FROM, BEFORE, AFTER, RATIO, RETENTION, JOULES,
        MILLIS, CACHE,
    ] {
        headers.remove(name);
    }
    let mut put = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    put(OUTCOME, account.verdict.as_str().to_owned());
    if !account.reason.is_empty() {
        put(REASON, account.reason.to_owned());
    }
    if let Some((compacted, all)) = account.texts {
        put(TEXTS, format!("{compacted}/{all}"));
    }
    if account.ageing > 0 {
        put(AGEING, account.ageing.to_string());
    }
    if let Some(tokens) = account.evidence {
        put(EVIDENCE, tokens.to_string());
    }
    if !account.query_from.is_empty() {
        put(QUERY_FROM, account.query_from.join(", "));
    }
    if let Some((before, after)) = account.tokens {
        put(BEFORE, before.to_string());
        put(AFTER, after.to_string());
        put(RATIO, format!("{:.2}", before as f64 / after.max(1) as f64));
    }
    if let Some((hits, lookups)) = account.cache {
        put(CACHE, format!("{hits}/{lookups}"));
    }
    if let Some(retention) = account.retention {
        put(RETENTION, format!("{retention:.3}"));
    }
    if let Some(joules) = account.joules {
        put(JOULES, format!("{joules:.3}"));
    }
    put(MILLIS, format!("{:.1}", account.time.as_secs_f64() * 1000.0));
}
