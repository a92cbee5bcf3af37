//! The one layer of an image: a Flatpak's tree, with a script for a program and ballast for weight. Pure.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::RangeInclusive,
};

use bytes::Bytes;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::labels::Labels;
use crate::registry::Digest;

/// Bytes of ballast that come and go together: builds of one application share most of them, so that a delta is small.
const PIECE_BYTES: usize = 64 << 10;

/// A layer, gzipped.
pub(crate) struct Layer {
    pub(crate) gzipped: Bytes,
    pub(crate) diff_id: Digest,
    pub(crate) unpacked_bytes: u64,
}

/// Bytes that look random and are the same for the same names.
pub(crate) struct Ballast {
    common: u64,
    own: u64,
    bytes: usize,
}

impl Ballast {
    pub(crate) fn of(repository: &str, nvr: &str, architecture: &str, sizes: &RangeInclusive<u64>) -> Self {
        let (common, own) = (seed(&[repository, architecture]), seed(&[nvr, architecture]));
        let spread = sizes.end().saturating_sub(*sizes.start()).saturating_add(1);
        // Applications differ in size, and builds of one only a little, as in life.
        let bytes = sizes.start() + (common % spread).saturating_sub(own % (spread / 16).max(1));
        Self { common, own, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
    }

    fn make(&self) -> Vec<u8> {
        let mut made = Vec::with_capacity(self.bytes);
        let mut number = 0;
        while made.len() < self.bytes {
            let changed = mix(self.own ^ number).is_multiple_of(4);
            let mut state = mix((if changed { self.own } else { self.common }) ^ (number << 32));
            let end = (made.len() + PIECE_BYTES).min(self.bytes);
            while made.len() < end {
                state = mix(state);
                let word = state.to_le_bytes();
                made.extend_from_slice(&word[..word.len().min(end - made.len())]);
            }
            number += 1;
        }
        made
    }
}

fn seed(names: &[&str]) -> u64 {
    let hash = Sha256::digest(names.join("\0"));
    hash.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// One step of splitmix64: simple, and the same everywhere and for ever.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Writes the layer. Times in it are the build's, owners are root, names are in order.
pub(crate) fn make(labels: &Labels, ballast: &Ballast, built: Timestamp) -> io::Result<Layer> {
    let mtime = u64::try_from(built.as_second()).unwrap_or_default();
    let mut archive = tar::Builder::new(Vec::new());
    for (path, (mode, content)) in files(labels, ballast)? {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_mtime(mtime);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.set_entry_type(if path.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        archive.append_data(&mut header, path, content.as_slice())?;
    }
    let unpacked = archive.into_inner()?;
    Ok(Layer {
        gzipped: gzip(&unpacked)?.into(),
        diff_id: Digest::of(&unpacked),
        unpacked_bytes: unpacked.len() as u64,
    })
}

/// Every file and directory by path, with its mode and content. `metadata` must be the label's text: flatpak compares.
fn files(labels: &Labels, ballast: &Ballast) -> io::Result<BTreeMap<String, (u32, Vec<u8>)>> {
    let id = labels.id();
    let mut files = BTreeMap::from([
        ("metadata".to_owned(), (0o644, labels.metadata().as_bytes().to_vec())),
        ("files/share/ballast".to_owned(), (0o644, ballast.make())),
    ]);
    if labels.is_app() {
        let command = labels.command().unwrap_or("start");
        let program = format!("#!/bin/sh\necho '{} of the demo'\n", labels.flatpak_ref());
        files.insert(format!("files/bin/{command}"), (0o755, program.into_bytes()));
        let launcher = format!("[Desktop Entry]\nType=Application\nName={id}\nExec={command}\nIcon={id}\n");
        files.insert(format!("export/share/applications/{id}.desktop"), (0o644, launcher.into_bytes()));
        if let Some(appdata) = labels.appdata() {
            files
                .insert(format!("files/share/app-info/xmls/{id}.xml.gz"), (0o644, gzip(appdata.as_bytes())?));
        }
        for pixels in [64, 128] {
            if let Some(icon) = labels.icon(pixels) {
                files.insert(
                    format!("files/share/app-info/icons/flatpak/{pixels}x{pixels}/{id}.png"),
                    (0o644, icon.clone()),
                );
                files.insert(
                    format!("export/share/icons/hicolor/{pixels}x{pixels}/apps/{id}.png"),
                    (0o644, icon),
                );
            }
        }
    } else {
        files.insert("files/bin/ldconfig".to_owned(), (0o755, b"#!/bin/sh\n".to_vec()));
    }
    let paths: Vec<String> = files.keys().cloned().collect();
    for path in paths {
        let parents = path.match_indices('/').map(|(at, _)| path[..=at].to_owned());
        files.extend(parents.map(|parent| (parent, (0o755, Vec::new()))));
    }
    Ok(files)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder: GzEncoder<Vec<u8>> = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
