//! What is measured: services that are started here, or up already (rule B8), opened for measuring and set back
//! afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use prost_types::Timestamp;
use rts_emulator::Profile;
use service_kit::{
    clock::{Clock, SystemClock},
    config::Chain,
};
use tempfile::TempDir;
use tillsync_proto::{Micros, pb::common::FunctionalityProfile};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    acknowledged::Acknowledged,
    embedded::{DURABILITY, Embedded, Place, Wanted},
    error::Error,
    generator::Generator,
    ledger::read::check,
    machine::{self, Usage},
    relay::Relays,
    result::{Checks, Ledger, Mode, ResultFile, Run, SCHEMA_VERSION, Services, Setup, Warning, WarningKind},
    run::{
        Bench, DRAIN_LIMIT,
        generators::{self, Generators},
        known_customer,
    },
    services::{Addresses, Fleet, toml_of},
    way::Credentials,
};

/// The file of acknowledged GUIDs, in the folder for results.
const ACKNOWLEDGED: &str = "acknowledged.txt";

/// Which services are measured.
#[derive(Debug, Clone, Args)]
pub struct SiteArgs {
    /// Embedded channels, 1 to 16.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16), value_name = "N")]
    pub channels: u8,
    /// Processes that make the calls, 1 to 64: more than one where a single one cannot keep up, which it says.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    pub generators: u8,
    /// Keep the temporary folder with the databases, and say where it is.
    #[arg(long)]
    pub keep: bool,
    /// Run the services in this process, in place of one for each: what each of them uses is then not known.
    #[arg(long)]
    pub one_process: bool,
    /// A channel that is up already, such as http://127.0.0.1:7201, ours or any server that speaks the channel's contract;
    /// repeat it for each. Its functionality profile is changed during the runs and set back after them.
    #[arg(long, value_name = "URL")]
    pub channel: Vec<String>,
    /// The headquarters of these channels. Without it the mode is as the channels have it (name it by --modes), and the
    /// ledger is that of the stores alone.
    #[arg(long, value_name = "URL", requires = "channel")]
    pub hq: Option<String>,
    /// The emulator between them. Without it the probe goes to headquarters itself.
    #[arg(long, value_name = "URL", requires = "channel")]
    pub emulator: Option<String>,
    /// What proves to them who calls.
    #[command(flatten)]
    pub credentials: Credentials,
}

impl SiteArgs {
    /// Services that are started in this process, with so many channels.
    #[must_use]
    pub fn here(channels: u8) -> Self {
        Self {
            channels,
            generators: 1,
            keep: false,
            one_process: true,
            channel: Vec::new(),
            hq: None,
            emulator: None,
            credentials: Credentials::default(),
        }
    }

    /// How many channels there are.
    #[must_use]
    pub fn count(&self) -> usize {
        if self.channel.is_empty() { self.channels.into() } else { self.channel.len() }
    }

    /// Checks that a profile, if there is one, has an emulator to go to.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub fn check(&self, has_profile: bool) -> Result<(), Error> {
        if has_profile && !self.channel.is_empty() && self.emulator.is_none() {
            return Err(Error::Usage(
                "--profile needs --emulator: only an emulator has a profile".to_owned(),
            ));
        }
        Ok(())
    }

    /// Checks that the modes can be switched, if there are several.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub fn check_modes(&self, modes: &[Mode]) -> Result<(), Error> {
        if !self.channel.is_empty() && self.hq.is_none() && modes.len() != 1 {
            return Err(Error::Usage(
                "without --hq the mode cannot be switched: name the one that the channels are in, such as --modes async"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// How services are to be opened.
#[derive(Debug, Clone)]
pub struct Opening<'a> {
    /// Which.
    pub site: &'a SiteArgs,
    /// Seed of customers, GUIDs, and headquarters' chance.
    pub seed: u64,
    /// What headquarters is to be like; absent: the default, or as it is.
    pub profile: Option<Profile>,
    /// Calls per second of the probe.
    pub probe_per_s: f64,
    /// How long a channel waits for headquarters.
    pub rts_timeout: Duration,
    /// Most creates of a run that are followed.
    pub sample: usize,
    /// Folder for results.
    pub out: &'a Path,
    /// Whether the ways between embedded channels and headquarters can be cut.
    pub with_relays: bool,
}

/// Services that are being measured.
pub struct Site {
    /// Makes runs.
    pub bench: Bench,
    /// The emulator's profile; absent without an emulator.
    pub profile_toml: Option<String>,
    /// Creates per second that headquarters can serve at most; absent if nothing limits it or nobody knows.
    pub capacity_per_s: Option<f64>,
    started: String,
    began: Instant,
    usage: Usage,
    before: Before,
    embedded: Option<Embedded>,
    folder: Option<TempDir>,
    keep: bool,
}

impl Site {
    /// Starts or finds the services. Cancelling `stop` ends a run early.
    ///
    /// # Errors
    ///
    /// A service that cannot be had, or a file that cannot be written.
    pub async fn open(opening: Opening<'_>, stop: CancellationToken) -> Result<Self, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (began, usage) = (clock.now(), Usage::now());
        let epoch_micros = clock.wall_micros();
        let Opening { site, seed, profile, probe_per_s, rts_timeout, sample, out, with_relays } = opening;
        fs::create_dir_all(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
        let acknowledged = Arc::new(Acknowledged::create(&out.join(ACKNOWLEDGED))?);
        let relays = with_relays.then(Relays::default);
        let (embedded, folder) = if site.channel.is_empty() {
            let folder = tempfile::Builder::new().prefix("tillsync-").tempdir()?;
            let profile = profile.clone().unwrap_or_default();
            let channels = site.channels.into();
            let relays = relays.as_ref();
            let place = if site.one_process { Place::Here } else { Place::Apart };
            let wanted = Wanted { seed, profile, channels, relays, ..Wanted::new(place, folder.path()) };
            let embedded = Embedded::start(wanted, &clock).await?;
            (Some(embedded), Some(folder))
        } else {
            (None, None)
        };
        let addresses = match &embedded {
            Some(embedded) => embedded.addresses.clone(),
            None => Addresses {
                hq: site.hq.clone(),
                emulator: site.emulator.clone(),
                channels: site.channel.clone(),
                credentials: site.credentials.clone(),
            },
        };
        let generator = Generator::start(1)?;
        let connecting = addresses.clone();
        let fleet = generator.spawn(async move { Fleet::connect(&connecting).await });
        let fleet = fleet.await.map_err(std::io::Error::from)??;
        let before = Before::of(&fleet, profile.as_ref()).await?;
        let profile_toml = fleet.emulator_toml().await?;
        let in_force = profile_toml.as_deref().and_then(|text| Profile::parse(text).ok());
        let capacity_per_s = in_force.and_then(|profile| profile.limit_per_s());
        let (mut probe_customer, mut probe_per_s, mut sample) = (Uuid::nil(), probe_per_s, sample);
        if fleet.has_hq() {
            probe_customer = known_customer(&fleet, epoch_micros, seed).await?;
            acknowledged.add(probe_customer);
        } else {
            // There is nowhere to read, and nobody who gives an account number to wait for.
            (probe_per_s, sample) = (0.0, 0);
        }
        let others = generators::Setup {
            addresses,
            seed,
            epoch_micros,
            acknowledged: out.join(ACKNOWLEDGED),
            number: 0,
            of: site.generators.into(),
        };
        let bench = Bench {
            clock,
            fleet,
            generator,
            generators: Generators::start(&others).await?,
            acknowledged,
            seed,
            epoch_micros,
            rts_timeout,
            relays,
            probe_per_s,
            probe_customer,
            sample,
            stop,
        };
        Ok(Self {
            bench,
            profile_toml,
            capacity_per_s,
            started: Timestamp::from(Micros(epoch_micros)).to_string(),
            began,
            usage,
            before,
            embedded,
            folder,
            keep: site.keep,
        })
    }

    /// Keeps the books, sets everything back, ends what was started, and writes down what was measured.
    ///
    /// # Errors
    ///
    /// The temporary folder cannot be removed. What else goes wrong is a warning in the result.
    pub async fn close(
        self,
        setup: Setup,
        runs: Vec<Run>,
        mut warnings: Vec<Warning>,
        command: Vec<String>,
    ) -> Result<ResultFile, Error> {
        let bench = &self.bench;
        let ledger = self.ledger().await;
        let ledger = ledger.map_err(|error| warnings.push(unreadable("the ledger", &error))).ok();
        if let Err(error) = self.before.restore(&bench.fleet).await {
            warnings.push(unreadable("setting the profiles back", &error));
        }
        if let Some(path) = bench.acknowledged.incomplete_file() {
            let text = format!("{} could not be written to the end", path.display());
            warnings.push(Warning { kind: WarningKind::Unreadable, text });
        }
        let embedded = self.embedded.is_some();
        let setup = Setup {
            services: if embedded { Services::Embedded } else { Services::External },
            channels: bench.fleet.stores.len(),
            durability: if embedded { DURABILITY } else { "as the services are set up" }.to_owned(),
            capacity_per_s: self.capacity_per_s,
            profile_toml: self.profile_toml,
            generators: u32::try_from(bench.generators.count()).unwrap_or(u32::MAX),
            ..setup
        };
        let (clock, interrupted) = (Arc::clone(&bench.clock), bench.stop.is_cancelled());
        drop(self.bench);
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
        match self.folder {
            Some(folder) if self.keep => {
                let path: PathBuf = folder.keep();
                eprintln!("Databases: {}", path.display());
            }
            Some(folder) => folder.close()?,
            None => {}
        }
        let elapsed = clock.now().saturating_duration_since(self.began);
        Ok(ResultFile {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: machine::commit(),
            started: self.started,
            elapsed_s: elapsed.as_secs_f64(),
            command,
            interrupted,
            machine: machine::machine(),
            setup,
            runs,
            knees: Vec::new(),
            ledger,
            warnings,
            checks: Checks::default(),
            process: self.usage.since(elapsed),
        })
    }

    async fn ledger(&self) -> Result<Ledger, Error> {
        check(&self.bench.fleet, Some(self.bench.acknowledged.path()), DRAIN_LIMIT).await
    }
}

/// How services that were up already were set up.
struct Before {
    profiles: Vec<FunctionalityProfile>,
    emulator_toml: Option<String>,
}

impl Before {
    /// Remembers it, and gives the emulator the profile that was asked for.
    async fn of(fleet: &Fleet, profile: Option<&Profile>) -> Result<Self, Error> {
        let profiles = if fleet.has_hq() { fleet.profiles().await? } else { Vec::new() };
        let mut emulator_toml = None;
        if let Some(profile) = profile.filter(|_| fleet.emulator.is_some()) {
            emulator_toml = fleet.emulator_toml().await?;
            fleet.set_emulator(&toml_of(profile)?).await?;
        }
        Ok(Self { profiles, emulator_toml })
    }

    async fn restore(&self, fleet: &Fleet) -> Result<(), Error> {
        if let Some(profile_toml) = &self.emulator_toml {
            fleet.set_emulator(profile_toml).await?;
        }
        fleet.set_profiles(&self.profiles).await
    }
}

/// Something that could not be read.
pub(crate) fn unreadable(what: &str, error: &Error) -> Warning {
    Warning { kind: WarningKind::Unreadable, text: format!("{what}: {}", Chain(error)) }
}
