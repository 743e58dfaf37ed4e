//! Models given by their repository on the hub and not listed in the manifest: sizes and hashes of their
//! files are not known in advance, so the files are trusted and cached.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ENCODER_FILES, Store, folder, lock, sweep};
use crate::{Attempt, Located, ModelError, ModelSpec, Role, error::at, fetch::hub};

/// Splits `OWNER/REPO` or `OWNER/REPO@REVISION` into the repository and the revision.
pub(super) fn hub_repository(name: &str) -> Option<(&str, Option<&str>)> {
    let (repository, revision) = match name.split_once('@') {
        Some((repository, revision)) => (repository, Some(revision)),
        None => (name, None),
    };
    let (owner, name) = repository.split_once('/')?;
    let plain = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(allowed)
    };
    // Paths of model files can look like this too.
    let file = [".gguf", ".safetensors"].iter().any(|end| name.ends_with(end));
    (plain(owner) && plain(name) && !file && revision.is_none_or(plain)).then_some((repository, revision))
}

/// Whether the name is a repository rather than a path on disk.
pub(crate) fn names_repository(name: &str) -> bool {
    hub_repository(name).is_some() && !Path::new(name).exists()
}

/// A model that is not in the manifest, with its location on the hub if the name gives one.
pub(super) fn repository_spec(name: &str, role: Role) -> ModelSpec {
    let mut spec = ModelSpec::unlisted(name.to_owned(), role, Vec::new());
    if let Some((repository, revision)) = hub_repository(name).filter(|_| role != Role::Embedder) {
        spec.hub = Some(repository.to_owned());
        spec.revision = revision.map(str::to_owned);
    }
    spec
}

/// The name of a model's own directory.
pub(super) fn directory_of(spec: &ModelSpec) -> String {
    spec.name.replace('/', "--")
}

impl Store {
    /// The files of a repository, all from the first place that has all of them: files of different revisions
    /// would not match.
    pub(super) fn find_repository(&self, spec: &ModelSpec) -> Option<Vec<PathBuf>> {
        let own = self.dir.as_ref().map(|dir| dir.join(directory_of(spec)));
        let below =
            |dir: PathBuf| complete(spec.role, |file| Some(dir.join(file)).filter(|path| path.is_file()));
        let cached =
            || complete(spec.role, |file| hub::cached_name(spec, file).filter(|path| path.is_file()));
        own.into_iter()
            .chain([self.home(spec)])
            .map(below)
            .chain(std::iter::once_with(cached))
            .flatten()
            .next()
    }

    /// The files of a repository; if necessary, fetched all together.
    pub(super) fn fetch_repository(&self, spec: ModelSpec) -> Result<Located, ModelError> {
        if let Some(paths) = self.find_repository(&spec) {
            return self.unlisted(spec, paths);
        }
        let home = self.home(&spec);
        let failed = |file: &str, reason: String| {
            let tried = vec![Attempt { source: format!("Hugging Face hub, {}", spec.name), reason }];
            let (model, role, by_hand) = (spec.name.clone(), spec.role.as_str(), home.display().to_string());
            ModelError::NotFetched { model, role, file: file.to_owned(), by_hand, tried }
        };
        let Some(hub) = &self.hub else {
            return Err(failed(ENCODER_FILES[0], "turned off by models.hub".to_owned()));
        };
        fs::create_dir_all(&home).map_err(at(&home))?;
        let _lock = lock(&home, &spec.name)?;
        sweep(&home);
        if let Some(paths) = self.find_repository(&spec) {
            return self.unlisted(spec, paths);
        }
        let temporary = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&home).map_err(at(&home))?;
        let fetch = |file: &str| {
            let target = temporary.path().join(file);
            hub.fetch_unlisted(&spec, file, &target).map_err(|reason| failed(file, reason)).map(|()| target)
        };
        // The weights come last, because they are useless without the others.
        let mut files: Vec<String> = ENCODER_FILES.iter().rev().map(|file| (*file).to_owned()).collect();
        if spec.role == Role::Decoder {
            let there = hub.list(&spec).map_err(|reason| failed(folder::SINGLE, reason))?;
            let has = |file: &str| there.iter().any(|name| name == file);
            files = folder::NEEDED.map(str::to_owned).to_vec();
            files.extend(folder::OPTIONAL.into_iter().filter(|file| has(file)).map(str::to_owned));
            if has(folder::SINGLE) || !has(folder::INDEX) {
                files.push(folder::SINGLE.to_owned());
            } else {
                files.extend(folder::shards(&fetch(folder::INDEX)?)?);
            }
        }
        for file in &files {
            fetch(file)?;
        }
        if temporary.path().join(folder::INDEX).is_file() {
            files.push(folder::INDEX.to_owned());
        }
        for file in &files {
            let path = home.join(file);
            fs::rename(temporary.path().join(file), &path).map_err(at(&path))?;
        }
        match self.find_repository(&spec) {
            Some(paths) => self.unlisted(spec, paths),
            None => Err(failed(folder::SINGLE, "what came is not complete".to_owned())),
        }
    }
}

/// The files of a model with this role, the weights first, if all are there; `place` locates each.
fn complete(role: Role, place: impl Fn(&str) -> Option<PathBuf>) -> Option<Vec<PathBuf>> {
    match role {
        Role::Decoder => folder::complete(place).ok()?.ok(),
        Role::Embedder | Role::Ranker => ENCODER_FILES.iter().map(|file| place(file)).collect(),
    }
}
