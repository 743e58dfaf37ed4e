//! A real upstream that records what reaches it, and the proxy in front of it.

pub mod double;
pub mod engine;
pub mod openai;
pub mod upstream;

use std::{
    net::TcpListener,
    sync::{Arc, mpsc},
    thread,
};

use actix_web::{App, HttpRequest, HttpServer, dev::ServerHandle, rt, web};
use bytes::Bytes;
use epitome::{
    config::Config,
    http::{
        server::server,
        state::{Readiness, State},
    },
    rewrite::pipeline::Compact,
    upstream::Upstream,
};
use epitome_engine::Models;

/// A proxy on a free loopback port; it stops when dropped.
pub struct Proxy {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// `127.0.0.1:port`.
    pub address: String,
    pub state: Arc<State>,
    handle: ServerHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl Proxy {
    /// Starts a proxy with `pipeline`, in front of `upstream`.
    pub fn start(upstream: &str, pipeline: Arc<dyn Compact>, adjust: impl FnOnce(&mut Config)) -> Self {
        // The environment says where model files are; everything else has defaults.
        let models = Config::load(None, &[]).expect("a configuration").models;
        let mut config = Config { models, ..Config::default() };
        config.serve.upstream = upstream.to_owned();
        config.plan.min_tokens = 300;
        adjust(&mut config);
        let models = Arc::new(Models::new(&config.models).expect("the manifest"));
        let upstream = Upstream::new(&config.serve, models).expect("an upstream");
        let state = State::new(Arc::new(config), pipeline, upstream);
        state.mark(Readiness::Ready);
        Self::with(state)
    }

    /// Starts a proxy on `state`.
    pub fn with(state: Arc<State>) -> Self {
        clients();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = server(listener, state.clone()).expect("a server");
        let handle = server.handle();
        rt::spawn(server);
        Self { url: format!("http://{address}"), address, state, handle }
    }

    /// The URL of the chat route.
    pub fn chat(&self) -> String {
        format!("{}/v1/chat/completions", self.url)
    }
}

/// Starts a server on a free loopback port, on a separate thread; returns its URL up to `/v1` and its handle.
pub fn serve<T, F, R>(shared: Arc<T>, answer: F) -> (String, ServerHandle)
where
    T: Send + Sync + 'static,
    F: actix_web::Handler<(HttpRequest, Bytes, web::Data<T>), Output = R> + Clone + Send,
    R: actix_web::Responder + 'static,
{
    let (to, from) = mpsc::channel();
    thread::spawn(move || {
        rt::System::new().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(web::Data::from(shared.clone()))
                    .app_data(web::PayloadConfig::new(1 << 24))
                    .default_service(web::to(answer.clone()))
            })
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
            to.send((format!("http://{address}/v1"), server.handle())).unwrap();
            server.await.unwrap();
        });
    });
    from.recv().unwrap()
}

/// Sets up TLS for HTTP clients in tests, whichever test runs first.
pub fn clients() {
    // Further calls fail, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Waits until `ready` holds; fails the test if it never does.
pub async fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if ready() {
            return;
        }
        rt::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
