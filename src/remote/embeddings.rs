//! Vectors from `/embeddings`.

use serde_json::{Value, json};

use super::{RemoteError, client::Client};
use crate::{compaction::Cancel, config::RemoteModel};

/// Most texts of a call, and most bytes of them together.
const TEXTS: usize = 64;
const BYTES: usize = 64 << 10;

/// A model that gives vectors.
#[derive(Debug)]
pub struct Embeddings {
    client: Client,
}

impl Embeddings {
    pub(super) fn new(spec: &RemoteModel, connect_timeout_ms: u64) -> Result<Self, RemoteError> {
        Ok(Self { client: Client::new("embedder", spec, connect_timeout_ms)? })
    }

    /// All that a vector depends on besides its text: `model@url`.
    pub fn identity(&self) -> String {
        self.client.identity()
    }

    /// A vector a text, all of one length. No text may be empty.
    ///
    /// # Errors
    ///
    /// [`RemoteError`].
    pub fn embed(&self, texts: &[&str], cancel: &Cancel) -> Result<Vec<Vec<f32>>, RemoteError> {
        let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(TEXTS).take_while(|text| {
                bytes += text.len();
                bytes <= BYTES
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            vectors.extend(self.call(now, cancel)?);
            rest = later;
        }
        let length = vectors.first().map_or(0, Vec::len);
        if vectors.iter().any(|vector| vector.len() != length) {
            return Err(self.client.unusable("its vectors are not of one length"));
        }
        Ok(vectors)
    }

    fn call(&self, texts: &[&str], cancel: &Cancel) -> Result<Vec<Vec<f32>>, RemoteError> {
        let body = json!({ "model": self.client.model, "input": texts, "encoding_format": "float" });
        let answer = self.client.post("/embeddings", &body, cancel)?;
        let data = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut vectors = vec![None; texts.len()];
        for (at, item) in data.iter().enumerate() {
            let index = item.get("index").and_then(Value::as_u64).map_or(at, |index| index as usize);
            let vector = item.get("embedding").and_then(numbers);
            match (vectors.get_mut(index), vector) {
                (Some(place @ None), Some(vector)) => *place = Some(vector),
                (Some(None), None) => {
                    return Err(self.client.unusable("an embedding is no list of numbers"));
                }
                _ => return Err(self.client.unusable(&format!("an embedding has the index {index}"))),
            }
        }
        let found = data.len();
        let all: Option<Vec<Vec<f32>>> = vectors.into_iter().collect();
        let missing = || format!("it has {found} embeddings for {} texts", texts.len());
        all.ok_or_else(|| self.client.unusable(&missing()))
    }
}

fn numbers(value: &Value) -> Option<Vec<f32>> {
    let number = |value: &Value| value.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
    value.as_array()?.iter().map(number).collect::<Option<Vec<f32>>>().filter(|vector| !vector.is_empty())
}
