//! What a channel is told.

use std::time::Duration;

use service_kit::{database::DatabaseUrl, door::DoorConfig, network::Network, way::Credentials, web::Origin};
use tillsync_proto::ChannelId;

use crate::terminal::TerminalConfig;

/// What a channel is told; [`crate::open`] makes a channel of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name.
    pub channel_id: ChannelId,
    /// Where it keeps its data. On SQLite the log is a second file beside the one named: `store.log.db` for
    /// `store.db`. On PostgreSQL a database that no other channel shares; several processes of this one may.
    pub database: DatabaseUrl,
    /// Headquarters' real-time service, `http://host:port` or `https://host:port`: headquarters itself, or the emulator before it.
    pub rts: String,
    /// Headquarters' data exchange service, the same.
    pub hq: String,
    /// Most acknowledged creates that wait for the tables, in memory (about 1 KiB each). While there are so many,
    /// creates wait up to two seconds and are then refused (rule Z3).
    pub max_tail: usize,
    /// What makes a terminal of it; a store has none.
    pub terminal: Option<TerminalConfig>,
    /// How long the cache of profile and flags lasts: what 1070 and 1110 have brought is in force so long after
    /// (rule F2).
    pub configuration_cache: Duration,
    /// How long something may wait without anything moving before that is an error (rule X10).
    pub watchdog: Duration,
    /// Origins whose pages may call it from a browser, by grpc-web.
    pub web_origins: Vec<Origin>,
    /// Who may come in.
    pub door: DoorConfig,
    /// What headquarters is shown, or the store by its terminal.
    pub credentials: Credentials,
    /// How it reaches them.
    pub network: Network,
    /// How many of the newest log entries are kept, beyond those that are still needed.
    pub retained: u64,
}

impl Config {
    /// Bounds of [`Config::max_tail`] and [`Config::retained`], unless set.
    const MAX_TAIL: usize = 24_576;
    const RETAINED: u64 = 1_000_000;
    /// [`Config::watchdog`], unless set.
    const WATCHDOG: Duration = Duration::from_secs(60);

    /// A channel with the default bounds.
    #[must_use]
    pub fn new(
        channel_id: ChannelId,
        database: DatabaseUrl,
        rts: impl Into<String>,
        hq: impl Into<String>,
    ) -> Self {
        let (rts, hq) = (rts.into(), hq.into());
        Self {
            channel_id,
            database,
            rts,
            hq,
            terminal: None,
            max_tail: Self::MAX_TAIL,
            retained: Self::RETAINED,
            configuration_cache: Duration::ZERO,
            watchdog: Self::WATCHDOG,
            web_origins: Vec::new(),
            door: DoorConfig::default(),
            credentials: Credentials::default(),
            network: Network::default(),
        }
    }

    /// A terminal with the default bounds.
    #[must_use]
    pub fn terminal(terminal_id: ChannelId, database: DatabaseUrl, terminal: TerminalConfig) -> Self {
        let (rts, hq) = (terminal.store.clone(), terminal.store.clone());
        Self { terminal: Some(terminal), ..Self::new(terminal_id, database, rts, hq) }
    }
}
