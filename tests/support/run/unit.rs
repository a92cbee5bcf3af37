//! `flatbus run mirror` as its unit runs it: a process of its own, with the shipped example's routing keys, told where
//! everything is.
#![allow(dead_code, reason = "each test binary that includes this file uses its part of it")]

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use toml::Table;

use super::{get, until, until_consuming};

const EXAMPLE: &str = include_str!("../../../consumers/mirror/mirror.example.toml");
/// The queue that the unit consumes.
pub const QUEUE: &str = "mirror";
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often in a row the unit must say that it has nothing to do.
const CALM_ASKED: u32 = 4;

/// Where everything is.
pub struct Places<'a> {
    pub broker: &'a str,
    pub candidate: &'a str,
    pub public: &'a str,
    pub koji: &'a str,
    pub bodhi: &'a str,
}

/// The unit, running or not.
pub struct Mirror {
    dir: PathBuf,
    config: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Mirror {
    /// Writes the configuration; `dir` holds the ledger, the socket and the log, `port` the monitoring.
    pub fn configure(dir: &Path, port: u16, places: &Places<'_>) -> Self {
        let config = dir.join("mirror.toml");
        fs::write(&config, configuration(dir, port, places).to_string()).unwrap();
        Self { dir: dir.to_owned(), config, port, child: None }
    }

    /// Starts it and waits until it consumes.
    pub fn start(&mut self) {
        self.spawn(None);
        self.until_consuming();
    }

    /// Starts it and waits for nothing. `manager` is the socket of a service manager, where it is to have one.
    pub fn spawn(&mut self, manager: Option<&Path>) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("mirror.log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_flatbus"), "--config"]).arg(&self.config);
        command.args(["run", "mirror"]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        alone(&mut command).envs(manager.map(|socket| ("NOTIFY_SOCKET", socket)));
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until it consumes.
    pub fn until_consuming(&self) {
        until_consuming("the mirror", self.port, || self.log());
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it ran until it was killed\n{}", self.log());
    }

    /// Ends it as a power cut does, also where it may have ended by itself; tells how it ended.
    pub fn end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap()
    }

    /// Tells it to stop, as the service manager does.
    pub fn tell_to_stop(&self) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Ends it as the service manager does.
    pub fn terminate(&mut self) -> ExitStatus {
        self.tell_to_stop();
        let mut child = self.child.take().unwrap();
        until("the mirror ends", STOP_TIMEOUT, || self.log(), || child.try_wait().unwrap())
    }

    /// Runs another verb beside it, and hands back what it printed.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flatbus"));
        command.arg("--config").arg(&self.config).args(arguments);
        let output = alone(&mut command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "flatbus {arguments:?}: {said}{errors}\n{}", self.log());
        said
    }

    /// What it answers on its monitoring port; `None` while it doesn't.
    pub fn answer(&self, path: &str) -> Option<Value> {
        get(&format!("127.0.0.1:{}", self.port), path)
    }

    /// `flatbus status`
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ask(&["status", "mirror", "--json"])).unwrap()
    }

    /// Announcements that the broker has confirmed to this process.
    pub fn announced(&self) -> u64 {
        self.answer("/ready").unwrap()["published"].as_u64().unwrap()
    }

    /// Waits until nothing is doubtful, no survey runs or is owed, no announcement waits, and nobody need look.
    pub fn until_calm(&self, patience: Duration) {
        let mut calm = 0;
        until(
            "the mirror has nothing to do",
            patience,
            || self.trouble(),
            || {
                calm = if is_calm(&self.status()) { calm + 1 } else { 0 };
                (calm == CALM_ASKED).then_some(())
            },
        );
    }

    fn trouble(&self) -> String {
        format!("{}\n{:#}\n{}", self.ask(&["ledger", "list", "mirror"]), self.status(), self.log())
    }

    /// The end of what it logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("mirror.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_calm(status: &Value) -> bool {
    let survey = &status["survey"];
    status["ledger"]["doubtful"] == 0
        && status["ledger"]["outbox"] == 0
        && status["attention"].as_array().is_some_and(Vec::is_empty)
        && survey["running"] == false
        && survey["state"]["owed"].is_null()
}

/// Not seen by a service manager or a cluster that the tests may run under.
fn alone(command: &mut Command) -> &mut Command {
    command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("FEDORA_MESSAGING_CONF")
}

/// The shipped example, but for the places and for waits that a test hasn't the time for.
fn configuration(dir: &Path, port: u16, places: &Places<'_>) -> Table {
    let example: Table = EXAMPLE.parse().unwrap();
    let routing_keys = &example["bindings"][0]["routing_keys"];
    let Places { broker, candidate, public, koji, bodhi } = places;
    let dir = dir.display();
    let text = format!(
        r#"
amqp_url = "{broker}"
topic_prefix = "org.fedoraproject.prod"
qos = {qos}
[queues.{QUEUE}]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}
[[bindings]]
queue = "{QUEUE}"
exchange = "amq.topic"
routing_keys = {routing_keys}
[monitoring]
address = "127.0.0.1"
port = {port}
[consumer_config]
destination = "http://{public}/fedora"
koji = "{koji}"
bodhi = "{bodhi}/"
imports_per_s = 1000
[[consumer_config.sources]]
pull_spec = "candidate-registry.fedoraproject.org/"
bytes_at = ["http://{candidate}"]
[consumer_config.runtime]
state_dir = "{dir}/state"
socket = "{dir}/mirror.sock"
retry_wait_min_s = 1
retry_wait_max_s = 3
survey_gap_min_s = 1
survey_keys_per_s = 1000
"#,
        qos = example["qos"],
    );
    text.parse().unwrap()
}
