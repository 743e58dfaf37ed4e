//! The disk layer: one redb file, shared by all processes of a user.
//!
//! Reads go to the file at once; writes go to a thread that commits them in groups. The oldest
//! entries leave when the file would outgrow its limit. Values are made of what people sent: folder and
//! file are for their owner alone.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use redb::{
    Builder, ConcurrencyMode, Database, DatabaseError, Error, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, TableDefinition,
};

use super::{DiskStats, Key};

/// The folder of this layout of the file; another layout gets another folder.
pub(super) const FOLDER: &str = "segments-v1";
/// The file in it.
pub(super) const FILE: &str = "cache.redb";

/// Their permissions.
pub(super) const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Key to checksum and value.
const VALUES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("values-v1");
/// Sequence number of the insertion to key and cost.
const ORDER: TableDefinition<'_, u64, (&[u8; 32], u64)> = TableDefinition::new("order-v1");
/// Cost of all entries, under [`TOTAL`].
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta-v1");
const TOTAL: &str = "total";

/// Bytes of the checksum before each value.
const CHECKSUM: usize = 16;
/// redb's own page cache, bytes. Values are read once and then live in the memory layer.
const PAGE_CACHE: usize = 16 << 20;
/// A group is committed when it has this many bytes, or this share of the limit,
const GROUP_BYTES: u64 = 4 << 20;
const GROUP_SHARE: u64 = 32;
/// or is this old.
const GROUP_AGE: Duration = Duration::from_millis(200);
/// Bytes that may wait to be written; beyond it new values stay in memory only.
const PENDING_BYTES: u64 = 128 << 20;

pub(super) struct Disk {
    store: Arc<Store>,
    limit: u64,
    pending: Arc<AtomicU64>,
    sender: Option<Sender<Message>>,
    writer: Option<JoinHandle<()>>,
}

enum Message {
    Put(Key, Arc<[u8]>),
    Flush(Sender<()>),
}

/// The open file, or why it is no longer used.
struct Store {
    path: PathBuf,
    database: RwLock<Result<Database, String>>,
}

impl Disk {
    /// Opens or makes the file at `path`. A damaged one is put aside and a fresh one made.
    ///
    /// # Errors
    ///
    /// Why there can be no disk layer.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, String> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make the directory {}: {error}", folder.display()))?;
            // Before there is a file in it.
            close_to_others(folder, FOLDER_MODE);
        }
        let database = match open_file(path) {
            Err(Failure::Damaged(reason)) => {
                put_aside(path, &reason);
                open_file(path)
            }
            other => other,
        };
        close_to_others(path, FILE_MODE);
        let database = database.map_err(|failure| match failure {
            Failure::Damaged(reason) | Failure::Unavailable(reason) => reason,
        })?;
        let store = Arc::new(Store { path: path.to_owned(), database: RwLock::new(Ok(database)) });
        let pending = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = mpsc::channel();
        let writer = Writer { store: Arc::clone(&store), limit, pending: Arc::clone(&pending) };
        let writer = thread::Builder::new()
            .name("cache-writer".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| format!("cannot start the thread that writes: {error}"))?;
        Ok(Self { store, limit, pending, sender: Some(sender), writer: Some(writer) })
    }

    /// The value of `key`, if the file holds it whole.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<[u8]>> {
        self.store.with(|database| {
            let table = match database.begin_read()?.open_table(VALUES) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let Some(stored) = table.get(key.as_bytes())? else { return Ok(None) };
            Ok(unseal(key, stored.value()))
        })?
    }

    /// Has `value` written soon.
    pub(super) fn put(&self, key: Key, value: Arc<[u8]>) {
        let bytes = value.len() as u64;
        if self.pending.fetch_add(bytes, Ordering::Relaxed) > PENDING_BYTES
            || self.sender.as_ref().is_none_or(|sender| sender.send(Message::Put(key, value)).is_err())
        {
            self.pending.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Waits until all that was put is in the file.
    pub(super) fn flush(&self) {
        let (done, wait) = mpsc::channel();
        if self.sender.as_ref().is_some_and(|sender| sender.send(Message::Flush(done)).is_ok()) {
            // An error means that the writer is gone, and with it all there was to wait for.
            let _ = wait.recv();
        }
    }

    pub(super) fn stats(&self) -> DiskStats {
        let figures = self.store.with(|database| {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(ORDER) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok((0, 0)),
                table => table?,
            };
            let bytes = transaction.open_table(META)?.get(TOTAL)?.map_or(0, |total| total.value());
            Ok((table.len()?, bytes))
        });
        let path = self.store.path.clone();
        match figures {
            Some((entries, bytes)) => DiskStats::Open { path, entries, bytes, limit: self.limit },
            None => DiskStats::Unavailable { path, reason: self.store.reason() },
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Without a sender the writer commits what it has and ends.
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        self.store.close("closed".to_owned());
    }
}

impl Store {
    /// Runs `action` on the database. None when it is out of use, or goes out of use now, because
    /// `action` failed.
    fn with<T>(&self, action: impl FnOnce(&Database) -> Result<T, Error>) -> Option<T> {
        let result = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let Ok(database) = &*database else { return None };
            guarded(|| action(database))
        };
        match result {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => {
                let damaged = match &error {
                    Error::Corrupted(_) => true,
                    Error::Io(cause) => is_damage(cause.kind()),
                    _ => false,
                };
                self.give_up(error.to_string(), damaged);
            }
            Err(message) => self.give_up(message, true),
        }
        None
    }

    fn give_up(&self, reason: String, damaged: bool) {
        if self.close(reason.clone()) {
            if damaged {
                put_aside(&self.path, &reason);
            } else {
                tracing::warn!(path = %self.path.display(), %reason, "the disk cache is out of use until the next start");
            }
        }
    }

    /// Closes the database; false if it was closed before.
    fn close(&self, reason: String) -> bool {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let open = std::mem::replace(&mut *slot, Err(reason));
        drop(slot);
        match open {
            Ok(database) => {
                // What closing says of a damaged file has no use any more.
                let _ = guarded(|| drop(database));
                true
            }
            Err(_) => false,
        }
    }

    fn reason(&self) -> String {
        match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Ok(_) => String::new(),
            Err(reason) => reason.clone(),
        }
    }
}

enum Failure {
    /// The file is not what it should be.
    Damaged(String),
    /// The file may be good, but this process cannot have it.
    Unavailable(String),
}

fn open_file(path: &Path) -> Result<Database, Failure> {
    let opened = guarded(|| {
        Builder::new()
            .set_cache_size(PAGE_CACHE)
            // Server and command line may run side by side. Each commit also records what a
            // restart after a kill needs, so that opening never walks through the whole file.
            .set_concurrency_mode(ConcurrencyMode::MultiWriter)
            .create(path)
    });
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Failure::Unavailable("another process has it locked".to_owned())
            }
            DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::UpgradeRequired(_) => {
                Failure::Damaged(error.to_string())
            }
            DatabaseError::Storage(StorageError::Io(cause)) if is_damage(cause.kind()) => {
                Failure::Damaged(cause.to_string())
            }
            other => Failure::Unavailable(other.to_string()),
        }),
        Err(message) => Err(Failure::Damaged(message)),
    }
}

/// Leaves a folder or file to its owner alone, one of an earlier version too.
#[cfg(unix)]
pub(super) fn close_to_others(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    // By its path: to open and close the file would give up the locks that this process has on it.
    let open = fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777 != mode);
    let closed = match open {
        Ok(false) => Ok(()),
        Ok(true) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = closed {
        tracing::warn!(path = %path.display(), %error, "others may be able to read the disk cache: its permissions cannot be set");
    }
}

/// Elsewhere the folder that the system gives for caches is the user's own.
#[cfg(not(unix))]
pub(super) fn close_to_others(_path: &Path, _mode: u32) {}

/// Whether an error of the system speaks of what is in the file.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

/// Runs `action` on a file that may be damaged: redb trusts what it wrote and may panic on bytes
/// that something else changed. For a cache that is one more way to miss.
fn guarded<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(action)).map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        format!("the file is damaged: {text}")
    })
}

/// Renames a damaged file, so that the next start makes a fresh one. One such file is kept.
fn put_aside(path: &Path, reason: &str) {
    let aside = path.with_extension("redb.damaged");
    match fs::rename(path, &aside) {
        Ok(()) => {
            tracing::warn!(path = %path.display(), aside = %aside.display(), %reason, "the disk cache is damaged and was put aside");
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, %reason, "the disk cache is damaged and could not be put aside");
        }
    }
}

/// Bytes of the file that a value takes: redb keeps a large one in pages of a power of two, and
/// small ones in pages that are partly empty and are copied when a neighbour changes.
fn cost(value: &[u8]) -> u64 {
    let bytes = value.len() as u64 + 160;
    if bytes > 2048 { bytes.next_power_of_two() } else { 2 * bytes }
}

fn checksum(key: &Key, value: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(value);
    hasher.finalize()
}

fn seal(key: &Key, value: &[u8]) -> Vec<u8> {
    let sum = checksum(key, value);
    let mut sealed = Vec::with_capacity(CHECKSUM + value.len());
    sealed.extend(sum.as_bytes().iter().take(CHECKSUM));
    sealed.extend_from_slice(value);
    sealed
}

fn unseal(key: &Key, sealed: &[u8]) -> Option<Arc<[u8]>> {
    let (sum, value) = sealed.split_at_checked(CHECKSUM)?;
    checksum(key, value).as_bytes().starts_with(sum).then(|| value.into())
}

struct Writer {
    store: Arc<Store>,
    limit: u64,
    pending: Arc<AtomicU64>,
}

/// What one transaction writes.
#[derive(Default)]
struct Group {
    entries: Vec<(Key, Arc<[u8]>)>,
    bytes: u64,
    /// Who waits for it.
    waiting: Vec<Sender<()>>,
}

impl Writer {
    fn run(&self, receiver: &Receiver<Message>) {
        while let Ok(first) = receiver.recv() {
            let group = Group::collect(first, receiver, GROUP_BYTES.min(self.limit / GROUP_SHARE));
            self.store.with(|database| write(database, &group.entries, self.limit));
            self.pending.fetch_sub(group.bytes, Ordering::Relaxed);
            for done in group.waiting {
                // Who waits may have left.
                let _ = done.send(());
            }
        }
    }
}

impl Group {
    fn collect(first: Message, receiver: &Receiver<Message>, enough: u64) -> Self {
        let deadline = Instant::now() + GROUP_AGE;
        let mut group = Self::default();
        group.add(first);
        while group.bytes < enough && group.waiting.is_empty() {
            match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(message) => group.add(message),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        group
    }

    fn add(&mut self, message: Message) {
        match message {
            Message::Put(key, value) => {
                self.bytes += value.len() as u64;
                self.entries.push((key, value));
            }
            Message::Flush(done) => self.waiting.push(done),
        }
    }
}

/// Adds a group of entries, and removes the oldest ones until all are within `limit`.
fn write(database: &Database, group: &[(Key, Arc<[u8]>)], limit: u64) -> Result<(), Error> {
    if group.is_empty() {
        return Ok(());
    }
    // The other half is for the trees, and for the pages that a commit copies before it frees the old
    // ones.
    let ceiling = limit / 2;
    let transaction = database.begin_write()?;
    {
        let mut values = transaction.open_table(VALUES)?;
        let mut order = transaction.open_table(ORDER)?;
        let mut meta = transaction.open_table(META)?;
        let mut total = meta.get(TOTAL)?.map_or(0, |total| total.value());
        let mut sequence = order.last()?.map_or(0, |(sequence, _)| sequence.value() + 1);
        for (key, value) in group {
            // The value is there already when two processes computed it at once. Another or a damaged one is
            // replaced; its place in the order, and its cost, stay.
            let known = values.get(key.as_bytes())?;
            let known = known.map(|stored| unseal(key, stored.value()).is_some_and(|old| *old == **value));
            let cost = cost(value);
            if known == Some(true) || cost > ceiling {
                continue;
            }
            if known.is_none() {
                // Room is made first, so that the file need not grow for entries that leave.
                while total + cost > ceiling {
                    let Some((_, oldest)) = order.pop_first()? else { break };
                    let (key, cost) = oldest.value();
                    values.remove(key)?;
                    total = total.saturating_sub(cost);
                }
                order.insert(sequence, (key.as_bytes(), cost))?;
                sequence += 1;
                total += cost;
            }
            values.insert(key.as_bytes(), seal(key, value).as_slice())?;
        }
        meta.insert(TOTAL, total)?;
    }
    transaction.commit()?;
    Ok(())
}
