//! The body of `POST /v1/compress`, as gateways send it: rows to shorten, each of which comes back.

use std::ops::Range;

use super::{
    chat,
    conversation::{Message, ReadError},
    json::Raw,
};

/// What a gateway asks for.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// The list of rows as it is written.
    pub list: &'a str,
    /// Its offset in the body.
    pub start: usize,
    /// The rows, in order.
    pub rows: Vec<Message<'a>>,
    /// The whole conversation that the rows are part of, if the caller sends it.
    pub context: Vec<Message<'a>>,
    /// The model that will read the rows.
    pub model: Option<String>,
    /// What is to be done.
    pub mode: Mode,
    /// The budget, as text.
    pub budget: Option<String>,
    /// Rows at the beginning that stay as they are.
    pub frozen: usize,
    /// Rows at the end that stay as they are.
    pub recent: usize,
}

/// What is to be done with the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Shorten them, and say in each where its original is.
    #[default]
    Retrievable,
    /// Shorten them without a word about the original: the model has no tool to get it.
    Inline,
    /// Only measure.
    Audit,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// It is not JSON, is ambiguous, or has no rows.
    #[error(transparent)]
    Body(#[from] ReadError),
    /// A field has a value that it cannot have.
    #[error("{0}")]
    Field(&'static str),
}

/// Reads a body. Fields that are not known are left alone.
///
/// # Errors
///
/// [`RowsError`] says what is wrong.
pub fn read(body: &[u8]) -> Result<Rows<'_>, RowsError> {
    let root = Raw::parse(body).map_err(ReadError::from)?.members().ok_or(ReadError::NoMessages)?;
    let value = |key| root.get(key).map_err(ReadError::from);
    let list = value("messages")?.ok_or(ReadError::NoMessages)?;
    let rows = chat::messages(list.elements().ok_or(ReadError::NoMessages)?).map_err(ReadError::from)?;
    let context = match value("context")?.filter(|context| !context.is_null()) {
        None => Vec::new(),
        Some(context) => {
            let list = context.elements().ok_or(RowsError::Field("`context` is a list of messages"))?;
            chat::messages(list).map_err(ReadError::from)?
        }
    };
    let config = value("config")?.and_then(Raw::members);
    let option = |key: &str| config.as_ref().and_then(|config| config.last(key)).filter(|v| !v.is_null());
    let of = |raw: Option<Raw<'_>>| raw.filter(|raw| !raw.is_null()).map(mode).transpose();
    // Only measuring beats any way of shortening.
    let mode = match (of(value("mode")?)?, of(option("mode"))?) {
        (Some(Mode::Audit), _) | (_, Some(Mode::Audit)) => Mode::Audit,
        (own, other) => own.or(other).unwrap_or_default(),
    };
    let share = option("target_ratio").map(|ratio| match ratio.text().parse::<f64>() {
        Ok(ratio) if ratio > 0.0 && ratio <= 1.0 => Ok(format!("{}%", ratio * 100.0)),
        _ => Err(RowsError::Field("`config.target_ratio` is a number above 0 and up to 1")),
    });
    let budget = match value("budget")?.filter(|budget| !budget.is_null()) {
        Some(budget) => Some(budget.string().unwrap_or_else(|| budget.text().to_owned())),
        None => share.transpose()?,
    };
    let count = |key, problem| match option(key) {
        None => Ok(0),
        Some(raw) => raw.text().parse::<usize>().map_err(|_| RowsError::Field(problem)),
    };
    Ok(Rows {
        list: list.text(),
        start: list.start(),
        rows,
        context,
        model: value("model")?.and_then(Raw::string),
        mode,
        budget,
        frozen: count("frozen_message_count", "`config.frozen_message_count` is a whole number from 0")?,
        recent: count("protect_recent", "`config.protect_recent` is a whole number from 0")?,
    })
}

/// Reads a list of rows.
///
/// # Errors
///
/// [`ReadError`] unless it is one.
pub fn read_list(list: &[u8]) -> Result<Vec<Message<'_>>, ReadError> {
    Ok(chat::messages(Raw::parse(list)?.elements().ok_or(ReadError::NoMessages)?)?)
}

fn mode(raw: Raw<'_>) -> Result<Mode, RowsError> {
    match raw.string().as_deref() {
        Some("compress" | "ccr" | "") => Ok(Mode::Retrievable),
        Some("lossy_inline" | "lossless_then_lossy") => Ok(Mode::Inline),
        Some("audit") => Ok(Mode::Audit),
        _ => Err(RowsError::Field("`mode` is `compress`, `ccr`, `lossy_inline` or `audit`")),
    }
}

impl Rows<'_> {
    /// Whether the row at `index` may be changed.
    pub fn may_change(&self, index: usize) -> bool {
        index >= self.frozen && index.saturating_add(self.recent) < self.rows.len()
    }

    /// The bytes of the body that the list takes.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_gateways_send() {
        let body =
            br#"{"model":"m", "messages": [{"role":"tool","content":"t"}, {"role":"user","content":"u"}],
            "config":{"target_ratio":0.25,"frozen_message_count":1,"mode":"lossy_inline"},
            "context":[{"role":"user","content":"q"}]}"#;
        let rows = read(body).unwrap();
        assert_eq!((rows.rows.len(), rows.context.len(), rows.mode), (2, 1, Mode::Inline));
        assert_eq!(&body[rows.range()], rows.list.as_bytes());
        assert_eq!(rows.budget.as_deref(), Some("25%"));
        assert_eq!((rows.may_change(0), rows.may_change(1)), (false, true));
        let all = format!(
            r#"{{"messages":[{{"role":"user","content":"u"}}],"config":{{"protect_recent":{}}}}}"#,
            usize::MAX
        );
        assert!(!read(all.as_bytes()).unwrap().may_change(0));
        let mode = |body: &str| read(body.as_bytes()).map(|rows| rows.mode);
        assert_eq!(mode(r#"{"messages":[]}"#).ok(), Some(Mode::Retrievable));
        assert_eq!(mode(r#"{"messages":[],"mode":"audit","config":{"mode":"ccr"}}"#).ok(), Some(Mode::Audit));
        assert_eq!(mode(r#"{"messages":[],"config":{"mode":"audit"}}"#).ok(), Some(Mode::Audit));
    }

    #[test]
    fn bad_fields_are_refused() {
        for body in [
            "{}",
            "[]",
            r#"{"messages":7}"#,
            r#"{"messages":[],"mode":"shrink"}"#,
            r#"{"messages":[],"context":7}"#,
            r#"{"messages":[],"config":{"target_ratio":2}}"#,
            r#"{"messages":[],"config":{"protect_recent":-1}}"#,
            r#"{"messages":[],"messages":[]}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
