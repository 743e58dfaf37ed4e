//! `epitome wrap`: a coding agent through a proxy of its own.

use std::{
    env, io,
    net::TcpStream,
    path::PathBuf,
    process::{Command, ExitStatus},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use actix_web::dev::ServerHandle;

use serde_json::json;

use super::{bill, serve::Proxy, tell};
use crate::{
    bill::{prices::PriceList, time::Time},
    config::{Config, Route, TOOLS_PATH, WebSockets},
    error::Error,
    http::keys::Keys,
};

/// Where agents send requests if nothing else is said.
const ANTHROPIC: &str = "https://api.anthropic.com";
const OPENAI: &str = "https://api.openai.com/v1";

/// The name of the proxy's tools among the servers of an agent. A server of the user that is called `epitome` stays.
const TOOLS: &str = "epitome_proxy";

/// Looks for the end of a stopped proxy, 20 ms apart.
const LAST_LINES: u32 = 250;

/// What the command takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The agent.
    agent: Agent,
    /// A proxy that runs already, such as http://127.0.0.1:8080. Without it, one is started for the agent.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Do not give the agent the tools that fetch the originals of what was shortened.
    #[arg(long)]
    no_tools: bool,
    /// The program, if it is not called as the agent is.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// The arguments of the agent.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// An agent whose settings are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Agent {
    Claude,
    Codex,
    Aider,
}

impl Agent {
    fn name(self) -> &'static str {
        match self {
            Agent::Claude => "claude",
            Agent::Codex => "codex",
            Agent::Aider => "aider",
        }
    }

    /// Points the configuration at the provider that the agent uses, unless it names an upstream. A base URL in the
    /// environment is the provider's, since the agent would have gone there.
    fn upstream(self, config: &mut Config, variable: impl Fn(&str) -> Option<String>) {
        if !config.serve.upstream.is_empty() {
            return;
        }
        let base = |name: &str, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
        match self {
            Agent::Claude => config.serve.upstream = versioned(base("ANTHROPIC_BASE_URL", ANTHROPIC)),
            Agent::Codex => config.serve.upstream = base("OPENAI_BASE_URL", OPENAI),
            Agent::Aider => {
                config.serve.upstream = base("OPENAI_API_BASE", OPENAI);
                let upstream = versioned(base("ANTHROPIC_API_BASE", ANTHROPIC));
                let route = Route { dialect: "messages".into(), upstream, ..Route::default() };
                config.serve.routes.push(route);
            }
        }
    }

    /// Gives the agent the tools of the proxy, beside its own, and the permission to call them: they change nothing.
    fn equip(self, command: &mut Command, proxy: &str) {
        match self {
            Agent::Claude => {
                let server = json!({ "type": "http", "url": format!("{proxy}{TOOLS_PATH}") });
                let servers = json!({ "mcpServers": { TOOLS: server } });
                let allowed = ["retrieve", "explain", "compact"].map(|tool| format!("mcp__{TOOLS}__{tool}"));
                // With `=`, as each of these takes all words behind it otherwise.
                command.arg(format!("--mcp-config={servers}"));
                command.arg(format!("--allowedTools={}", allowed.join(",")));
            }
            // Codex asks for no permission to call a tool that says it only reads.
            Agent::Codex => {
                command.arg("-c").arg(format!("mcp_servers.{TOOLS}.url=\"{proxy}{TOOLS_PATH}\""));
            }
            // It knows no servers of tools.
            Agent::Aider => {}
        }
    }

    /// Points the agent at the proxy.
    fn point(self, command: &mut Command, proxy: &str) {
        match self {
            Agent::Claude => {
                command.env("ANTHROPIC_BASE_URL", proxy);
            }
            // Codex reads no variable for this.
            Agent::Codex => {
                command.arg("-c").arg(format!("openai_base_url=\"{proxy}/v1\""));
            }
            Agent::Aider => {
                command.env("OPENAI_API_BASE", format!("{proxy}/v1")).env("ANTHROPIC_API_BASE", proxy);
            }
        }
        // A proxy of the environment is not for the loopback.
        for name in ["NO_PROXY", "no_proxy"] {
            let own = env::var(name).ok().filter(|hosts| !hosts.is_empty());
            let hosts = own.into_iter().chain(["127.0.0.1,localhost".to_owned()]).collect::<Vec<_>>();
            command.env(name, hosts.join(","));
        }
    }
}

/// A base URL to which clients add `/v1/messages`, as one that stands for the `/v1`: with a path of its own, it would be
/// taken as that otherwise.
fn versioned(base: String) -> String {
    let path = base.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let path = path.trim_end_matches('/');
    if path.is_empty() || path == "v1" || path.ends_with("/v1") {
        return base;
    }
    format!("{}/v1", base.trim_end_matches('/'))
}

/// Runs the agent to its end, and exits as it does.
///
/// # Errors
///
/// If the agent cannot be started, or the proxy cannot.
pub fn run(args: Args, mut config: Config) -> Result<(), Error> {
    let status = match &args.proxy {
        Some(url) => {
            reach(url)?;
            let status = agent(&args, url.trim_end_matches('/'), false)?;
            tell("epitome: the bill is in the log of that proxy (bill.log)\n");
            status
        }
        None => {
            args.agent.upstream(&mut config, |name| env::var(name).ok().filter(|value| !value.is_empty()));
            // The agent sends over HTTP then, where it is compacted.
            config.serve.websockets = WebSockets::Refuse;
            config.serve.listen = "127.0.0.1:0".into();
            config.serve.keys_env.clear();
            through_own_proxy(&args, config)?
        }
    };
    match status.code() {
        Some(0) => Ok(()),
        code => std::process::exit(code.unwrap_or_else(|| killed_by(status))),
    }
}

fn through_own_proxy(args: &Args, mut config: Config) -> Result<ExitStatus, Error> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::Internal(format!("no temporary folder: {error}")))?;
    if config.bill.log.is_empty() {
        config.bill.log = folder.path().join("bill.jsonl").display().to_string();
    }
    // Where no original is kept, they have nothing to give.
    let keeps = config.cache.enabled && config.plan.originals;
    let tools = cfg!(feature = "mcp") && config.serve.mcp && keeps && !args.no_tools;
    let (log, prices) = (PathBuf::from(&config.bill.log), config.bill.prices.clone());
    let start = Time::now();
    let proxy = Proxy::open(&Arc::new(config), Keys::none())?;
    let url = format!("http://{}", proxy.address);
    let life = proxy.life();
    let (to, from) = mpsc::channel::<ServerHandle>();
    let serving = thread::spawn(move || {
        proxy.serve(|handle| to.send(handle).map_err(|_| io::Error::other("nobody waits for the proxy")))
    });
    let ended = |_| Error::Internal("the proxy ended before it served".into());
    let handle = from.recv().map_err(ended)?;
    let status = agent(args, &url, tools);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::Internal(format!("the proxy cannot be stopped: {error}")))?;
    runtime.block_on(handle.stop(true));
    match serving.join() {
        Ok(served) => served?,
        Err(_) => return Err(Error::Internal("the proxy broke off".into())),
    }
    // The last lines are written when the last thread of the proxy is gone.
    for _ in 0..LAST_LINES {
        if life.strong_count() == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let list = PriceList::load((!prices.is_empty()).then(|| PathBuf::from(prices)).as_deref());
    match list.map_err(Error::from).and_then(|list| bill::since(&log, start, &list)) {
        Ok(bill) => tell(&format!("\n{bill}")),
        // The agent's end counts, not that of its bill.
        Err(error) => tell(&format!("epitome: no bill: {error}\n")),
    }
    status
}

/// Checks that something listens at the address of a proxy.
fn reach(url: &str) -> Result<(), Error> {
    let bad = |reason: &dyn std::fmt::Display| {
        Error::Usage(format!(
            "--proxy {url}: {reason}; name a proxy that runs, such as http://127.0.0.1:8080, or leave it out"
        ))
    };
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let default = if url.starts_with("https:") { 443 } else { 80 };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:{default}") };
    TcpStream::connect(&address).map(drop).map_err(|error| bad(&error))
}

/// The exit code of a program that a signal ended, as shells have it.
fn killed_by(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        status.signal().map_or(1, |signal| 128 + signal)
    }
    #[cfg(not(unix))]
    {
        let _ = status;
        1
    }
}

fn agent(args: &Args, proxy: &str, tools: bool) -> Result<ExitStatus, Error> {
    let program = args.program.clone().unwrap_or_else(|| PathBuf::from(args.agent.name()));
    let mut command = Command::new(&program);
    args.agent.point(&mut command, proxy);
    if tools {
        args.agent.equip(&mut command, proxy);
    }
    // Ctrl-C is for the agent.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Error::Internal(format!("signals cannot be heard: {error}")))?;
    runtime.spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let status = command.args(&args.arguments).status();
    runtime.shutdown_background();
    status.map_err(|error| {
        Error::Usage(format!(
            "{} cannot be started: {error}; install it, or name it with --program",
            program.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_go_where_they_would_have_gone() {
        let upstream = |agent: Agent, variables: &[(&str, &str)]| {
            let mut config = Config::default();
            let of = |name: &str| {
                variables.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned())
            };
            agent.upstream(&mut config, of);
            (config.serve.upstream, config.serve.routes.len())
        };
        assert_eq!(upstream(Agent::Claude, &[]), (ANTHROPIC.into(), 0));
        assert_eq!(
            upstream(Agent::Claude, &[("ANTHROPIC_BASE_URL", "http://gateway")]),
            ("http://gateway".into(), 0)
        );
        let path = [("ANTHROPIC_BASE_URL", "https://host/anthropic/")];
        assert_eq!(upstream(Agent::Claude, &path), ("https://host/anthropic/v1".into(), 0));
        assert_eq!(upstream(Agent::Codex, &[]), (OPENAI.into(), 0));
        assert_eq!(upstream(Agent::Aider, &[]), (OPENAI.into(), 1));
        let mut config = Config::default();
        config.serve.upstream = "http://mine/v1".into();
        Agent::Claude.upstream(&mut config, |_| None);
        assert_eq!(config.serve.upstream, "http://mine/v1");
    }
}
