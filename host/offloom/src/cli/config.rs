//! `offloom config check`: what the server would run with, and whether it could.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{GivenSettings, ServerConfig};
use crate::setting_sources::Setting;
use crate::terminal::{errln, outln};

/// What `offloom config` takes.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting of the server with its source, and try data directories, users and stores
    Check(Box<CheckArgs>),
}

/// The settings, as `offloom serve` takes them.
#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    settings: GivenSettings,
    /// Settings as TOML: the options with `_` for `-`, such as data_dir = "/var/lib/weaviate"
    #[arg(long, env = "OFFLOOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints the settings and what was tried. Its status is 1 if the server could not start.
///
/// # Errors
/// Settings that are contradictory or cannot be read.
pub async fn run(args: ConfigArgs) -> anyhow::Result<ExitCode> {
    let ConfigCommand::Check(args) = args.command;
    let (config, settings) = args.settings.over_with_sources(args.config.as_deref())?;
    print(&settings);
    let mut checks = Checks { failed: false };
    checks.directories(&config).await;
    checks.users(&config).await;
    checks.stores(&config).await;
    Ok(if checks.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(settings: &[Setting]) {
    for Setting { key, value, source } in settings {
        outln!("{key} = {value} ({source})");
    }
}

/// What was tried so far.
struct Checks {
    failed: bool,
}

impl Checks {
    async fn directories(&mut self, config: &ServerConfig) {
        let directories = config.scheduler.directories();
        let opened = tokio::task::spawn_blocking(move || Ok(directories.open()?)).await;
        let opened = opened.map_err(Into::into).and_then(|opened: anyhow::Result<_>| opened);
        let summary = opened.map(|directory| {
            for warning in directory.warnings() {
                errln!("warning: {warning}");
            }
            let (classes, schema) = (directory.classes().len(), directory.schema_from());
            format!("{classes} classes, schema from {schema}")
        });
        self.report("data directories", summary);
    }

    async fn users(&mut self, config: &ServerConfig) {
        let (users, listen) = (config.users.clone(), config.api.listen);
        let sources = config.scheduler.sources.clone();
        let opened = tokio::task::spawn_blocking(move || users.open(&sources, listen)).await;
        let opened = opened.map_err(Into::into).and_then(|opened| opened);
        let summary = opened.map(|users| {
            print(&users.settings);
            for warning in &users.opened.warnings {
                errln!("warning: {warning}");
            }
            let who = if users.has_users {
                "users with credentials"
            } else {
                "everybody on this machine"
            };
            format!("requests of {who} are taken")
        });
        self.report("users", summary);
    }

    async fn stores(&mut self, config: &ServerConfig) {
        print(&config.backend.shown());
        let destinations = match config.backend.defaults() {
            Ok(destinations) => destinations,
            Err(error) => return self.report("stores", Err(error.into())),
        };
        for destination in destinations {
            let checked = destination.check_access().await;
            let name = format!("backend {}", destination.backend());
            let checked = checked.map(|()| format!("{} can be used", destination.url()));
            self.report(&name, checked.map_err(Into::into));
        }
    }

    fn report(&mut self, what: &str, result: anyhow::Result<String>) {
        match result {
            Ok(summary) => outln!("{what}: {summary}"),
            Err(error) => {
                self.failed = true;
                outln!("{what}: failed: {error:#}");
            }
        }
    }
}
