//! A stage to try the program on: embedded Koji, Bodhi and registries with one application, a configuration, a folder.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for real processes"
)]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use flatbus_embedded::{
    Samples, bodhi, images, koji,
    registry::{self, Registry},
};
use serde_json::Value;

/// The update that is stable from the start, its build, and where that goes.
pub const ALIAS: &str = "FEDORA-FLATPAK-2022-274a792493";
pub const PACKAGE: &str = "eog";

pub struct Stage {
    pub dir: tempfile::TempDir,
    pub config: PathBuf,
    pub koji: koji::Koji,
    pub bodhi: bodhi::Bodhi,
    pub candidate: Registry,
    pub public: Registry,
    /// NVR and digest of the application's newest stable build.
    pub stable: (String, String),
}

impl Stage {
    /// Every update in its final state, every build's image in the candidate registry, an empty public registry.
    pub async fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let samples = Samples::built_in().unwrap();
        let candidate = registry::start(registry::Settings::default()).await.unwrap();
        let public = registry::start(registry::Settings::default()).await.unwrap();
        let koji = koji::start(koji::Settings::default()).await.unwrap();
        let bodhi = bodhi::start(bodhi::Settings::default()).await.unwrap();
        let settings = images::Settings { ballast_bytes: 1000..=5000, ..images::Settings::default() };
        let made = images::make_all(&samples.builds, &samples.archives, &settings);
        let mut stable = (String::new(), String::new());
        for (id, image) in &made {
            image.put(&candidate.content).unwrap();
            koji.builds.set(image.build_record(&samples.builds[id], &candidate.host())).unwrap();
        }
        for update in samples.updates.values() {
            bodhi.updates.set_update(update.clone()).unwrap();
        }
        let mut newest = String::new();
        for image in made.values().filter(|image| image.repository == PACKAGE) {
            let stands = samples.updates.values().filter(|update| update["status"] == "stable");
            for update in
                stands.filter(|u| u["builds"].as_array().unwrap().iter().any(|b| b["nvr"] == image.nvr))
            {
                let date = update["date_stable"].as_str().unwrap_or_default();
                if date > newest.as_str() {
                    newest = date.to_owned();
                    stable = (image.nvr.clone(), image.index.digest.to_string());
                }
            }
        }
        assert!(!newest.is_empty(), "the samples have a stable update of {PACKAGE}");
        let mut stage =
            Self { config: dir.path().join("mirror.toml"), dir, koji, bodhi, candidate, public, stable };
        stage.write_config("");
        stage
    }

    /// Writes the configuration, with more lines for `[consumer_config.runtime]`.
    pub fn write_config(&mut self, runtime: &str) {
        let text = format!(
            r#"
amqp_url = "amqp://127.0.0.1:1/"
[consumer_config]
destination = "{public}/fedora"
koji = "{koji}"
koji_base_urls = ["https://koji.fedoraproject.org"]
bodhi = "{bodhi}/"
[[consumer_config.sources]]
pull_spec = "{candidate_host}/"
bytes_at = ["{candidate}"]
[consumer_config.runtime]
state_dir = "{dir}/state"
socket = "{dir}/mirror.sock"
topic_prefixes = ["org.fedoraproject.prod"]
survey_gap_min_s = 1
{runtime}
"#,
            public = self.public.url(),
            koji = self.koji.url(),
            bodhi = self.bodhi.url(),
            candidate_host = self.candidate.host(),
            candidate = self.candidate.url(),
            dir = self.dir.path().display(),
        );
        std::fs::write(&self.config, text).unwrap();
    }

    /// Adds `monitoring` to the configuration.
    pub fn monitor(&self, port: u16) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        let more = format!("monitoring = {{ address = \"127.0.0.1\", port = {port} }}\n");
        std::fs::write(&self.config, more + &text).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flatbus"));
        command
            .arg("--config")
            .arg(&self.config)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("KUBERNETES_SERVICE_HOST");
        command
    }

    /// Runs a verb to its end, off the test's own thread: the embedded servers answer meanwhile.
    pub async fn flatbus(&self, args: &[&str]) -> Said {
        let mut command = self.command();
        command.args(args).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Said { args: args.join(" "), output }
    }

    /// Starts the unit and waits until it answers on its socket.
    pub async fn run(&self) -> Unit {
        let log = std::fs::File::create(self.dir.path().join("unit.log")).unwrap();
        let child = self.command().args(["run", "mirror"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
        let unit = Unit { child, log: self.dir.path().join("unit.log") };
        let socket = self.dir.path().join("mirror.sock");
        self.until("the unit answers", &unit, || std::os::unix::net::UnixStream::connect(&socket).is_ok())
            .await;
        unit
    }

    pub async fn until(&self, what: &str, unit: &Unit, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < deadline, "never: {what}\n{}", unit.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_async(&self, what: &str, unit: &Unit, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds().await {
            assert!(Instant::now() < deadline, "never: {what}\n{}", unit.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        self.public.content.tag(&format!("fedora/{repository}"), tag).map(|digest| digest.to_string())
    }
}

/// A running unit; killed by its pid when dropped.
pub struct Unit {
    pub child: Child,
    log: PathBuf,
}

/// The status of a GET on 127.0.0.1; none where nobody answers.
pub async fn get(port: u16, path: &str) -> Option<u16> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

impl Unit {
    pub fn new(child: Child, log: PathBuf) -> Self {
        Self { child, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "does not stop\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a verb said, and how it ended.
pub struct Said {
    args: String,
    output: Output,
}

impl Said {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    /// Fails unless it ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code(), 0, "flatbus {}\n{}\n{}", self.args, self.out(), self.err());
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out())
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out(), self.err()))
    }

    pub fn lines(&self) -> Vec<Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A file of recorded messages.
pub fn recording(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}
