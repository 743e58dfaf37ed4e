//! The routes and the HTTP server.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, rt, web};
use tokio::time;

use super::{
    compact::compact,
    compress::compress,
    guard,
    observe::observe,
    operate::{health, metrics, ready},
    passthrough::upstream,
    retrieve,
    state::State,
};
use crate::{config::Serve, telemetry};

/// How often recorded durations are merged into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long an idle client connection is kept, longer than clients usually do.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// All routes. Our paths with any other method go upstream, like every other path; conversations among them are
/// compacted.
pub fn routes(config: &mut web::ServiceConfig, serve: &Serve) {
    let own = |path: &str| web::resource(path).default_service(web::to(upstream));
    #[cfg(feature = "mcp")]
    if serve.mcp {
        super::mcp::routes(config);
    }
    #[cfg(not(feature = "mcp"))]
    let _ = serve;
    config
        .service(own("/v1/compact").route(web::post().to(compact)))
        .service(own("/v1/compress").route(web::post().to(compress)))
        .service(own("/v1/retrieve").route(web::post().to(retrieve::named)))
        .service(
            own("/v1/retrieve/{hash}")
                .route(web::get().to(retrieve::get))
                .route(web::post().to(retrieve::post)),
        )
        .service(own("/healthz").route(web::get().to(health)).route(web::head().to(health)))
        .service(own("/readyz").route(web::get().to(ready)).route(web::head().to(ready)))
        .service(own("/metrics").route(web::get().to(metrics)).route(web::head().to(metrics)))
        .default_service(web::to(upstream));
}

/// The server on `listener`; it runs once awaited or spawned. It ignores signals: stop it through its handle.
/// Open requests may continue for `serve.shutdown_grace_ms`.
///
/// # Errors
///
/// If the listener is unusable.
pub fn server(listener: TcpListener, state: Arc<State>) -> io::Result<Server> {
    let grace = Duration::from_millis(state.config.serve.shutdown_grace_ms);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(state.clone()))
            .wrap(from_fn(guard::guard))
            // The last middleware is the outermost: refused requests get an id and a log line too.
            .wrap(from_fn(observe))
            .configure(|config| routes(config, &state.config.serve))
    })
    // Events are small and must be sent without delay.
    .tcp_nodelay(true)
    .keep_alive(KEEP_ALIVE)
    // A client that closes its side has disconnected; its request and all work for it are dropped.
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
