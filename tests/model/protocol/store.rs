//! The steps at a store. Code: `channel-svc/src`.

use super::{Entry, Message, Row, State, TWIN, World};
use crate::bugs::Bug;

impl State {
    /// Sync, the call: `create.rs`, `create_sync`; `rts.rs`.
    pub fn call(&mut self, channel: u8, guid: u8) -> Option<()> {
        if self.channel(channel).knows(guid) {
            return None;
        }
        self.post(Message::Call { channel, guid })
    }

    /// Sync, the answer has come: `customers.rs`, `keep`. One write path, so the same log.
    pub fn keep(&mut self, channel: u8, guid: u8, row: Row) -> Option<()> {
        self.take(&Message::Told { channel, guid, row }, false)?;
        self.channel(channel).log.push(Entry::Told { guid, row });
        self.acknowledged[usize::from(channel)][usize::from(guid)] = true;
        Some(())
    }

    /// Async, and the fallback of a call that failed or may still be under way: `create.rs`, `create_async`;
    /// `log/appender.rs`, `decide` and `try_commit`. The answer leaves after the commit. That it may be lost needs no
    /// step: then the till asks again, and is told what is known.
    pub fn create(&mut self, world: &World, channel: u8, guid: u8) -> Option<()> {
        if self.channel(channel).knows(guid) && !world.has(Bug::RepeatIsLogged) {
            return None;
        }
        let called = self.network.iter().any(|message| match message {
            Message::Call { channel: to, guid: of } | Message::Told { channel: to, guid: of, .. } => {
                (*to, *of) == (channel, guid)
            }
            _ => false,
        });
        let twin = world.has(Bug::FallbackMintsAnew) && called && guid == 1;
        let entry =
            Entry::Create { guid: if twin { TWIN } else { guid }, content: world.content(channel, guid) };
        let most = if world.has(Bug::RepeatIsLogged) { 2 } else { 1 };
        let at = self.channel(channel);
        if at.log.iter().filter(|known| **known == entry).count() >= most {
            return None;
        }
        if world.has(Bug::AnswerBeforeCommit) {
            at.queued.push(entry);
        } else {
            at.log.push(entry);
        }
        self.acknowledged[usize::from(channel)][usize::from(guid)] = true;
        Some(())
    }

    /// Only with a planted bug is this a step of its own.
    pub fn commit(&mut self, channel: u8) -> Option<()> {
        let at = self.channel(channel);
        if at.queued.is_empty() {
            return None;
        }
        at.log.append(&mut at.queued);
        Some(())
    }

    /// The tables are made of the log: `follower.rs`, `try_once`.
    pub fn follow(&mut self, world: &World, channel: u8) -> Option<()> {
        let at = self.channel(channel);
        if usize::from(at.tables.applied) == at.log.len() {
            return None;
        }
        at.follow(world.bug);
        Some(())
    }

    /// The tables reach the disk: a checkpoint of SQLite.
    pub fn checkpoint(&mut self, channel: u8) -> Option<()> {
        let at = self.channel(channel);
        if at.synced == at.tables {
            return None;
        }
        at.synced = at.tables.clone();
        self.checkpoints += 1;
        Some(())
    }

    /// The power of a store is cut, and it starts again: what is in memory goes, and what of the tables was not synced;
    /// then `follower.rs`, `catch_up`. A process that is merely killed needs no step: it is one that uses no more what
    /// it has in memory, and no step is ever due.
    pub fn crash_channel(&mut self, world: &World, channel: u8) -> Option<()> {
        let before = self.channels[usize::from(channel)].clone();
        let at = self.channel(channel);
        at.queued.clear();
        at.answered = 0;
        let cursor = at.tables.cursor;
        at.tables = at.synced.clone();
        if world.has(Bug::CursorKeptApart) {
            at.tables.cursor = cursor;
        }
        at.follow(world.bug);
        let same = *at == before;
        self.network.retain(|message| message.answers() != Some(channel));
        self.crashes += 1;
        (!same).then_some(())
    }

    /// P-job, a page leaves: `exchange/p_job.rs`, `page`. Only what stands in the tables.
    pub fn send(&mut self, world: &World, channel: u8) -> Option<()> {
        let (first, last) = self.channel(channel).page(world.page)?;
        let mine =
            |message: &&Message| matches!(message, Message::Upload { channel: of, .. } if *of == channel);
        if self.network.iter().filter(mine).count() >= usize::from(world.late) {
            return None;
        }
        self.post(Message::Upload { channel, first, last })
    }

    /// P-job, the answer: `exchange/p_job.rs`, `bring` and `name`: the numbers in it are applied.
    pub fn name(&mut self, world: &World, message: &Message) -> Option<()> {
        let Message::Uploaded { channel, first, last, through, numbers } = message else { return None };
        self.take(message, false)?;
        let at = self.channel(*channel);
        // The answer to a page that has been sent again since is heard by nobody.
        if at.page(world.page).map(|page| page.0) != Some(*first) {
            return Some(());
        }
        for (guid, number) in numbers {
            if let Some(row) = &mut at.tables.rows[usize::from(*guid)]
                && row.number == 0
            {
                row.number = *number;
            }
        }
        at.answered = if world.has(Bug::WholePageIsCleared) { *last } else { *through };
        Some(())
    }

    /// P-job, what was answered is cleared: `exchange/p_job.rs`, `set_uploaded`.
    pub fn clear(&mut self, channel: u8) -> Option<()> {
        let at = self.channel(channel);
        if at.answered == 0 {
            return None;
        }
        at.uploaded = std::mem::take(&mut at.answered);
        Some(())
    }

    /// 1010: `exchange/customers_1010.rs`, `apply_page`; `store/both/tables.rs`, `apply`: rows and cursor in one
    /// transaction.
    pub fn apply(&mut self, world: &World, message: &Message, rows: bool) -> Option<()> {
        let Message::Page { channel, after, next, head, records } = message else { return None };
        let apart = world.has(Bug::CursorBeforeRows);
        let at = self.channel(*channel);
        let cursor = if world.has(Bug::CursorIsHead) { *head } else { *next };
        // With that bug there are two transactions: the cursor, then the rows.
        if apart && rows && at.tables.cursor != cursor {
            return None;
        }
        if at.tables.cursor != *after && !(apart && rows) {
            return self.take(message, false);
        }
        if !apart || !rows {
            at.tables.cursor = cursor;
        }
        if rows {
            for (guid, row) in records {
                at.tables.merge(*guid, *row, world.has(Bug::OlderRowApplies));
            }
            self.take(message, false)?;
        }
        Some(())
    }
}
