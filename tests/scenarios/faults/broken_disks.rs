//! Disks that are full, that can only be read, whose syncs fail: whoever calls is told so, nobody who was acknowledged is
//! lost, and once the disk is well again the service is too. And files that are corrupted: named, and left as they are.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use service_kit::{
    clock::{Clock, Ids, SystemClock},
    config::Chain,
    database::DatabaseUrl,
};
use tillsync_proto::pb::channel::CreatePath;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{
    disk::{Disk, Fault},
    ledger::{has_all, settle},
};
use crate::{
    client::{Headquarters, Store, mint, person, until},
    processes::{Process, free_port},
};

/// What is wrong with a disk, and how a caller learns of it.
const FAULTS: [(Fault, Code, &str); 3] = [
    (Fault::Full, Code::ResourceExhausted, "NO_ROOM"),
    (Fault::ReadOnly, Code::Unavailable, "DATABASE_OUT"),
    (Fault::SyncFails, Code::Unavailable, "DATABASE_OUT"),
];
/// Creates that a disk takes at most after it has become full: what is there already can be written again.
const ROOM: usize = 20_000;

/// Creates until the store refuses; gives the refusal.
async fn until_refused(store: &Store, acknowledged: &mut BTreeSet<Uuid>) -> (Uuid, Status) {
    for _ in 0..ROOM {
        let id = mint();
        match store.create(id, person(&id.simple().to_string())).await {
            Ok(_) => acknowledged.insert(id),
            Err(status) => return (id, status),
        };
    }
    panic!("the store goes on and on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z1_a_store_whose_disk_fails_says_so_loses_nobody_and_serves_again() {
    for (fault, code, reason) in FAULTS {
        let Some(mut disk) = Disk::new("a store's disk") else { return };
        let (port, nowhere) = (free_port(), format!("http://127.0.0.1:{}", free_port()));
        let database = format!("sqlite:{}", disk.data().join("store-1.db").display());
        let arguments = ["channel", &port, &database, "store-1", &nowhere, &nowhere];
        let mut process = Process::start_in(&arguments, disk.environment());
        let store = Store::new("store-1", &format!("http://127.0.0.1:{port}"));
        until("the store answers", async || store.status().await.is_ok()).await;
        let mut acknowledged = BTreeSet::new();
        for _ in 0..2 {
            disk.set(fault);
            let (refused, status) = until_refused(&store, &mut acknowledged).await;
            assert_eq!(status.code(), code, "{fault:?}: {status:?}");
            assert_eq!(service_kit::problem::reason(&status).as_deref(), Some(reason));
            assert!(status.get_details_retry_info().is_some(), "{fault:?}: {status:?}");
            disk.set(Fault::Nothing);
            // The same create under the same GUID, as a till sends it again.
            let again = async || store.create(refused, person(&refused.simple().to_string())).await.is_ok();
            until("the store serves again", again).await;
            acknowledged.insert(refused);
        }
        process.kill();
        disk.cut_all();
        process.start_again();
        until("the store answers", async || store.status().await.is_ok()).await;
        has_all(&store, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m5_headquarters_whose_disk_fails_is_done_without_until_it_serves_again() {
    for (fault, code, _) in FAULTS {
        let Some(disk) = Disk::new("headquarters' disk") else { return };
        let folder = tempfile::tempdir().expect("a folder");
        let (hq_port, port) = (free_port(), free_port());
        let hq_url = format!("http://127.0.0.1:{hq_port}");
        let database = format!("sqlite:{}", disk.data().join("hq.db").display());
        let _hq = Process::start_in(&["hq", &hq_port, &database], disk.environment());
        let database = format!("sqlite:{}", folder.path().join("store-1.db").display());
        let _process = Process::start(&["channel", &port, &database, "store-1", &hq_url, &hq_url]);
        let (hq, store) =
            (Headquarters::new(&hq_url), Store::new("store-1", &format!("http://127.0.0.1:{port}")));
        hq.answers().await;
        until("the store answers", async || store.status().await.is_ok()).await;
        hq.set_mode(&store, false, true).await;

        let mut acknowledged = BTreeSet::new();
        disk.set(fault);
        let mut cause = None;
        for _ in 0..ROOM {
            let id = mint();
            let created =
                store.create(id, person(&id.simple().to_string())).await.expect("the store creates");
            acknowledged.insert(id);
            if created.path() == CreatePath::AsyncFallback {
                cause = Some(created.fallback_cause);
                break;
            }
        }
        assert_eq!(cause.as_deref(), Some(service_kit::problem::code_name(code)), "{fault:?}");
        disk.set(Fault::Nothing);
        settle(&hq, std::slice::from_ref(&store), &acknowledged).await;
    }
}

/// A service in this process.
struct Running {
    stop: CancellationToken,
    serving: JoinHandle<()>,
    store: Store,
}

impl Running {
    async fn channel(database: &Path) -> Result<Self, String> {
        let nowhere = format!("http://127.0.0.1:{}", free_port());
        let id = "store-1".parse().expect("a name");
        let config =
            channel_svc::Config::new(id, DatabaseUrl::Sqlite(database.to_owned()), &nowhere, &nowhere);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids = Ids::from_os(Arc::clone(&clock));
        let channel =
            channel_svc::open(&config, clock, ids).await.map_err(|error| Chain(&error).to_string())?;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let store = Store::new("store-1", &format!("http://{}", listener.local_addr().expect("its address")));
        let stop = CancellationToken::new();
        let token = stop.clone();
        let serving =
            tokio::spawn(
                async move { channel_svc::serve(listener, token, channel).await.expect("it serves") },
            );
        Ok(Self { stop, serving, store })
    }

    async fn stop(self) {
        self.stop.cancel();
        drop(self.store);
        self.serving.await.expect("it ends");
    }
}

/// Overwrites all but the first page, where the schema is.
fn corrupt(file: &Path) -> Vec<u8> {
    let mut content = fs::read(file).expect("a file");
    assert!(content.len() > 2 * 4_096, "there is something to corrupt");
    content[4_096..].fill(0xa5);
    // In place: who has it open sees it.
    let mut options = fs::OpenOptions::new();
    options.write(true);
    std::io::Write::write_all(&mut options.open(file).expect("a file"), &content).expect("it is written");
    content
}

async fn filled(database: &Path) -> BTreeSet<Uuid> {
    let running = Running::channel(database).await.expect("it opens");
    let mut acknowledged = BTreeSet::new();
    for _ in 0..100 {
        let id = mint();
        let created = running.store.create(id, person(&id.simple().to_string())).await;
        created.expect("a create");
        acknowledged.insert(id);
    }
    running.stop().await;
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupted_file_is_named_at_the_start_and_left_as_it_is_and_tables_are_built_again() {
    for name in ["store-1.log.db", "store-1.db"] {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("store-1.db");
        let acknowledged = filled(&database).await;
        let file = folder.path().join(name);
        let corrupted = corrupt(&file);
        let refused = Running::channel(&database).await.map(|_| ()).expect_err("it does not start");
        assert!(refused.contains("corrupted") && refused.contains(&format!("{name} ")), "{refused}");
        assert!(fs::read(&file).expect("the file") == corrupted, "{name} was written to");
        if name == "store-1.db" {
            // As the error says: tables that are moved away are built again from the log.
            assert!(refused.contains("built again"), "{refused}");
            for ending in ["", "-wal", "-shm"] {
                let _ = fs::remove_file(folder.path().join(format!("{name}{ending}")));
            }
            let running = Running::channel(&database).await.expect("it opens");
            has_all(&running.store, &acknowledged).await;
            running.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupted_file_that_is_met_during_work_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("store-1.db");
    filled(&database).await;
    let running = Running::channel(&database).await.expect("it opens");
    let corrupted = corrupt(&database);
    let refused = running.store.customers().await.map(|_| ()).expect_err("the tables are corrupted");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let mut create = Ok(());
    until("nothing more is written", async || {
        let id = mint();
        create = running.store.create(id, person(&id.simple().to_string())).await.map(|_| ());
        create.is_err()
    })
    .await;
    assert_eq!(create.expect_err("refused").code(), Code::Unavailable);
    running.stop().await;
    assert!(fs::read(&database).expect("the file") == corrupted, "the corrupted file was written to");
}
