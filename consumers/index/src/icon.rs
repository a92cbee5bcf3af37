//! Icons out of the labels that carry them, into files that are named by their content.
//!
//! What is published was decoded to its last pixel here: a hostile or broken picture is refused with its reason. Never
//! changes a picture's bytes.

use std::{
    fs::{self, File},
    io::{self, Cursor, Write as _},
    panic::{UnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use base64::{
    Engine as _,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use flatbus_oci::Digest;

/// The labels that carry icons.
pub const LABELS: [&str; 2] = ["org.freedesktop.appstream.icon-64", "org.freedesktop.appstream.icon-128"];

/// Largest icon, in bytes. Known ones have 5 to 15 KiB.
pub const ICON_BYTES_MAX: usize = 256 << 10;
/// Widest and highest icon, in pixels.
const ICON_PIXELS_MAX: u32 = 512;
/// Most memory for one while it is decoded, beside its pixels (at most 2 MiB), in bytes.
const DECODER_BYTES_MAX: usize = 4 << 20;

/// How clients know an icon from an address.
const DATA: &str = "data:";
/// The one kind of data that they take, spelled so and not otherwise.
const PNG: &str = "data:image/png;base64,";

/// A picture that decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icon {
    /// Of its bytes.
    pub digest: Digest,
    /// A PNG file.
    pub bytes: Vec<u8>,
}

/// Why a label's icon is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIcon {
    /// Clients refuse it too.
    #[error("it is data of another kind than image/png;base64")]
    OtherKind,
    /// The text is damaged.
    #[error("its base64 can't be decoded: {why}")]
    NotBase64 {
        /// What the decoder said.
        why: String,
    },
    /// More bytes than any icon needs.
    #[error("it has {bytes} bytes, at most {ICON_BYTES_MAX} are taken")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// More pixels than any icon needs, or none.
    #[error("it has {width} x {height} pixels, at most {ICON_PIXELS_MAX} x {ICON_PIXELS_MAX} are taken")]
    Dimensions {
        /// As its header says.
        width: u32,
        /// As its header says.
        height: u32,
    },
    /// No picture, or a damaged one.
    #[error("it is no PNG that can be decoded: {why}")]
    NotPng {
        /// What the decoder said.
        why: String,
    },
}

/// The icon that a label carries; `None` where the label is an address, which stays as it is.
///
/// # Errors
/// When the label carries something that is no sound icon. It is better left away then.
pub fn decode(uri: &str) -> Result<Option<Icon>, BadIcon> {
    let Some(text) = uri.strip_prefix(PNG) else {
        return if uri.starts_with(DATA) { Err(BadIcon::OtherKind) } else { Ok(None) };
    };
    let bytes = from_base64(text)?;
    if bytes.len() > ICON_BYTES_MAX {
        return Err(BadIcon::TooLarge { bytes: bytes.len() });
    }
    guarded(|| check_png(&bytes))?;
    Ok(Some(Icon { digest: Digest::of(&bytes), bytes }))
}

/// Where an icon stands below the site's folder: `icons/<2 hex>/<62 hex>.png`.
pub fn path(digest: &Digest) -> String {
    let hex = digest.hex();
    let (first, rest) = hex.split_at(2);
    format!("icons/{first}/{rest}.png")
}

/// Puts an icon into the site, whole and for good; `false` where it stood there already. Blocking.
///
/// # Errors
/// When it can't be written; nothing stands in its place then.
pub fn store(site_dir: &Path, icon: &Icon) -> io::Result<bool> {
    let path = site_dir.join(path(&icon.digest));
    store_at(site_dir, &path, icon).map_err(|error| {
        io::Error::new(error.kind(), format!("the icon {} can't be stored: {error}", path.display()))
    })
}

fn store_at(site_dir: &Path, path: &Path, icon: &Icon) -> io::Result<bool> {
    // One that has its name was whole and synced when it got it.
    if fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == icon.bytes.len() as u64) {
        return Ok(false);
    }
    let hex = icon.digest.hex();
    let folder = made(&made(site_dir, "icons")?, &hex[..2])?;
    let unfinished = folder.join(unfinished(&hex));
    let placed = write_synced(&unfinished, &icon.bytes).and_then(|()| fs::rename(&unfinished, path));
    if placed.is_err() {
        let _ = fs::remove_file(&unfinished); // The space may be what is missing; what failed is told either way.
    }
    placed?;
    File::open(&folder)?.sync_all()?;
    Ok(true)
}

/// A name of its own for every writer, so that none breaks off into another's file. The numbers begin anew with each
/// process: what a kill left is written over by whoever comes to the same icon.
fn unfinished(hex: &str) -> String {
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    format!(".{hex}.{}", WRITERS.fetch_add(1, Ordering::Relaxed))
}

/// The folder of this name, made if need be.
fn made(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = parent.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => File::open(parent)?.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(folder)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Strictly first. Then as clients do: GLib's `g_base64_decode` passes over every byte that is not in the alphabet (line
/// ends, spaces, whatever), and doesn't insist on padding. What it would cut short without padding is read whole here.
fn from_base64(text: &str) -> Result<Vec<u8>, BadIcon> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    STANDARD.decode(text).or_else(|_| {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        let text: Vec<u8> = text.bytes().filter(known).collect();
        LENIENT.decode(text).map_err(|error| BadIcon::NotBase64 { why: error.to_string() })
    })
}

/// Decodes all of it, checksums too, and throws the pixels away.
fn check_png(bytes: &[u8]) -> Result<(), BadIcon> {
    let limits = png::Limits { bytes: DECODER_BYTES_MAX };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.ignore_checksums(false);
    let header = decoder.read_header_info()?;
    let (width, height) = (header.width, header.height);
    if width > ICON_PIXELS_MAX || height > ICON_PIXELS_MAX {
        return Err(BadIcon::Dimensions { width, height });
    }
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size().ok_or(BadIcon::Dimensions { width, height })?;
    reader.next_frame(&mut vec![0; size])?;
    reader.finish()?;
    check_palette(reader.info())
}

/// The decoder doesn't look.
fn check_palette(info: &png::Info<'_>) -> Result<(), BadIcon> {
    let colours = info.palette.as_deref().unwrap_or_default().len();
    let needed = info.color_type == png::ColorType::Indexed;
    if (needed && colours == 0) || !colours.is_multiple_of(3) || colours > 3 * 256 {
        return Err(BadIcon::NotPng { why: format!("its palette has {colours} bytes") });
    }
    Ok(())
}

/// Others' code on a stranger's bytes: where the decoder panics, the icon is lost and nothing else.
fn guarded(check: impl FnOnce() -> Result<(), BadIcon> + UnwindSafe) -> Result<(), BadIcon> {
    catch_unwind(check).unwrap_or_else(|_| Err(BadIcon::NotPng { why: "the decoder broke off".to_owned() }))
}

impl From<png::DecodingError> for BadIcon {
    fn from(error: png::DecodingError) -> Self {
        Self::NotPng { why: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32, color: png::ColorType, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(pixels).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn grey(width: u32, height: u32) -> Vec<u8> {
        png(width, height, png::ColorType::Grayscale, &vec![7; (width * height) as usize])
    }

    fn uri(bytes: &[u8]) -> String {
        format!("{PNG}{}", STANDARD.encode(bytes))
    }

    fn real() -> Vec<String> {
        let archives =
            include_str!("../../../schemas/samples/koji/archives/eog-stable-3620220905044417.1.json");
        let archives: Vec<serde_json::Value> = serde_json::from_str(archives).unwrap();
        let labels = archives.iter().map(|archive| &archive["extra"]["docker"]["config"]["config"]["Labels"]);
        let texts = labels.flat_map(|labels| LABELS.map(|name| labels[name].as_str().map(str::to_owned)));
        texts.flatten().collect()
    }

    #[test]
    fn real_icons_are_taken_as_they_are() {
        let real = real();
        assert_eq!(real.len(), 4);
        for text in real {
            let icon = decode(&text).unwrap().unwrap();
            assert!(icon.bytes.starts_with(b"\x89PNG"));
            assert_eq!(text, uri(&icon.bytes));
            assert_eq!(icon.digest, Digest::of(&icon.bytes));
        }
    }

    #[test]
    fn an_address_stays_as_it_is() {
        for text in ["https://flatpaks.example/icons/a.png", "/icons/ab/c.png", ""] {
            assert_eq!(decode(text), Ok(None));
        }
    }

    #[test]
    fn base64_is_read_as_clients_read_it() {
        let icon = grey(3, 3);
        let text = uri(&icon);
        let (head, tail) = text.split_at(40);
        let wrapped = format!("{head}\r\n {tail}\n");
        let unpadded = text.trim_end_matches('=').to_owned();
        for text in [text, wrapped, unpadded] {
            assert_eq!(decode(&text).unwrap().unwrap().bytes, icon, "{text}");
        }
    }

    #[test]
    fn other_data_is_refused() {
        for text in [
            "data:",
            "data:image/svg+xml;base64,PHN2Zy8+",
            "data:image/png,abc",
            "data:image/png;charset=x;base64,",
        ] {
            assert_eq!(decode(text), Err(BadIcon::OtherKind), "{text}");
        }
        for text in ["", "=", "====", "A", "AAAA=AAA", "PHN2Zy8+", "\u{0}\u{fffd}"] {
            let refused = decode(&format!("{PNG}{text}"));
            assert!(
                matches!(refused, Err(BadIcon::NotBase64 { .. } | BadIcon::NotPng { .. })),
                "{text}: {refused:?}"
            );
        }
    }

    #[test]
    fn icons_have_a_largest_size() {
        assert!(decode(&uri(&grey(512, 512))).unwrap().is_some());
        let wide = decode(&uri(&grey(513, 1)));
        assert_eq!(wide, Err(BadIcon::Dimensions { width: 513, height: 1 }));
        let high = decode(&uri(&grey(1, 513)));
        assert_eq!(high, Err(BadIcon::Dimensions { width: 1, height: 513 }));
        let bytes = ICON_BYTES_MAX + 1;
        assert_eq!(decode(&uri(&vec![0; bytes])), Err(BadIcon::TooLarge { bytes }));
    }

    /// A chunk as it stands in a PNG; its checksum is right.
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(png::chunk::ChunkType(*kind), data).unwrap();
        std::mem::forget(writer); // It would write the end of the image.
        bytes.split_off(33) // The signature and the header.
    }

    #[test]
    fn a_header_that_promises_the_sky_costs_nothing() {
        let mut header = [u32::MAX >> 1, u32::MAX >> 1].map(u32::to_be_bytes).concat();
        header.extend([16, 6, 0, 0, 0]);
        let bomb = [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header)].concat();
        assert!(matches!(decode(&uri(&bomb)), Err(BadIcon::Dimensions { .. } | BadIcon::NotPng { .. })));
    }

    #[test]
    fn a_broken_picture_is_refused_wherever_it_breaks() {
        let whole = real().pop().and_then(|text| decode(&text).unwrap()).unwrap().bytes;
        for end in (0..whole.len()).step_by(61).chain(whole.len() - 12..whole.len()) {
            assert!(decode(&uri(&whole[..end])).is_err(), "cut at {end}");
        }
        for at in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let _ = decode(&uri(&damaged)); // Refused or not (checksums of what is no picture are nobody's): no panic.
        }
        let small = grey(8, 8);
        let data = small.windows(4).position(|four| four == b"IDAT").unwrap();
        for at in (8..33).chain(data..small.len()) {
            let mut damaged = small.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&uri(&damaged)).is_err(), "damaged at {at}");
        }
    }

    #[test]
    fn a_palette_is_whole_colours_and_there_where_it_is_needed() {
        let indexed = |palette: &[u8]| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
            encoder.set_color(png::ColorType::Indexed);
            encoder.set_palette(palette.to_vec());
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(&[0; 16]).unwrap();
            writer.finish().unwrap();
            bytes
        };
        let bytes = indexed(&[1, 2, 3]);
        assert!(decode(&uri(&bytes)).unwrap().is_some());
        for broken in [&[1, 2, 3, 4][..], &[1, 2, 3, 4, 5], &[0; 771]] {
            let refused = decode(&uri(&indexed(broken)));
            assert!(matches!(refused, Err(BadIcon::NotPng { .. })), "{}: {refused:?}", broken.len());
        }
        let palette = bytes.windows(4).position(|four| four == b"PLTE").unwrap() - 4;
        let without = [&bytes[..palette], &bytes[palette + 15..]].concat();
        assert!(decode(&uri(&without)).is_err());
    }

    #[test]
    fn a_decoder_that_panics_costs_the_icon_and_nothing_else() {
        let refused =
            guarded(|| panic!("as png 0.18.1 does on half a colour, if it is told to expand palettes"));
        assert!(matches!(refused, Err(BadIcon::NotPng { .. })));
    }

    #[test]
    fn an_icon_is_stored_once() {
        let site = tempfile::tempdir().unwrap();
        let icon = decode(&uri(&grey(8, 8))).unwrap().unwrap();
        assert!(store(site.path(), &icon).unwrap());
        assert!(!store(site.path(), &icon).unwrap());
        let hex = icon.digest.hex();
        assert_eq!(path(&icon.digest), format!("icons/{}/{}.png", &hex[..2], &hex[2..]));
        assert_eq!(fs::read(site.path().join(path(&icon.digest))).unwrap(), icon.bytes);
        let folder = site.path().join("icons").join(&hex[..2]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn an_icon_of_another_size_is_replaced() {
        let site = tempfile::tempdir().unwrap();
        let icon = decode(&uri(&grey(8, 8))).unwrap().unwrap();
        store(site.path(), &icon).unwrap();
        let path = site.path().join(path(&icon.digest));
        fs::write(&path, "torn").unwrap();
        assert!(store(site.path(), &icon).unwrap());
        assert_eq!(fs::read(&path).unwrap(), icon.bytes);
    }

    #[test]
    fn an_icon_that_cannot_be_stored_is_told_with_its_place() {
        let site = tempfile::tempdir().unwrap();
        let icon = decode(&uri(&grey(8, 8))).unwrap().unwrap();
        let nowhere = store(&site.path().join("missing"), &icon).unwrap_err();
        assert!(nowhere.to_string().contains(&path(&icon.digest)), "{nowhere}");
        fs::create_dir_all(site.path().join(path(&icon.digest))).unwrap();
        store(site.path(), &icon).unwrap_err();
        let folder = site.path().join(path(&icon.digest));
        let left = fs::read_dir(folder.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing unfinished is left");
    }
}
