//! The replication protocol, checked in every state that it can come to (rules M6, M8, M9, X1, X4 to X7, O4).
//!
//! [`protocol`] says who keeps what and names the code that each step stands for; [`properties`] what must hold;
//! [`bugs`] what is planted to see that it is noticed. What is durable survives a crash; what is in memory does not;
//! and between any two steps anything else may happen, or nothing ever again. Two stores, one headquarters with two
//! processes, three customers. The worlds below are small enough to be walked through completely; `tests/nightly` walks
//! larger ones.

#![allow(clippy::expect_used, clippy::panic, reason = "this is test code")]

mod bugs;
mod properties;
mod protocol;
mod worlds;

use std::{collections::BTreeSet, io::Write as _, time::Instant};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use bugs::Bug;
use protocol::{CHANNELS, Came, Fate, Message, Row, State, World};

/// A world, as the checker walks through it.
#[derive(Debug, Clone, Copy)]
struct Chain(World);

/// A step. What it does, and which code it stands for, is said where the state makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Create { channel: u8, guid: u8 },
    Call { channel: u8, guid: u8 },
    Serve { channel: u8, guid: u8, repeat: bool },
    Keep { channel: u8, guid: u8, row: Row },
    WholeCall { channel: u8, guid: u8, came: Came },
    WholeUpload { channel: u8, taken: u8, came: Came },
    WholeFeed { channel: u8, came: Came },
    Commit { channel: u8 },
    Follow { channel: u8 },
    Checkpoint { channel: u8 },
    CrashChannel { channel: u8 },
    Send { channel: u8 },
    Arrive { page: Message, taken: u8, repeat: bool },
    Save,
    Name { answer: Message },
    Clear { channel: u8 },
    Plan { process: usize },
    Settle { process: usize, known: bool },
    Steal { process: usize },
    CrashHeadquarters { process: usize },
    Edit { guid: u8 },
    Feed { channel: u8 },
    Apply { page: Message, rows: bool },
}

impl Chain {
    /// What tills may ask for.
    fn creates(&self, s: &State, steps: &mut Vec<Step>) {
        let Self(world) = self;
        for (channel, guid) in world.asked() {
            let known = s.channels[usize::from(channel)].knows(guid);
            if !known || world.bug == Some(Bug::RepeatIsLogged) {
                steps.push(Step::Create { channel, guid });
            }
            match (world.sync && !known, world.fine.calls) {
                (false, _) => {}
                (true, true) => steps.push(Step::Call { channel, guid }),
                (true, false) => {
                    let cut = [Came::There, Came::Through];
                    steps.extend(cut.map(|came| Step::WholeCall { channel, guid, came }));
                }
            }
        }
    }

    /// What may be done with what is under way.
    fn deliveries(&self, s: &State, steps: &mut Vec<Step>) {
        let Self(world) = self;
        let repeats: &[bool] = if s.repeats < world.repeats { &[false, true] } else { &[false] };
        for message in &s.network {
            match message {
                Message::Call { channel, guid } => {
                    let serve =
                        |repeat: &bool| Step::Serve { channel: *channel, guid: *guid, repeat: *repeat };
                    steps.extend(repeats.iter().map(serve));
                }
                Message::Told { channel, guid, row } => {
                    steps.push(Step::Keep { channel: *channel, guid: *guid, row: *row });
                }
                Message::Upload { first, last, .. } => {
                    let most = (last - first + 1).min(world.page);
                    for repeat in repeats {
                        let arrive = |taken| Step::Arrive { page: message.clone(), taken, repeat: *repeat };
                        steps.extend((1..=most).map(arrive));
                    }
                }
                Message::Uploaded { .. } => steps.push(Step::Name { answer: message.clone() }),
                Message::Page { .. } => {
                    steps.push(Step::Apply { page: message.clone(), rows: true });
                    if world.bug == Some(Bug::CursorBeforeRows) {
                        steps.push(Step::Apply { page: message.clone(), rows: false });
                    }
                }
            }
        }
    }

    /// What stores may do.
    fn at_stores(&self, s: &State, steps: &mut Vec<Step>) {
        let Self(world) = self;
        for channel in 0..protocol::count(CHANNELS) {
            let at = &s.channels[usize::from(channel)];
            if !at.queued.is_empty() {
                steps.push(Step::Commit { channel });
            }
            if usize::from(at.tables.applied) < at.log.len() {
                steps.push(Step::Follow { channel });
            }
            let size = at.page_len(world.page);
            if world.fine.uploads {
                if size > 0 {
                    steps.push(Step::Send { channel });
                }
                if at.answered > 0 {
                    steps.push(Step::Clear { channel });
                }
            } else {
                let cut = [Came::There, Came::Back, Came::Through];
                let all = (1..=size).flat_map(|taken| cut.map(|came| (taken, came)));
                steps.extend(all.map(|(taken, came)| Step::WholeUpload { channel, taken, came }));
            }
            if at.tables.cursor < s.hq.head {
                if world.fine.feeds {
                    steps.push(Step::Feed { channel });
                } else {
                    steps.push(Step::WholeFeed { channel, came: Came::Through });
                    if world.bug == Some(Bug::CursorBeforeRows) {
                        steps.push(Step::WholeFeed { channel, came: Came::Back });
                    }
                }
            }
            if s.checkpoints < world.checkpoints {
                steps.push(Step::Checkpoint { channel });
            }
            if s.crashes < world.crashes {
                steps.push(Step::CrashChannel { channel });
            }
        }
    }

    /// What headquarters may do.
    fn at_headquarters(&self, s: &State, steps: &mut Vec<Step>) {
        let Self(world) = self;
        if !s.hq.unsaved.is_empty() {
            steps.push(Step::Save);
        }
        let waits = s.hq.arrivals.iter().any(|arrival| arrival.fate == Fate::Waiting);
        for (process, at) in s.hq.processes.iter().enumerate() {
            if world.fine.conversions && waits && at.plan.is_empty() && at.token > 0 {
                steps.push(Step::Plan { process });
            }
            if !at.plan.is_empty() || (!world.fine.conversions && waits && at.token > 0) {
                steps.push(Step::Settle { process, known: true });
                if world.block > 0 {
                    steps.push(Step::Settle { process, known: false });
                }
            }
            if s.hq.lease <= world.steals {
                steps.push(Step::Steal { process });
            }
            if s.crashes < world.crashes {
                steps.push(Step::CrashHeadquarters { process });
            }
        }
        if s.edits < world.edits {
            steps.extend((world.customers.0..=world.customers.1).map(|guid| Step::Edit { guid }));
        }
    }
}

impl Model for Chain {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.0.start()]
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        self.creates(s, steps);
        self.deliveries(s, steps);
        self.at_stores(s, steps);
        self.at_headquarters(s, steps);
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        let Self(world) = self;
        let mut s = before.clone();
        match step {
            Step::Create { channel, guid } => s.create(world, channel, guid),
            Step::Call { channel, guid } => s.call(channel, guid),
            Step::Serve { channel, guid, repeat } => s.serve(world, channel, guid, repeat),
            Step::Keep { channel, guid, row } => s.keep(channel, guid, row),
            Step::WholeCall { channel, guid, came } => s.whole_call(world, channel, guid, came),
            Step::WholeUpload { channel, taken, came } => s.whole_upload(world, channel, taken, came),
            Step::WholeFeed { channel, came } => s.whole_feed(world, channel, came),
            Step::Commit { channel } => s.commit(channel),
            Step::Follow { channel } => s.follow(world, channel),
            Step::Checkpoint { channel } => s.checkpoint(channel),
            Step::CrashChannel { channel } => s.crash_channel(world, channel),
            Step::Send { channel } => s.send(world, channel),
            Step::Arrive { page, taken, repeat } => s.arrive(world, &page, taken, repeat),
            Step::Save => s.save(),
            Step::Name { answer } => s.name(world, &answer),
            Step::Clear { channel } => s.clear(channel),
            Step::Plan { process } => s.plan(world, process),
            Step::Settle { process, known } => {
                if !world.fine.conversions {
                    s.plan(world, process)?;
                }
                s.settle(world, process, known)
            }
            Step::Steal { process } => s.steal(process),
            Step::CrashHeadquarters { process } => s.crash_hq(process),
            Step::Edit { guid } => s.edit(guid),
            Step::Feed { channel } => s.feed(world, channel),
            Step::Apply { page, rows } => s.apply(world, &page, rows),
        }?;
        if !world.fine.feeds {
            // Only the feed may come between the log and the tables.
            for channel in 0..protocol::count(CHANNELS) {
                let _ = s.follow(world, channel);
            }
        }
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

/// Walks through a whole world; nothing may be wrong anywhere, and what is looked for must be there.
#[expect(clippy::disallowed_methods, reason = "how long it took is shown")]
fn walk(name: &str, world: World) {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Chain(world).checker().threads(threads).spawn_dfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    let took = begun.elapsed();
    // Not captured: the figures belong to what the test says.
    let _ = writeln!(std::io::stderr(), "{name}: {states} states, {steps} steps, {took:.1?}");
    for (property, path) in checker.discoveries() {
        let expectation = checker.model().property(property).expectation;
        assert!(
            !expectation.discovery_is_failure(),
            "{name}: not so: {property}: {:#?}",
            path.into_actions()
        );
    }
    checker.assert_properties();
}

#[test]
fn every_state_of_every_world_is_as_it_must_be() {
    let large = std::env::var_os("TILLSYNC_MODEL").is_some();
    let worlds = if large { worlds::LARGE } else { worlds::SMALL };
    // One of them alone, where somebody looks for its figures.
    let only = std::env::var("TILLSYNC_WORLD").ok();
    for (name, world) in worlds.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        walk(name, *world);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it took is shown")]
fn every_planted_bug_is_caught() {
    for (bug, property, world) in bugs::ALL {
        let begun = Instant::now();
        let wanted = HasDiscoveries::AnyOf(BTreeSet::from([property]));
        let checker = Chain(World { bug: Some(bug), ..world }).checker();
        let checker = checker.finish_when(wanted).spawn_bfs().join();
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("{bug:?} is not caught by: {property}"));
        let (states, took, steps) =
            (checker.unique_state_count(), begun.elapsed(), path.into_actions().len());
        let _ = writeln!(
            std::io::stderr(),
            "| {bug:?} | {property} | {steps} steps | {states} states | {took:.2?} |"
        );
    }
}
