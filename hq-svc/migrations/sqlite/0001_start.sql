-- Instants are micros since 1970-01-01 UTC. GUIDs are 16-byte blobs.

-- One row: what this database is and what it has given out. Whoever changes customers holds its lock.
create table hq_head (
    id integer primary key check (id = 1),
    epoch blob not null,
    feed_version integer not null,
    next_account integer not null,
    next_card integer not null,
    customers integer not null,
    arrivals_completed integer not null
) strict;

-- The master. The newest change of each customer, by version: the feed is this table.
create table customers (
    version integer primary key,
    id blob not null unique,
    account_number text not null unique,
    -- Of the content that the customer was created with; an edit never changes it.
    fingerprint blob not null,
    body text not null
) strict;

-- What customers are found by: names (1), e-mails (2), phones (3), folded.
create table customer_terms (
    kind integer not null,
    term text not null,
    customer_id blob not null,
    primary key (kind, term, customer_id)
) strict, without rowid;

create table loyalty_cards (
    -- In upper case, as cards are compared.
    number text primary key,
    customer_id blob not null,
    request_id blob not null unique
) strict, without rowid;

-- The log of what channels have uploaded. Only the columns after `arrived_at` ever change.
create table arrivals (
    arrival_seq integer primary key,
    channel_id text not null,
    counter integer not null,
    customer_id blob,
    -- create, update, save_address; null: it cannot be used, and `raw` holds it as it came.
    kind text,
    operation text,
    raw blob,
    -- By the channel's clock.
    logged_at integer not null,
    arrived_at integer not null,
    online_operation_completed integer not null default 0 check (online_operation_completed in (0, 1)),
    attempts integer not null default 0,
    -- Of an operation that was set aside; null: not by itself.
    next_attempt_at integer,
    -- Why it was set aside; null: it was not.
    reason text,
    message text,
    -- The operation with the new values that somebody has saved for it; the columns above stay as they came.
    corrected text,
    -- Values of others that it replaced, as JSON: an array of [field, value].
    overwritten text,
    unique (channel_id, counter),
    check ((operation is null) <> (raw is null))
) strict;

create index arrivals_open on arrivals (arrival_seq) where online_operation_completed = 0;
create index arrivals_open_of_channel on arrivals (channel_id, arrival_seq) where online_operation_completed = 0;
create index arrivals_of_customer on arrivals (customer_id, arrival_seq);
create index arrivals_set_aside on arrivals (customer_id, arrival_seq)
    where online_operation_completed = 0 and reason is not null;
create index arrivals_set_aside_list on arrivals (channel_id, counter)
    where online_operation_completed = 0 and reason is not null;

create table channels (
    id text primary key,
    last_contact_at integer,
    -- tillsync.common.v1.ChannelStatus
    status blob,
    profile text,
    profile_version integer not null default 1
) strict, without rowid;

-- How many operations of each channel have arrived: what waits is counted from it, not row by row.
create table arrived (
    channel_id text primary key,
    arrivals integer not null
) strict, without rowid;

-- How far the edits of each channel are in each customer.
create table edits_applied (
    customer_id blob not null,
    channel_id text not null,
    counter integer not null,
    primary key (customer_id, channel_id)
) strict, without rowid;

-- What 1110 carries: the flags, and the definitions of attributes as JSON.
create table global_configuration (
    id integer primary key check (id = 1),
    bits integer not null,
    attributes text not null,
    version integer not null
) strict;
insert into global_configuration values (1, 0, '[]', 1);

-- A block of 0 is a continuous sequence.
create table number_sequences (
    kind text primary key,
    format text not null,
    block_size integer not null
) strict, without rowid;

-- Customers that may be the same person.
create table possible_duplicates (
    seq integer primary key,
    customer_id blob not null,
    other_id blob not null,
    -- 1: e-mail, 2: phone and name.
    reason integer not null,
    noticed_at integer not null,
    dismissed integer not null default 0,
    unique (customer_id, other_id)
) strict;

-- Customers up to this version of the feed have been looked at for duplicates.
create table duplicates_progress (
    id integer primary key check (id = 1),
    through integer not null
) strict;
insert into duplicates_progress values (1, 0);

create table schedules (
    job text primary key,
    body text not null
) strict, without rowid;

create table run_requests (
    job text not null,
    -- Empty for the customer sync job.
    channel_id text not null,
    request integer not null,
    -- Requests up to here have been canceled.
    canceled integer not null default 0,
    -- A scheduled run that began then, or before, has been canceled; micros.
    canceled_start integer not null default 0,
    primary key (job, channel_id)
) strict, without rowid;

create table sessions (
    seq integer primary key,
    channel_id text not null,
    job text not null,
    run_request integer not null,
    started_at integer not null,
    elapsed_micros integer not null,
    rows_moved integer not null,
    error text not null,
    -- tillsync.common.v1.SessionState
    state integer not null,
    bytes_moved integer not null,
    -- By the clock of headquarters.
    kept_at integer not null,
    unique (channel_id, job, run_request, started_at)
) strict;

-- The arrivals, unfolded once for the five documented tables below.
create view arrived_operations as
select
    channel_id,
    counter,
    lower(substr(hex(customer_id), 1, 8) || '-' || substr(hex(customer_id), 9, 4) || '-'
        || substr(hex(customer_id), 13, 4) || '-' || substr(hex(customer_id), 17, 4) || '-'
        || substr(hex(customer_id), 21)) as customer_id,
    coalesce(kind, 'unusable') as operation,
    json_extract(operation, '$.change.update.fields') as updated_fields,
    case kind
        when 'create' then json_extract(operation, '$.change.create')
        when 'update' then json_extract(operation, '$.change.update.values')
    end as content,
    json_extract(operation, '$.change.save_address') as address,
    operation ->> '$.logged_at' as logged_at,
    arrived_at,
    online_operation_completed,
    attempts,
    reason,
    message
from arrivals;

create view retail_async_customer_v2 as
select
    channel_id, counter, customer_id, operation, updated_fields,
    content ->> '$.party.person.title' as title,
    content ->> '$.party.person.first_name' as first_name,
    content ->> '$.party.person.middle_name' as middle_name,
    content ->> '$.party.person.last_name' as last_name,
    content ->> '$.party.organization.name' as organization_name,
    content ->> '$.customer_group' as customer_group,
    content ->> '$.currency' as currency,
    content ->> '$.language' as language,
    content ->> '$.price_group' as price_group,
    content ->> '$.discount_group' as discount_group,
    content ->> '$.tax_id' as tax_id,
    content ->> '$.credit_limit_minor' as credit_limit_minor,
    content ->> '$.blocked' as blocked,
    content ->> '$.receipt_option' as receipt_option,
    content ->> '$.receipt_email' as receipt_email,
    logged_at, arrived_at, online_operation_completed, attempts, reason, message
from arrived_operations
where operation <> 'save_address';

create view retail_async_address_v2 as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value ->> '$.id' as address_id,
    part.value ->> '$.purpose' as purpose,
    part.value ->> '$.label' as label,
    part.value ->> '$.street' as street,
    part.value ->> '$.city' as city,
    part.value ->> '$.state' as state,
    part.value ->> '$.postal_code' as postal_code,
    part.value ->> '$.country' as country,
    part.value ->> '$.primary' as is_primary,
    part.value ->> '$.deactivated' as deactivated,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o,
    json_each(case o.operation
        when 'create' then json_extract(o.content, '$.addresses')
        when 'save_address' then json_array(json(o.address))
        else '[]'
    end) part;

create view retail_async_customer_contact as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value ->> '$.id' as contact_id,
    part.value ->> '$.kind' as kind,
    part.value ->> '$.value' as value,
    part.value ->> '$.primary' as is_primary,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o, json_each(o.content, '$.contacts') part
where o.operation = 'create'
    or exists (select 1 from json_each(o.updated_fields) field where field.value = 'contacts');

create view retail_async_customer_affiliation as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value as affiliation,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o, json_each(o.content, '$.affiliations') part
where o.operation = 'create'
    or exists (select 1 from json_each(o.updated_fields) field where field.value = 'affiliations');

create view retail_async_customer_attribute_v2 as
select
    o.channel_id, o.counter, o.customer_id, o.operation,
    part.value ->> '$.name' as name,
    typed.key as type,
    case typed.type when 'true' then 'true' when 'false' then 'false' else cast(typed.value as text) end
        as value,
    o.logged_at, o.arrived_at, o.online_operation_completed, o.attempts, o.reason, o.message
from arrived_operations o, json_each(o.content, '$.attributes') part, json_each(part.value, '$.value') typed
where o.operation = 'create'
    or exists (select 1 from json_each(o.updated_fields) field where field.value = 'attributes');
