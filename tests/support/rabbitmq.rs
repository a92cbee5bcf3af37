//! A RabbitMQ node of one's own: a child process on free ports of 127.0.0.1, its data, log, cookie and certificates in a
//! temporary folder, ended with the value. It needs the packages rabbitmq-server and openssl, and says so.
//!
//! Start and restart it from the test's own thread: the node ends with the thread that started it, so that a test that
//! is killed leaves nothing behind.
#![allow(dead_code, reason = "each test binary that includes this file uses its part of it")]

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

/// Where Debian and Fedora keep the scripts that run as whoever calls them, not as the user rabbitmq.
const SCRIPT_DIRS: [&str; 2] = ["/usr/lib/rabbitmq/bin", "/usr/lib/rabbitmq/lib/rabbitmq_server/sbin"];
const START_TIMEOUT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// Times it is looked whether a node that was told to stop has.
const STOP_POLLS_MAX: u32 = 600;
/// Lines of its log that a node shows whose test failed.
const LOG_LINES_SHOWN: usize = 150;
/// Virtual hosts where `guest` may do everything, one for each test that shares the node: `test0`, `test1`, …
pub const SCRATCH_VHOSTS: usize = 21;
/// The user that the client certificate names. On [`PUBLIC_VHOST`] it may use queues with a UUID for a name, on
/// [`PRIVATE_VHOST`] the queues that begin with its name, and make none: as on Fedora's broker.
pub const USER: &str = "flatbus-mirror";
/// As Fedora's broker has it.
pub const PUBLIC_VHOST: &str = "/public_pubsub";
/// As Fedora's broker has it.
pub const PRIVATE_VHOST: &str = "/pubsub";

/// A running node.
pub struct Rabbit {
    pub amqp_port: u16,
    pub amqps_port: u16,
    pub certificates: Certificates,
    dir: TempDir,
    epmd_port: u16,
    dist_port: u16,
    epmd: Child,
    node: Option<Child>,
}

/// PEM files of a throw-away authority.
pub struct Certificates {
    pub ca: PathBuf,
    /// An authority that signed nothing the node has.
    pub other_ca: PathBuf,
    /// Names [`USER`].
    pub client: (PathBuf, PathBuf),
    /// Names [`USER`] too, but from the other authority.
    pub other_client: (PathBuf, PathBuf),
    /// For localhost and 127.0.0.1.
    pub server: (PathBuf, PathBuf),
}

impl Rabbit {
    /// Starts a node and waits until it listens.
    pub fn start() -> Self {
        let dir = TempDir::with_prefix("rabbit-").expect("a temporary folder");
        let [amqp_port, amqps_port, epmd_port, dist_port] = free_ports();
        let certificates = Certificates::make(dir.path());
        write(dir.path(), "enabled_plugins", "[rabbitmq_auth_mechanism_ssl].\n");
        write(dir.path(), "definitions.json", &definitions());
        write(dir.path(), "rabbitmq.conf", &configuration(dir.path(), amqp_port, amqps_port, &certificates));
        let epmd = ending_with_us("epmd")
            .args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start epmd ({error}): install the package rabbitmq-server")
            });
        let mut rabbit =
            Self { amqp_port, amqps_port, certificates, dir, epmd_port, dist_port, epmd, node: None };
        rabbit.start_node();
        rabbit
    }

    /// A URL of `guest` on a virtual host.
    pub fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{}", self.amqp_port, vhost.replace('/', "%2F"))
    }

    /// A URL for the client certificate.
    pub fn tls_url(&self, vhost: &str) -> String {
        format!("amqps://{USER}:@localhost:{}/{}", self.amqps_port, vhost.replace('/', "%2F"))
    }

    /// Ends the node as a power cut does.
    pub fn kill(&mut self) {
        if let Some(node) = self.node.take() {
            end(node);
        }
    }

    /// Ends the node in good order: it takes leave of its clients.
    pub fn stop(&mut self) {
        if let Some(mut node) = self.node.take() {
            self.ctl(&["stop"]);
            for _ in 0..STOP_POLLS_MAX {
                if node.try_wait().is_ok_and(|ended| ended.is_some()) {
                    break;
                }
                sleep(POLL);
            }
            end(node);
        }
    }

    /// Starts the node again, on what it had on disk.
    pub fn start_node(&mut self) {
        let log = fs::File::create(self.dir.path().join("console.log")).expect("a log file");
        let errors = log.try_clone().expect("a log file");
        let node = self
            .script("rabbitmq-server")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start rabbitmq-server: {error}"));
        self.node = Some(node);
        self.wait_until_listening();
    }

    /// Runs `rabbitmqctl` and hands back what it printed. Takes seconds.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.script("rabbitmqctl").args(arguments).output().expect("rabbitmqctl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {text}{errors}");
        text
    }

    /// Messages of a queue that are nobody's, and those that are delivered and not acknowledged. Takes seconds.
    pub fn messages(&self, vhost: &str, queue: &str) -> (u64, u64) {
        let columns = ["name", "messages_ready", "messages_unacknowledged"];
        let listing = self.ctl(&[&["list_queues", "--quiet", "--vhost", vhost][..], &columns].concat());
        let row = listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = row.into_iter().find(|row| row.first() == Some(&queue));
        let row = row.unwrap_or_else(|| panic!("no queue {queue} in {vhost}:\n{listing}"));
        let count = |column: usize| row[column].parse().expect("a number of messages");
        (count(1), count(2))
    }

    fn wait_until_listening(&mut self) {
        let mut waited = Duration::ZERO;
        for port in [self.amqp_port, self.amqps_port] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let gone = self.node.as_mut().and_then(|node| node.try_wait().ok().flatten());
                if gone.is_some() || waited > START_TIMEOUT {
                    panic!("rabbitmq-server does not listen ({gone:?}):\n{}", self.logs());
                }
                sleep(POLL);
                waited += POLL;
            }
        }
    }

    fn script(&self, name: &str) -> Command {
        let script = SCRIPT_DIRS.map(|dir| Path::new(dir).join(name)).into_iter().find(|path| path.exists());
        let script =
            script.unwrap_or_else(|| panic!("{name} is missing: install the package rabbitmq-server"));
        let dir = self.dir.path();
        let mut command = ending_with_us(&script.display().to_string());
        command
            .env("HOME", dir)
            .env("RABBITMQ_NODENAME", format!("test{}@localhost", self.amqp_port))
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env_remove("NOTIFY_SOCKET");
        command
    }

    fn logs(&self) -> String {
        let mut files = vec![self.dir.path().join("console.log")];
        files.extend(
            fs::read_dir(self.dir.path().join("log")).into_iter().flatten().flatten().map(|e| e.path()),
        );
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    }
}

impl Drop for Rabbit {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what the broker had to say")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.logs();
            let tail: Vec<&str> = logs.lines().rev().take(LOG_LINES_SHOWN).collect();
            eprintln!("The broker's log ends:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        self.kill();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
    }
}

/// Ends a process and the group it leads.
fn end(mut leader: Child) {
    let group = format!("-{}", leader.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let _ = leader.kill();
    let _ = leader.wait();
}

/// A command that is killed when the thread that starts it ends, however it ends.
fn ending_with_us(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Ports that were free a moment ago.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    let mut file = fs::File::create(&path).expect("a file in the temporary folder");
    file.write_all(text.as_bytes()).expect("room for it");
    path
}

fn configuration(dir: &Path, amqp_port: u16, amqps_port: u16, certificates: &Certificates) -> String {
    let (certificate, key) = &certificates.server;
    format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp_port}\n\
         listeners.ssl.1 = 127.0.0.1:{amqps_port}\n\
         ssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n\
         ssl_cert_login_from = common_name\n\
         auth_mechanisms.1 = PLAIN\n\
         auth_mechanisms.2 = EXTERNAL\n\
         load_definitions = {}\n\
         disk_free_limit.absolute = 1MB\n\
         log.file.level = info\n",
        certificates.ca.display(),
        certificate.display(),
        key.display(),
        dir.join("definitions.json").display(),
    )
}

fn definitions() -> String {
    let scratch = (0..SCRATCH_VHOSTS).map(|number| format!("test{number}"));
    let vhosts: Vec<String> = scratch.chain(["/", PUBLIC_VHOST, PRIVATE_VHOST].map(str::to_owned)).collect();
    let uuid_or_amq = r"^((\w{8}(-\w{4}){3}-\w{12})|amq\..*)$";
    let permission = |user: &str, vhost: &str, configure: &str, write: &str, read: &str| serde_json::json!({"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read});
    let mut permissions: Vec<_> =
        vhosts.iter().map(|vhost| permission("guest", vhost, ".*", ".*", ".*")).collect();
    permissions.push(permission(USER, PUBLIC_VHOST, uuid_or_amq, uuid_or_amq, ".*"));
    let own = format!(r"^({USER}.*|amq\.topic)$");
    permissions.push(permission(USER, PRIVATE_VHOST, "^$", &own, &format!("^{USER}.*$")));
    serde_json::json!({
        "users": [
            {"name": "guest", "password": "guest", "tags": "administrator"},
            {"name": USER, "password_hash": "", "tags": ""},
        ],
        "vhosts": vhosts.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>(),
        "permissions": permissions,
    })
    .to_string()
}

impl Certificates {
    fn make(dir: &Path) -> Self {
        let ca = authority(dir, "ca");
        let other_ca = authority(dir, "other-ca");
        let server_names = "subjectAltName=DNS:localhost,IP:127.0.0.1\n";
        let server = signed(dir, "ca", "server", "localhost", server_names);
        let client = signed(dir, "ca", "client", USER, "extendedKeyUsage=clientAuth\n");
        let other_client = signed(dir, "other-ca", "other-client", USER, "extendedKeyUsage=clientAuth\n");
        Self { ca, other_ca, client, other_client, server }
    }
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn authority(dir: &Path, name: &str) -> PathBuf {
    let subject = format!("/CN=Throw-away {name}");
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem];
    arguments.extend(NEW_KEY);
    openssl(dir, &arguments);
    dir.join(pem)
}

fn signed(dir: &Path, ca: &str, name: &str, common_name: &str, extensions: &str) -> (PathBuf, PathBuf) {
    let subject = format!("/CN={common_name}");
    let [key, csr, pem, ext] = ["key", "csr", "pem", "ext"].map(|end| format!("{name}.{end}"));
    write(dir, &ext, &format!("basicConstraints=CA:FALSE\n{extensions}"));
    let mut arguments = vec!["req", "-subj", &subject, "-keyout", &key, "-out", &csr];
    arguments.extend(NEW_KEY);
    openssl(dir, &arguments);
    let [ca_pem, ca_key] = ["pem", "key"].map(|end| format!("{ca}.{end}"));
    openssl(
        dir,
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &csr,
            "-CA",
            &ca_pem,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &ext,
            "-out",
            &pem,
        ],
    );
    (dir.join(pem), dir.join(key))
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot run openssl ({error}): install the package openssl"));
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
