//! What the emulator itself costs (rule R5): a call through a profile that adds nothing, against the same call to
//! the same headquarters directly, in turn in the same run.

use std::{fmt, sync::Arc, time::Duration};

use service_kit::{
    clock::{Clock, Ids},
    config::listen,
    door::{Access, DoorConfig},
    serve::Server,
};
use tillsync_proto::pb::{
    self,
    hq::{
        GetCustomerRequest, real_time_service_client::RealTimeServiceClient,
        real_time_service_server::RealTimeServiceServer,
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint},
};

use crate::{
    alone::MemoryHq,
    check_queue::CheckError,
    profile::Profile,
    server::{Deps, EmulatorError, serve},
};

/// Calls of each kind in a round, and calls before the first round.
const CALLS: u32 = 2_000;
const WARMUP: u32 = 1_000;
/// What a call through the emulator may take more: this share of a direct call, and a fixed time.
const SHARE: f64 = 0.25;
const FIXED_US: f64 = 100.0;

/// What was found in a round; medians, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// A call to headquarters.
    pub direct_us: f64,
    /// The same through the emulator.
    pub through_us: f64,
}

impl Round {
    /// What the emulator adds.
    #[must_use]
    pub fn added_us(&self) -> f64 {
        self.through_us - self.direct_us
    }

    /// What it may add: a quarter of the direct call, and 100 microseconds.
    #[must_use]
    pub fn bound_us(&self) -> f64 {
        SHARE.mul_add(self.direct_us, FIXED_US)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (direct, through) = (self.direct_us, self.through_us);
        write!(f, "{direct:>9.1} {through:>9.1} {:>8.1} {:>8.1}", self.added_us(), self.bound_us())
    }
}

/// Measures so many rounds, with a headquarters in memory on loopback; each is told as it ends.
///
/// # Errors
///
/// [`CheckError`].
pub async fn measure(
    clock: Arc<dyn Clock>,
    rounds: u32,
    told: impl Fn(&Round),
) -> Result<Vec<Round>, CheckError> {
    let stop = CancellationToken::new();
    let listener = listen(([127, 0, 0, 1], 0).into(), &DoorConfig::default(), false).await?;
    let hq_url = format!("http://{}", listener.local_addr()?);
    let memory = MemoryHq::new(Ids::seeded(Arc::clone(&clock), 1).mint());
    let hq = Server {
        routes: Routes::new(RealTimeServiceServer::new(memory)),
        names: &["tillsync.hq.v1.RealTimeService"],
        descriptors: pb::DESCRIPTORS,
        web: Vec::new(),
        door: DoorConfig::default(),
        access: Access::default(),
        clock: Arc::clone(&clock),
    };
    let hq = tokio::spawn(hq.serve(listener, stop.clone()));
    let listener = listen(([127, 0, 0, 1], 0).into(), &DoorConfig::default(), false).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let deps = Deps::forwarding(Profile::preset("idle")?, &hq_url, Arc::clone(&clock));
    let emulator = tokio::spawn(serve(listener, stop.clone(), deps));
    let (direct, through) = (connect(hq_url).await?, connect(url).await?);
    for client in [&direct, &through] {
        calls(&*clock, client, WARMUP).await;
    }
    let mut found = Vec::new();
    for _ in 0..rounds {
        let direct_us = calls(&*clock, &direct, CALLS).await;
        let through_us = calls(&*clock, &through, CALLS).await;
        let round = Round { direct_us, through_us };
        told(&round);
        found.push(round);
    }
    drop((direct, through));
    stop.cancel();
    if let Ok(ended) = emulator.await {
        ended?;
    }
    if let Ok(ended) = hq.await {
        ended.map_err(EmulatorError::from)?;
    }
    Ok(found)
}

async fn connect(url: String) -> Result<RealTimeServiceClient<Channel>, CheckError> {
    Ok(RealTimeServiceClient::new(Endpoint::try_from(url)?.tcp_nodelay(true).connect().await?))
}

/// The median time of calls that are made one after the other, in microseconds.
async fn calls(clock: &dyn Clock, client: &RealTimeServiceClient<Channel>, count: u32) -> f64 {
    let mut times: Vec<Duration> = Vec::with_capacity(count as usize);
    for number in 0..count {
        let (mut client, began) = (client.clone(), clock.now());
        // Nobody has this name: being told so is an answer like any other.
        let _ = client.get_customer(GetCustomerRequest { customer: format!("C-{number}") }).await;
        times.push(clock.now() - began);
    }
    let middle = times.len() / 2;
    times.select_nth_unstable(middle).1.as_secs_f64() * 1e6
}

/// The median round, by what the emulator adds.
#[must_use]
pub fn median(rounds: &[Round]) -> Option<Round> {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(|a, b| a.added_us().total_cmp(&b.added_us()));
    rounds.get(rounds.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use service_kit::clock::SystemClock;

    use super::*;

    #[tokio::test]
    async fn r5_the_emulators_own_cost_is_measured() {
        let rounds = measure(Arc::new(SystemClock), 1, |_| {}).await.unwrap();
        // How much it is, the machine decides: rts-emulator overhead measures it.
        assert!(rounds[0].direct_us > 1.0 && rounds[0].through_us > rounds[0].direct_us, "{rounds:?}");
        let round = |direct_us, through_us| Round { direct_us, through_us };
        let three = [round(100.0, 300.0), round(100.0, 180.0), round(100.0, 220.0)];
        assert_eq!(median(&three), Some(round(100.0, 220.0)));
        assert!((three[0].bound_us() - 125.0).abs() < 1e-9);
    }
}
