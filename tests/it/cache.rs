//! The segment cache: single flight, the disk layer across processes, and the effect of damage.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use epitome_compactor::{
    Cache,
    cache::{DiskStats, Key, KeyParts, Source},
    config::CacheConfig,
};
use rayon::prelude::*;

fn key(name: &str) -> Key {
    Key::from(&KeyParts { stage: "test", segment: name.as_bytes(), model: "", template: "", params: b"" })
}

fn config(dir: &Path) -> CacheConfig {
    CacheConfig { dir: dir.display().to_string(), ..CacheConfig::default() }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("segments-v1").join("cache.redb")
}

fn get(cache: &Cache, name: &str, value: &[u8]) -> (Arc<[u8]>, Source) {
    cache.get_or_compute(&key(name), || Ok::<_, Infallible>(value.to_vec())).unwrap()
}

/// A value that depends on the name.
fn value(name: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Fills the cache in `dir` with `count` values and closes it.
fn fill(dir: &Path, count: usize, len: usize) {
    let cache = Cache::open(&config(dir));
    for n in 0..count {
        assert_eq!(get(&cache, &n.to_string(), &value(&n.to_string(), len)).1, Source::Computed);
    }
}

/// Number of values that a new cache in `dir` finds. Every value found must be correct.
fn found(dir: &Path, count: usize, len: usize) -> usize {
    let cache = Cache::open(&config(dir));
    (0..count)
        .filter(|n| {
            let right = value(&n.to_string(), len);
            let (got, source) = get(&cache, &n.to_string(), &right);
            assert_eq!(*got, *right);
            source == Source::Disk
        })
        .count()
}

#[test]
fn concurrent_callers_compute_once() {
    let cache = Cache::memory_only();
    let (computed, barrier) = (AtomicUsize::new(0), Barrier::new(8));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                let (got, _) = cache
                    .get_or_compute(&key("k"), || {
                        computed.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(50));
                        Ok::<_, Infallible>(b"v".to_vec())
                    })
                    .unwrap();
                assert_eq!(*got, *b"v");
            });
        }
    });
    assert_eq!(computed.into_inner(), 1);
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.memory_hits, stats.disk), (1, 7, DiskStats::Off));
}

#[test]
fn an_error_is_returned_to_its_caller_and_not_cached() {
    let cache = Cache::memory_only();
    let (inside, go_on) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            cache.get_or_compute(&key("k"), || {
                inside.wait();
                go_on.wait();
                Err::<Vec<u8>, _>("no")
            })
        });
        inside.wait();
        let second = scope.spawn(|| cache.get_or_compute(&key("k"), || Ok::<_, &str>(b"v".to_vec())));
        go_on.wait();
        assert_eq!(first.join().unwrap().unwrap_err(), "no");
        assert_eq!(second.join().unwrap().unwrap().1, Source::Computed);
    });
    assert_eq!(get(&cache, "k", b"").1, Source::Memory);
}

#[test]
fn a_panic_does_not_block_the_key() {
    let cache = Cache::memory_only();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = cache.get_or_compute(&key("k"), || -> Result<Vec<u8>, Infallible> { panic!("on purpose") });
    }));
    assert!(panicked.is_err());
    assert_eq!(get(&cache, "k", b"v").1, Source::Computed);
}

/// A pool worker that waits inside a computation takes other work, which may request the same key.
#[test]
fn nested_work_in_a_pool_does_not_deadlock() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let cache = Cache::memory_only();
    pool.install(|| {
        (0..64usize).into_par_iter().for_each(|n| {
            let (got, _) = cache
                .get_or_compute(&key(&(n % 3).to_string()), || {
                    let sum: usize = (0..64usize)
                        .into_par_iter()
                        .map(|m| {
                            thread::sleep(Duration::from_micros(200));
                            (0..8usize).into_par_iter().map(|k| k * m).sum::<usize>()
                        })
                        .sum();
                    Ok::<_, Infallible>(sum.to_le_bytes().to_vec())
                })
                .unwrap();
            assert_eq!(got.len(), 8);
        });
    });
}

#[test]
fn a_disabled_cache_keeps_nothing() {
    let cache = Cache::disabled();
    for _ in 0..2 {
        assert_eq!(get(&cache, "k", b"v").1, Source::Computed);
    }
}

#[test]
fn a_reopened_cache_finds_every_value() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 300, 3000);
    assert_eq!(found(dir.path(), 300, 3000), 300);
    let cache = Cache::open(&config(dir.path()));
    let DiskStats::Open { entries, path, .. } = cache.stats().disk else { panic!("not open") };
    assert_eq!((entries, path), (300, file(dir.path())));
}

#[test]
fn flush_makes_values_visible_to_another_opener() {
    let dir = tempfile::tempdir().unwrap();
    let one = Cache::open(&config(dir.path()));
    let two = Cache::open(&config(dir.path()));
    get(&one, "a", b"from one");
    one.flush();
    assert_eq!(get(&two, "a", b""), (b"from one".as_slice().into(), Source::Disk));
    get(&two, "b", b"from two");
    two.flush();
    assert_eq!(get(&one, "b", b""), (b"from two".as_slice().into(), Source::Disk));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let dir = tempfile::tempdir().unwrap();
    let file = file(dir.path());
    let folder = file.parent().unwrap();
    let modes = || (mode(folder), mode(&file));
    fill(dir.path(), 3, 100);
    assert_eq!(modes(), (0o700, 0o600));

    // Left by an earlier version.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(found(dir.path(), 3, 100), 3);
    assert_eq!(modes(), (0o700, 0o600));
    // Permissions of the parent folder are the user's own business.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(found(dir.path(), 3, 100), 3);
    assert_eq!(mode(dir.path()), 0o755);
}

#[test]
fn a_locked_file_falls_back_to_memory() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(file(dir.path()).parent().unwrap()).unwrap();
    let holder = redb::Database::create(file(dir.path())).unwrap();
    let cache = Cache::open(&config(dir.path()));
    assert!(matches!(cache.stats().disk, DiskStats::Unavailable { .. }), "{:?}", cache.stats());
    assert_eq!(get(&cache, "k", b"v").1, Source::Computed);
    assert_eq!(get(&cache, "k", b"v").1, Source::Memory);
    drop((cache, holder));
    assert!(file(dir.path()).exists(), "a locked file is not damaged");
    fill(dir.path(), 3, 10);
    assert_eq!(found(dir.path(), 3, 10), 3);
}

#[test]
fn an_impossible_directory_falls_back_to_memory() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    fs::write(&blocked, "not a directory").unwrap();
    let cache = Cache::open(&config(&blocked.join("cache")));
    assert!(matches!(cache.stats().disk, DiskStats::Unavailable { .. }));
    get(&cache, "k", b"v");
    assert_eq!(get(&cache, "k", b"v").1, Source::Memory);
}

#[test]
fn garbage_is_put_aside() {
    for garbage in [b"not a database at all".to_vec(), vec![0; 100_000], value("noise", 1 << 20)] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(file(dir.path()).parent().unwrap()).unwrap();
        fs::write(file(dir.path()), &garbage).unwrap();
        fill(dir.path(), 5, 100);
        assert_eq!(found(dir.path(), 5, 100), 5);
        assert_eq!(fs::read(file(dir.path()).with_extension("redb.damaged")).unwrap(), garbage);
    }
}

#[test]
fn a_truncated_file_costs_values_only() {
    for share in [0, 1, 30, 50, 90, 99] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 200, 3000);
        let whole = fs::read(file(dir.path())).unwrap();
        fs::write(file(dir.path()), &whole[..whole.len() * share / 100]).unwrap();
        found(dir.path(), 200, 3000);
        // Whatever the damage, the cache works again the next time it is opened.
        found(dir.path(), 200, 3000);
        assert_eq!(found(dir.path(), 200, 3000), 200, "cut at {share} %");
    }
}

#[test]
fn flipped_bytes_cost_values_only() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 200, 3000);
    let whole = fs::read(file(dir.path())).unwrap();
    let mut missed = 0;
    for seed in 0..24 {
        let mut bytes = whole.clone();
        let noise = value(&format!("place {seed}"), 8 * 64);
        for place in noise.chunks_exact(8) {
            let at = u64::from_le_bytes(place.try_into().unwrap()) as usize % bytes.len();
            // Damage the first bytes in every other file only.
            let at = if seed % 2 == 0 { at.max(4096) } else { at };
            bytes[at] ^= 0x55;
        }
        if seed % 4 == 1 {
            bytes[..512].iter_mut().skip(9).step_by(7).for_each(|byte| *byte ^= 0x10);
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(file(dir.path()).parent().unwrap()).unwrap();
        fs::write(file(dir.path()), &bytes).unwrap();
        missed += 200 - found(dir.path(), 200, 3000);
    }
    assert!(missed > 0, "the damage touched nothing");
}

/// Disk usage of a file, which may be sparse.
#[cfg(unix)]
fn space(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512
}

#[cfg(not(unix))]
fn space(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len() / 2
}

#[test]
fn the_file_stays_within_its_limit_and_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let config = CacheConfig { disk_mb: 8, memory_mb: 1, ..config(dir.path()) };
    for len in [100_000, 5_000, 300] {
        let cache = Cache::open(&config);
        for n in 0..(24 << 20) / len {
            let name = format!("{len} {n}");
            get(&cache, &name, &value(&name, len));
            if n % 200 == 0 {
                cache.flush();
            }
        }
        cache.flush();
        let size = space(&file(dir.path()));
        assert!(size <= 8 << 20, "{size} bytes with values of {len}");
        let last = format!("{len} {}", (24 << 20) / len - 1);
        drop(cache);
        let cache = Cache::open(&config);
        assert_eq!(get(&cache, &last, b"").1, Source::Disk);
        assert_eq!(get(&cache, &format!("{len} 0"), b"").1, Source::Computed);
    }
}
