-- The log: append-only, one row for each commit, holding what the callers logged who waited together. No random
-- index: what costs in a create is random index pages.
create table log (
    -- Sequence number of the row's last entry; the entries of a row are numbered without gaps.
    through integer primary key,
    -- Sequence number of the row's last operation; null if it holds only what headquarters has told.
    operation_through integer,
    -- The entries, each a length and an encoded row (see src/log/entry.rs).
    body blob not null
) strict;

-- Grows at its end, like the log itself.
create index log_operations on log (operation_through) where operation_through is not null;

-- How far headquarters has answered, and which headquarters database it was.
create table upload (
    one integer primary key check (one = 1),
    through integer not null,
    epoch text not null
) strict;

insert into upload (one, through, epoch) values (1, 0, '');
