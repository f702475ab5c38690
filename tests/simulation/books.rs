//! The office: it tells stores how to work, waits until nothing waits any more, and compares the books.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use service_kit::network::Network;
use tillsync_proto::pb::{
    channel::{
        GetStatusRequest, ListCustomersRequest, customer_service_client::CustomerServiceClient,
        status_service_client::StatusServiceClient,
    },
    common::{ChannelStatus, Customer, Feature, FunctionalityProfile},
    hq::{
        self, GetStatusResponse, ListCustomerChangesRequest, UpdateFlagRequest, UpdateProfileRequest,
        admin_service_client::AdminServiceClient, data_exchange_service_client::DataExchangeServiceClient,
    },
};
use tokio::time::sleep;
use tonic::Status;

use crate::{
    plan::{Mode, Plan},
    tills::{SaidInner, limited, way},
};

/// How long a call of the office may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks whether everybody is level.
const LOOK: Duration = Duration::from_secs(10);

/// The office.
pub struct Office {
    network: Network,
    stores: Vec<String>,
}

impl Office {
    pub fn new(network: Network, stores: Vec<String>) -> Self {
        Self { network, stores }
    }

    fn admin(&self) -> AdminServiceClient<service_kit::way::Way> {
        AdminServiceClient::new(way(&self.network, "hq"))
    }

    /// Tells headquarters how its stores work.
    pub async fn prepare(&self, plan: &Plan) {
        let mut admin = self.admin();
        for (store, mode) in self.stores.iter().zip(&plan.modes) {
            let profile = FunctionalityProfile {
                create_customer_async: *mode == Mode::Async,
                async_fallback: *mode != Mode::Sync,
                rts_timeout: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
                circuit_breaker: store.ends_with(['1', '3', '5']),
                ..Default::default()
            };
            let request =
                UpdateProfileRequest { channel_id: store.clone(), profile: Some(profile), from_version: 0 };
            while admin.update_profile(limited(request.clone(), PATIENCE)).await.is_err() {
                sleep(Duration::from_secs(1)).await;
            }
        }
        if plan.edits {
            for feature in [
                Feature::OrderPerformance,
                Feature::AsyncAddresses,
                Feature::EnhancedAsyncCreate,
                Feature::AsyncEdit,
            ] {
                let request = UpdateFlagRequest { feature: feature.into(), enabled: true };
                admin.update_flag(limited(request, PATIENCE)).await.expect("a flag");
            }
        }
    }

    async fn hq(&self) -> Result<GetStatusResponse, Status> {
        let request = limited(hq::GetStatusRequest {}, PATIENCE);
        Ok(self.admin().get_status(request).await?.into_inner())
    }

    async fn store(&self, store: &str) -> Result<ChannelStatus, Status> {
        let mut client = StatusServiceClient::new(way(&self.network, store));
        let answer = client.get_status(limited(GetStatusRequest {}, PATIENCE)).await?;
        Ok(answer.into_inner().status.unwrap_or_default())
    }

    /// Waits until nothing waits any more; says what still does after `longest`.
    pub async fn level(&self, longest: Duration) -> Result<(), String> {
        let mut looks = longest.as_secs() / LOOK.as_secs();
        loop {
            let unlevel = self.unlevel().await;
            match unlevel {
                None => return Ok(()),
                Some(why) if looks == 0 => return Err(format!("not level after {longest:?}: {why}")),
                Some(_) => sleep(LOOK).await,
            }
            looks -= 1;
        }
    }

    /// Who is not level yet, and why.
    async fn unlevel(&self) -> Option<String> {
        let hq = match self.hq().await {
            Ok(hq) => hq,
            Err(status) => return Some(format!("headquarters: {status}")),
        };
        if hq.arrivals_waiting + hq.arrivals_set_aside > 0 || !hq.awaited_channels.is_empty() {
            let request = limited(hq::ListSetAsideRequest::default(), PATIENCE);
            let aside = self.admin().list_set_aside(request).await.map(|list| list.into_inner().operations);
            return Some(format!(
                "headquarters: {} arrivals wait, {} were set aside, {:?} are awaited; {aside:?}",
                hq.arrivals_waiting, hq.arrivals_set_aside, hq.awaited_channels
            ));
        }
        for name in &self.stores {
            let store = match self.store(name).await {
                Ok(store) => store,
                Err(status) => return Some(format!("{name}: {status}")),
            };
            let cursor = store.feed_cursor.clone().unwrap_or_default();
            let level = store.pending_customers == 0
                && store.uploaded_counter == store.logged_counter
                && (cursor.epoch, cursor.version) == (hq.epoch.clone(), hq.head_version);
            if !level {
                return Some(format!(
                    "{name}: {} pending, {} of {} uploaded, feed at {:?} of {} {}, runs {:?}",
                    store.pending_customers,
                    store.uploaded_counter,
                    store.logged_counter,
                    store.feed_cursor,
                    hq.epoch,
                    hq.head_version,
                    store.job_runs
                ));
            }
        }
        // What a store brought after headquarters was asked and before it was asked itself is there by now.
        match self.hq().await {
            Ok(now) if (now.head_version, now.arrivals_waiting) == (hq.head_version, 0) => None,
            Ok(_) => Some("headquarters has moved on".to_owned()),
            Err(status) => Some(format!("headquarters: {status}")),
        }
    }

    async fn customers_of_hq(&self) -> Result<Vec<Customer>, Status> {
        let mut exchange = DataExchangeServiceClient::new(way(&self.network, "hq"));
        let (mut cursor, mut customers) = (None, Vec::new());
        loop {
            let channel_id = "auditor".to_owned();
            let request = ListCustomerChangesRequest { channel_id, cursor, page_size: 1_000 };
            let page = exchange.list_customer_changes(limited(request, PATIENCE)).await?.into_inner();
            for record in page.records {
                let record = record.read().map_err(|error| Status::internal(error.to_string()))?;
                customers.extend(record.customer);
            }
            let next = page.next_cursor.unwrap_or_default();
            if next.version >= page.head_version {
                return Ok(customers);
            }
            cursor = Some(next);
        }
    }

    async fn customers_of(&self, store: &str) -> Result<Vec<Customer>, Status> {
        let mut client = CustomerServiceClient::new(way(&self.network, store));
        let (mut page_token, mut customers) = (String::new(), Vec::new());
        loop {
            let request = ListCustomersRequest { page_size: 1_000, page_token };
            let page = client.list_customers(limited(request, PATIENCE)).await?.into_inner();
            customers.extend(page.customers);
            if page.next_page_token.is_empty() {
                return Ok(customers);
            }
            page_token = page.next_page_token;
        }
    }

    /// Compares the books with what tills were told; gives everything that is wrong.
    pub async fn audit(&self, said: &SaidInner, numbers_stay: bool) -> Result<Vec<String>, Status> {
        let mut wrong = said.wrong.clone();
        let (mut known, mut numbers, mut emails) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for customer in self.customers_of_hq().await? {
            let id = customer.customer_id.clone();
            let email = customer.contacts.first().map(|contact| contact.value.clone());
            if !numbers.insert(customer.account_number.clone()) {
                wrong.push(format!("doubled: the number {} is used twice", customer.account_number));
            }
            if !emails.insert(email) {
                wrong.push(format!("doubled: {id} is there under another GUID too"));
            }
            if known.insert(id.clone(), customer).is_some() {
                wrong.push(format!("doubled: {id} is twice in the feed"));
            }
        }
        for (id, number) in &said.created {
            match known.get(&id.to_string()) {
                None => wrong.push(format!("lost: {id} was acknowledged")),
                Some(customer)
                    if numbers_stay && number.as_ref().is_some_and(|n| *n != customer.account_number) =>
                {
                    let is = &customer.account_number;
                    wrong.push(format!("{id} was told the number {number:?} and has {is}"));
                }
                Some(_) => {}
            }
        }
        for (id, told) in &said.edited {
            if let Some(customer) = known.get(&id.to_string())
                && !told.contains(&customer.tax_id)
            {
                wrong.push(format!("lost: {told:?} of {id} was acknowledged, {} is there", customer.tax_id));
            }
        }
        if known.len() != said.created.len() {
            wrong.push(format!("{} customers, of whom {} were asked for", known.len(), said.created.len()));
        }
        for store in &self.stores {
            let customers = self.customers_of(store).await?;
            if customers.len() != known.len() {
                wrong.push(format!("{store} has {} customers of {}", customers.len(), known.len()));
            }
            let differs =
                |customer: &&Customer| known.get(&customer.customer_id).map(plain) != Some(plain(customer));
            if let Some(customer) = customers.iter().find(differs) {
                let there = known.get(&customer.customer_id);
                wrong.push(format!("{store} has {customer:?}, headquarters {there:?}"));
            }
        }
        Ok(wrong)
    }
}

/// Without what each node says in its own way.
fn plain(customer: &Customer) -> Customer {
    let mut plain = customer.clone();
    plain.etag.clear();
    plain.account_display.clear();
    plain.sync_state = 0;
    plain
}
