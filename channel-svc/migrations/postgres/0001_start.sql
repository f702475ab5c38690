-- The log: append-only, one row for each commit, holding what the callers logged who waited together. No random
-- index: what costs in a create is random index pages.
create table log (
    -- Sequence number of the row's last entry; the entries of a row are numbered without gaps.
    through bigint primary key,
    -- Sequence number of the row's last operation; null if it holds only what headquarters has told.
    operation_through bigint,
    -- The entries, each a length and an encoded row (see src/log/entry.rs).
    body bytea not null
);

-- Compression would cost more in the commit than it saves.
alter table log alter column body set storage external;

-- Grows at its end, like the log itself.
create index log_operations on log (operation_through) where operation_through is not null;

-- The newest entry. Whoever appends moves it on from where he has read to, or has somebody else's to read first.
create table log_head (
    one bigint primary key check (one = 1),
    newest bigint not null
) with (fillfactor = 10);

insert into log_head (one, newest) values (1, 0);

-- Which of several processes does the background work (see service-kit/src/lease.rs).
create table leases (
    name text collate "C" primary key,
    holder uuid not null,
    -- Grows with every new holder: what an old one still writes is refused by it.
    token bigint not null,
    ends_at timestamptz not null
);

-- How far headquarters has answered, and which headquarters database it was.
create table upload (
    one bigint primary key check (one = 1),
    through bigint not null,
    epoch text not null
);

insert into upload (one, through, epoch) values (1, 0, '');

-- The tables made from the log and from what 1010 brings. They can be lost: they are built again.
create table customers (
    id uuid primary key,
    -- Wall-clock micros; for showing only.
    created_at bigint not null,
    -- 1 while there is no account number.
    pending bigint not null,
    -- An encoded row (see src/log/entry.rs).
    body bytea not null
);

create index customers_pending on customers (created_at) where pending = 1;

-- Everything a customer can be found by.
create table customer_terms (
    kind bigint not null,
    term text collate "C" not null,
    customer_id uuid not null,
    primary key (kind, term, customer_id)
);

create table progress (
    one bigint primary key check (one = 1),
    -- Log entries up to here stand in the tables.
    applied_through bigint not null,
    customers bigint not null,
    pending bigint not null,
    -- How far 1010 has been applied.
    feed_epoch text not null,
    feed_version bigint not null,
    -- Newest version at headquarters when last asked.
    feed_head bigint not null,
    -- When the channel last was level, and when headquarters last answered; micros, 0 is never.
    level_at bigint not null,
    contact_at bigint not null
);

insert into progress (one, applied_through, customers, pending, feed_epoch, feed_version, feed_head, level_at, contact_at)
values (1, 0, 0, 0, '', 0, 0, 0, 0);

-- Profile, flags and schedules as headquarters last told them.
create table settings (
    name text collate "C" primary key,
    version bigint not null,
    value text not null
);

-- The last run of each job.
create table job_runs (
    job text collate "C" primary key,
    run_request bigint not null,
    started_at bigint not null,
    elapsed_micros bigint not null,
    moved bigint not null,
    error text not null,
    -- tillsync.common.v1.SessionState
    state bigint not null,
    bytes bigint not null
);
