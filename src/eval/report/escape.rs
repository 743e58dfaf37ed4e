//! Escapes text from outside (names of tasks, arms and readers), so that it is displayed as plain text. HTML
//! templates escape on their own.

/// For a terminal: removes control characters, which could move the cursor or set colours, and characters
/// that change the writing direction.
pub fn terminal(text: &str) -> String {
    text.chars().map(|c| if is_control(c) { '\u{FFFD}' } else { c }).collect()
}

/// For a line of Markdown: nothing in the text starts markup, a table cell or a new line.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let c = if is_control(c) { ' ' } else { c };
        let marks = match c {
            '\\' | '|' | '`' | '*' | '[' | ']' | '#' | '~' | '!' => true,
            // An underscore within a word is no markup, and names are full of them.
            '_' => !(before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric())),
            _ => false,
        };
        if marks {
            escaped.push('\\');
        }
        // Not every Markdown renderer accepts a backslash before HTML markup.
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

/// For the text and the attributes of HTML and SVG.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if is_control(c) => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        assert_eq!(terminal("a\u{1b}[31mb\nc"), "a\u{FFFD}[31mb\u{FFFD}c");
        assert_eq!(markdown("nq_multi|_x_<b>\n"), "nq_multi\\|\\_x\\_&lt;b&gt; ");
        assert_eq!(html("<a href='x'>&\u{0}"), "&lt;a href=&#39;x&#39;&gt;&amp;\u{FFFD}");
    }
}
