//! The steps at headquarters. Code: `hq-svc/src`.

use super::{
    Arrival, Customer, Entry, Fate, Headquarters, Message, Planned, Process, Row, State, World, count,
};
use crate::bugs::Bug;

impl State {
    /// `hq-svc/src/store/batch.rs`, `work_out`: one transaction under the lock of `hq_head` takes number and version.
    fn insert(&mut self, world: &World, process: usize, guid: u8, content: u8, stamp: u8) {
        let hq = &mut self.hq;
        let number = if world.block == 0 {
            hq.next += 1;
            hq.next - 1
        } else {
            let block = &mut hq.processes[process].block;
            if block.0 == block.1 {
                *block = (hq.next, hq.next + world.block);
                hq.next = block.1;
            }
            block.0 += 1;
            block.0 - 1
        };
        if stamp == 0 {
            hq.head += 1;
        }
        let version = if stamp == 0 { hq.head } else { stamp };
        hq.customers[usize::from(guid)] = Some(Customer { number, version, content });
        hq.spent.push((number, guid));
    }

    /// The real-time service: `creates.rs`, `commit`, then the answer. The first process serves.
    pub fn serve(&mut self, world: &World, channel: u8, guid: u8, repeat: bool) -> Option<()> {
        self.take(&Message::Call { channel, guid }, repeat)?;
        let content = world.content(channel, guid);
        let known = self.hq.customers[usize::from(guid)];
        let known = if let Some(known) = known {
            known
        } else {
            self.insert(world, 0, guid, content, 0);
            self.hq.customers[usize::from(guid)]?
        };
        if known.content == content {
            let row = Row { number: known.number, version: known.version };
            let _ = self.post(Message::Told { channel, guid, row });
        }
        Some(())
    }

    /// Uploads: `exchange.rs`, `upload`; `store/*/dialect.rs`, `arrive`: one transaction, then the answer. `taken`
    /// operations of the page are answered: a channel may not rely on more (rule X4).
    pub fn arrive(&mut self, world: &World, message: &Message, taken: u8, repeat: bool) -> Option<()> {
        let Message::Upload { channel, first, last } = message else { return None };
        self.take(message, repeat)?;
        let (channel, first, last) = (*channel, *first, *last);
        let (mut numbers, mut through, mut left) = (Vec::new(), 0, taken);
        for counter in first..=last {
            let entry = self.channels[usize::from(channel)].log[usize::from(counter) - 1];
            let Entry::Create { guid, content } = entry else { continue };
            if left == 0 {
                break;
            }
            (left, through) = (left - 1, counter);
            let hq = &mut self.hq;
            let arrived = |known: &Arrival| (known.channel, known.counter) == (channel, counter);
            let known = hq.arrivals.iter().chain(&hq.unsaved).any(arrived);
            if !known || (world.has(Bug::RepeatArrives) && hq.arrivals.len() < 6) {
                let arrival = Arrival { channel, counter, guid, content, fate: Fate::Waiting };
                let early = world.has(Bug::UploadAnsweredBeforeCommit);
                if early { hq.unsaved.push(arrival) } else { hq.arrivals.push(arrival) }
            }
            numbers.extend(hq.customers[usize::from(guid)].map(|customer| (guid, customer.number)));
        }
        if through > 0 {
            // A store waits for one answer at a time; an older one is heard by nobody.
            self.network.retain(
                |message| !matches!(message, Message::Uploaded { channel: to, .. } if *to == channel),
            );
            let _ = self.post(Message::Uploaded { channel, first, last, through, numbers });
        }
        Some(())
    }

    /// Only with a planted bug is this a step of its own.
    pub fn save(&mut self) -> Option<()> {
        if self.hq.unsaved.is_empty() {
            return None;
        }
        let mut unsaved = std::mem::take(&mut self.hq.unsaved);
        self.hq.arrivals.append(&mut unsaved);
        Some(())
    }

    /// The customer sync job reads what is due and what is known, and works out what to do: `sync_job.rs`, `process`;
    /// `conversion.rs`, `plan`.
    pub fn plan(&mut self, world: &World, process: usize) -> Option<()> {
        let Headquarters { arrivals, customers, processes, lease, head, .. } = &mut self.hq;
        let at = &mut processes[process];
        if at.token == 0 || !at.plan.is_empty() || (at.token != *lease && !world.has(Bug::NoFence)) {
            return None;
        }
        let due = arrivals.iter().enumerate().filter(|(_, arrival)| arrival.fate == Fate::Waiting);
        let mut made: Vec<(u8, u8)> = Vec::new();
        for (place, arrival) in due.take(usize::from(world.page)) {
            let known = customers[usize::from(arrival.guid)].map(|customer| customer.content);
            let known = known.or_else(|| made.iter().find(|made| made.0 == arrival.guid).map(|made| made.1));
            let insert = known.is_none();
            let fate = match known {
                Some(content) if content != arrival.content => Fate::SetAside,
                _ => Fate::Completed,
            };
            let mut stamp = 0;
            if insert {
                made.push((arrival.guid, arrival.content));
                if world.has(Bug::WallClockWatermark) {
                    *head += 1;
                    stamp = *head;
                }
            }
            at.plan.push(Planned { arrival: count(place), insert, fate, stamp });
        }
        (!at.plan.is_empty()).then_some(())
    }

    /// It writes: `store/both/customers.rs`, `settle`, `store/batch.rs`, `work_out`. The token is checked in the
    /// transaction, and whether the GUID is still free. `known`: whether the process learns that the commit took place.
    pub fn settle(&mut self, world: &World, process: usize, known: bool) -> Option<()> {
        let at = &mut self.hq.processes[process];
        let plan = std::mem::take(&mut at.plan);
        if plan.is_empty() {
            return None;
        }
        if at.token != self.hq.lease {
            if !world.has(Bug::NoFence) {
                at.token = 0;
                return Some(());
            }
            self.hq.unfenced = true;
        }
        let block = self.hq.processes[process].block;
        let taken = |hq: &Headquarters, planned: &Planned| {
            let guid = hq.arrivals[usize::from(planned.arrival)].guid;
            hq.customers[usize::from(guid)].is_some()
        };
        if world.has(Bug::OneBadStopsAll) && plan.iter().any(|planned| planned.fate == Fate::SetAside) {
            return Some(());
        }
        let mut refused = Vec::new();
        for planned in plan {
            let Arrival { guid, content, fate, .. } = self.hq.arrivals[usize::from(planned.arrival)];
            // One plan for each customer: what follows a write that was refused is not carried out either.
            if refused.contains(&guid) {
                continue;
            }
            if planned.insert {
                if taken(&self.hq, &planned) && !world.has(Bug::GuidIsNotLookedAt) {
                    refused.push(guid);
                    continue;
                }
                self.insert(world, process, guid, content, planned.stamp);
            } else if world.has(Bug::NumberForADuplicate) && planned.fate == Fate::Completed {
                self.hq.next += 1;
            }
            if fate != Fate::Completed {
                self.hq.arrivals[usize::from(planned.arrival)].fate = planned.fate;
            }
        }
        if !known {
            self.hq.processes[process].block = if world.has(Bug::BlockIsKept) { block } else { (0, 0) };
        }
        Some(())
    }

    /// The lease runs out and the other process takes it: `service-kit/src/lease.rs`.
    pub fn steal(&mut self, process: usize) -> Option<()> {
        if self.hq.processes[process].token == self.hq.lease {
            return None;
        }
        self.hq.lease += 1;
        self.hq.processes[process] = Process { token: self.hq.lease, ..self.hq.processes[process].clone() };
        self.hq.processes[process].plan.clear();
        Some(())
    }

    /// A process of headquarters ends and starts again.
    pub fn crash_hq(&mut self, process: usize) -> Option<()> {
        let at = &mut self.hq.processes[process];
        // A plan alone that is forgotten is one that was never made.
        if at.block.0 == at.block.1 && self.hq.unsaved.is_empty() {
            return None;
        }
        at.plan.clear();
        at.block = (0, 0);
        self.hq.unsaved.clear();
        self.crashes += 1;
        Some(())
    }

    /// An administrator changes a customer: `customers.rs`; the record stands in the feed at its newest version only.
    pub fn edit(&mut self, guid: u8) -> Option<()> {
        let customer = self.hq.customers[usize::from(guid)].as_mut()?;
        self.hq.head += 1;
        customer.version = self.hq.head;
        self.edits += 1;
        Some(())
    }

    /// The feed: `exchange.rs`, `changes`; `store/both/customers.rs`, `changes`. One page at a time is under way.
    pub fn feed(&mut self, world: &World, channel: u8) -> Option<()> {
        let after = self.channels[usize::from(channel)].tables.cursor;
        let waits =
            |message: &Message| matches!(message, Message::Page { channel: to, .. } if *to == channel);
        if after >= self.hq.head || self.network.iter().any(waits) {
            return None;
        }
        let customers = (0..).zip(&self.hq.customers);
        let mut records: Vec<(u8, Row)> = customers
            .filter_map(|(guid, customer)| {
                let Customer { number, version, .. } = (*customer)?;
                (version > after).then_some((guid, Row { number, version }))
            })
            .collect();
        records.sort_unstable_by_key(|(_, row)| row.version);
        records.truncate(usize::from(world.page));
        let next = records.last()?.1.version;
        self.post(Message::Page { channel, after, next, head: self.hq.head, records })
    }
}
