//! Summaries and embeddings from servers, over real connections.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use epitome::config::Config;
use epitome_compactor::{
    Budget, Cache, CompactError, CompactRequest, Compaction, Compactor, RemoteError,
    compaction::PieceKind,
    config::{DenseKind, SummarizerKind},
};
use epitome_engine::Models;
use epitome_work::{Cancel, Stopped};

use crate::support::engine::{EngineServer, INVENTED};

/// The routes for summaries and for embeddings.
const CHAT: &str = "/v1/chat/completions";
const EMBED: &str = "/v1/embeddings";

pub fn compactor(adjust: impl FnOnce(&mut Config)) -> Result<Compactor, Box<CompactError>> {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.rank.cross_tokens = 0;
    (config.text.segment_min, config.text.segment_max) = (200, 400);
    adjust(&mut config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).map_err(Box::new)
}

pub fn summarizing(url: &str, adjust: impl FnOnce(&mut Config)) -> Compactor {
    let by_server = |config: &mut Config| {
        config.rank.dense = DenseKind::None;
        config.summarize.kind = SummarizerKind::OpenAi;
        config.summarize.share = "0.8".parse().unwrap();
        (config.summarizer.url, config.summarizer.model) = (url.to_owned(), "writer".into());
        adjust(config);
    };
    compactor(by_server).unwrap()
}

fn embedding(url: &str) -> Compactor {
    let by_server = |config: &mut Config| {
        config.rank.dense = DenseKind::OpenAi;
        (config.embedder.url, config.embedder.model) = (url.to_owned(), "vectors".into());
    };
    compactor(by_server).unwrap()
}

pub fn text() -> String {
    let story = include_str!("../../eval/corpus/story.txt");
    story[..story.floor_char_boundary(9000)].to_owned()
}

fn compact(compactor: &Compactor, query: Option<&str>) -> Result<Compaction, Box<CompactError>> {
    let request = CompactRequest {
        text: text(),
        query: query.map(Into::into),
        budget: Budget::Tokens(600),
        model: None,
        explain: true,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    };
    compactor.compact(&request, &Cancel::never()).map_err(Box::new)
}

#[test]
fn a_server_summarizes_and_its_inventions_are_dropped() {
    let server = EngineServer::start();
    let compactor = summarizing(&server.url, |_| {});
    let compaction = compact(&compactor, None).unwrap();
    let asked = server.calls(CHAT);
    assert!(asked > 2, "{asked} calls");
    assert!(!compaction.text.contains("zeppelins") && !compaction.text.contains(INVENTED));
    assert!(compaction.figures.ungrounded >= asked, "{:?}", compaction.figures);
    let written: Vec<_> = compaction.pieces.iter().filter(|piece| piece.kind == PieceKind::Summary).collect();
    assert!(!written.is_empty());
    for piece in written {
        // Sentences follow each other, with a space between them.
        let ends: Vec<usize> = piece.cites.iter().map(|cite| cite.output.end).collect();
        let starts: Vec<usize> = piece.cites.iter().map(|cite| cite.output.start).collect();
        assert_eq!((starts.first(), ends.last()), (Some(&piece.output.start), Some(&piece.output.end)));
        assert!(ends.iter().zip(&starts[1..]).all(|(end, start)| end + 1 == *start), "{:?}", piece.cites);
        // The server writes sentences of its prompt; one at least is cited to the byte.
        let plain = |text: &str| text.replace(['\n', ' '], "");
        let verbatim = piece.cites.iter().any(|cite| {
            let said = plain(&compaction.text[cite.output.clone()]);
            cite.sources.iter().any(|range| said.contains(&plain(&text()[range.clone()])))
        });
        assert!(verbatim, "{:?}: {}", piece.cites, &compaction.text[piece.output.clone()]);
        let (start, end) = (piece.source.start, piece.source.end);
        for cite in &piece.cites {
            assert!((1..=3).contains(&cite.sources.len()), "{cite:?}");
            assert!(cite.sources.iter().all(|range| start <= range.start && range.end <= end));
        }
    }
    let others = compaction.pieces.iter().filter(|piece| piece.kind != PieceKind::Summary);
    assert!(others.flat_map(|piece| &piece.cites).next().is_none());
    assert!(compaction.figures.models.iter().any(|model| model.starts_with("writer@http://127.0.0.1")));
    // There have been calls, as asserted above.
    for (_, body) in server.log.calls.lock().unwrap().iter() {
        assert_eq!((&body["model"], &body["temperature"]), (&"writer".into(), &0.into()));
    }
    // Everything is now in the cache.
    assert_eq!(compact(&compactor, None).unwrap().text, compaction.text);
    assert_eq!(server.calls(CHAT), asked);
    assert!(server.log.keys.lock().unwrap().iter().all(String::is_empty));
}

#[test]
fn auto_lets_a_server_write_and_no_small_decoder() {
    let server = EngineServer::start();
    let text_of = |kind, url: &str| {
        let compactor = summarizing(url, |config| config.summarize.kind = kind);
        compact(&compactor, None).unwrap().text
    };
    let by_server = text_of(SummarizerKind::OpenAi, &server.url);
    let extracts = text_of(SummarizerKind::Extractive, "");
    assert_ne!(by_server, extracts);
    assert_eq!(text_of(SummarizerKind::Auto, &server.url), by_server);
    // The default decoder has 135 million parameters.
    assert_eq!(text_of(SummarizerKind::Auto, ""), extracts);
    let models = Models::new(&Config::load(None, &[]).unwrap().models).unwrap();
    if let Some(parameters) = models.decoder_parameters() {
        assert!((120_000_000..200_000_000).contains(&parameters), "{parameters}");
    }
}

#[test]
fn a_changed_paragraph_rewrites_its_leaf_and_the_path_to_the_root() {
    let server = EngineServer::start();
    let compactor = summarizing(&server.url, |config| {
        config.rank.dense = DenseKind::Static;
        config.summarize.share = "1".parse().unwrap();
    });
    let corpus = [
        include_str!("../../eval/corpus/story.txt"),
        include_str!("../../eval/corpus/paper.txt"),
        include_str!("../../eval/corpus/meeting.txt"),
    ]
    .join("\n\n");
    let written = |text: &str| {
        let request = CompactRequest::new(text, Budget::Tokens(800));
        let figures = compactor.compact(&request, &Cancel::never()).unwrap().figures;
        (figures.summary_nodes, figures.summary_nodes_new)
    };
    let (all, new) = written(&corpus);
    assert!(all > 60 && new == all, "{new} of {all}");
    assert_eq!(written(&corpus), (all, 0));
    let paragraphs: Vec<usize> = corpus.match_indices("\n\n").map(|(at, _)| at).collect();
    let said = "A note on the harbour was added here, after the rest had been written and read.";
    let anew: Vec<usize> = (0..10)
        .map(|step| {
            let at = paragraphs[(paragraphs.len() - 1) * step / 10];
            written(&format!("{}\n\n{said}{}", &corpus[..at], &corpus[at..])).1
        })
        .collect();
    // A leaf and three merges; where the paragraph moves the end of its segment, a second leaf with its own.
    assert!(anew.iter().all(|new| (1..=8).contains(new)), "{anew:?}");
    assert!(anew.iter().sum::<usize>() <= 10 * 4, "{anew:?}");
}

#[test]
fn a_server_embeds() {
    let server = EngineServer::start();
    let compactor = embedding(&server.url);
    let query = "Which ship was sunk in Hampton Roads?";
    let compaction = compact(&compactor, Some(query)).unwrap();
    let asked = server.calls(EMBED);
    assert!(asked > 2, "{asked} calls");
    let scores = compaction.explain.as_ref().unwrap();
    let dense: Vec<f32> = scores.iter().map(|score| score.dense).collect();
    assert!(dense.iter().any(|score| *score > 0.5) && dense.iter().all(|score| *score <= 1.001));
    assert_eq!(compact(&compactor, Some(query)).unwrap().text, compaction.text);
    assert_eq!(server.calls(EMBED), asked);
    // Another query needs only its own vector.
    compact(&compactor, Some("Who was the captain?")).unwrap();
    assert_eq!(server.calls(EMBED), asked + 1);

    // Base64-encoded vectors give the same result.
    server.log.base64.store(true, Ordering::SeqCst);
    assert_eq!(compact(&embedding(&server.url), Some(query)).unwrap().text, compaction.text);
    // Vectors in the cache, and one of another model under the same name.
    server.log.more.store(8, Ordering::SeqCst);
    let error = compact(&compactor, Some("Where was the harbour?")).unwrap_err();
    assert!(error.to_string().contains("not of one length"), "{error}");
}

#[test]
fn concurrent_calls_are_limited() {
    let server = EngineServer::start();
    server.log.slow.store(40, Ordering::SeqCst);
    compact(&summarizing(&server.url, |config| config.summarizer.concurrency = 2), None).unwrap();
    assert_eq!(server.log.most.load(Ordering::SeqCst), 2);
}

#[test]
fn transient_failures_are_retried() {
    let server = EngineServer::start();
    server.next(&[(500, None, "{}"), (429, Some("0.2"), "later"), (504, None, "took too long")]);
    let began = Instant::now();
    compact(&summarizing(&server.url, |config| config.summarizer.concurrency = 1), None).unwrap();
    // One delay of our own, one requested by the server, and one of our own after doubling twice.
    assert!(began.elapsed() >= Duration::from_millis(250 + 200 + 1000));
}

#[test]
fn rejected_parameters_are_not_sent_again() {
    let server = EngineServer::start();
    server.next(&[
        (400, None, r#"{"error":{"message":"'max_tokens' is not supported: use 'max_completion_tokens'"}}"#),
        (400, None, r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0"}}"#),
    ]);
    compact(&summarizing(&server.url, |config| config.summarizer.concurrency = 1), None).unwrap();
    let calls = server.log.calls.lock().unwrap();
    let last = &calls.last().unwrap().1;
    assert!(last.get("max_tokens").is_none() && last["max_completion_tokens"].is_number(), "{last}");
    assert!(last.get("temperature").is_none(), "{last}");
}

#[test]
fn failures_are_classified() {
    let once = |answers: &[(u16, Option<&'static str>, &'static str)]| {
        let server = EngineServer::start();
        server.next(answers);
        let one = summarizing(&server.url, |config| config.summarizer.concurrency = 1);
        match *compact(&one, None).unwrap_err() {
            CompactError::Remote(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let refused = once(&[(401, None, r#"{"error":{"message":"no such key"}}"#)]);
    assert!(refused.to_string().contains("status 401: no such key"), "{refused}");
    assert!(matches!(once(&[(200, None, "<html>")]), RemoteError::Answer { .. }));
    let unusable = once(&[(200, None, r#"{"choices":[]}"#)]);
    assert!(unusable.to_string().contains("choices[0].message.content"), "{unusable}");
    // A delay beyond the deadline is not started.
    let busy = once(&[(429, Some("3600"), r#"{"error":{"message":"slow down"}}"#)]);
    assert!(matches!(&busy, RemoteError::Busy { last, .. } if last.contains("slow down")), "{busy}");

    assert!(matches!(once(&[(429, Some("1e19"), "later")]), RemoteError::Busy { .. }));

    let server = EngineServer::start();
    for (body, what) in [
        (r#"{"data":[{"index":0,"embedding":[1.0]}]}"#, "embeddings for"),
        (r#"{"data":[{"index":0,"embedding":["x"]}]}"#, "no list of numbers"),
        (r#"{"data":[{"index":999999,"embedding":[1.0]}]}"#, "index 999999"),
        (r#"{}"#, "it has 0 embeddings"),
    ] {
        server.next(&[(200, None, body); 64]);
        let error = compact(&embedding(&server.url), Some("Which ship?")).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        server.log.next.lock().unwrap().clear();
    }
}

#[test]
fn deadlines_and_cancellation_end_waiting() {
    let server = EngineServer::start();
    server.log.slow.store(5_000, Ordering::SeqCst);
    let slow = summarizing(&server.url, |config| config.summarizer.deadline_ms = 200);
    let began = Instant::now();
    let error = compact(&slow, None).unwrap_err();
    assert!(matches!(*error, CompactError::Remote(RemoteError::Exhausted { .. })), "{error}");
    assert!(error.to_string().contains("no answer within 200 ms"), "{error}");

    let request = CompactRequest {
        text: text(),
        query: None,
        budget: Budget::Tokens(600),
        model: None,
        explain: false,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    };
    let patient = summarizing(&server.url, |_| {});
    let cancel = Cancel::at(Instant::now() + Duration::from_millis(300));
    let error = patient.compact(&request, &cancel).unwrap_err();
    assert!(matches!(error, CompactError::Stopped(Stopped::Deadline)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_source_that_is_too_long_is_truncated() {
    let server = EngineServer::start();
    server.log.longest.store(1200, Ordering::SeqCst);
    let compaction = compact(&summarizing(&server.url, |_| {}), None).unwrap();
    assert!(compaction.pieces.iter().any(|piece| piece.kind == PieceKind::Summary));
    assert!(server.calls(CHAT) > 6);

    let whole = EngineServer::start();
    compact(&embedding(&whole.url), Some("Which ship?")).unwrap();
    let narrow = EngineServer::start();
    narrow.log.longest.store(120, Ordering::SeqCst);
    let began = Instant::now();
    let compaction = compact(&embedding(&narrow.url), Some("Which ship?")).unwrap();
    assert!(compaction.explain.unwrap().iter().any(|score| score.dense > 0.0));
    assert!(narrow.calls(EMBED) > whole.calls(EMBED));
    // Shortened immediately, not retried after a delay.
    assert!(began.elapsed() < Duration::from_secs(20));
    narrow.log.longest.store(20, Ordering::SeqCst);
    let error = compact(&embedding(&narrow.url), Some("Which ship?")).unwrap_err();
    assert!(matches!(*error, CompactError::Remote(RemoteError::TooLong { .. })), "{error}");
}

#[test]
fn an_unreachable_or_unnamed_server_is_reported() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", free.local_addr().unwrap());
    drop(free);
    let error = compact(&summarizing(&url, |_| {}), None).unwrap_err();
    assert!(error.to_string().contains(&url) && error.to_string().contains("4 attempts"), "{error}");

    let of = |url: &str, model: &str, key_env: &str| {
        let made = compactor(|config| {
            config.summarize.kind = SummarizerKind::OpenAi;
            (config.summarizer.url, config.summarizer.model) = (url.to_owned(), model.to_owned());
            config.summarizer.key_env = key_env.to_owned();
        });
        made.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(of("", "m", "").contains("summarizer: url is missing"));
    assert!(of("http://127.0.0.1:9/v1", "", "").contains("summarizer: model is missing"));
    assert!(of("ftp://x/v1", "m", "").contains("neither http nor https"));
    assert!(of("http://127.0.0.1:9/v1", "m", "EPITOME_NO_SUCH_KEY").contains("EPITOME_NO_SUCH_KEY"));
    assert_eq!(of("http://127.0.0.1:9/v1", "m", ""), "");
}

/// The key is read from the environment, so this needs a separate process.
#[test]
fn the_key_goes_into_the_header_and_nowhere_else() {
    let server = EngineServer::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in.txt"), text()).unwrap();
    let key = "sk-very-secret-4711";
    let run = |args: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_epitome"))
            .current_dir(dir.path())
            .args(["-vvv"])
            .args(args)
            .env("REMOTE_KEY", key)
            .env("EPITOME_SUMMARIZER_KEY_ENV", "REMOTE_KEY")
            .env("EPITOME_SUMMARIZER_URL", &server.url)
            .env("EPITOME_SUMMARIZER_MODEL", "writer")
            .env("EPITOME_SUMMARIZE_KIND", "openai")
            .env("EPITOME_RANK_DENSE", "none")
            .env("EPITOME_CACHE_DIR", dir.path().join("cache"))
            .output()
            .unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{said}");
        assert!(!said.contains(key), "{said}");
    };
    run(&["compact", "in.txt", "--budget", "600", "--format", "explain"]);
    run(&["config"]);
    let keys = server.log.keys.lock().unwrap();
    assert!(!keys.is_empty() && keys.iter().all(|sent| *sent == format!("Bearer {key}")), "{keys:?}");
    assert!(server.log.calls.lock().unwrap().iter().all(|(_, body)| !body.to_string().contains(key)));
}

/// A process that is killed at the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real llama.cpp server: `EPITOME_LLAMA_SERVER` names its binary.
#[test]
#[ignore = "needs a llama-server, named by EPITOME_LLAMA_SERVER"]
fn llama_cpp_writes_and_embeds() {
    let binary = std::env::var_os("EPITOME_LLAMA_SERVER").expect("EPITOME_LLAMA_SERVER names a llama-server");
    let models = Models::new(&Config::load(None, &[]).unwrap().models).unwrap();
    let file = models.pull("smollm2-135m-instruct").unwrap().weights().unwrap().to_owned();
    let start = |more: &[&str]| {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let child = Command::new(&binary)
            .arg("-m")
            .arg(&file)
            .args(["--port", &port, "--host", "127.0.0.1", "-t", "2", "-c", "4096", "-np", "2"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        let address = format!("127.0.0.1:{port}");
        let healthy = || {
            use std::io::{Read, Write};
            let mut answer = String::new();
            std::net::TcpStream::connect(&address).is_ok_and(|mut stream| {
                let ask = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                stream.write_all(ask.as_bytes()).is_ok() && stream.read_to_string(&mut answer).is_ok()
            }) && answer.contains("200 OK")
        };
        assert!((0..600).any(|_| healthy() || {
            thread::sleep(Duration::from_millis(100));
            false
        }));
        (running, format!("http://{address}/v1"))
    };
    let (_writer, writes) = start(&[]);
    let (_embedder, embeds) = start(&["--embeddings", "--pooling", "mean", "-ub", "2048"]);
    let compactor = {
        let both = |config: &mut Config| {
            config.rank.dense = DenseKind::OpenAi;
            (config.embedder.url, config.embedder.model) = (embeds.clone(), "smollm2".into());
            config.summarize.kind = SummarizerKind::OpenAi;
            config.summarize.share = "0.7".parse().unwrap();
            (config.summarizer.url, config.summarizer.model) = (writes.clone(), "smollm2".into());
            (config.embedder.deadline_ms, config.summarizer.deadline_ms) = (300_000, 300_000);
            config.summarizer.concurrency = 1;
            config.embedder.concurrency = 1;
        };
        compactor(both).unwrap()
    };
    let compaction = compact(&compactor, Some("Summarize the story.")).unwrap();
    let scores = compaction.explain.as_ref().unwrap();
    assert!(scores.iter().any(|score| score.dense > 0.0));
    assert!(compaction.figures.models.iter().filter(|model| model.starts_with("smollm2@http")).count() == 2);
    let source = text().to_lowercase();
    let summaries: Vec<_> =
        compaction.pieces.iter().filter(|piece| piece.kind == PieceKind::Summary).collect();
    assert!(!summaries.is_empty(), "the server wrote nothing that was kept:\n{}", compaction.text);
    for piece in summaries {
        let written = &compaction.text[piece.output.clone()];
        let mut numbers = written.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
        assert!(numbers.all(|number| source.contains(number)), "{written}");
    }
    // From the cache: the server itself may answer differently the second time, because the cached part of a
    // prompt was computed in other batches than the rest.
    assert_eq!(compact(&compactor, Some("Summarize the story.")).unwrap().text, compaction.text);
}
