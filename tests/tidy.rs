//! What the compiler can't hold: who may import whom, which crates stay out, what a file must say.
//!
//! Each rule is a pure function from what is there to what is wrong, and has a case that breaks it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Who may import whom. `None`: a crate that this table doesn't know.
fn may_import(package: &str) -> Option<&'static [&'static str]> {
    Some(match package {
        "schemas" | "base" => &[],
        "telemetry" | "ledger" => &["base"],
        "http" => &["base", "telemetry"],
        "bus" => &["base", "http", "schemas"],
        "oci" | "upstream" => &["base", "http"],
        "runtime" => &["base", "bus", "http", "ledger", "schemas", "telemetry"],
        "embedded" => &["base", "bus", "http", "oci", "schemas", "upstream"],
        "index" => &["base", "http", "oci", "runtime", "schemas", "telemetry"],
        "mirror" => &["base", "http", "oci", "runtime", "schemas", "telemetry", "upstream"],
        "world" => &[
            "base",
            "bus",
            "embedded",
            "http",
            "ledger",
            "mirror",
            "oci",
            "runtime",
            "schemas",
            "telemetry",
            "upstream",
        ],
        "fuzz" => &["bus", "http", "mirror", "oci", "runtime", "schemas", "upstream"],
        _ => return None,
    })
}

/// A second TLS or crypto stack makes it a matter of link order which one a handshake takes, and rustls panics.
const BANNED: [&str; 5] = ["ring", "openssl", "openssl-sys", "native-tls", "tokio-tar"];

/// A decoded blob is not the blob that its digest names, and one user's feature turns decoding on for all.
const DECODING: [&str; 5] = ["gzip", "brotli", "zstd", "deflate", "http2"];

/// What one crate of ours stands in front of, so that its limits and redaction can't be gone round.
const OWNED: [(&str, &[&str]); 7] = [
    ("reqwest", &["http"]),
    ("lapin", &["bus"]),
    ("sled", &["ledger"]),
    ("oci-client", &["oci"]),
    ("prometheus-client", &["telemetry"]),
    ("tracing-journald", &["telemetry"]),
    ("sd-notify", &["runtime"]),
];

/// One import: our package, what it imports, and whether only its tests do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    in_tests: bool,
}

/// A text file of the project.
struct Source {
    path: String,
    text: String,
}

// --- Rules

fn wrong_arrows(packages: &BTreeSet<String>, imports: &[Import]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages.iter().filter(|package| *package != "flatbus") {
        let name = short(package);
        let Some(allowed) = may_import(name) else {
            wrong.push(format!("{package}: tests/tidy.rs does not say what it may import"));
            continue;
        };
        let ours = imports.iter().filter(|import| import.from == *package && packages.contains(&import.to));
        let outside = ours.filter(|import| !import.in_tests && !allowed.contains(&short(&import.to)));
        wrong.extend(outside.map(|import| format!("{package} imports {}", import.to)));
    }
    wrong
}

fn gone_round(imports: &[Import]) -> Vec<String> {
    let owners: BTreeMap<_, _> = OWNED.into_iter().collect();
    let strangers = imports.iter().filter(|import| !import.in_tests && import.from != "flatbus");
    let strangers = strangers.filter(|import| {
        owners.get(&*import.to).is_some_and(|owners| !owners.contains(&short(&import.from)))
    });
    strangers.map(|import| format!("{} imports {} past its owner", import.from, import.to)).collect()
}

/// `tree` has a line a crate: name, version, features with commas.
fn banned(tree: &str) -> Vec<String> {
    let crates = tree.lines().filter_map(|line| line.split(' ').next());
    let found: BTreeSet<_> = crates.filter(|name| BANNED.contains(name)).collect();
    found
        .into_iter()
        .map(|name| format!("{name} is in the tree: cargo tree --target all -i {name}"))
        .collect()
}

fn decoding(tree: &str) -> Vec<String> {
    let reqwest = tree.lines().filter(|line| line.starts_with("reqwest "));
    let features = reqwest.filter_map(|line| line.split(' ').nth(2)).flat_map(|features| features.split(','));
    features
        .filter(|feature| DECODING.contains(feature))
        .map(|feature| format!("reqwest has {feature}"))
        .collect()
}

/// A module's own `tests.rs` is for what the module is for.
fn headless(source: &Source) -> Option<String> {
    let first = source.text.lines().find(|line| !line.trim().is_empty());
    let opens = first.is_some_and(|line| line.starts_with("//!")) || source.path.ends_with("/tests.rs");
    (!opens).then(|| format!("{} does not open with //!: what it is for and what it never does", source.path))
}

/// A new kind of error must choose its remedy: no arm may take what is left.
fn undecided_remedies(source: &Source) -> Vec<String> {
    let bodies = source.text.match_indices("fn remedy(").map(|(at, _)| body(&source.text[at..]));
    let arms = bodies.flat_map(|body| body.lines().filter(|line| catches_all(line)));
    arms.map(|line| format!("{}: remedy has the arm `{}`", source.path, line.trim())).collect()
}

fn catches_all(line: &str) -> bool {
    let pattern = line.split("=>").next().unwrap_or_default().trim();
    line.contains("=>") && (pattern == "_" || pattern.starts_with("_ if "))
}

/// From the first brace to the one that closes it; good enough for code that rustfmt has seen.
fn body(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        depth = match letter {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            ';' if depth == 0 => return "",
            _ => continue,
        };
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// What is shared serves any consumer, so it knows none by name. Its tests may call theirs as they like, and a field of
/// somebody's JSON (`"index": …`) is no consumer.
fn names_a_consumer(source: &Source, consumers: &BTreeSet<String>) -> Vec<String> {
    if source.path.contains("/tests/") || source.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let text = source.text.split("#[cfg(test)]").next().unwrap_or_default();
    let named = consumers.iter().flat_map(|consumer| {
        let spellings = [
            format!("flatbus-{consumer}"),
            format!("flatbus_{consumer}"),
            format!("consumers/{consumer}"),
            format!("\"{consumer}\""),
        ];
        spellings.into_iter().filter(|spelling| {
            text.split(&**spelling).skip(1).any(|rest| !(spelling.ends_with('"') && rest.starts_with(':')))
        })
    });
    named.map(|spelling| format!("{} names a consumer: {spelling}", source.path)).collect()
}

/// Keys and trees are types: only the ledger's own file may spell the name of a tree.
fn spelled_trees(source: &Source) -> Vec<String> {
    let calls = ["open_tree(\"", "open_tree(b\"", "drop_tree(\"", "drop_tree(b\""];
    let spelled = calls.into_iter().filter(|call| source.text.contains(call));
    spelled.map(|call| format!("{} spells a tree of the ledger: {call}", source.path)).collect()
}

/// `(test: name)` in a document, and a name in a table's column "kept by", promise that a test or a file of tests of that
/// name keeps what is said there.
fn broken_promises(document: &Source, tests: &BTreeSet<String>) -> Vec<String> {
    let missing = promised(&document.text).into_iter().filter(|name| !tests.contains(*name));
    missing.map(|name| format!("{} promises the test {name}, which is not there", document.path)).collect()
}

fn promised(text: &str) -> Vec<&str> {
    let inline = text.split("(test: ").skip(1).filter_map(|rest| rest.split(')').next());
    let mut promised: Vec<&str> = inline.flat_map(|names| names.split(", ")).collect();
    let mut in_table = false;
    for line in text.lines() {
        in_table = line.starts_with('|') && (in_table || line.ends_with("| kept by |"));
        let cell = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        if in_table {
            promised.extend(cell.split('`').skip(1).step_by(2));
        }
    }
    promised
}

/// Versions stand in one place: the workspace's table.
fn own_versions(manifest: &Source) -> Vec<String> {
    let mut table = "";
    let mut wrong = Vec::new();
    for line in manifest.text.lines() {
        if line.starts_with('[') {
            table = line;
        }
        let of_ours = table.ends_with("dependencies]") && table != "[workspace.dependencies]";
        if of_ours && line.contains('=') && !line.starts_with('#') && !line.contains("workspace = true") {
            wrong.push(format!("{}: `{line}` is not from [workspace.dependencies]", manifest.path));
        }
    }
    wrong
}

fn short(package: &str) -> &str {
    package.strip_prefix("flatbus-").unwrap_or(package)
}

// --- What is there

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn workspace() -> (BTreeSet<String>, Vec<Import>) {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let imports = packages.iter().flat_map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        dependencies.map(move |import| Import {
            from: name(package),
            to: name(import),
            in_tests: import["kind"] == "dev",
        })
    });
    (packages.iter().map(name).collect(), imports.collect())
}

/// Every crate that any of ours is built with, on any platform, with its features as they are unified.
fn tree() -> String {
    let arguments = ["tree", "--workspace", "--all-features", "--offline", "--target", "all"];
    cargo(&[&arguments[..], &["-e", "normal,build,dev", "--prefix", "none", "--format", "{p} {f}"]].concat())
}

fn sources(folders: &[&str], ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(read(&path));
            }
        }
    }
    found
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(root()).unwrap_or(path);
    Source { path: path.display().to_string(), text }
}

fn rust() -> Vec<Source> {
    sources(&["consumers", "schemas", "shared", "tests"], ".rs")
}

fn consumers() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("consumers")).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().join("Cargo.toml").exists());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn functions(sources: &[Source]) -> BTreeSet<String> {
    let names = sources.iter().flat_map(|source| source.text.split("fn ").skip(1));
    names.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned).collect()
}

fn nothing_wrong(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

// --- The project keeps the rules

#[test]
fn imports_follow_the_arrows() {
    let (packages, imports) = workspace();
    assert!(packages.len() > 10, "{packages:?}");
    nothing_wrong(wrong_arrows(&packages, &imports));
    nothing_wrong(gone_round(&imports));
}

#[test]
fn one_crypto_stack_and_no_decoding_of_blobs() {
    let tree = tree();
    assert!(tree.lines().any(|line| line.starts_with("reqwest ")), "{tree}");
    nothing_wrong(banned(&tree));
    nothing_wrong(decoding(&tree));
}

#[test]
fn every_file_says_what_it_is_for() {
    nothing_wrong(rust().iter().filter_map(headless).collect());
}

#[test]
fn every_error_chooses_its_remedy() {
    let sources = rust();
    let here = sources.iter().filter(|source| source.path != "tests/tidy.rs");
    nothing_wrong(here.flat_map(undecided_remedies).collect());
}

#[test]
fn nothing_shared_names_a_consumer() {
    let consumers = consumers();
    assert!(consumers.contains("mirror"), "{consumers:?}");
    nothing_wrong(
        sources(&["shared"], ".rs").iter().flat_map(|source| names_a_consumer(source, &consumers)).collect(),
    );
    nothing_wrong(
        sources(&["shared"], ".toml")
            .iter()
            .flat_map(|source| names_a_consumer(source, &consumers))
            .collect(),
    );
}

#[test]
fn trees_of_the_ledger_are_spelled_nowhere() {
    nothing_wrong(
        sources(&["consumers", "schemas", "shared"], ".rs").iter().flat_map(spelled_trees).collect(),
    );
}

#[test]
fn promises_in_documents_are_kept_by_tests() {
    let sources = rust();
    let mut tests = functions(&sources);
    tests.extend(sources.iter().map(|source| source.path.clone()));
    let documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(|name| read(&root().join(name)));
    nothing_wrong(documents.iter().flat_map(|document| broken_promises(document, &tests)).collect());
}

#[test]
fn versions_stand_in_one_place() {
    nothing_wrong(
        sources(&["consumers", "schemas", "shared"], "Cargo.toml").iter().flat_map(own_versions).collect(),
    );
    nothing_wrong(own_versions(&read(&root().join("Cargo.toml"))));
}

// --- Each rule notices when it is broken

#[cfg(test)]
mod broken {
    use super::*;

    fn import(from: &str, to: &str) -> Import {
        Import { from: format!("flatbus-{from}"), to: to.to_owned(), in_tests: false }
    }

    fn source(text: &str) -> Source {
        Source { path: "shared/toy/src/lib.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn an_arrow_against_the_layers() {
        let packages = ["mirror", "bus", "ledger", "runtime"].map(|name| format!("flatbus-{name}")).into();
        for (from, to) in [("mirror", "ledger"), ("mirror", "bus"), ("bus", "ledger"), ("ledger", "runtime")]
        {
            let wrong = wrong_arrows(&packages, &[import(from, &format!("flatbus-{to}"))]);
            assert_eq!(wrong, [format!("flatbus-{from} imports flatbus-{to}")]);
        }
        assert!(wrong_arrows(&packages, &[import("runtime", "flatbus-bus")]).is_empty());
        let in_tests = Import { in_tests: true, ..import("bus", "flatbus-ledger") };
        assert!(wrong_arrows(&packages, &[in_tests]).is_empty());
    }

    #[test]
    fn a_crate_nobody_placed() {
        assert_eq!(wrong_arrows(&["flatbus-toy".to_owned()].into(), &[]).len(), 1);
    }

    #[test]
    fn a_crate_used_past_its_owner() {
        assert_eq!(gone_round(&[import("oci", "reqwest")]).len(), 1);
        assert!(gone_round(&[import("http", "reqwest")]).is_empty());
    }

    #[test]
    fn a_second_crypto_stack_and_a_decoding_feature() {
        let tree = "flatbus v0.1.0 (/here) \nring v0.17.14 default\nreqwest v0.13.5 json,gzip,rustls\nring v0.17.14 default (*)\n";
        assert_eq!(banned(tree).len(), 1);
        assert_eq!(decoding(tree), ["reqwest has gzip"]);
        assert!(banned("string v1.0.0 \n").is_empty() && decoding("reqwest v0.13.5 json\n").is_empty());
    }

    #[test]
    fn a_file_without_a_header() {
        assert!(headless(&source("use std::io;\n")).is_some());
        assert!(headless(&source("\n//! Says it.\n")).is_none());
    }

    #[test]
    fn a_remedy_by_default() {
        let undecided = "fn remedy(&self) -> Remedy {\n    match self {\n        Self::A { .. } => Remedy::Park,\n        _ => Remedy::Retry,\n    }\n}\n";
        assert_eq!(undecided_remedies(&source(undecided)).len(), 1);
        let decided = undecided.replace("_ =>", "Self::B(_) =>") + "fn other() { match 1 { _ => 2 } }\n";
        assert!(undecided_remedies(&source(&decided)).is_empty());
        assert!(undecided_remedies(&source("fn remedy(&self) -> Remedy;\nmatch x {\n _ => 1 }")).is_empty());
    }

    #[test]
    fn a_consumer_named_where_it_is_shared() {
        let consumers = ["mirror".to_owned()].into();
        assert_eq!(names_a_consumer(&source("use flatbus_mirror::Key;"), &consumers).len(), 1);
        assert_eq!(names_a_consumer(&source("if name == \"mirror\" {}"), &consumers).len(), 1);
        assert!(names_a_consumer(&source("// A mirror image of it."), &consumers).is_empty());
        assert!(names_a_consumer(&source("json!({\"mirror\": {}})"), &consumers).is_empty());
        let tests = Source { path: "shared/toy/tests/loop.rs".to_owned(), ..source("\"mirror\"") };
        assert!(names_a_consumer(&tests, &consumers).is_empty());
    }

    #[test]
    fn a_tree_spelled_at_its_use() {
        assert_eq!(spelled_trees(&source("db.open_tree(\"keys\")")).len(), 1);
        assert!(spelled_trees(&source("db.open_tree(space.name())")).is_empty());
    }

    #[test]
    fn a_promise_without_a_test() {
        let document = source("No message is lost (test: kill_9_loses_nothing, replay_works).");
        let tests = ["replay_works".to_owned()].into();
        assert_eq!(broken_promises(&document, &tests).len(), 1);
        let table = source(
            "| promise | kept by |\n| --- | --- |\n| Replay | `replay_works` |\n| All | `tests/gone.rs` |\n\n`no` |",
        );
        assert_eq!(broken_promises(&table, &tests).len(), 1);
    }

    #[test]
    fn a_version_of_its_own() {
        let manifest = source(
            "[workspace.dependencies]\nserde = \"1\"\n[dependencies]\nserde.workspace = true\nurl = \"2\"\n",
        );
        assert_eq!(own_versions(&manifest).len(), 1);
    }
}
