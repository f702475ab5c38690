-- Instants are micros since 1970-01-01 UTC. Texts that are compared or ordered are in byte order, as in SQLite.

-- One row: what this database is and what it has given out. Whoever changes customers holds its lock.
create table hq_head (
    id smallint primary key check (id = 1),
    epoch uuid not null,
    feed_version bigint not null,
    next_account bigint not null,
    next_card bigint not null,
    customers bigint not null,
    arrivals_completed bigint not null
) with (fillfactor = 10);

-- Which of several processes does the background work (see service-kit/src/lease.rs).
create table leases (
    name text collate "C" primary key,
    holder uuid not null,
    -- Grows with every new holder: what an old one still writes is refused by it.
    token bigint not null,
    ends_at timestamptz not null
);

-- The processes that serve this database, and the channels that listen to each.
create table processes (
    id uuid primary key,
    channels text[] collate "C" not null,
    seen_at timestamptz not null
);

-- The master. The newest change of each customer, by version: the feed is this table.
create table customers (
    id uuid primary key,
    account_number text collate "C" not null unique,
    version bigint not null unique,
    -- Of the content that the customer was created with; an edit never changes it.
    fingerprint uuid not null,
    body text not null
);

-- What customers are found by: names (1), e-mails (2), phones (3), folded.
create table customer_terms (
    kind smallint not null,
    term text collate "C" not null,
    customer_id uuid not null,
    primary key (kind, term, customer_id)
);

create table loyalty_cards (
    -- In upper case, as cards are compared.
    number text collate "C" primary key,
    customer_id uuid not null,
    request_id uuid not null unique
);

-- The log of what channels have uploaded. Only the columns after `arrived_at` ever change.
create table arrivals (
    arrival_seq bigint generated always as identity primary key,
    channel_id text collate "C" not null,
    counter bigint not null,
    customer_id uuid,
    -- create, update, save_address; null: it cannot be used, and `raw` holds it as it came.
    kind text collate "C",
    operation text,
    raw bytea,
    -- By the channel's clock.
    logged_at bigint not null,
    arrived_at bigint not null,
    online_operation_completed smallint not null default 0 check (online_operation_completed in (0, 1)),
    attempts bigint not null default 0,
    -- Of an operation that was set aside; null: not by itself.
    next_attempt_at bigint,
    -- Why it was set aside; null: it was not.
    reason text collate "C",
    message text,
    -- The operation with the new values that somebody has saved for it; the columns above stay as they came.
    corrected text,
    -- Values of others that it replaced, as JSON: an array of [field, value].
    overwritten text,
    unique (channel_id, counter),
    check ((operation is null) <> (raw is null))
);

create index arrivals_open on arrivals (arrival_seq) where online_operation_completed = 0;
create index arrivals_open_of_channel on arrivals (channel_id, arrival_seq) where online_operation_completed = 0;
create index arrivals_of_customer on arrivals (customer_id, arrival_seq);
create index arrivals_set_aside on arrivals (customer_id, arrival_seq)
    where online_operation_completed = 0 and reason is not null;
create index arrivals_set_aside_list on arrivals (channel_id, counter)
    where online_operation_completed = 0 and reason is not null;

create table channels (
    id text collate "C" primary key,
    last_contact_at bigint,
    -- tillsync.common.v1.ChannelStatus
    status bytea,
    profile text,
    profile_version bigint not null default 1
);

-- How many operations of each channel have arrived: what waits is counted from it, not row by row.
create table arrived (
    channel_id text collate "C" primary key,
    arrivals bigint not null
);

-- How far the edits of each channel are in each customer.
create table edits_applied (
    customer_id uuid not null,
    channel_id text collate "C" not null,
    counter bigint not null,
    primary key (customer_id, channel_id)
);

-- What 1110 carries: the flags, and the definitions of attributes as JSON.
create table global_configuration (
    id smallint primary key check (id = 1),
    bits bigint not null,
    attributes text not null,
    version bigint not null
);
insert into global_configuration values (1, 0, '[]', 1);

-- A block of 0 is a continuous sequence.
create table number_sequences (
    kind text collate "C" primary key,
    format text not null,
    block_size bigint not null
);

-- Customers that may be the same person.
create table possible_duplicates (
    seq bigint generated always as identity primary key,
    customer_id uuid not null,
    other_id uuid not null,
    -- 1: e-mail, 2: phone and name.
    reason smallint not null,
    noticed_at bigint not null,
    dismissed smallint not null default 0,
    unique (customer_id, other_id)
);

-- Customers up to this version of the feed have been looked at for duplicates.
create table duplicates_progress (
    id smallint primary key check (id = 1),
    through bigint not null
);
insert into duplicates_progress values (1, 0);

create table schedules (
    job text collate "C" primary key,
    body text not null
);

create table run_requests (
    job text collate "C" not null,
    -- Empty for the customer sync job.
    channel_id text collate "C" not null,
    request bigint not null,
    -- Requests up to here have been canceled.
    canceled bigint not null default 0,
    -- A scheduled run that began then, or before, has been canceled.
    canceled_start bigint not null default 0,
    primary key (job, channel_id)
);

create table sessions (
    seq bigint generated always as identity primary key,
    channel_id text collate "C" not null,
    job text collate "C" not null,
    run_request bigint not null,
    started_at bigint not null,
    elapsed_micros bigint not null,
    rows_moved bigint not null,
    error text not null,
    -- tillsync.common.v1.SessionState
    state bigint not null,
    bytes_moved bigint not null,
    -- By the clock of headquarters.
    kept_at bigint not null,
    unique (channel_id, job, run_request, started_at)
);

-- The arrivals, unfolded once for the five documented tables below.
create view arrived_operations as
select
    channel_id,
    counter,
    customer_id::text as customer_id,
    coalesce(kind, 'unusable') as operation,
    operation::jsonb #> '{change,update,fields}' as updated_fields,
    case kind
        when 'create' then operation::jsonb #> '{change,create}'
        when 'update' then operation::jsonb #> '{change,update,values}'
    end as content,
    operation::jsonb #> '{change,save_address}' as address,
    (operation::jsonb ->> 'logged_at')::bigint as logged_at,
    arrived_at,
    online_operation_completed,
    attempts,
    reason,
    message
from arrivals;

create view retail_async_customer_v2 as
select
    channel_id, counter, customer_id, operation, updated_fields::text as updated_fields,
    content #>> '{party,person,title}' as title,
    content #>> '{party,person,first_name}' as first_name,
    content #>> '{party,person,middle_name}' as middle_name,
    content #>> '{party,person,last_name}' as last_name,
    content #>> '{party,organization,name}' as organization_name,
    content ->> 'customer_group' as customer_group,
    content ->> 'currency' as currency,
    content ->> 'language' as language,
    content ->> 'price_group' as price_group,
    content ->> 'discount_group' as discount_group,
    content ->> 'tax_id' as tax_id,
    (content ->> 'credit_limit_minor')::bigint as credit_limit_minor,
    (content ->> 'blocked')::boolean::int as blocked,
    content ->> 'receipt_option' as receipt_option,
    content ->> 'receipt_email' as receipt_email,
    logged_at, arrived_at, online_operation_completed, attempts, reason, message
from arrived_operations
where operation <> 'save_address';

create view retail_async_address_v2 as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value ->> 'id' as address_id,
    part.value ->> 'purpose' as purpose,
    part.value ->> 'label' as label,
    part.value ->> 'street' as street,
    part.value ->> 'city' as city,
    part.value ->> 'state' as state,
    part.value ->> 'postal_code' as postal_code,
    part.value ->> 'country' as country,
    (part.value ->> 'primary')::boolean::int as is_primary,
    (part.value ->> 'deactivated')::boolean::int as deactivated,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o
cross join lateral jsonb_array_elements(case o.operation
    when 'create' then o.content -> 'addresses'
    when 'save_address' then jsonb_build_array(o.address)
    else '[]'
end) part;

create view retail_async_customer_contact as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value ->> 'id' as contact_id,
    part.value ->> 'kind' as kind,
    part.value ->> 'value' as value,
    (part.value ->> 'primary')::boolean::int as is_primary,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o
cross join lateral jsonb_array_elements(o.content -> 'contacts') part
where o.operation = 'create' or o.updated_fields ? 'contacts';

create view retail_async_customer_affiliation as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value as affiliation,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o
cross join lateral jsonb_array_elements_text(o.content -> 'affiliations') part
where o.operation = 'create' or o.updated_fields ? 'affiliations';

create view retail_async_customer_attribute_v2 as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value ->> 'name' as name,
    typed.key as type,
    typed.value as value,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o
cross join lateral jsonb_array_elements(o.content -> 'attributes') part
cross join lateral jsonb_each_text(part.value -> 'value') typed
where o.operation = 'create' or o.updated_fields ? 'attributes';
