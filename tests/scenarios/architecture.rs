//! ARCHITECTURE.md, checked: who may use whom, and what stands nowhere else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;

/// A file beyond this many lines is no longer one room.
const MAX_FILE_LINES: usize = 450;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every file below a folder with this ending, with its path from the workspace's root and its text.
pub fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == ending) {
                let name = entry.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&entry).expect("text")));
            }
        }
    }
    assert!(!found.is_empty(), "no .{ending} below {folder}");
    found
}

/// The crates a crate depends on, tests aside.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    let section = manifest.split("\n[dependencies]\n").nth(1).expect("dependencies");
    let section = section.split("\n[").next().expect("its end");
    let name = |line: &str| line.split(['.', ' ', '=']).next().map(str::to_owned);
    section.lines().filter(|line| !line.trim().is_empty()).filter_map(name).collect()
}

#[test]
fn who_may_use_whom() {
    let rules: [(&str, &[&str]); 5] = [
        ("proto", &["tokio", "sqlx", "service-kit", "channel-svc", "hq-svc", "rts-emulator", "tillsync"]),
        ("service-kit", &["tillsync-proto", "channel-svc", "hq-svc", "rts-emulator", "tillsync"]),
        ("channel-svc", &["hq-svc", "rts-emulator", "tillsync"]),
        ("hq-svc", &["channel-svc", "rts-emulator", "tillsync"]),
        ("rts-emulator", &["sqlx", "channel-svc", "hq-svc", "tillsync"]),
    ];
    for (folder, never) in rules {
        let used = dependencies(folder);
        assert!(!used.is_empty());
        for never in never {
            assert!(!used.contains(*never), "{folder} uses {never}");
        }
    }
}

/// Whether a line of code has a text that is not the end of a longer word.
fn has(line: &str, text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !line.trim().starts_with("//") && line.match_indices(text).any(|(at, _)| !line[..at].ends_with(word))
}

/// Asserts that a text stands in no file of a folder but those that are allowed.
fn only_in(folder: &str, text: &str, allowed: impl Fn(&str) -> bool) {
    for (name, content) in files(folder, "rs") {
        if let Some(line) = content.lines().position(|line| has(line, text)) {
            assert!(allowed(&name), "{name}:{} has `{text}`", line + 1);
        }
    }
}

#[test]
fn sql_stands_in_the_store() {
    for service in ["channel-svc/src", "hq-svc/src"] {
        for text in ["sqlx::query", "QueryBuilder", "begin_with"] {
            only_in(service, text, |name| name.contains("/store/") || name.ends_with("/store.rs"));
        }
    }
}

#[test]
fn status_codes_stand_in_one_table() {
    for service in ["channel-svc/src", "hq-svc/src", "rts-emulator/src"] {
        // Tests look at what came out.
        only_in(service, "Code::", |name| name.ends_with("/status.rs") || name.contains("test"));
    }
}

#[test]
fn r4_the_model_is_plain_logic() {
    for text in ["tokio", "tonic", "std::time::Instant", "SystemTime", "std::thread", "async fn", ".await"] {
        only_in("rts-emulator/src/model", text, |_| false);
    }
}

#[test]
fn the_emulator_is_no_part_of_a_service() {
    for service in ["channel-svc/src", "hq-svc/src", "service-kit/src", "proto/src"] {
        only_in(service, "rts_emulator", |_| false);
        only_in(service, "pb::emulator::", |_| false);
    }
}

#[test]
fn every_file_is_one_room() {
    for folder in ["proto", "service-kit", "channel-svc", "hq-svc", "rts-emulator", "bench", "tests"] {
        for (name, content) in files(folder, "rs") {
            let lines = content.lines().count();
            assert!(lines <= MAX_FILE_LINES || name.contains("test"), "{name} has {lines} lines");
        }
    }
}

#[test]
fn every_part_of_the_contract_is_compiled() {
    let compiled =
        prost_types::FileDescriptorSet::decode(tillsync_proto::pb::DESCRIPTORS).expect("descriptors");
    let compiled: BTreeSet<String> =
        compiled.file.iter().map(|file| format!("proto/{}", file.name())).collect();
    for (name, _) in files("proto/tillsync", "proto") {
        assert!(compiled.contains(&name), "{name} is not compiled");
    }
}
