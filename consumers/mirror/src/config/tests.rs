use super::*;

const EXAMPLE: &str = include_str!("../../mirror.example.toml");

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

#[test]
fn the_shipped_example_is_valid_and_states_the_defaults() {
    let shipped = parse(EXAMPLE).unwrap();
    let mut full = parse(&example_in_full()).unwrap();
    assert!(
        full.staging.is_some() && full.quay_api.is_some() && full.ca_file.is_some(),
        "every setting is shown"
    );
    let staging = full.staging.take().unwrap();
    assert_eq!(
        (staging.keep, staging.max_bytes),
        (DAY * defaults::staging_keep_days(), defaults::staging_max_bytes())
    );
    full.quay_api = None;
    full.quay_token_file = None;
    full.auth_file = None;
    full.ca_file = None;
    assert_eq!(full, shipped);
}

#[test]
fn every_setting_is_in_the_example() {
    let error = parse("[consumer_config]\nnonsense = 1").unwrap_err();
    let known = error.split("expected one of").nth(1).unwrap_or_default().to_owned();
    let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() > 20, "{error}");
    let full = example_in_full();
    for key in keys.iter().filter(|key| **key != "runtime") {
        let shown = full.lines().any(|line| {
            line.starts_with(&format!("{key} = ")) || line == format!("[[consumer_config.{key}]]")
        });
        assert!(shown, "{key} is not in the example");
    }
}

fn complaint(own: &str) -> String {
    let destination =
        if own.contains("destination") { "" } else { "destination = \"https://quay.io/fedora\"\n" };
    parse(&format!("[consumer_config]\n{destination}{own}")).unwrap_err()
}

#[test]
fn a_wrong_setting_is_named_with_what_is_allowed() {
    for (own, says) in [
        ("destination = \"quay.io/fedora\"", "destination"),
        ("staging = \"https://elsewhere.example/x\"", "must be a namespace of quay.io"),
        ("staging = \"https://quay.io/fedora\"", "namespace of its own"),
        ("tag_writer = \"skopeo\"", "`mirror` or `bodhi`"),
        ("settle_after_s = -1", "settle_after_s"),
        ("holding_grace_days = 0", "holding_grace_days: must be at least 1"),
        ("imports_per_s = 0", "imports_per_s"),
        ("koji = \"koji\"", "koji: is not the URL of a service"),
        ("bodhi = \"https://me:hunter2@bodhi.example/\"", "credentials"),
        ("release_states = [\"dead\"]", "dead"),
        ("sources = []", "at least one"),
        ("sources = [{ pull_spec = \"quay.io\", bytes_at = [\"https://quay.io\"] }]", "slash at the end"),
        ("sources = [{ pull_spec = \"quay.io/\", bytes_at = [] }]", "at least one place"),
        ("destnation = \"x\"", "destnation"),
    ] {
        let error = complaint(own);
        assert!(error.contains(says), "{own}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_runtimes_table_is_left_to_the_runtime() {
    parse("[consumer_config]\ndestination = \"https://quay.io/fedora\"\n[consumer_config.runtime]\nmode = \"shadow\"").unwrap();
}

#[test]
fn base_images_are_protected_unasked() {
    let config = parse(EXAMPLE).unwrap();
    for name in ["fedora", "fedora-minimal", "eln", "fedora-bootc", "fedora-toolbox"] {
        assert!(config.is_protected(name), "{name}");
    }
    for name in ["eog", "f41/flatpak-runtime", "fedora/eog"] {
        assert!(!config.is_protected(name), "{name}");
    }
}
