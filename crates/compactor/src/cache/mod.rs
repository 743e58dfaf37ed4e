//! Segment cache: memory, then disk.
//!
//! Values are addressed by a hash of all they depend on ([`KeyParts`]), so nothing is ever out of
//! date. Memory is a moka cache with a ceiling in bytes; the disk layer is a redb file with a ceiling
//! of its own. A layer that fails is a miss and never an error: it costs one warning, and
//! [`Cache::stats`] says why.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use crate::config::CacheConfig;

mod disk;
mod flight;
mod key;
mod notes;

use disk::Disk;
use flight::{Flights, Role};
pub use key::{Key, KeyParts, Salt};
use notes::Notes;

/// The layered cache. Share it by `Arc`. Dropping the last handle on it writes what is not yet on disk.
pub struct Cache {
    layers: Arc<Layers>,
    salt: Option<Salt>,
}

struct Layers {
    /// None: nothing is cached.
    memory: Option<moka::sync::Cache<Key, Arc<[u8]>>>,
    disk: DiskLayer,
    /// Beside the disk layer, also where another process has that.
    notes: Option<Notes>,
    flights: Flights,
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    misses: AtomicU64,
}

enum DiskLayer {
    Off,
    Open(Disk),
    Unavailable { path: PathBuf, reason: String },
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The memory layer, or another caller that was computing it.
    Memory,
    /// The disk layer.
    Disk,
    /// It was computed.
    Computed,
}

/// The account of a cache since it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Values found in memory.
    pub memory_hits: u64,
    /// Values found on disk.
    pub disk_hits: u64,
    /// Values that had to be computed.
    pub misses: u64,
    /// Entries in memory, about.
    pub entries: u64,
    /// Bytes in memory, about.
    pub bytes: u64,
    /// The disk layer.
    pub disk: DiskStats,
}

/// The state of the disk layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum DiskStats {
    /// Switched off by configuration.
    Off,
    /// In use.
    Open {
        /// The file.
        path: PathBuf,
        /// Entries in it.
        entries: u64,
        /// Bytes that they take.
        bytes: u64,
        /// The ceiling, bytes.
        limit: u64,
    },
    /// Not in use; values are kept in memory only.
    Unavailable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Bytes that an entry of the memory layer costs beside its value.
const ENTRY_OVERHEAD: usize = 128;

impl Cache {
    /// Opens the layers that `config` names. Never fails: a disk layer that is damaged, locked or
    /// not writable costs a warning.
    pub fn open(config: &CacheConfig) -> Self {
        if !config.enabled {
            return Self::disabled();
        }
        let disk = match disk_limit(config) {
            0 => DiskLayer::Off,
            limit => match directory(config) {
                Some(directory) => Self::open_disk(directory, limit),
                None => DiskLayer::Unavailable {
                    path: PathBuf::new(),
                    reason: "the system names no cache directory; set cache.dir".to_owned(),
                },
            },
        };
        let notes = match disk {
            DiskLayer::Off => None,
            DiskLayer::Open(_) | DiskLayer::Unavailable { .. } => directory(config).map(Notes::new),
        };
        Self::with(Some(config.memory_mb << 20), disk, notes)
    }

    /// A cache without a disk layer, with the default ceiling.
    pub fn memory_only() -> Self {
        Self::with(Some(CacheConfig::default().memory_mb << 20), DiskLayer::Off, None)
    }

    /// A cache that keeps nothing.
    pub fn disabled() -> Self {
        Self::with(None, DiskLayer::Off, None)
    }

    fn open_disk(directory: PathBuf, limit: u64) -> DiskLayer {
        let path = directory.join(disk::FOLDER).join(disk::FILE);
        match Disk::open(&path, limit) {
            Ok(disk) => DiskLayer::Open(disk),
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "no disk cache: segments are kept in memory only");
                DiskLayer::Unavailable { path, reason }
            }
        }
    }

    fn with(memory_bytes: Option<u64>, disk: DiskLayer, notes: Option<Notes>) -> Self {
        let memory = memory_bytes.map(|bytes| {
            moka::sync::Cache::builder()
                .max_capacity(bytes)
                .weigher(|_: &Key, value: &Arc<[u8]>| {
                    u32::try_from(value.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
                })
                .build()
        });
        let layers = Layers {
            memory,
            disk,
            notes,
            flights: Flights::default(),
            memory_hits: AtomicU64::new(0),
            disk_hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Self { layers: Arc::new(layers), salt: None }
    }

    /// The same layers and ceilings, in which what is kept with another salt, or with none, is not found.
    pub fn salted(&self, salt: &Salt) -> Self {
        Self { layers: self.layers.clone(), salt: Some(*salt) }
    }

    /// Keeps a short value that no tenant sent. Unlike others, it stays on disk whatever else is kept, and in memory
    /// alone only as long as it is asked for.
    pub(crate) fn note(&self, key: &Key, value: &str) {
        let all = Self { layers: self.layers.clone(), salt: None };
        all.put(key, value.as_bytes().to_vec());
        if let Some(notes) = &self.layers.notes {
            notes.put(key, value.as_bytes());
        }
    }

    /// The short value that was kept for `key`.
    pub(crate) fn noted(&self, key: &Key) -> Option<String> {
        let all = Self { layers: self.layers.clone(), salt: None };
        let own = || all.get(key).map(|value| value.to_vec());
        let value = self.layers.notes.as_ref().and_then(|notes| notes.get(key)).or_else(own)?;
        String::from_utf8(value).ok()
    }

    /// The value of `key`, from the nearest layer that has it, else from `compute`.
    ///
    /// Concurrent callers of one key compute it once; the others wait for it. The exception are
    /// waits that could close a circle: a thread that is inside a `compute` does not wait, and a
    /// rayon worker waits for a second at most; they compute for themselves.
    ///
    /// # Errors
    ///
    /// What `compute` returns. It is not cached; another caller that waited computes anew.
    pub fn get_or_compute<E>(
        &self,
        key: &Key,
        compute: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(Arc<[u8]>, Source), E> {
        let Some(memory) = &self.layers.memory else {
            self.layers.misses.fetch_add(1, Ordering::Relaxed);
            return Ok((compute()?.into(), Source::Computed));
        };
        let key = &self.address(key);
        loop {
            if let Some(value) = memory.get(key) {
                return Ok(self.found(value, Source::Memory));
            }
            let leader = match self.layers.flights.join(key) {
                Role::Leader(leader) => Some(leader),
                Role::Alone => None,
                Role::Given(value) => return Ok(self.found(value, Source::Memory)),
                Role::Retry => continue,
            };
            // Another flight may have ended between the look into memory and this one's start.
            let (value, source) = if let Some(value) = memory.get(key) {
                (value, Source::Memory)
            } else if let Some(value) = self.disk().and_then(|disk| disk.get(key)) {
                (value, Source::Disk)
            } else {
                let value: Arc<[u8]> = compute()?.into();
                if let Some(disk) = self.disk() {
                    disk.put(*key, Arc::clone(&value));
                }
                (value, Source::Computed)
            };
            if source != Source::Memory {
                memory.insert(*key, Arc::clone(&value));
            }
            if let Some(leader) = leader {
                leader.finish(&value);
            }
            return Ok(self.found(value, source));
        }
    }

    /// Whether anything is kept.
    pub fn is_enabled(&self) -> bool {
        self.layers.memory.is_some()
    }

    /// The value of `key`, if a layer has it.
    pub fn get(&self, key: &Key) -> Option<Arc<[u8]>> {
        let memory = self.layers.memory.as_ref()?;
        let key = self.address(key);
        if let Some(value) = memory.get(&key) {
            return Some(value);
        }
        let value = self.disk()?.get(&key)?;
        memory.insert(key, Arc::clone(&value));
        Some(value)
    }

    /// Keeps `value` in all layers, in place of what is there.
    pub fn put(&self, key: &Key, value: Vec<u8>) {
        let Some(memory) = &self.layers.memory else { return };
        let (key, value): (Key, Arc<[u8]>) = (self.address(key), value.into());
        if let Some(disk) = self.disk() {
            disk.put(key, Arc::clone(&value));
        }
        memory.insert(key, value);
    }

    /// Keeps `value` as [`Cache::put`] does, and says whether it is there: a layer takes in no value that is larger
    /// than the layer, nor a new one in place of those that are asked for more often.
    pub fn keep(&self, key: &Key, value: Vec<u8>) -> bool {
        self.put(key, value);
        let Some(memory) = &self.layers.memory else { return false };
        let key = self.address(key);
        // Until it has been decided on, every value is found.
        memory.run_pending_tasks();
        if memory.contains_key(&key) {
            return true;
        }
        self.flush();
        self.disk().is_some_and(|disk| disk.get(&key).is_some())
    }

    /// The key with the salt of the tenant.
    fn address(&self, key: &Key) -> Key {
        self.salt.map_or(*key, |salt| key.salted(&salt))
    }

    /// Waits until all that was put is on disk.
    pub fn flush(&self) {
        if let Some(disk) = self.disk() {
            disk.flush();
        }
    }

    /// The account so far.
    pub fn stats(&self) -> Stats {
        let layers = &self.layers;
        let (entries, bytes) = layers.memory.as_ref().map_or((0, 0), |memory| {
            memory.run_pending_tasks();
            (memory.entry_count(), memory.weighted_size())
        });
        Stats {
            memory_hits: layers.memory_hits.load(Ordering::Relaxed),
            disk_hits: layers.disk_hits.load(Ordering::Relaxed),
            misses: layers.misses.load(Ordering::Relaxed),
            entries,
            bytes,
            disk: match &layers.disk {
                DiskLayer::Off => DiskStats::Off,
                DiskLayer::Open(disk) => disk.stats(),
                DiskLayer::Unavailable { path, reason } => {
                    DiskStats::Unavailable { path: path.clone(), reason: reason.clone() }
                }
            },
        }
    }

    fn disk(&self) -> Option<&Disk> {
        match &self.layers.disk {
            DiskLayer::Open(disk) => Some(disk),
            DiskLayer::Off | DiskLayer::Unavailable { .. } => None,
        }
    }

    fn found(&self, value: Arc<[u8]>, source: Source) -> (Arc<[u8]>, Source) {
        let counter = match source {
            Source::Memory => &self.layers.memory_hits,
            Source::Disk => &self.layers.disk_hits,
            Source::Computed => &self.layers.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        (value, source)
    }
}

fn disk_limit(config: &CacheConfig) -> u64 {
    config.disk_mb.saturating_mul(1 << 20)
}

/// The directory of the disk layer: the configured one, else `epitome` in the platform's.
pub fn directory(config: &CacheConfig) -> Option<PathBuf> {
    if config.dir.is_empty() {
        directories::BaseDirs::new().map(|dirs| dirs.cache_dir().join("epitome"))
    } else {
        Some(PathBuf::from(&config.dir))
    }
}
