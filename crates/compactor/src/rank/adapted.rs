//! What was fitted to a user's own rows or sessions, in place of what is compiled in: a file that `epitome adapt` writes
//! and `rank.model` names. The encoders stay as they are, and a file holds for those that it was fitted to.

use std::{
    fs,
    io::{self, Read as _},
};

use epitome_engine::Models;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{agent, relevance};
use crate::config::{DenseKind, FusionKind, Rank};

/// The version of the file. It changes with the file, and with what the features of spans or lines mean.
pub const VERSION: u32 = 1;

/// The longest file that is read, in bytes: what is fitted takes some ten thousand.
const LONGEST: u64 = 4 << 20;

/// Why the file of `rank.model` cannot be used.
#[derive(Debug, Error)]
pub enum AdaptedError {
    /// It cannot be read.
    #[error("rank.model: {path}: {source}; name a file that `epitome adapt` wrote")]
    Read {
        /// As the configuration names it.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// It is no such file, or what it holds cannot be used.
    #[error(
        "rank.model: {path}: {reason}; name a file that `epitome adapt` wrote, and do not change it by hand"
    )]
    Broken {
        /// As the configuration names it.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// It was fitted with another version of epitome.
    #[error("rank.model: {path} was fitted {what}; fit it again with this one: `epitome adapt`")]
    Other {
        /// As the configuration names it.
        path: String,
        /// For what it was fitted.
        what: String,
    },
    /// The configuration ranks by other means.
    #[error("rank.model: {path} is never used with {setting}; remove one of the two")]
    Unused {
        /// As the configuration names it.
        path: String,
        /// The key and its value.
        setting: String,
    },
}

/// A file, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// [`VERSION`].
    pub version: u32,
    /// What it rests on.
    pub fitted_for: FittedFor,
    /// For questions over text; none if the data held too few.
    pub questions: Option<relevance::Model>,
    /// For results of tools; likewise.
    pub results: Option<agent::Fit>,
    /// What was measured when it was fitted. Nothing depends on it.
    pub figures: Value,
}

/// The built-in models whose scores a file weighs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedFor {
    /// The hashes of the static table and of the cross-encoder, as [`Models::static_embedder_key`].
    pub encoders: String,
    /// The hash of the trees and of what standardises the features of lines.
    pub results: String,
}

impl FittedFor {
    /// What is compiled in.
    pub fn built_in(models: &Models) -> Self {
        Self { encoders: models.static_embedder_key(), results: agent::built_in_hash() }
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    questions: Option<relevance::Model>,
    results: Option<agent::Fit>,
    hash: String,
}

impl Adapted {
    /// Weights and predictions without a file, told apart by `hash`.
    pub fn new(questions: Option<relevance::Model>, results: Option<agent::Fit>, hash: String) -> Self {
        Self { questions, results, hash }
    }

    /// What `rank.model` names, if it names a file.
    pub(crate) fn configured(rank: &Rank, models: &Models) -> Result<Option<Self>, AdaptedError> {
        let path = || rank.model.clone();
        if rank.model.is_empty() {
            return Ok(None);
        }
        let bytes = read(&rank.model).map_err(|source| AdaptedError::Read { path: path(), source })?;
        let broken = |reason| AdaptedError::Broken { path: path(), reason };
        let stated: Stated = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        if stated.version != VERSION {
            let what = format!("as version {}, and this is version {VERSION}", stated.version);
            return Err(AdaptedError::Other { path: path(), what });
        }
        let file: File = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        let problem =
            |section: &str, reason: Option<String>| reason.map(|reason| format!("{section}.{reason}"));
        let questions = file.questions.as_ref().and_then(|model| problem("questions", model.problem()));
        let results = file.results.as_ref().and_then(|fit| problem("results", fit.problem()));
        if let Some(reason) = questions.or(results) {
            return Err(broken(reason));
        }
        if file.questions.is_none() && file.results.is_none() {
            return Err(broken("it holds no weights, neither for questions nor for results".into()));
        }
        let here = FittedFor::built_in(models);
        if file.questions.is_some() && file.fitted_for.encoders != here.encoders {
            return Err(AdaptedError::Other { path: path(), what: "for other encoders".into() });
        }
        if file.results.is_some() && file.fitted_for.results != here.results {
            return Err(AdaptedError::Other { path: path(), what: "on top of other trees".into() });
        }
        if let Some(setting) = file.questions.as_ref().and_then(|_| other_ranking(rank, models)) {
            return Err(AdaptedError::Unused { path: path(), setting });
        }
        let hash = blake3::hash(&bytes).to_hex().to_string();
        Ok(Some(Self { questions: file.questions, results: file.results, hash }))
    }

    /// The weights for questions over text.
    pub(crate) fn questions(&self) -> Option<&relevance::Model> {
        self.questions.as_ref()
    }

    /// The weights for results of tools.
    pub(crate) fn results(&self) -> Option<&agent::Fit> {
        self.results.as_ref()
    }

    /// The BLAKE3 hash of the file, in hexadecimal.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

/// What is looked at first: other versions may have other fields.
#[derive(Deserialize)]
struct Stated {
    version: u32,
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LONGEST {
        true => {
            let reason = format!("more than {LONGEST} bytes, which no such file has");
            Err(io::Error::new(io::ErrorKind::InvalidData, reason))
        }
        false => Ok(bytes),
    }
}

/// The setting by which something else than fitted weights ranks for questions.
fn other_ranking(rank: &Rank, models: &Models) -> Option<String> {
    let settings = [
        (rank.fusion != FusionKind::Fitted, "rank.fusion other than \"fitted\""),
        (rank.dense != DenseKind::Static, "rank.dense other than \"static\""),
        (rank.cross_tokens == 0, "rank.cross_tokens = 0"),
        (!models.ranks_with_built_in(), "models.ranker other than the built-in one"),
    ];
    settings.into_iter().find(|(other, _)| *other).map(|(_, setting)| setting.to_owned())
}

#[cfg(test)]
mod tests {
    use epitome_engine::config;

    use super::*;

    fn models() -> Models {
        Models::new(&config::Models { device: config::Device::Cpu, ..config::Models::default() }).unwrap()
    }

    fn file(models: &Models) -> File {
        File {
            version: VERSION,
            fitted_for: FittedFor::built_in(models),
            questions: Some(relevance::Model::built_in().clone()),
            results: Some(agent::Fit::built_in()),
            figures: Value::Null,
        }
    }

    /// The problem with a file that was changed so, under these settings; empty if there is none.
    fn told(models: &Models, change: impl FnOnce(&mut File), set: impl FnOnce(&mut Rank)) -> String {
        let mut file = file(models);
        change(&mut file);
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ranker.json");
        fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
        let mut rank = Rank { model: path.display().to_string(), ..Rank::default() };
        set(&mut rank);
        let adapted = Adapted::configured(&rank, models);
        adapted.map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn what_was_written_is_read() {
        let models = models();
        assert_eq!(told(&models, |_| {}, |_| {}), "");
        assert_eq!(told(&models, |file| file.results = None, |_| {}), "");
        assert!(Adapted::configured(&Rank::default(), &models).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        let models = models();
        let questions = |change: fn(&mut relevance::Model)| {
            move |file: &mut File| change(file.questions.as_mut().unwrap())
        };
        let results =
            |change: fn(&mut agent::Fit)| move |file: &mut File| change(file.results.as_mut().unwrap());
        let refused = [
            (told(&models, |file| file.version = 2, |_| {}), "as version 2"),
            (told(&models, questions(|model| model.first.truncate(16)), |_| {}), "questions.first has 16"),
            (told(&models, questions(|model| model.calibration[0] = -1.0), |_| {}), "questions.calibration"),
            (told(&models, questions(|model| model.hops = 99), |_| {}), "questions.hops is 99"),
            (told(&models, questions(|model| model.retention.reverse()), |_| {}), "neither number falling"),
            (told(&models, results(|fit| fit.weights.truncate(102)), |_| {}), "results.weights has 102"),
            (told(&models, results(|fit| fit.trees = -1.0), |_| {}), "results.weights and trees"),
            (told(&models, |file| file.fitted_for.encoders.clear(), |_| {}), "for other encoders"),
            (told(&models, |file| file.fitted_for.results.clear(), |_| {}), "on top of other trees"),
            (told(&models, |file| (file.questions, file.results) = (None, None), |_| {}), "holds no weights"),
            (told(&models, |_| {}, |rank| rank.dense = DenseKind::None), "never used with rank.dense"),
            (told(&models, |_| {}, |rank| rank.model.push('x')), "No such file"),
        ];
        for (told, reason) in refused {
            assert!(told.starts_with("rank.model: ") && told.contains(reason), "{reason}: {told}");
        }
        // JSON has no word for what is not finite; a number too large for 32 bits becomes infinite.
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ranker.json");
        let text =
            serde_json::to_string(&file(&models)).unwrap().replacen("\"first\":[", "\"first\":[1e39,", 1);
        fs::write(&path, text).unwrap();
        let rank = Rank { model: path.display().to_string(), ..Rank::default() };
        let told = Adapted::configured(&rank, &models).unwrap_err().to_string();
        assert!(told.contains("questions.first has 18"), "{told}");
    }
}
