//! The labels that make an OCI image a Flatpak: those of the record, else those of a build like it, else plain ones. Pure.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    Settings, Source,
    records::{LABELS, Record},
};
use crate::registry::Digest;

const REF: &str = "org.flatpak.ref";
const METADATA: &str = "org.flatpak.metadata";

/// The labels of one architecture's image. None at all, where the image is to have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    map: BTreeMap<String, String>,
    hidden: bool,
}

impl Labels {
    pub(crate) fn of(
        record: &Record<'_>,
        source: &Source<'_>,
        settings: &Settings,
        architecture: &str,
    ) -> Self {
        let own = of_architecture(source.archives, architecture);
        let hidden = own.is_empty() && !source.archives.is_empty() && !settings.label_old;
        let mut map = if own.is_empty() { of_architecture(source.likeness, architecture) } else { own };
        if !map.contains_key(REF) || !map.contains_key(METADATA) {
            map.extend(plain(record, architecture));
        }
        let [name, metadata] = [REF, METADATA].map(|key| map.get(key).cloned().unwrap_or_default());
        // What flatpak compares with ref and metadata must be of this image, whatever the labels were taken from.
        for (key, value) in [
            ("xa.ref", variant(&name)),
            ("xa.metadata", variant(&metadata)),
            ("ostree.ref-binding", variant_list(&name)),
        ] {
            map.insert(format!("org.flatpak.commit-metadata.{key}"), value);
        }
        let built: [(&str, &str); 5] = [
            ("name", &record.repository),
            ("com.redhat.component", record.name),
            ("version", record.version),
            ("release", record.release),
            ("architecture", architecture),
        ];
        map.extend(built.map(|(key, value)| (key.to_owned(), value.to_owned())));
        map.insert("org.flatpak.timestamp".to_owned(), record.completed.as_second().to_string());
        let commit = Digest::of(format!("{} {architecture}", record.nvr).as_bytes());
        map.insert("org.flatpak.commit".to_owned(), commit.hex().to_owned());
        Self { map, hidden }
    }

    /// `app/org.gnome.eog/x86_64/stable`
    pub(crate) fn flatpak_ref(&self) -> &str {
        self.get(REF)
    }

    pub(crate) fn metadata(&self) -> &str {
        self.get(METADATA)
    }

    /// `org.gnome.eog`
    pub(crate) fn id(&self) -> &str {
        self.flatpak_ref().split('/').nth(1).unwrap_or_default()
    }

    pub(crate) fn is_app(&self) -> bool {
        self.flatpak_ref().starts_with("app/")
    }

    /// `command=` of the metadata.
    pub(crate) fn command(&self) -> Option<&str> {
        self.metadata().lines().find_map(|line| line.strip_prefix("command="))
    }

    /// Appstream data, one application's.
    pub(crate) fn appdata(&self) -> Option<&str> {
        self.map.get("org.freedesktop.appstream.appdata").map(String::as_str)
    }

    /// An icon of 64 or 128 pixels as the PNG it is.
    pub(crate) fn icon(&self, pixels: u32) -> Option<Vec<u8>> {
        let url = self.map.get(&format!("org.freedesktop.appstream.icon-{pixels}"))?;
        STANDARD.decode(url.strip_prefix("data:image/png;base64,")?).ok()
    }

    /// The labels with the sizes of the layer.
    pub(crate) fn finish(mut self, installed_bytes: u64, download_bytes: u64) -> BTreeMap<String, String> {
        if self.hidden {
            return BTreeMap::new();
        }
        for (key, bytes) in [("installed-size", installed_bytes), ("download-size", download_bytes)] {
            self.map.insert(format!("org.flatpak.{key}"), bytes.to_string());
            let mut packed = bytes.to_be_bytes().to_vec();
            packed.extend(b"\0t");
            self.map.insert(format!("org.flatpak.commit-metadata.xa.{key}"), STANDARD.encode(packed));
        }
        self.map
    }

    fn get(&self, key: &str) -> &str {
        self.map.get(key).map_or("", String::as_str)
    }
}

/// The labels an archive of this architecture tells, or those of another one, translated.
fn of_architecture(archives: &[Value], architecture: &str) -> BTreeMap<String, String> {
    let named = |archive: &&Value| archive["extra"]["image"]["arch"] == architecture;
    let Some(archive) = archives.iter().find(named).or_else(|| archives.first()) else {
        return BTreeMap::new();
    };
    let told = archive["extra"]["image"]["arch"].as_str().unwrap_or_default();
    let labels = archive.pointer(LABELS).and_then(Value::as_object);
    let translate = |text: &str| text.replace(&format!("/{told}/"), &format!("/{architecture}/"));
    let label = |(key, value): (&String, &Value)| Some((key.clone(), translate(value.as_str()?)));
    labels.into_iter().flatten().filter_map(label).collect()
}

/// Labels of an application of which nothing is known but its name.
fn plain(record: &Record<'_>, architecture: &str) -> BTreeMap<String, String> {
    let name = record.repository.rsplit('/').next().unwrap_or_default();
    let id = format!("org.fedoraproject.{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    let runtime = format!("org.fedoraproject.Platform/{architecture}/f36");
    let metadata = format!("[Application]\nname={id}\nruntime={runtime}\nsdk={runtime}\ncommand={name}\n");
    let labels = [
        (REF, format!("app/{id}/{architecture}/stable")),
        (METADATA, metadata),
        ("org.flatpak.subject", format!("Export {id}")),
    ];
    labels.map(|(key, value)| (key.to_owned(), value)).into()
}

/// A text as a serialised GVariant of type `v`, in base64: as flatpak writes commit metadata into labels.
fn variant(text: &str) -> String {
    STANDARD.encode([text.as_bytes(), b"\0\0s"].concat())
}

/// A list of one text, likewise. One byte tells where the text ends, which is enough for a ref.
fn variant_list(text: &str) -> String {
    let end = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    STANDARD.encode([text.as_bytes(), &[0, end], b"\0as"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_those_that_flatpak_wrote() {
        let name = "app/org.gnome.eog/x86_64/stable";
        assert_eq!(variant(name), "YXBwL29yZy5nbm9tZS5lb2cveDg2XzY0L3N0YWJsZQAAcw==");
        assert_eq!(variant_list(name), "YXBwL29yZy5nbm9tZS5lb2cveDg2XzY0L3N0YWJsZQAgAGFz");
    }
}
