//! Mechanics without meaning: nothing in here knows what a customer is.
//!
//! | module | what it does |
//! |---|---|
//! | [`backup`] | copies of SQLite files that are in use |
//! | `burden` | what is large and under way, bounded |
//! | [`clock`] | the only place that reads clocks and draws ids |
//! | [`config`] | listen addresses, exit codes, signals |
//! | `connections` | connections, each bounded |
//! | [`damage`] | disks that are full or fail, and corrupted files |
//! | [`database`] | opens SQLite and PostgreSQL, migrates, classifies errors |
//! | [`deadline`] | reads a caller's deadline, enforces it, hands on what remains |
//! | [`door`] | who may come in: tokens, certificates, the table of who may call what, limits |
//! | [`group`] | group commit: many waiting callers, one transaction |
//! | [`lease`] | which of several processes on one database does its background work |
//! | [`network`] | TCP, or what somebody gives instead |
//! | [`problem`] | gRPC statuses with the standard error details |
//! | [`process`] | what the process has used, from `/proc` and as Prometheus reads it |
//! | [`reload`] | files that are read again when they change |
//! | [`retry`] | bounded, jittered retries and pauses |
//! | [`serve`] | a listener with health, reflection, metrics, deadlines and a bounded drain |
//! | `simulation` | a store's disk whose time is passed in |
//! | [`telemetry`] | logs and Prometheus metrics |
//! | [`terms`] | finding by words |
//! | `tls` | TLS, on both sides of a connection |
//! | [`timing`] | where the time of a call went, told with its answer |
//! | `throwaway` | PostgreSQL servers that end with this process |
//! | [`watchdog`] | notices that something waits and nothing moves |
//! | [`way`] | connections to services, and what is shown there |
//! | [`web`] | calls from pages in a browser |

pub mod backup;
mod burden;
pub mod clock;
pub mod config;
mod connections;
pub mod damage;
pub mod database;
pub mod deadline;
pub mod door;
pub mod group;
pub mod lease;
pub mod network;
pub mod problem;
pub mod process;
pub mod reload;
pub mod retry;
pub mod serve;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod telemetry;
pub mod terms;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(any(test, feature = "throwaway"))]
pub mod throwaway;
pub mod timing;
mod tls;
mod together;
pub mod watchdog;
pub mod way;
pub mod web;
