//! What is to be said of one channel.

use std::fmt::Write as _;

use tillsync_proto::{
    Feature, Job,
    pb::{
        common::{self, ChannelStatus},
        hq::{ChannelSummary, SettingState, Severity},
    },
};

use super::{Answer, Found, name, spoken, version};

impl Found<'_> {
    pub(super) fn channel(&mut self, summary: &ChannelSummary, status: &ChannelStatus) {
        let channel = name(summary).to_owned();
        let question = format!("Is {channel} there?");
        if !summary.connected {
            let answer = match &summary.last_contact {
                None => "It has never called.".to_owned(),
                Some(ago) => format!("It is not connected; it last called {} s ago.", ago.seconds),
            };
            let answer = Answer::new(Severity::Error, "S2", answer).remedy("start it, or mend the way to it");
            self.add(&channel, question, answer);
        }
        if let Some(stall) = &status.stall {
            let answer = format!("Something waits and nothing moves: {}.", stall.reason);
            self.add(
                &channel,
                format!("Why does nothing move at {channel}?"),
                Answer::new(Severity::Error, "X10", answer),
            );
        }
        for run in status.job_runs.iter().filter(|run| !run.error.is_empty()) {
            let Ok(job) = Job::try_from(run.job()) else { continue };
            let answer = format!("Its last run failed: {}.", run.error);
            let answer = Answer::new(Severity::Error, "X9", answer).remedy("tillsync hq sessions");
            self.add(&channel, format!("Does {} work at {channel}?", spoken(job)), answer);
        }
    }

    pub(super) fn real_time_calls(
        &mut self,
        summary: &ChannelSummary,
        status: &ChannelStatus,
        wants_async: bool,
    ) {
        let channel = name(summary).to_owned();
        let question = format!("Why does {channel} still make real-time calls?");
        let is_async = status.profile.as_ref().is_some_and(|profile| profile.create_customer_async);
        let creates = match (wants_async, is_async) {
            (_, true) if wants_async => None,
            (false, false) => Some(
                Answer::new(
                    Severity::Info,
                    "M1",
                    "Its functionality profile says sync: each create is one call.",
                )
                .remedy(format!("tillsync hq profile {channel} --async on")),
            ),
            (_, _) => {
                let state = summary.settings.iter().find(|state| state.name == "profile");
                let what = if wants_async {
                    "Async mode is on at headquarters and not in force in the channel"
                } else {
                    "Async mode is off at headquarters and still in force in the channel"
                };
                state.map(|state| self.on_its_way(state, &channel, what, status))
            }
        };
        if let Some(answer) = creates {
            self.add(&channel, question.clone(), answer);
        }
        if status.circuit_breaker.is_some_and(|breaker| breaker.open) {
            let text = "Its circuit breaker is open: creates go to its log, and it probes headquarters.";
            self.add(&channel, question.clone(), Answer::new(Severity::Waiting, "M10", text));
        }
        let in_force =
            |feature: Feature| status.features().any(|there| there == common::Feature::from(feature));
        let mut text = String::new();
        for (feature, what) in [(Feature::E1, "A new address"), (Feature::E3, "An edit")] {
            if !in_force(feature) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{what} is a call, because {feature} is not in force there. ");
            }
        }
        text += "A loyalty card and a search in all stores always are calls.";
        self.add(&channel, question, Answer::new(Severity::Info, "E3", text));
    }

    /// Where a profile or a flag is that is not in force yet.
    fn on_its_way(
        &self,
        state: &SettingState,
        channel: &str,
        what: &str,
        status: &ChannelStatus,
    ) -> Answer<'static> {
        match Job::try_from(state.job_to_run()) {
            Ok(job) => {
                let what = format!(
                    "{what}: headquarters has version {}, {channel} has {}",
                    state.version_at_headquarters, state.version_arrived
                );
                self.waits_for(job, channel, "F2", &what)
            }
            Err(()) if state.waits_for_cache => {
                let cache = status.configuration_cache.as_ref();
                let seconds = cache.map_or(0.0, |cache| cache.seconds as f64 + f64::from(cache.nanos) / 1e9);
                let answer = format!(
                    "{what}: it has arrived, and the channel's cache of {seconds} s has yet to expire."
                );
                Answer::new(Severity::Waiting, "F2", answer)
            }
            Err(()) => {
                Answer::new(Severity::Waiting, "F2", format!("{what}: the channel has yet to report it."))
            }
        }
    }

    pub(super) fn settings(&mut self, summary: &ChannelSummary) {
        let channel = name(summary).to_owned();
        let status = summary.status.clone().unwrap_or_default();
        for state in &summary.settings {
            if state.name == "profile" || state.enabled_at_headquarters == state.enabled_in_channel {
                continue;
            }
            let (question, what) = if state.enabled_at_headquarters {
                ("not in force", "on at headquarters and not in force")
            } else {
                ("still in force", "off at headquarters and still in force")
            };
            let answer = self.on_its_way(state, &channel, &format!("{} is {what}", state.name), &status);
            self.add(&channel, format!("Why is {} {question} in {channel}?", state.name), answer);
        }
    }

    pub(super) fn pending(&mut self, status: &ChannelStatus) {
        let channel = status.channel_id.clone();
        let lag = self.facts.head_version.saturating_sub(version(status));
        if status.pending_customers == 0 {
            if lag > 0 && version(status) > 0 {
                let answer = self.waits_for(
                    Job::Customers1010,
                    &channel,
                    "X7",
                    &format!("It is {lag} changes behind"),
                );
                self.add(&channel, format!("Does {channel} know what headquarters knows?"), answer);
            }
            return;
        }
        let question = match status.pending_customers {
            1 => format!("Why is 1 customer of {channel} pending?"),
            count => format!("Why are {count} customers of {channel} pending?"),
        };
        let answer = if status.uploaded_counter < status.logged_counter {
            self.waits_for(Job::Upload, &channel, "X1", "Operations stand in the channel's log only")
        } else if self.facts.arrivals.waiting > 0 {
            self.waits_for(Job::CustomerSync, "", "X1", "They have been uploaded and wait at headquarters")
        } else if lag > 0 {
            self.waits_for(Job::Customers1010, &channel, "X1", "They are real at headquarters")
        } else {
            let text = "Everything has been uploaded and brought down; their operations have failed at headquarters.";
            Answer::new(Severity::Error, "X5", text).remedy("tillsync hq operations --status failed")
        };
        self.add(&channel, question, answer);
    }
}
