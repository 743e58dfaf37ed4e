//! A task's file: read from disk or the hub, unpacked, split into records.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use epitome_engine::{DatasetFile, Hub};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde_json::value::RawValue;

use super::TaskError;

/// Most bytes of an unpacked file.
const LIMIT: u64 = 4 << 30;
/// Prefix of paths on the hub.
const HUB: &str = "hub:";
/// Version of the directory layout for fetched files.
const LAYOUT: &str = "v1";
/// Timeout for connecting to the hub.
const CONNECT: Duration = Duration::from_secs(3);

/// One record of a file.
pub(in crate::eval) struct Record<'a> {
    /// Line on which it starts, counted from 1.
    pub(in crate::eval) line: usize,
    /// Its text.
    pub(in crate::eval) json: &'a str,
}

/// The raw bytes of the file.
pub(super) fn bytes(path: &str, base: &Path) -> Result<Vec<u8>, TaskError> {
    let at = match path.strip_prefix(HUB) {
        Some(name) => {
            let file = hub_file(name).ok_or_else(|| TaskError::HubPath { path: path.to_owned() })?;
            fetched(path, &file, &Hub::from_env(CONNECT), &store())?
        }
        None => beside(base).join(path),
    };
    fs::read(&at).map_err(|source| TaskError::Read { path: at.display().to_string(), source })
}

/// The directory of the suite.
fn beside(base: &Path) -> &Path {
    if base.is_file() { base.parent().unwrap_or(base) } else { base }
}

/// `OWNER/DATASET[@REVISION]/PATH`.
fn hub_file(name: &str) -> Option<DatasetFile> {
    let (owner, rest) = name.split_once('/')?;
    let (dataset, path) = rest.split_once('/')?;
    let (dataset, revision) = dataset.split_once('@').unwrap_or((dataset, "main"));
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let sound = plain(owner) && plain(dataset) && plain(revision) && path.split('/').all(plain);
    let no_other = |part: &str| !part.contains(['\\', ':']);
    (sound && [owner, dataset, revision, path].into_iter().all(no_other)).then(|| DatasetFile {
        id: format!("{owner}/{dataset}"),
        revision: revision.to_owned(),
        path: path.to_owned(),
    })
}

/// Directory for fetched files.
fn store() -> PathBuf {
    directories::ProjectDirs::from("", "", "epitome")
        .map_or_else(|| std::env::temp_dir().join("epitome"), |dirs| dirs.cache_dir().to_owned())
        .join("eval")
        .join(LAYOUT)
}

/// The file from our store or from the cache of the hub's own clients; fetched if it is in neither.
fn fetched(path: &str, file: &DatasetFile, hub: &Hub, store: &Path) -> Result<PathBuf, TaskError> {
    let target = store.join(&file.id).join(&file.revision).join(&file.path);
    if target.exists() {
        return Ok(target);
    }
    if let Some(cached) = file.cached() {
        return Ok(cached);
    }
    let failed = |reason: String| TaskError::Hub {
        path: path.to_owned(),
        reason,
        by_hand: target.display().to_string(),
    };
    let home = target.parent().unwrap_or(store);
    fs::create_dir_all(home).map_err(|error| failed(error.to_string()))?;
    // Concurrent runs fetch into separate directories; the later one wins.
    let scratch = tempfile::tempdir_in(home).map_err(|error| failed(error.to_string()))?;
    let part = scratch.path().join("part");
    hub.fetch_dataset(file, &part).map_err(failed)?;
    fs::rename(&part, &target).map_err(|error| failed(error.to_string()))?;
    Ok(target)
}

/// The text of a file, unpacked according to its name.
pub(in crate::eval) fn text(path: &str, bytes: Vec<u8>) -> Result<String, TaskError> {
    let unpack = |reason: String| TaskError::Unpack { path: path.to_owned(), reason };
    let bytes = if path.ends_with(".gz") {
        all(path, MultiGzDecoder::new(bytes.as_slice()))?
    } else if path.ends_with(".zst") {
        let decoder = StreamingDecoder::new(bytes.as_slice()).map_err(|error| unpack(error.to_string()))?;
        all(path, decoder)?
    } else {
        bytes
    };
    String::from_utf8(bytes).map_err(|error| TaskError::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

fn all(path: &str, reader: impl Read) -> Result<Vec<u8>, TaskError> {
    let mut bytes = Vec::new();
    let read: io::Result<usize> = reader.take(LIMIT + 1).read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() as u64 > LIMIT => {
            Err(TaskError::TooLarge { path: path.to_owned(), limit: LIMIT })
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(TaskError::Unpack { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// The records of a file: the elements of a JSON array, else one per line. Blank lines are skipped.
pub(in crate::eval) fn records<'a>(path: &str, text: &'a str) -> Result<Vec<Record<'a>>, TaskError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().starts_with('[') {
        return Ok((1..)
            .zip(text.lines())
            .filter(|(_, json)| !json.trim().is_empty())
            .map(|(line, json)| Record { line, json })
            .collect());
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| TaskError::Json {
        path: path.to_owned(),
        line: error.line(),
        reason: error.to_string(),
    })?;
    let (mut line, mut end) = (1, 0);
    let records = items.into_iter().map(|item| {
        // The elements are slices of the text, in its order.
        let start = (item.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        line += text.get(end..start).map_or(0, |between| between.matches('\n').count());
        end = start;
        Record { line, json: item.get() }
    });
    Ok(records.collect())
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener, thread};

    use super::*;

    #[test]
    fn names_on_the_hub() {
        let file = hub_file("zai-org/LongBench/data/hotpotqa.jsonl").unwrap();
        assert_eq!((file.id.as_str(), file.revision.as_str()), ("zai-org/LongBench", "main"));
        assert_eq!(file.path, "data/hotpotqa.jsonl");
        assert_eq!(hub_file("a/b@v2/c.json").unwrap().revision, "v2");
        for bad in ["", "a", "a/b", "a/b/", "/b/c", "a//c", "a/b/../c", "../b/c", "a/b@/c", "a/b/c:d"] {
            assert_eq!(hub_file(bad), None, "{bad:?}");
        }
    }

    /// A hub with a single file.
    fn serve(content: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n") {
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            return;
                        }
                        request.push(byte[0]);
                    }
                    let request = String::from_utf8(request).unwrap();
                    let found = request.starts_with("GET /datasets/someone/rows/resolve/v7/data/few.jsonl ");
                    let body =
                        if request.to_lowercase().contains("bytes=0-0") { &content[..1] } else { content };
                    let head = if found {
                        format!(
                            "HTTP/1.1 206 Partial Content\r\nconnection: close\r\netag: \"e\"\r\nx-repo-commit: c\r\n\
                             content-range: bytes 0-{}/{}\r\ncontent-length: {}\r\n\r\n",
                            body.len() - 1,
                            content.len(),
                            body.len()
                        )
                    } else {
                        "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned()
                    };
                    stream.write_all(head.as_bytes()).unwrap();
                    if found {
                        stream.write_all(body).unwrap();
                    }
                });
            }
        });
        endpoint
    }

    #[test]
    fn a_dataset_is_fetched_from_the_hub_once() {
        let mut hub = Hub::from_env(CONNECT);
        hub.endpoint = Some(serve(b"{\"a\": 1}\n"));
        let dir = tempfile::tempdir().unwrap();
        let file = hub_file("someone/rows@v7/data/few.jsonl").unwrap();
        let path = fetched("hub:x", &file, &hub, dir.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"a\": 1}\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
        hub.endpoint = Some("http://127.0.0.1:1".into());
        assert_eq!(fetched("hub:x", &file, &hub, dir.path()).unwrap(), path);
        let other = hub_file("someone/rows@v7/data/none.jsonl").unwrap();
        let error = fetched("hub:x", &other, &hub, dir.path()).unwrap_err();
        assert!(!error.is_input() && error.to_string().contains("none.jsonl"), "{error}");
    }

    #[test]
    fn records_have_line_numbers() {
        let lines = |text| -> Vec<usize> { records("x", text).unwrap().iter().map(|r| r.line).collect() };
        assert_eq!(lines("{\"a\":1}\n\n{\"a\":2}\r\n"), [1, 3]);
        assert_eq!(lines("[\n {\"a\":1},\n\n {\"b\":\n2}, {\"c\":3}\n]"), [2, 4, 5]);
        assert_eq!(lines("\u{feff}{}"), [1]);
        assert!(matches!(records("x", "[1, 2"), Err(TaskError::Json { .. })));
    }
}
