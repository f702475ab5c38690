//! Connections to the services under test, embedded or not, and what an administrator and a till ask of them.

use std::time::Duration;

use rts_emulator::Profile;
use serde::{Deserialize, Serialize};
use service_kit::problem::code_name;
use tillsync_proto::pb::{
    channel::{
        GetStatusRequest, customer_service_client::CustomerServiceClient,
        status_service_client::StatusServiceClient,
    },
    common::{ChannelStatus, FunctionalityProfile, Job},
    emulator::{
        EndOutageRequest, GetProfileRequest, StartOutageRequest,
        UpdateProfileRequest as UpdateEmulatorRequest, emulator_service_client::EmulatorServiceClient,
    },
    hq::{
        self, RunJobRequest, UpdateProfileRequest, admin_service_client::AdminServiceClient,
        data_exchange_service_client::DataExchangeServiceClient,
        real_time_service_client::RealTimeServiceClient,
    },
};
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::{
    error::Error,
    result::Mode,
    usage::{EMULATOR, HEADQUARTERS, Watched},
    way::{Credentials, Way},
};

/// Connections to each channel that tills share: a server takes 128 calls at once on each.
const TILL_CONNECTIONS: usize = 8;
/// Connections to each channel for watches: at most two for each followed create.
const WATCH_CONNECTIONS: usize = 4;
/// How long a changed profile may take to arrive.
const MODE_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause between two looks at a status.
pub const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Where the services are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Addresses {
    /// Headquarters; absent: only the stores are there to be called.
    pub hq: Option<String>,
    /// The emulator before it; absent: calls go to headquarters itself.
    pub emulator: Option<String>,
    /// The channels.
    pub channels: Vec<String>,
    /// What proves to them who calls.
    pub credentials: Credentials,
}

/// Headquarters.
#[derive(Debug, Clone)]
pub struct Headquarters {
    /// As an administrator sees it.
    pub admin: AdminServiceClient<Way>,
    /// As a channel's exchange sees it.
    pub exchange: DataExchangeServiceClient<Way>,
    /// The real-time service, behind the emulator where there is one.
    pub rts: RealTimeServiceClient<Way>,
}

/// One store.
#[derive(Debug, Clone)]
pub struct Store {
    /// Its channel's name.
    pub id: String,
    /// Beside tills and watches.
    channel: Way,
    /// Status calls.
    pub status: StatusServiceClient<Way>,
    /// Whether it answers them: the contract of tills does not ask for it.
    has_status: bool,
    tills: Vec<CustomerServiceClient<Way>>,
    watchers: Vec<CustomerServiceClient<Way>>,
}

impl Store {
    /// Connects and asks for its name.
    ///
    /// # Errors
    ///
    /// [`Error::Way`], or [`Error::Service`] if it does not answer.
    pub async fn connect(address: &str, credentials: &Credentials) -> Result<Self, Error> {
        let channel = credentials.connect(address).await?;
        let mut status = StatusServiceClient::new(channel.clone());
        let (id, has_status) = match status.get_status(GetStatusRequest {}).await {
            Ok(said) => (said.into_inner().status.unwrap_or_default().channel_id, true),
            // The contract of tills is all that is asked of it.
            Err(said) if code_name(said.code()) == "UNIMPLEMENTED" => (address.to_owned(), false),
            Err(said) => return Err(Error::service(address, said)),
        };
        let (mut tills, mut watchers) = (Vec::new(), Vec::new());
        for _ in 0..TILL_CONNECTIONS {
            tills.push(CustomerServiceClient::new(credentials.connect(address).await?));
        }
        for _ in 0..WATCH_CONNECTIONS {
            watchers.push(CustomerServiceClient::new(credentials.connect(address).await?));
        }
        Ok(Self { id, channel, status, has_status, tills, watchers })
    }

    /// The connection of a till.
    #[must_use]
    pub fn till(&self, number: usize) -> CustomerServiceClient<Way> {
        self.tills[number % TILL_CONNECTIONS].clone()
    }

    /// A connection for watching.
    #[must_use]
    pub fn watcher(&self, number: usize) -> CustomerServiceClient<Way> {
        self.watchers[number % WATCH_CONNECTIONS].clone()
    }

    /// How the channel is; as if nothing waited, of one that does not say.
    ///
    /// # Errors
    ///
    /// [`Error::Service`].
    pub async fn status(&self) -> Result<ChannelStatus, Error> {
        if !self.has_status {
            return Ok(ChannelStatus::default());
        }
        let said = self.status.clone().get_status(GetStatusRequest {}).await;
        Ok(said.map_err(|status| Error::service(&self.id, status))?.into_inner().status.unwrap_or_default())
    }
}

/// Headquarters, the emulator and the stores.
#[derive(Debug, Clone)]
pub struct Fleet {
    hq: Option<Headquarters>,
    /// The emulator's control.
    pub emulator: Option<EmulatorServiceClient<Way>>,
    /// The stores; at least one.
    pub stores: Vec<Store>,
    /// All of them, to ask what they use.
    pub watched: Vec<Watched>,
}

impl Fleet {
    /// Connects to all of them. Connections belong to the runtime that this runs on.
    ///
    /// # Errors
    ///
    /// [`Error::Way`], or [`Error::Service`] if one does not answer.
    pub async fn connect(addresses: &Addresses) -> Result<Self, Error> {
        let credentials = &addresses.credentials;
        let (mut emulator, mut before, mut watched) = (None, None, Vec::new());
        let mut watch = |name: &str, channel: &Way| {
            watched.push(Watched { name: name.to_owned(), channel: channel.clone() });
        };
        if let Some(address) = &addresses.emulator {
            let channel = credentials.connect(address).await?;
            let mut control = EmulatorServiceClient::new(channel.clone());
            control.get_profile(GetProfileRequest {}).await.map_err(|s| Error::service(address, s))?;
            watch(EMULATOR, &channel);
            (emulator, before) = (Some(control), Some(channel));
        }
        let mut headquarters = None;
        if let Some(address) = &addresses.hq {
            let hq = credentials.connect(address).await?;
            watch(HEADQUARTERS, &hq);
            headquarters = Some(Headquarters {
                admin: AdminServiceClient::new(hq.clone()),
                exchange: DataExchangeServiceClient::new(hq.clone()),
                rts: RealTimeServiceClient::new(before.unwrap_or(hq)),
            });
        }
        let mut stores = Vec::new();
        for address in &addresses.channels {
            let store = Store::connect(address, credentials).await?;
            watch(&store.id, &store.channel);
            stores.push(store);
        }
        Ok(Self { hq: headquarters, emulator, stores, watched })
    }

    /// Headquarters.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if none was named.
    pub fn hq(&self) -> Result<&Headquarters, Error> {
        self.hq.as_ref().ok_or_else(|| Error::Usage("this needs a headquarters: --hq URL".to_owned()))
    }

    /// Whether a headquarters was named.
    #[must_use]
    pub fn has_hq(&self) -> bool {
        self.hq.is_some()
    }

    /// The emulator's profile as TOML; nothing without an emulator.
    ///
    /// # Errors
    ///
    /// [`Error::Service`].
    pub async fn emulator_toml(&self) -> Result<Option<String>, Error> {
        let Some(emulator) = &self.emulator else { return Ok(None) };
        let said = emulator.clone().get_profile(GetProfileRequest {}).await.map_err(at_emulator)?;
        Ok(Some(said.into_inner().profile_toml))
    }

    /// Gives the emulator a profile, whose schedules begin then.
    ///
    /// # Errors
    ///
    /// [`Error::Service`], or [`Error::Usage`] without an emulator.
    pub async fn set_emulator(&self, profile_toml: &str) -> Result<(), Error> {
        let update = UpdateEmulatorRequest { profile_toml: profile_toml.to_owned() };
        self.emulator()?.update_profile(update).await.map_err(at_emulator)?;
        Ok(())
    }

    /// Headquarters is out from now on, for so long.
    ///
    /// # Errors
    ///
    /// As for [`Fleet::set_emulator`].
    pub async fn start_outage(&self, time: Duration) -> Result<(), Error> {
        let duration = prost_types::Duration::try_from(time).ok();
        self.emulator()?.start_outage(StartOutageRequest { duration }).await.map_err(at_emulator)?;
        Ok(())
    }

    /// Such an outage is over.
    ///
    /// # Errors
    ///
    /// As for [`Fleet::set_emulator`].
    pub async fn end_outage(&self) -> Result<(), Error> {
        self.emulator()?.end_outage(EndOutageRequest {}).await.map_err(at_emulator)?;
        Ok(())
    }

    fn emulator(&self) -> Result<EmulatorServiceClient<Way>, Error> {
        let none = || Error::Usage("there is no emulator to change headquarters with".to_owned());
        self.emulator.clone().ok_or_else(none)
    }

    /// The profiles in force at headquarters, one for each store.
    ///
    /// # Errors
    ///
    /// [`Error::Service`].
    pub async fn profiles(&self) -> Result<Vec<FunctionalityProfile>, Error> {
        let mut profiles = Vec::new();
        for store in &self.stores {
            let request = hq::GetProfileRequest { channel_id: store.id.clone() };
            let said = self.hq()?.admin.clone().get_profile(request).await.map_err(at_hq)?;
            profiles.push(said.into_inner().profile.unwrap_or_default());
        }
        Ok(profiles)
    }

    /// Sets the mode of every store the documented way: a changed functionality profile at headquarters, carried
    /// down by 1070. What else the profiles say stays. Without headquarters the stores are as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Service`], or [`Error::ModeTimeout`].
    pub async fn set_mode(&self, mode: Mode, rts_timeout: Duration) -> Result<(), Error> {
        if !self.has_hq() {
            return Ok(());
        }
        let mut profiles = self.profiles().await?;
        for profile in &mut profiles {
            profile.create_customer_async = mode == Mode::Async;
            profile.async_fallback = mode == Mode::SyncFallback;
            profile.rts_timeout = prost_types::Duration::try_from(rts_timeout).ok();
        }
        self.set_profiles(&profiles).await
    }

    /// Sets a profile for each store, and waits until it is in force there.
    ///
    /// # Errors
    ///
    /// [`Error::Service`], or [`Error::ModeTimeout`].
    pub async fn set_profiles(&self, profiles: &[FunctionalityProfile]) -> Result<(), Error> {
        for (store, profile) in self.stores.iter().zip(profiles) {
            let request = UpdateProfileRequest {
                channel_id: store.id.clone(),
                profile: Some(profile.clone()),
                from_version: 0,
            };
            let version =
                self.hq()?.admin.clone().update_profile(request).await.map_err(at_hq)?.into_inner().version;
            let arrives = async {
                let mut asked = false;
                while store.status().await?.profile_version < version {
                    // A channel that has just started may not be listening yet; its own schedule helps then.
                    asked = asked || self.run_job(Job::ChannelConfiguration1070, &store.id).await.is_ok();
                    sleep(LOOK_PAUSE).await;
                }
                Ok::<(), Error>(())
            };
            timeout(MODE_TIMEOUT, arrives).await.map_err(|_| Error::ModeTimeout(store.id.clone()))??;
        }
        Ok(())
    }

    /// Runs a job now.
    ///
    /// # Errors
    ///
    /// [`Error::Service`].
    pub async fn run_job(&self, job: Job, channel_id: &str) -> Result<(), Error> {
        let mut request =
            tonic::Request::new(RunJobRequest { job: job.into(), channel_id: channel_id.to_owned() });
        request.set_timeout(MODE_TIMEOUT);
        self.hq()?.admin.clone().run_job(request).await.map_err(at_hq)?;
        Ok(())
    }

    /// Customers without an account number, in all stores.
    ///
    /// # Errors
    ///
    /// [`Error::Service`].
    pub async fn pending(&self) -> Result<u64, Error> {
        let mut pending = 0;
        for store in &self.stores {
            pending += store.status().await?.pending_customers;
        }
        Ok(pending)
    }
}

/// A profile as the emulator takes it.
///
/// # Errors
///
/// [`Error::Usage`]; a checked profile has none.
pub(crate) fn toml_of(profile: &Profile) -> Result<String, Error> {
    profile.to_toml().map_err(|error| Error::Usage(error.to_string()))
}

fn at_emulator(status: Status) -> Error {
    Error::service("the emulator", status)
}

/// An error of headquarters.
pub(crate) fn at_hq(status: Status) -> Error {
    Error::service("headquarters", status)
}
