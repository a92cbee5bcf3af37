//! Reading a consumer's file.

use flatbus_bus::config::CONFIG_BYTES_MAX;
use flatbus_runtime::{Settings, config::load};
use serde::Deserialize;

#[derive(Deserialize)]
struct Own {}

#[test]
fn a_file_larger_than_any_configuration_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("toy.toml");
    let mut text = "[consumer_config]\n".to_owned();
    text.push_str(&"#".repeat(CONFIG_BYTES_MAX - text.len()));
    std::fs::write(&path, &text).unwrap();
    assert!(load::<Own>("toy", &path).is_ok(), "as large as it may be");
    std::fs::write(&path, text + "#").unwrap();
    let why = load::<Own>("toy", &path).err().unwrap();
    assert!(format!("{why:?}").contains("larger than any configuration"), "{why:?}");
}

#[test]
fn each_consumer_has_a_folder_and_a_socket_of_its_own() {
    let settings = Settings::of("toy");
    assert_eq!(settings.state_dir.to_str(), Some("/var/lib/flatbus/toy"));
    assert_eq!(settings.socket.to_str(), Some("/run/flatbus/toy.sock"));
}
