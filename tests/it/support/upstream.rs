//! The recording upstream.

use std::{
    io,
    net::TcpListener,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::StatusCode, rt, web};
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// A received request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// What the upstream answers.
pub enum Answer {
    /// A whole body.
    Fixed(u16, &'static str, Vec<u8>),
    /// Server-sent events that the test sends one by one.
    Stream(mpsc::UnboundedReceiver<Bytes>),
    /// Never answers.
    Silence,
}

#[derive(Default)]
pub struct Log {
    pub seen: Mutex<Vec<Seen>>,
    next: Mutex<Vec<Answer>>,
    /// Bytes of bodies received so far, including those of requests in progress.
    pub bytes: AtomicUsize,
    /// Answers that the reader dropped before their end, and aborted requests.
    pub abandoned: Mutex<usize>,
}

pub struct Upstream {
    /// `http://127.0.0.1:port/v1`.
    pub base: String,
    pub log: Arc<Log>,
    handle: ServerHandle,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// The default answer to a chat request.
pub const CHAT: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello from above.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

impl Upstream {
    pub fn start() -> Self {
        super::clients();
        let log = Arc::new(Log::default());
        let shared = log.clone();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::from(shared.clone())).default_service(web::to(answer))
        })
        .workers(1)
        .h1_allow_half_closed(false)
        .disable_signals()
        .listen(listener)
        .expect("listens")
        .run();
        let handle = server.handle();
        rt::spawn(server);
        Self { base: format!("http://{address}/v1"), log, handle }
    }

    /// Queues the answer to a later request.
    pub fn next(&self, answer: Answer) {
        self.log.next.lock().unwrap().insert(0, answer);
    }

    /// The next answer is a stream: whatever is sent here goes out immediately.
    pub fn stream(&self) -> mpsc::UnboundedSender<Bytes> {
        let (to, from) = mpsc::unbounded_channel();
        self.next(Answer::Stream(from));
        to
    }

    pub fn last(&self) -> Seen {
        self.log.seen.lock().unwrap().last().expect("nothing came").clone()
    }

    pub fn count(&self) -> usize {
        self.log.seen.lock().unwrap().len()
    }

    pub fn abandoned(&self) -> usize {
        *self.log.abandoned.lock().unwrap()
    }
}

async fn answer(req: HttpRequest, mut payload: web::Payload, log: web::Data<Log>) -> HttpResponse {
    use futures_util::StreamExt;

    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        match chunk {
            Ok(chunk) => {
                log.bytes.fetch_add(chunk.len(), Ordering::SeqCst);
                body.extend_from_slice(&chunk);
            }
            Err(_) => {
                *log.abandoned.lock().unwrap() += 1;
                return HttpResponse::BadRequest().body("the body ended early");
            }
        }
    }
    let headers = req
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let path = req.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = req.method().to_string();
    log.seen.lock().unwrap().push(Seen { method, path, headers, body });

    let next = log.next.lock().unwrap().pop();
    match next {
        None => HttpResponse::Ok()
            .insert_header(("x-upstream", "yes"))
            .insert_header(("keep-alive", "timeout=5"))
            .append_header(("set-cookie", "a=1"))
            .append_header(("set-cookie", "b=2"))
            .content_type("application/json")
            .body(CHAT),
        Some(Answer::Fixed(status, kind, body)) => {
            HttpResponse::build(StatusCode::from_u16(status).expect("a status")).content_type(kind).body(body)
        }
        Some(Answer::Stream(events)) => HttpResponse::Ok()
            .content_type("text/event-stream")
            .streaming(Events { events, guard: Guard { log: log.into_inner(), done: false } }),
        Some(Answer::Silence) => {
            let _guard = Guard { log: log.into_inner(), done: false };
            std::future::pending().await
        }
    }
}

struct Guard {
    log: Arc<Log>,
    done: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.done {
            *self.log.abandoned.lock().unwrap() += 1;
        }
    }
}

struct Events {
    events: mpsc::UnboundedReceiver<Bytes>,
    guard: Guard,
}

impl Stream for Events {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.events.poll_recv(cx);
        if let Poll::Ready(None) = polled {
            self.guard.done = true;
        }
        polled.map(|event| event.map(Ok))
    }
}
