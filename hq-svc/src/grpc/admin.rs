//! `tillsync.hq.v1.AdminService`.

use prost::Message as _;
use service_kit::deadline::Deadline;
use tillsync_proto::{
    Feature, Micros, Violations, convert,
    pb::{
        common,
        hq::{self, admin_service_server::AdminService},
    },
};
use tonic::{Request, Response, Status, async_trait};

use super::{job, page_size};
use crate::{
    error::Error,
    hq::Headquarters,
    store::{SetAside, Store, StoredPayload},
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
        let work = move |hq: Headquarters<S>| async move { hq.set_profile(&channel, profile).await };
        let version = self.hq.unhurried(work).await?;
        Ok(Response::new(hq::UpdateProfileResponse { version }))
    }

    async fn list_flags(
        &self,
        _: Request<hq::ListFlagsRequest>,
    ) -> Result<Response<hq::ListFlagsResponse>, Status> {
        let (on, version) = self.hq.flags().await?;
        let flag =
            |feature| hq::Flag { feature: common::Feature::from(feature).into(), enabled: on.has(feature) };
        let flags = Feature::ALL.into_iter().map(flag).collect();
        Ok(Response::new(hq::ListFlagsResponse { flags, version }))
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
        }))
    }
}

fn required(field: &str) -> Error {
    Violations::one(field, "is required").into()
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
