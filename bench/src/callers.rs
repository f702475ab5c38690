//! Closed-loop calls: each caller waits for its answer before it calls again, so the figures are rates and nothing else.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prost::{Message as _, bytes::Bytes};
use service_kit::clock::Clock;
use tillsync_proto::pb::channel::CreateCustomerRequest;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, client::Grpc};

use crate::{
    customers::{customer, guid, rng_of},
    error::Error,
    generator::Generator,
    pacer::pace,
    raw::{Template, call},
    stats::Durations,
    way::{Way, connect},
};

/// Customers that are drawn beforehand; each create sends one of them with a GUID and an e-mail of its own.
const TEMPLATES: u64 = 256;
/// Most calls of a steady rate that are under way at once.
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

/// Calls that were sent at a rate.
#[derive(Debug, Clone, Default)]
pub struct Paced {
    /// How long each took that was answered, from the instant at which it was due.
    pub answer: Durations,
    /// How many failed.
    pub failed: u64,
    /// How long it went on.
    pub seconds: f64,
}

impl Paced {
    /// Answers per second.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        self.answer.count() as f64 / self.seconds.max(f64::EPSILON)
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

    /// Calls at this rate until it is stopped, whatever the answers do (open-loop); each is timed from the instant at which it
    /// was due. A call that is due while [`MOST_UNDER_WAY`] wait for their answers has failed.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub async fn pace(
        this: &Arc<Self>,
        generator: &Generator,
        kind: Kind,
        per_s: f64,
        stop: &CancellationToken,
    ) -> Result<Paced, Error> {
        let (clock, handle) = (Arc::clone(&this.clock), generator.handle());
        let (paced, room) =
            (Arc::new(Mutex::new(Paced::default())), Arc::new(Semaphore::new(MOST_UNDER_WAY)));
        let begun = clock.now();
        let dues = (0_u64..).map(move |number| (Duration::from_secs_f64(number as f64 / per_s), number));
        let (callers, counted, places) = (Arc::clone(this), Arc::clone(&paced), Arc::clone(&room));
        let send = move |number: u64, due| {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                count(&counted).failed += 1;
                return;
            };
            let (callers, counted) = (Arc::clone(&callers), Arc::clone(&counted));
            handle.spawn(async move {
                let connection = callers.connections[number as usize % callers.connections.len()].clone();
                let answer = callers.call(&mut Grpc::new(connection), kind).await;
                let took = callers.clock.now().saturating_duration_since(due);
                let mut counted = count(&counted);
                match answer {
                    Ok(()) => counted.answer.record(took),
                    Err(_) => counted.failed += 1,
                }
                drop(place);
            });
        };
        // It ends when it is stopped, and tells nothing else.
        let _ = pace(Arc::clone(&clock), begun, dues, stop.clone(), send)?.await;
        let seconds = clock.now().saturating_duration_since(begun).as_secs_f64();
        // The last answers.
        let _ = room.acquire_many(u32::try_from(MOST_UNDER_WAY).unwrap_or(u32::MAX)).await;
        let found = std::mem::take(&mut *count(&paced));
        Ok(Paced { seconds, ..found })
    }

    /// The same for so long.
    ///
    /// # Errors
    ///
    /// As [`Callers::pace`].
    pub async fn pace_for(
        this: &Arc<Self>,
        generator: &Generator,
        kind: Kind,
        per_s: f64,
        length: Duration,
    ) -> Result<Paced, Error> {
        let stop = CancellationToken::new();
        let end = async {
            sleep(length).await;
            stop.cancel();
        };
        tokio::join!(Self::pace(this, generator, kind, per_s, &stop), end).0
    }

    async fn caller(self: Arc<Self>, number: usize, kind: Kind, end: Instant) -> (u64, u64) {
        let connection = self.connections[number % self.connections.len()].clone();
        let mut client = Grpc::new(connection);
        let (mut answered, mut failed) = (0, 0);
        while self.clock.now() < end {
            match self.call(&mut client, kind).await {
                Ok(()) => answered += 1,
                Err(_) => failed += 1,
            }
        }
        (answered, failed)
    }

    async fn call(&self, client: &mut Grpc<Way>, kind: Kind) -> Result<(), Status> {
        match kind {
            Kind::Ping => call(client, PING, Bytes::new()).await,
            Kind::Create => call(client, CREATE, self.create()).await,
        }
    }

    fn create(&self) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = guid(self.clock.wall_micros(), &mut rng_of(self.seed, 1, number));
        self.templates[(number % TEMPLATES) as usize].with(id)
    }
}

fn count(paced: &Mutex<Paced>) -> MutexGuard<'_, Paced> {
    paced.lock().unwrap_or_else(PoisonError::into_inner)
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
