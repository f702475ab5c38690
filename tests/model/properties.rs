//! What must hold in every state, and what has to be seen at least once, so that none of it holds for nothing.

use stateright::Property;

use crate::{
    Chain,
    protocol::{Customer, Entry, Fate, GUIDS, Message, State, TWIN, World},
};

pub const ONE_NUMBER: &str = "a customer has one account number";
pub const ONE_CUSTOMER: &str = "an account number has one customer";
pub const NO_NUMBER_WASTED: &str = "a number is spent only on a customer that is inserted";
pub const NOBODY_ELSE: &str = "nobody is there who was not asked for";
pub const NOT_LOST: &str = "no acknowledged create is lost";
pub const LOGGED_ONCE: &str = "a create is logged once";
pub const CLEARED_HAS_ARRIVED: &str = "what a store has cleared has arrived";
pub const ARRIVES_ONCE: &str = "an operation arrives once";
pub const NEVER_SKIPS: &str = "a cursor never skips";
pub const SAME_NUMBER: &str = "a store shows the number that headquarters has given";
pub const FENCED: &str = "nothing is committed under a lost lease";
pub const HEALS: &str = "one turn of the chain converts or sets aside everything";

pub fn all() -> Vec<Property<Chain>> {
    vec![
        Property::always(ONE_NUMBER, |_, s: &State| distinct(s.hq.spent.iter().map(|spent| spent.1))),
        Property::always(ONE_CUSTOMER, |_, s: &State| distinct(s.hq.spent.iter().map(|spent| spent.0))),
        Property::always(NO_NUMBER_WASTED, |Chain(world), s: &State| {
            world.block > 0 || usize::from(s.hq.next) == s.hq.spent.len() + 1
        }),
        Property::always(NOBODY_ELSE, |_, s: &State| s.hq.customers[usize::from(TWIN)].is_none()),
        Property::always(NOT_LOST, not_lost),
        Property::always(LOGGED_ONCE, |_, s: &State| s.channels.iter().all(|at| distinct(creates(&at.log)))),
        Property::always(CLEARED_HAS_ARRIVED, cleared_has_arrived),
        Property::always(ARRIVES_ONCE, |_, s: &State| {
            distinct(s.hq.arrivals.iter().map(|arrival| arrival.channel * 16 + arrival.counter))
        }),
        Property::always(NEVER_SKIPS, never_skips),
        Property::always(SAME_NUMBER, |_, s: &State| {
            s.channels.iter().all(|at| {
                let rows = at.tables.rows.iter().zip(&s.hq.customers);
                rows.filter_map(|(row, customer)| row.map(|row| (row.number, customer)))
                    .all(|(number, there)| number == 0 || there.is_some_and(|there| there.number == number))
            })
        }),
        Property::always(FENCED, |_, s: &State| !s.hq.unfenced),
        Property::always(HEALS, |Chain(world), s: &State| heals(world, s)),
        // Each world has its own remarkable states; they are looked for where they can be.
        Property::sometimes("everything is over", |Chain(world), s: &State| over(world, s)),
        Property::sometimes("a create arrives whose customer is there already", |_, s: &State| {
            s.hq.arrivals.iter().any(|arrival| {
                arrival.fate == Fate::Waiting && s.hq.customers[usize::from(arrival.guid)].is_some()
            })
        }),
        Property::sometimes("the answer to an upload brings a number", |Chain(world), s: &State| {
            !world.fine.uploads
                || s.network.iter().any(
                    |message| matches!(message, Message::Uploaded { numbers, .. } if !numbers.is_empty()),
                )
        }),
        Property::sometimes("an operation is set aside", |Chain(world), s: &State| {
            !world.conflict || s.hq.arrivals.iter().any(|arrival| arrival.fate == Fate::SetAside)
        }),
        Property::sometimes("a process has lost the lease and has a plan", |Chain(world), s: &State| {
            let late =
                |process: &crate::protocol::Process| !process.plan.is_empty() && process.token < s.hq.lease;
            world.steals == 0 || s.hq.processes.iter().any(late)
        }),
    ]
}

fn distinct(found: impl Iterator<Item = u8>) -> bool {
    let mut seen = 0_u128;
    for one in found {
        if seen & (1 << one) != 0 {
            return false;
        }
        seen |= 1 << one;
    }
    true
}

fn creates(log: &[Entry]) -> impl Iterator<Item = u8> {
    log.iter().filter(|entry| matches!(entry, Entry::Create { .. })).map(|entry| entry.guid())
}

/// An acknowledged create stands in the store's log for good, unless that is what headquarters has told; and it is at
/// headquarters, or the store still holds it back for the P-job.
fn not_lost(Chain(world): &Chain, s: &State) -> bool {
    acknowledged(world, s).all(|(channel, guid)| {
        let at = &s.channels[usize::from(channel)];
        let there = s.hq.customers[usize::from(guid)].is_some()
            || s.hq.arrivals.iter().any(|arrival| arrival.guid == guid);
        let mut held = at.log.iter().skip(usize::from(at.uploaded));
        at.log
            .iter()
            .chain(&at.queued)
            .any(|entry| matches!(entry.guid(), there if there == guid || there == TWIN))
            && (there
                || held.any(|entry| matches!(entry.guid(), held if held == guid || held == TWIN))
                || !at.queued.is_empty())
    })
}

fn acknowledged(world: &World, s: &State) -> impl Iterator<Item = (u8, u8)> {
    let of = move |&(channel, guid): &(u8, u8)| s.acknowledged[usize::from(channel)][usize::from(guid)];
    world.asked().filter(of)
}

fn cleared_has_arrived(_: &Chain, s: &State) -> bool {
    (0_u8..).zip(&s.channels).all(|(channel, at)| {
        let cleared = (1..).zip(at.log.iter().take(usize::from(at.uploaded)));
        let mut cleared = cleared.filter(|(_, entry)| matches!(entry, Entry::Create { .. }));
        cleared.all(|(counter, _): (u8, _)| {
            let is =
                |arrival: &crate::protocol::Arrival| (arrival.channel, arrival.counter) == (channel, counter);
            s.hq.arrivals.iter().any(is)
        })
    })
}

/// Every customer whose version is not beyond the cursor stands in the tables at that version.
fn never_skips(_: &Chain, s: &State) -> bool {
    s.channels.iter().all(|at| {
        at.tables.rows.iter().zip(&s.hq.customers).all(|(row, customer)| {
            customer.is_none_or(|Customer { version, .. }| {
                version > at.tables.cursor || row.is_some_and(|row| row.version >= version)
            })
        })
    })
}

/// Nothing more crashes or is lost, and one turn of the chain is run (rule X1): everything that was acknowledged is
/// there with its number, in both stores, or was set aside.
fn heals(world: &World, s: &State) -> bool {
    let mut s = s.clone();
    s.network.clear();
    for process in 0..s.hq.processes.len() {
        s.hq.processes[process].plan.clear();
    }
    for channel in 0..count(s.channels.len()) {
        let _ = s.commit(channel);
        let _ = s.follow(world, channel);
        while s.send(world, channel).is_some() {
            let sent = s.network[0].clone();
            let answered = s.arrive(world, &sent, world.page, false);
            let _ = s.save();
            let answer = s.network.first().cloned();
            let named = answer.and_then(|answer| s.name(world, &answer));
            if answered.and(named).and_then(|()| s.clear(channel)).is_none() {
                return false;
            }
        }
    }
    let holder = s.hq.processes.iter().position(|process| process.token == s.hq.lease);
    let Some(holder) = holder else { return false };
    // Every batch takes at least one arrival out of the queue.
    for _ in 0..=s.hq.arrivals.len() {
        let _ = s.plan(world, holder);
        let _ = s.settle(world, holder, true);
    }
    for channel in 0..count(s.channels.len()) {
        while s.feed(world, channel).is_some() {
            let page = s.network[0].clone();
            if world.bug == Some(crate::bugs::Bug::CursorBeforeRows) {
                let _ = s.apply(world, &page, false);
            }
            if s.apply(world, &page, true).is_none() {
                return false;
            }
        }
    }
    over(world, &s) || {
        // What was never acknowledged may be missing.
        complete(world, &s, |channel, guid| s.acknowledged[usize::from(channel)][usize::from(guid)])
    }
}

/// All that could be asked for was asked for, and is over.
fn over(world: &World, s: &State) -> bool {
    complete(world, s, |_, _| true)
        && world
            .asked()
            .all(|(channel, guid)| s.acknowledged[usize::from(channel)][usize::from(guid)] || world.conflict)
}

fn complete(world: &World, s: &State, wanted: impl Fn(u8, u8) -> bool) -> bool {
    let aside = |channel: u8, guid: u8| {
        s.hq.arrivals
            .iter()
            .any(|arrival| (arrival.channel, arrival.guid, arrival.fate) == (channel, guid, Fate::SetAside))
    };
    let real = world.asked().filter(|(channel, guid)| wanted(*channel, *guid)).all(|(channel, guid)| {
        let there = s.hq.customers[usize::from(guid)];
        there.is_some_and(|there| there.content == world.content(channel, guid)) || aside(channel, guid)
    });
    let level = s.channels.iter().all(|at| {
        let rows = at.tables.rows.iter().zip(&s.hq.customers).take(GUIDS - 1);
        at.tables.cursor == s.hq.head
            && creates_after(&at.log, at.uploaded) == 0
            && rows.into_iter().all(|(row, customer)| match (row, customer) {
                (None, None) => true,
                (Some(row), Some(customer)) => {
                    (row.number, row.version) == (customer.number, customer.version)
                }
                _ => false,
            })
    });
    real && level && s.hq.arrivals.iter().all(|arrival| arrival.fate != Fate::Waiting)
}

fn creates_after(log: &[Entry], through: u8) -> usize {
    creates(&log[usize::from(through).min(log.len())..]).count()
}

fn count(len: usize) -> u8 {
    crate::protocol::count(len)
}
