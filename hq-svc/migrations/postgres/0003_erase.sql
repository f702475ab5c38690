-- Customers that were erased. Their rows in `customers` hold nothing but the GUID, the account number and a time.
create table erasures (
    seq bigint generated always as identity primary key,
    customer_id uuid not null unique,
    requested_by text not null,
    erased_at bigint not null,
    -- 1 until every channel that has told of itself has confirmed.
    open bigint not null default 1
);

create index erasures_open on erasures (seq) where open = 1;

create table erasure_confirmations (
    customer_id uuid not null,
    channel_id text collate "C" not null,
    confirmed_at bigint not null,
    primary key (customer_id, channel_id)
);
