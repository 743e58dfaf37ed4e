//! Models that are named by their repository on the hub and listed in no manifest: neither sizes nor
//! hashes of their files are known beforehand, so what is there is taken as right, and kept.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ENCODER_FILES, Store, lock, sweep};
use crate::model::{Attempt, Located, ModelError, ModelSpec, Role, error::at, fetch::hub};

/// What `OWNER/REPO` or `OWNER/REPO@REVISION` names: the repository, and the revision.
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
    (plain(owner) && plain(name) && revision.is_none_or(plain)).then_some((repository, revision))
}

/// Whether it names a repository, and nothing on the disk.
pub(crate) fn names_repository(name: &str) -> bool {
    hub_repository(name).is_some() && !Path::new(name).exists()
}

/// A model that no manifest lists, and where on the hub it is, if its name says so.
pub(super) fn repository_spec(name: &str, role: Role) -> ModelSpec {
    let mut spec = ModelSpec::unlisted(name.to_owned(), role, Vec::new());
    if let Some((repository, revision)) = hub_repository(name).filter(|_| role == Role::Ranker) {
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
    /// The files of a repository, all from the first place that has all of them: of different revisions
    /// they would not fit each other.
    pub(super) fn find_repository(&self, spec: &ModelSpec) -> Option<Vec<PathBuf>> {
        let own = self.dir.as_ref().map(|dir| dir.join(directory_of(spec)));
        let dirs = own.into_iter().chain([self.home(spec)]);
        let below = |dir: PathBuf| Some(ENCODER_FILES.map(|file| dir.join(file)).to_vec());
        let cached = || ENCODER_FILES.iter().map(|file| hub::cached_name(spec, file)).collect();
        dirs.map(below)
            .chain(std::iter::once_with(cached))
            .flatten()
            .find(|paths: &Vec<PathBuf>| paths.iter().all(|path| path.is_file()))
    }

    /// The files of a repository; fetched if need be, all together.
    pub(super) fn fetch_repository(&self, spec: ModelSpec) -> Result<Located, ModelError> {
        if let Some(paths) = self.find_repository(&spec) {
            return self.unlisted(spec, paths);
        }
        let home = self.home(&spec);
        let failed = |file: &str, reason: String| {
            let tried = vec![Attempt { source: format!("Hugging Face hub, {}", spec.name), reason }];
            let (model, by_hand) = (spec.name.clone(), home.display().to_string());
            ModelError::NotFetched { model, file: file.to_owned(), by_hand, tried }
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
        // The weights come last: without the others they are of no use.
        for file in ENCODER_FILES.iter().rev() {
            hub.fetch_unlisted(&spec, file, &temporary.path().join(file))
                .map_err(|reason| failed(file, reason))?;
        }
        let mut paths = Vec::new();
        for file in ENCODER_FILES {
            let path = home.join(file);
            fs::rename(temporary.path().join(file), &path).map_err(at(&path))?;
            paths.push(path);
        }
        self.unlisted(spec, paths)
    }
}
