//! An Apache httpd of one's own: a child process on a free port of 127.0.0.1, everything it writes in a temporary folder,
//! ended with the value. It needs the package apache2-bin (Fedora: httpd-core), and says so.
//!
//! It is set up as distributions do it, with modules that compress and expire whatever they are let: the configuration
//! that is tried must hold against those. Start it from the test's own thread: it ends with the thread that started it.
#![allow(dead_code, reason = "each test binary that includes this file uses its part of it")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

/// Debian and Fedora name it differently.
const PROGRAMS: [&str; 2] = ["/usr/sbin/apache2", "/usr/sbin/httpd"];
const MODULES: [&str; 3] = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules"];
/// Loaded where they are not built in.
const LOADED: [&str; 15] = [
    "unixd",
    "log_config",
    "mpm_event",
    "authz_core",
    "alias",
    "headers",
    "rewrite",
    "mime",
    "dir",
    "autoindex",
    "filter",
    "brotli",
    "deflate",
    "expires",
    "env",
];
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Whom it runs as where the test is root: httpd refuses to serve as root.
const NOBODY: &str = "65534";

/// A running httpd.
pub struct Httpd {
    port: u16,
    dir: TempDir,
    child: Option<Child>,
}

impl Httpd {
    /// Serves one virtual host with this configuration.
    pub fn start(site: &str) -> Self {
        let dir = TempDir::with_prefix("httpd-").expect("a temporary folder");
        open_to_all(dir.path(), 0o777);
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let config = dir.path().join("httpd.conf");
        fs::write(dir.path().join("site.conf"), site).expect("room in the temporary folder");
        fs::write(&config, main_config(dir.path(), port)).expect("room in the temporary folder");
        let mut httpd = Self { port, dir, child: None };
        httpd.child = Some(httpd.spawn(&config));
        httpd.wait_until_listening();
        httpd
    }

    /// `127.0.0.1:8080`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One process with all its threads, so that nothing is left when it is ended.
    fn spawn(&self, config: &Path) -> Child {
        let program = PROGRAMS.iter().find(|path| Path::new(path).exists());
        let program = program
            .expect("Apache httpd is missing: install the package apache2-bin, or httpd-core on Fedora");
        let said = fs::File::create(self.dir.path().join("stderr")).expect("a log file");
        let mut command = Command::new("setpriv");
        if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        }
        command
            .args(["--pdeathsig", "KILL", program, "-X", "-f"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"))
    }

    fn wait_until_listening(&mut self) {
        let mut waited = Duration::ZERO;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let gone = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if gone.is_some() || waited > START_TIMEOUT {
                panic!("httpd does not listen ({gone:?}):\n{}", self.log());
            }
            sleep(POLL);
            waited += POLL;
        }
    }

    /// What it complained of.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        read("stderr") + &read("error.log")
    }
}

impl Drop for Httpd {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what httpd had to say")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("httpd's log ends:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Lets httpd's own user in; temporary folders are their maker's alone.
pub fn open_to_all(dir: &Path, mode: u32) {
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("own folder");
}

fn main_config(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "ServerRoot {dir}\nDefaultRuntimeDir {dir}\nPidFile {dir}/pid\nErrorLog {dir}/error.log\nLogLevel info\n\
         ServerName localhost\nListen 127.0.0.1:{port}\n{}\
         TypesConfig /dev/null\nAddEncoding gzip .gz\nAddOutputFilterByType DEFLATE application/json\n\
         <IfModule brotli_module>\nAddOutputFilterByType BROTLI_COMPRESS application/json\n</IfModule>\n\
         ExpiresActive On\nExpiresDefault \"access plus 1 hour\"\n\
         <Directory />\nRequire all denied\nOptions FollowSymLinks\n</Directory>\n\
         <VirtualHost *:{port}>\nInclude {dir}/site.conf\n</VirtualHost>\n",
        modules(),
    )
}

fn modules() -> String {
    let folder = MODULES.iter().map(PathBuf::from).find(|path| path.is_dir()).expect("httpd's modules");
    let files = LOADED.iter().map(|name| (name, folder.join(format!("mod_{name}.so"))));
    let there = files.filter(|(_, path)| path.exists()); // The others are built in.
    there.map(|(name, path)| format!("LoadModule {name}_module {}\n", path.display())).collect()
}
