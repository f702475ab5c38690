//! Customers whose every personal field holds a mark that nothing else holds, and a search for it in whatever was written.

use std::path::Path;

use service_kit::database::DatabaseUrl;
use tillsync_proto::pb::common::{
    Address, Attribute, Contact, ContactKind, Customer, Person, attribute::Value, customer::Party,
};

use crate::restored::{Data, text, tool};

/// A customer with the mark everywhere; `mark` is lower case letters, so that folding leaves it as it is. Phones have
/// `digits`.
pub fn marked(mark: &str, digits: &str) -> Customer {
    let contact = |kind: ContactKind, value: String, primary| Contact {
        kind: kind.into(),
        value,
        primary,
        ..Contact::default()
    };
    Customer {
        party: Some(Party::Person(Person {
            title: format!("T{mark}"),
            first_name: format!("F{mark}"),
            middle_name: format!("M{mark}"),
            last_name: format!("L{mark}"),
        })),
        tax_id: format!("tax-{mark}"),
        receipt_email: format!("receipt-{mark}@example.com"),
        contacts: vec![
            contact(ContactKind::Email, format!("{mark}@example.com"), true),
            contact(ContactKind::Email, format!("second-{mark}@example.com"), false),
            contact(ContactKind::Phone, format!("+49 {digits}"), true),
        ],
        addresses: vec![address(mark)],
        affiliations: vec![format!("a-{mark}")],
        attributes: vec![Attribute {
            name: "note".to_owned(),
            value: Some(Value::Text(format!("note {mark}"))),
        }],
        ..Customer::default()
    }
}

/// An address with the mark everywhere.
pub fn address(mark: &str) -> Address {
    Address {
        label: format!("label {mark}"),
        street: format!("street {mark}"),
        city: format!("city {mark}"),
        state: mark.to_owned(),
        postal_code: mark.chars().take(10).collect(),
        ..Address::default()
    }
}

/// Where the bytes have one of the marks, in any case, as they are or in hexadecimal digits; with some of what stands around it.
pub fn found(bytes: &[u8], marks: &[&str]) -> Option<String> {
    let lower = bytes.to_ascii_lowercase();
    let hex = |mark: &str| mark.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut forms = marks.iter().flat_map(|mark| [(*mark).to_owned(), hex(mark)]);
    forms.find_map(|form| {
        let at = lower.windows(form.len()).position(|window| window == form.as_bytes())?;
        let around = &bytes[at.saturating_sub(120)..(at + 120).min(bytes.len())];
        Some(String::from_utf8_lossy(around).into_owned())
    })
}

/// The same in a file, and its write-ahead log.
pub fn found_in_file(path: &Path, marks: &[&str]) -> Option<String> {
    let read = std::fs::read(path).unwrap_or_default();
    found(&read, marks).map(|around| format!("{}: {around}", path.display()))
}

/// The same in a database: every file of it, or everything that a dump of it holds.
pub fn found_in(data: &Data, marks: &[&str]) -> Option<String> {
    match data.parsed() {
        DatabaseUrl::Sqlite(path) => {
            let folder = path.parent().expect("a folder");
            let mut files = std::fs::read_dir(folder).expect("the folder").flatten();
            files.find_map(|file| found_in_file(&file.path(), marks))
        }
        DatabaseUrl::Postgres(url) => {
            let dump = data.folder.path().join("dump.sql");
            tool("pg_dump", &["-f", text(&dump), &url]);
            found_in_file(&dump, marks)
        }
    }
}
