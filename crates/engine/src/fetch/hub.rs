//! Files from the Hugging Face hub, and from the cache of its other clients.

use std::{
    env, fs,
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use epitome_work::progress;
use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        Progress,
        sync::{Api, ApiBuilder, ApiRepo},
    },
};
use url::Url;

use crate::{FileSpec, ModelSpec};

/// Timeout for the hub to report a file's size once it is reachable.
const FIRST_ANSWER: Duration = Duration::from_secs(20);
/// Maximum number of the hub's addresses to try.
const MOST_ADDRESSES: usize = 2;
/// How long a download may stall.
const STALL: Duration = Duration::from_secs(60);

/// The file's path in the cache of the hub's own clients, if it is there.
pub(crate) fn cached(spec: &ModelSpec, file: &FileSpec) -> Option<PathBuf> {
    cached_name(spec, file.path.as_deref().unwrap_or(&file.name))
}

/// As [`cached`], by the file's path in the repository.
pub(crate) fn cached_name(spec: &ModelSpec, name: &str) -> Option<PathBuf> {
    let repo = repo(spec)?;
    let cache = cache()?.repo(repo.clone());
    cache
        .get(name)
        .or_else(|| Some(cache.pointer_path(repo.revision()).join(name)).filter(|path| path.exists()))
}

/// Connection settings for the hub.
#[derive(Debug)]
pub struct Hub {
    /// A server to use instead of the hub's own.
    pub endpoint: Option<String>,
    token: Option<String>,
    /// Connect timeout.
    pub connect_timeout: Duration,
}

impl Hub {
    /// Reads the same settings as the hub's own clients: `HF_ENDPOINT`, `HF_TOKEN` and the token file.
    pub fn from_env(connect_timeout: Duration) -> Self {
        let token = variable("HF_TOKEN").or_else(|| cache().and_then(|cache| cache.token()));
        Self { endpoint: variable("HF_ENDPOINT"), token, connect_timeout }
    }

    /// Downloads the file to `target`.
    pub fn fetch(&self, spec: &ModelSpec, file: &FileSpec, target: &Path) -> Result<(), String> {
        let Some(repo) = repo(spec) else { return Err("not on the hub".into()) };
        let name = file.path.clone().unwrap_or_else(|| file.name.clone());
        self.fetch_from(repo, name, Some(file.bytes), target)
    }

    /// Downloads a file of unknown size and hash to `target`.
    pub fn fetch_unlisted(&self, spec: &ModelSpec, name: &str, target: &Path) -> Result<(), String> {
        let Some(repo) = repo(spec) else { return Err("not on the hub".into()) };
        self.fetch_from(repo, name.to_owned(), None, target)
    }

    /// Lists the files of a repository.
    pub fn list(&self, spec: &ModelSpec) -> Result<Vec<String>, String> {
        let Some(repo) = repo(spec) else { return Err("not on the hub".into()) };
        let api = self.api(&env::temp_dir())?.repo(repo);
        probe(&api.url("config.json"), self.connect_timeout)?;
        let (sender, receiver) = mpsc::channel();
        // As with downloads, a thread waiting for an unresponsive server is abandoned.
        thread::spawn(move || {
            let _ = sender.send(api.info().map_err(|error| error.to_string()));
        });
        let patience = FIRST_ANSWER.max(self.connect_timeout);
        let info = receiver.recv_timeout(patience).map_err(|_| format!("no answer for {patience:?}"))??;
        Ok(info.siblings.into_iter().map(|file| file.rfilename).collect())
    }

    /// Downloads a file of a dataset to `target`. Its size is not known in advance.
    pub fn fetch_dataset(&self, file: &DatasetFile, target: &Path) -> Result<(), String> {
        self.fetch_from(file.repo(), file.path.clone(), None, target)
    }

    fn api(&self, scratch: &Path) -> Result<Api, String> {
        let cache = Cache::new(scratch.to_owned());
        let mut builder = ApiBuilder::from_cache(cache).with_progress(false).with_token(self.token.clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        builder.build().map_err(|error| error.to_string())
    }

    fn fetch_from(&self, repo: Repo, name: String, bytes: Option<u64>, target: &Path) -> Result<(), String> {
        let api = self.api(&target.with_extension("hub"))?.repo(repo);
        probe(&api.url(&name), self.connect_timeout)?;
        let downloaded = download(api, name, bytes, self.connect_timeout)?;
        // The downloaded name is a link into the scratch directory's store.
        let real = downloaded.canonicalize().map_err(|error| error.to_string())?;
        fs::rename(&real, target).map_err(|error| error.to_string())
    }
}

/// A file in a dataset's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetFile {
    /// `OWNER/DATASET`.
    pub id: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// Path in the repository.
    pub path: String,
}

impl DatasetFile {
    /// The file's path in the cache of the hub's own clients, if it is there.
    pub fn cached(&self) -> Option<PathBuf> {
        cache()?.repo(self.repo()).get(&self.path)
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Dataset, self.revision.clone())
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn repo(spec: &ModelSpec) -> Option<Repo> {
    let revision = spec.revision.clone().unwrap_or_else(|| "main".into());
    Some(Repo::with_revision(spec.hub.clone()?, RepoType::Model, revision))
}

/// The cache of the hub's clients; `None` without a home directory.
fn cache() -> Option<Cache> {
    (env::var_os("HF_HOME").is_some() || directories::BaseDirs::new().is_some()).then(Cache::from_env)
}

/// Fails fast if the hub is unreachable: the client itself would wait for minutes.
fn probe(url: &str, timeout: Duration) -> Result<(), String> {
    let proxied = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    if proxied.into_iter().any(|name| variable(name).is_some()) {
        return Ok(());
    }
    let parsed = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
    let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return Err(format!("{url}: no host"));
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let (sender, receiver) = mpsc::channel();
    let name = host.clone();
    // An unresponsive name server would block longer than the timeout.
    thread::spawn(move || {
        let addresses: Result<Vec<_>, _> = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // The receiver is gone once the timeout has passed.
        let _ = sender.send(addresses);
    });
    let addresses = receiver
        .recv_timeout(timeout)
        .map_err(|_| format!("{host}: no answer from the name server in {timeout:?}"))?
        .map_err(|error| format!("{host}: {error}"))?;
    let mut last = format!("{host}: no address");
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

enum Event {
    Size(usize),
    Read(usize),
    Done(Result<PathBuf, String>),
}

struct Report(Sender<Event>);

impl Progress for Report {
    fn init(&mut self, size: usize, _: &str) {
        let _ = self.0.send(Event::Size(size));
    }
    fn update(&mut self, size: usize) {
        let _ = self.0.send(Event::Read(size));
    }
    fn finish(&mut self) {}
}

/// Downloads on its own thread, which is abandoned if it makes no progress.
fn download(
    api: ApiRepo,
    name: String,
    bytes: Option<u64>,
    connect_timeout: Duration,
) -> Result<PathBuf, String> {
    let bar = progress::begin(name.rsplit('/').next().unwrap_or(&name).to_owned(), Some(bytes.unwrap_or(0)));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let report = Report(sender.clone());
        let result = api.download_with_progress(&name, report).map_err(|error| error.to_string());
        let _ = sender.send(Event::Done(result));
    });
    let mut patience = FIRST_ANSWER.max(connect_timeout);
    let result = loop {
        match receiver.recv_timeout(patience) {
            Ok(Event::Size(size)) => match bytes {
                Some(bytes) if size as u64 != bytes => {
                    break Err(format!("the file there has {size} bytes, not {bytes}"));
                }
                _ => {
                    bar.set_length(size as u64);
                    patience = STALL;
                }
            },
            Ok(Event::Read(size)) => bar.advance(size as u64),
            Ok(Event::Done(result)) => break result,
            Err(RecvTimeoutError::Timeout) => break Err(format!("no data for {patience:?}")),
            Err(RecvTimeoutError::Disconnected) => break Err("the download broke off".into()),
        }
    };
    drop(bar);
    result
}
