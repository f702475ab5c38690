//! What an administrator and a till do from a shell, on a real chain.

use std::{path::Path, sync::Arc};

use clap::Parser as _;
use service_kit::clock::{Clock, SystemClock};
use tillsync::{
    chain,
    cli::{Cli, Command},
    embedded::{Embedded, Place, Wanted},
    error::Error,
    shell,
};

struct Chain {
    services: Embedded,
    _folder: tempfile::TempDir,
}

impl Chain {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let profile = rts_emulator::Profile::default();
        let services = Embedded::start(
            Wanted { profile, channels: 2, ..Wanted::new(Place::Here, folder.path()) },
            &clock,
        )
        .await
        .unwrap();
        Self { services, _folder: folder }
    }

    /// Does what a command line says, and gives what it prints.
    async fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        let addresses = &self.services.addresses;
        let cli = match arguments[0] {
            "customer" => {
                [&["tillsync", "customer", "--channel", &addresses.channels[0]], &arguments[1..]].concat()
            }
            command => {
                let hq = addresses.hq.as_deref().unwrap();
                [&["tillsync", command, "--hq", hq], &arguments[1..]].concat()
            }
        };
        match Cli::try_parse_from(&cli).unwrap_or_else(|error| panic!("{cli:?}: {error}")).command {
            Some(Command::Hq(args)) => shell::hq::answer(args).await,
            Some(Command::Customer(args)) => shell::customer::answer(args).await,
            Some(Command::Doctor(args)) => Ok(shell::doctor::answer(args).await?.0),
            other => panic!("{other:?}"),
        }
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).await.unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// Asks again and again, until the answer holds a text.
    async fn until(&self, arguments: &[&str], text: &str) -> String {
        let asking = async {
            loop {
                let answer = self.run(arguments).await.unwrap_or_default();
                if answer.contains(text) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(30);
        tokio::time::timeout(patience, asking)
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} never says {text}"))
    }
}

/// The cell of a line that begins with a word.
fn cell<'a>(text: &'a str, line: &str) -> &'a str {
    let found =
        text.lines().find(|there| there.starts_with(line)).unwrap_or_else(|| panic!("{line}: {text}"));
    found[line.len()..].trim()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_chain_is_run_from_a_shell() {
    let chain = Chain::start().await;
    // A till.
    let created = chain
        .ok(&["customer", "create", "--first", "Ann", "--last", "Shell", "--email", "a@example.com"])
        .await;
    assert!(created.contains("sync: headquarters was asked"), "{created}");
    let id = cell(&created, "GUID").to_owned();
    let account = cell(&created, "account").to_owned();
    assert!(account.starts_with("C-"));
    assert!(chain.ok(&["customer", "find", "--name", "shell"]).await.contains(&id));
    let edited = chain.ok(&["customer", "edit", &account, "last_name=Renamed", "tax_id=DE1"]).await;
    assert_eq!((cell(&edited, "name"), cell(&edited, "tax id")), ("Ann Renamed", "DE1"));
    let moved = chain.ok(&["customer", "address", &id, "city=Oslo", "street=Main 1"]).await;
    let address = cell(&moved, "address").rsplit("  ").next().unwrap().to_owned();
    let gone = chain.ok(&["customer", "address", &id, "--id", &address, "--deactivate"]).await;
    assert!(cell(&gone, "address").contains("deactivated"));
    assert!(chain.ok(&["customer", "card", &id]).await.contains("L-00000001"));
    // An administrator.
    let refused = chain.run(&["hq", "flag", "E3", "on"]).await.unwrap_err().to_string();
    assert!(refused.contains("FLAGS_IN_THE_WAY; lifted by switching E0, E1, E2 on"), "{refused}");
    for flag in ["E0", "E1", "E2", "E3", "E4"] {
        chain.ok(&["hq", "flag", flag, "on"]).await;
    }
    chain.ok(&["hq", "profile", "store-1", "--async", "on", "--default", "currency=EUR"]).await;
    chain.until(&["hq", "run", "1070", "store-1"], "applied").await;
    chain.until(&["hq", "run", "1110", "store-1"], "applied").await;
    let created = chain.ok(&["customer", "create", "--first", "Bob", "--last", "Pending"]).await;
    assert!(created.contains("async: in the log") && cell(&created, "currency") == "EUR", "{created}");
    let bob = cell(&created, "GUID").to_owned();
    chain.ok(&["customer", "edit", &bob, "phone=+49 30 1"]).await;
    chain.until(&["hq", "operations", "--customer", &bob, "--status", "succeeded"], "contacts").await;
    chain.until(&["customer", "get", &bob], "C-").await;
    assert!(chain.ok(&["hq", "sequence", "cards", "K-####", "--block", "10"]).await.contains("blocks of 10"));
    let defined =
        chain.ok(&["hq", "attribute", "age", "--type", "integer", "--min", "0", "--max", "150"]).await;
    assert!(defined.contains("0 to 150"), "{defined}");
    assert!(!chain.ok(&["hq", "attribute", "age", "--remove"]).await.contains("age"));
    assert!(chain.ok(&["hq", "schedule", "1010", "--hold", "on"]).await.contains("held"));
    assert!(chain.ok(&["hq", "sessions"]).await.contains("customer-sync"));
    assert!(chain.ok(&["hq", "duplicates"]).await.contains("other customer"));
    assert!(chain.ok(&["hq", "status"]).await.contains("store-2"));
    let refused = chain.run(&["hq", "correct", "store-1", "1", "last_name=x"]).await.unwrap_err().to_string();
    assert!(refused.contains("no failed operation"), "{refused}");
    let findings = chain.ok(&["doctor", "--customer", &bob]).await;
    assert!(findings.contains("Does headquarters know the customer?"), "{findings}");
    let json = chain.ok(&["doctor", "--json"]).await;
    assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_array());
    // Nonsense.
    for (arguments, named) in [
        (&["customer", "edit", &id, "shoe_size=43"][..], "shoe_size"),
        (&["hq", "flag", "E9", "on"], "E9"),
        (&["hq", "profile", "store-1", "--default", "tax_id=1"], "tax_id"),
        (&["customer", "get", "nobody"], "NOT_FOUND"),
        (&["customer", "create", "--first", "x", "--email", "nonsense"], "INVALID_FIELD"),
    ] {
        let error = chain.run(arguments).await.unwrap_err().to_string();
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
    chain.services.stop().await;
}

#[tokio::test]
async fn z1_a_command_that_nobody_answers_says_what_to_do() {
    let nobody = "http://127.0.0.1:1";
    let cli = Cli::try_parse_from(["tillsync", "doctor", "--hq", nobody]).unwrap();
    let Some(Command::Doctor(args)) = cli.command else { panic!("the doctor was asked for") };
    let error = shell::doctor::answer(args).await.unwrap_err();
    assert!(
        error.to_string().contains("headquarters does not answer at http://127.0.0.1:1; `tillsync up`"),
        "{error}"
    );
    let error = Cli::try_parse_from(["tillsync", "hq"]).unwrap_err();
    assert!(error.to_string().contains("synchronize"), "a group of commands lists them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z1_a_chain_on_a_port_that_is_taken_touches_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("chain");
    let (port, dir) = (port.to_string(), data.to_str().unwrap());
    let cli = Cli::try_parse_from(["tillsync", "up", "--port", &port, "--dir", dir]).unwrap();
    let Some(Command::Up(args)) = cli.command else { panic!("up was asked for") };
    let error = chain::up(args).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    assert!(!Path::new(dir).exists());
}
