//! Strings whose parts are meaningless.

/// Minimum length of such a string.
pub(super) const MIN: usize = 256;

/// Whether `text` is a data URL, Base64, hexadecimal digits, a token, a PEM key, or another long word without
/// white space, such as a signed URL.
pub(super) fn is_opaque(text: &str) -> bool {
    if text.len() < MIN {
        return false;
    }
    let trimmed = text.trim_ascii();
    is_word(trimmed) || is_data_url(trimmed) || is_wrapped(trimmed) || is_pem(trimmed)
}

/// Base64 on one line, hexadecimal digits, JWTs and URLs have this in common. Text in scripts without spaces
/// is not ASCII.
fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_data_url(text: &str) -> bool {
    let Some(rest) = text.get(..5).filter(|p| p.eq_ignore_ascii_case("data:")).and(text.get(5..)) else {
        return false;
    };
    rest.bytes()
        .take(200)
        .find(|b| !(b.is_ascii_alphanumeric() || b"/+.;=-_\"".contains(b)))
        .is_some_and(|b| b == b',')
}

/// Base64 or hexadecimal digits in lines of equal length.
fn is_wrapped(text: &str) -> bool {
    let mut lines = text.lines().peekable();
    let Some(width) = lines.peek().map(|line| line.len()).filter(|&width| width >= 32) else {
        return false;
    };
    while let Some(line) = lines.next() {
        let fits = line.len() == width || (line.len() < width && lines.peek().is_none());
        if !fits || !line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-_:".contains(&b)) {
            return false;
        }
    }
    true
}

fn is_pem(text: &str) -> bool {
    text.starts_with("-----BEGIN ") && text.ends_with("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_strings() {
        let line = "QUJD".repeat(19);
        let wrapped = format!("{line}\n").repeat(5) + "QQ==";
        let pem = format!("-----BEGIN CERTIFICATE-----\n{wrapped}\n-----END CERTIFICATE-----\n");
        for text in [
            line.repeat(4),
            wrapped,
            pem,
            format!("data:image/png;base64,{}", line.repeat(4)),
            format!("data:text/html,{}", "<b>some words</b> ".repeat(20)),
            "deadbeef".repeat(40),
            format!("eyJhbGciOiJIUzI1NiJ9.{}.{line}", line.repeat(3)),
            format!("https://example.org/file?sig={}&e=1", line.repeat(4)),
        ] {
            assert!(is_opaque(&text), "{text}");
        }
        for text in [
            "QUJD".to_owned(),
            "Some words that are read. ".repeat(20),
            "data: it is what we have, and more of it is here. ".repeat(10),
            "港の委員会は料金を承認した。".repeat(20),
            "path/to/a/file/with/a/rather/long/name.rs\npath/to/another\n".repeat(8),
        ] {
            assert!(!is_opaque(&text), "{text}");
        }
    }
}
