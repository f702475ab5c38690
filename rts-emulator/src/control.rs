//! The control of a running emulator (rule R6).

use std::{sync::Arc, time::Duration};

use tillsync_proto::{
    Violations,
    pb::emulator::{
        EndOutageRequest, EndOutageResponse, GetFiguresRequest, GetFiguresResponse, GetProfileRequest,
        GetProfileResponse, StartOutageRequest, StartOutageResponse, UpdateProfileRequest,
        UpdateProfileResponse, emulator_service_server::EmulatorService,
    },
};
use tonic::{Request, Response, Status};

use crate::{gate::Gate, model::MAX_MS, profile::Profile, status};

/// The service.
pub(crate) struct Control(pub(crate) Arc<Gate>);

#[tonic::async_trait]
impl EmulatorService for Control {
    async fn get_profile(
        &self,
        _request: Request<GetProfileRequest>,
    ) -> Result<Response<GetProfileResponse>, Status> {
        Ok(Response::new(GetProfileResponse { profile_toml: self.0.profile().to_toml()? }))
    }

    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        self.0.set_profile(Profile::parse(&request.get_ref().profile_toml)?)?;
        Ok(Response::new(UpdateProfileResponse {}))
    }

    async fn start_outage(
        &self,
        request: Request<StartOutageRequest>,
    ) -> Result<Response<StartOutageResponse>, Status> {
        let duration = request.into_inner().duration.map(outage_duration).transpose();
        self.0.start_outage(duration.map_err(|violations| status::invalid(&violations))?);
        Ok(Response::new(StartOutageResponse {}))
    }

    async fn end_outage(
        &self,
        _request: Request<EndOutageRequest>,
    ) -> Result<Response<EndOutageResponse>, Status> {
        self.0.end_outage();
        Ok(Response::new(EndOutageResponse {}))
    }

    async fn get_figures(
        &self,
        request: Request<GetFiguresRequest>,
    ) -> Result<Response<GetFiguresResponse>, Status> {
        let (figures, overruns, lateness) = self.0.figures(request.get_ref().reset);
        let time = |nanos| Duration::from_nanos(nanos).try_into().ok();
        Ok(Response::new(GetFiguresResponse {
            elapsed: time(figures.elapsed),
            arrived: figures.arrived,
            completed: figures.completed,
            refused_queue_full: figures.refused_queue_full,
            refused_longest_wait: figures.refused_longest_wait,
            refused_rate_limit: figures.refused_rate_limit,
            refused_outage: figures.refused_outage,
            failed_injected: figures.injected,
            abandoned: figures.abandoned,
            overruns,
            queue_now: figures.queue_now,
            queue_max: figures.queue_max,
            busy_now: figures.busy_now,
            workers: figures.workers,
            utilization: figures.utilization,
            mean_wait: time(figures.mean_wait),
            mean_service: time(figures.mean_service),
            mean_timer_lateness: Some(prost_types::Duration {
                seconds: lateness / 1_000_000_000,
                nanos: i32::try_from(lateness % 1_000_000_000).unwrap_or_default(),
            }),
            outage: figures.outage,
            refused_throttle: figures.refused_throttle,
            batch_now: figures.batch_now,
            slowness: figures.slowness,
        }))
    }
}

fn outage_duration(duration: prost_types::Duration) -> Result<Duration, Violations> {
    let duration = Duration::try_from(duration).map_err(|_| Violations::one("duration", "is negative"))?;
    if duration.is_zero() {
        return Err(Violations::one("duration", "is not more than 0"));
    }
    if duration.as_secs_f64() * 1e3 > MAX_MS {
        return Err(Violations::one("duration", "is more than 366 days"));
    }
    Ok(duration)
}
