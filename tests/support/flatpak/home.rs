//! A user's home in a temporary folder, and commands run there: with a session bus, in a process namespace that ends with
//! them, within a deadline. Sees no installation, no remote and no setting of the machine.
//!
//! What the bus starts outlives the bus by minutes and keeps its standard output open: hence the namespace, and files in
//! place of pipes.

use std::{
    env,
    fs::{self, File},
    io::{Read as _, Seek as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::Duration,
};

use flatbus_base::{Clock as _, SystemClock};
use tempfile::TempDir;

/// Longest that a command may take, on a machine that has much else to do.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(10);
/// What every command needs, with the package that has it.
const TOOLS: [(&str, &str); 4] = [
    ("flatpak", "flatpak"),
    ("dbus-run-session", "dbus-daemon"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
];

/// The home.
pub struct Home {
    dir: TempDir,
    proxy: Option<String>,
}

/// What came of a command.
#[derive(Debug)]
pub struct Said {
    command: String,
    /// How it ended; `None` where it was ended at its deadline.
    pub status: Option<ExitStatus>,
    /// Its standard output.
    pub out: String,
    /// Its standard error. The bus speaks there too.
    pub err: String,
}

impl Home {
    /// `proxy` (`127.0.0.1:8080`) is what all HTTP goes through.
    pub fn new(proxy: Option<String>) -> Self {
        for (tool, package) in TOOLS {
            assert!(find(tool).is_some(), "{tool} is missing: install the package {package}");
        }
        let dir = TempDir::with_prefix("flatpak-").expect("a temporary folder");
        for name in ["home", "user", "run", "system", "etc"] {
            fs::create_dir(dir.path().join(name)).expect("room in the temporary folder");
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(dir.path().join("run"), private).expect("the folder is ours");
        Self { dir, proxy }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The user's installation.
    pub fn installation(&self) -> PathBuf {
        self.path().join("user")
    }

    /// Runs a command to its end, or to its deadline.
    pub fn run(&self, command: &[&str]) -> Said {
        self.run_within(COMMAND_TIMEOUT, command)
    }

    /// The same, with another deadline.
    pub fn run_within(&self, timeout: Duration, command: &[&str]) -> Said {
        let [out, err] = [(); 2].map(|()| tempfile::tempfile_in(self.path()).expect("a temporary file"));
        let mut child = self.spawn(command, &out, &err);
        let status = wait(&mut child, timeout);
        Said { command: command.join(" "), status, out: read(out), err: read(err) }
    }

    /// `setpriv` ends it with the thread that started it, `unshare` all that it started with it.
    fn spawn(&self, command: &[&str], out: &File, err: &File) -> Child {
        let mut outer = Command::new("setpriv");
        outer.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        if fs::metadata(self.path()).expect("the folder is ours").uid() != 0 {
            outer.arg("--map-root-user");
        }
        outer.args(["dbus-run-session", "--"]).args(command);
        let at = |name: &str| self.path().join(name);
        outer
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", at("home"))
            .env("XDG_RUNTIME_DIR", at("run"))
            .env("FLATPAK_USER_DIR", self.installation())
            .env("FLATPAK_SYSTEM_DIR", at("system"))
            .env("FLATPAK_CONFIG_DIR", at("etc"))
            .envs(env::var_os("FLATBUS_TESTS").map(|mark| ("FLATBUS_TESTS", mark)))
            .current_dir(at("home"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file can be held twice"))
            .stderr(err.try_clone().expect("a file can be held twice"));
        if let Some(proxy) = &self.proxy {
            let url = format!("http://{proxy}");
            outer.envs(["http_proxy", "https_proxy"].map(|name| (name, &url)));
        }
        outer.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
    }
}

impl Said {
    /// Whether it ended by itself and well.
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// What a command that went well printed.
    #[track_caller]
    pub fn well(self) -> String {
        assert!(self.success(), "{} ({:?})\n{}", self.command, self.status, self.all());
        self.out
    }

    /// All that it printed.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let end = SystemClock.monotonic() + timeout;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        if SystemClock.monotonic() >= end {
            end_namespace(child);
            return None;
        }
        sleep(POLL);
    }
}

/// Kills the namespace's first process: `unshare` then waits until the kernel has ended all others, and ends.
fn end_namespace(unshare: &mut Child) {
    let id = unshare.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    match children.split_whitespace().next() {
        Some(first) => drop(Command::new("kill").args(["-KILL", first]).status()),
        None => drop(unshare.kill()),
    }
    let _ = unshare.wait();
}

fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("what was written can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
