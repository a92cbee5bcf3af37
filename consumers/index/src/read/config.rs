//! An image's config: what the index takes from it. Pure.
//!
//! Anything may stand in a config. What isn't needed is passed over unread, and takes no memory.

use std::{collections::BTreeMap, fmt};

use flatbus_oci::Digest;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Most labels a config may have. Known ones have 30.
const LABELS_MAX: usize = 1024;
/// Longest name of an architecture or system, in bytes.
const WORD_BYTES_MAX: usize = 32;
/// Most that is told of what a parser says, in characters: it quotes what it read.
const SAID_CHARS_MAX: usize = 200;

/// What attestations have in place of an architecture.
pub(super) const UNKNOWN: &str = "unknown";

/// What a config says of its image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub os: String,
    pub architecture: String,
    pub labels: BTreeMap<String, String>,
    /// How many layers it names.
    pub layers: usize,
    /// Digest of the last layer, unpacked; `None` where it isn't one that deltas could go by.
    pub diff_id: Option<Digest>,
}

#[derive(Deserialize)]
struct Raw {
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Inner>,
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(rename = "Labels")]
    labels: Option<Labels>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Layers>,
}

impl Config {
    /// Reads a config. `None` for that of an attestation, which is no image and was never meant to be one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| {
            let said: String = error.to_string().chars().take(SAID_CHARS_MAX).collect();
            format!("its config can't be read: {said}")
        })?;
        if raw.architecture.as_deref() == Some(UNKNOWN) {
            return Ok(None);
        }
        let layers = raw.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
        Ok(Some(Self {
            os: word("os", raw.os)?,
            architecture: word("architecture", raw.architecture)?,
            labels: raw.config.and_then(|inner| inner.labels).unwrap_or_default().0,
            layers: layers.count,
            diff_id: layers.last.and_then(|last| last.parse().ok()),
        }))
    }
}

/// A name that may stand in a file's name.
pub(super) fn is_word(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.len() <= WORD_BYTES_MAX && text.bytes().all(known)
}

fn word(name: &str, value: Option<String>) -> Result<String, String> {
    match value {
        Some(word) if is_word(&word) => Ok(word),
        Some(odd) => {
            let shown: String = odd.chars().take(WORD_BYTES_MAX).collect();
            Err(format!("its config names no {name} that there is: {shown:?}"))
        }
        None => Err(format!("its config names no {name}")),
    }
}

/// Labels that are texts; others are dropped, as clients can't read them.
#[derive(Default)]
struct Labels(BTreeMap<String, String>);

/// A text, or something else that was passed over.
struct Text(Option<String>);

/// The layers: how many, and the last.
#[derive(Default)]
struct Layers {
    count: usize,
    last: Option<String>,
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = BTreeMap::new();
                while let Some((name, Text(text))) = map.next_entry()? {
                    if let Some(text) = text {
                        labels.insert(name, text);
                    }
                    if labels.len() > LABELS_MAX {
                        return Err(A::Error::custom(format_args!("it has more than {LABELS_MAX} labels")));
                    }
                }
                Ok(Labels(labels))
            }
        }
        from.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }
        }
        from.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Layers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("digests of layers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Layers, A::Error> {
                let mut layers = Layers::default();
                while let Some(last) = seq.next_element()? {
                    layers = Layers { count: layers.count + 1, last: Some(last) };
                }
                Ok(layers)
            }
        }
        from.deserialize_seq(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Option<Config>, String> {
        Config::parse(json.as_bytes())
    }

    #[test]
    fn a_real_config_gives_its_labels_and_its_last_layer() {
        let archives =
            include_str!("../../../../schemas/samples/koji/archives/eog-stable-3620220905044417.1.json");
        let archives: Vec<serde_json::Value> = serde_json::from_str(archives).unwrap();
        let real = archives.iter().map(|archive| &archive["extra"]["docker"]["config"]);
        let read: Vec<Config> = real
            .filter(|config| config.is_object())
            .map(|config| parse(&config.to_string()).unwrap().unwrap())
            .collect();
        assert_eq!(read.len(), 2);
        for config in &read {
            assert_eq!((config.os.as_str(), config.layers), ("linux", 1));
            assert!(config.labels["org.flatpak.ref"].starts_with("app/org.gnome.eog/"));
            assert!(config.labels["org.freedesktop.appstream.icon-128"].starts_with("data:image/png"));
        }
        assert_eq!(read[0].architecture, "amd64");
        let diff_id = "sha256:c42914227b3a3382fb1fa98f69b7bb3758b1855ebfee26aa6b0d8cbeae31afb4";
        assert_eq!(read[0].diff_id, Some(diff_id.parse().unwrap()));
    }

    #[test]
    fn labels_that_are_no_text_are_dropped() {
        let labels =
            r#"{"a":"x","b":1,"c":-1,"d":1.5,"e":null,"f":true,"g":["x",{}],"h":{"x":["y"]},"i":"\u0041"}"#;
        let config =
            parse(&format!(r#"{{"os":"linux","architecture":"386","config":{{"Labels":{labels}}}}}"#));
        let kept = config.unwrap().unwrap().labels;
        assert_eq!(kept, [("a", "x"), ("i", "A")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn what_is_not_said_is_nothing() {
        for rest in
            ["", r#","config":null,"rootfs":null"#, r#","config":{"Labels":null},"rootfs":{"diff_ids":[]}"#]
        {
            let config = parse(&format!(r#"{{"os":"linux","architecture":"amd64","variant":7{rest}}}"#))
                .unwrap()
                .unwrap();
            assert_eq!((config.labels.len(), config.layers, config.diff_id), (0, 0, None));
        }
        let sha512 = r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha512:00"]}}"#;
        let config = parse(sha512).unwrap().unwrap();
        assert_eq!((config.layers, config.diff_id), (1, None));
    }

    #[test]
    fn an_attestation_is_no_image() {
        assert_eq!(parse(r#"{"os":"unknown","architecture":"unknown","config":{}}"#), Ok(None));
    }

    #[test]
    fn a_config_that_is_none_is_refused_with_its_reason() {
        let many: Vec<String> = (0..=LABELS_MAX).map(|n| format!(r#""{n}":"""#)).collect();
        let many = format!(r#"{{"config":{{"Labels":{{{}}}}}}}"#, many.join(","));
        let deep = format!(r#"{{"config":{{"Labels":{{"a":{}"#, "[".repeat(1_000_000));
        let long = format!(r#"{{"os":"linux","architecture":"{}"}}"#, "x".repeat(1 << 20));
        for (json, why) in [
            ("", "can't be read"),
            ("<html>", "can't be read"),
            ("[]", "can't be read"),
            ("{}", "names no os"),
            (r#"{"os":"linux"}"#, "names no architecture"),
            (r#"{"os":"linux","architecture":""}"#, "names no architecture"),
            (r#"{"os":"linux","architecture":"../etc"}"#, r#""../etc""#),
            (r#"{"os":"linux","architecture":"x86 64"}"#, "names no architecture"),
            (r#"{"os":"Linux\n","architecture":"amd64"}"#, r#""Linux\n""#),
            (r#"{"os":7,"architecture":"amd64"}"#, "can't be read"),
            (r#"{"os":"linux","architecture":"amd64","config":{"Labels":[]}}"#, "can't be read"),
            (r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[1]}}"#, "can't be read"),
            (&many, "more than 1024 labels"),
            (&deep, "can't be read"),
            (&long, "names no architecture"),
        ] {
            let refused = parse(json).unwrap_err();
            assert!(refused.contains(why) && refused.len() < 1024, "{refused}");
        }
    }
}
