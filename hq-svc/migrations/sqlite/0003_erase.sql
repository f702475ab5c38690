-- Customers that were erased. Their rows in `customers` hold nothing but the GUID, the account number and a time.
create table erasures (
    seq integer primary key,
    customer_id blob not null unique,
    requested_by text not null,
    erased_at integer not null,
    -- 1 until every channel that has told of itself has confirmed.
    open integer not null default 1
) strict;

create index erasures_open on erasures (seq) where open = 1;

create table erasure_confirmations (
    customer_id blob not null,
    channel_id text not null,
    confirmed_at integer not null,
    primary key (customer_id, channel_id)
) strict, without rowid;
