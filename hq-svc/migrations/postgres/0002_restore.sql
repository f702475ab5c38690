-- The databases that this one was restored from, each with the version up to which it has their customers.
create table lineage (
    epoch uuid primary key,
    version bigint not null
);

-- Channels that have not brought yet what was lost in a restore. While there are any, nothing changes.
create table awaited_channels (
    channel_id text collate "C" primary key
);

-- Customers that channels have brought after a restore.
create table recovered (
    customer_id uuid primary key,
    -- The version that the channel knew.
    known_version bigint not null,
    -- The version that it was given here.
    version bigint not null
);
