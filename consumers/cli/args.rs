//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Carries Fedora's Flatpaks from Koji and Bodhi to the public registry, event by event, losing none.
#[derive(Parser)]
#[command(
    name = "flatbus",
    version,
    max_term_width = 100,
    after_help = "New here? `flatbus demo` shows it all working on this machine, without a network."
)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Args, Clone)]
pub struct Common {
    /// The consumer's configuration [default: $FEDORA_MESSAGING_CONF, else /etc/flatbus/CONSUMER.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// JSON for machines instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// What to log: error, warn, info, debug, or directives such as flatbus=debug [default: info for run, else warn]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// As in a container: logs as JSON on standard output, the door on 127.0.0.1 (found out by itself under Kubernetes)
    #[arg(long, global = true)]
    pub container: bool,
}

/// One of flatbus' consumers.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Makes the flatpak index and its icons equal the registry
    Index,
    /// Makes the public registry's tags equal Koji's and Bodhi's truth
    Mirror,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Run a consumer until it is told to stop: what its systemd unit does
    Run(Which),
    /// Settle what is doubtful now (or the keys given), show it, and end
    Once(Once),
    /// Feed recorded messages (JSON Lines, as `fedora-messaging record` writes them) to a consumer
    Replay(Replay),
    /// Look at everything that ought to be true
    Survey(Survey),
    /// How a consumer is doing, in words
    Status(Which),
    /// What is doubtful, tried and parked
    #[command(subcommand)]
    Ledger(LedgerVerb),
    /// Look for what would keep a consumer from working: a plain sentence per finding
    Check(Which),
    /// Print what the broker's administrators must add for a consumer
    BrokerRequest(Broker),
    /// What only index can do
    #[command(subcommand)]
    Index(IndexVerb),
    /// What only mirror can do
    #[command(subcommand)]
    Mirror(MirrorVerb),
    /// The whole chain on this machine: no root, no network, no packages
    Demo(Demo),
}

#[derive(Args)]
pub struct Which {
    /// The consumer
    pub consumer: Name,
}

#[derive(Args)]
pub struct Once {
    /// The consumer
    pub consumer: Name,
    /// Keys to settle, as `ledger list` shows them; none: all that are due
    pub keys: Vec<String>,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    pub timeout: u64,
}

#[derive(Args)]
pub struct Replay {
    /// The consumer
    pub consumer: Name,
    /// The messages
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// Begin at the start even if an earlier replay of this file was interrupted
    #[arg(long)]
    pub from_start: bool,
}

#[derive(Args)]
pub struct Survey {
    /// The consumer
    pub consumer: Name,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only what changed since the last survey
    #[arg(long, conflicts_with = "dry_run")]
    pub changes: bool,
}

#[derive(Subcommand)]
pub enum LedgerVerb {
    /// List doubtful and parked keys
    List(List),
    /// One key: why it is doubtful, how often it was tried, what went wrong
    Show(OneKey),
    /// Try keys again now
    Retry(KeyList),
    /// Forget keys: a new event or a survey brings them back
    Drop(KeyList),
    /// Write the whole ledger as JSON Lines to standard output
    Export(Which),
    /// Read an exported ledger into an empty store; the unit must be down
    Import(Import),
}

#[derive(Args)]
pub struct List {
    /// The consumer
    pub consumer: Name,
    /// Only parked keys: those that a person must look at
    #[arg(long)]
    pub parked: bool,
    /// Only keys that failed and wait for another try
    #[arg(long, conflicts_with = "parked")]
    pub waiting: bool,
    /// Messages that could not be understood, instead of keys
    #[arg(long, conflicts_with_all = ["parked", "waiting"])]
    pub messages: bool,
    /// What shadow mode would have done, instead of keys
    #[arg(long, conflicts_with_all = ["parked", "waiting", "messages"])]
    pub deeds: bool,
}

#[derive(Args)]
pub struct OneKey {
    /// The consumer
    pub consumer: Name,
    /// The key, or the number of a parked message
    pub key: String,
}

#[derive(Args)]
pub struct KeyList {
    /// The consumer
    pub consumer: Name,
    /// The keys, or numbers of parked messages
    #[arg(required_unless_present = "all_parked")]
    pub keys: Vec<String>,
    /// Every parked key
    #[arg(long)]
    pub all_parked: bool,
}

#[derive(Args)]
pub struct Import {
    /// The consumer
    pub consumer: Name,
    /// What `export` wrote
    pub file: PathBuf,
}

#[derive(Args)]
pub struct Broker {
    /// The consumer
    pub consumer: Name,
    /// The common name of the client certificate [default: read from the configured certificate]
    #[arg(long, value_name = "CN")]
    pub user: Option<String>,
}

#[derive(Subcommand)]
pub enum IndexVerb {
    /// Explain how our files differ from those of another index, by ref and architecture
    Compare(Compare),
    /// Print the configuration with which Apache httpd serves the site
    HttpdConfig,
}

#[derive(Args)]
pub struct Compare {
    /// The other index: a folder, or the URL of one, with files of the same names
    #[arg(long, value_name = "DIR|URL")]
    pub against: String,
}

#[derive(Subcommand)]
pub enum MirrorVerb {
    /// Take over repositories that exist already: every tag must name a Flatpak
    Adopt(Adopt),
}

#[derive(Args)]
pub struct Adopt {
    /// Repositories at the destination, without the namespace: eog, f41/flatpak-runtime
    #[arg(required = true)]
    pub repositories: Vec<String>,
}

#[derive(Args)]
pub struct Demo {
    /// End when the story is told instead of waiting for Ctrl-C
    #[arg(long)]
    pub exit: bool,
}
