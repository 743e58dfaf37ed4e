//! `epitome mcp`: the tools for a model's client, over the Model Context Protocol.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use tokio::runtime::Builder;

use crate::{
    config::{Config, TOOLS_PATH},
    error::Error,
    mcp::{Tools, transport},
    rewrite::pipeline::Compact,
};

/// Offers `compact`, `retrieve` and `explain` over the Model Context Protocol, on the standard streams.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Serve streamable HTTP on this address of the loopback, such as 127.0.0.1:8787, instead of the streams.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Serves until the client closes the streams, or over HTTP until the process is stopped.
///
/// # Errors
///
/// If the address is not one of the loopback or is taken, a template is wrong, or a stream breaks.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    if let Some(address) = args.listen.filter(|address| !address.ip().to_canonical().is_loopback()) {
        return Err(Error::Usage(format!(
            "--listen {address}: other machines could reach it, and no key is asked for; use 127.0.0.1"
        )));
    }
    let at = args.listen.map_or_else(|| "-".to_owned(), |address| address.to_string());
    let at = |source| Error::File { path: at.clone(), source };
    // The address is taken before models are loaded, which may take long.
    let listener = args.listen.map(TcpListener::bind).transpose().map_err(at)?;
    let (serve, budget) = (config.serve.clone(), config.plan.budget);
    let pipeline: Arc<dyn Compact> = Arc::new(super::compactor(config)?);
    let tools = Tools::new(pipeline, budget);
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(at)?;
    let served = match listener {
        None => runtime.block_on(transport::streams(tools, &serve)),
        Some(listener) => {
            let address = listener.local_addr().map_err(at)?;
            super::tell(&format!("epitome mcp listens on http://{address}{TOOLS_PATH}\n"));
            runtime.block_on(transport::http(tools, &serve, listener))
        }
    };
    // A thread that waits for standard input would hold up the end.
    runtime.shutdown_background();
    served.map_err(at)
}
