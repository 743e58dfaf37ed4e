//! `epitome serve`: the proxy.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Weak},
};

use actix_web::{dev::ServerHandle, rt};
use epitome_compactor::Cache;
use epitome_engine::Models;

use super::signal::Signals;
use crate::{
    bill::{journal::Journal, ledger::Ledger, prices::PriceList},
    config::Config,
    error::Error,
    http::{keys::Keys, server::server, state::State},
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
    /// Listen beyond the loopback although no key is asked for: whoever reaches the address uses the proxy.
    #[arg(long)]
    open: bool,
}

impl Args {
    /// The configuration keys that the arguments set.
    pub fn flags(&self) -> Vec<(String, String)> {
        let open = self.open.then(|| "true".to_owned());
        [("serve.listen", &self.listen), ("serve.upstream", &self.upstream), ("serve.open", &open)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
            .collect()
    }
}

/// A proxy that listens and is not served yet.
pub(super) struct Proxy {
    listener: TcpListener,
    state: Arc<State>,
    pub(super) address: SocketAddr,
}

impl Proxy {
    /// Opens what the configuration names, and starts loading the models.
    pub(super) fn open(config: &Arc<Config>, keys: Keys) -> Result<Self, Error> {
        let models = Arc::new(Models::unattended(&config.models)?);
        let cache = Arc::new(Cache::open(&config.cache));
        let compactor = crate::compactor::compactor(config, models.clone(), cache)?;
        let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
        let prices = PriceList::load(file(&config.bill.prices).as_deref())?;
        let journal = file(&config.bill.log).map(|path| Journal::open(&path)).transpose()?;
        let ledger = Ledger::new(prices, journal);
        let upstream =
            Upstream::new(&config.serve, models).map_err(|error| Error::Usage(error.to_string()))?;

        let at = |source| Error::File { path: config.serve.listen.clone(), source };
        let listener = TcpListener::bind(&config.serve.listen).map_err(at)?;
        let address = listener.local_addr().map_err(at)?;
        let state = State::guarded(config.clone(), Arc::new(compactor), upstream, keys, ledger);
        state.load();
        Ok(Self { listener, state, address })
    }

    /// What is alive as long as anything of the proxy is, its bill included.
    pub(super) fn life(&self) -> Weak<impl Sized + use<>> {
        Arc::downgrade(&self.state)
    }

    /// Serves until it is stopped; `with` gets its handle.
    pub(super) fn serve(self, with: impl FnOnce(ServerHandle) -> io::Result<()>) -> Result<(), Error> {
        let at = |source| Error::File { path: self.address.to_string(), source };
        rt::System::new()
            .block_on(async {
                let server = server(self.listener, self.state)?;
                with(server.handle())?;
                server.await
            })
            .map_err(at)
    }
}

/// Serves until a signal to stop, and then until open requests are done or the grace is over. The
/// arguments are in `config` already, see [`Args::flags`].
///
/// # Errors
///
/// If the upstream is no URL, the address is taken, a template is wrong, or others than this machine could
/// use the proxy without a key.
pub fn run(_: Args, config: Config) -> Result<(), Error> {
    let keys = Keys::read(&config.serve)?;
    let clients = keys.count();
    let config = Arc::new(config);
    let proxy = Proxy::open(&config, keys)?;
    greet(proxy.address, &proxy.state.upstream, clients, &config.serve.keys_env);
    proxy.serve(|handle| {
        rt::spawn(stop_on_signal(handle, Signals::listen()?));
        Ok(())
    })
}

/// Says where it listens, how to try it, and who may use it.
fn greet(address: SocketAddr, upstream: &Upstream, keys: Option<usize>, variable: &str) {
    let (key, clients) = match keys {
        Some(count) => {
            ("-H 'x-epitome-key: KEY' ", format!("who has one of the {count} key(s) in {variable}"))
        }
        None if address.ip().to_canonical().is_loopback() => ("", "whoever is on this machine".to_owned()),
        None => ("", format!("OPEN: whoever reaches {address}, at the expense of the upstream's owner")),
    };
    let text = format!(
        "epitome listens on http://{address}\n\
         upstream: {upstream}\n\
         try: curl http://{address}/v1/chat/completions {key}-H 'content-type: application/json' \
         -d '{{\"model\":\"local\",\"messages\":[{{\"role\":\"user\",\"content\":\"Say hello.\"}}]}}'\n\
         clients: {clients}\n"
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
