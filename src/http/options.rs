//! The `x-epitome-*` headers of a request.

use std::borrow::Cow;

use actix_web::http::header::HeaderMap;

use super::error::ApiError;
use crate::plan::RequestOverrides;

/// Header with the query: UTF-8, percent-encoded UTF-8, or the latter after `UTF-8''`.
pub const QUERY: &str = "x-epitome-query";
/// Header with the budget.
pub const BUDGET: &str = "x-epitome-budget";
/// Header that disables compaction for the request.
pub const BYPASS: &str = "x-epitome-bypass";

/// What the client asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Requested query and budget.
    pub wishes: RequestOverrides,
    /// Leave the request unchanged.
    pub bypass: bool,
}

impl Options {
    /// Reads the headers. An empty one counts as absent.
    ///
    /// # Errors
    ///
    /// [`ApiError::Header`] if a header is invalid.
    pub fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |name: &'static str| match headers.get(name) {
            None => Ok(None),
            Some(value) => match std::str::from_utf8(value.as_bytes()) {
                Ok(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
                Err(_) => Err(ApiError::Header { name, problem: "it is not UTF-8".into() }),
            },
        };
        let query = match text(QUERY)? {
            None => None,
            Some(text) => Some(decoded(text)?.trim().to_owned()).filter(|query| !query.is_empty()),
        };
        let budget = match text(BUDGET)? {
            None => None,
            Some(text) => match text.parse() {
                Ok(budget) => Some(budget),
                Err(error) => {
                    return Err(ApiError::Header {
                        name: BUDGET,
                        problem: epitome_compactor::BudgetError::to_string(&error),
                    });
                }
            },
        };
        let bypass = match text(BYPASS)?.map(str::to_ascii_lowercase).as_deref() {
            Some("1" | "true" | "yes") => true,
            None | Some("0" | "false" | "no") => false,
            Some(_) => {
                return Err(ApiError::Header { name: BYPASS, problem: "it is neither 1 nor 0".into() });
            }
        };
        Ok(Self { wishes: RequestOverrides { query, budget }, bypass })
    }
}

/// The query, decoded. Text after `UTF-8''` is percent-encoded (RFC 8187). Other text is decoded only if
/// every `%` begins an escape and the result is valid UTF-8; otherwise it is taken literally, such as "a
/// 50%decrease".
fn decoded(text: &str) -> Result<Cow<'_, str>, ApiError> {
    let malformed = |problem: &str| ApiError::Header { name: QUERY, problem: problem.to_owned() };
    let declared = declared(text);
    let (bytes, escapes) = match unescaped(declared.unwrap_or(text)) {
        Some(decoded) => decoded,
        None if declared.is_some() => {
            return Err(malformed("a % behind UTF-8'' begins no escape of two hexadecimal digits"));
        }
        None => return Ok(Cow::Borrowed(text)),
    };
    if declared.is_none() && escapes == 0 {
        return Ok(Cow::Borrowed(text));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) if declared.is_none() => Ok(Cow::Borrowed(text)),
        Err(_) => Err(malformed("what its escapes stand for is not UTF-8; a % that is meant is written %25")),
    }
}

/// The text after `UTF-8''`, or after `UTF-8'` with a language tag and `'`.
fn declared(text: &str) -> Option<&str> {
    let (charset, rest) = text.split_once('\'')?;
    let (language, value) = rest.split_once('\'')?;
    let tag = language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (charset.eq_ignore_ascii_case("utf-8") && tag).then_some(value)
}

/// The bytes of `text` with escapes decoded, and the number of escapes; `None` if some `%` begins no escape.
fn unescaped(text: &str) -> Option<(Vec<u8>, usize)> {
    let hex = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut out, mut escapes) = (Vec::with_capacity(text.len()), 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            out.push(hex(bytes.next())? * 16 + hex(bytes.next())?);
            escapes += 1;
        } else {
            out.push(byte);
        }
    }
    Some((out, escapes))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn query(value: &str) -> Result<Option<String>, ApiError> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        headers.insert(HeaderName::from_static(QUERY), value);
        Options::read(&headers).map(|options| options.wishes.query)
    }

    #[test]
    fn queries_are_raw_or_percent_encoded_or_declared() {
        for (value, expected) in [
            ("UTF-8''Wer%20h%C3%A4lt%20die%20Mole%3F", "Wer hält die Mole?"),
            ("utf-8'de'h%c3%a4lt", "hält"),
            ("UTF-8''plain words", "plain words"),
            ("UTF-8''100%25", "100%"),
            ("Wer%20h%C3%A4lt%20sie%3F", "Wer hält sie?"),
            ("%E8%B0%81%E4%BB%98%E4%BA%86%E9%92%B1", "谁付了钱"),
            ("Wer h%C3%A4lt sie?", "Wer hält sie?"),
            ("где пирс?", "где пирс?"),
            (" who paid? ", "who paid?"),
            // Not every % begins an escape, so this is not encoded.
            ("What is 100% of it?", "What is 100% of it?"),
            ("100%", "100%"),
            ("rose by 5% in %20 of cases", "rose by 5% in %20 of cases"),
            // Every % begins an escape, but the bytes are not UTF-8, so this is not encoded either.
            ("a 50%decrease in price", "a 50%decrease in price"),
            ("h%E4lt", "h%E4lt"),
            ("%ff%fe", "%ff%fe"),
            ("printf(\"%s %d\")", "printf(\"%s %d\")"),
            ("What's UTF-8's 'use'?", "What's UTF-8's 'use'?"),
            ("utf-16''x", "utf-16''x"),
        ] {
            assert_eq!(query(value).expect(value).as_deref(), Some(expected), "{value}");
        }
        for empty in ["", "  ", "UTF-8''", "%20"] {
            assert_eq!(query(empty).expect(empty), None, "{empty}");
        }
        for bad in ["UTF-8''100%", "UTF-8''%zz", "UTF-8''%C3", "UTF-8''%+1", "UTF-8''h%E4lt"] {
            let error = query(bad).expect_err(bad).to_string();
            assert!(error.contains(QUERY), "{error}");
        }
    }
}
