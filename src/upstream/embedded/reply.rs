//! Answers of the embedded backend in the OpenAI dialect.

use std::sync::Arc;

use epitome_engine::Generated;
use serde_json::{Value, json};

use super::{chat::Usage, finish_reason};
use crate::telemetry;

/// The common fields of all parts of one answer.
#[derive(Clone)]
pub(super) struct Reply {
    id: Arc<str>,
    model: Arc<str>,
    created: u64,
}

/// The description of a model.
pub(super) fn model(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "epitome" })
}

/// One server-sent event.
pub(super) fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

impl Reply {
    pub(super) fn new(model: &str, created: u64) -> Self {
        Self { id: format!("chatcmpl-{}", telemetry::unique_id()).into(), model: model.into(), created }
    }

    /// The answer as a single object.
    pub(super) fn whole(&self, generated: &Generated) -> String {
        json!({
            "id": &*self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": &*self.model,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": generated.text, "refusal": null },
                "logprobs": null,
                "finish_reason": finish_reason(generated.finish),
            }],
            "usage": usage_of(generated),
        })
        .to_string()
    }

    /// The first event of a stream.
    pub(super) fn start(&self, usage: Usage) -> String {
        self.chunk(&json!({ "role": "assistant", "content": "" }), None, usage)
    }

    /// An event with a piece of text.
    pub(super) fn piece(&self, text: &str, usage: Usage) -> String {
        self.chunk(&json!({ "content": text }), None, usage)
    }

    /// The last events of a stream.
    pub(super) fn end(&self, generated: &Generated, usage: Usage) -> String {
        let mut out = self.chunk(&json!({}), Some(finish_reason(generated.finish)), usage);
        if usage == Usage::Include {
            let mut last = self.frame(&json!([]));
            if let Value::Object(fields) = &mut last {
                fields.insert("usage".into(), usage_of(generated));
            }
            out.push_str(&event(&last.to_string()));
        }
        out.push_str(&event("[DONE]"));
        out
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>, usage: Usage) -> String {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
        let mut chunk = self.frame(&json!([choice]));
        if usage == Usage::Include
            && let Value::Object(fields) = &mut chunk
        {
            fields.insert("usage".into(), Value::Null);
        }
        event(&chunk.to_string())
    }

    fn frame(&self, choices: &Value) -> Value {
        json!({
            "id": &*self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": &*self.model,
            "choices": choices,
        })
    }
}

fn usage_of(generated: &Generated) -> Value {
    json!({
        "prompt_tokens": generated.prompt_tokens,
        "completion_tokens": generated.completion_tokens,
        "total_tokens": generated.prompt_tokens + generated.completion_tokens,
    })
}
