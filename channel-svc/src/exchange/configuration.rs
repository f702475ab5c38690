//! 1070 and 1110: the profile, and the flags with the definitions of attributes, come down. They have effect once they
//! are stored and the cache has expired (rule F2).

use std::sync::Arc;

use prost::Message as _;
use tillsync_proto::{AttributeDefinitions, Features, Job, convert, pb::hq::GetConfigurationResponse};

use super::{Exchange, JobError, Moved};
use crate::store::{Advance, Batch, Setting, Store};

impl<S: Store> Exchange<S> {
    /// Brings the functionality profile; one row if it has changed.
    pub(super) async fn configuration_1070(&self) -> Result<Moved, JobError> {
        let answer = self.ask(Job::ChannelConfiguration1070).await?;
        let bytes = answer.encoded_len();
        let profile = answer.profile.ok_or(JobError::Answer("without a profile"))?;
        let profile = convert::profile(&profile).map_err(|_| JobError::Answer("an unusable profile"))?;
        let known = self.current.arrived();
        if known.profile == profile && known.profile_version == answer.version {
            return Ok(Moved::default());
        }
        self.store.save_setting(Setting::Profile(profile.clone(), answer.version)).await?;
        self.current.change(|settings| {
            settings.profile = profile;
            settings.profile_version = answer.version;
        });
        Ok(Moved { rows: 1, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) })
    }

    /// Brings flags and definitions; one row if they have changed.
    pub(super) async fn configuration_1110(&self) -> Result<Moved, JobError> {
        let answer = self.ask(Job::GlobalConfiguration1110).await?;
        let bytes = answer.encoded_len();
        // A flag that this version does not know has no effect in it.
        let features: Features = answer.features().filter_map(|feature| feature.try_into().ok()).collect();
        // Nor is a definition of a type that it does not know kept to.
        let attributes: AttributeDefinitions =
            answer.attributes.iter().filter_map(|one| convert::attribute_definition(one).ok()).collect();
        let known = self.current.arrived();
        let same = (known.features, &known.attributes, known.features_version);
        if same == (features, &attributes, answer.version) {
            return Ok(Moved::default());
        }
        let setting = Setting::Features(features, attributes.clone(), answer.version);
        self.store.save_setting(setting).await?;
        self.current.change(|settings| {
            settings.features = features;
            settings.attributes = attributes;
            settings.features_version = answer.version;
        });
        Ok(Moved { rows: 1, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) })
    }

    async fn ask(&self, job: Job) -> Result<GetConfigurationResponse, JobError> {
        let answer = self.hq.configuration(job).await?;
        let batch = Batch { incoming: Vec::new(), advance: Advance::Contact { epoch: None, at: self.now() } };
        self.store.apply(Arc::new(batch)).await?;
        Ok(answer)
    }
}
