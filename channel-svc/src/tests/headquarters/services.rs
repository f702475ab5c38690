//! What the scripted headquarters serves.

use std::{pin::Pin, sync::MutexGuard};

use tillsync_proto::pb::{
    common::{CustomerRecord, FeedCursor, Job},
    hq::{data_exchange_service_server::DataExchangeService, real_time_service_server::RealTimeService, *},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use super::{FakeHq, Fault, Seen, State};

impl FakeHq {
    /// Notes a call, and does what the script says: before the work, and after it.
    async fn call<T>(
        &self,
        metadata: &tonic::metadata::MetadataMap,
        work: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<Response<T>, Status> {
        let channel = metadata.get("x-tillsync-channel").unwrap().to_str().unwrap().to_owned();
        let timeout = service_kit::deadline::parse(&metadata.clone().into_headers());
        let fault = {
            let mut state = self.state();
            state.calls.push(Seen { channel, timeout });
            state.fault.clone()
        };
        match fault {
            None => work(&mut self.state()).map(Response::new),
            Some(Fault::Answer(status)) => Err(status),
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Lost(status)) => {
                let _ = work(&mut self.state());
                Err(status)
            }
        }
    }
}

#[tonic::async_trait]
impl RealTimeService for FakeHq {
    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<CreateCustomerResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let customer = message.customer.unwrap();
            let record = state.insert(&customer.customer_id.clone(), customer);
            Ok(CreateCustomerResponse { record: Some(record), epoch: state.epoch.clone() })
        })
        .await
    }

    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<GetCustomerResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let record = state.record(&message.customer).ok_or_else(|| Status::not_found("nobody"))?;
            Ok(GetCustomerResponse { record: Some(record), epoch: state.epoch.clone() })
        })
        .await
    }

    async fn search_customers(
        &self,
        request: Request<SearchCustomersRequest>,
    ) -> Result<Response<SearchCustomersResponse>, Status> {
        let (metadata, _, _) = request.into_parts();
        self.call(&metadata, |state| {
            let ids: Vec<String> = state.customers.keys().cloned().collect();
            let records = ids.iter().filter_map(|id| state.record(id)).collect();
            Ok(SearchCustomersResponse {
                records,
                next_page_token: String::new(),
                epoch: state.epoch.clone(),
            })
        })
        .await
    }

    async fn update_customer(
        &self,
        request: Request<UpdateCustomerRequest>,
    ) -> Result<Response<UpdateCustomerResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let (mut customer, _) = state.customers[&message.customer].clone();
            // The tests change the tax id only.
            customer.tax_id = message.values.unwrap().tax_id;
            state.save(customer);
            let record = state.record(&message.customer);
            Ok(UpdateCustomerResponse { record, epoch: state.epoch.clone() })
        })
        .await
    }

    async fn save_address(
        &self,
        request: Request<SaveAddressRequest>,
    ) -> Result<Response<SaveAddressResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let (mut customer, _) = state.customers[&message.customer].clone();
            let address = message.address.unwrap();
            customer.addresses.retain(|there| there.address_id != address.address_id);
            customer.addresses.push(address);
            state.save(customer);
            let record = state.record(&message.customer);
            Ok(SaveAddressResponse { record, epoch: state.epoch.clone() })
        })
        .await
    }

    async fn issue_loyalty_card(
        &self,
        request: Request<IssueLoyaltyCardRequest>,
    ) -> Result<Response<IssueLoyaltyCardResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.call(&metadata, |state| {
            let (mut customer, _) = state.customers[&message.customer].clone();
            customer.loyalty_cards.push(message.card_number.clone());
            state.save(customer);
            let record = state.record(&message.customer);
            let card_number = message.card_number;
            Ok(IssueLoyaltyCardResponse { record, card_number, epoch: state.epoch.clone() })
        })
        .await
    }
}

impl FakeHq {
    fn exchange(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state();
        match &state.exchange_fault {
            Some(status) => Err(status.clone()),
            None => Ok(state),
        }
    }
}

#[tonic::async_trait]
impl DataExchangeService for FakeHq {
    type WatchJobsStream = Pin<Box<dyn Stream<Item = Result<WatchJobsResponse, Status>> + Send>>;

    async fn upload_operations(
        &self,
        request: Request<UploadOperationsRequest>,
    ) -> Result<Response<UploadOperationsResponse>, Status> {
        let epoch = self.state().epoch.clone();
        if self.state().hangs() {
            self.hanging.notify_one();
            self.answered.notified().await;
        }
        let mut state = self.exchange()?;
        let UploadOperationsRequest { operations, epoch: before, .. } = request.into_inner();
        let operations = if before.is_empty() || before == epoch { operations } else { Vec::new() };
        state.largest_page = state.largest_page.max(operations.len());
        let mut outcomes = Vec::new();
        let answers = state.answers;
        for operation in operations.into_iter().take(answers) {
            let counter = operation.counter;
            state.uploads.push(counter);
            let known = state.arrivals.contains_key(&counter);
            let account = state.record(&operation.customer_id).and_then(|record| record.customer);
            // What a database has taken that is lost is lost.
            if epoch == state.epoch {
                state.arrivals.insert(counter, operation);
            }
            let result = if known { OperationResult::Known } else { OperationResult::Arrived };
            outcomes.push(OperationOutcome {
                counter,
                result: result.into(),
                account_number: account.map(|customer| customer.account_number).unwrap_or_default(),
                reason: String::new(),
            });
        }
        Ok(Response::new(UploadOperationsResponse { outcomes, epoch }))
    }

    async fn list_customer_changes(
        &self,
        request: Request<ListCustomerChangesRequest>,
    ) -> Result<Response<ListCustomerChangesResponse>, Status> {
        let state = self.exchange()?;
        let cursor = request.into_inner().cursor.unwrap_or_default();
        let epoch = state.epoch.clone();
        if !cursor.epoch.is_empty() && (cursor.epoch != epoch || cursor.version > state.head) {
            let resync = Resync {
                reason: ResyncReason::OtherEpoch.into(),
                cursor: Some(FeedCursor { epoch, version: 0 }),
                ..Resync::default()
            };
            let head_version = state.head;
            let answer =
                ListCustomerChangesResponse { resync: Some(resync), head_version, ..Default::default() };
            return Ok(Response::new(answer));
        }
        let mut changes: Vec<_> = state.customers.values().filter(|(_, v)| *v > cursor.version).collect();
        changes.sort_by_key(|(_, version)| *version);
        // Small pages, so that tests see several.
        changes.truncate(100);
        let version = changes.last().map_or(cursor.version.max(state.head), |(_, version)| *version);
        let records = changes.into_iter().map(|(customer, version)| CustomerRecord {
            customer: Some(customer.clone()),
            version: *version,
            included_counter: state.included.get(&customer.customer_id).copied().unwrap_or_default(),
            ..CustomerRecord::default()
        });
        Ok(Response::new(ListCustomerChangesResponse {
            resync: None,
            records: records.map(Into::into).collect(),
            next_cursor: Some(FeedCursor { epoch, version }),
            head_version: state.head,
        }))
    }

    async fn get_configuration(
        &self,
        request: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        let state = self.exchange()?;
        let answer = match request.into_inner().job() {
            Job::ChannelConfiguration1070 => GetConfigurationResponse {
                version: state.profile_version,
                profile: Some(state.profile.clone()),
                ..Default::default()
            },
            _ => GetConfigurationResponse {
                version: state.features_version,
                features: state.features.clone(),
                attributes: state.attributes.clone(),
                ..Default::default()
            },
        };
        Ok(Response::new(answer))
    }

    async fn watch_jobs(
        &self,
        _: Request<WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        let orders = WatchStream::new(self.orders.subscribe());
        let told = orders.map(|orders| tokio_stream::iter(orders.into_iter().map(Ok)));
        Ok(Response::new(Box::pin(flatten(told))))
    }

    async fn recover_customers(
        &self,
        _: Request<RecoverCustomersRequest>,
    ) -> Result<Response<RecoverCustomersResponse>, Status> {
        Ok(Response::new(RecoverCustomersResponse {}))
    }

    async fn report_status(
        &self,
        request: Request<ReportStatusRequest>,
    ) -> Result<Response<ReportStatusResponse>, Status> {
        let message = request.into_inner();
        {
            let mut state = self.exchange()?;
            state.status = message.status;
            state.runs.extend(message.ended_runs);
            state.running = message.running;
        }
        self.reported.send_modify(|count| *count += 1);
        Ok(Response::new(ReportStatusResponse::default()))
    }
}

/// A stream of streams, one after the other.
fn flatten<T: Send + 'static>(
    streams: impl Stream<Item = impl Stream<Item = T> + Send + Unpin + 'static> + Send + 'static,
) -> impl Stream<Item = T> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        tokio::pin!(streams);
        while let Some(mut stream) = streams.next().await {
            while let Some(item) = stream.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}
