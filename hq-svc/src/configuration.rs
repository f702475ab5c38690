//! What headquarters tells its channels: profiles, flags and definitions of attributes, and how far each has come
//! (rules F1 to F3).

use service_kit::retry::transaction;
use tillsync_proto::{
    AttributeDefinition, ChannelId, Feature, Features, FunctionalityProfile, Job,
    pb::{common, hq::SettingState},
};

use crate::{
    error::{Error, Result},
    hq::Headquarters,
    store::{GlobalConfiguration, Reconfigure, Reconfigured, Store},
};

impl<S: Store> Headquarters<S> {
    /// The profile of a channel, which need not have called yet.
    pub async fn profile(&self, channel: &ChannelId) -> Result<(FunctionalityProfile, u64)> {
        Ok(self.store.profile(channel).await?)
    }

    /// Replaces a profile, unless it has another version than `from_version`, which is not 0. Gives its version.
    pub async fn set_profile(
        &self,
        channel: &ChannelId,
        profile: FunctionalityProfile,
        from_version: u64,
    ) -> Result<u64> {
        self.contacts.register(channel).await?;
        let set = || self.store.set_profile(channel, &profile, from_version);
        let version = transaction("set a profile", &self.ids, set).await?;
        version.ok_or_else(|| Error::ProfileChanged(channel.clone()))
    }

    /// Switches a flag, and gives the version of the set; refused while others are in the way (rule F1).
    pub async fn set_flag(&self, feature: Feature, enabled: bool) -> Result<u64> {
        match self.reconfigure(Reconfigure::Flag(feature, enabled)).await? {
            Reconfigured::InTheWay(others) => Err(Error::FlagsInTheWay { feature, enabled, others }),
            done => version(&done),
        }
    }

    /// Makes or replaces the definition of an attribute.
    pub async fn define(&self, definition: AttributeDefinition) -> Result<u64> {
        version(&self.reconfigure(Reconfigure::Define(definition)).await?)
    }

    /// Removes the definition of an attribute.
    pub async fn undefine(&self, name: String) -> Result<u64> {
        version(&self.reconfigure(Reconfigure::Undefine(name)).await?)
    }

    async fn reconfigure(&self, change: Reconfigure) -> Result<Reconfigured> {
        let make = || self.store.reconfigure(&change);
        let done = transaction("change the configuration", &self.ids, make).await?;
        self.refresh_configuration().await?;
        Ok(done)
    }
}

fn version(done: &Reconfigured) -> Result<u64> {
    match done {
        Reconfigured::Done(version) => Ok(*version),
        Reconfigured::Unknown => Err(Error::Nothing("definition")),
        Reconfigured::Full => Err(Error::Overloaded),
        Reconfigured::InTheWay(_) => Err(Error::Broken),
    }
}

/// How far the profile and each flag have come in a channel that says this of itself (rule F3).
pub(crate) fn setting_states(
    configuration: &GlobalConfiguration,
    profile_version: u64,
    status: &common::ChannelStatus,
) -> Vec<SettingState> {
    let in_force: Features = status.features().filter_map(|feature| feature.try_into().ok()).collect();
    let state = |name: String, at_headquarters: u64, arrived: u64, applied: u64, job: Job| SettingState {
        name,
        version_at_headquarters: at_headquarters,
        version_arrived: arrived,
        version_applied: applied,
        job_to_run: if arrived == at_headquarters { common::Job::Unspecified } else { job.into() }.into(),
        waits_for_cache: arrived == at_headquarters && applied != at_headquarters,
        ..SettingState::default()
    };
    let profile = state(
        "profile".to_owned(),
        profile_version,
        status.arrived_profile_version,
        status.profile_version,
        Job::ChannelConfiguration1070,
    );
    let flag = |feature: Feature| SettingState {
        enabled_at_headquarters: configuration.features.has(feature),
        enabled_in_channel: in_force.has(feature),
        ..state(
            feature.to_string(),
            configuration.version,
            status.arrived_features_version,
            status.features_version,
            Job::GlobalConfiguration1110,
        )
    };
    std::iter::once(profile).chain(Feature::ALL.map(flag)).collect()
}
