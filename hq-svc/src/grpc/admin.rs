//! `tillsync.hq.v1.AdminService`.

use prost::Message as _;
use service_kit::{deadline::Deadline, door::Caller};
use tillsync_proto::{
    CustomerId, Feature, Micros, Violations, convert,
    pb::{
        common,
        hq::{self, admin_service_server::AdminService},
    },
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    customer_ref, job,
    operations::{sequence, wanted},
    page_size,
};
use crate::{
    error::Error,
    hq::Headquarters,
    store::{Asker, Erasure, SetAside, Store, StoredPayload},
};

/// The administrator's service.
pub(super) struct Admin<S> {
    pub hq: Headquarters<S>,
}

#[async_trait]
impl<S: Store> AdminService for Admin<S> {
    async fn get_profile(
        &self,
        request: Request<hq::GetProfileRequest>,
    ) -> Result<Response<hq::GetProfileResponse>, Status> {
        let channel = convert::channel_id(&request.get_ref().channel_id).map_err(Error::from)?;
        let (profile, version) = self.hq.profile(&channel).await?;
        Ok(Response::new(hq::GetProfileResponse { profile: Some(profile.into()), version }))
    }

    async fn update_profile(
        &self,
        request: Request<hq::UpdateProfileRequest>,
    ) -> Result<Response<hq::UpdateProfileResponse>, Status> {
        let request = request.into_inner();
        let channel = convert::channel_id(&request.channel_id).map_err(Error::from)?;
        let profile = request.profile.ok_or_else(|| required("profile"))?;
        let profile = convert::profile(&profile).map_err(Error::from)?;
        let from = request.from_version;
        let work = move |hq: Headquarters<S>| async move { hq.set_profile(&channel, profile, from).await };
        let version = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::UpdateProfileResponse { version }))
    }

    async fn list_flags(
        &self,
        _: Request<hq::ListFlagsRequest>,
    ) -> Result<Response<hq::ListFlagsResponse>, Status> {
        let configuration = self.hq.configuration();
        let flag = |feature| hq::Flag {
            feature: common::Feature::from(feature).into(),
            enabled: configuration.features.has(feature),
        };
        let flags = Feature::ALL.into_iter().map(flag).collect();
        Ok(Response::new(hq::ListFlagsResponse { flags, version: configuration.version }))
    }

    async fn update_flag(
        &self,
        request: Request<hq::UpdateFlagRequest>,
    ) -> Result<Response<hq::UpdateFlagResponse>, Status> {
        let request = request.into_inner();
        let feature = Feature::try_from(request.feature());
        let feature = feature.map_err(|error| Error::from(Violations::one("feature", error)))?;
        let work = move |hq: Headquarters<S>| async move { hq.set_flag(feature, request.enabled).await };
        let version = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::UpdateFlagResponse { version }))
    }

    async fn list_schedules(
        &self,
        _: Request<hq::ListSchedulesRequest>,
    ) -> Result<Response<hq::ListSchedulesResponse>, Status> {
        let schedules = self.hq.board.schedules().into_iter().map(Into::into).collect();
        Ok(Response::new(hq::ListSchedulesResponse { schedules }))
    }

    async fn update_schedule(
        &self,
        request: Request<hq::UpdateScheduleRequest>,
    ) -> Result<Response<hq::UpdateScheduleResponse>, Status> {
        let schedule = request.into_inner().schedule.ok_or_else(|| required("schedule"))?;
        let schedule = convert::schedule(&schedule).map_err(Error::from)?;
        self.hq.unhurried(move |hq| async move { hq.set_schedule(schedule).await }).await?;
        Ok(Response::new(hq::UpdateScheduleResponse {}))
    }

    async fn run_job(
        &self,
        request: Request<hq::RunJobRequest>,
    ) -> Result<Response<hq::RunJobResponse>, Status> {
        let deadline = Deadline::of(&request);
        let request = request.into_inner();
        let job = job(request.job()).map_err(Error::from)?;
        let channel = (!request.channel_id.is_empty()).then(|| convert::channel_id(&request.channel_id));
        let channel = channel.transpose().map_err(Error::from)?;
        let sessions = self.hq.run_job(job, channel, deadline).await?;
        Ok(Response::new(hq::RunJobResponse { sessions: sessions.into_iter().map(Into::into).collect() }))
    }

    async fn list_sessions(
        &self,
        request: Request<hq::ListSessionsRequest>,
    ) -> Result<Response<hq::ListSessionsResponse>, Status> {
        let request = request.into_inner();
        let page_size = page_size(request.page_size, 100, 1_000).map_err(Error::from)?;
        let page = self.hq.sessions(page_size, &request.page_token).await?;
        Ok(Response::new(hq::ListSessionsResponse {
            sessions: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_set_aside(
        &self,
        request: Request<hq::ListSetAsideRequest>,
    ) -> Result<Response<hq::ListSetAsideResponse>, Status> {
        let request = request.into_inner();
        let page_size = page_size(request.page_size, 100, 1_000).map_err(Error::from)?;
        let page = self.hq.set_aside(page_size, &request.page_token).await?;
        Ok(Response::new(hq::ListSetAsideResponse {
            operations: page.items.into_iter().map(set_aside).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn rerun_session(
        &self,
        request: Request<hq::RerunSessionRequest>,
    ) -> Result<Response<hq::RerunSessionResponse>, Status> {
        let deadline = Deadline::of(&request);
        let seq = place(request.get_ref().session_id, "session_id")?;
        let session = self.hq.rerun(seq, deadline).await?;
        Ok(Response::new(hq::RerunSessionResponse { session: Some(session.into()) }))
    }

    async fn cancel_session(
        &self,
        request: Request<hq::CancelSessionRequest>,
    ) -> Result<Response<hq::CancelSessionResponse>, Status> {
        let seq = place(request.get_ref().session_id, "session_id")?;
        let session = self.hq.unhurried(move |hq| async move { hq.cancel(seq).await }).await?;
        Ok(Response::new(hq::CancelSessionResponse { session: Some(session.into()) }))
    }

    async fn list_sync_statuses(
        &self,
        request: Request<hq::ListSyncStatusesRequest>,
    ) -> Result<Response<hq::ListSyncStatusesResponse>, Status> {
        let request = request.into_inner();
        let page_size = page_size(request.page_size, 100, 1_000).map_err(Error::from)?;
        let wanted = wanted(&request).map_err(Error::from)?;
        let page = self.hq.sync_statuses(wanted, page_size, &request.page_token).await?;
        Ok(Response::new(hq::ListSyncStatusesResponse {
            operations: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn correct_operation(
        &self,
        request: Request<hq::CorrectOperationRequest>,
    ) -> Result<Response<hq::CorrectOperationResponse>, Status> {
        let request = request.into_inner();
        let channel = convert::channel_id(&request.channel_id).map_err(Error::from)?;
        let operation = request.operation.ok_or_else(|| required("operation"))?;
        let operation = convert::operation(operation).and_then(|operation| {
            operation.validate()?;
            Ok(operation)
        });
        let operation = operation.map_err(|violations| Error::from(violations.under("operation")))?;
        let work = move |hq: Headquarters<S>| async move { hq.correct(&channel, operation).await };
        let row = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::CorrectOperationResponse { operation: Some(row.into()) }))
    }

    async fn synchronize_operation(
        &self,
        request: Request<hq::SynchronizeOperationRequest>,
    ) -> Result<Response<hq::SynchronizeOperationResponse>, Status> {
        let hq::SynchronizeOperationRequest { channel_id, counter } = request.into_inner();
        let channel = convert::channel_id(&channel_id).map_err(Error::from)?;
        let work = move |hq: Headquarters<S>| async move { hq.synchronize(&channel, counter).await };
        let row = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::SynchronizeOperationResponse { operation: Some(row.into()) }))
    }

    async fn list_attribute_definitions(
        &self,
        _: Request<hq::ListAttributeDefinitionsRequest>,
    ) -> Result<Response<hq::ListAttributeDefinitionsResponse>, Status> {
        let configuration = self.hq.configuration();
        Ok(Response::new(hq::ListAttributeDefinitionsResponse {
            definitions: configuration.attributes.iter().map(Into::into).collect(),
            version: configuration.version,
        }))
    }

    async fn update_attribute_definition(
        &self,
        request: Request<hq::UpdateAttributeDefinitionRequest>,
    ) -> Result<Response<hq::UpdateAttributeDefinitionResponse>, Status> {
        let definition = request.into_inner().definition.ok_or_else(|| required("definition"))?;
        let definition = convert::attribute_definition(&definition).map_err(Error::from)?;
        let version = self.hq.unhurried(move |hq| async move { hq.define(definition).await }).await?;
        Ok(Response::new(hq::UpdateAttributeDefinitionResponse { version }))
    }

    async fn delete_attribute_definition(
        &self,
        request: Request<hq::DeleteAttributeDefinitionRequest>,
    ) -> Result<Response<hq::DeleteAttributeDefinitionResponse>, Status> {
        let name = request.into_inner().name;
        let version = self.hq.unhurried(move |hq| async move { hq.undefine(name).await }).await?;
        Ok(Response::new(hq::DeleteAttributeDefinitionResponse { version }))
    }

    async fn list_number_sequences(
        &self,
        _: Request<hq::ListNumberSequencesRequest>,
    ) -> Result<Response<hq::ListNumberSequencesResponse>, Status> {
        let sequences = self.hq.sequences().await?.into_iter().map(Into::into).collect();
        Ok(Response::new(hq::ListNumberSequencesResponse { sequences }))
    }

    async fn update_number_sequence(
        &self,
        request: Request<hq::UpdateNumberSequenceRequest>,
    ) -> Result<Response<hq::UpdateNumberSequenceResponse>, Status> {
        let asked = request.into_inner().sequence.ok_or_else(|| required("sequence"))?;
        let (kind, asked) = sequence(&asked).map_err(Error::from)?;
        let work = move |hq: Headquarters<S>| async move { hq.set_sequence(kind, asked).await };
        let state = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::UpdateNumberSequenceResponse { sequence: Some(state.into()) }))
    }

    async fn list_possible_duplicates(
        &self,
        request: Request<hq::ListPossibleDuplicatesRequest>,
    ) -> Result<Response<hq::ListPossibleDuplicatesResponse>, Status> {
        let request = request.into_inner();
        let page_size = page_size(request.page_size, 100, 1_000).map_err(Error::from)?;
        let page = self.hq.possible_duplicates(page_size, &request.page_token).await?;
        Ok(Response::new(hq::ListPossibleDuplicatesResponse {
            pairs: page.items.into_iter().map(Into::into).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn dismiss_possible_duplicate(
        &self,
        request: Request<hq::DismissPossibleDuplicateRequest>,
    ) -> Result<Response<hq::DismissPossibleDuplicateResponse>, Status> {
        let request = request.into_inner();
        let id = |field, text: &str| {
            text.parse::<CustomerId>().map_err(|error| Error::from(Violations::one(field, error)))
        };
        let one = id("customer_id", &request.customer_id)?;
        let other = id("other_customer_id", &request.other_customer_id)?;
        self.hq.unhurried(move |hq| async move { hq.dismiss(one, other).await }).await?;
        Ok(Response::new(hq::DismissPossibleDuplicateResponse {}))
    }

    async fn diagnose(
        &self,
        request: Request<hq::DiagnoseRequest>,
    ) -> Result<Response<hq::DiagnoseResponse>, Status> {
        let request = request.into_inner();
        let channel = (!request.channel_id.is_empty()).then(|| convert::channel_id(&request.channel_id));
        let channel = channel.transpose().map_err(Error::from)?;
        let customer = (!request.customer.is_empty()).then(|| customer_ref(&request.customer));
        let customer = customer.transpose().map_err(Error::from)?;
        let findings = self.hq.diagnose(channel, customer).await?;
        Ok(Response::new(hq::DiagnoseResponse { findings }))
    }

    async fn get_status(
        &self,
        _: Request<hq::GetStatusRequest>,
    ) -> Result<Response<hq::GetStatusResponse>, Status> {
        let status = self.hq.status().await?;
        Ok(Response::new(hq::GetStatusResponse {
            epoch: status.head.epoch.to_string(),
            head_version: status.head.version,
            customers: status.head.customers,
            arrivals_waiting: status.arrivals.waiting,
            arrivals_completed: status.head.arrivals_completed,
            arrivals_set_aside: status.arrivals.set_aside,
            conversions_per_second: status.conversions_per_second,
            channels: status.channels,
            stall: status
                .supervised
                .stall
                .map(|(reason, since)| common::Stall { reason, since: Some(since.into()) }),
            sync_job_restarts: status.supervised.restarts,
            possible_duplicates: status.possible_duplicates,
            awaited_channels: status.awaited,
        }))
    }

    async fn erase_customer(
        &self,
        request: Request<hq::EraseCustomerRequest>,
    ) -> Result<Response<hq::EraseCustomerResponse>, Status> {
        // Who calls is what its credential says; for whom, it may say itself.
        let caller = Caller::of(&request).map(ToString::to_string).unwrap_or_default();
        let hq::EraseCustomerRequest { customer, requested_by } = request.into_inner();
        let (by, asker) = (customer_ref(&customer).map_err(Error::from)?, Asker { caller, requested_by });
        let work = move |hq: Headquarters<S>| async move { hq.erase(&by, &asker).await };
        let erasure = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::EraseCustomerResponse { erasure: Some(erased(erasure)) }))
    }

    async fn list_erasures(
        &self,
        request: Request<hq::ListErasuresRequest>,
    ) -> Result<Response<hq::ListErasuresResponse>, Status> {
        let request = request.into_inner();
        let page_size = page_size(request.page_size, 100, 1_000).map_err(Error::from)?;
        let customer = (!request.customer_id.is_empty()).then(|| request.customer_id.parse::<CustomerId>());
        let customer = customer.transpose();
        let customer = customer.map_err(|error| Error::from(Violations::one("customer_id", error)))?;
        let page = self.hq.erasures(customer, page_size, &request.page_token).await?;
        Ok(Response::new(hq::ListErasuresResponse {
            erasures: page.items.into_iter().map(erased).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn end_recovery(
        &self,
        request: Request<hq::EndRecoveryRequest>,
    ) -> Result<Response<hq::EndRecoveryResponse>, Status> {
        let channel = &request.get_ref().channel_id;
        let channel = (!channel.is_empty()).then(|| convert::channel_id(channel));
        let channel = channel.transpose().map_err(Error::from)?;
        let work = move |hq: Headquarters<S>| async move { hq.end_recovery(channel.as_ref()).await };
        let awaited_channels = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::EndRecoveryResponse { awaited_channels }))
    }
}

fn place(number: u64, field: &str) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Violations::one(field, "is larger than 2^63 - 1").into())
}

fn required(field: &str) -> Error {
    Violations::one(field, "is required").into()
}

fn erased(one: Erasure) -> hq::Erasure {
    let confirmed = one.confirmed.into_iter();
    let confirmations = confirmed
        .map(|(channel_id, at)| hq::ErasureConfirmation { channel_id, confirm_time: Some(at.into()) })
        .collect();
    hq::Erasure {
        customer_id: one.customer.to_string(),
        caller: one.asker.caller,
        requested_by: one.asker.requested_by,
        erase_time: Some(one.erased_at.into()),
        confirmations,
        awaited_channels: one.awaited,
    }
}

fn set_aside(one: SetAside) -> hq::SetAside {
    let operation = match &one.payload {
        StoredPayload::Good(operation) => operation.into(),
        // It came as a message once, so it is one.
        StoredPayload::Bad(raw) => common::Operation::decode(raw.as_slice()).unwrap_or_default(),
    };
    let operation = Some(common::Operation { counter: one.counter, ..operation });
    hq::SetAside {
        channel_id: one.channel,
        operation,
        reason: one.reason,
        message: one.message,
        attempts: one.attempts,
        next_attempt_time: one.next_attempt_at.map(|at| Micros(at).into()),
    }
}
