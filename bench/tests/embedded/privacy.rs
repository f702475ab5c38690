//! Nobody is in what the harness writes (rule Z5): results, reports, tables, the terminal, the log down to the finest level.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};

/// Runs tillsync in a folder, with its databases there too; gives what it has said.
fn said(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut tillsync = Command::new(env!("CARGO_BIN_EXE_tillsync"));
    let ended = tillsync.args(arguments).current_dir(folder).env("TMPDIR", folder.join("kept")).output();
    let ended = ended.unwrap();
    // 2 and 3: a goal was missed, or the machine was too busy to tell.
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.code() < Some(4), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    said
}

/// Every file in a folder, however deep.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What was entered of everybody that headquarters has: names, e-mails, phones, streets.
async fn entered(database: &Path) -> BTreeSet<String> {
    let url = format!("sqlite:{}", database.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let bodies: Vec<String> =
        sqlx::query_scalar("select body from customers").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let mut entered = BTreeSet::new();
    for body in bodies {
        let customer: Value = serde_json::from_str(&body).unwrap();
        let (content, mut add) =
            (&customer["content"], |text: String| entered.insert(text.to_ascii_lowercase()));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        match &content["party"]["person"] {
            Value::Null => add(text(&content["party"]["organization"]["name"])),
            person => add(format!("{} {}", text(&person["first_name"]), text(&person["last_name"]))),
        };
        for contact in content["contacts"].as_array().unwrap() {
            add(text(&contact["value"]));
        }
        for address in content["addresses"].as_array().unwrap() {
            add(text(&address["street"]));
        }
    }
    entered
}

/// One of them that stands in some bytes. Looked for by how they all begin: a log is long, and they are many.
fn found<'a>(entered: &'a BTreeSet<String>, bytes: &[u8]) -> Option<&'a String> {
    let text = bytes.to_ascii_lowercase();
    let shortest = entered.iter().map(String::len).min().unwrap();
    assert!(shortest > 3, "nobody is found by chance");
    let begin: HashSet<&[u8]> = entered.iter().map(|one| &one.as_bytes()[..shortest]).collect();
    let mut places =
        (0..text.len()).filter(|at| text.get(*at..at + shortest).is_some_and(|some| begin.contains(some)));
    places.find_map(|at| entered.iter().find(|one| text[at..].starts_with(one.as_bytes())))
}

#[tokio::test]
async fn z5_nobody_is_in_what_the_harness_writes_or_says() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, written) = (folder.path().join("kept"), folder.path().join("written"));
    fs::create_dir_all(&kept).unwrap();
    let mut spoken = Vec::new();
    // Above what headquarters serves: what fails is told too.
    for (out, level) in [("written/before", "trace"), ("written/after", "info")] {
        let compare = ["compare", "--rates", "150", "--seconds", "0.5", "--warmup", "0", "--sample", "20"];
        let how = ["--modes", "sync,async", "--keep", "--log", level, "--out", out];
        spoken.push(said(folder.path(), &[&compare[..], &how].concat()));
    }
    let results = ["written/before/result.json", "written/after/result.json"];
    spoken.push(said(folder.path(), &[&["diff"], &results[..], &["--junit", "written/diff.xml"]].concat()));
    spoken.push(said(folder.path(), &[&["report"], &results[..], &["--out", "written/both.html"]].concat()));

    let databases: Vec<PathBuf> = files(&kept).into_iter().filter(|file| file.ends_with("hq.db")).collect();
    let [first, second] = databases.as_slice() else { panic!("{databases:?}") };
    let mut entered_here = entered(first).await;
    entered_here.extend(entered(second).await);
    assert!(entered_here.len() > 500, "{} entries", entered_here.len());
    for database in [first, second] {
        assert!(found(&entered_here, &fs::read(database).unwrap()).is_some(), "it is found where it is");
    }
    assert!(spoken[0].len() > 20_000, "much was logged: {}", spoken[0].len());
    for said in &spoken {
        assert_eq!(found(&entered_here, said), None, "in the terminal");
    }
    let written = files(&written);
    for kind in ["json", "csv", "xml", "html", "txt"] {
        assert!(written.iter().any(|file| file.extension().is_some_and(|ext| ext == kind)), "{written:?}");
    }
    for file in written {
        assert_eq!(found(&entered_here, &fs::read(&file).unwrap()), None, "in {}", file.display());
    }
}
