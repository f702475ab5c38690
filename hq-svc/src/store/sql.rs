//! Statements whose text is the same for both databases.

/// The row of `hq_head`.
pub(super) const HEAD: &str = "select epoch, feed_version, next_account, next_card, customers, arrivals_completed, \
     (select count(*) from awaited_channels) from hq_head where id = 1";
/// Makes the row of `hq_head` at the first open.
pub(super) const MAKE_HEAD: &str = "insert into hq_head (id, epoch, feed_version, next_account, next_card, customers, arrivals_completed) \
     values (1, $1, 0, 1, 1, 0, 0) on conflict do nothing";
/// Writes the row of `hq_head` back.
pub(super) const SAVE_HEAD: &str = "update hq_head set feed_version = $1, next_account = $2, next_card = $3, customers = $4, arrivals_completed = $5 \
     where id = 1";

/// One customer by GUID.
pub(super) const BY_ID: &str = "select version, fingerprint, body from customers where id = $1";
/// One customer by account number.
pub(super) const BY_ACCOUNT: &str =
    "select version, fingerprint, body from customers where account_number = $1";
/// Who has an account number.
pub(super) const ID_OF_ACCOUNT: &str = "select id from customers where account_number = $1";
/// The feed; a customer once for each channel whose edits are in it, or once if there is none.
pub(super) const CHANGES: &str = "select c.version, c.fingerprint, c.body, e.channel_id, e.counter \
     from (select version, id, fingerprint, body from customers where version > $1 order by version limit $2) c \
     left join edits_applied e on e.customer_id = c.id order by c.version";

/// The card that a request issued.
pub(super) const CARD_OF_REQUEST: &str =
    "select number, customer_id from loyalty_cards where request_id = $1";
/// Whose a card is.
pub(super) const OWNER_OF_CARD: &str = "select customer_id from loyalty_cards where number = $1";
/// A new card.
pub(super) const INSERT_CARD: &str =
    "insert into loyalty_cards (number, customer_id, request_id) values ($1, $2, $3)";
/// A customer with a new card.
pub(super) const REPLACE_CUSTOMER: &str = "update customers set version = $2, body = $3 where id = $1";

/// Whether it is an arrival's turn: not processed, not waiting for its next attempt, and with no earlier one of the same
/// customer that is set aside and not due (rule X5).
const ITS_TURN: &str = "a.online_operation_completed = 0 and a.customer_id is not null \
     and (a.reason is null or a.next_attempt_at <= $2) \
     and not exists (select 1 from arrivals b where b.customer_id = a.customer_id \
        and b.online_operation_completed = 0 and b.reason is not null and b.arrival_seq < a.arrival_seq \
        and (b.next_attempt_at is null or b.next_attempt_at > $2))";
/// Arrivals whose turn it is. Of all channels, or of one.
pub(super) fn due(of_channel: bool) -> String {
    let of_channel = if of_channel { "and a.channel_id = $4" } else { "" };
    format!(
        "select a.arrival_seq, a.channel_id, a.counter, a.customer_id, \
     coalesce(a.corrected, a.operation), a.attempts, (select e.counter from edits_applied e \
        where e.customer_id = a.customer_id and e.channel_id = a.channel_id) from arrivals a \
     where a.arrival_seq > $1 and {ITS_TURN} {of_channel} order by a.arrival_seq limit $3"
    )
}
/// Channels with arrivals whose turn it is. From one to the next in the index, so that it does not matter how much each has;
/// what is set aside and older than the first of them is looked at. Not `exists`, of which PostgreSQL may make a join with
/// everything that waits.
pub(super) fn due_channels() -> String {
    format!(
        "with recursive waiting (channel_id) as \
     (select min(channel_id) from arrivals where online_operation_completed = 0 union all \
     select (select min(a.channel_id) from arrivals a where a.online_operation_completed = 0 \
        and a.channel_id > waiting.channel_id) from waiting where waiting.channel_id is not null) \
     select channel_id from waiting where channel_id is not null \
     and (select 1 from arrivals a where a.channel_id = waiting.channel_id and {ITS_TURN} \
        order by a.arrival_seq limit 1) is not null limit $1"
    )
}
/// Waiting and set aside.
pub(super) const ARRIVAL_COUNTS: &str = "select cast((select coalesce(sum(arrivals), 0) from arrived) as bigint) \
     - (select arrivals_completed from hq_head) - aside.count, aside.count from (select count(*) as count \
     from arrivals where online_operation_completed = 0 and reason is not null) aside";
/// Counts what has arrived.
pub(super) const COUNT_ARRIVED: &str = "insert into arrived (channel_id, arrivals) values ($1, $2) \
     on conflict (channel_id) do update set arrivals = arrived.arrivals + excluded.arrivals";
/// An operation with what became of it; conditions follow.
pub(super) const OPERATIONS: &str = "select a.arrival_seq, a.channel_id, a.counter, a.customer_id, a.operation, \
     a.raw, a.corrected, a.arrived_at, cast(a.online_operation_completed as bigint), a.attempts, \
     a.next_attempt_at, a.reason, a.message, a.overwritten, \
     (select c.account_number from customers c where c.id = a.customer_id) from arrivals a where ";
/// The place of the newest arrival.
pub(super) const NEWEST_ARRIVAL: &str = "select coalesce(max(arrival_seq), 0) from arrivals";
/// Saves new values for an operation that was set aside.
pub(super) const CORRECT: &str = "update arrivals set corrected = $3, customer_id = coalesce(customer_id, $4) \
     where channel_id = $1 and counter = $2 and online_operation_completed = 0 and reason is not null";
/// Whether an earlier operation of the customer was set aside.
pub(super) const EARLIER_FAILURE: &str = "select count(*) from arrivals where customer_id = $1 \
     and arrival_seq < $2 and online_operation_completed = 0 and reason is not null";
const SET_ASIDE_COLUMNS: &str = "select arrival_seq, channel_id, counter, operation, raw, reason, message, \
     attempts, next_attempt_at from arrivals where online_operation_completed = 0 and reason is not null";
/// The list of what was set aside: from the start, or after one of them.
pub(super) fn set_aside(after: bool) -> String {
    let after = if after {
        "and (channel_id, counter) > (select channel_id, counter from arrivals where arrival_seq = $2)"
    } else {
        ""
    };
    format!("{SET_ASIDE_COLUMNS} {after} order by channel_id, counter limit $1")
}

/// Makes a channel known, if there is room.
pub(super) const REGISTER: &str = "insert into channels (id) select $1 \
     where (select count(*) from channels) < $2 on conflict do nothing";
/// Whether a channel is known.
pub(super) const IS_REGISTERED: &str = "select count(*) from channels where id = $1";
/// All channels.
pub(super) const CHANNELS: &str =
    "select id, last_contact_at, status, profile_version from channels order by id limit $1";
/// A channel's profile.
pub(super) const PROFILE: &str = "select profile, profile_version from channels where id = $1";
/// A new profile.
pub(super) const SET_PROFILE: &str =
    "update channels set profile = $2, profile_version = profile_version + 1 where id = $1";

/// The flags and the definitions of attributes.
pub(super) const CONFIGURATION: &str =
    "select bits, attributes, version from global_configuration where id = 1";
/// New ones.
pub(super) const SET_CONFIGURATION: &str =
    "update global_configuration set bits = $1, attributes = $2, version = version + 1 where id = 1";
/// A number sequence of the first start.
pub(super) const FIRST_SEQUENCE: &str =
    "insert into number_sequences (kind, format, block_size) values ($1, $2, $3) on conflict do nothing";
/// The number sequences.
pub(super) const SEQUENCES: &str = "select kind, format, block_size from number_sequences";
/// A changed number sequence.
pub(super) const SET_SEQUENCE: &str =
    "update number_sequences set format = $2, block_size = $3 where kind = $1";
/// All schedules.
pub(super) const SCHEDULES: &str = "select body from schedules";
/// A schedule of the first start.
pub(super) const FIRST_SCHEDULE: &str =
    "insert into schedules (job, body) values ($1, $2) on conflict do nothing";
/// A changed schedule.
pub(super) const SET_SCHEDULE: &str = "update schedules set body = $2 where job = $1";
/// All requests to run.
pub(super) const RUN_REQUESTS: &str =
    "select job, channel_id, request, canceled, canceled_start from run_requests";
/// Cancels requests up to one.
pub(super) const CANCEL_REQUEST: &str =
    "update run_requests set canceled = $3 where job = $1 and channel_id = $2 and canceled < $3";
/// Cancels the scheduled run that began then, and those before it.
pub(super) const CANCEL_SCHEDULED: &str = "insert into run_requests (job, channel_id, request, canceled_start) \
     values ($1, $2, 0, $3) on conflict (job, channel_id) do update set canceled_start = \
     case when excluded.canceled_start > run_requests.canceled_start then excluded.canceled_start \
     else run_requests.canceled_start end";

/// A session, or how far it has come. The same run reported again after its end is left out.
pub(super) const INSERT_SESSION: &str = "insert into sessions (channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error, state, bytes_moved, kept_at) \
     select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 where $3 = 0 \
     or not exists (select 1 from sessions where channel_id = $1 and job = $2 and run_request = $3) \
     on conflict (channel_id, job, run_request, started_at) do update set elapsed_micros = excluded.elapsed_micros, \
     rows_moved = excluded.rows_moved, error = excluded.error, state = excluded.state, \
     bytes_moved = excluded.bytes_moved, kept_at = excluded.kept_at where sessions.state in (1, 2, 3, 4, 5)";
/// How far what was asked for has come, and earlier requests that the same run carries out. What has ended, or was
/// canceled, stays as it is. States 1 to 5 are those that are open.
pub(super) const MOVE_SESSIONS: &str = "update sessions set elapsed_micros = $4, rows_moved = $5, error = $6, \
     state = $7, bytes_moved = $8 \
     where channel_id = $1 and job = $2 and run_request between 1 and $3 and state in (1, 2, 3, 4, 5)";
/// Removes the sessions beyond a number, and those that were kept before a time.
pub(super) const PRUNE_SESSIONS: &str = "delete from sessions where kept_at < $2 \
     or seq <= (select seq from sessions order by seq desc limit 1 offset $1)";
/// The newest sessions before a place.
pub(super) const SESSIONS: &str = "select seq, channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error, state, bytes_moved \
     from sessions where seq < $1 order by seq desc limit $2";
/// One session.
pub(super) const SESSION: &str = "select seq, channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error, state, bytes_moved \
     from sessions where seq = $1";
/// Cancels a session that is open or has failed.
pub(super) const CANCEL_SESSION: &str =
    "update sessions set state = 7 where seq = $1 and state in (1, 2, 3, 4, 5, 8, 9, 10, 11)";
/// The session of a request that has ended.
pub(super) const SESSION_OF: &str = "select seq, channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error, state, bytes_moved \
     from sessions where job = $1 and channel_id = $2 and run_request >= $3 and state not in (1, 2, 3, 4, 5) \
     order by seq limit 1";
/// The newest session of a job that moved rows.
pub(super) const LAST_WITH_ROWS: &str = "select seq, channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error, state, bytes_moved \
     from sessions where job = $1 and rows_moved > 0 order by seq desc limit 1";

/// How far customers have been looked at for duplicates.
pub(super) const DUPLICATES_THROUGH: &str = "select through from duplicates_progress where id = 1";
/// Moves that on.
pub(super) const SET_DUPLICATES_THROUGH: &str = "update duplicates_progress set through = $1 where id = 1";
/// A pair, unless it was noticed before.
pub(super) const NOTE_PAIR: &str = "insert into possible_duplicates (customer_id, other_id, reason, noticed_at) \
     select $1, $2, $3, $4 where not exists (select 1 from possible_duplicates \
        where customer_id = $2 and other_id = $1) on conflict do nothing";
/// The newest pairs before a place.
pub(super) const PAIRS: &str = "select seq, customer_id, other_id, cast(reason as bigint), noticed_at \
     from possible_duplicates where dismissed = 0 and seq < $1 order by seq desc limit $2";
/// How many pairs are on the list.
pub(super) const PAIR_COUNT: &str = "select count(*) from possible_duplicates where dismissed = 0";
/// Takes a pair off the list.
pub(super) const DISMISS: &str = "update possible_duplicates set dismissed = 1 where \
     (customer_id = $1 and other_id = $2) or (customer_id = $2 and other_id = $1)";

/// Where this database comes from.
pub(super) const ADD_LINEAGE: &str = "insert into lineage (epoch, version) values ($1, $2)";
/// A new identity.
pub(super) const SET_EPOCH: &str = "update hq_head set epoch = $1 where id = 1";
/// The databases that it was restored from.
pub(super) const LINEAGE: &str = "select epoch, version from lineage order by version";
/// Versions up to this one are older than the last restore.
pub(super) const RESTORED_AT: &str = "select coalesce(max(version), 0) from lineage";
/// Waits for every channel that has told of itself, and for one. Who only reads has nothing to bring.
pub(super) const AWAIT_ALL: &str = "insert into awaited_channels (channel_id) select id from channels where status is not null on conflict do nothing";
pub(super) const AWAIT: &str = "insert into awaited_channels (channel_id) values ($1) on conflict do nothing";
/// Whom it waits for.
pub(super) const AWAITED: &str = "select channel_id from awaited_channels order by channel_id";
/// Waits no longer for one channel; without one, for none.
pub(super) const AWAIT_NO_LONGER: &str =
    "delete from awaited_channels where channel_id = coalesce($1, channel_id)";
/// The newest counter of a channel.
pub(super) const ARRIVED_THROUGH: &str =
    "select coalesce(max(counter), 0) from arrivals where channel_id = $1";
/// What was brought of a customer.
pub(super) const RECOVERED: &str = "select known_version, version from recovered where customer_id = $1";
pub(super) const NOTE_RECOVERED: &str = "insert into recovered (customer_id, known_version, version) values ($1, $2, $3) \
     on conflict (customer_id) do update set known_version = excluded.known_version, version = excluded.version";
pub(super) const FORGET_RECOVERED: &str = "delete from recovered";
/// Whose an account number is.
pub(super) const OWNER_OF_ACCOUNT: &str = "select id from customers where account_number = $1";
/// A card that was issued before the restore.
pub(super) const RECOVER_CARD: &str =
    "insert into loyalty_cards (number, customer_id, request_id) values ($1, $2, $3) on conflict do nothing";

/// Notes an erasure, unless it is noted.
pub(super) const NOTE_ERASURE: &str = "insert into erasures (customer_id, requested_by, erased_at, caller) values ($1, $2, $3, $4) \
     on conflict (customer_id) do nothing";
/// Which customer has not been erased yet everywhere.
pub(super) const OPEN_AGAIN: &str = "update erasures set open = 1 where customer_id = $1";
/// Leaves nothing of what an arrival has brought, and counts it as processed.
pub(super) const SCRUB_OPEN: &str =
    "select count(*) from arrivals where customer_id = $1 and online_operation_completed = 0";
pub(super) const SCRUB: &str = "update arrivals set operation = null, raw = $2, kind = null, corrected = null, \
     overwritten = null, message = null, reason = null, next_attempt_at = null, online_operation_completed = 1 \
     where customer_id = $1";
/// The same of one arrival.
pub(super) const SCRUB_ONE: &str = "update arrivals set operation = null, raw = $2, kind = null, corrected = null, \
     overwritten = null, message = null, reason = null, next_attempt_at = null where arrival_seq = $1";
/// What a customer was created with is a hash of personal data.
pub(super) const FORGET_FINGERPRINT: &str = "update customers set fingerprint = $2 where id = $1";
/// A customer that headquarters did not know, and that was erased.
pub(super) const INSERT_ERASED: &str =
    "insert into customers (id, account_number, version, fingerprint, body) values ($1, $2, $3, $4, $5)";
pub(super) const ERASE_CARD: &str = "delete from loyalty_cards where number = $1 and customer_id = $2";
pub(super) const ERASE_PAIRS: &str =
    "delete from possible_duplicates where customer_id = $1 or other_id = $1";
/// Erasures before a place.
pub(super) const ERASURES: &str = "select seq, customer_id, caller, requested_by, erased_at from erasures \
     where seq < $1 order by seq desc limit $2";
pub(super) const ERASURE_OF: &str =
    "select seq, customer_id, caller, requested_by, erased_at from erasures where customer_id = $1";
/// Which channels have erased a customer, and when; and which have not told so.
pub(super) const CONFIRMATIONS: &str = "select channel_id, confirmed_at from erasure_confirmations \
     where customer_id = $1 order by channel_id limit $2";
pub(super) const UNCONFIRMED: &str = "select id from channels c where status is not null and not exists \
     (select 1 from erasure_confirmations e where e.customer_id = $1 and e.channel_id = c.id) order by id limit $2";
/// Erasures that are not confirmed by all, with the version that a channel has to have seen.
pub(super) const OPEN_ERASURES: &str = "select e.customer_id, c.version from erasures e \
     join customers c on c.id = e.customer_id where e.open = 1 order by e.seq limit $1";
pub(super) const CONFIRM: &str = "insert into erasure_confirmations (customer_id, channel_id, confirmed_at) \
     values ($1, $2, $3) on conflict do nothing";
pub(super) const CLOSE_ERASURE: &str = "update erasures set open = 0 where customer_id = $1";
