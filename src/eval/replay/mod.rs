//! Replays recorded sessions of agents, step by step and without any model that answers.
//!
//! ```text
//! session   a file of sessions, checked
//! arms      what each arm sends in place of a request      (lines: the simple ones)
//!   -> step      each arm from step to step                (message: each message once)
//!        bill       what repeats, and what that costs
//!        needed     whether what was used later was there
//!   -> record    one line of the results file              (file: resumed after an interruption)
//!   -> figures   all sessions together
//!   -> page      tables and plots;  gate: an exit code
//! ```

pub mod arms;
pub mod bill;
mod error;
pub mod figures;
mod file;
pub mod gate;
mod lines;
mod message;
mod needed;
pub mod page;
mod record;
pub mod session;
mod step;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use epitome_compactor::{Budget, Cache};
use epitome_engine::Models;
use epitome_work::Cancel;
use serde::Serialize;

pub use error::ReplayError;
pub use file::ReplayFile;
pub use record::Cell;

use arms::{Group, Player};
use message::Store;
use needed::Uses;
use session::Session;
use step::Track;

use super::run::RunError;
use crate::{config::Config, display::Display, rewrite::pipeline::Compact};

/// What is played.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Sizes of the arms that have one.
    pub budgets: Vec<Budget>,
    /// Names of the arms to play; all if empty.
    pub arms: Vec<String>,
    /// Most steps of a session; all if absent.
    pub steps: Option<usize>,
    /// Seed of the random lines.
    pub seed: u64,
    /// Whether the groups of a session share one cache: faster, and only the first of them has times of its own.
    pub shared_cache: bool,
}

impl Options {
    fn plays(&self, arm: &str) -> bool {
        self.arms.is_empty() || self.arms.iter().any(|name| name == arm)
    }
}

/// What a replay works with.
pub struct Work<'a> {
    /// The sessions, in the order of the file.
    pub sessions: &'a [Session],
    /// What is played.
    pub options: &'a Options,
    /// The effective configuration.
    pub config: &'a Config,
    /// Its models.
    pub models: Arc<Models>,
    /// Stops the run after the step that is being played.
    pub cancel: &'a Cancel,
}

/// Plays what is not in `cells` yet, and adds it there and to `file`.
///
/// # Errors
///
/// [`RunError::Stopped`] if it was cancelled; otherwise, if the pipeline cannot be set up or the file not written.
pub fn run(work: &Work<'_>, cells: &mut Vec<Cell>, file: &mut ReplayFile) -> Result<(), ReplayError> {
    let groups: Vec<Group> = Group::all(&work.options.budgets)
        .into_iter()
        .filter(|group| group.arms().iter().any(|name| work.options.plays(name.arm)))
        .collect();
    let known: HashSet<(String, String)> =
        cells.iter().map(|cell| (cell.session.clone(), cell.group.clone())).collect();
    let steps: Vec<Vec<usize>> =
        work.sessions.iter().map(|session| session::spread(&session.steps(), work.options.steps)).collect();
    let is_known = |session: &Session, group: Group| known.contains(&(session.id.clone(), group.name()));
    let all = work.sessions.len() * groups.len();
    let (mut total, mut done) = (0, 0);
    for (session, steps) in work.sessions.iter().zip(&steps) {
        let of_session = groups.iter().filter(|group| is_known(session, **group)).count();
        total += steps.len() * groups.len();
        done += steps.len() * of_session;
    }
    let mut display = Display::new(Some(total as u64), done as u64);
    for (at, (session, steps)) in work.sessions.iter().zip(&steps).enumerate() {
        let shared = Arc::new(Cache::memory_only());
        for group in &groups {
            if is_known(session, *group) {
                continue;
            }
            let cache =
                if work.options.shared_cache { shared.clone() } else { Arc::new(Cache::memory_only()) };
            let name = || format!("session {} of {}, {}", at + 1, work.sessions.len(), group.name());
            let mut advance = || {
                done += 1;
                display.update(done as u64, || format!("{done} of {total} steps, {}", name()));
            };
            let Some(cell) = play(work, session, steps, *group, cache, &mut advance)? else {
                display.clear();
                return Err(RunError::Stopped { done: cells.len(), total: all }.into());
            };
            file.add(&cell)?;
            cells.push(cell);
        }
    }
    display.clear();
    Ok(())
}

/// Plays a session with a group of arms. `None` if it was stopped.
fn play(
    work: &Work<'_>,
    session: &Session,
    steps: &[usize],
    group: Group,
    cache: Arc<Cache>,
    advance: &mut impl FnMut(),
) -> Result<Option<Cell>, ReplayError> {
    let compactor = crate::compactor::compactor(work.config, work.models.clone(), cache)?;
    // What is loaded once is no part of a step's time.
    compactor.warm_up()?;
    compactor.identity()?;
    let counter = compactor.counter(None);
    let mut store = Store::new(counter.clone());
    let messages: Vec<_> = session.messages.iter().map(|raw| store.message(raw)).collect();
    let uses = Uses::new(session, &messages, steps);
    let mut player = Player {
        group,
        pipeline: &compactor as &dyn Compact,
        plan: &work.config.plan,
        counter,
        seed: work.options.seed,
        cancel: work.cancel,
        made: HashMap::new(),
    };
    // Some arms are only played because others take their sizes from them.
    let track =
        |name: arms::Name| work.options.plays(name.arm).then(|| Track::new(name, session.needed.is_some()));
    let mut tracks: Vec<Option<Track>> = group.arms().into_iter().map(track).collect();
    for step in steps {
        let original = messages.get(..*step).unwrap_or(&messages);
        let Ok(sent) = player.send(original, &mut store) else { return Ok(None) };
        for (track, sent) in tracks.iter_mut().zip(sent) {
            if let Some(track) = track {
                track.add(original, sent, &uses);
            }
        }
        advance();
    }
    let arms = tracks.into_iter().flatten().map(|track| track.finish(uses.unseen)).collect();
    Ok(Some(Cell { session: session.id.clone(), group: group.name(), arms }))
}
