//! The files of a decoder in the Hugging Face hub's layout.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{ModelError, error::at};

/// Required files besides the weights.
pub(super) const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];
/// Optional files.
pub(super) const OPTIONAL: [&str; 3] =
    ["tokenizer_config.json", "chat_template.jinja", "generation_config.json"];
/// The weights, if they are in a single file.
pub(super) const SINGLE: &str = "model.safetensors";
/// The index of the tensors, if the weights are in several files.
pub(super) const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The weight files named by an index, in order.
pub(super) fn shards(index: &Path) -> Result<Vec<String>, ModelError> {
    let text = std::fs::read(index).map_err(at(index))?;
    let read: Index = serde_json::from_slice(&text).map_err(|error| ModelError::invalid(index, error))?;
    let names: BTreeSet<String> = read.weight_map.into_values().collect();
    match names.iter().find(|name| !name.ends_with(".safetensors") || name.contains(['/', '\\'])) {
        Some(wrong) => {
            Err(ModelError::invalid(index, format!("{wrong:?} is no name of a safetensors file beside it")))
        }
        None if names.is_empty() => Err(ModelError::invalid(index, "names no file")),
        None => Ok(names.into_iter().collect()),
    }
}

/// The files of a decoder, the weights first; `place` locates each. The error names what is missing.
pub(super) fn complete(
    place: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Result<Vec<PathBuf>, String>, ModelError> {
    let mut names = Vec::new();
    match (place(SINGLE), place(INDEX)) {
        (Some(_), _) => names.push(SINGLE.to_owned()),
        (None, Some(index)) => names.extend(shards(&index)?),
        (None, None) => return Ok(Err(format!("{SINGLE} or {INDEX}"))),
    }
    names.extend(NEEDED.map(str::to_owned));
    let mut paths = Vec::new();
    for name in names {
        match place(&name) {
            Some(path) => paths.push(path),
            None => return Ok(Err(name)),
        }
    }
    paths.extend(OPTIONAL.iter().filter_map(|name| place(name)));
    Ok(Ok(paths))
}

/// The files of a decoder in a directory, the weights first.
pub(super) fn decoder_files(dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    complete(|name| Some(dir.join(name)).filter(|path| path.is_file()))?.map_err(|missing| {
        let needed = NEEDED.join(", ");
        let reason = format!(
            "holds no {missing}; a decoder is a .gguf file, or {needed} and {SINGLE} or the files that {INDEX} names"
        );
        ModelError::invalid(dir, reason)
    })
}
