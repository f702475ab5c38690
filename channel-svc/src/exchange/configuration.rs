//! 1070 and 1110: the profile and the flags come down. They have effect once they are stored.

use std::sync::Arc;

use tillsync_proto::{Features, Job, convert, pb::hq::GetConfigurationResponse};

use super::{Exchange, JobError};
use crate::store::{Advance, Batch, Setting, Store};

impl<S: Store> Exchange<S> {
    /// Brings the functionality profile; gives 1 if it has changed.
    pub(super) async fn configuration_1070(&self) -> Result<u64, JobError> {
        let answer = self.ask(Job::ChannelConfiguration1070).await?;
        let profile = answer.profile.ok_or(JobError::Answer("without a profile"))?;
        let profile = convert::profile(&profile).map_err(|_| JobError::Answer("an unusable profile"))?;
        let known = self.current.get();
        if (known.profile, known.profile_version) == (profile, answer.version) {
            return Ok(0);
        }
        self.store.save_setting(Setting::Profile(profile, answer.version)).await?;
        self.current.change(|settings| {
            settings.profile = profile;
            settings.profile_version = answer.version;
        });
        Ok(1)
    }

    /// Brings the flags; gives 1 if they have changed.
    pub(super) async fn configuration_1110(&self) -> Result<u64, JobError> {
        let answer = self.ask(Job::GlobalConfiguration1110).await?;
        // A flag that this version does not know has no effect in it.
        let features: Features = answer.features().filter_map(|feature| feature.try_into().ok()).collect();
        let known = self.current.get();
        if (known.features, known.features_version) == (features, answer.version) {
            return Ok(0);
        }
        self.store.save_setting(Setting::Features(features, answer.version)).await?;
        self.current.change(|settings| {
            settings.features = features;
            settings.features_version = answer.version;
        });
        Ok(1)
    }

    async fn ask(&self, job: Job) -> Result<GetConfigurationResponse, JobError> {
        let answer = self.hq.configuration(job).await?;
        let batch = Batch { incoming: Vec::new(), advance: Advance::Contact { at: self.now() } };
        self.store.apply(Arc::new(batch)).await?;
        Ok(answer)
    }
}
