//! The `x-epitome-*` headers of a request.

use actix_web::http::header::HeaderMap;

use super::error::ApiError;
use crate::plan::Wishes;

/// Name of the header with the query.
pub const QUERY: &str = "x-epitome-query";
/// Name of the header with the budget.
pub const BUDGET: &str = "x-epitome-budget";
/// Name of the header that asks to be left alone.
pub const BYPASS: &str = "x-epitome-bypass";

/// What the client asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Query and budget.
    pub wishes: Wishes,
    /// Leave the request as it is.
    pub bypass: bool,
}

impl Options {
    /// Reads the headers. One that is empty counts as none.
    ///
    /// # Errors
    ///
    /// [`ApiError::Header`] if one of them cannot be read.
    pub fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |name: &'static str| match headers.get(name) {
            None => Ok(None),
            Some(value) => match std::str::from_utf8(value.as_bytes()) {
                Ok(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
                Err(_) => Err(ApiError::Header { name, problem: "it is not UTF-8".into() }),
            },
        };
        let query = text(QUERY)?.map(str::to_owned);
        let budget = match text(BUDGET)? {
            None => None,
            Some(text) => match text.parse() {
                Ok(budget) => Some(budget),
                Err(error) => {
                    return Err(ApiError::Header {
                        name: BUDGET,
                        problem: crate::budget::BudgetError::to_string(&error),
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
        Ok(Self { wishes: Wishes { query, budget }, bypass })
    }
}
