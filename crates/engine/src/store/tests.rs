//! The store with directories, a hub on the loopback interface, and failing sources.

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

use super::{repository::hub_repository, *};
use crate::ModelId;

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

/// A hub that serves `content` as the one file of [`manifest`]; counts complete downloads.
fn serve(content: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    serve_all("main", vec![("tiny.gguf", content)])
}

/// A hub that serves the files of a revision of `someone/tiny`; counts complete downloads.
fn serve_all(
    revision: &'static str,
    files: Vec<(&'static str, &'static [u8])>,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let downloads = Arc::new(AtomicUsize::new(0));
    let counted = downloads.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (counted, files) = (counted.clone(), files.clone());
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") {
                    // A probe connects without sending a request.
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                let path = request.split_whitespace().nth(1).unwrap();
                if path == format!("/api/models/someone/tiny/revision/{revision}") {
                    let names: Vec<_> =
                        files.iter().map(|(name, _)| serde_json::json!({ "rfilename": name })).collect();
                    let body = serde_json::json!({ "siblings": names, "sha": "c" }).to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\
                         content-length: {}\r\n\r\n",
                        body.len()
                    );
                    return stream.write_all((head + &body).as_bytes()).unwrap();
                }
                let file = path.strip_prefix(&format!("/someone/tiny/resolve/{revision}/")).unwrap();
                let Some((_, content)) = files.iter().find(|(name, _)| *name == file) else {
                    let head = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                    return stream.write_all(head.as_bytes()).unwrap();
                };
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
fn user_directory_has_priority() {
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
fn without_a_source_the_error_names_everything_tried() {
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
fn a_file_is_fetched_from_the_hub_only_once() {
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
    assert_eq!(names_in(place.final_path().parent().unwrap()), [".lock", "tiny.gguf"]);
}

/// The names in a directory, sorted.
fn names_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
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
fn a_damaged_cache_file_is_fetched_again() {
    let (endpoint, _) = serve(CONTENT);
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    fs::create_dir_all(place.final_path().parent().unwrap()).unwrap();
    fs::write(place.final_path(), &CONTENT[1..]).unwrap();
    place.ensure().unwrap();
    assert_eq!(fs::read(place.final_path()).unwrap(), CONTENT);
}

#[test]
fn an_unreachable_hub_fails_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place { endpoint: Some(format!("http://{free}")), ..Place::new() };
    let error = place.ensure().unwrap_err().to_string();
    assert!(error.contains(&free.to_string()), "{error}");
}

#[test]
fn a_path_can_name_a_model() {
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

const ENCODER: [(&str, &[u8]); 3] =
    [("config.json", b"{}"), ("tokenizer.json", b"{ }"), ("model.safetensors", b"the weights")];

const DECODER: [(&str, &[u8]); 6] = [
    ("config.json", b"{}"),
    ("tokenizer.json", b"{ }"),
    ("generation_config.json", b"{  }"),
    (
        "model.safetensors.index.json",
        br#"{"weight_map":{"x":"model-2.safetensors","y":"model-1.safetensors"}}"#,
    ),
    ("model-1.safetensors", b"half of the weights"),
    ("model-2.safetensors", b"the other half"),
];

#[test]
fn a_decoder_is_fetched_by_repository_name() {
    let (endpoint, downloads) = serve_all("v1", DECODER.to_vec());
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    let name = "someone/tiny@v1";
    let located = place.store().ensure(name, Role::Decoder).unwrap();
    let names: Vec<&str> = located.spec.files.iter().map(|file| file.name.as_str()).collect();
    let expected = [
        "model-1.safetensors",
        "model-2.safetensors",
        "config.json",
        "tokenizer.json",
        "generation_config.json",
    ];
    assert_eq!(names, expected);
    assert_eq!(located.shards().len(), 2);
    for (path, name) in located.paths.iter().zip(expected) {
        let (_, content) = DECODER.iter().find(|(file, _)| *file == name).unwrap();
        assert_eq!(fs::read(path).unwrap(), *content);
    }
    assert_eq!(downloads.load(Ordering::SeqCst), DECODER.len());
    place.store().ensure(name, Role::Decoder).unwrap();
    assert_eq!(downloads.load(Ordering::SeqCst), DECODER.len());
}

#[test]
fn a_repository_without_safetensors_says_what_is_missing() {
    let (endpoint, _) = serve_all("v1", DECODER.iter().copied().take(2).collect());
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    let error = place.store().ensure("someone/tiny@v1", Role::Decoder).unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("models.decoder"), "{error}");
}

#[test]
fn the_hash_covers_every_file_of_a_folder() {
    let place = Place::new();
    let dir = place.dir.path().join("folder");
    let adapter = place.dir.path().join("adapter");
    for (dir, files) in [
        (&dir, &DECODER[..]),
        (&adapter, &[("adapter_config.json", &b"{}"[..]), ("adapter_model.safetensors", &b"more"[..])][..]),
    ] {
        fs::create_dir_all(dir).unwrap();
        for (file, content) in files {
            fs::write(dir.join(file), content).unwrap();
        }
    }
    let id = || place.store().ensure(&dir.display().to_string(), Role::Decoder).unwrap();
    let first = id();
    assert_eq!((first.spec.name.as_str(), first.paths.len()), ("folder", 5));
    fs::write(dir.join("generation_config.json"), "[]").unwrap();
    let second = id();
    let mut third = second.clone();
    third.adapters.push(place.store().adapter(&adapter.display().to_string()).unwrap());
    let hash = |located: &Located| located.id().unwrap().hash;
    assert!(hash(&first) != hash(&second) && hash(&second) != hash(&third));
    fs::remove_file(dir.join("model-2.safetensors")).unwrap();
    let error = place.store().ensure(&dir.display().to_string(), Role::Decoder).unwrap_err().to_string();
    assert!(error.contains("model-2.safetensors"), "{error}");
    fs::remove_file(adapter.join("adapter_config.json")).unwrap();
    let error = place.store().adapter(&adapter.display().to_string()).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json"), "{error}");
}

#[test]
fn a_ranker_is_fetched_by_repository_name() {
    let (endpoint, downloads) = serve_all("v1", ENCODER.to_vec());
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    let name = "someone/tiny@v1";
    let error = place.store().locate(name, Role::Ranker).unwrap_err();
    assert!(matches!(error, ModelError::Missing { .. }), "{error}");
    let status = place.store().status(name, Role::Ranker, true);
    assert_eq!((status.missing, status.spec.hub.as_deref()), (true, Some("someone/tiny")));

    let located = place.store().ensure(name, Role::Ranker).unwrap();
    assert_eq!(located.id().unwrap(), ModelId { name: name.into(), hash: hex(b"the weights") });
    let home = place.dir.path().join("cache").join(LAYOUT).join("someone--tiny@v1");
    for (file, content) in ENCODER {
        assert_eq!(located.path(file).unwrap(), home.join(file));
        assert_eq!(fs::read(home.join(file)).unwrap(), content);
    }
    assert_eq!(names_in(&home), [".lock", "config.json", "model.safetensors", "tokenizer.json"]);
    assert!(place.store().locate(name, Role::Ranker).is_ok());
    assert!(place.store().verify(name, Role::Ranker).is_ok());
    place.store().ensure(name, Role::Ranker).unwrap();
    assert_eq!(downloads.load(Ordering::SeqCst), 3);
}

#[test]
fn an_incomplete_repository_leaves_nothing_behind() {
    let (endpoint, _) = serve_all("main", ENCODER[..2].to_vec());
    let place = Place { endpoint: Some(endpoint), ..Place::new() };
    let error = place.store().ensure("someone/tiny", Role::Ranker).unwrap_err();
    let text = error.to_string();
    assert!(matches!(&error, ModelError::NotFetched { file, .. } if file == "model.safetensors"), "{text}");
    assert!(text.contains("Hugging Face hub") && text.contains("models.ranker"), "{text}");
    let home = place.dir.path().join("cache").join(LAYOUT).join("someone--tiny");
    assert_eq!(names_in(&home), [".lock"]);

    let own = place.own().join("someone--tiny");
    fs::create_dir_all(&own).unwrap();
    ENCODER.iter().for_each(|(file, content)| fs::write(own.join(file), content).unwrap());
    let located = place.store().ensure("someone/tiny", Role::Ranker).unwrap();
    assert_eq!(located.path("config.json").unwrap(), own.join("config.json"));
}

#[test]
fn repository_names_are_recognised() {
    assert_eq!(hub_repository("a/b-1.x_y"), Some(("a/b-1.x_y", None)));
    assert_eq!(hub_repository("a/b@refs"), Some(("a/b", Some("refs"))));
    for other in ["", "a", "a/", "/a", "a/b/c", "../a", "./a", "a/..", "a/b@", "a/b@x/y", "a b/c", "~/a"] {
        assert_eq!(hub_repository(other), None, "{other}");
    }
    let error = Place::new().store().ensure("./no/such", Role::Ranker).unwrap_err();
    assert!(matches!(error, ModelError::Unknown { .. }), "{error}");
}
