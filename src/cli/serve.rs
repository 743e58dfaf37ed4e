//! `epitome serve`: the proxy.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use actix_web::{dev::ServerHandle, rt};

use super::signal::Signals;
use crate::{
    cache::Cache,
    compactor::Compactor,
    config::Config,
    error::Error,
    http::{server::server, state::State},
    model::Models,
    upstream::Upstream,
};

/// What the command takes; all else is in the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Base URL of the upstream, such as https://host/v1 [default: the local model].
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
}

impl Args {
    /// The configuration keys that the arguments set.
    pub fn flags(&self) -> Vec<(String, String)> {
        [("serve.listen", &self.listen), ("serve.upstream", &self.upstream)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
            .collect()
    }
}

/// Serves until a signal to stop, and then until open requests are done or the grace is over. The
/// arguments are in `config` already, see [`Args::flags`].
///
/// # Errors
///
/// If the upstream is no URL, the address is taken, or a template is wrong.
pub fn run(_: Args, config: Config) -> Result<(), Error> {
    let config = Arc::new(config);
    let models = Arc::new(Models::new(&config.models)?);
    let cache = Arc::new(Cache::open(&config.cache));
    let compactor = Compactor::new(config.clone(), models.clone(), cache)?;
    let upstream = Upstream::new(&config.serve, models).map_err(|error| Error::Usage(error.to_string()))?;

    let at = |source| Error::File { path: config.serve.listen.clone(), source };
    let listener = TcpListener::bind(&config.serve.listen).map_err(at)?;
    let address = listener.local_addr().map_err(at)?;
    greet(address, &upstream);

    let state = State::new(config.clone(), Arc::new(compactor), upstream);
    state.load();
    rt::System::new()
        .block_on(async {
            let server = server(listener, state)?;
            rt::spawn(stop_on_signal(server.handle(), Signals::listen()?));
            server.await
        })
        .map_err(at)
}

/// Says where it listens, and how to try it.
fn greet(address: SocketAddr, upstream: &Upstream) {
    let text = format!(
        "epitome listens on http://{address}\n\
         upstream: {upstream}\n\
         try: curl http://{address}/v1/chat/completions -H 'content-type: application/json' \
         -d '{{\"model\":\"local\",\"messages\":[{{\"role\":\"user\",\"content\":\"Say hello.\"}}]}}'\n"
    );
    say(&text);
}

fn say(text: &str) {
    // Nobody is left to tell that standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The first signal lets open requests finish; the second does not.
async fn stop_on_signal(server: ServerHandle, mut signals: Signals) {
    signals.next().await;
    say("stopping; open requests are finished first, a second signal drops them\n");
    rt::spawn(server.stop(true));
    signals.next().await;
    std::process::exit(1);
}
