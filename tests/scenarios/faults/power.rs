//! The power fails, over and over, at moments that a seed chooses: processes are killed, and of what they had not synced
//! any part is thrown away, whole writes or sectors of them, names of files too. What was acknowledged must be there.
//! `DROPS=300 SEED=7 cargo test -p tillsync-tests --test scenarios power_fails -- --nocapture`

use std::{collections::BTreeSet, time::Duration};

use service_kit::clock::{Clock as _, SystemClock};
use tokio::time::sleep;

use super::{
    Chance,
    disk::{Disk, Fault, Lost},
    ledger::{has_all, missing, settle},
};
use crate::{
    client::{Headquarters, Store, mint, person, setting, until},
    processes::{Process, Tills, free_port},
};

/// Drops between two looks at the ledger; each chain is a new one.
const ROUND: usize = 20;

/// Pause of a till between two creates: a service that is gone is what is looked at, not one that is busy.
const PAUSE: Duration = Duration::from_millis(60);

/// Headquarters, an async store and a sync store, each on SQLite files on a disk of its own.
struct Chain {
    processes: Vec<(Process, Disk)>,
    hq: Headquarters,
    stores: [Store; 2],
}

impl Chain {
    async fn start(test: &str) -> Option<Self> {
        let ports = [free_port(), free_port(), free_port()];
        let [hq, first, second] = ports.each_ref().map(|port| format!("http://127.0.0.1:{port}"));
        let mut processes = Vec::new();
        for (port, id) in ports.iter().zip(["hq", "store-1", "store-2"]) {
            let disk = Disk::new(test)?;
            let database = format!("sqlite:{}", disk.data().join(format!("{id}.db")).display());
            let arguments: &[&str] = match id {
                "hq" => &["hq", port, &database],
                _ => &["channel", port, &database, id, &hq, &hq],
            };
            processes.push((Process::start_in(arguments, disk.environment()), disk));
        }
        let stores = [("store-1", first), ("store-2", second)].map(|(id, url)| Store::new(id, &url));
        let hq = Headquarters::new(&hq);
        hq.answers().await;
        for (store, create_async) in stores.iter().zip([true, false]) {
            until("the store answers", async || store.status().await.is_ok()).await;
            hq.set_mode(store, create_async, true).await;
        }
        Some(Self { processes, hq, stores })
    }

    /// The power of these fails; it comes back, and they have to start on what remains.
    async fn cut(&mut self, victims: &[usize], chance: &mut Chance) -> Lost {
        let mut lost = Lost::default();
        for &victim in victims {
            self.processes[victim].0.kill();
        }
        for &victim in victims {
            let (process, disk) = &mut self.processes[victim];
            let Lost { unsynced, sectors } = disk.cut(chance);
            (lost.unsynced, lost.sectors) = (lost.unsynced + unsynced, lost.sectors + sectors);
            process.start_again();
        }
        for &victim in victims {
            let process = &mut self.processes[victim].0;
            let stores = &self.stores;
            let hq = &self.hq;
            until("it starts on what remains", async || {
                assert!(
                    !process.has_ended(),
                    "process {victim} does not start on what the power cut has left"
                );
                match victim {
                    0 => {
                        hq.admin.clone().get_status(tillsync_proto::pb::hq::GetStatusRequest {}).await.is_ok()
                    }
                    _ => stores[victim - 1].status().await.is_ok(),
                }
            })
            .await;
        }
        lost
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m8_the_power_fails_over_and_over_and_nobody_is_lost_or_doubled() {
    let (drops, seed) = (setting("DROPS", 8_usize), setting("SEED", 1_u64));
    let (mut done, mut lost) = (0, Lost::default());
    while done < drops {
        let begin = SystemClock.now();
        let mut chance = Chance::of(seed.wrapping_add(done as u64));
        let Some(mut chain) = Chain::start("power").await else { return };
        let mut acknowledged = BTreeSet::new();
        for _ in 0..ROUND.min(drops - done) {
            let by_store =
                chain.stores.each_ref().map(|store| Tills::with_pause(std::slice::from_ref(store), PAUSE));
            for tills in &by_store {
                tills.more(10 + chance.below(60)).await;
            }
            // Not a wait: the moment is to be anywhere between two answers.
            sleep(Duration::from_micros(chance.below(50_000) as u64)).await;
            let victims = [vec![0], vec![1], vec![2], vec![0, 1, 2]][chance.below(4)].clone();
            let dropped = chain.cut(&victims, &mut chance).await;
            (lost.unsynced, lost.sectors) =
                (lost.unsynced + dropped.unsynced, lost.sectors + dropped.sectors);
            for (tills, store) in by_store.into_iter().zip(&chain.stores) {
                let created = tills.stop().await;
                has_all(store, &created).await;
                acknowledged.extend(created);
            }
            done += 1;
        }
        settle(&chain.hq, &chain.stores, &acknowledged).await;
        println!(
            "{done} power cuts, seed {seed}: {} creates acknowledged, 0 lost, 0 doubled; so far {} unsynced writes cut \
             off, {} sectors of them gone; {:.0} s",
            acknowledged.len(),
            lost.unsynced,
            lost.sectors,
            begin.elapsed().as_secs_f64(),
        );
    }
    assert!(lost.sectors > 0, "no power cut has taken anything: nothing was tried");
}

/// The check, checked: where a sync saves nothing, a power cut must be found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m8_a_disk_that_lies_about_its_syncs_is_found_out() {
    let Some(mut disk) = Disk::new("a lying disk") else { return };
    let (port, nowhere) = (free_port(), format!("http://127.0.0.1:{}", free_port()));
    let database = format!("sqlite:{}", disk.data().join("store-1.db").display());
    let arguments = ["channel", &port, &database, "store-1", &nowhere, &nowhere];
    let mut process = Process::start_in(&arguments, disk.environment());
    let store = Store::new("store-1", &format!("http://127.0.0.1:{port}"));
    until("the store answers", async || store.status().await.is_ok()).await;
    // Headquarters cannot be reached: each create falls back to the store's own log.
    let id = mint();
    store.create(id, person("saved")).await.expect("a create");
    disk.set(Fault::SyncLies);
    let told = mint();
    store.create(told, person("told")).await.expect("a create");
    disk.set(Fault::Nothing);

    process.kill();
    disk.cut_all();
    process.start_again();
    until("the store answers", async || store.status().await.is_ok()).await;
    assert_eq!(missing(&store, &[id, told].into()).await, [told]);
}
