-- The databases that this one was restored from, each with the version up to which it has their customers.
create table lineage (
    epoch blob primary key,
    version integer not null
) strict, without rowid;

-- Channels that have not brought yet what was lost in a restore. While there are any, nothing changes.
create table awaited_channels (
    channel_id text primary key
) strict, without rowid;

-- Customers that channels have brought after a restore.
create table recovered (
    customer_id blob primary key,
    -- The version that the channel knew.
    known_version integer not null,
    -- The version that it was given here.
    version integer not null
) strict, without rowid;
