//! The network between stores and headquarters, and between a terminal and its store, is cut: one way, the other, both; and
//! the connections outlive it, or are dead without a word.

use super::{
    ledger::settle,
    wire::{Cut, Wire},
};
use crate::{
    client::{Headquarters, Store, until},
    processes::{Process, Tills, free_port},
};

/// Creates that must be acknowledged during each cut, and after it.
const CREATES: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_m4_the_network_is_cut_one_way_and_both_and_nobody_is_lost_or_doubled() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let ports: [String; 4] = std::array::from_fn(|_| free_port());
    let [hq_port, first_port, second_port, till_port] = &ports;
    let address = |port: &str| format!("127.0.0.1:{port}");
    let wires = [
        Wire::to(&address(hq_port)).await,
        Wire::to(&address(hq_port)).await,
        Wire::to(&address(first_port)).await,
    ];
    let [first, second, till] = wires.each_ref().map(|wire| wire.url.as_str());
    let _processes = [
        Process::start(&["hq", hq_port, &file("hq.db")]),
        Process::start(&["channel", first_port, &file("store-1.db"), "store-1", first, first]),
        Process::start(&["channel", second_port, &file("store-2.db"), "store-2", second, second]),
        Process::start(&["terminal", till_port, &file("till-1.db"), "till-1", till]),
    ];
    let stores = [("store-1", first_port), ("store-2", second_port), ("till-1", till_port)];
    let stores = stores.map(|(id, port)| Store::new(id, &format!("http://{}", address(port))));
    let hq = Headquarters::new(&format!("http://{}", address(hq_port)));
    hq.answers().await;
    for store in &stores {
        until("the store answers", async || store.status().await.is_ok()).await;
    }
    for (store, create_async) in stores.iter().zip([true, false]) {
        hq.set_mode(store, create_async, true).await;
    }

    let tills = Tills::start(&stores);
    tills.more(CREATES).await;
    for connections_are_dead in [false, true] {
        for cut in [Cut::There, Cut::Back, Cut::Both] {
            wires.iter().for_each(|wire| wire.cut(cut));
            tills.more(CREATES).await;
            wires.iter().for_each(|wire| wire.mend(connections_are_dead));
            tills.more(CREATES).await;
        }
    }
    let acknowledged = tills.stop().await;
    settle(&hq, &stores, &acknowledged).await;
    // A sync create finds headquarters again by itself.
    until("the way to headquarters is used again", async || {
        let id = crate::client::mint();
        let created = stores[1].create(id, crate::client::person(&id.simple().to_string())).await;
        created.is_ok_and(|created| created.path() == tillsync_proto::pb::channel::CreatePath::Sync)
    })
    .await;
}
