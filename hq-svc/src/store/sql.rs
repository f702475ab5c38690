//! Statements whose text is the same for both databases.

/// The row of `hq_head`.
pub(super) const HEAD: &str =
    "select epoch, feed_version, next_account, next_card, arrivals_completed from hq_head where id = 1";
/// Makes the row of `hq_head` at the first open.
pub(super) const MAKE_HEAD: &str = "insert into hq_head (id, epoch, feed_version, next_account, next_card, arrivals_completed) \
     values (1, $1, 0, 1, 1, 0) on conflict do nothing";
/// Writes the row of `hq_head` back.
pub(super) const SAVE_HEAD: &str = "update hq_head set feed_version = $1, next_account = $2, next_card = $3, arrivals_completed = $4 \
     where id = 1";

/// One customer by GUID.
pub(super) const BY_ID: &str = "select version, fingerprint, body from customers where id = $1";
/// One customer by account number.
pub(super) const BY_ACCOUNT: &str =
    "select version, fingerprint, body from customers where account_number = $1";
/// The feed.
pub(super) const CHANGES: &str =
    "select version, fingerprint, body from customers where version > $1 order by version limit $2";

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

/// Arrivals whose turn it is: not processed, not waiting for their next attempt, and with no earlier one of
/// the same customer that is set aside and not due (rule X5).
pub(super) const DUE: &str = "select a.arrival_seq, a.customer_id, a.operation, a.attempts from arrivals a \
     where a.online_operation_completed = 0 and a.arrival_seq > $1 and a.customer_id is not null \
     and (a.reason is null or a.next_attempt_at <= $2) \
     and not exists (select 1 from arrivals b where b.customer_id = a.customer_id \
        and b.online_operation_completed = 0 and b.reason is not null and b.arrival_seq < a.arrival_seq \
        and (b.next_attempt_at is null or b.next_attempt_at > $2)) \
     order by a.arrival_seq limit $3";
/// Waiting and set aside.
pub(super) const ARRIVAL_COUNTS: &str =
    "select count(*) - count(reason), count(reason) from arrivals where online_operation_completed = 0";
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
/// What a channel says of itself.
pub(super) const REPORT: &str = "update channels set status = $2, last_contact_at = $3 where id = $1";
/// A channel's profile.
pub(super) const PROFILE: &str = "select profile, profile_version from channels where id = $1";
/// A new profile.
pub(super) const SET_PROFILE: &str =
    "update channels set profile = $2, profile_version = profile_version + 1 where id = $1";

/// The flags.
pub(super) const FLAGS: &str = "select bits, version from flags where id = 1";
/// A new set of flags.
pub(super) const SET_FLAGS: &str = "update flags set bits = $1, version = version + 1 where id = 1";
/// All schedules.
pub(super) const SCHEDULES: &str = "select body from schedules";
/// A schedule of the first start.
pub(super) const FIRST_SCHEDULE: &str =
    "insert into schedules (job, body) values ($1, $2) on conflict do nothing";
/// A changed schedule.
pub(super) const SET_SCHEDULE: &str = "update schedules set body = $2 where job = $1";
/// All requests to run.
pub(super) const RUN_REQUESTS: &str = "select job, channel_id, request from run_requests";

/// A session; the same run reported again is left out.
pub(super) const INSERT_SESSION: &str = "insert into sessions (channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error) \
     values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
/// Removes the oldest sessions.
pub(super) const PRUNE_SESSIONS: &str =
    "delete from sessions where seq <= (select seq from sessions order by seq desc limit 1 offset $1)";
/// The newest sessions before a place.
pub(super) const SESSIONS: &str = "select seq, channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error from sessions \
     where seq < $1 order by seq desc limit $2";
/// The session of a request.
pub(super) const SESSION_OF: &str = "select seq, channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error from sessions \
     where job = $1 and channel_id = $2 and run_request >= $3 order by seq limit 1";
/// The newest session of a job that moved rows.
pub(super) const LAST_WITH_ROWS: &str = "select seq, channel_id, job, run_request, started_at, elapsed_micros, rows_moved, error from sessions \
     where job = $1 and rows_moved > 0 order by seq desc limit 1";
