//! Every process of a chain is killed (SIGKILL), over and over, at moments that a seed chooses, while tills create:
//! also while it starts, and two at once. `KILLS=1000 SEED=7 cargo test -p tillsync-tests --test scenarios
//! killed_over_and_over -- --nocapture`

use std::{collections::BTreeSet, time::Duration};

use service_kit::clock::{Clock as _, SystemClock};
use tokio::time::sleep;
use uuid::Uuid;

use super::{Chance, ledger::settle};
use crate::{
    client::{Headquarters, Store, setting, until},
    processes::{Process, Tills, free_port},
};

/// Kills between two looks at the ledger; each chain is a new one.
const ROUND: usize = 100;

/// Headquarters, the emulator before it, an async store, a sync store and a terminal of the first, on SQLite files.
struct Chain {
    /// In this order.
    processes: [Process; 5],
    hq: Headquarters,
    stores: [Store; 3],
    _folder: tempfile::TempDir,
}

impl Chain {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let ports: [String; 5] = std::array::from_fn(|_| free_port());
        let [hq, emulator, first, second, till] =
            ports.each_ref().map(|port| format!("http://127.0.0.1:{port}"));
        let [hq_port, emulator_port, first_port, second_port, till_port] = &ports;
        let processes = [
            Process::start(&["hq", hq_port, &file("hq.db")]),
            Process::start(&["emulator", emulator_port, &hq]),
            Process::start(&["channel", first_port, &file("store-1.db"), "store-1", &emulator, &hq]),
            Process::start(&["channel", second_port, &file("store-2.db"), "store-2", &emulator, &hq]),
            Process::start(&["terminal", till_port, &file("till-1.db"), "till-1", &first]),
        ];
        let stores = [("store-1", &first), ("store-2", &second), ("till-1", &till)];
        let stores = stores.map(|(id, url)| Store::new(id, url));
        let hq = Headquarters::new(&hq);
        hq.answers().await;
        for store in &stores {
            until("the store answers", async || store.status().await.is_ok()).await;
        }
        for (store, create_async) in stores.iter().zip([true, false]) {
            hq.set_mode(store, create_async, true).await;
        }
        Self { processes, hq, stores, _folder: folder }
    }

    /// Kills so many times; gives what was acknowledged meanwhile.
    async fn kill(&mut self, kills: usize, chance: &mut Chance) -> BTreeSet<Uuid> {
        let tills = Tills::start(&self.stores);
        let mut done = 0;
        while done < kills {
            tills.more(chance.below(20)).await;
            // Not a wait: the moment of the kill is to be anywhere between two answers.
            moment(chance, 20_000).await;
            let victim = chance.below(self.processes.len());
            let other = Some(chance.below(self.processes.len())).filter(|other| *other != victim);
            let victims = [Some(victim), other.filter(|_| chance.percent(25))];
            for victim in victims.into_iter().flatten() {
                self.processes[victim].kill();
                done += 1;
            }
            if chance.percent(30) {
                // Somebody else goes on meanwhile: a store or the terminal.
                tills.more(chance.below(20)).await;
            }
            for victim in victims.into_iter().flatten() {
                self.processes[victim].start_again();
                if chance.percent(25) {
                    moment(chance, 200_000).await;
                    self.processes[victim].kill();
                    self.processes[victim].start_again();
                    done += 1;
                }
            }
        }
        tills.more(1).await;
        tills.stop().await
    }
}

/// Lets a while pass that chance chooses, up to so many microseconds.
async fn moment(chance: &mut Chance, micros: usize) {
    sleep(Duration::from_micros(chance.below(micros) as u64)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m8_o4_every_process_is_killed_over_and_over_and_nobody_is_lost_or_doubled() {
    let (kills, seed) = (setting("KILLS", 12_usize), setting("SEED", 1_u64));
    let mut done = 0;
    while done < kills {
        let round = ROUND.min(kills - done);
        let begin = SystemClock.now();
        let mut chance = Chance::of(seed.wrapping_add(done as u64));
        let mut chain = Chain::start().await;
        let acknowledged = chain.kill(round, &mut chance).await;
        let killed = begin.elapsed();
        settle(&chain.hq, &chain.stores, &acknowledged).await;
        done += round;
        println!(
            "{done} kills, seed {seed}: {} creates acknowledged, 0 lost, 0 doubled; {:.0} s killed, {:.0} s in all",
            acknowledged.len(),
            killed.as_secs_f64(),
            begin.elapsed().as_secs_f64(),
        );
    }
}
