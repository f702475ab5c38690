//! Terminals: passed on while the store answers, served by themselves while it does not (rules O1 to O3, L5).

use std::time::Duration;

use tillsync_proto::pb::{
    channel::{
        CreateAddressRequest, CreatePath, GetCustomerRequest, IssueLoyaltyCardRequest, ListCustomersRequest,
        Scope, UpdateCustomerRequest, search_customers_request::Criterion,
    },
    common::{Customer, FunctionalityProfile, Job},
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    headquarters::{FakeHq, profile},
    shop::{Place, Shop, metadata, person, reason},
};
use crate::{Config, TerminalConfig, find::MAX_PAGES};

/// A store at a port that it keeps, and a terminal of it.
struct Till {
    hq: FakeHq,
    store_place: Place,
    store: Option<Shop>,
    store_url: String,
    terminal_place: Place,
    terminal: Shop,
}

impl Till {
    async fn start() -> Self {
        let hq = FakeHq::start().await;
        let (store_place, terminal_place) = (Place::sqlite(), Place::sqlite());
        let store = Shop::at(&store_place, &hq).await;
        let store_url = store.url.clone();
        let terminal = Self::terminal(&terminal_place, &store_url).await;
        Self { hq, store_place, store: Some(store), store_url, terminal_place, terminal }
    }

    async fn terminal(place: &Place, store_url: &str) -> Shop {
        let (timeout, reconnect) = (Duration::from_secs(5), Duration::from_millis(50));
        let terminal = TerminalConfig { store: store_url.to_owned(), timeout, reconnect };
        Shop::with(Config::terminal("till-1".parse().unwrap(), place.database.clone(), terminal)).await
    }

    fn store(&self) -> &Shop {
        self.store.as_ref().unwrap()
    }

    async fn cut_off(&mut self) {
        // An end that closes connections, as that of a process does.
        let store = self.store.take().unwrap();
        store.stop.cancel();
        store.serving.await.unwrap().unwrap();
    }

    async fn restore(&mut self) {
        let address = self.store_url.trim_start_matches("http://");
        let listener = loop {
            // The connections of the one before may still hold the port.
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let config = Config::new(
            "store-1".parse().unwrap(),
            self.store_place.database.clone(),
            self.hq.url(),
            self.hq.url(),
        );
        self.store = Some(Shop::on(listener, config).await);
    }
}

fn offline(refused: &Status) {
    assert_eq!((refused.code(), reason(refused).as_str()), (Code::FailedPrecondition, "OFFLINE"));
    assert_eq!(metadata(refused, "lifted_by"), "the connection to the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn o1_a_terminal_passes_on_goes_offline_and_comes_back() {
    let mut till = Till::start().await;
    let created = till.terminal.create("", person("ann")).await.unwrap();
    assert_eq!(created.path(), CreatePath::Sync, "the store's profile says sync");
    let ann = created.customer.unwrap().customer_id;
    assert_eq!(till.store().get(&ann).await.unwrap().customer_id, ann);
    assert_eq!(till.terminal.status().await.logged_counter, 0, "nothing was logged in the terminal");
    let refused = till.terminal.create("", Default::default()).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_FIELD", "a refusal of the store is an answer");

    till.cut_off().await;
    let created = till.terminal.create("", person("bob")).await.unwrap();
    let bob = created.customer.clone().unwrap();
    assert_eq!((created.path(), bob.account_display.as_str()), (CreatePath::Async, "Pending sync"));
    assert_eq!(till.terminal.get(&bob.customer_id).await.unwrap(), bob);
    let found = till.terminal.search(Criterion::Name("personbob".to_owned())).await;
    assert_eq!(found, std::slice::from_ref(&bob), "L5: an offline terminal finds customers");

    till.restore().await;
    let known = loop {
        match till.store().get(&bob.customer_id).await {
            Ok(known) => break known,
            Err(status) => assert_eq!(status.code(), Code::NotFound),
        }
    };
    assert_eq!(known.contacts, bob.contacts, "O2: what was created offline is in the store");
    while till.terminal.create("", person("cleo")).await.unwrap().path() != CreatePath::Sync {}
    assert_eq!(till.terminal.get(&ann).await.unwrap().customer_id, ann);
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_an_offline_terminal_edits_nobody_and_issues_no_cards() {
    let mut till = Till::start().await;
    till.cut_off().await;
    let id = till.terminal.create("", person("ann")).await.unwrap().customer.unwrap().customer_id;
    let mut terminal = till.terminal.tills.clone();
    let update = UpdateCustomerRequest { customer: id.clone(), ..Default::default() };
    offline(&terminal.update_customer(update).await.unwrap_err());
    let card = IssueLoyaltyCardRequest { customer: id.clone(), ..Default::default() };
    offline(&terminal.issue_loyalty_card(card).await.unwrap_err());
    let address = CreateAddressRequest { customer: id.clone(), ..Default::default() };
    offline(&terminal.create_address(address).await.unwrap_err());
    let everywhere = GetCustomerRequest { customer: id, scope: Scope::AllStores.into() };
    offline(&terminal.get_customer(everywhere).await.unwrap_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_o2_affiliations_that_a_terminal_changes_offline_reach_headquarters() {
    let mut till = Till::start().await;
    let known = till.terminal.create("", person("bob")).await.unwrap().customer.unwrap().customer_id;
    assert_eq!(till.hq.run(Job::Customers1010).await.error, "");
    // The terminal has to know the customer before it is cut off.
    while till.terminal.status().await.customers == 0 {
        tokio::task::yield_now().await;
    }
    till.cut_off().await;
    let made = till.terminal.create("", person("ann")).await.unwrap().customer.unwrap().customer_id;
    let affiliate = async |id: &str, affiliations: &[&str]| {
        let affiliations = affiliations.iter().map(|one| (*one).to_owned()).collect();
        let values = Some(Customer { affiliations, ..Default::default() });
        let update_mask = Some(prost_types::FieldMask { paths: vec!["affiliations".to_owned()] });
        let update =
            UpdateCustomerRequest { customer: id.to_owned(), values, update_mask, validate_only: false };
        till.terminal.tills.clone().update_customer(update).await.unwrap().into_inner().customer.unwrap()
    };
    for id in [&made, &known] {
        affiliate(id, &["club", "staff"]).await;
        let shown = affiliate(id, &["staff"]).await;
        assert_eq!((shown.affiliations, shown.pending_edits), (vec!["staff".to_owned()], 2));
    }
    till.restore().await;
    // What the terminal brings is in the store, and goes on from there.
    loop {
        let there = [till.store().get(&made).await, till.store().get(&known).await];
        if there.iter().all(|got| got.as_ref().is_ok_and(|customer| customer.affiliations == ["staff"])) {
            break;
        }
        tokio::task::yield_now().await;
    }
    till.hq.chain().await;
    for id in [&made, &known] {
        assert_eq!(till.hq.state().customers[id].0.affiliations, ["staff"]);
        assert_eq!(till.store().get(id).await.unwrap().pending_edits, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o3_filtered_customer_data_keeps_a_terminal_from_creating_offline() {
    let mut till = Till::start().await;
    let filtered = FunctionalityProfile { filter_shared_customer_data: true, ..profile(false, true) };
    till.hq.set_profile(filtered).await;
    let version = till.store().status().await.profile_version;
    while till.terminal.status().await.profile_version < version {
        tokio::task::yield_now().await;
    }
    till.terminal.create("", person("ann")).await.expect("online, the store creates");
    till.cut_off().await;
    // The setting survives the terminal's restart.
    till.terminal.crash().await;
    till.terminal = Till::terminal(&till.terminal_place, &till.store_url).await;
    let refused = till.terminal.create("", person("bob")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "SHARED_DATA_FILTERED")
    );
    assert_eq!(till.terminal.status().await.logged_counter, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn z3_a_terminal_passes_on_no_more_pages_of_all_customers_than_it_reads_itself() {
    // A store that takes calls and answers none.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::sqlite();
    let terminal = Till::terminal(&place, &format!("http://{}", silent.local_addr().unwrap())).await;
    let page = |_| {
        let mut tills = terminal.tills.clone();
        async move { tills.list_customers(ListCustomersRequest::default()).await }
    };
    let mut pages: JoinSet<_> = (0..=MAX_PAGES).map(page).collect();
    let refused = pages.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(refused.get_details_retry_info().is_some());
    assert!(pages.try_join_next().is_none(), "the others are under way");
}
