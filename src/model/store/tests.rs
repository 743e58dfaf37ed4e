//! The store against directories, a hub on the loopback, and sources that fail.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use sha2::{Digest, Sha256};

use super::*;

const CONTENT: &[u8] = b"the weights of a very small model";

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn manifest() -> Manifest {
    let spec = ModelSpec {
        name: "tiny".into(),
        role: Role::Decoder,
        licence: "MIT".into(),
        hub: Some("someone/tiny".into()),
        revision: None,
        pip: None,
        files: vec![FileSpec {
            name: "tiny.gguf".into(),
            bytes: CONTENT.len() as u64,
            sha256: hex(CONTENT),
            path: None,
            wheel: None,
        }],
    };
    Manifest { models: vec![spec] }
}

struct Place {
    dir: tempfile::TempDir,
    endpoint: Option<String>,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), endpoint: None }
    }

    fn own(&self) -> PathBuf {
        self.dir.path().join("own")
    }

    fn final_path(&self) -> PathBuf {
        self.dir.path().join("cache").join(LAYOUT).join("tiny").join("tiny.gguf")
    }

    fn store(&self) -> Store {
        let mut store = Store::new(&config::Models {
            dir: self.own().display().to_string(),
            cache: self.dir.path().join("cache").display().to_string(),
            hub: self.endpoint.is_some(),
            connect_timeout_ms: 500,
            ..config::Models::default()
        })
        .unwrap();
        store.manifest = manifest();
        if let Some(hub) = &mut store.hub {
            hub.endpoint.clone_from(&self.endpoint);
        }
        store
    }

    fn ensure(&self) -> Result<Located, ModelError> {
        self.store().ensure("tiny", Role::Decoder)
    }
}

/// A hub that gives `content` for every name; counts whole downloads.
fn serve(content: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let downloads = Arc::new(AtomicUsize::new(0));
    let counted = downloads.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let counted = counted.clone();
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") {
                    // A probe connects and says nothing.
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                assert!(request.starts_with("get /someone/tiny/resolve/main/tiny.gguf"), "{request}");
                let only_first = request.contains("bytes=0-0");
                let body = if only_first { &content[..1] } else { content };
                if !only_first {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nconnection: close\r\netag: \"e\"\r\nx-repo-commit: c\r\n\
                     content-range: bytes 0-{}/{}\r\ncontent-length: {}\r\n\r\n",
                    body.len() - 1,
                    content.len(),
                    body.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(body).unwrap();
            });
        }
    });
    (endpoint, downloads)
}

#[test]
fn a_directory_of_the_user_comes_first() {
    for below in ["", "tiny"] {
        let place = Place::new();
        let own = place.own().join(below);
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("tiny.gguf"), CONTENT).unwrap();
        let located = place.ensure().unwrap();
        assert_eq!(located.weights().unwrap(), own.join("tiny.gguf"));
        assert_eq!(located.id().unwrap().hash, hex(CONTENT));
        assert!(place.store().verify("tiny", Role::Decoder).is_ok());
    }
}

#[test]
fn without_a_source_the_error_names_all_that_was_tried() {
    let place = Place::new();
    fs::create_dir_all(place.own()).unwrap();
    fs::write(place.own().join("tiny.gguf"), "something else").unwrap();
    let error = place.ensure().unwrap_err().to_string();
    for part in [
        "tiny.gguf",
        "models.dir",
        "models.cache",
        "not there",
        "turned off by models.hub",
        &hex(b"something else"),
        &hex(CONTENT),
        &place.final_path().display().to_string(),
    ] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    let error = place.store().locate("tiny", Role::Decoder).unwrap_err();
    assert!(matches!(error, ModelError::WrongHash { .. }), "{error}");
    let status = place.store().status("tiny", Role::Decoder, true);
    assert!(status.path.is_none() && status.problem.is_some());
}

#[test]
fn a_file_is_fetched_from_the_hub_once() {
    let (endpoint, downloads) = serve(CONTENT);
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    assert!(matches!(place.store().locate("tiny", Role::Decoder), Err(ModelError::Missing { .. })));
    thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| place.ensure().unwrap())).collect();
        for pull in pulls {
            let located = pull.join().unwrap();
            assert_eq!(located.weights().unwrap(), place.final_path());
            assert_eq!(fs::read(place.final_path()).unwrap(), CONTENT);
        }
    });
    assert_eq!(downloads.load(Ordering::SeqCst), 1);
    let left: Vec<_> = fs::read_dir(place.final_path().parent().unwrap()).unwrap().flatten().collect();
    assert_eq!(left.len(), 2, "the file and the lock: {left:?}");
}

#[test]
fn a_wrong_file_from_the_hub_is_refused() {
    let (endpoint, _) = serve(b"THE WEIGHTS OF A VERY SMALL MODEL");
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    let error = place.ensure().unwrap_err().to_string();
    assert!(error.contains(&hex(b"THE WEIGHTS OF A VERY SMALL MODEL")), "{error}");
    assert!(!place.final_path().exists());
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_anew() {
    let (endpoint, _) = serve(CONTENT);
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    fs::create_dir_all(place.final_path().parent().unwrap()).unwrap();
    fs::write(place.final_path(), &CONTENT[1..]).unwrap();
    place.ensure().unwrap();
    assert_eq!(fs::read(place.final_path()).unwrap(), CONTENT);
}

#[test]
fn a_hub_that_cannot_be_reached_fails_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place { endpoint: Some(format!("http://{free}")), ..Place::new() };
    let error = place.ensure().unwrap_err().to_string();
    assert!(error.contains(&free.to_string()), "{error}");
}

#[test]
fn a_path_is_a_model_too() {
    let place = Place::new();
    let path = place.dir.path().join("other.gguf");
    fs::write(&path, "abc").unwrap();
    let by_file = place.store().ensure(&path.display().to_string(), Role::Decoder).unwrap();
    assert_eq!(by_file.id().unwrap(), ModelId { name: "other".into(), hash: hex(b"abc") });
    let by_dir = place.store().ensure(&place.dir.path().display().to_string(), Role::Decoder).unwrap();
    assert_eq!(by_dir.weights().unwrap(), path);
    fs::write(place.dir.path().join("second.gguf"), "abc").unwrap();
    let error = place.store().ensure(&place.dir.path().display().to_string(), Role::Decoder).unwrap_err();
    assert!(error.to_string().contains("more than one"), "{error}");
    let error = place.store().ensure("no-such-model", Role::Decoder).unwrap_err();
    assert!(matches!(&error, ModelError::Unknown { known, .. } if known == "tiny"), "{error}");
    let error = place.store().ensure("tiny", Role::Embedder).unwrap_err();
    assert!(error.to_string().contains("tiny is for the role decoder, not embedder"), "{error}");
}
