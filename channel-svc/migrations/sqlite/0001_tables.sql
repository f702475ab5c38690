-- The tables made from the log and from what 1010 brings. They can be lost: they are built again.
create table customers (
    id blob primary key,
    -- Wall-clock micros; for showing only.
    created_at integer not null,
    -- 1 while there is no account number.
    pending integer not null,
    -- An encoded row (see src/log/entry.rs).
    body blob not null
) strict, without rowid;

create index customers_pending on customers (created_at) where pending = 1;

-- Everything a customer can be found by.
create table customer_terms (
    kind integer not null,
    term text not null,
    customer_id blob not null,
    primary key (kind, term, customer_id)
) strict, without rowid;

create table progress (
    one integer primary key check (one = 1),
    -- Log entries up to here stand in the tables.
    applied_through integer not null,
    customers integer not null,
    pending integer not null,
    -- How far 1010 has been applied.
    feed_epoch text not null,
    feed_version integer not null,
    -- Newest version at headquarters when last asked.
    feed_head integer not null,
    -- When the channel last was level, and when headquarters last answered; micros, 0 is never.
    level_at integer not null,
    contact_at integer not null
) strict;

insert into progress (one, applied_through, customers, pending, feed_epoch, feed_version, feed_head, level_at, contact_at)
values (1, 0, 0, 0, '', 0, 0, 0, 0);

-- Profile, flags and schedules as headquarters last told them.
create table settings (
    name text primary key,
    version integer not null,
    value text not null
) strict, without rowid;

-- The last run of each job.
create table job_runs (
    job text primary key,
    run_request integer not null,
    started_at integer not null,
    elapsed_micros integer not null,
    moved integer not null,
    error text not null,
    -- tillsync.common.v1.SessionState
    state integer not null,
    bytes integer not null
) strict, without rowid;
