//! Any service that takes `{"text", "query", "budget"}` (budget in tokens) and gives `{"text"}`.

use std::{error::Error as _, sync::mpsc, time::Duration};

use reqwest::{Client, Url, redirect};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use super::{ArmError, Made};
use crate::{compaction::Cancel, eval::row::Row};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take: a large model on a processor is slow.
const ANSWER: Duration = Duration::from_secs(1800);
/// How often a caller that has left is noticed.
const NOTICE: Duration = Duration::from_millis(50);
/// Characters of an error answer that are shown.
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

/// A service and the client that asks it.
pub(super) struct Service {
    url: Url,
    client: Client,
    /// None only while it is dropped.
    runtime: Option<Runtime>,
}

impl Service {
    pub(super) fn new(arm: &str, url: &str) -> Result<Self, ArmError> {
        let bad = |reason: String| ArmError::Url { arm: arm.to_owned(), url: url.to_owned(), reason };
        let client_error = |reason: String| ArmError::Client { arm: arm.to_owned(), reason };
        let parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(bad("neither http:// nor https://".into()));
        }
        // Another part of the process may have chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never());
        if matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        if parsed.scheme() == "http" {
            // Or else a machine without certificates could not even ask a plain service.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| client_error(causes(&error)))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| client_error(error.to_string()))?;
        Ok(Self { url: parsed, client, runtime: Some(runtime) })
    }

    pub(super) fn produce(&self, row: &Row, budget: usize, cancel: &Cancel) -> Made {
        match self.ask(row, budget, cancel) {
            Ok(text) => Made { kept: None, ..Made::compacted(text, Vec::new()) },
            Err(reason) => Made::original(row, "failed", reason),
        }
    }

    /// Asks on the runtime's thread, so that the caller may be any thread, and waits.
    fn ask(&self, row: &Row, budget: usize, cancel: &Cancel) -> Result<String, String> {
        let question = Question { text: &row.context, query: &row.query, budget };
        let body = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
        let request = self.client.post(self.url.clone());
        let request = request.header("content-type", "application/json").body(body);
        let (sender, receiver) = mpsc::channel();
        let runtime = self.runtime.as_ref().ok_or("the client is shut down")?;
        let task = runtime.spawn(async move {
            let answer = async {
                let response = request.send().await.map_err(|error| causes(&error))?;
                let status = response.status();
                let bytes = response.bytes().await.map_err(|error| causes(&error))?;
                Ok::<_, String>((status, bytes))
            };
            // The receiver is gone once the caller has left.
            let _ = sender.send(answer.await);
        });
        let (status, bytes) = loop {
            match receiver.recv_timeout(NOTICE) {
                Ok(answer) => break answer?,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err("the client broke off".into()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Err(stopped) = cancel.check() {
                        task.abort();
                        return Err(stopped.to_string());
                    }
                }
            }
        };
        if !status.is_success() {
            let said: String = String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect();
            return Err(format!("the service answered {status}: {said}"));
        }
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|error| format!("the service's answer is no JSON object with `text`: {error}"))?;
        Ok(answer.text)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A plain drop would wait, which an asynchronous caller must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The error and what caused it, without the URL.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}
