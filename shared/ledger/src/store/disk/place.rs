//! Where the store lies: on a network file system, locks and syncs do not hold what they promise.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::StoreError;

/// What this process has mounted.
const MOUNTS: &str = "/proc/self/mounts";

/// File systems whose disk is another machine's.
const NETWORK_KINDS: [&str; 18] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fuse.ceph",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
];

/// Refuses a folder on a network file system. Where the mounts can't be read nothing is known, and nothing refused.
pub(super) fn refuse_network(dir: &Path) -> Result<(), StoreError> {
    let dir = fs::canonicalize(dir).map_err(|error| StoreError::from_io(dir, error))?;
    let Ok(mounts) = fs::read(MOUNTS) else { return Ok(()) };
    match kind_of(&mounts, &dir) {
        Some(kind) if NETWORK_KINDS.contains(&kind.as_str()) => {
            Err(StoreError::NetworkFs { path: dir, kind })
        }
        Some(_) | None => Ok(()),
    }
}

/// The kind of the file system a path is on: the longest mount point above it; of equals the last, which covers the rest.
fn kind_of(mounts: &[u8], path: &Path) -> Option<String> {
    let lines = mounts.split(|byte| *byte == b'\n');
    let above = lines.filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(1);
        let (point, kind) = (unescaped(fields.next()?), fields.next()?);
        path.starts_with(&point)
            .then(|| (point.components().count(), String::from_utf8_lossy(kind).into_owned()))
    });
    above.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// A mount point as the kernel writes it: spaces and such as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| {
            digits
                .iter()
                .try_fold(0u32, |sum, digit| char::from(*digit).to_digit(8).map(|digit| sum * 8 + digit))
        });
        match octal.and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"/dev/vda / ext4 rw 0 0\n\
        server:/export /srv nfs4 rw 0 0\n\
        tmpfs /srv/local tmpfs rw 0 0\n\
        //host/share /mnt/my\\040share cifs rw 0 0\n\
        /dev/vdb /data ext4 rw 0 0\n\
        me@host:/ /data fuse.sshfs rw 0 0\n\
        broken line\n";

    #[test]
    fn the_longest_mount_point_above_a_path_tells_its_kind() {
        let kind = |path: &str| kind_of(MOUNTS, Path::new(path)).unwrap();
        assert_eq!(kind("/var/lib/flatbus"), "ext4");
        assert_eq!(kind("/srv/flatbus"), "nfs4");
        assert_eq!(kind("/srvother"), "ext4");
        assert_eq!(kind("/srv/local/flatbus"), "tmpfs");
        assert_eq!(kind("/mnt/my share/x"), "cifs");
        assert_eq!(kind("/data/x"), "fuse.sshfs", "the later mount covers the earlier");
        assert_eq!(kind_of(b"", Path::new("/")), None);
    }

    #[test]
    fn the_folder_for_temporary_files_is_local() {
        assert!(refuse_network(&std::env::temp_dir()).is_ok());
    }
}
