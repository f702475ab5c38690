//! Nonsense, made of sense: examples of everything that is read from outside are cut, joined and changed by chance, and what
//! makes a reader say something that it has not said before is changed further. No panic, no memory beyond a bound. Examples
//! and what was found stand in `tests/corpus`; what makes a reader panic is put there.
//! `FUZZ_SECONDS=3600 SEED=7 cargo test -p tillsync-tests --test scenarios fuzz -- --nocapture`

use std::{
    collections::BTreeSet,
    fmt::Display,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};

use prost::Message as _;
use service_kit::clock::{Clock as _, SystemClock};
use tillsync::trace::Trace;
use tillsync_proto::{Criterion, CustomerId, CustomerRef, PageToken, Violations, convert, pb::common};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use super::{Chance, raw};
use crate::{
    architecture::root,
    client::{Headquarters, Store, person, setting, until},
    processes::{Process, free_port},
};

/// Longest input, and most inputs of a target that are changed further.
const MAX_INPUT: usize = 16 << 10;
const MAX_KEPT: usize = 2_000;

/// Something that reads what comes from outside: its name, examples, and what it says of an input.
struct Target {
    name: &'static str,
    examples: Vec<Vec<u8>>,
    read: fn(&[u8]) -> String,
}

/// Reads what somebody searches for.
type Reader = fn(&str) -> Result<Criterion, Violations>;

/// What a reader says, without the numbers in it.
fn said<T, E: Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| plain(&error.to_string()), |_| "read".to_owned())
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).take(120).collect()
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Decodes a message, reads it, and says what came of both.
fn decoded<M: prost::Message + Default, T, E: Display>(
    bytes: &[u8],
    read: impl Fn(M) -> Result<T, E>,
) -> String {
    M::decode(bytes).map_or_else(|error| plain(&error.to_string()), |message| said(read(message)))
}

fn examples<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// A customer with everything that it can have.
fn customer() -> common::Customer {
    let mut customer = person("fuzz");
    customer.customer_id = Uuid::from_u128(7).to_string();
    customer.account_number = "C000001".to_owned();
    customer.addresses = vec![common::Address {
        address_id: Uuid::from_u128(8).to_string(),
        street: "Street 1".to_owned(),
        city: "Town".to_owned(),
        ..common::Address::default()
    }];
    customer.affiliations = vec!["gold".to_owned()];
    customer
}

fn operation() -> common::Operation {
    common::Operation {
        customer_id: Uuid::from_u128(7).to_string(),
        counter: 1,
        change: Some(common::operation::Change::Create(customer())),
        ..common::Operation::default()
    }
}

/// What comes as protobuf.
fn messages() -> Vec<Target> {
    let timeout = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let profile =
        common::FunctionalityProfile { rts_timeout: timeout, ..common::FunctionalityProfile::default() };
    vec![
        Target {
            name: "customer",
            examples: vec![customer().encode_to_vec()],
            read: |bytes| {
                let id = CustomerId(Uuid::from_u128(7));
                decoded(bytes, |wire: common::Customer| {
                    convert::content(id, wire).map(|content| content.fingerprint())
                }) + &decoded(bytes, convert::customer)
                    + &decoded(bytes, |wire: common::Customer| convert::update(id, wire, None).map(|_| ()))
            },
        },
        Target {
            name: "operation",
            examples: vec![operation().encode_to_vec()],
            read: |bytes| decoded(bytes, convert::operation),
        },
        Target {
            name: "profile",
            examples: vec![profile.encode_to_vec()],
            read: |bytes| decoded(bytes, |wire: common::FunctionalityProfile| convert::profile(&wire)),
        },
        Target {
            name: "settings",
            examples: vec![
                common::AttributeDefinition {
                    name: "size".to_owned(),
                    minimum: "1".to_owned(),
                    ..Default::default()
                }
                .encode_to_vec(),
                common::Schedule { job: 1, ..Default::default() }.encode_to_vec(),
                common::JobRun { job: 1, ..Default::default() }.encode_to_vec(),
            ],
            read: |bytes| {
                decoded(bytes, |wire: common::AttributeDefinition| convert::attribute_definition(&wire))
                    + &decoded(bytes, |wire: common::Schedule| convert::schedule(&wire))
                    + &decoded(bytes, |wire: common::JobRun| convert::job_run(wire, "run"))
            },
        },
    ]
}

/// What comes as text.
fn texts() -> Vec<Target> {
    vec![
        Target {
            name: "search",
            examples: examples([
                "Ann Müller-Łódź",
                "ann@example.com",
                "+49 (0)30 123-456",
                "C000001",
                "ﬁ ⅷ Ⅻ",
            ]),
            read: |bytes| {
                let text = text(bytes);
                let read: [Reader; 5] = [
                    Criterion::name,
                    Criterion::email,
                    Criterion::phone,
                    Criterion::account,
                    Criterion::card,
                ];
                let _ = (tillsync_proto::fold(&text), tillsync_proto::search::words(&text));
                read.map(|read| said(read(&text))).concat()
            },
        },
        Target {
            name: "tokens",
            examples: vec![
                PageToken::new("q", Uuid::from_u128(7)).to_string().into_bytes(),
                Uuid::from_u128(7).to_string().into_bytes(),
                b"store-1".to_vec(),
                b"C000001".to_vec(),
            ],
            read: |bytes| {
                let text = text(bytes);
                said(PageToken::parse("q", &text))
                    + &said(PageToken::parse_number("q", &text))
                    + &said(text.parse::<CustomerRef>())
                    + &said(convert::channel_id(&text))
                    + &said(tillsync_proto::id::parse_guid(&text))
            },
        },
        Target {
            name: "options",
            examples: examples([
                "sqlite:a.db",
                "postgres://u:p@h/d",
                "https://till.example",
                "C######",
                "[::1]:1",
            ]),
            read: |bytes| {
                let text = text(bytes);
                said(text.parse::<service_kit::database::DatabaseUrl>())
                    + &said(text.parse::<service_kit::web::Origin>())
                    + &said(text.parse::<hq_svc::NumberFormat>())
            },
        },
    ]
}

/// What comes in files.
fn recorded() -> Vec<Target> {
    let profiles = rts_emulator::profile::PRESETS.iter().map(|(_, text)| text.as_bytes().to_vec());
    vec![
        Target {
            name: "emulator",
            examples: profiles.collect(),
            read: |bytes| said(rts_emulator::Profile::parse(&text(bytes))),
        },
        Target {
            name: "calls",
            examples: examples([
                "# a note\nstart_ms,duration_ms,status\n23.087,47.6,OK\n",
                "start_s,duration_s,status\n1,2,OK\n",
            ]),
            read: |bytes| said(rts_emulator::calibrate::Observed::parse(&text(bytes))),
        },
        Target {
            name: "trace",
            examples: examples([
                "# first arrival: 2010-12-01T08:26:00Z\noffset_ms,store\n0,GB\n480000,GB\n",
                "offset_ms,store\n0,a\n18446744073709551615,b\n",
            ]),
            read: |bytes| {
                let text = text(bytes);
                let busiest = || Trace::parse(&text)?.day("busiest".parse().expect("a day"));
                said(Trace::parse(&text).map(|trace| trace.by_hour())) + &said(busiest())
            },
        },
    ]
}

fn corpus(target: &str) -> PathBuf {
    root().join("tests/corpus").join(target)
}

/// What is kept of a target.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let Ok(folder) = fs::read_dir(corpus(target)) else { return Vec::new() };
    folder.map(|entry| fs::read(entry.expect("an entry").path()).expect("an input")).collect()
}

fn keep(target: &str, input: &[u8]) -> PathBuf {
    let path = corpus(target).join(Uuid::new_v5(&Uuid::NAMESPACE_OID, input).simple().to_string());
    fs::create_dir_all(corpus(target)).expect("a folder");
    fs::write(&path, input).expect("it is kept");
    path
}

/// A few changes by chance: bytes, numbers at their ends, parts that go, come twice or come from another input.
fn changed(from: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = from[chance.below(from.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        let end = (at + chance.below(32)).min(input.len());
        match chance.below(7) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][chance.below(5)],
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end].repeat(1 + chance.below(40));
                input.splice(at..at, part);
            }
            4 => {
                let other = &from[chance.below(from.len())];
                let start = chance.below(other.len() + 1);
                let stop = (start + chance.below(64)).min(other.len());
                input.splice(at..end, other[start..stop].iter().copied());
            }
            5 => {
                let pieces: [&[u8]; 8] = [
                    b"\0",
                    b"-1",
                    b"1e400",
                    b"18446744073709551616",
                    "\u{202e}ß".as_bytes(),
                    b"\xf0\x9f",
                    b"nan",
                    b"\n",
                ];
                input.splice(at..at, pieces[chance.below(8)].iter().copied());
            }
            _ => input.truncate(at),
        }
    }
    input.truncate(MAX_INPUT);
    input
}

#[test]
fn z1_readers_refuse_nonsense_and_never_panic() {
    let seconds = setting("FUZZ_SECONDS", 3_u64);
    let write = setting("WRITE_CORPUS", 0_usize);
    let mut chance = Chance::of(setting("SEED", 1));
    let targets: Vec<Target> = [messages(), texts(), recorded()].into_iter().flatten().collect();
    let span = Duration::from_secs(seconds) / targets.len() as u32;
    for Target { name, examples, read } in targets {
        let mut pool: Vec<Vec<u8>> = examples.into_iter().chain(kept(name)).collect();
        let (mut heard, mut tried, mut wrote) = (BTreeSet::new(), 0_u64, 0);
        let mut look = |input: &[u8]| {
            let looked = catch_unwind(AssertUnwindSafe(|| read(input)));
            let said =
                looked.unwrap_or_else(|_| panic!("{name} panics; see {}", keep(name, input).display()));
            heard.insert(said)
        };
        for input in &pool {
            look(input);
        }
        let begin = SystemClock.now();
        while begin.elapsed() < span {
            let input = changed(&pool, &mut chance);
            tried += 1;
            if look(&input) && pool.len() < MAX_KEPT {
                if wrote < write && input.len() < 1_024 {
                    keep(name, &input);
                    wrote += 1;
                }
                pool.push(input);
            }
        }
        println!("{name}: {tried} inputs, {} answers, no panic", heard.len());
    }
}

/// Every method of the contract.
fn paths() -> Vec<String> {
    let compiled =
        prost_types::FileDescriptorSet::decode(tillsync_proto::pb::DESCRIPTORS).expect("descriptors");
    let mut paths = Vec::new();
    for file in compiled.file {
        for service in &file.service {
            let path = |method: &prost_types::MethodDescriptorProto| {
                format!("/{}.{}/{}", file.package(), service.name(), method.name())
            };
            paths.extend(service.method.iter().map(path));
        }
    }
    paths.extend(
        ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
            .map(str::to_owned),
    );
    paths
}

/// Says it on a connection of its own, and hears a little of the answer.
async fn say(address: &str, what: &[u8]) {
    let Ok(mut connection) = TcpStream::connect(address).await else { return };
    let talk = async {
        connection.write_all(what).await?;
        connection.shutdown().await?;
        let mut answer = [0; 4_096];
        while connection.read(&mut answer).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    let _ = timeout(Duration::from_millis(200), talk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z1_services_survive_hostile_frames() {
    let seconds = Duration::from_secs(setting("FUZZ_SECONDS", 3));
    let mut chance = Chance::of(setting("SEED", 1));
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (hq_port, port) = (free_port(), free_port());
    let (hq_url, url) = (format!("http://127.0.0.1:{hq_port}"), format!("http://127.0.0.1:{port}"));
    let mut processes = [
        Process::start(&["hq", &hq_port, &file("hq.db")]),
        Process::start(&["channel", &port, &file("store-1.db"), "store-1", &hq_url, &hq_url]),
    ];
    let (hq, store) = (Headquarters::new(&hq_url), Store::new("store-1", &url));
    hq.answers().await;
    until("the store answers", async || store.status().await.is_ok()).await;

    let create = tillsync_proto::pb::channel::CreateCustomerRequest {
        customer: Some(customer()),
        ..Default::default()
    };
    let upload = tillsync_proto::pb::hq::UploadOperationsRequest {
        channel_id: "store-2".to_owned(),
        operations: vec![operation()],
        epoch: "01a3185e-bb0c-76a4-adb6-e20a773b5ac2".to_owned(),
    };
    let contents = [Vec::new(), create.encode_to_vec(), customer().encode_to_vec(), upload.encode_to_vec()];
    let contents: Vec<Vec<u8>> = contents.into_iter().chain(kept("contents")).collect();
    let paths = paths();
    let (begin, mut said) = (SystemClock.now(), 0_u64);
    while begin.elapsed() < seconds {
        for _ in 0..50 {
            let path = &paths[chance.below(paths.len())];
            // Either frames as they should be around nonsense, or nonsense of frames.
            let mut session = raw::preface();
            for call in 0..1 + chance.below(3) as u32 {
                session.extend(raw::call(2 * call + 1, path, &changed(&contents, &mut chance)));
            }
            if chance.percent(40) {
                session = changed(&[session, raw::preface()], &mut chance);
            }
            said += 1;
            for port in [&hq_port, &port] {
                say(&format!("127.0.0.1:{port}"), &session).await;
            }
        }
        for process in &mut processes {
            // A panic anywhere in a service under test ends it.
            assert!(!process.has_ended(), "a service has ended after {said} sessions");
        }
    }
    hq.answers().await;
    until("the store answers", async || store.status().await.is_ok()).await;
    let peak = processes.iter().map(Process::peak_memory_mib).max().unwrap_or_default();
    println!("{said} hostile sessions at each of two services, no panic, {peak} MiB at most");
    assert!(peak < 512, "{peak} MiB");
}
