//! Both kinds of files keep the same promises.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

async fn conforms(files: &dyn Files) {
    assert!(files.list().unwrap().is_empty());
    let one = files.put(b"one".to_vec()).await.unwrap();
    assert_eq!(one, FileName::of(b"one"));
    assert_eq!(files.put(b"one".to_vec()).await.unwrap(), one, "twice is harmless");
    let two = files.put(vec![0; FILE_BYTES_MAX]).await.unwrap();
    let mut names = [one, two];
    names.sort_unstable();
    assert_eq!(files.list().unwrap(), names);
    assert_eq!(files.get(one).unwrap().as_deref(), Some(b"one".as_slice()));
    assert_eq!(files.get(FileName::of(b"never")).unwrap(), None);
    files.remove(one).unwrap();
    files.remove(one).unwrap();
    assert_eq!(files.get(one).unwrap(), None);
    assert_eq!(files.list().unwrap(), [two]);
    assert!(files.put(vec![0; FILE_BYTES_MAX + 1]).await.is_err());
    assert_eq!(files.list().unwrap(), [two], "what was refused leaves nothing");
}

fn on_disk() -> (TempDir, DirFiles) {
    let temp = tempfile::tempdir().unwrap();
    let files = DirFiles::open(&temp.path().join("files")).unwrap();
    (temp, files)
}

fn names(dir: &Path) -> usize {
    fs::read_dir(dir.join("files")).unwrap().count()
}

#[tokio::test]
async fn files_in_memory_conform() {
    conforms(&MemoryFiles::new()).await;
}

#[tokio::test]
async fn files_on_disk_conform() {
    let (temp, files) = on_disk();
    conforms(&files).await;
    assert_eq!(names(temp.path()), 1);
}

#[test]
fn a_file_that_can_not_be_removed_is_told() {
    let (temp, files) = on_disk();
    let name = FileName::of(b"one");
    fs::create_dir(temp.path().join("files").join(name.to_string())).unwrap();
    assert!(files.remove(name).is_err());
}

#[test]
fn files_on_disk_work_without_a_runtime() {
    let (_temp, files) = on_disk();
    let name = futures::FutureExt::now_or_never(files.put(b"one".to_vec())).unwrap().unwrap();
    assert!(files.get(name).unwrap().is_some());
}

#[tokio::test]
async fn what_a_killed_process_left_unfinished_is_neither_listed_nor_kept() {
    let (temp, files) = on_disk();
    fs::write(temp.path().join("files/unfinished-7"), b"half").unwrap();
    assert!(files.list().unwrap().is_empty());
    DirFiles::open(&temp.path().join("files")).unwrap();
    assert_eq!(names(temp.path()), 0);
}

#[tokio::test]
async fn a_damaged_file_counts_as_none_and_can_be_put_again() {
    let (temp, files) = on_disk();
    let name = files.put(b"whole".to_vec()).await.unwrap();
    fs::write(temp.path().join("files").join(name.to_string()), b"who").unwrap();
    assert_eq!(files.get(name).unwrap(), None);
    files.put(b"whole".to_vec()).await.unwrap();
    assert_eq!(files.get(name).unwrap().as_deref(), Some(b"whole".as_slice()));
}

#[test]
fn names_come_back_from_their_text_and_nothing_else_does() {
    let name = FileName::of(b"one");
    assert_eq!(name.to_string().parse(), Ok(name));
    for text in [
        "",
        "..",
        "../../etc/passwd",
        &name.to_string().to_uppercase(),
        &name.to_string()[1..],
        &"é".repeat(32),
    ] {
        assert_eq!(text.parse::<FileName>(), Err(NotAFileName), "{text}");
    }
}
