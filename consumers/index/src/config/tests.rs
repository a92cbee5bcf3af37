use super::*;

const EXAMPLE: &str = include_str!("../../index.example.toml");

#[derive(Deserialize)]
struct File {
    consumer_config: RawConfig,
}

fn parse(text: &str) -> Result<Config, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    Config::try_from(file.consumer_config).map_err(|error| error.to_string())
}

/// The example with every commented setting switched on.
fn example_in_full() -> String {
    let setting = |line: &str| {
        let rest = line.strip_prefix('#')?;
        (rest.starts_with("[[") || rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = "))
            .then(|| rest.to_owned())
    };
    EXAMPLE.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

fn minimal(more: &str) -> Result<Config, String> {
    parse(&format!(
        "[consumer_config]\nregistry = \"https://quay.io/fedora\"\nsite_dir = \"/srv/site\"\n{more}"
    ))
}

#[test]
fn the_shipped_example_is_valid_and_states_the_defaults() {
    let shipped = parse(EXAMPLE).unwrap();
    let full = parse(&example_in_full()).unwrap();
    assert!(
        full.ca_file.is_some() && full.listen.is_some() && !full.retired.is_empty(),
        "every setting is shown"
    );
    assert_eq!(
        (shipped.public_url(), full.public_url()),
        ("https://quay.io/", "https://registry.fedoraproject.org/")
    );
    let clients = shipped.clients.clone();
    assert_eq!(Config { ca_file: None, listen: None, retired: Vec::new(), clients, ..full }, shipped);
}

#[test]
fn every_setting_is_in_the_example() {
    let error = parse("[consumer_config]\nnonsense = 1").unwrap_err();
    let known = error.split("expected one of").nth(1).unwrap_or_default().to_owned();
    let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() > 15, "{error}");
    let full = example_in_full();
    for key in keys.iter().filter(|key| **key != "runtime") {
        let shown = full.lines().any(|line| {
            line.starts_with(&format!("{key} = ")) || line == format!("[[consumer_config.{key}]]")
        });
        assert!(shown, "{key} is not in the example");
    }
}

#[test]
fn the_example_writes_the_sixteen_files_of_fedora() {
    let mut expected = Vec::new();
    for tag in ["latest", "testing"] {
        for architecture in ["", "-amd64", "-arm64", "-ppc64le"] {
            for form in ["", "-annotations"] {
                expected.push(format!("index/flatpak-{tag}{architecture}{form}.json"));
            }
        }
    }
    expected.sort();
    let outputs = parse(EXAMPLE).unwrap().outputs;
    let mut paths: Vec<_> = outputs.iter().map(|output| output.path.clone()).collect();
    paths.sort();
    assert_eq!(paths, expected);
    for output in &outputs {
        assert_eq!(output.annotations, output.path.contains("-annotations"));
        assert_eq!(output.path.contains("testing"), output.tag.as_str() == "testing");
        let architecture = output.architecture.as_ref().map_or(String::new(), |name| format!("-{name}"));
        assert!(output.path.contains(&architecture), "{}", output.path);
    }
}

#[test]
fn names_are_what_clients_put_behind_the_registry() {
    let config = minimal("indexes = [{output = \"index/a.json\", tag = \"latest\"}]").unwrap();
    let eog = "f41/sdk".parse().unwrap();
    assert_eq!(
        (config.public_url(), config.public_name(&eog).unwrap().as_str()),
        ("https://quay.io/", "fedora/f41/sdk")
    );
    let more =
        "clients = \"https://registry.example\"\nindexes = [{output = \"index/a.json\", tag = \"latest\"}]";
    let config = minimal(more).unwrap();
    assert_eq!(
        (config.public_url(), config.public_name(&eog).unwrap().as_str()),
        ("https://registry.example/", "f41/sdk")
    );
}

#[test]
fn what_is_wrong_is_told_with_its_key_and_what_to_write() {
    let index = |rest: &str| format!("indexes = [{{{rest}}}]");
    for (more, told) in [
        (String::new(), "missing field `indexes`"),
        ("indexes = []".to_owned(), "indexes: there must be at least one"),
        (
            index("output = \"a.json\", tag = \"latest\""),
            "indexes[0].output: \"a.json\" is no file of an index: write folder/name.json",
        ),
        (index("output = \"icons/a.json\", tag = \"latest\""), "indexes[0].output"),
        (index("output = \"../a.json\", tag = \"latest\""), "indexes[0].output"),
        (index("output = \"index/a.txt\", tag = \"latest\""), "indexes[0].output"),
        (index("output = \"index/a.json\", tag = \"a b\""), "indexes[0].tag"),
        (index("output = \"index/a.json\", tag = \"a\", architecture = \"x/y\""), "write amd64"),
        (
            index("output = \"index/a.json\", tag = \"a\", architecture_expand = [\"amd64\"]"),
            "must contain {architecture}",
        ),
        (
            index(
                "output = \"index/{architecture}.json\", tag = \"a\", architecture = \"amd64\", architecture_expand = [\"amd64\"]",
            ),
            "choose one",
        ),
        (
            index("output = \"index/a.json\", tag = \"a\"}, {output = \"index/a.json\", tag = \"b\""),
            "index/a.json is the output of two",
        ),
        (
            index("output = \"index/a.json\", tag = \"a\"") + "\nicons_uri = \"icons\"",
            "icons_uri: must be a URL",
        ),
        (
            index("output = \"index/a.json\", tag = \"a\"") + "\ngrace_days = 0",
            "grace_days: must be at least 1",
        ),
        (index("output = \"index/a.json\", tag = \"a\"") + "\nshrink_limit_percent = 101", "at most 100"),
        (index("output = \"index/a.json\", tag = \"a\"") + "\nclients = \"quay.io\"", "clients: "),
    ] {
        let error = minimal(&more).unwrap_err();
        assert!(error.contains(told), "{more}: {error}");
    }
    assert!(
        parse("[consumer_config]\nregistry = \"https://a\"\nsite_dir = \"site\"\nindexes = []")
            .unwrap_err()
            .contains("site_dir")
    );
}

#[test]
fn a_repository_is_covered_that_is_included_and_not_excluded() {
    let more = "include = [\"f*\"]\nexclude = [\"fedora*\"]\nindexes = [{output = \"index/a.json\", tag = \"latest\"}]";
    let config = minimal(more).unwrap();
    for (name, covered) in [("f41/sdk", true), ("fedora-minimal", false), ("eog", false)] {
        assert_eq!(config.covers(&name.parse().unwrap()), covered, "{name}");
    }
}
