//! What one store and its headquarters can do, measured small: how fast is for the commands to show, on a machine of their
//! own.

use clap::Parser as _;
use tillsync::{
    channels,
    cli::{Cli, Command},
    costs, drain, report,
    searches::{self, SearchesArgs},
    shelter, steady,
};

fn command(arguments: &[&str]) -> Command {
    Cli::try_parse_from(["tillsync"].iter().chain(arguments)).unwrap().command.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_that_wait_become_real_and_come_to_a_store_that_joins() {
    let drain = command(&["drain", "--one-process", "--customers", "1000"]);
    let Command::Drain(args) = drain else { panic!("the drain was asked for") };
    let found = drain::measure(&args).await.unwrap();
    let parts = [&found.created, &found.drained, found.joined.as_ref().unwrap()];
    assert!(parts.iter().all(|part| part.customers >= 1_000 && part.per_s > 0.0), "{found:?}");
    assert!(found.uploaded_after_s <= found.drained.seconds && found.real_after_s <= found.drained.seconds);
    assert!(found.inserts_per_s.iter().all(|rate| *rate > 0.0));
    assert!(Cli::try_parse_from(["tillsync", "drain", "--customers", "-1"]).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_are_found_among_others_while_some_are_created() {
    let searches = command(&[
        "searches",
        "--one-process",
        "--customers",
        "1000",
        "--creates",
        "50",
        "--seconds",
        "0.25",
    ]);
    let Command::Searches(args) = searches else { panic!("searches were asked for") };
    let found = searches::measure(&args).await.unwrap();
    assert!(found.len() == 1 && found[0].customers >= 1_000 && found[0].creates_per_s > 0.0, "{found:?}");
    assert!(found[0].to_empty.median > 0.0, "{found:?}");
    for search in &found[0].searches {
        assert!(search.answer_ms.count > 0 && search.missed == 0, "{search:?}");
    }
    let unsorted = SearchesArgs { customers: vec![2_000, 1_000], ..args };
    assert!(searches::measure(&unsorted).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_keeps_up_is_seen_from_its_tables_and_from_who_waits() {
    for (jobs, waits) in [(&[][..], true), (&["--jobs"][..], false)] {
        let arguments = ["steady", "--one-process", "--creates", "100", "--seconds", "2"];
        let Command::Steady(args) = command(&[&arguments[..], jobs].concat()) else {
            panic!("a steady rate was asked for")
        };
        let found = steady::measure(&args).await.unwrap();
        assert!(found.create_ms.count > 100 && found.failed == 0 && found.empty_per_s > 0.0, "{found:?}");
        // The tables are made a second after the log at most, and never in the same instant.
        assert!(found.course.behind_s > 0.0 && found.course.rss_bytes[2] > 0.0, "{found:?}");
        // Without the exchange nobody gets a number, so everybody waits.
        let waiting = found.course.waiting[1];
        assert!(if waits { waiting > 100 } else { waiting < found.create_ms.count }, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x7_every_simulated_channel_is_told_of_every_customer_once() {
    let channels = command(&[
        "channels",
        "--one-process",
        "--channels",
        "20",
        "--creates",
        "40",
        "--seconds",
        "2",
        "--warmup",
        "1",
    ]);
    let Command::Channels(args) = channels else { panic!("channels were asked for") };
    let found = channels::measure(&args).await.unwrap();
    assert!(found.customers > 0 && found.told_per_s > 0.0, "{found:?}");
    assert!(found.calls.iter().all(|calls| calls.failed == 0 && calls.per_s > 0.0), "{found:?}");
    assert!(Cli::try_parse_from(["tillsync", "channels", "--channels", "0"]).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_table_has_a_line_for_each_database() {
    let mut arguments = vec!["costs", "--one-process", "--rounds", "1", "--seconds", "0.25"];
    let postgresql = service_kit::testing::postgres("cost table").await.is_some();
    arguments.extend(["--databases", if postgresql { "sqlite,standby-apply" } else { "sqlite" }]);
    let Command::Costs(args) = command(&arguments) else { panic!("costs were asked for") };
    let found = costs::measure(&args).await.unwrap();
    assert_eq!(found.stores.len(), args.databases.len());
    for store in &found.stores {
        assert!(
            store.create_per_s.median > 0.0 && store.create_ms.count > 0 && store.failed == 0,
            "{store:?}"
        );
        assert!(
            store.written_bytes.is_some_and(|bytes| bytes > 100.0) && store.store_cpu_us > 0.0,
            "{store:?}"
        );
    }
    assert!(report::costs(&found).contains("SQLite"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m8_async_creates_are_answered_whatever_headquarters_does() {
    let shelter = command(&[
        "shelter",
        "--one-process",
        "--creates",
        "50",
        "--seconds",
        "0.5",
        "--rounds",
        "1",
        "--customers",
        "1000",
        "--calls",
        "10",
    ]);
    let Command::Shelter(args) = shelter else { panic!("shelter was asked for") };
    let found = shelter::measure(&args).await.unwrap();
    assert_eq!(found.beside.len(), 4);
    assert!(found.beside.iter().all(|beside| beside.failed == 0 && beside.p50_ms.median > 0.0), "{found:?}");
    assert!(found.alone.sync_ms.p50 > Some(0.0) && found.alone.hq_ms.count == 10, "{found:?}");
}
