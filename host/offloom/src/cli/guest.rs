//! `offloom guest`: checks guests, and manages those of a server.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use offloom_protocol::named_file;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use url::Url;

use super::guest_new::{self, NewArgs};
use crate::guest::{self, GuestConfig};
use crate::guests::details;
use crate::terminal::outln;

/// What `offloom guest` takes.
#[derive(Debug, Args)]
pub struct GuestArgs {
    #[command(subcommand)]
    command: GuestCommand,
}

#[derive(Debug, Subcommand)]
enum GuestCommand {
    /// Write a crate with a transform and an exporter, to begin with
    New(NewArgs),
    /// Check a component here, without a server: what it is, imports and does
    Check {
        /// The component
        file: PathBuf,
        /// Where compiled guests are kept [default: $XDG_CACHE_HOME/offloom]
        #[arg(long, value_name = "DIR")]
        cache_dir: Option<PathBuf>,
    },
    /// Send a component to a server, as a version of a name
    Push {
        /// The name
        name: String,
        /// The component
        file: PathBuf,
        /// The signature of the component, as minisign writes it
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        /// Make the version the active one at once
        #[arg(long)]
        activate: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the guests of a server
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a guest: its versions, what it says of itself, what it makes
    Show {
        /// The name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a version the one that the name alone means
    Activate {
        /// The name
        name: String,
        /// The SHA-256 of the version
        digest: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Go back to the version that was active before
    Rollback {
        /// The name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Try a guest on the first rows of a class; nothing is stored
    DryRun {
        /// The name
        name: String,
        /// The class
        #[arg(long)]
        class: String,
        /// How many rows are read
        #[arg(long, default_value_t = 10)]
        rows: u32,
        /// An option of the guest; may be given several times
        #[arg(long = "option", value_name = "KEY=VALUE", value_parser = super::export::guest_option)]
        options: Vec<(String, String)>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Remove a guest with all of its versions
    Delete {
        /// The name
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Which server, and whose guest.
#[derive(Debug, Args)]
struct ServerArgs {
    /// The server
    #[arg(
        long,
        env = "OFFLOOM_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: Url,
    /// The API key or token, where the server has users
    #[arg(long, env = "OFFLOOM_API_KEY", value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// A guest of one tenant
    #[arg(long, value_name = "CLASS/TENANT")]
    tenant: Option<String>,
}

/// A server compiles a component for up to ten minutes.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Signatures are a few lines.
const MAX_SIGNATURE_BYTES: u64 = 16 * 1024;

/// Runs the command.
///
/// # Errors
/// A component that is no guest; what the server refuses.
pub async fn run(args: GuestArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        GuestCommand::New(args) => guest_new::run(&args)?,
        GuestCommand::Check { file, cache_dir } => check(&file, cache_dir).await?,
        GuestCommand::Push { name, file, signature, activate, server } => {
            let component = guest::read(&file)?;
            let signature = signature.map(|file| {
                let text = named_file::read(&file, MAX_SIGNATURE_BYTES);
                text.with_context(|| format!("the signature {}", file.display()))
            });
            let mut query = BTreeMap::new();
            if activate {
                query.insert("activate", "true".to_owned());
            }
            let mut request = server.request(Method::PUT, &["guests", &name], query)?;
            if let Some(signature) = signature.transpose()? {
                request = request.header("Minisign-Signature", STANDARD.encode(signature));
            }
            let answer = answer(request.body(component).send().await).await?;
            let (digest, active) = (text(&answer, "digest"), text(&answer, "active"));
            outln!("{name}@sha256:{digest}{}", if digest == active { " (active)" } else { "" });
        }
        GuestCommand::List { server } => {
            let answer = server.get(&["guests"]).await?;
            for guest in answer.get("guests").and_then(Value::as_array).into_iter().flatten() {
                let version = match guest.get("active").and_then(Value::as_str) {
                    Some(digest) => format!("sha256:{digest}"),
                    None => "part of the program".to_owned(),
                };
                let tenant =
                    guest.get("tenant").and_then(Value::as_str).map(|tenant| format!("{tenant}/"));
                let (tenant, name) = (tenant.unwrap_or_default(), text(guest, "name"));
                outln!("{tenant}{name}  {}  {version}", text(guest, "kind"));
            }
        }
        GuestCommand::Show { name, server } => print(&server.get(&["guests", &name]).await?)?,
        GuestCommand::Activate { name, digest, server } => {
            let path = ["guests", &name, "activate"];
            let answer = server.post(&path, &json!({ "digest": digest })).await?;
            outln!("{name}@sha256:{} (active)", text(&answer, "active"));
        }
        GuestCommand::Rollback { name, server } => {
            let answer = server.post(&["guests", &name, "rollback"], &json!({})).await?;
            outln!("{name}@sha256:{} (active)", text(&answer, "active"));
        }
        GuestCommand::DryRun { name, class, rows, options, server } => {
            let options: BTreeMap<String, String> = options.into_iter().collect();
            let body = json!({ "class": class, "rows": rows, "options": options });
            print(&server.post(&["guests", &name, "dry-run"], &body).await?)?;
        }
        GuestCommand::Delete { name, server } => {
            let request = server.request(Method::DELETE, &["guests", &name], BTreeMap::new())?;
            answer(request.send().await).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(file: &Path, cache_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let sandbox = guest::sandbox(&GuestConfig { cache_dir, ..GuestConfig::default() })?;
    let component = guest::read(file)?;
    let details = details::of_component(&sandbox, component).await;
    print(&serde_json::to_value(details.with_context(|| format!("the guest {}", file.display()))?)?)
}

fn print(answer: &Value) -> anyhow::Result<()> {
    // Line by line: what is printed has its control characters escaped.
    for line in serde_json::to_string_pretty(answer)?.lines() {
        outln!("{line}");
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl ServerArgs {
    fn request(
        &self,
        method: Method,
        path: &[&str],
        mut query: BTreeMap<&str, String>,
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let mut url = self.server.clone();
        let Ok(mut segments) = url.path_segments_mut() else {
            bail!("{} is no address of a server", self.server);
        };
        segments.pop_if_empty().push("v1").extend(path);
        drop(segments);
        query.extend(self.tenant.clone().map(|tenant| ("tenant", tenant)));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        // There is no client without a provider, not even for plain HTTP. An error says that one is
        // installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(TIMEOUT).build()?;
        let request = client.request(method, url);
        Ok(match &self.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
    }

    async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        answer(self.request(Method::GET, path, BTreeMap::new())?.send().await).await
    }

    async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path, BTreeMap::new())?;
        let request = request.header("Content-Type", "application/json");
        answer(request.body(body.to_string()).send().await).await
    }
}

/// The answer of a server, or its refusal.
async fn answer(response: reqwest::Result<Response>) -> anyhow::Result<Value> {
    let response =
        response.context("the server does not answer: is it running, and is --server right?")?;
    let status = response.status();
    let body = response.bytes().await?;
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
    if status.is_success() {
        return Ok(body);
    }
    match body.pointer("/error/0/message").and_then(Value::as_str) {
        Some(message) => bail!("{message}"),
        None => bail!("the server answers with status {status}"),
    }
}
