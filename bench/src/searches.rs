//! How fast a store finds customers among many, while others are created: by a word of the name, by first and last name,
//! by e-mail, by the beginning of a phone number, by account number. Those who are looked for were made all along, so they
//! lie everywhere. And how many it takes that are new, among so many: the same callers, closed-loop, in turn with the empty
//! call.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use rand::RngExt as _;
use serde::Serialize;
use service_kit::clock::Clock;
use tillsync_proto::{
    pb::{
        channel::{
            CreateCustomerRequest, GetCustomerRequest, SearchCustomersRequest,
            search_customers_request::Criterion,
        },
        common::{ContactKind, Customer, customer::Party},
    },
    search::words,
};
use tokio_util::sync::CancellationToken;

use crate::{
    bed::{Bed, BedArgs, customers, follow, level, ms, seconds},
    callers::{Callers, Kind, Paced},
    ceiling::{Client, Driver},
    cli::within,
    customers::{customer, guid, rng_of},
    error::Error,
    progress::Progress,
    result::{ServiceUsage, TwoPercentiles},
    services::Store,
    stats::{Durations, Spread},
    usage::Usages,
};

/// Callers that fill the store, their connections, and how long they do between looks at how many there are.
const CALLERS: u16 = 64;
const CONNECTIONS: u16 = 4;
const SPELL: Duration = Duration::from_secs(1);
/// Customers to look for that are made at the start, and have account numbers; and after each spell.
const NUMBERED: u64 = 200;
const EACH_SPELL: u64 = 20;

/// Options of the searches.
#[derive(Debug, Clone, Args)]
pub struct SearchesArgs {
    /// How many customers there are, in growing order, each 1000 to 100 million.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000", value_parser = customers, value_name = "LIST")]
    pub customers: Vec<u64>,
    /// Creates per second meanwhile, 0 to 100000.
    #[arg(long, default_value = "2000", value_parser = rate, allow_negative_numbers = true)]
    pub creates: f64,
    /// Seconds of each kind of search, of the empty call and of creates, 0.25 to 3600.
    #[arg(long, default_value = "5", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Rounds of empty calls and creates among so many customers, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Where.
    #[command(flatten)]
    pub bed: BedArgs,
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.0..=100_000.0)
}

/// What is looked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A word of the name.
    Name,
    /// First and last name.
    Names,
    /// The whole e-mail.
    Email,
    /// The first digits of a phone, all but the last two.
    Phone,
    /// The account number.
    Account,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Name, Self::Names, Self::Email, Self::Phone, Self::Account];

    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Names => "names",
            Self::Email => "e-mail",
            Self::Phone => "phone",
            Self::Account => "account",
        }
    }
}

/// Somebody to look for.
struct Known {
    customer: Customer,
    account: Option<String>,
}

impl Known {
    fn criterion(&self, by: By) -> Option<Criterion> {
        let contact = |kind: ContactKind| {
            let mut contacts = self.customer.contacts.iter().filter(|contact| contact.kind() == kind);
            contacts.next().map(|contact| contact.value.clone())
        };
        Some(match by {
            By::Name => Criterion::Name(keyword(match self.customer.party.as_ref()? {
                Party::Person(person) => &person.last_name,
                Party::Organization(organization) => &organization.name,
            })?),
            By::Names => match self.customer.party.as_ref()? {
                Party::Person(person) => {
                    Criterion::Name(format!("{} {}", person.first_name, person.last_name))
                }
                Party::Organization(_) => return None,
            },
            By::Email => Criterion::Email(contact(ContactKind::Email)?),
            By::Phone => {
                let phone = contact(ContactKind::Phone)?;
                Criterion::Phone(phone.get(..phone.len().checked_sub(2)?)?.to_owned())
            }
            By::Account => Criterion::AccountNumber(self.account.clone()?),
        })
    }
}

/// The longest word: of `O'Connell` not the `O`.
fn keyword(name: &str) -> Option<String> {
    words(name).into_iter().max_by_key(String::len)
}

/// What was found among so many customers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Among {
    /// How many there were at the beginning.
    pub customers: u64,
    /// Acknowledged creates per second, closed-loop, before the searches.
    pub most_creates_per_s: Spread,
    /// The same, of the empty calls that the store takes in turn with them.
    pub to_empty: Spread,
    /// Creates per second meanwhile, as they were acknowledged.
    pub creates_per_s: f64,
    /// The kinds of search.
    pub searches: Vec<Search>,
    /// What each service used meanwhile, creates closed-loop included, and its memory.
    pub services: Vec<ServiceUsage>,
}

/// One kind of search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Search {
    /// By what.
    pub by: By,
    /// How long one took, one after the other.
    pub answer_ms: TwoPercentiles,
    /// Those that failed, or did not find whom they looked for: by names and phone only if nobody was found.
    pub missed: u64,
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn searches(args: SearchesArgs) -> Result<ExitCode, Error> {
    let found = measure(&args).await?;
    args.bed.print(&found, |found| render(found))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts headquarters and a store, fills it, and searches.
///
/// # Errors
///
/// As [`searches`].
pub async fn measure(args: &SearchesArgs) -> Result<Vec<Among>, Error> {
    if !args.customers.is_sorted() {
        return Err(Error::Usage("--customers is not in growing order".to_owned()));
    }
    let bed = Bed::start(&args.bed, None).await?;
    let (clock, store) = (&bed.clock, bed.store());

    let mut people = People { seed: args.bed.seed, next: 0, known: Vec::new() };
    people.make(store, clock, NUMBERED).await?;
    follow(store, clock.as_ref(), async |status| status.pending_customers == 0).await?;
    for known in &mut people.known {
        let request = GetCustomerRequest { customer: known.customer.customer_id.clone(), scope: 0 };
        let said =
            store.till(0).get_customer(request).await.map_err(|status| Error::service(&store.id, status))?;
        known.account = said.into_inner().customer.map(|customer| customer.account_number);
    }
    bed.hold_jobs(true).await?;

    let callers = bed.callers(CALLERS, CONNECTIONS, args.bed.seed).await?;
    let progress = Progress::new(true, None);
    let mut found = Vec::new();
    for size in &args.customers {
        while store.status().await?.customers < *size {
            Callers::run(&callers, &bed.generator, Kind::Create, SPELL).await;
            people.make(store, clock, EACH_SPELL).await?;
        }
        level(store).await?;
        let customers = store.status().await?.customers;
        progress.say(&format!("{customers} customers are there; it is measured"));
        let before = Usages::now(&bed.fleet.watched).await;
        let stop = CancellationToken::new();
        let searching = async {
            let mut searches = Vec::new();
            for by in By::ALL {
                searches.push(people.search(store, clock, by, Duration::from_secs_f64(args.seconds)).await);
            }
            stop.cancel();
            searches
        };
        let creating = async {
            match args.creates > 0.0 {
                true => Callers::pace(&callers, &bed.generator, Kind::Create, args.creates, &stop).await,
                false => Ok(Paced::default()),
            }
        };
        let (searches, created) = tokio::join!(searching, creating);
        let creates_per_s = created?.per_s();
        // After the searches: a round makes many more customers.
        let driver = Driver {
            client: Client::Tonic,
            callers: Arc::clone(&callers),
            bed: &bed,
            connections: CONNECTIONS,
        };
        let mut rounds = Vec::new();
        for _ in 0..args.rounds {
            rounds.extend(driver.round(Duration::from_secs_f64(args.seconds)).await?.map(|(round, _)| round));
        }
        let services = Usages::now(&bed.fleet.watched).await.since(&before);
        found.push(Among {
            customers,
            most_creates_per_s: Spread::of(rounds.iter().map(|round| round.create_per_s)),
            to_empty: Spread::of(rounds.iter().map(|round| round.ratio)),
            creates_per_s,
            searches,
            services,
        });
        level(store).await?;
    }
    drop(callers);
    bed.end().await?;
    Ok(found)
}

/// Those who are looked for.
struct People {
    seed: u64,
    next: u64,
    known: Vec<Known>,
}

impl People {
    /// Makes some more, one after the other.
    async fn make(&mut self, store: &Store, clock: &Arc<dyn Clock>, count: u64) -> Result<(), Error> {
        for _ in 0..count {
            let mut rng = rng_of(self.seed, 3, self.next);
            self.next += 1;
            let id = guid(clock.wall_micros(), &mut rng);
            let customer = customer(id, &mut rng);
            let request = CreateCustomerRequest {
                customer: Some(customer.clone()),
                customer_id: id.to_string(),
                validate_only: false,
            };
            let created = store.till(0).create_customer(request).await;
            created.map_err(|status| Error::service(&store.id, status))?;
            let customer = Customer { customer_id: id.to_string(), ..customer };
            self.known.push(Known { customer, account: None });
        }
        Ok(())
    }

    /// Looks for one after the other, for so long.
    async fn search(&self, store: &Store, clock: &Arc<dyn Clock>, by: By, length: Duration) -> Search {
        let (mut answers, mut missed, end) = (Durations::default(), 0, clock.now() + length);
        let mut rng = rng_of(self.seed, 4, by as u64);
        // Who has no account number is not looked for by it.
        let known: Vec<(&Known, Criterion)> =
            self.known.iter().filter_map(|known| Some((known, known.criterion(by)?))).collect();
        while clock.now() < end && !known.is_empty() {
            let (known, criterion) = &known[rng.random_range(0..known.len())];
            let request = SearchCustomersRequest { criterion: Some(criterion.clone()), ..Default::default() };
            let begun = clock.now();
            let said = store.watcher(0).search_customers(request).await;
            answers.record(clock.now().saturating_duration_since(begun));
            let found = said.map(|said| said.into_inner().customers).unwrap_or_default();
            let there = match by {
                By::Name | By::Names | By::Phone => !found.is_empty(),
                By::Email | By::Account => {
                    found.iter().any(|found| found.customer_id == known.customer.customer_id)
                }
            };
            missed += u64::from(!there);
        }
        Search { by, answer_ms: answers.two(), missed }
    }
}

fn render(found: &[Among]) -> String {
    let mut text = "customers   creates/s  ".to_owned();
    for by in By::ALL {
        text += &format!("{:>9} p50     p99", by.name());
    }
    text += "   missed\n";
    for among in found {
        text += &format!("{:>9} {:>11.0}  ", among.customers, among.creates_per_s);
        for search in &among.searches {
            text += &format!("{:>13} {:>7}", ms(search.answer_ms.p50), ms(search.answer_ms.p99));
        }
        text += &format!("{:>9}\n", among.searches.iter().map(|search| search.missed).sum::<u64>());
        let used: Vec<String> = among
            .services
            .iter()
            .map(|usage| format!("{} {:.0} MB", usage.name, usage.rss_bytes / 1e6))
            .collect();
        text += &format!(
            "          {CALLERS} callers created {:.0} per second, {:.2} of empty calls; memory: {}\n",
            among.most_creates_per_s.median,
            among.to_empty.median,
            used.join(", ")
        );
    }
    text + "\nMilliseconds from one search to its answer, one at a time, while creates come in at the rate shown.\nCreates and empty calls \
        closed-loop, in turn; medians.\n"
}
