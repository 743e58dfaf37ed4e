//! An upstream and a proxy on loopback, each with its own threads, as two processes would have.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    rt, web,
};
use bytes::Bytes;
use epitome::{
    config::Config,
    http::{server::server, state::State},
    upstream::Upstream,
};
use epitome_compactor::Cache;
use epitome_engine::Models;

/// The upstream's answer.
pub const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

/// A server that runs until it is dropped.
pub struct Running {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl Running {
    /// The URL of the server's chat route.
    pub fn chat(&self) -> String {
        format!("http://{}/v1/chat/completions", self.address)
    }

    fn start(make: impl FnOnce(TcpListener) -> Server + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (give, take) = mpsc::channel();
        thread::spawn(move || {
            rt::System::new().block_on(async {
                let server = make(listener);
                give.send(server.handle()).expect("the starter waits");
                server.await.expect("a server that stops in peace");
            });
        });
        Self { address, handle: take.recv().expect("a server") }
    }
}

/// A server that reads the whole request and answers [`ANSWER`].
pub fn upstream() -> Running {
    async fn answer(_: web::Bytes) -> HttpResponse {
        HttpResponse::Ok().content_type("application/json").body(ANSWER)
    }
    Running::start(|listener| {
        HttpServer::new(|| App::new().default_service(web::to(answer)))
            .workers(1)
            .tcp_nodelay(true)
            .disable_signals()
            .listen(listener)
            .expect("a listener")
            .run()
    })
}

/// The proxy as `epitome serve` sets it up, in front of `upstream`, without a disk cache.
pub fn proxy(config: &Config, models: Arc<Models>, upstream: &Running) -> Running {
    let mut config = config.clone();
    config.serve.upstream = format!("http://{}/v1", upstream.address);
    let config = Arc::new(config);
    let cache = Arc::new(Cache::memory_only());
    let pipeline = epitome::compactor::compactor(&config, models.clone(), cache).expect("a compactor");
    let upstream = Upstream::new(&config.serve, models).expect("an upstream");
    let state = State::new(config, Arc::new(pipeline), upstream);
    Running::start(|listener| server(listener, state).expect("a server"))
}

/// A client with keep-alive, and the thread that it runs on.
pub struct Client {
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Sets up the client without connecting.
    pub fn new() -> Self {
        // Fails if the proxy has installed a provider already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { http, runtime }
    }

    /// Posts `body`, waits for the whole answer, and returns the proxy's reason for passing the request on;
    /// `None` if the answer did not come through a proxy.
    ///
    /// # Panics
    ///
    /// If the answer is not [`ANSWER`].
    pub fn post(&self, url: &str, body: &Bytes, bypass: bool) -> Option<String> {
        let mut request = self.http.post(url).header("content-type", "application/json").body(body.clone());
        if bypass {
            request = request.header("x-epitome-bypass", "1");
        }
        self.runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            let reason = response.headers().get("x-epitome-reason").cloned();
            assert_eq!(response.bytes().await.expect("its body"), ANSWER);
            reason.map(|reason| reason.to_str().expect("a word").to_owned())
        })
    }
}
