//! Routes, and the server that has them.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, rt, web};
use tokio::time;

use super::{
    chat::chat,
    compact::compact,
    guard,
    observe::observe,
    operate::{health, metrics, ready},
    passthrough::passthrough,
    state::State,
};
use crate::telemetry;

/// How often recorded durations are folded into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long a client may keep an idle connection, longer than clients usually do.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// All routes. A path of ours with another method goes to the upstream, as every other path does.
pub fn routes(config: &mut web::ServiceConfig) {
    let own = |path: &str| web::resource(path).default_service(web::to(passthrough));
    config
        .service(own("/v1/chat/completions").route(web::post().to(chat)))
        .service(own("/v1/compact").route(web::post().to(compact)))
        .service(own("/healthz").route(web::get().to(health)).route(web::head().to(health)))
        .service(own("/readyz").route(web::get().to(ready)).route(web::head().to(ready)))
        .service(own("/metrics").route(web::get().to(metrics)).route(web::head().to(metrics)))
        .default_service(web::to(passthrough));
}

/// The server on `listener`, running once it is awaited or spawned. It heeds no signals: stop it by
/// its handle. Open requests may go on for `serve.shutdown_grace_ms`.
///
/// # Errors
///
/// If the listener cannot be used.
pub fn server(listener: TcpListener, state: Arc<State>) -> io::Result<Server> {
    let grace = Duration::from_millis(state.config.serve.shutdown_grace_ms);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(state.clone()))
            .wrap(from_fn(guard::guard))
            // The last is the outermost: what is refused has an id and a line in the log too.
            .wrap(from_fn(observe))
            .configure(routes)
    })
    // Events are small, and each is to leave at once.
    .tcp_nodelay(true)
    .keep_alive(KEEP_ALIVE)
    // A client that closes its side has left; its request is dropped, and all work with it.
    .h1_allow_half_closed(false)
    .disable_signals()
    .shutdown_timeout(grace.as_secs_f64().ceil() as u64)
    .listen(listener)?
    .run();
    rt::spawn(async {
        let mut tick = time::interval(UPKEEP);
        loop {
            tick.tick().await;
            telemetry::metrics().run_upkeep();
        }
    });
    Ok(server)
}
