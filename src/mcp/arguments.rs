//! What the tools take, and how that is described to a model.

use epitome_compactor::Budget;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// The arguments of `compact`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compact {
    pub(super) text: String,
    #[serde(default)]
    pub(super) query: Option<String>,
    #[serde(default)]
    pub(super) budget: Option<Budget>,
}

/// The arguments of `retrieve`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retrieve {
    #[serde(default)]
    pub(super) hash: Option<String>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) lines: Option<String>,
    #[serde(default)]
    pub(super) bytes: Option<String>,
    #[serde(default)]
    pub(super) query: Option<String>,
    #[serde(default)]
    pub(super) budget: Option<Budget>,
}

/// The arguments of `explain`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) hash: Option<String>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) query: Option<String>,
    #[serde(default)]
    pub(super) budget: Option<Budget>,
}

/// Reads the arguments of a tool.
///
/// # Errors
///
/// What is wrong with them.
pub(super) fn read<T: DeserializeOwned>(arguments: Object) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| error.to_string())
}

/// The text that is named, by either name of the argument.
///
/// # Errors
///
/// If the two name different texts.
pub(super) fn named(hash: Option<String>, id: Option<String>) -> Result<Option<String>, String> {
    match (hash, id) {
        (Some(hash), Some(id)) if hash != id => {
            Err("`hash` and `id` are two names of one argument, and differ; give one of them".to_owned())
        }
        (hash, id) => Ok(hash.or(id)),
    }
}

/// Whether a call is a look-up: it is done at once, and compacts nothing. Models fill in what they may leave out.
pub(super) fn is_lookup(tool: &str, arguments: &Object) -> bool {
    let is_given = |name: &str| arguments.get(name).is_some_and(|value| !value.is_null());
    let asks = arguments.get("query").and_then(Value::as_str).is_some_and(|query| !query.trim().is_empty());
    tool == "retrieve" && (!asks || is_given("lines") || is_given("bytes"))
}

/// The call that is left where nothing can be compacted: what would be cut for a query is given whole. `None` if nothing
/// is left of it.
pub(super) fn without_query(tool: &str, mut arguments: Object) -> Option<Object> {
    (tool == "retrieve").then(|| {
        arguments.remove("query");
        arguments
    })
}

/// A tool as a model sees it.
pub(super) struct Description {
    pub(super) name: &'static str,
    pub(super) words: &'static str,
    pub(super) schema: Object,
}

/// All tools.
pub(super) fn all() -> Vec<Description> {
    let text = json!({ "type": "string", "description": "The long text, of any kind." });
    let query = json!({ "type": "string", "description":
        "What is to be found out from the text. Without it, what is critical in itself is kept." });
    let budget = json!({ "type": ["string", "integer"], "description":
        "Size of the result: tokens (1500) or a share of the text (\"25%\")." });
    let hash = json!({ "type": "string", "description":
        "The hash that a shortened text names: 5d0f8c1a2b3e4f60 where it says hash=5d0f8c1a2b3e4f60." });
    let id = json!({ "type": "string", "description": "Another name of `hash`. Give one of the two." });
    let needed = json!({ "type": "string", "description": "What is to be found out from the text. Without it, all is given." });
    let lines = json!({ "type": "string", "description": "Lines, counted from 1, such as 120-188." });
    let bytes = json!({ "type": "string", "description": "Bytes, such as 0-4096, the last not included." });
    vec![
        Description {
            name: "compact",
            words: "Shortens a long text to what a question needs from it, in the words of the text. The original is \
                    kept, and `retrieve` gives it back.",
            schema: schema(&["text"], [("text", &text), ("query", &query), ("budget", &budget)]),
        },
        Description {
            name: "retrieve",
            words: "Gives back the original of a text that was shortened: all of it, some lines or bytes, or what a \
                    query needs. Use it where a text says that more of it can be retrieved with a hash.",
            schema: schema(
                &[],
                [
                    ("hash", &hash),
                    ("id", &id),
                    ("lines", &lines),
                    ("bytes", &bytes),
                    ("query", &needed),
                    ("budget", &budget),
                ],
            ),
        },
        Description {
            name: "explain",
            words: "Says what `compact` keeps of a text and what it leaves out, with byte ranges and scores. Takes a \
                    text, or the hash of one that is kept.",
            schema: schema(
                &[],
                [("text", &text), ("hash", &hash), ("id", &id), ("query", &query), ("budget", &budget)],
            ),
        },
    ]
}

fn schema<const N: usize>(required: &[&str], properties: [(&str, &Value); N]) -> Object {
    let properties: Object =
        properties.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let mut schema = Object::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), json!(required));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}
