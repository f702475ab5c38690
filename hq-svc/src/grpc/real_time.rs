//! `tillsync.hq.v1.RealTimeService`.

use tillsync_proto::{
    CHANNEL_METADATA, ChannelId, Criterion, CustomerId, Violations, convert,
    id::parse_guid,
    pb::hq::{self, real_time_service_server::RealTimeService},
    search::card,
};
use tonic::{Request, Response, Status, async_trait};
use tracing::warn;

use super::{customer_ref, page_size};
use crate::{
    error::Error,
    hq::Headquarters,
    store::{NewCustomer, Store},
};

/// The real-time service.
pub(super) struct RealTime<S> {
    pub hq: Headquarters<S>,
}

impl<S: Store> RealTime<S> {
    /// Notes the call of the channel that names itself in the metadata. Nothing else depends on it, so a call
    /// without a name, or with one that is none, is answered all the same.
    async fn note_channel<T>(&self, request: &Request<T>) {
        let name = request.metadata().get(CHANNEL_METADATA).and_then(|value| value.to_str().ok());
        let Some(channel) = name.and_then(|name| name.parse::<ChannelId>().ok()) else { return };
        if let Err(error) = self.hq.contacts.called(&channel).await {
            warn!(%channel, %error, "the contact of a channel could not be kept");
        }
    }

    fn epoch(&self) -> String {
        self.hq.epoch.to_string()
    }
}

#[async_trait]
impl<S: Store> RealTimeService for RealTime<S> {
    async fn create_customer(
        &self,
        request: Request<hq::CreateCustomerRequest>,
    ) -> Result<Response<hq::CreateCustomerResponse>, Status> {
        self.note_channel(&request).await;
        let hq::CreateCustomerRequest { customer, fingerprint } = request.into_inner();
        let customer = customer.ok_or_else(|| refused("customer", "is required"))?;
        let id = customer.customer_id.parse::<CustomerId>();
        let id = id.map_err(|error| refused("customer.customer_id", error))?;
        let mut created_at = convert::micros(customer.create_time.as_ref());
        if created_at.0 == 0 {
            created_at.0 = self.hq.clock.wall_micros();
        }
        let mut v = Violations::default();
        let asked = convert::fingerprint(&fingerprint, &mut v);
        v.or(()).map_err(Error::from)?;
        let content = convert::content(id, customer).and_then(|content| {
            self.hq.configuration().attributes.check(&content)?;
            Ok(content)
        });
        let content = content.map_err(|violations| Error::from(violations.under("customer")))?;
        let fingerprint = asked.unwrap_or_else(|| content.fingerprint());
        let record = self.hq.creates.create(NewCustomer { id, fingerprint, content, created_at }).await?;
        let epoch = self.epoch();
        Ok(Response::new(hq::CreateCustomerResponse { record: Some((&record).into()), epoch }))
    }

    async fn get_customer(
        &self,
        request: Request<hq::GetCustomerRequest>,
    ) -> Result<Response<hq::GetCustomerResponse>, Status> {
        self.note_channel(&request).await;
        let by = customer_ref(&request.get_ref().customer).map_err(Error::from)?;
        let record = self.hq.customer(&by).await?;
        let epoch = self.epoch();
        Ok(Response::new(hq::GetCustomerResponse { record: Some((&record).into()), epoch }))
    }

    async fn search_customers(
        &self,
        request: Request<hq::SearchCustomersRequest>,
    ) -> Result<Response<hq::SearchCustomersResponse>, Status> {
        self.note_channel(&request).await;
        let request = request.into_inner();
        let criterion = Criterion::try_from(request.criterion).map_err(Error::from)?;
        let page_size = page_size(request.page_size, 20, 100).map_err(Error::from)?;
        let found = self.hq.search(&criterion, page_size, &request.page_token).await?;
        Ok(Response::new(hq::SearchCustomersResponse {
            records: found.records.iter().map(Into::into).collect(),
            next_page_token: found.next_page_token,
            epoch: self.epoch(),
        }))
    }

    async fn update_customer(
        &self,
        request: Request<hq::UpdateCustomerRequest>,
    ) -> Result<Response<hq::UpdateCustomerResponse>, Status> {
        self.note_channel(&request).await;
        let request = request.into_inner();
        let by = customer_ref(&request.customer).map_err(Error::from)?;
        let values = request.values.ok_or_else(|| refused("values", "is required"))?;
        let etag = values.etag.clone();
        // The ids of new parts are derived from the customer's GUID.
        let id = self.hq.customer(&by).await?.customer.id;
        let update = convert::update(id, values, request.update_mask).map_err(Error::from)?;
        let record = self.hq.unhurried(move |hq| async move { hq.update(&by, &etag, &update).await }).await?;
        let epoch = self.epoch();
        Ok(Response::new(hq::UpdateCustomerResponse { record: Some((&record).into()), epoch }))
    }

    async fn save_address(
        &self,
        request: Request<hq::SaveAddressRequest>,
    ) -> Result<Response<hq::SaveAddressResponse>, Status> {
        self.note_channel(&request).await;
        let request = request.into_inner();
        let by = customer_ref(&request.customer).map_err(Error::from)?;
        let address = request.address.ok_or_else(|| refused("address", "is required"))?;
        let record = self.hq.unhurried(move |hq| async move { hq.save_address(&by, address).await }).await?;
        let epoch = self.epoch();
        Ok(Response::new(hq::SaveAddressResponse { record: Some((&record).into()), epoch }))
    }

    async fn issue_loyalty_card(
        &self,
        request: Request<hq::IssueLoyaltyCardRequest>,
    ) -> Result<Response<hq::IssueLoyaltyCardResponse>, Status> {
        self.note_channel(&request).await;
        let request = request.into_inner();
        let by = customer_ref(&request.customer).map_err(Error::from)?;
        let request_id = parse_guid(&request.request_id).map_err(|error| refused("request_id", error))?;
        let number = card_number(&request.card_number)?;
        let work = move |hq: Headquarters<S>| async move { hq.issue_card(&by, number, request_id).await };
        let (record, card_number) = self.hq.unhurried(work).await?;
        let epoch = self.epoch();
        Ok(Response::new(hq::IssueLoyaltyCardResponse { record: Some((&record).into()), card_number, epoch }))
    }
}

fn refused(field: &str, description: impl std::fmt::Display) -> Error {
    Violations::one(field, description).into()
}

/// A card number as entered; empty is none.
fn card_number(text: &str) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let known = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if known && (4..=40).contains(&card(text).len()) {
        Ok(Some(text.to_owned()))
    } else {
        Err(refused("card_number", "is not 4 to 40 letters, digits and hyphens"))
    }
}
