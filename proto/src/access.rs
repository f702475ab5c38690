//! Who may call what (rule Z4): the one table, for every service. What stands in no row nobody may call.
//!
//! It holds where callers have to show who they are; a service on loopback without tokens and certificates is open. A
//! channel or terminal that calls is the one that its token or certificate names, whatever its messages say.

/// Someone who shows neither token nor certificate.
pub const NOBODY: &str = "nobody";
/// A till, or a terminal beside it, at its store.
pub const TERMINAL: &str = "terminal";
/// A store, at headquarters.
pub const CHANNEL: &str = "channel";
/// Whoever sets up and looks after the chain; the harness too.
pub const ADMINISTRATOR: &str = "administrator";
/// Whoever collects metrics.
pub const MONITOR: &str = "monitor";

/// The roles that a token or a certificate may name.
pub const ROLES: &[&str] = &[TERMINAL, CHANNEL, ADMINISTRATOR, MONITOR];
/// A channel names itself in this header too, for the emulator and for what headquarters notes.
pub const NAMED: (&str, &str) = (CHANNEL, crate::CHANNEL_METADATA);

/// A path and the roles that may call it.
pub type Row = (&'static str, &'static [&'static str]);
/// Rows, in groups.
pub type Table = &'static [&'static [Row]];

const ANYBODY: &[&str] = &[NOBODY];
const KNOWN: &[&str] = ROLES;
const TILLS: &[&str] = &[TERMINAL, ADMINISTRATOR];
const CHANNELS: &[&str] = &[CHANNEL, ADMINISTRATOR];
const ADMINISTRATORS: &[&str] = &[ADMINISTRATOR];
const NO_ONE: &[&str] = &[];

/// Headquarters.
pub const HEADQUARTERS: Table = &[EVERYWHERE, REAL_TIME, EXCHANGE_OF_CHANNELS, ADMIN];
/// The emulator before it.
pub const EMULATOR: Table = &[EVERYWHERE, REAL_TIME, CONTROL];
/// A store.
pub const STORE: Table = &[EVERYWHERE, CUSTOMERS, ALL_OF_STORE, STATUS, EXCHANGE_OF_TERMINALS];
/// A terminal.
pub const OF_TERMINAL: Table = &[EVERYWHERE, CUSTOMERS, ALL_OF_TERMINAL, STATUS];

const EVERYWHERE: &[Row] = &[
    ("/metrics", &[MONITOR, ADMINISTRATOR]),
    ("/grpc.health.v1.Health/Check", ANYBODY),
    ("/grpc.health.v1.Health/Watch", KNOWN),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", KNOWN),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", KNOWN),
];

const REAL_TIME: &[Row] = &[
    ("/tillsync.hq.v1.RealTimeService/CreateCustomer", CHANNELS),
    ("/tillsync.hq.v1.RealTimeService/GetCustomer", CHANNELS),
    ("/tillsync.hq.v1.RealTimeService/SearchCustomers", CHANNELS),
    ("/tillsync.hq.v1.RealTimeService/UpdateCustomer", CHANNELS),
    ("/tillsync.hq.v1.RealTimeService/SaveAddress", CHANNELS),
    ("/tillsync.hq.v1.RealTimeService/IssueLoyaltyCard", CHANNELS),
];

/// An administrator reads the feed for the ledger, and speaks for no channel.
const EXCHANGE_OF_CHANNELS: &[Row] = &[
    ("/tillsync.hq.v1.DataExchangeService/UploadOperations", &[CHANNEL]),
    ("/tillsync.hq.v1.DataExchangeService/ListCustomerChanges", CHANNELS),
    ("/tillsync.hq.v1.DataExchangeService/GetConfiguration", &[CHANNEL]),
    ("/tillsync.hq.v1.DataExchangeService/WatchJobs", &[CHANNEL]),
    ("/tillsync.hq.v1.DataExchangeService/RecoverCustomers", &[CHANNEL]),
    ("/tillsync.hq.v1.DataExchangeService/ReportStatus", &[CHANNEL]),
];

const EXCHANGE_OF_TERMINALS: &[Row] = &[
    ("/tillsync.hq.v1.DataExchangeService/UploadOperations", &[TERMINAL]),
    ("/tillsync.hq.v1.DataExchangeService/ListCustomerChanges", &[TERMINAL]),
    ("/tillsync.hq.v1.DataExchangeService/GetConfiguration", &[TERMINAL]),
    ("/tillsync.hq.v1.DataExchangeService/WatchJobs", &[TERMINAL]),
    ("/tillsync.hq.v1.DataExchangeService/RecoverCustomers", &[TERMINAL]),
    ("/tillsync.hq.v1.DataExchangeService/ReportStatus", &[TERMINAL]),
];

const ADMIN: &[Row] = &[
    ("/tillsync.hq.v1.AdminService/GetProfile", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/UpdateProfile", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListFlags", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/UpdateFlag", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListSchedules", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/UpdateSchedule", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/RunJob", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListSessions", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListSetAside", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/RerunSession", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/CancelSession", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListSyncStatuses", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/CorrectOperation", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/SynchronizeOperation", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListAttributeDefinitions", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/UpdateAttributeDefinition", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/DeleteAttributeDefinition", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListNumberSequences", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/UpdateNumberSequence", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListPossibleDuplicates", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/DismissPossibleDuplicate", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/EraseCustomer", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/ListErasures", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/EndRecovery", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/Diagnose", ADMINISTRATORS),
    ("/tillsync.hq.v1.AdminService/GetStatus", ADMINISTRATORS),
];

const CUSTOMERS: &[Row] = &[
    ("/tillsync.channel.v1.CustomerService/CreateCustomer", TILLS),
    ("/tillsync.channel.v1.CustomerService/GetCustomer", TILLS),
    ("/tillsync.channel.v1.CustomerService/UpdateCustomer", TILLS),
    ("/tillsync.channel.v1.CustomerService/SearchCustomers", TILLS),
    ("/tillsync.channel.v1.CustomerService/WatchCustomer", TILLS),
    ("/tillsync.channel.v1.CustomerService/CreateAddress", TILLS),
    ("/tillsync.channel.v1.CustomerService/UpdateAddress", TILLS),
    ("/tillsync.channel.v1.CustomerService/DeleteAddress", TILLS),
    ("/tillsync.channel.v1.CustomerService/IssueLoyaltyCard", TILLS),
];

/// Everybody's data, page by page. A till searches; and a terminal would pass the call on as a terminal.
const ALL_OF_STORE: &[Row] = &[("/tillsync.channel.v1.CustomerService/ListCustomers", ADMINISTRATORS)];
const ALL_OF_TERMINAL: &[Row] = &[("/tillsync.channel.v1.CustomerService/ListCustomers", NO_ONE)];

const STATUS: &[Row] = &[
    ("/tillsync.channel.v1.StatusService/Ping", TILLS),
    ("/tillsync.channel.v1.StatusService/GetStatus", ADMINISTRATORS),
    ("/tillsync.channel.v1.StatusService/ListOperations", ADMINISTRATORS),
];

const CONTROL: &[Row] = &[
    ("/tillsync.emulator.v1.EmulatorService/GetProfile", ADMINISTRATORS),
    ("/tillsync.emulator.v1.EmulatorService/UpdateProfile", ADMINISTRATORS),
    ("/tillsync.emulator.v1.EmulatorService/StartOutage", ADMINISTRATORS),
    ("/tillsync.emulator.v1.EmulatorService/EndOutage", ADMINISTRATORS),
    ("/tillsync.emulator.v1.EmulatorService/GetFigures", ADMINISTRATORS),
];
