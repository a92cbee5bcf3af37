//! Makes the two Flatpaks of the tests with flatpak's own tools: a runtime that is little more than a shell, and an
//! application that says its version and the runtime's. Pushes nothing.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, Crc, write::GzEncoder, write::ZlibEncoder};

use super::{
    home::{Home, find},
    images::host_architecture,
};

/// The runtime.
pub const PLATFORM: &str = "org.flatbus.Platform";
/// Its branch.
pub const PLATFORM_BRANCH: &str = "40.1";
/// The application; its branch is `stable`.
pub const HELLO: &str = "org.flatbus.Hello";
/// Sizes of its icons in pixels.
const ICONS: [u32; 2] = [64, 128];

/// What is made, in which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flatpak {
    /// The runtime.
    Platform(u32),
    /// The application.
    Hello(u32),
}

impl Flatpak {
    /// `app/org.flatbus.Hello/x86_64/stable`
    pub fn flatpak_ref(self, architecture: &str) -> String {
        let kind = if self.is_runtime() { "runtime" } else { "app" };
        format!("{kind}/{}/{architecture}/{}", self.id(), self.branch())
    }

    /// Makes it for one architecture: a folder with an OCI layout.
    pub fn build(self, home: &Home, architecture: &str) -> PathBuf {
        let at = |name: &str| home.path().join(name).display().to_string();
        let [tree, repo, layout] = [at("tree"), at("repo"), at(&format!("{architecture}.oci"))];
        let (tree, repo, layout) = (&*tree, &*repo, &*layout);
        match self {
            Self::Platform(version) => platform(home, Path::new(tree), version, architecture),
            Self::Hello(version) => hello(Path::new(tree), version, architecture),
        }
        let arch = format!("--arch={architecture}");
        let mut export = vec!["flatpak", "build-export", "--disable-fsync", "--disable-sandbox", &arch];
        let mut bundle = vec!["flatpak", "build-bundle", "--oci", &arch];
        if self.is_runtime() {
            export.push("--runtime");
            bundle.push("--runtime");
        }
        export.extend([repo, tree, self.branch()]);
        bundle.extend([repo, layout, self.id(), self.branch()]);
        home.run(&export).well();
        home.run(&bundle).well();
        fs::remove_dir_all(tree).expect("the tree is ours");
        layout.into()
    }

    fn is_runtime(self) -> bool {
        matches!(self, Self::Platform(_))
    }

    fn id(self) -> &'static str {
        match self {
            Self::Platform(_) => PLATFORM,
            Self::Hello(_) => HELLO,
        }
    }

    fn branch(self) -> &'static str {
        match self {
            Self::Platform(_) => PLATFORM_BRANCH,
            Self::Hello(_) => "stable",
        }
    }
}

/// Run before an application is: `ldconfig -X -C FILE`, where FILE must be there in the end.
const LDCONFIG: &str = "#!/usr/bin/sh\n: >\"$3\"\n";

/// flatpak wants all three folders of a runtime.
fn platform(home: &Home, tree: &Path, version: u32, architecture: &str) {
    for folder in ["files", "var", "usr/bin"] {
        fs::create_dir_all(tree.join(folder)).expect("room in the temporary folder");
    }
    write(tree, "metadata", format!("[Runtime]\nname={PLATFORM}\n"));
    write(tree, "usr/share/platform", format!("Platform v{version}\n"));
    program(tree, "usr/bin/ldconfig", LDCONFIG);
    if architecture == host_architecture() {
        fs::copy(static_busybox(home), tree.join("usr/bin/sh")).expect("room in the temporary folder");
    } else {
        program(tree, "usr/bin/sh", "Never run.\n");
    }
}

/// The runtime has no library for it.
fn static_busybox(home: &Home) -> PathBuf {
    let busybox = find("busybox").expect("busybox is missing: install the package busybox-static");
    let needs = home.run(&["ldd", &busybox.display().to_string()]).all();
    assert!(!needs.contains("ld-linux"), "busybox needs libraries: install the package busybox-static");
    busybox
}

/// The metadata is written by hand: `flatpak build-init` wants the runtime installed.
fn hello(tree: &Path, version: u32, architecture: &str) {
    fs::create_dir_all(tree.join("export")).expect("room in the temporary folder");
    let runtime = format!("{PLATFORM}/{architecture}/{PLATFORM_BRANCH}");
    let metadata = format!("[Application]\nname={HELLO}\nruntime={runtime}\nsdk={runtime}\ncommand=hello\n");
    write(tree, "metadata", &metadata);
    let script =
        format!("#!/usr/bin/sh\nread platform </usr/share/platform\necho Hello v{version} on $platform\n");
    program(tree, "files/bin/hello", &script);
    let info = "files/share/app-info";
    write(tree, &format!("{info}/xmls/{HELLO}.xml.gz"), gzip(appdata(version).as_bytes()));
    for pixels in ICONS {
        let path = format!("{info}/icons/flatpak/{pixels}x{pixels}/{HELLO}.png");
        write(tree, &path, icon(version, pixels));
    }
}

fn appdata(version: u32) -> String {
    let icons = ICONS
        .map(|pixels| format!("<icon type='cached' width='{pixels}' height='{pixels}'>{HELLO}.png</icon>"));
    format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<components version='0.8'><component type='desktop-application'>\
         <id>{HELLO}</id><name>Hello</name><summary>Says hello, version {version}</summary>{}\
         </component></components>\n",
        icons.concat(),
    )
}

/// The application's icon, a PNG: a square in one shade of grey, another for each version.
pub fn icon(version: u32, pixels: u32) -> Vec<u8> {
    let header = [&pixels.to_be_bytes()[..], &pixels.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let row = [&[0][..], &vec![version.to_le_bytes()[0]; pixels as usize]].concat();
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    (0..pixels).try_for_each(|_| rows.write_all(&row)).expect("room in memory");
    let rows = rows.finish().expect("room in memory");
    let chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", Vec::new())];
    let chunks = chunks.map(|(kind, bytes)| {
        let length = u32::try_from(bytes.len()).expect("a small picture").to_be_bytes();
        let told = [&kind[..], &bytes].concat();
        let mut sum = Crc::new();
        sum.update(&told);
        [&length[..], &told, &sum.sum().to_be_bytes()].concat()
    });
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzipped = GzEncoder::new(Vec::new(), Compression::default());
    gzipped.write_all(bytes).expect("room in memory");
    gzipped.finish().expect("room in memory")
}

fn program(tree: &Path, name: &str, script: &str) {
    write(tree, name, script);
    fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

fn write(tree: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = tree.join(name);
    let folder = path.parent().expect("it is below the tree");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, content))
        .expect("room in the temporary folder");
}
