//! `tillsync hq operations`, `correct` and `synchronize`: the synchronization status and its repair.

use clap::{Args, ValueEnum};
use tillsync_proto::pb::{
    common::{Operation, operation::Change},
    hq::{
        CorrectOperationRequest, ListSyncStatusesRequest, OperationStatus, SyncStatus,
        SynchronizeOperationRequest, admin_service_client::AdminServiceClient,
    },
};

use super::{Remote, columns, row, time_of_day, values::Assignment};
use crate::error::Error;

/// Most operations that are printed.
const MAX_ROWS: usize = 1_000;

/// Which operations to list.
#[derive(Debug, Clone, Args)]
pub struct OperationsArgs {
    /// How far they are.
    #[arg(long)]
    pub status: Option<Status>,
    /// Of this channel.
    #[arg(long, default_value = "", value_name = "NAME")]
    pub channel: String,
    /// Of this customer, by GUID or account number.
    #[arg(long, default_value = "", value_name = "CUSTOMER")]
    pub customer: String,
    /// With this last error, such as INVALID_FIELD.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// With this text in a new, old or overwritten value.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub value: String,
    /// At most this many, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    pub limit: u16,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Status {
    /// It waits for the customer sync job.
    Pending,
    /// It has been processed.
    Succeeded,
    /// It was set aside.
    Failed,
}

/// Lists operations.
pub(super) async fn list(hq: &Remote, args: OperationsArgs) -> Result<String, Error> {
    let status = match args.status {
        None => SyncStatus::Unspecified,
        Some(Status::Pending) => SyncStatus::Pending,
        Some(Status::Succeeded) => SyncStatus::Succeeded,
        Some(Status::Failed) => SyncStatus::Failed,
    };
    let limit = usize::from(args.limit).min(MAX_ROWS);
    let request = ListSyncStatusesRequest {
        channel_id: args.channel,
        customer: args.customer,
        status: status.into(),
        reason: args.reason,
        value: args.value,
        page_size: args.limit.into(),
        ..Default::default()
    };
    let found = find(hq, request, |found| found.len() >= limit).await?;
    let header = ["channel", "counter", "arrived", "what", "customer", "account", "status", "tries", "why"];
    let mut rows = vec![row(header)];
    rows.extend(found.iter().take(limit).map(cells));
    Ok(columns(&rows))
}

/// Pages through operations until there are enough.
async fn find(
    hq: &Remote,
    mut request: ListSyncStatusesRequest,
    enough: impl Fn(&[OperationStatus]) -> bool,
) -> Result<Vec<OperationStatus>, Error> {
    let mut found = Vec::new();
    loop {
        let asked = request.clone();
        let page =
            hq.call(asked, async |c, m| AdminServiceClient::new(c).list_sync_statuses(m).await).await?;
        found.extend(page.operations);
        if page.next_page_token.is_empty() || enough(&found) {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
}

fn cells(one: &OperationStatus) -> Vec<String> {
    let operation = one.operation.clone().unwrap_or_default();
    let what = match &operation.change {
        Some(Change::Create(_)) => "create".to_owned(),
        Some(Change::Update(update)) => {
            update.update_mask.as_ref().map_or_else(String::new, |mask| mask.paths.join(","))
        }
        Some(Change::SaveAddress(_)) => "address".to_owned(),
        None => "unreadable".to_owned(),
    };
    let status = match (one.status(), one.corrected) {
        (SyncStatus::Pending | SyncStatus::Unspecified, _) => "pending",
        (SyncStatus::Succeeded, false) => "succeeded",
        (SyncStatus::Succeeded, true) => "succeeded, corrected",
        (SyncStatus::Failed, false) => "failed",
        (SyncStatus::Failed, true) => "failed, corrected",
    };
    let lost: Vec<&str> = one.overwritten.iter().map(|lost| lost.field.as_str()).collect();
    let why = match (one.reason.is_empty(), lost.is_empty()) {
        (false, _) => format!("{}: {}", one.reason, one.message),
        (true, false) => format!("replaced what others had written: {}", lost.join(", ")),
        (true, true) => String::new(),
    };
    let (counter, tries) = (operation.counter.to_string(), one.attempts.to_string());
    let arrived = time_of_day(one.arrival_time.as_ref());
    let id = &operation.customer_id;
    row([&one.channel_id, &counter, &arrived, &what, id, &one.account_number, status, &tries, &why])
}

/// Saves new values for a failed operation.
pub(super) async fn correct(
    hq: &Remote,
    channel_id: String,
    counter: u64,
    set: &[Assignment],
) -> Result<String, Error> {
    let request = ListSyncStatusesRequest {
        channel_id: channel_id.clone(),
        status: SyncStatus::Failed.into(),
        page_size: 1_000,
        ..Default::default()
    };
    let is_it =
        |one: &OperationStatus| one.operation.as_ref().is_some_and(|logged| logged.counter == counter);
    let failed = find(hq, request, |found| found.iter().any(is_it)).await?;
    let failed = failed.into_iter().find(is_it).and_then(|one| one.operation);
    let missing = || Error::Usage(format!("{channel_id} has no failed operation {counter}"));
    let operation = changed(failed.ok_or_else(missing)?, set).map_err(Error::Usage)?;
    let request = CorrectOperationRequest { channel_id, operation: Some(operation) };
    let saved = hq.call(request, async |c, m| AdminServiceClient::new(c).correct_operation(m).await).await?;
    Ok(columns(&[cells(&saved.operation.unwrap_or_default())]))
}

fn changed(mut operation: Operation, set: &[Assignment]) -> Result<Operation, String> {
    match &mut operation.change {
        Some(Change::Create(customer)) => {
            set.iter().try_for_each(|assignment| assignment.set(customer).map(drop))?;
        }
        Some(Change::Update(update)) => {
            let values = update.customer.get_or_insert_default();
            let paths = &mut update.update_mask.get_or_insert_default().paths;
            for assignment in set {
                let path = assignment.set(values)?.to_owned();
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        Some(Change::SaveAddress(address)) => {
            set.iter().try_for_each(|assignment| assignment.set_address(address))?;
        }
        None => return Err("the operation cannot be read, so there is nothing to set".to_owned()),
    }
    Ok(operation)
}

/// Processes a failed operation now.
pub(super) async fn synchronize(hq: &Remote, channel_id: String, counter: u64) -> Result<String, Error> {
    let request = SynchronizeOperationRequest { channel_id, counter };
    let done =
        hq.call(request, async |c, m| AdminServiceClient::new(c).synchronize_operation(m).await).await?;
    Ok(columns(&[cells(&done.operation.unwrap_or_default())]))
}
