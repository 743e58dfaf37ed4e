//! Any service that takes `{"text", "query", "budget"}` (budget in tokens) and returns `{"text"}`.

use std::time::Duration;

use epitome_compactor::client::{Blocking, causes, client};
use epitome_work::Cancel;
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};

use super::{ArmError, Made};
use crate::eval::row::Row;

/// Connection timeout.
const CONNECT: Duration = Duration::from_secs(10);
/// Answer timeout: a large model on a CPU is slow.
const ANSWER: Duration = Duration::from_secs(1800);
/// Characters of an error response that are shown.
const SHOWN: usize = 200;

#[derive(Serialize)]
struct Question<'a> {
    text: &'a str,
    query: &'a str,
    budget: usize,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
}

/// A service and its HTTP client.
pub(super) struct Service {
    url: Url,
    client: Client,
    blocking: Blocking,
}

impl Service {
    pub(super) fn new(arm: &str, url: &str) -> Result<Self, ArmError> {
        let bad = |reason: String| ArmError::Url { arm: arm.to_owned(), url: url.to_owned(), reason };
        let client_error = |reason: String| ArmError::Client { arm: arm.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(bad("neither http:// nor https://".into()));
        }
        let is_loopback = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let client = client(is_loopback, parsed.scheme() == "https", CONNECT);
        let client = client.map_err(|error| client_error(error.reason()))?;
        let blocking = Blocking::new().map_err(|error| client_error(error.reason()))?;
        Ok(Self { url: parsed, client, blocking })
    }

    pub(super) fn produce(&self, row: &Row, budget: usize, cancel: &Cancel) -> Made {
        match self.ask(row, budget, cancel) {
            Ok(text) => Made { kept: None, ..Made::compacted(text, Vec::new()) },
            Err(reason) => Made::original(row, "failed", reason),
        }
    }

    fn ask(&self, row: &Row, budget: usize, cancel: &Cancel) -> Result<String, String> {
        let question = Question { text: &row.context, query: &row.query, budget };
        let body = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
        let request = self.client.post(self.url.clone()).timeout(ANSWER);
        let request = request.header("content-type", "application/json").body(body);
        let call = async {
            let response = request.send().await.map_err(|error| causes(&error))?;
            let status = response.status();
            let bytes = response.bytes().await.map_err(|error| causes(&error))?;
            Ok::<_, String>((status, bytes))
        };
        let (status, bytes) = self.blocking.wait(cancel, call).map_err(|stopped| stopped.to_string())??;
        if !status.is_success() {
            let said: String = String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect();
            return Err(format!("the service answered {status}: {said}"));
        }
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|error| format!("the service's answer is no JSON object with `text`: {error}"))?;
        Ok(answer.text)
    }
}
