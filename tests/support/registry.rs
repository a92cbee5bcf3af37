//! A docker-registry of one's own: a child process on a free port of 127.0.0.1, its data in a temporary folder, ended with
//! the value. It needs the package docker-registry, and says so.
//!
//! Start it from the test's own thread: it ends with the thread that started it, so that a test that is killed leaves
//! nothing behind.
#![allow(dead_code, reason = "each test binary that includes this file uses its part of it")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

/// Debian and Fedora name it differently.
const PROGRAMS: [&str; 4] = [
    "/usr/bin/docker-registry",
    "/usr/bin/registry",
    "/usr/local/bin/docker-registry",
    "/usr/local/bin/registry",
];
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The user of [`DockerRegistry::start_with_password`], and its password.
pub const USER: &str = "flatbus";
/// Belongs to [`USER`].
pub const PASSWORD: &str = "hunter2";
/// [`PASSWORD`] as htpasswd keeps it.
const HASH: &str = "$2b$04$QjY0hQhb1kOfnDAQuFujUet4uZ3KTKpOBzeeXu2kj7HPhTligZQjS";

/// A running registry.
pub struct DockerRegistry {
    port: u16,
    dir: TempDir,
    config: PathBuf,
    child: Option<Child>,
}

/// PEM files of [`DockerRegistry::start_with_tls`].
#[derive(Debug)]
pub struct Authorities {
    /// The one that signed the registry's certificate.
    pub ca: PathBuf,
    /// One that signed nothing.
    pub other: PathBuf,
}

impl DockerRegistry {
    /// A registry that anybody may read and write.
    pub fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// A registry that only [`USER`] may use.
    pub fn start_with_password() -> Self {
        Self::start_with(|dir| {
            let passwords = write(dir, "htpasswd", &format!("{USER}:{HASH}\n"));
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display())
        })
    }

    /// A registry behind TLS, with a certificate of a throw-away authority for 127.0.0.1. Needs openssl.
    pub fn start_with_tls() -> (Self, Authorities) {
        let registry = Self::start_with(|dir| {
            authority(dir, "other");
            authority(dir, "ca");
            certificate(dir);
            let file = |name: &str| dir.join(name).display().to_string();
            format!("  tls: {{certificate: {}, key: {}}}\n", file("server.pem"), file("server.key"))
        });
        let dir = registry.dir.path();
        let authorities = Authorities { ca: dir.join("ca.pem"), other: dir.join("other.pem") };
        (registry, authorities)
    }

    /// `more` comes after the section `http`, and may go on with it.
    fn start_with(more: impl FnOnce(&Path) -> String) -> Self {
        let dir = TempDir::with_prefix("registry-").expect("a temporary folder");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let more = more(dir.path());
        let config = format!(
            "version: 0.1\n\
             log: {{level: info, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http:\n\
             \x20 addr: '127.0.0.1:{port}'\n\
             {more}",
            dir.path().join("data").display(),
        );
        let config = write(dir.path(), "config.yml", &config);
        let mut registry = Self { port, dir, config, child: None };
        registry.start_again();
        registry
    }

    /// `127.0.0.1:5000`, as an image reference has it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it as a power cut does. Its data stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, at the same address and on what it had on disk.
    pub fn start_again(&mut self) {
        let program = PROGRAMS.iter().find(|path| Path::new(path).exists());
        let program = program.expect("docker-registry is missing: install the package docker-registry");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", program, "serve"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        self.child = Some(child);
        self.wait_until_listening();
    }

    fn wait_until_listening(&mut self) {
        let mut waited = Duration::ZERO;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let gone = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if gone.is_some() || waited > START_TIMEOUT {
                panic!("docker-registry does not listen ({gone:?}):\n{}", self.log());
            }
            sleep(POLL);
            waited += POLL;
        }
    }

    /// Everything it wrote, one line a request.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("registry.log")
    }
}

impl Drop for DockerRegistry {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what the registry had to say")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("The registry's log ends:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).expect("room in the temporary folder");
    path
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn authority(dir: &Path, name: &str) {
    let (subject, key, pem) =
        (format!("/CN=Throw-away {name}"), format!("{name}.key"), format!("{name}.pem"));
    let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem];
    arguments.extend(NEW_KEY);
    openssl(dir, &arguments);
}

fn certificate(dir: &Path) {
    write(dir, "server.ext", "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n");
    let mut arguments = vec!["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    arguments.extend(NEW_KEY);
    openssl(dir, &arguments);
    let signing = "x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -out server.pem";
    openssl(dir, &signing.split(' ').collect::<Vec<_>>());
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot run openssl ({error}): install the package openssl"));
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
