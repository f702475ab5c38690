//! The worlds, and all bounds of the check.
//!
//! All three customers with every exchange taken apart are too much for any machine, so each world takes apart some of
//! the exchanges; the others are one step there, cut off at every place where they may be. The last customer is brought
//! to both stores.

use crate::protocol::{Fine, World};

const WHOLE: Fine = Fine { calls: false, uploads: false, conversions: false, feeds: false };

/// The chain of three customers, in async mode; one power cut.
pub const CHAIN: World = World {
    bug: None,
    customers: (0, 2),
    conflict: false,
    sync: false,
    crashes: 1,
    repeats: 0,
    late: 2,
    checkpoints: 0,
    steals: 0,
    edits: 0,
    block: 0,
    page: 2,
    fine: WHOLE,
};

const TWO: World = World { customers: (1, 2), ..CHAIN };
const ONE: World = World { customers: (2, 2), ..CHAIN };

/// Pages that are lost, repeated, late, taken in part, and not answered.
pub const UPLOADS: World =
    World { crashes: 0, repeats: 1, late: 1, fine: Fine { uploads: true, ..WHOLE }, ..TWO };

/// Sync creates whose request or answer is lost or late, their fallback, and conversions at the same time.
pub const CALLS: World = World {
    sync: true,
    crashes: 0,
    repeats: 1,
    fine: Fine { calls: true, conversions: true, ..WHOLE },
    ..TWO
};

/// Pages of one record that are late, while headquarters edits, the tables lag behind the log, and power cuts take them
/// back to what was synced.
pub const FEEDS: World =
    World { sync: true, checkpoints: 1, edits: 1, page: 1, fine: Fine { feeds: true, ..WHOLE }, ..TWO };

/// Two processes of headquarters, a lease that passes on, numbers in blocks, commits of which nobody hears.
pub const PROCESSES: World =
    World { sync: true, steals: 1, block: 2, fine: Fine { conversions: true, ..WHOLE }, ..TWO };

/// Numbers in blocks of which one process gives out several.
pub const BLOCKS: World = World { sync: true, crashes: 0, block: 2, ..CHAIN };

/// Two stores that bring other content under one GUID.
pub const CONFLICT: World =
    World { conflict: true, sync: true, fine: Fine { conversions: true, ..WHOLE }, ..TWO };

/// One customer in both stores, everything taken apart.
const ALL: World = World {
    repeats: 1,
    late: 2,
    fine: Fine { calls: true, uploads: true, conversions: true, feeds: true },
    ..ONE
};

/// About a minute in all, on two cores.
pub const SMALL: &[(&str, World)] = &[
    ("the chain of three customers", CHAIN),
    ("uploads", UPLOADS),
    ("late uploads of one customer", World { customers: (2, 2), crashes: 1, late: 2, ..UPLOADS }),
    ("calls", World { customers: (2, 2), ..CALLS }),
    ("feeds", World { sync: false, checkpoints: 0, ..FEEDS }),
    ("processes", World { crashes: 0, ..PROCESSES }),
    ("conflict", World { crashes: 0, ..CONFLICT }),
    ("everything taken apart", ALL),
];

/// For a night.
pub const LARGE: &[(&str, World)] = &[
    ("the chain of three customers, two power cuts", World { crashes: 2, checkpoints: 1, ..CHAIN }),
    ("processes, one crash", PROCESSES),
    ("conflict, one power cut", CONFLICT),
    ("feeds, sync creates too", World { crashes: 0, checkpoints: 0, ..FEEDS }),
    ("feeds, all of it", FEEDS),
    ("calls of two customers", World { repeats: 0, ..CALLS }),
    ("late uploads of two customers", World { repeats: 0, late: 2, ..UPLOADS }),
    ("everything taken apart, sync creates too", World { sync: true, repeats: 0, late: 1, ..ALL }),
    ("the chain of three customers, sync creates too", World { sync: true, ..CHAIN }),
];
