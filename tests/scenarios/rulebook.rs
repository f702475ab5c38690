//! docs/rulebook.md, checked: every rule is there, every file exists, and every test that cites a rule is listed.

use std::{collections::BTreeMap, fs};

use crate::architecture::{files, root};

const PAGE: &str = "docs/rulebook.md";
/// Sections 2 to 10 of the rulebook: letter, first and last number.
const RULES: [(char, u32, u32); 10] = [
    ('M', 1, 12),
    ('L', 1, 5),
    ('E', 0, 4),
    ('F', 1, 3),
    ('O', 1, 4),
    ('X', 1, 11),
    ('S', 1, 3),
    ('C', 1, 5),
    ('R', 1, 8),
    ('B', 1, 10),
];

/// The rules that a test's name cites: `l1_l2_a_pending…` cites L1 and L2.
fn cited(test: &str) -> impl Iterator<Item = String> {
    let is_rule = |part: &&str| {
        let (letter, number) = part.split_at(part.len().min(1));
        !letter.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    test.split('_').take_while(is_rule).map(str::to_uppercase)
}

/// Each rule's tests, by name.
fn tests() -> BTreeMap<String, Vec<String>> {
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in ["proto", "service-kit", "channel-svc", "hq-svc", "rts-emulator", "bench", "tests"] {
        for (_, text) in files(folder, "rs") {
            for line in text.lines() {
                let name = line.split_once("fn ").and_then(|(_, rest)| rest.split(['(', '<']).next());
                for rule in name.into_iter().flat_map(cited) {
                    tests.entry(rule).or_default().push(name.unwrap_or_default().to_owned());
                }
            }
        }
    }
    for names in tests.values_mut() {
        names.sort_unstable();
        names.dedup();
    }
    tests
}

#[test]
fn the_rulebooks_page_tells_the_truth() {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page");
    let tests = tests();
    let mut rules = RULES
        .iter()
        .flat_map(|(letter, first, last)| (*first..=*last).map(move |number| format!("{letter}{number}")));
    let mut written = String::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [rule, says, code, ..] = cells[..] else {
            written += &format!("{line}\n");
            continue;
        };
        if rule == "rule" {
            written += &format!("{line}\n");
            continue;
        }
        assert_eq!(rules.next().as_deref(), Some(rule), "every rule, in order");
        for file in code.split(", ").filter(|file| *file != "not yet") {
            assert!(root().join(file.trim_matches('`')).is_file(), "{rule}: {file} is no file");
        }
        let proofs = tests.get(rule).map(|names| names.iter().map(|name| format!("`{name}`")));
        let proofs = proofs.map_or("not yet".to_owned(), |names| names.collect::<Vec<_>>().join("<br>"));
        written += &format!("| {rule} | {says} | {code} | {proofs} |\n");
    }
    assert_eq!(rules.next(), None, "every rule has a row");
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(root().join(PAGE), &written).expect("the page is written");
    } else {
        assert!(page == written, "{PAGE} is stale: run this test with WRITE_DOCS=1");
    }
}
