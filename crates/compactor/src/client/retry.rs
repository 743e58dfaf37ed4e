//! Which refusals pass by themselves, and when to come back.

use std::time::{Duration, SystemTime};

use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};

/// Whether the same call may be answered later.
pub fn is_transient(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS)
        || status.is_server_error()
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3). None where it is neither, or a date
/// that is over: the caller's own waiting is as good then.
pub fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // The server's own clock, or else a wrong clock here would make the wait wrong.
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    wait(text(RETRY_AFTER)?, now.unwrap_or_else(SystemTime::now))
}

fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read() {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let before = httpdate::parse_http_date("Wed, 21 Oct 2015 07:27:18 GMT").unwrap();
        let wait = |value: &str| super::wait(value, before);
        assert_eq!(wait(" 2 "), Some(Duration::from_secs(2)));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        // All three forms of a date, as RFC 9110, section 5.6.7, has them.
        for same in [date, "Wednesday, 21-Oct-15 07:28:00 GMT", "Wed Oct 21 07:28:00 2015"] {
            assert_eq!(wait(same), Some(Duration::from_secs(42)), "{same}");
        }
        let after = before + Duration::from_secs(43);
        assert_eq!(super::wait(date, after), None);
        for odd in ["", "-1", "NaN", "inf", "soon", "Wed, 41 Oct 2015 07:28:00 GMT"] {
            assert_eq!(wait(odd), None, "{odd}");
        }
    }
}
