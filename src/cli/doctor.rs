//! `epitome doctor`: what this machine has, and whether epitome can work on it.

use std::{
    env, fs,
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use epitome_compactor::{
    Cache, Templates,
    cache::{self, DiskStats},
};
use epitome_engine as model;
use epitome_engine::Models;
use serde::Serialize;

use crate::{
    config::{self, Config, Route, WebSockets},
    error::Error,
    measure::energy::{self, Meter},
};

mod speed;

use speed::{DecoderSpeed, GpuReport};

/// Says what this machine has and whether epitome can work on it. The exit status is 1 if something
/// that is needed cannot be used.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    machine: Machine,
    /// The value of `models.device`.
    device: config::Device,
    cache: CacheReport,
    models: Vec<ModelReport>,
    /// `None` if the decoder's files are missing, or it cannot be run.
    decoder_speed: Option<DecoderSpeed>,
    servers: Vec<Server>,
    templates: Finding,
    upstream: Upstream,
    routes: Vec<Upstream>,
    websockets: WebSockets,
}

#[derive(Debug, Serialize)]
struct Machine {
    os: &'static str,
    arch: &'static str,
    cores: usize,
    /// `None` if the system does not report it.
    memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    /// The instruction set that the kernels use, and their throughput on all cores.
    instructions: &'static str,
    multiply_adds_per_second: f64,
    memory_bytes_per_second: f64,
    gpu: GpuReport,
    /// The readable energy counters; empty if there are none.
    energy: &'static str,
    /// Why RAPL is not among them, and how to fix that.
    #[serde(skip_serializing_if = "Option::is_none")]
    energy_problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct CacheReport {
    directory: Option<PathBuf>,
    #[serde(flatten)]
    disk: DiskStats,
}

#[derive(Debug, Serialize)]
struct ModelReport {
    name: String,
    role: &'static str,
    path: Option<PathBuf>,
    /// Whether a missing model is fetched on first use.
    can_fetch: bool,
    /// Whether the proxy fetches it as well.
    serve_can_fetch: bool,
    #[serde(flatten)]
    finding: Finding,
}

/// A server that takes the place of a local model.
#[derive(Debug, Serialize)]
struct Server {
    role: &'static str,
    model: String,
    url: String,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Debug, Serialize)]
struct Upstream {
    /// Empty for the embedded upstream.
    url: String,
    #[serde(flatten)]
    finding: Finding,
}

/// Whether something is usable, and why not.
#[derive(Debug, Serialize)]
struct Finding {
    usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Finding {
    fn of(result: Result<(), String>) -> Self {
        Self { usable: result.is_ok(), problem: result.err() }
    }
}

/// Runs the command.
///
/// # Errors
///
/// [`Error::Unusable`] if a required part is unusable.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    let report = Report::make(config)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| Error::Internal(format!("cannot write JSON: {error}")))?;
        super::print(&format!("{json}\n"))?;
    } else {
        super::print(&report.text())?;
    }
    match report.unusable() {
        0 => Ok(()),
        count => Err(Error::Unusable(count)),
    }
}

impl Report {
    fn make(config: Config) -> Result<Self, Error> {
        let models = Models::new(&config.models)?;
        let cache = Cache::open(&config.cache);
        let wait = Duration::from_millis(config.serve.connect_timeout_ms);
        let upstream = Upstream {
            url: config.serve.upstream.clone(),
            finding: Finding::of(connect(&config.serve.upstream, wait)),
        };
        let routes = config.serve.routes.iter().map(|route| Upstream::of_route(route, wait)).collect();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::here(&config.measure),
            device: config.models.device,
            cache: CacheReport { directory: cache::directory(&config.cache), disk: cache.stats().disk },
            models: model_reports(&models, &config.models),
            decoder_speed: DecoderSpeed::measured(&models, &config.models.decoder),
            servers: servers(&config),
            templates: Finding::of(
                Templates::load(&config.render.templates).map(|_| ()).map_err(|error| error.to_string()),
            ),
            upstream,
            routes,
            websockets: config.serve.websockets,
        })
    }

    fn unusable(&self) -> usize {
        let routes = self.routes.iter().map(|route| &route.finding);
        let models = self.models.iter().map(|model| &model.finding);
        let servers = self.servers.iter().map(|server| &server.finding);
        let own = [&self.templates, &self.upstream.finding];
        own.into_iter().chain(routes).chain(models).chain(servers).filter(|finding| !finding.usable).count()
    }

    fn text(&self) -> String {
        let machine = &self.machine;
        let memory = match (machine.memory_bytes, machine.memory_available_bytes) {
            (Some(all), Some(free)) => format!("{}, {} of it free", mebibytes(all), mebibytes(free)),
            (Some(all), None) => mebibytes(all),
            _ => "unknown".to_owned(),
        };
        let mut lines = vec![
            ("epitome", self.version.to_owned()),
            ("system", format!("{} {}", machine.os, machine.arch)),
            ("cores", machine.cores.to_string()),
            ("memory", memory),
            (
                "cpu",
                format!(
                    "{}: {:.0} G multiply-adds/s in 8 bits, {:.0} GB/s from memory",
                    machine.instructions,
                    machine.multiply_adds_per_second / 1e9,
                    machine.memory_bytes_per_second / 1e9
                ),
            ),
            ("gpu", machine.gpu.text()),
        ];
        lines.extend(machine.gpu.check_text(self.device).map(|text| ("gpu check", text)));
        lines.push(("energy", machine.energy_text()));
        lines.push(("cache", self.cache.text()));
        lines.extend(self.models.iter().map(|model| (model.role, model.text())));
        lines.extend(self.decoder_speed.as_ref().map(|speed| ("speed", speed.text())));
        lines.extend(self.servers.iter().map(|server| (server.role, server.text())));
        lines.push(("templates", self.templates.text("read and compiled")));
        let upstream = match self.upstream.url.as_str() {
            "" => "embedded, on the decoder above".to_owned(),
            url => self.upstream.finding.text(&format!("{url} accepts connections")),
        };
        lines.push(("upstream", upstream));
        let route = |route: &Upstream| route.finding.text(&format!("{} accepts connections", route.url));
        lines.extend(self.routes.iter().map(|one| ("route", route(one))));
        let websockets = match self.websockets {
            WebSockets::Pass => "pass through; what is sent in them (Codex does) is not compacted",
            WebSockets::Refuse => "refused; clients are to use HTTP, where texts are compacted",
        };
        lines.push(("websockets", websockets.to_owned()));
        lines.into_iter().map(|(name, value)| format!("{name:<11}{value}\n")).collect()
    }
}

impl Upstream {
    /// A route: its server, and the key that it takes from the environment.
    fn of_route(route: &Route, wait: Duration) -> Self {
        let key = match route.key_env.as_str() {
            "" => Ok(()),
            name if env::var(name).is_ok_and(|key| !key.trim().is_empty()) => Ok(()),
            name => Err(format!("{} takes its key from {name}, which holds none", route.upstream)),
        };
        let finding = Finding::of(key.and_then(|()| connect(&route.upstream, wait)));
        Self { url: route.upstream.clone(), finding }
    }
}

impl Finding {
    fn text(&self, usable: &str) -> String {
        match &self.problem {
            Some(problem) => format!("PROBLEM: {problem}"),
            None => usable.to_owned(),
        }
    }
}

impl CacheReport {
    fn text(&self) -> String {
        match &self.disk {
            DiskStats::Off => "no disk layer".to_owned(),
            DiskStats::Open { path, entries, bytes, limit } => format!(
                "{}: {entries} entries, {} of {}",
                path.display(),
                mebibytes(*bytes),
                mebibytes(*limit)
            ),
            DiskStats::Unavailable { path, reason } => {
                format!("memory only, because {} cannot be used: {reason}", path.display())
            }
        }
    }
}

impl ModelReport {
    fn text(&self) -> String {
        match (&self.path, self.can_fetch) {
            (Some(path), _) => format!("{}: {}", self.name, path.display()),
            (None, true) if self.serve_can_fetch => {
                format!("{}: not here, will be fetched on first use", self.name)
            }
            (None, true) => format!(
                "{}: not here, will be fetched on first use by a command other than serve, or with `epitome models \
                 pull {}`",
                self.name, self.name
            ),
            (None, false) => format!("{}: {}", self.name, self.finding.text("not here")),
        }
    }
}

impl Server {
    fn text(&self) -> String {
        self.finding.text(&format!("{} at {} answers", self.model, self.url))
    }
}

fn servers(config: &Config) -> Vec<Server> {
    epitome_compactor::probe(&config.compactor())
        .into_iter()
        .map(|epitome_compactor::Probe { role, url, model, result }| Server {
            role,
            model,
            url,
            finding: Finding::of(result.map_err(|error| error.to_string())),
        })
        .collect()
}

fn model_reports(models: &Models, config: &config::Models) -> Vec<ModelReport> {
    let fetching = config.hub || config.pip != config::Pip::Never;
    models
        .status()
        .into_iter()
        .map(|status| {
            // Only models of the manifest, and models named by their repository, have a source to fetch from.
            let known = models.manifest().get(&status.spec.name).is_some();
            let can_fetch =
                (known && fetching) || (status.missing && status.spec.hub.is_some() && config.hub);
            let usable = status.path.is_some() || can_fetch;
            let serve_can_fetch = can_fetch && (config.hub || config.pip == config::Pip::Always);
            ModelReport {
                name: status.spec.name,
                role: status.spec.role.as_str(),
                path: status.path,
                can_fetch,
                serve_can_fetch,
                finding: Finding { usable, problem: status.problem.filter(|_| !usable) },
            }
        })
        .collect()
}

impl Machine {
    fn here(measure: &config::Measure) -> Self {
        let powercap = Path::new(&measure.powercap);
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let rates = model::rates();
        Self {
            os: env::consts::OS,
            arch: env::consts::ARCH,
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes_of(&meminfo, "MemTotal:"),
            memory_available_bytes: kibibytes_of(&meminfo, "MemAvailable:"),
            instructions: rates.instructions,
            multiply_adds_per_second: rates.multiply_adds,
            memory_bytes_per_second: rates.bytes,
            gpu: GpuReport::here(),
            energy: Meter::detect(powercap).sources(),
            energy_problem: energy::obstacle(powercap),
        }
    }
}

impl Machine {
    fn energy_text(&self) -> String {
        let problem = self.energy_problem.as_deref();
        match (self.energy, problem) {
            ("", problem) => format!("unknown: {}", problem.unwrap_or("no counter")),
            (sources, None) => format!("by {sources}"),
            (sources, Some(problem)) => format!("by {sources}; no RAPL: {problem}"),
        }
    }
}

/// Parses a line of Linux' `meminfo`; the result is in bytes.
fn kibibytes_of(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether the host of `url` accepts a connection. An empty URL is the embedded upstream.
fn connect(url: &str, timeout: Duration) -> Result<(), String> {
    if url.is_empty() {
        return Ok(());
    }
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url} is not a URL: {error}"))?;
    let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return Err(format!("{url} names no host"));
    };
    // Brackets of an IPv6 address belong to the URL, not to the address.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses =
        (host, port).to_socket_addrs().map_err(|error| format!("{host} cannot be resolved: {error}"))?;
    let mut problem = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok(()),
            Err(error) => problem = format!("{url} does not answer at {address}: {error}"),
        }
    }
    Err(problem)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24600000 kB\nMemFree: 1 kB\nMemAvailable:   18000000 kB\n";
        assert_eq!(kibibytes_of(text, "MemTotal:"), Some(24_600_000 * 1024));
        assert_eq!(kibibytes_of(text, "MemAvailable:"), Some(18_000_000 * 1024));
        assert_eq!(kibibytes_of("", "MemTotal:"), None);
    }

    #[test]
    fn connect_tells_listening_from_closed_ports() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let timeout = Duration::from_secs(5);
        assert_eq!(connect(&url, timeout), Ok(()));
        drop(listener);
        assert!(connect(&url, timeout).unwrap_err().contains("does not answer"));
        assert_eq!(connect("", timeout), Ok(()));
    }
}
