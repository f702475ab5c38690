//! Exchanges that are one step, where a world does not take them apart.

use super::{Came, Message, State, World};
use crate::bugs::Bug;

impl State {
    fn sent(&self, channel: u8, guid: Option<u8>) -> Option<Message> {
        let fits = |message: &&Message| match message {
            Message::Call { channel: of, guid: whose } | Message::Told { channel: of, guid: whose, .. } => {
                *of == channel && Some(*whose) == guid
            }
            Message::Upload { channel: of, .. }
            | Message::Uploaded { channel: of, .. }
            | Message::Page { channel: of, .. } => *of == channel && guid.is_none(),
        };
        self.network.iter().find(fits).cloned()
    }

    /// A sync create.
    pub fn whole_call(&mut self, world: &World, channel: u8, guid: u8, came: Came) -> Option<()> {
        self.call(channel, guid)?;
        self.serve(world, channel, guid, false)?;
        match (came, self.sent(channel, Some(guid))) {
            (Came::Through, Some(Message::Told { row, .. })) => self.keep(channel, guid, row),
            (Came::Through, _) => None,
            (_, Some(answer)) => self.take(&answer, false),
            // Refused: nobody has been told anything.
            (_, None) => Some(()),
        }
    }

    /// A page of an upload.
    pub fn whole_upload(&mut self, world: &World, channel: u8, taken: u8, came: Came) -> Option<()> {
        self.send(world, channel)?;
        let page = self.sent(channel, None)?;
        self.arrive(world, &page, taken, false)?;
        let answer = self.sent(channel, None)?;
        if came == Came::There {
            return self.take(&answer, false);
        }
        self.name(world, &answer)?;
        if came == Came::Back {
            self.channel(channel).answered = 0;
            return Some(());
        }
        self.clear(channel)
    }

    /// A page of the feed. With the bug that has two transactions it may end between them.
    pub fn whole_feed(&mut self, world: &World, channel: u8, came: Came) -> Option<()> {
        self.feed(world, channel)?;
        let page = self.sent(channel, None)?;
        if world.has(Bug::CursorBeforeRows) {
            self.apply(world, &page, false)?;
            if came != Came::Through {
                return self.take(&page, false);
            }
        }
        self.apply(world, &page, true)
    }
}
