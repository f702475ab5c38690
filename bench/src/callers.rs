//! Closed-loop calls: each caller waits for its answer before it calls again, so the figures are rates and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prost::{Message as _, bytes::Bytes};
use service_kit::clock::Clock;
use tillsync_proto::pb::channel::CreateCustomerRequest;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;

use crate::{
    customers::{customer, guid, rng_of},
    error::Error,
    generator::Generator,
    raw::{Template, call},
    way::{Way, connect},
};

/// Customers that are drawn beforehand; each create sends one of them with a GUID and an e-mail of its own.
const TEMPLATES: u64 = 256;
/// Most creates of a steady rate that are under way at once.
const MOST_UNDER_WAY: usize = 4_096;
/// The empty call.
pub const PING: &str = "/tillsync.channel.v1.StatusService/Ping";
/// The create.
pub const CREATE: &str = "/tillsync.channel.v1.CustomerService/CreateCustomer";

/// What is called.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Nothing.
    Ping,
    /// An async create.
    Create,
}

/// Calls that were answered, and how long they took together.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    /// How many.
    pub answered: u64,
    /// How many failed beside them.
    pub failed: u64,
    /// How long.
    pub elapsed: Duration,
}

impl Calls {
    /// Their rate.
    #[must_use]
    pub fn per_s(self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }
}

/// Callers that each wait for the answer before the next call.
pub struct Callers {
    clock: Arc<dyn Clock>,
    connections: Vec<Way>,
    callers: u16,
    seed: u64,
    templates: Vec<Template>,
    /// Numbers each create, so that its GUID is its own.
    next: AtomicU64,
}

impl Callers {
    /// So many, on so many connections.
    ///
    /// # Errors
    ///
    /// As for [`connect`].
    pub async fn connect(
        generator: &Generator,
        address: &str,
        callers: u16,
        connections: u16,
        seed: u64,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let connections = connected(generator, address, connections).await?;
        let template = |number| {
            let mut rng = rng_of(seed, 0, number);
            let id = guid(0, &mut rng);
            let customer = Some(customer(id, &mut rng));
            let request =
                CreateCustomerRequest { customer, customer_id: id.to_string(), validate_only: false };
            Template::new(&request, id)
        };
        Ok(Self {
            clock: Arc::clone(clock),
            connections,
            callers,
            seed,
            templates: (0..TEMPLATES).filter_map(template).collect(),
            next: AtomicU64::new(0),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.callers
    }

    /// A create without a GUID: the store mints another one each time.
    #[must_use]
    pub fn without_guid(&self) -> Vec<u8> {
        let mut rng = rng_of(self.seed, 0, 0);
        let customer = Some(customer(guid(0, &mut rng), &mut rng));
        CreateCustomerRequest { customer, ..Default::default() }.encode_to_vec()
    }

    /// What all callers together get done in this time.
    pub async fn run(this: &Arc<Self>, generator: &Generator, kind: Kind, length: Duration) -> Calls {
        let start = this.clock.now();
        let end = start + length;
        let mut callers = JoinSet::new();
        for number in 0..this.callers {
            callers.spawn_on(Arc::clone(this).caller(number.into(), kind, end), &generator.handle());
        }
        let each = callers.join_all().await.into_iter();
        let (answered, failed) = each.fold((0, 0), |(good, bad), each| (good + each.0, bad + each.1));
        Calls { answered, failed, elapsed: this.clock.now().saturating_duration_since(start) }
    }

    /// Creates at this rate until it is stopped, whatever the answers do as long as no more than [`MOST_UNDER_WAY`] wait for
    /// them; gives how many were acknowledged.
    pub async fn pace(this: &Arc<Self>, per_s: f64, tick: Duration, stop: &CancellationToken) -> u64 {
        let clock = &this.clock;
        let (begun, mut sent, mut calls) = (clock.now(), 0_u64, JoinSet::new());
        let mut answered = 0;
        while stop.run_until_cancelled(sleep(tick)).await.is_some() {
            let due = clock.now().saturating_duration_since(begun).as_secs_f64() * per_s;
            while (sent as f64) < due && calls.len() < MOST_UNDER_WAY {
                let connection = this.connections[sent as usize % this.connections.len()].clone();
                let message = this.create();
                calls.spawn(async move { call(&mut Grpc::new(connection), CREATE, message).await.is_ok() });
                sent += 1;
            }
            while let Some(ended) = calls.try_join_next() {
                answered += u64::from(ended.unwrap_or(false));
            }
        }
        answered + calls.join_all().await.into_iter().map(u64::from).sum::<u64>()
    }

    async fn caller(self: Arc<Self>, number: usize, kind: Kind, end: Instant) -> (u64, u64) {
        let connection = self.connections[number % self.connections.len()].clone();
        let mut client = Grpc::new(connection);
        let (mut answered, mut failed) = (0, 0);
        while self.clock.now() < end {
            let answer = match kind {
                Kind::Ping => call(&mut client, PING, Bytes::new()).await,
                Kind::Create => call(&mut client, CREATE, self.create()).await,
            };
            match answer {
                Ok(()) => answered += 1,
                Err(_) => failed += 1,
            }
        }
        (answered, failed)
    }

    fn create(&self) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = guid(self.clock.wall_micros(), &mut rng_of(self.seed, 1, number));
        self.templates[(number % TEMPLATES) as usize].with(id)
    }
}

/// So many connections, which the generator's threads drive.
///
/// # Errors
///
/// As for [`connect`].
pub async fn connected(generator: &Generator, address: &str, count: u16) -> Result<Vec<Way>, Error> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let address = address.to_owned();
        let connecting = generator.spawn(async move { connect(&address).await });
        connections.push(connecting.await.map_err(std::io::Error::from)??);
    }
    Ok(connections)
}
