//! `tillsync customer`: what a till does.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use prost_types::FieldMask;
use tillsync_proto::pb::{
    channel::{
        CreateAddressRequest, CreateCustomerRequest, CreatePath, DeleteAddressRequest, GetCustomerRequest,
        IssueLoyaltyCardRequest, Scope, SearchCustomersRequest, UpdateAddressRequest, UpdateCustomerRequest,
        WatchCustomerRequest, customer_service_client::CustomerServiceClient,
        search_customers_request::Criterion,
    },
    common::{Address, Customer, SyncState, customer::Party},
};

use super::{
    Remote, columns, row,
    values::{Assignment, CUSTOMER_FIELDS},
};
use crate::{error::Error, say, way::Credentials};

/// A store or a terminal, and what to do there.
#[derive(Debug, Clone, Args)]
pub struct CustomerArgs {
    /// The store, or a terminal of it.
    #[arg(long, default_value = "http://127.0.0.1:7100", value_name = "URL")]
    pub channel: String,
    /// What proves to it who calls.
    #[command(flatten)]
    pub credentials: Credentials,
    /// What to do.
    #[command(subcommand)]
    pub command: CustomerCommand,
}

/// What a till does.
#[derive(Debug, Clone, Subcommand)]
pub enum CustomerCommand {
    /// Creates a customer, and says which way it went.
    Create(CreateArgs),
    /// Shows a customer.
    Get {
        /// GUID or account number.
        customer: String,
        /// Ask headquarters instead of the store.
        #[arg(long)]
        all_stores: bool,
    },
    /// Finds customers, best match first.
    Find(FindArgs),
    /// Changes fields.
    Edit {
        /// GUID or account number.
        customer: String,
        /// FIELD=VALUE, such as last_name=Smith; repeat it for each.
        #[arg(required = true, value_name = "FIELD=VALUE", long_help = CUSTOMER_FIELDS)]
        set: Vec<Assignment>,
    },
    /// Adds an address, changes one, or deactivates it.
    Address {
        /// GUID or account number.
        customer: String,
        /// FIELD=VALUE, such as city=Oslo; repeat it for each.
        #[arg(value_name = "FIELD=VALUE")]
        set: Vec<Assignment>,
        /// The address to change; without it one is added.
        #[arg(long, value_name = "ADDRESS")]
        id: Option<String>,
        /// Deactivate it.
        #[arg(long, requires = "id", conflicts_with = "set")]
        deactivate: bool,
    },
    /// Issues a loyalty card.
    Card {
        /// GUID or account number.
        customer: String,
        /// The card's number; without it headquarters gives the next.
        #[arg(long, default_value = "")]
        number: String,
    },
    /// Tells each change of a customer until its account number is there.
    Watch {
        /// GUID or account number.
        customer: String,
        /// Go on after the account number has come.
        #[arg(long)]
        forever: bool,
    },
}

/// A customer to create.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// First name.
    #[arg(long)]
    pub first: Option<String>,
    /// Last name.
    #[arg(long)]
    pub last: Option<String>,
    /// Name of an organization, in place of a person's.
    #[arg(long, conflicts_with_all = ["first", "last"])]
    pub organization: Option<String>,
    /// E-mail.
    #[arg(long)]
    pub email: Option<String>,
    /// Phone.
    #[arg(long)]
    pub phone: Option<String>,
    /// Street of an address.
    #[arg(long)]
    pub street: Option<String>,
    /// City of an address.
    #[arg(long)]
    pub city: Option<String>,
    /// The GUID, so that a repeat is recognised.
    #[arg(long, default_value = "", value_name = "GUID")]
    pub id: String,
    /// Any other field.
    #[arg(long, value_name = "FIELD=VALUE", long_help = CUSTOMER_FIELDS)]
    pub set: Vec<Assignment>,
    /// Check only.
    #[arg(long)]
    pub check: bool,
}

/// What to find.
#[derive(Debug, Clone, Args)]
#[group(id = "criterion", required = true, multiple = false)]
pub struct FindArgs {
    /// Words of the name.
    #[arg(long, group = "criterion")]
    pub name: Option<String>,
    /// E-mail, whole or its beginning.
    #[arg(long, group = "criterion")]
    pub email: Option<String>,
    /// Phone, whole or its beginning.
    #[arg(long, group = "criterion")]
    pub phone: Option<String>,
    /// Account number.
    #[arg(long, group = "criterion")]
    pub account: Option<String>,
    /// Loyalty card.
    #[arg(long, group = "criterion")]
    pub card: Option<String>,
    /// Ask headquarters instead of the store.
    #[arg(long)]
    pub all_stores: bool,
}

fn usage(text: String) -> Error {
    Error::Usage(text)
}

fn scope(all_stores: bool) -> i32 {
    if all_stores { Scope::AllStores.into() } else { Scope::Store.into() }
}

/// Does it.
///
/// # Errors
///
/// The store cannot be reached or refuses.
pub async fn customer(args: CustomerArgs) -> Result<ExitCode, Error> {
    match args.command {
        CustomerCommand::Watch { customer, forever } => {
            let store = Remote::connect(&args.channel, &args.credentials, "the store").await?;
            watch(&store, customer, forever).await?;
        }
        _ => say(&answer(args).await?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Does it, and gives what is to be printed. A watch prints by itself.
///
/// # Errors
///
/// As [`customer`].
pub async fn answer(args: CustomerArgs) -> Result<String, Error> {
    let store = &Remote::connect(&args.channel, &args.credentials, "the store").await?;
    match args.command {
        CustomerCommand::Create(args) => create(store, args).await,
        CustomerCommand::Get { customer, all_stores } => {
            let request = GetCustomerRequest { customer, scope: scope(all_stores) };
            let got =
                store.call(request, async |c, m| CustomerServiceClient::new(c).get_customer(m).await).await?;
            Ok(shown(got.customer))
        }
        CustomerCommand::Find(args) => find(store, args).await,
        CustomerCommand::Edit { customer, set } => {
            let request = edit(store, customer, &set).await?;
            let edited = store
                .call(request, async |c, m| CustomerServiceClient::new(c).update_customer(m).await)
                .await?;
            Ok(shown(edited.customer))
        }
        CustomerCommand::Address { customer, set, id, deactivate } => {
            address(store, customer, &set, id, deactivate).await
        }
        CustomerCommand::Card { customer, number } => {
            let request = IssueLoyaltyCardRequest { customer, card_number: number, ..Default::default() };
            let issued = store
                .call(request, async |c, m| CustomerServiceClient::new(c).issue_loyalty_card(m).await)
                .await?;
            Ok(format!("card            {}\n{}", issued.card_number, shown(issued.customer)))
        }
        CustomerCommand::Watch { .. } => Ok(String::new()),
    }
}

async fn create(store: &Remote, args: CreateArgs) -> Result<String, Error> {
    let mut customer = Customer::default();
    let named = [
        ("first_name", args.first),
        ("last_name", args.last),
        ("organization", args.organization),
        ("email", args.email),
        ("phone", args.phone),
    ];
    for (field, value) in named {
        let Some(value) = value else { continue };
        let assignment: Assignment = format!("{field}={value}").parse().map_err(usage)?;
        assignment.set(&mut customer).map_err(usage)?;
    }
    for assignment in &args.set {
        assignment.set(&mut customer).map_err(usage)?;
    }
    if args.street.is_some() || args.city.is_some() {
        let (street, city) = (args.street.unwrap_or_default(), args.city.unwrap_or_default());
        customer.addresses.push(Address { street, city, ..Address::default() });
    }
    let request =
        CreateCustomerRequest { customer: Some(customer), customer_id: args.id, validate_only: args.check };
    let created =
        store.call(request, async |c, m| CustomerServiceClient::new(c).create_customer(m).await).await?;
    let way = match created.path() {
        CreatePath::Sync => "sync: headquarters was asked".to_owned(),
        CreatePath::Async => "async: in the log".to_owned(),
        CreatePath::AsyncFallback => format!("async, because of headquarters: {}", created.fallback_cause),
        CreatePath::Unspecified if args.check => "a check: nothing was created".to_owned(),
        CreatePath::Unspecified => "known already".to_owned(),
    };
    Ok(format!("way             {way}\n{}", shown(created.customer)))
}

async fn find(store: &Remote, args: FindArgs) -> Result<String, Error> {
    let criteria = [
        args.name.map(Criterion::Name),
        args.email.map(Criterion::Email),
        args.phone.map(Criterion::Phone),
        args.account.map(Criterion::AccountNumber),
        args.card.map(Criterion::LoyaltyCard),
    ];
    let criterion = criteria.into_iter().flatten().next();
    let request = SearchCustomersRequest { criterion, scope: scope(args.all_stores), ..Default::default() };
    let found =
        store.call(request, async |c, m| CustomerServiceClient::new(c).search_customers(m).await).await?;
    let mut rows = vec![row(["account", "GUID", "name", "contacts"])];
    rows.extend(found.customers.iter().map(|customer| {
        let contacts = customer.contacts.iter().map(|contact| contact.value.as_str()).collect::<Vec<_>>();
        row([&customer.account_display, &customer.customer_id, &name(customer), &contacts.join(", ")])
    }));
    let more = if found.next_page_token.is_empty() { "" } else { "There are more.\n" };
    Ok(format!("{}{more}", columns(&rows)))
}

async fn edit(store: &Remote, customer: String, set: &[Assignment]) -> Result<UpdateCustomerRequest, Error> {
    // A part of a name is changed in the name that is there, and nobody else's change is undone by it.
    let request = GetCustomerRequest { customer: customer.clone(), scope: Scope::Store.into() };
    let got = store.call(request, async |c, m| CustomerServiceClient::new(c).get_customer(m).await).await?;
    let mut values = got.customer.unwrap_or_default();
    let mut paths = Vec::new();
    for assignment in set {
        let path = assignment.set(&mut values).map_err(usage)?.to_owned();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let update_mask = Some(FieldMask { paths });
    Ok(UpdateCustomerRequest { customer, values: Some(values), update_mask, validate_only: false })
}

async fn address(
    store: &Remote,
    customer: String,
    set: &[Assignment],
    id: Option<String>,
    deactivate: bool,
) -> Result<String, Error> {
    let Some(address_id) = id else {
        let mut address = Address::default();
        set.iter().try_for_each(|assignment| assignment.set_address(&mut address)).map_err(usage)?;
        let request = CreateAddressRequest { customer, address: Some(address), validate_only: false };
        let added =
            store.call(request, async |c, m| CustomerServiceClient::new(c).create_address(m).await).await?;
        return Ok(shown(added.customer));
    };
    if deactivate {
        let request = DeleteAddressRequest { customer, address_id };
        let gone =
            store.call(request, async |c, m| CustomerServiceClient::new(c).delete_address(m).await).await?;
        return Ok(shown(gone.customer));
    }
    let request = GetCustomerRequest { customer: customer.clone(), scope: Scope::Store.into() };
    let got = store.call(request, async |c, m| CustomerServiceClient::new(c).get_customer(m).await).await?;
    let there =
        got.customer.unwrap_or_default().addresses.into_iter().find(|there| there.address_id == address_id);
    let mut address = there.ok_or_else(|| usage(format!("the customer has no address {address_id}")))?;
    set.iter().try_for_each(|assignment| assignment.set_address(&mut address)).map_err(usage)?;
    let request = UpdateAddressRequest { customer, address: Some(address), validate_only: false };
    let changed =
        store.call(request, async |c, m| CustomerServiceClient::new(c).update_address(m).await).await?;
    Ok(shown(changed.customer))
}

async fn watch(store: &Remote, customer: String, forever: bool) -> Result<(), Error> {
    let request = WatchCustomerRequest { customer, allow_missing: false };
    let mut states = CustomerServiceClient::new(store.channel.clone())
        .watch_customer(request)
        .await
        .map_err(|status| Error::refused(store.name, &status))?
        .into_inner();
    while let Some(state) = states.message().await.map_err(|status| Error::refused(store.name, &status))? {
        let Some(customer) = state.customer else { continue };
        let edits = match customer.pending_edits {
            0 => String::new(),
            edits => format!("  {edits} edits on their way"),
        };
        say(&format!("{}  {}{edits}\n", customer.account_display, name(&customer)));
        if !forever && customer.sync_state() == SyncState::Synced && customer.pending_edits == 0 {
            break;
        }
    }
    Ok(())
}

fn name(customer: &Customer) -> String {
    match &customer.party {
        Some(Party::Person(person)) => {
            let parts = [&person.title, &person.first_name, &person.middle_name, &person.last_name];
            let parts: Vec<&str> =
                parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
            parts.join(" ")
        }
        Some(Party::Organization(organization)) => organization.name.clone(),
        None => String::new(),
    }
}

/// A customer, a line for each thing that is there.
fn shown(customer: Option<Customer>) -> String {
    let customer = customer.unwrap_or_default();
    let mut rows = vec![
        row(["account", &customer.account_display]),
        row(["GUID", &customer.customer_id]),
        row(["name", &name(&customer)]),
    ];
    for (what, value) in [
        ("customer group", &customer.customer_group),
        ("currency", &customer.currency),
        ("language", &customer.language),
        ("price group", &customer.price_group),
        ("discount group", &customer.discount_group),
        ("tax id", &customer.tax_id),
        ("receipt e-mail", &customer.receipt_email),
    ] {
        if !value.is_empty() {
            rows.push(row([what, value]));
        }
    }
    rows.extend(customer.contacts.iter().map(|contact| row(["contact", &contact.value])));
    for address in &customer.addresses {
        let parts = [&address.street, &address.postal_code, &address.city, &address.country];
        let parts: Vec<&str> =
            parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let gone = if address.deactivated { " (deactivated)" } else { "" };
        rows.push(row(["address", &format!("{}  {}{gone}", parts.join(", "), address.address_id)]));
    }
    if !customer.affiliations.is_empty() {
        rows.push(row(["affiliations", &customer.affiliations.join(", ")]));
    }
    rows.extend(customer.loyalty_cards.iter().map(|card| row(["loyalty card", card])));
    if customer.pending_edits > 0 {
        rows.push(row(["edits", &format!("{} on their way to headquarters", customer.pending_edits)]));
    }
    let width = |row: &Vec<String>| format!("{:14}  {}\n", row[0], row[1]);
    rows.iter().map(width).collect()
}
