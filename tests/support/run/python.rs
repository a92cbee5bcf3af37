//! Python's fedora-messaging at both ends: it publishes the history, and it hears the announcements.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{get, until_consuming};

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/run");
/// What the announcements' topics begin with, as bound by whoever wants them all.
const ANNOUNCEMENTS: &str = "org.fedoraproject.prod.flatbus.#";
/// On Fedora's public broker a queue has a UUID for a name.
const QUEUE: &str = "f1a7b05e-0000-4000-8000-000000000001";

/// An interpreter that has fedora-messaging, with our own message classes beside it.
pub struct Python {
    interpreter: PathBuf,
    dir: PathBuf,
}

impl Python {
    /// The interpreter of `tests/run`. Its scripts' files go to `dir`.
    pub fn find(dir: &Path) -> Self {
        let named = env::var_os("FLATBUS_TEST_PYTHON").map(PathBuf::from);
        let interpreter = named.unwrap_or_else(|| Path::new(PROJECT).join("target/venv/bin/python"));
        assert!(
            interpreter.with_file_name("fedora-messaging").exists(),
            "Python's fedora-messaging is missing: `tests/run --install` installs it into target/venv, and \
             FLATBUS_TEST_PYTHON names another interpreter that has it"
        );
        let python = Self { interpreter, dir: dir.to_owned() };
        python.register_our_classes();
        python
    }

    /// As an installation of `schemas/python` does, without writing into either: the entry points, for the sources.
    fn register_our_classes(&self) {
        let project = fs::read_to_string(Path::new(PROJECT).join("schemas/python/pyproject.toml")).unwrap();
        let project: toml::Table = project.parse().unwrap();
        let text = |key: &str| project["project"][key].as_str().unwrap();
        let installed = self.dir.join("site/flatbus_messages.dist-info");
        fs::create_dir_all(&installed).unwrap();
        let metadata =
            format!("Metadata-Version: 2.1\nName: {}\nVersion: {}\n", text("name"), text("version"));
        fs::write(installed.join("METADATA"), metadata).unwrap();
        let points = project["project"]["entry-points"]["fedora.messages"].as_table().unwrap();
        let points: String =
            points.iter().map(|(name, class)| format!("{name} = {}\n", class.as_str().unwrap())).collect();
        fs::write(installed.join("entry_points.txt"), format!("[fedora.messages]\n{points}")).unwrap();
    }

    /// Begins to publish: messages go out under the topics they were recorded with.
    pub fn publisher(&self, broker: &str) -> Publisher {
        let config = format!("amqp_url = \"{broker}\"\ntopic_prefix = \"\"\n");
        let mut command = self.command(&self.interpreter, "publisher", &config);
        command.arg(format!("{SCRIPTS}/publish.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (lines, confirmed) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Publisher { _child: Ending(child), lines, confirmed, log: self.log("publisher") }
    }

    /// Begins to listen to the announcements, on a queue of its own, and waits until it does.
    pub fn listener(&self, broker: &str, port: u16) -> Listener {
        let heard = self.dir.join("heard.jsonl");
        let config = format!(
            "amqp_url = \"{broker}\"\n\
             [queues.{QUEUE}]\ndurable = true\nauto_delete = false\nexclusive = false\narguments = {{}}\n\
             [[bindings]]\nqueue = \"{QUEUE}\"\nexchange = \"amq.topic\"\nrouting_keys = [\"{ANNOUNCEMENTS}\"]\n\
             [monitoring]\naddress = \"127.0.0.1\"\nport = {port}\n\
             [consumer_config]\nheard = \"{}\"\n",
            heard.display()
        );
        let mut command =
            self.command(&self.interpreter.with_file_name("fedora-messaging"), "listener", &config);
        command.args(["consume", "--callback-file", &format!("{SCRIPTS}/listen.py:Listener")]);
        let child = Ending(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let log = self.log("listener");
        until_consuming("fedora-messaging", port, || read(&log));
        Listener { _child: child, heard, port, log }
    }

    fn command(&self, program: &Path, name: &str, config: &str) -> Command {
        let file = self.dir.join(format!("{name}.toml"));
        fs::write(&file, config).unwrap();
        let path = format!("{}:{PROJECT}/schemas/python", self.dir.join("site").display());
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .env("FEDORA_MESSAGING_CONF", file)
            .env("PYTHONPATH", path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stderr(fs::File::create(self.log(name)).unwrap());
        command
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }
}

/// Publishes with fedora-messaging, one message after the other.
pub struct Publisher {
    _child: Ending,
    lines: ChildStdin,
    confirmed: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Publisher {
    /// Publishes a line of a recording; the broker has it when this returns.
    pub fn publish(&mut self, line: &str) {
        let sent = writeln!(self.lines, "{line}");
        let mut id = String::new();
        let read_bytes = sent.and_then(|()| self.confirmed.read_line(&mut id)).unwrap_or(0);
        let published = read_bytes > 0 && line.contains(id.trim_end());
        assert!(published, "fedora-messaging did not publish {line:.300}\n{}", read(&self.log));
    }
}

/// Hears announcements with fedora-messaging.
pub struct Listener {
    _child: Ending,
    heard: PathBuf,
    port: u16,
    log: PathBuf,
}

/// An announcement, as the library handed it on: valid by the schema of its class.
#[derive(Debug, Clone, Deserialize)]
pub struct Heard {
    pub class: String,
    pub topic: String,
    pub id: String,
    pub headers: Map<String, Value>,
    /// Headers that the library itself would have written.
    pub headers_missing: Vec<String>,
    pub summary: String,
    pub body: Value,
}

impl Listener {
    /// Everything heard so far, in order.
    pub fn heard(&self) -> Vec<Heard> {
        read(&self.heard).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the library did with what came, by its own count.
    pub fn counts(&self) -> Value {
        let ready = get(&format!("127.0.0.1:{}", self.port), "/ready");
        ready.unwrap_or_else(|| panic!("the listener does not answer\n{}", self.log()))["consumed"].take()
    }

    pub fn log(&self) -> String {
        read(&self.log)
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// A child that does not outlive its owner.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
