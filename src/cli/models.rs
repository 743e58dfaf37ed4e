//! `epitome models`: which model files there are, and getting them here.

use std::io::{self, Write};

use clap::Subcommand;
use epitome_engine::{ModelStatus, Models};
use serde_json::json;

use crate::{config::Config, error::Error};

/// Model files: what is here, getting more, checking them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every known model, and whether it is here.
    List {
        /// One JSON array instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Fetch models that are not here: the configured ones, or those named.
    Pull {
        /// Names of the manifest.
        names: Vec<String>,
    },
    /// Read the files that are here in full and compare their hashes.
    Verify {
        /// Names of the manifest; without them, all models that are here.
        names: Vec<String>,
    },
    /// Print the path of a model's weights.
    Path {
        /// A name of the manifest.
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
///
/// The model that could not be had, or standard output that could not be written.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    let models = Models::new(&config.models)?;
    match args.command {
        Command::List { json: true } => print(&to_json(&models.list())),
        Command::List { json: false } => {
            print(&table(&models.list()))?;
            super::tell(
                "*: named in the configuration. Ranker and word vectors, all that the default compacts with, are in the binary\n",
            );
            Ok(())
        }
        Command::Pull { names } => {
            let names = if names.is_empty() { names_of(models.status()) } else { names };
            for name in names {
                let path = models.pull(&name)?.weights()?.display().to_string();
                print(&format!("{name}  {path}\n"))?;
            }
            Ok(())
        }
        Command::Verify { names } => {
            let here = || models.list().into_iter().filter(|status| !status.missing).collect();
            let names = if names.is_empty() { names_of(here()) } else { names };
            for name in names {
                models.verify(&name)?;
                print(&format!("{name}  ok\n"))?;
            }
            Ok(())
        }
        Command::Path { name } => print(&format!("{}\n", models.locate(&name)?.weights()?.display())),
    }
}

fn print(text: &str) -> Result<(), Error> {
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|source| Error::File { path: "-".into(), source })
}

fn names_of(list: Vec<ModelStatus>) -> Vec<String> {
    list.into_iter().map(|status| status.spec.name).collect()
}

fn table(list: &[ModelStatus]) -> String {
    let mut rows = vec![["", "NAME", "ROLE", "SIZE", "LICENCE", "STATE", "PATH"].map(str::to_owned)];
    for status in list {
        let (state, path) = match &status.path {
            Some(path) => ("present", path.display().to_string()),
            None if status.missing => ("missing", String::new()),
            None => ("damaged", String::new()),
        };
        rows.push([
            if status.configured { "*" } else { "" }.to_owned(),
            status.spec.name.clone(),
            status.spec.role.as_str().to_owned(),
            format!("{} MB", status.spec.bytes() / 1_000_000),
            status.spec.licence.clone(),
            state.to_owned(),
            path,
        ]);
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn to_json(list: &[ModelStatus]) -> String {
    let rows: Vec<_> = list
        .iter()
        .map(|status| {
            json!({
                "name": status.spec.name,
                "role": status.spec.role,
                "configured": status.configured,
                "bytes": status.spec.bytes(),
                "licence": status.spec.licence,
                "sha256": status.spec.files.first().map(|file| &file.sha256),
                "state": if status.path.is_some() { "present" } else { "missing" },
                "path": status.path,
                "problem": status.problem,
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::Array(rows))
}
