//! Vectors from `/embeddings`.

use base64::{Engine, engine::general_purpose::STANDARD};
use epitome_work::Cancel;
use serde_json::{Value, json};

use super::{RemoteError, client::Client};
use crate::config::RemoteModel;

/// Most texts of a call, which is what TEI takes by default, and most bytes of them together.
const TEXTS: usize = 32;
const BYTES: usize = 64 << 10;
/// Bytes of a text that is not shortened any more.
const SHORTEST: usize = 100;

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

    /// A vector a text, all of one length. No text may be empty. A text that the server finds too long is
    /// read as far as it fits.
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
        let error = match self.ask(texts, cancel) {
            Err(error @ RemoteError::TooLong { .. }) => error,
            answer => return answer,
        };
        match texts {
            [text] if text.len() >= SHORTEST => {
                let end = text.floor_char_boundary(text.len() * 3 / 4);
                self.call(&[text.get(..end).unwrap_or_default()], cancel)
            }
            [] | [_] => Err(error),
            // Either one of them is too long or all together are.
            _ => {
                let (first, second) = texts.split_at(texts.len() / 2);
                let mut vectors = self.call(first, cancel)?;
                vectors.extend(self.call(second, cancel)?);
                Ok(vectors)
            }
        }
    }

    fn ask(&self, texts: &[&str], cancel: &Cancel) -> Result<Vec<Vec<f32>>, RemoteError> {
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
                    return Err(self
                        .client
                        .unusable("an embedding is no list of numbers, nor base64 of one"));
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

/// A list of numbers, or base64 of 32-bit floats, the lowest byte first: some servers answer with the latter
/// whatever was asked for.
fn numbers(value: &Value) -> Option<Vec<f32>> {
    let vector: Vec<f32> = match value {
        Value::String(text) => {
            let bytes = STANDARD.decode(text).ok()?;
            let (floats, rest) = bytes.as_chunks::<4>();
            rest.is_empty().then(|| floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())?
        }
        _ => value.as_array()?.iter().map(|x| x.as_f64().map(|x| x as f32)).collect::<Option<_>>()?,
    };
    (!vector.is_empty() && vector.iter().all(|x| x.is_finite())).then_some(vector)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_encodings_give_the_same(vector in prop::collection::vec(-1e6_f32..1e6, 1..50)) {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            prop_assert_eq!(numbers(&json!(STANDARD.encode(bytes))), Some(vector.clone()));
            prop_assert_eq!(numbers(&json!(vector)), Some(vector));
        }

        #[test]
        fn no_string_panics(text in ".*") {
            let _ = numbers(&json!(text));
        }
    }

    #[test]
    fn what_is_no_vector_is_none() {
        let not_a_number = STANDARD.encode(f32::NAN.to_le_bytes());
        for bad in [json!([]), json!(["x"]), json!([1e300]), json!(""), json!("AAA="), json!(not_a_number)] {
            assert_eq!(numbers(&bad), None, "{bad}");
        }
    }
}
