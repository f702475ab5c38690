//! A stream is open only as long as its caller may call.

use service_kit::{
    door,
    way::{Credentials, Way},
};
use tillsync_proto::{
    access::{ADMINISTRATOR, CHANNEL},
    pb::{
        common::Schedule,
        hq::{
            GetStatusRequest, ListSchedulesRequest, UpdateScheduleRequest, WatchJobsRequest,
            WatchJobsResponse, admin_service_client::AdminServiceClient,
            data_exchange_service_client::DataExchangeServiceClient,
        },
    },
};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::Chain;
use crate::client::{PATIENCE, until};

/// The number of the certificate that is revoked.
const REVOKED: u64 = 98;

/// A channel that listens for its jobs at headquarters.
struct Listens {
    exchange: DataExchangeServiceClient<Way>,
    jobs: Streaming<WatchJobsResponse>,
}

impl Listens {
    async fn begin(credentials: Credentials, hq: &str) -> Self {
        let mut exchange =
            DataExchangeServiceClient::new(credentials.connect(hq).await.expect("a connection"));
        let mut listening = None;
        until("headquarters lets it listen", async || {
            listening = exchange.watch_jobs(WatchJobsRequest::default()).await.ok();
            listening.is_some()
        })
        .await;
        Self { jobs: listening.expect("a stream").into_inner(), exchange }
    }

    /// What is said next; with patience.
    async fn next(&mut self) -> Result<WatchJobsResponse, Status> {
        let next = timeout(PATIENCE, self.jobs.message()).await.expect("something is said");
        next.map(|job| job.expect("it does not end without a word"))
    }

    /// How it ends. On the same connection it cannot begin again.
    async fn ended(mut self) {
        let ended = loop {
            if let Err(status) = self.next().await {
                break status;
            }
        };
        let again = self.exchange.watch_jobs(WatchJobsRequest::default()).await.expect_err("revoked");
        for status in [ended, again] {
            assert_eq!(
                (status.code(), service_kit::problem::reason(&status).as_deref()),
                (Code::Unauthenticated, Some("UNAUTHENTICATED"))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn z4_a_stream_ends_when_its_token_or_certificate_is_revoked_and_others_go_on() {
    let chain = Chain::start().await;
    let hq = chain.services[0].1.as_str();
    let by_token = Listens::begin(chain.token("hq", CHANNEL, "store-7"), hq).await;
    let by_certificate = Listens::begin(chain.certificate_of(REVOKED, CHANNEL, "store-8"), hq).await;
    let mut others = vec![
        Listens::begin(chain.token("hq", CHANNEL, "store-9"), hq).await,
        Listens::begin(chain.certificate(CHANNEL, "store-10"), hq).await,
    ];
    door::revoke(&chain.file("hq"), CHANNEL, "store-7", 0).expect("taken back");
    by_token.ended().await;
    chain.authority.revoke(REVOKED, &chain.file("crl.pem"));
    by_certificate.ended().await;
    // The others hear of what happens after it.
    let admin = chain.token("hq", ADMINISTRATOR, "ann").connect(hq).await.expect("a connection");
    let admin = AdminServiceClient::new(admin);
    until("the administrator is known", async || admin.clone().get_status(GetStatusRequest {}).await.is_ok())
        .await;
    let schedules = admin.clone().list_schedules(ListSchedulesRequest {}).await.expect("schedules");
    for schedule in schedules.into_inner().schedules {
        let request = UpdateScheduleRequest { schedule: Some(Schedule { held: true, ..schedule }) };
        admin.clone().update_schedule(request).await.expect("held");
    }
    for other in &mut others {
        while !other.next().await.expect("it goes on").schedule.is_some_and(|schedule| schedule.held) {}
    }
    chain.stop.cancel();
}
