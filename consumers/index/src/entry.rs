//! What the index says of a repository, as text: the JSON that flatpak-indexer writes (Python's `json.dumps` with sorted
//! keys, four spaces, nothing escaped that needs no escape), down to the byte.
//!
//! Pure. The labels of Flatpak make nearly all of an image's text, and are the same in every file that the image stands
//! in, as labels or as annotations: they are parts of their own, so that they are compressed once.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::image::Image;

/// Label of the delta manifest's address.
pub const DELTA_URL: &str = "io.github.containers.DeltaUrl";

/// What old clients read from the annotations.
const MOVED: [&str; 2] = ["org.flatpak.", "org.freedesktop."];

// How deep things stand, in spaces.
const REPOSITORY: usize = 8;
const IMAGES: usize = 12;
const IMAGE: usize = 16;
const MEMBER: usize = 20;
const INNER: usize = 24;

/// An image as one file shows it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its digest, type and architecture.
    pub image: &'a Image,
    /// Its labels as they are shown, in place of its own.
    pub labels: &'a BTreeMap<String, String>,
    /// The tags that name it, in order.
    pub tags: &'a [String],
}

/// A part of a repository's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The text.
    pub text: String,
    /// Whether other files have the same text.
    pub shared: bool,
}

/// What stands before the first repository, and after the last.
pub fn frame(public_url: &str) -> (String, &'static str) {
    (format!("{{\n    \"Registry\": {},\n    \"Results\": [", quoted(public_url)), "\n    ]\n}")
}

/// A whole file without any repository.
pub fn empty(public_url: &str) -> String {
    format!("{{\n    \"Registry\": {},\n    \"Results\": []\n}}", quoted(public_url))
}

/// A repository's text, from the line end before it to its closing brace. `images` in the order of their digests, and at
/// least one: a repository without images does not stand in a file. `annotations`: the form for old clients.
pub fn repository(name: &str, images: &[Shown<'_>], annotations: bool) -> Vec<Part> {
    let mut text = Writer::default();
    text.push(format_args!("\n{:REPOSITORY$}{{\n{:IMAGES$}\"Images\": [", "", ""));
    for (n, shown) in images.iter().enumerate() {
        text.push(format_args!("{}\n{:IMAGE$}{{", if n == 0 { "" } else { "," }, ""));
        text.image(shown, annotations);
        text.push(format_args!("\n{:IMAGE$}}}", ""));
    }
    text.push(format_args!(
        "\n{:IMAGES$}],\n{:IMAGES$}\"Name\": {}\n{:REPOSITORY$}}}",
        "",
        "",
        quoted(name),
        ""
    ));
    text.done()
}

/// Text as JSON has it.
fn quoted(text: &str) -> String {
    // Text under a text's rules: this can't fail.
    serde_json::to_string(text).unwrap_or_default()
}

type Labels<'a> = Vec<(&'a String, &'a String)>;

#[derive(Default)]
struct Writer {
    parts: Vec<Part>,
    own: String,
    members: usize,
}

impl Writer {
    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Into a String: this can't fail.
        let _ = self.own.write_fmt(text);
    }

    fn image(&mut self, shown: &Shown<'_>, annotations: bool) {
        let (moved, rest): (Labels<'_>, Labels<'_>) =
            shown.labels.iter().partition(|(name, _)| MOVED.iter().any(|start| name.starts_with(start)));
        self.members = 0;
        if annotations {
            self.map("Annotations", &moved);
        }
        self.word("Architecture", &shown.image.architecture);
        self.word("Digest", &shown.image.digest.to_string());
        if annotations {
            self.map("Labels", &rest);
        } else {
            self.map("Labels", &shown.labels.iter().collect::<Labels<'_>>());
        }
        self.word("MediaType", &shown.image.media_type);
        self.word("OS", &shown.image.os);
        self.list("Tags", shown.tags);
    }

    fn member(&mut self, name: &str) {
        let comma = if self.members == 0 { "" } else { "," };
        self.members += 1;
        self.push(format_args!("{comma}\n{:MEMBER$}\"{name}\": ", ""));
    }

    fn word(&mut self, name: &str, value: &str) {
        self.member(name);
        self.own.push_str(&quoted(value));
    }

    fn list(&mut self, name: &str, values: &[String]) {
        if values.is_empty() {
            return;
        }
        self.member(name);
        self.own.push('[');
        for (n, value) in values.iter().enumerate() {
            self.push(format_args!("{}\n{:INNER$}{}", if n == 0 { "" } else { "," }, "", quoted(value)));
        }
        self.push(format_args!("\n{:MEMBER$}]", ""));
    }

    fn map(&mut self, name: &str, labels: &[(&String, &String)]) {
        if labels.is_empty() {
            return;
        }
        self.member(name);
        self.own.push('{');
        let is_moved = |label: &(&String, &String)| MOVED.iter().any(|start| label.0.starts_with(start));
        for (n, run) in labels.chunk_by(|a, b| is_moved(a) == is_moved(b)).enumerate() {
            self.own.push_str(if n == 0 { "\n" } else { ",\n" });
            self.run(run, run.first().is_some_and(is_moved));
        }
        self.push(format_args!("\n{:MEMBER$}}}", ""));
    }

    fn run(&mut self, labels: &[(&String, &String)], shared: bool) {
        let line =
            |(name, value): &(&String, &String)| format!("{:INNER$}{}: {}", "", quoted(name), quoted(value));
        let text = labels.iter().map(line).collect::<Vec<_>>().join(",\n");
        if shared {
            self.cut();
            self.parts.push(Part { text, shared });
        } else {
            self.own.push_str(&text);
        }
    }

    fn cut(&mut self) {
        let text = std::mem::take(&mut self.own);
        self.parts.extend((!text.is_empty()).then_some(Part { text, shared: false }));
    }

    fn done(mut self) -> Vec<Part> {
        self.cut();
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use flatbus_oci::Digest;
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    const URL: &str = "https://registry.example/";

    fn image(labels: &[(&str, &str)]) -> Image {
        Image {
            digest: Digest::of(b"manifest"),
            media_type: flatbus_oci::manifest::OCI_MANIFEST.to_owned(),
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            diff_id: None,
        }
    }

    fn file(repositories: &[Vec<Part>]) -> String {
        let (head, tail) = frame(URL);
        let text = |parts: &Vec<Part>| parts.iter().map(|part| part.text.as_str()).collect::<String>();
        let all: Vec<String> = repositories.iter().map(text).collect();
        format!("{head}{}{tail}", all.join(","))
    }

    /// As Python writes it: sorted keys, four spaces, nothing escaped that needs no escape.
    fn as_python_does(value: &Value) -> String {
        let mut bytes = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, format)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn eog() -> Image {
        image(&[
            ("architecture", "x86_64"),
            ("org.flatpak.ref", "app/org.gnome.eog/x86_64/stable"),
            ("org.flatpak.metadata", "[Application]\nname=\"eog\"\t\u{7f}é\u{2028}\u{1}\\"),
            ("org.freedesktop.appstream.appdata", "<components/>"),
            ("version", "44.2"),
        ])
    }

    #[test]
    fn labels_are_written_as_flatpak_indexer_writes_them() {
        let image = eog();
        let tags = ["latest".to_owned(), "testing".to_owned()];
        let shown = Shown { image: &image, labels: &image.labels, tags: &tags };
        let written =
            file(&[repository("eog", &[shown, shown], false), repository("f41/sdk", &[shown], false)]);
        let entry = json!({"Architecture": "amd64", "Digest": image.digest.to_string(), "Labels": image.labels,
            "MediaType": image.media_type, "OS": "linux", "Tags": tags});
        let wanted = json!({"Registry": URL, "Results": [
            {"Images": [entry, entry], "Name": "eog"}, {"Images": [entry], "Name": "f41/sdk"}]});
        assert_eq!(written, as_python_does(&wanted));
    }

    #[test]
    fn annotations_hold_what_old_clients_read_and_no_label_is_lost() {
        let image = eog();
        let tags = ["latest".to_owned()];
        let shown = Shown { image: &image, labels: &image.labels, tags: &tags };
        let written: Value = serde_json::from_str(&file(&[repository("eog", &[shown], true)])).unwrap();
        let entry = &written["Results"][0]["Images"][0];
        let names = |key: &str| entry[key].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names("Labels"), ["architecture", "version"]);
        let moved = ["org.flatpak.metadata", "org.flatpak.ref", "org.freedesktop.appstream.appdata"];
        assert_eq!(names("Annotations"), moved);
        assert_eq!(file(&[repository("eog", &[shown], true)]), as_python_does(&written));
    }

    #[test]
    fn flatpaks_labels_are_one_text_in_both_forms() {
        let image = eog();
        let shown = Shown { image: &image, labels: &image.labels, tags: &[] };
        let shared = |annotations| {
            let parts = repository("eog", &[shown], annotations);
            parts.into_iter().filter(|part| part.shared).map(|part| part.text).collect::<Vec<_>>()
        };
        assert_eq!(shared(false), shared(true));
        assert_eq!(shared(true).len(), 1);
    }

    #[test]
    fn a_label_between_flatpaks_own_is_written_where_it_sorts() {
        let image = image(&[("org.flatpak.ref", "a"), ("org.fo", "b"), ("org.freedesktop.x", "c")]);
        let shown = Shown { image: &image, labels: &image.labels, tags: &[] };
        for annotations in [false, true] {
            let written = file(&[repository("eog", &[shown], annotations)]);
            let read: Value = serde_json::from_str(&written).unwrap();
            assert_eq!(written, as_python_does(&read), "annotations: {annotations}");
        }
    }

    #[test]
    fn what_is_empty_is_left_out_and_an_empty_file_is_valid() {
        let image = image(&[]);
        let shown = Shown { image: &image, labels: &image.labels, tags: &[] };
        let written: Value = serde_json::from_str(&file(&[repository("eog", &[shown], true)])).unwrap();
        let members: Vec<_> =
            written["Results"][0]["Images"][0].as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["Architecture", "Digest", "MediaType", "OS"]);
        assert_eq!(empty(URL), as_python_does(&json!({"Registry": URL, "Results": []})));
    }
}
