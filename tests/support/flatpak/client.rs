//! A user with Debian's flatpak client: a home and an installation of one's own, one remote, every request on record.

use std::{fs, io::Read as _, path::Path, time::Duration};

use flate2::read::GzDecoder;

use super::{
    home::{Home, Said},
    images::{Child, host_architecture},
    tap::{Asked, Tap},
};

/// What the user calls the remote.
pub const REMOTE: &str = "flatbus";
/// What makes a command that asks nothing of a user.
const UNASKED: [&str; 2] = ["--noninteractive", "--assumeyes"];
/// Digits of a digest that flatpak shows in a listing.
const SHOWN_DIGITS: usize = 12;

/// The user. Commands that fail panic with what flatpak said; [`FlatpakClient::flatpak`] only tells.
pub struct FlatpakClient {
    home: Home,
    tap: Tap,
}

/// What a remote offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// `app/org.flatbus.Hello/x86_64/stable`
    pub flatpak_ref: String,
    /// How the digest of its manifest begins: all that flatpak shows.
    pub commit: String,
}

impl FlatpakClient {
    /// A user who has nothing yet.
    pub fn new() -> Self {
        let tap = Tap::start();
        Self { home: Home::new(Some(tap.host())), tap }
    }

    /// Any command of flatpak's on the user's installation.
    pub fn flatpak(&self, arguments: &[&str]) -> Said {
        self.home.run(&[&["flatpak", "--user"], arguments].concat())
    }

    /// The same; ended at the deadline, with all that it started.
    pub fn flatpak_within(&self, timeout: Duration, arguments: &[&str]) -> Said {
        self.home.run_within(timeout, &[&["flatpak", "--user"], arguments].concat())
    }

    /// Adds the remote. `url` is the index server's: `http://127.0.0.1:8080`; `#testing` behind it asks for that tag.
    #[track_caller]
    pub fn remote_add(&self, url: &str) {
        let url = format!("oci+{url}");
        self.flatpak(&["remote-add", "--no-gpg-verify", REMOTE, &url]).well();
    }

    /// Everything that the remote offers to this machine.
    #[track_caller]
    pub fn remote_ls(&self) -> Vec<Offer> {
        let listed = self.flatpak(&["remote-ls", "--all", "--columns=ref:f,commit", REMOTE]).well();
        listed.lines().map(Offer::read).collect()
    }

    /// Installs from the remote, with the runtime that it needs.
    #[track_caller]
    pub fn install(&self, flatpak_ref: &str) -> String {
        self.flatpak(&[&["install"], &UNASKED[..], &[REMOTE, flatpak_ref]].concat()).well()
    }

    /// Runs an application, and hands back what it prints.
    #[track_caller]
    pub fn run(&self, id: &str) -> String {
        self.flatpak(&["run", id]).well()
    }

    /// Updates all that is installed. Hands back all that flatpak said: a remote that has no usable index is only a warning.
    #[track_caller]
    pub fn update(&self) -> String {
        let said = self.flatpak(&[&["update"], &UNASKED[..]].concat());
        let all = said.all();
        said.well();
        all
    }

    /// `sha256:…` of the manifest that is installed by this name (`org.flatbus.Hello`), if any is.
    #[track_caller]
    pub fn installed_digest(&self, id: &str) -> Option<String> {
        let installed = self.flatpak(&["list", "--all", "--columns=application:f"]).well();
        let is_installed = installed.lines().any(|line| line == id);
        is_installed.then(|| {
            let told = self.flatpak(&["info", id]).well();
            let digest = told.lines().find_map(|line| line.trim().strip_prefix("Alt-id:"));
            format!("sha256:{}", digest.expect("it came from an OCI remote").trim())
        })
    }

    /// Fetches descriptions and icons, as GNOME Software does, and hands back the descriptions.
    #[track_caller]
    pub fn appstream(&self) -> String {
        self.flatpak(&["update", "--appstream", REMOTE]).well();
        let gzipped = self.appstream_file(Path::new("appstream.xml.gz"));
        let mut text = String::new();
        GzDecoder::new(&*gzipped.expect("appstream data")).read_to_string(&mut text).expect("gzipped text");
        text
    }

    /// An application's icon of so many pixels, as last fetched.
    pub fn icon(&self, id: &str, pixels: u32) -> Option<Vec<u8>> {
        self.appstream_file(Path::new(&format!("icons/{pixels}x{pixels}/{id}.png")))
    }

    fn appstream_file(&self, file: &Path) -> Option<Vec<u8>> {
        let folder = self.home.installation().join("appstream").join(REMOTE).join(host_architecture());
        fs::read(folder.join(file)).ok()
    }

    /// Makes it ask for the index whenever it next needs it: within the time that a server allows, it would not.
    pub fn forget_index_cache(&self) {
        let folder = self.home.installation().join("oci");
        let kept = fs::read_dir(&folder).into_iter().flatten().flatten();
        let kept =
            kept.filter(|file| file.file_name().to_string_lossy().starts_with(&format!("{REMOTE}.index.gz")));
        for file in kept {
            fs::remove_file(file.path()).expect("the file is ours");
        }
    }

    /// What it asked of anybody since this was last called, in the order of the answers.
    pub fn take_asked(&self) -> Vec<Asked> {
        self.tap.take()
    }

    /// Those that asked for the index.
    pub fn take_asked_for_index(&self) -> Vec<Asked> {
        let asked = self.take_asked().into_iter();
        asked.filter(|asked| asked.path.contains("/index/static")).collect()
    }

    /// Its home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for FlatpakClient {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what the client asked")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let asked: Vec<String> = self.take_asked().iter().map(Asked::line).collect();
            eprintln!("The client's last requests:\n{}", asked.join("\n"));
        }
    }
}

impl Offer {
    /// What a client shows where this is offered.
    pub fn of(child: &Child) -> Self {
        let commit = child.manifest.digest.hex()[..SHOWN_DIGITS].to_owned();
        Self { flatpak_ref: child.flatpak_ref.clone(), commit }
    }

    /// A line of a listing, as flatpak writes it where nobody looks: with tabs.
    fn read(line: &str) -> Self {
        let (flatpak_ref, commit) = line.split_once('\t').unwrap_or_else(|| panic!("two columns: {line:?}"));
        Self { flatpak_ref: flatpak_ref.to_owned(), commit: commit.to_owned() }
    }
}
