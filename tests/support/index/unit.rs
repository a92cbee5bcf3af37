//! `flatbus run index` as its unit runs it: a process of its own with the shipped example's files and routing keys, told
//! where everything is.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use toml::Table;

use crate::run::until_consuming;

const EXAMPLE: &str = include_str!("../../../consumers/index/index.example.toml");
const LOG_LINES_SHOWN: usize = 60;

/// Where everything is.
pub struct Places<'a> {
    /// `amqp://…`
    pub broker: &'a str,
    /// With its namespace: `http://127.0.0.1:5000/fedora`.
    pub registry: &'a str,
    /// Where clients are sent, if not there.
    pub clients: Option<&'a str>,
    /// Where the site is served: `127.0.0.1:8085`.
    pub site: &'a str,
}

/// The unit, running or not.
pub struct Unit {
    /// What it serves the site on: `127.0.0.1:8085`.
    pub site: String,
    /// The folder that it publishes.
    pub site_dir: PathBuf,
    /// What stands before a repository's name in its entries.
    names: String,
    dir: PathBuf,
    config: PathBuf,
    monitoring: u16,
    child: Option<Child>,
}

impl Unit {
    /// Writes the configuration; `dir` holds the site, the ledger, the socket and the log.
    pub fn configure(dir: &Path, monitoring: u16, places: &Places<'_>) -> Self {
        let config = dir.join("index.toml");
        let text = configuration(dir, monitoring, places).to_string();
        fs::write(&config, text).expect("room in the temporary folder");
        let names = places.clients.unwrap_or(places.registry).splitn(4, '/').nth(3);
        Self {
            site: places.site.to_owned(),
            site_dir: dir.join("site"),
            names: names.map(|namespace| format!("{namespace}/")).unwrap_or_default(),
            dir: dir.to_owned(),
            config,
            monitoring,
            child: None,
        }
    }

    /// How its entries name a repository.
    pub fn name(&self, repository: &str) -> String {
        format!("{}{repository}", self.names)
    }

    /// Starts it and waits until it consumes.
    pub fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("index.log"));
        let log = log.expect("a log file");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_flatbus"), "--config"])
            .arg(&self.config)
            .args(["run", "index"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log);
        self.child = Some(alone(&mut command).spawn().expect("setpriv is part of every system"));
        until_consuming("the index", self.monitoring, || self.log());
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is ours");
        let ended = child.wait().expect("it is ours");
        assert_eq!(ended.signal(), Some(9), "it ran until it was killed\n{}", self.log());
    }

    /// Runs another verb beside it, and hands back what it printed.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flatbus"));
        command.arg("--config").arg(&self.config).args(arguments);
        let output = alone(&mut command).output().expect("the program was built");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "flatbus {arguments:?}: {said}{errors}\n{}", self.log());
        said
    }

    /// `flatbus status`
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ask(&["status", "index", "--json"])).expect("it says JSON")
    }

    /// What it has left to do, and the end of what it logged.
    pub fn trouble(&self) -> String {
        format!("{}\n{}", self.ask(&["ledger", "list", "index"]), self.log())
    }

    /// The end of what it logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("index.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Unit {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what the index had to say")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("The index's log ends:\n{}", self.log());
        }
    }
}

/// Not seen by a service manager or a cluster that the tests may run under.
fn alone(command: &mut Command) -> &mut Command {
    command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("FEDORA_MESSAGING_CONF")
}

/// The shipped example, but for the places and for waits that a test hasn't the time for.
fn configuration(dir: &Path, monitoring: u16, places: &Places<'_>) -> Table {
    let example: Table = EXAMPLE.parse().expect("the example is read by a test of its own");
    let Places { broker, registry, clients, site } = places;
    let clients = clients.map(|clients| format!("clients = \"{clients}\"")).unwrap_or_default();
    let dir = dir.display();
    let text = format!(
        r#"
amqp_url = "{broker}"
topic_prefix = "org.fedoraproject.prod"
qos = {qos}
[queues.index]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}
[[bindings]]
queue = "index"
exchange = "amq.topic"
routing_keys = {routing_keys}
[monitoring]
address = "127.0.0.1"
port = {monitoring}
[consumer_config]
registry = "{registry}"
{clients}
site_dir = "{dir}/site"
listen = "{site}"
[consumer_config.runtime]
state_dir = "{dir}/state"
socket = "{dir}/index.sock"
retry_wait_min_s = 1
retry_wait_max_s = 3
survey_gap_min_s = 1
"#,
        qos = example["qos"],
        routing_keys = example["bindings"][0]["routing_keys"],
    );
    let mut config: Table = text.parse().expect("a configuration");
    let own = config["consumer_config"].as_table_mut().expect("a table");
    own.insert("indexes".to_owned(), example["consumer_config"]["indexes"].clone());
    config
}
