//! Images that were read before, on disk: an image never changes, so what its digest named once it names for ever.
//!
//! Never needed: a file that is lost, damaged or of another format costs a read from the registry, and nothing is synced.
//! Blocking.

use std::{
    collections::BTreeSet,
    fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flatbus_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::image::Image;

/// What each file begins with. Another number for another format: files of the old one are then read anew.
const FORMAT: &[u8] = b"flatbus-image 1\n";
/// Fast, and what appdata and icons allow: they shrink to a third.
const ZSTD_LEVEL: i32 = 3;
/// Most that a file may unfold to, in bytes: twice the largest config that is read.
const UNFOLDED_BYTES_MAX: u64 = 16 << 20;
/// Where files are written before they get their names.
const UNFINISHED: &str = "unfinished";

/// An image that was read, and where clients were proved to get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The image.
    pub image: Image,
    /// Repositories with their hosts (`quay.io/fedora/eog`) whose manifest of this digest anybody was given.
    pub proved: BTreeSet<String>,
}

/// The images. Clones are the same cache.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: Arc<Path>,
    unfinished: Arc<AtomicU64>,
}

impl Cache {
    /// Opens `<state_dir>/images`, and takes away what a kill left unfinished there. One process at a time.
    ///
    /// # Errors
    /// When the folder can't be made or written.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join("images");
        let unfinished = dir.join(UNFINISHED);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&unfinished, error)),
            _ => fs::create_dir_all(&unfinished).map_err(|error| at(&unfinished, error))?,
        }
        Ok(Self { dir: dir.into(), unfinished: Arc::default() })
    }

    /// The image of a manifest's digest; `None` where it isn't kept, or not as it was written.
    pub fn get(&self, digest: &Digest) -> Option<Image> {
        self.kept(digest).map(|kept| kept.image)
    }

    /// As [`Self::get`], with where clients were proved to get it.
    pub fn kept(&self, digest: &Digest) -> Option<Kept> {
        let kept = unpack(&fs::read(self.path(digest)).ok()?)?;
        (kept.image.digest == *digest).then_some(kept)
    }

    /// Keeps an image, in place of what was kept of it.
    ///
    /// # Errors
    /// When it can't be written. The image is only not kept then.
    pub fn put(&self, kept: &Kept) -> io::Result<()> {
        let path = self.path(&kept.image.digest);
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.dir.join(UNFINISHED).join(number.to_string());
        let placed = pack(kept)
            .and_then(|bytes| fs::write(&unfinished, bytes))
            .and_then(|()| path.parent().map_or(Ok(()), fs::create_dir_all))
            .and_then(|()| fs::rename(&unfinished, &path));
        if placed.is_err() {
            let _ = fs::remove_file(&unfinished); // The space may be what is missing; what failed is told either way.
        }
        placed.map_err(|error| at(&path, error))
    }

    /// Forgets the images that `keep` doesn't hold to, and tells how many they were.
    ///
    /// # Errors
    /// When the folder can't be read or written; what was forgotten until then stays so.
    pub fn sweep(&self, keep: impl Fn(&Digest) -> bool) -> io::Result<usize> {
        let mut swept = 0;
        for (folder, first) in entries(&self.dir)? {
            if first.len() != 2 {
                continue; // Not one of ours, or what is unfinished.
            }
            for (file, rest) in entries(&folder)? {
                let Ok(digest) = format!("sha256:{first}{rest}").parse::<Digest>() else { continue };
                if !keep(&digest) {
                    fs::remove_file(&file).map_err(|error| at(&file, error))?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let (first, rest) = hex.split_at(2);
        self.dir.join(first).join(rest)
    }
}

/// What stands in a folder, with the names that are text.
fn entries(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let named = |entry: fs::DirEntry| Some((entry.path(), entry.file_name().into_string().ok()?));
    let read = || fs::read_dir(folder)?.map(|entry| entry.map(named)).collect::<io::Result<Vec<_>>>();
    let listed = read().map_err(|error| at(folder, error))?;
    Ok(listed.into_iter().flatten().collect())
}

/// The checksum is zstd's own, over what is unfolded.
fn pack(kept: &Kept) -> io::Result<Vec<u8>> {
    let mut packer = zstd::stream::Encoder::new(FORMAT.to_vec(), ZSTD_LEVEL)?;
    packer.include_checksum(true)?;
    packer.write_all(&serde_json::to_vec(kept)?)?;
    packer.finish()
}

fn unpack(bytes: &[u8]) -> Option<Kept> {
    let packed = bytes.strip_prefix(FORMAT)?;
    let mut json = Vec::new();
    let unpacker = zstd::stream::Decoder::with_buffer(packed).ok()?;
    unpacker.take(UNFOLDED_BYTES_MAX).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str) -> Kept {
        let labels = [("org.flatpak.ref".to_owned(), format!("app/org.gnome.{name}/x86_64/stable"))];
        let image = Image {
            digest: Digest::of(name.as_bytes()),
            media_type: flatbus_oci::manifest::OCI_MANIFEST.to_owned(),
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            labels: labels.into(),
            diff_id: Some(Digest::of(b"layer")),
        };
        Kept { image, proved: ["quay.io/fedora/eog".to_owned()].into() }
    }

    fn world() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        (dir, cache)
    }

    #[test]
    fn an_image_is_read_as_it_was_kept_also_by_the_next_process() {
        let (dir, cache) = world();
        let eog = kept("eog");
        assert_eq!(cache.get(&eog.image.digest), None);
        cache.put(&eog).unwrap();
        cache.put(&eog).unwrap();
        let next = Cache::open(dir.path()).unwrap();
        assert_eq!(next.kept(&eog.image.digest), Some(eog.clone()));
        assert_eq!(next.get(&eog.image.digest), Some(eog.image.clone()));
        let hex = eog.image.digest.hex();
        assert!(dir.path().join("images").join(&hex[..2]).join(&hex[2..]).is_file());
    }

    #[test]
    fn a_torn_or_damaged_file_is_no_image() {
        let (_dir, cache) = world();
        let eog = kept("eog");
        cache.put(&eog).unwrap();
        let path = cache.path(&eog.image.digest);
        let whole = fs::read(&path).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert_eq!(cache.kept(&eog.image.digest), None, "torn at {end}");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, damaged).unwrap();
            let read = cache.kept(&eog.image.digest); // A bit that says nothing of the content may well be another.
            assert!(read.is_none() || read.as_ref() == Some(&eog), "bit {bit} gives {read:?}");
        }
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert_eq!(cache.kept(&eog.image.digest), None);
    }

    #[test]
    fn a_file_of_another_format_or_another_digest_is_no_image() {
        let (_dir, cache) = world();
        let (eog, loupe) = (kept("eog"), kept("loupe"));
        cache.put(&eog).unwrap();
        cache.put(&loupe).unwrap();
        fs::copy(cache.path(&loupe.image.digest), cache.path(&eog.image.digest)).unwrap();
        assert_eq!(cache.kept(&eog.image.digest), None);
        let packed = pack(&eog).unwrap();
        let other = [b"flatbus-image 2\n", &packed[FORMAT.len()..]].concat();
        fs::write(cache.path(&eog.image.digest), other).unwrap();
        assert_eq!(cache.kept(&eog.image.digest), None);
        fs::write(cache.path(&eog.image.digest), "{}").unwrap();
        assert_eq!(cache.kept(&eog.image.digest), None);
    }

    #[test]
    fn a_file_that_unfolds_without_end_is_no_image() {
        let (_dir, cache) = world();
        let digest = Digest::of(b"eog");
        cache.put(&kept("eog")).unwrap();
        let spaces = vec![b' '; usize::try_from(UNFOLDED_BYTES_MAX).unwrap() + 1];
        let packed = zstd::stream::encode_all(&spaces[..], ZSTD_LEVEL).unwrap();
        fs::write(cache.path(&digest), [FORMAT, &packed].concat()).unwrap();
        assert_eq!(cache.kept(&digest), None);
    }

    #[test]
    fn what_nobody_holds_to_is_swept_and_nothing_else() {
        let (dir, cache) = world();
        let (eog, loupe) = (kept("eog"), kept("loupe"));
        cache.put(&eog).unwrap();
        cache.put(&loupe).unwrap();
        fs::write(dir.path().join("images/README"), "by hand").unwrap();
        fs::create_dir(dir.path().join("images/zz")).unwrap();
        fs::write(dir.path().join("images/zz/README"), "by hand").unwrap();
        assert_eq!(cache.sweep(|digest| *digest == eog.image.digest).unwrap(), 1);
        assert_eq!(cache.get(&loupe.image.digest), None);
        assert_eq!(cache.get(&eog.image.digest), Some(eog.image));
        assert!(dir.path().join("images/README").is_file());
        assert!(dir.path().join("images/zz/README").is_file());
        assert_eq!(cache.sweep(|_| true).unwrap(), 0);
    }

    #[test]
    fn what_a_kill_left_unfinished_is_taken_away() {
        let (dir, _) = world();
        let left = dir.path().join("images").join(UNFINISHED).join("7");
        fs::write(&left, "half").unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        assert!(!left.exists());
        cache.put(&kept("eog")).unwrap();
    }

    #[test]
    fn an_image_that_cannot_be_kept_is_told_with_its_place() {
        let (dir, cache) = world();
        fs::remove_dir_all(dir.path().join("images")).unwrap();
        fs::write(dir.path().join("images"), "a file").unwrap();
        let error = cache.put(&kept("eog")).unwrap_err().to_string();
        assert!(error.contains("images/"), "{error}");
        assert!(cache.sweep(|_| false).is_err());
    }
}
