//! Files in a folder of this host.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use super::{
    super::{DeliveryFailure, Destination, ObjectOptions, Objects},
    parcel, refused,
};

fn folder(path: &Path) -> Destination {
    let url = url::Url::from_directory_path(path).unwrap();
    Destination::Objects(Objects::new(url.as_str(), ObjectOptions::default()).unwrap())
}

/// All files below, by their paths.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                files.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[tokio::test]
async fn files_are_there_under_their_names() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("with space");
    fs::create_dir(&root).unwrap();
    let mut folder = folder(&root);
    for (name, body) in [
        ("a/year=2026/b.log.gz", "one"),
        ("c", ""),
        ("a/year=2026/b.log.gz", "two"),
    ] {
        folder.deliver(&parcel(name, body)).await.unwrap();
    }
    let expected = [("a/year=2026/b.log.gz", "two"), ("c", "")];
    let expected = expected.map(|(name, body)| (name.to_owned(), body.as_bytes().to_vec()));
    assert_eq!(files(&root), expected.into());
}

#[tokio::test]
async fn a_folder_that_vanishes_is_missed_and_not_made_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("mount");
    let mut folder = folder(&root);
    let parcel = parcel("a/b", "one");
    let words = ["/mount/a/b ", "No such file", "mount it"];
    refused(&mut folder, &parcel, DeliveryFailure::AccessError, &words).await;
    fs::create_dir(&root).unwrap();
    folder.deliver(&parcel).await.unwrap();
    fs::remove_dir_all(&root).unwrap();
    refused(&mut folder, &parcel, DeliveryFailure::AccessError, &words).await;
    assert!(!root.exists());
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("file");
    fs::write(&root, "").unwrap();
    let words = ["/file/a ", "Not a directory"];
    refused(
        &mut folder(&root),
        &parcel("a", "one"),
        DeliveryFailure::AccessError,
        &words,
    )
    .await;
}

/// A small file system of its own; needs root.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(path: &'a Path, options: &str) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(path).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0).status().unwrap();
    }
}

#[tokio::test]
async fn a_full_file_system_is_an_error_until_there_is_room() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(scratch.path(), "size=64k") else {
        eprintln!("skipped: mounting needs root");
        return;
    };
    let mut folder = folder(scratch.path());
    folder.deliver(&parcel("a", vec![1; 50_000])).await.unwrap();
    let second = parcel("b", vec![2; 50_000]);
    let words = ["/b ", "No space left", "make room"];
    refused(&mut folder, &second, DeliveryFailure::Unknown, &words).await;
    // Nothing half is left.
    assert_eq!(files(scratch.path()).into_keys().collect::<Vec<_>>(), ["a"]);
    fs::remove_file(scratch.path().join("a")).unwrap();
    folder.deliver(&second).await.unwrap();
    assert_eq!(
        files(scratch.path()),
        BTreeMap::from([("b".to_owned(), vec![2; 50_000])])
    );
}

#[tokio::test]
async fn a_file_system_that_is_not_written_to_is_an_access_error() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(scratch.path(), "ro") else {
        eprintln!("skipped: mounting needs root");
        return;
    };
    let mut folder = folder(scratch.path());
    let words = ["/a ", "Read-only", "to be written to"];
    refused(
        &mut folder,
        &parcel("a", "one"),
        DeliveryFailure::AccessError,
        &words,
    )
    .await;
}
