//! `tillsync hq sequence`, `attribute`, `recovery`, `erasures` and `duplicates`.

use tillsync_proto::pb::{
    common,
    hq::{self, admin_service_client::AdminServiceClient},
};

use super::{Remote, columns, hq::AttributeArgs, row, time_of_day};
use crate::error::Error;

pub(super) async fn sequence(
    hq: &Remote,
    kind: Option<String>,
    format: Option<String>,
    block_size: u32,
) -> Result<String, Error> {
    if let (Some(kind), Some(format)) = (kind, format) {
        let kind = match kind.as_str() {
            "accounts" => hq::NumberSequenceKind::Accounts,
            "cards" => hq::NumberSequenceKind::Cards,
            _ => return Err(Error::Usage(format!("{kind} is neither accounts nor cards"))),
        };
        let sequence = hq::NumberSequence { kind: kind.into(), format, block_size, ..Default::default() };
        let request = hq::UpdateNumberSequenceRequest { sequence: Some(sequence) };
        hq.call(request, async |c, m| AdminServiceClient::new(c).update_number_sequence(m).await).await?;
    }
    let request = hq::ListNumberSequencesRequest {};
    let list =
        hq.call(request, async |c, m| AdminServiceClient::new(c).list_number_sequences(m).await).await?;
    let line = |one: &hq::NumberSequence| {
        let kind = if one.kind() == hq::NumberSequenceKind::Cards { "cards" } else { "accounts" };
        let how = match one.block_size {
            0 => "continuous".to_owned(),
            block => format!("blocks of {block}"),
        };
        let (next, left) = (format!("next {}", one.next_number), format!("{} left", one.numbers_left));
        row([kind, &one.format, &how, &next, &left])
    };
    Ok(columns(&list.sequences.iter().map(line).collect::<Vec<_>>()))
}

pub(super) async fn attribute(hq: &Remote, args: AttributeArgs) -> Result<String, Error> {
    if let (Some(name), Some(kind)) = (&args.name, args.kind) {
        let definition = common::AttributeDefinition {
            name: name.clone(),
            r#type: kind.into(),
            options: args.option,
            minimum: args.min,
            maximum: args.max,
        };
        let request = hq::UpdateAttributeDefinitionRequest { definition: Some(definition) };
        hq.call(request, async |c, m| AdminServiceClient::new(c).update_attribute_definition(m).await)
            .await?;
    } else if let (Some(name), true) = (&args.name, args.remove) {
        let request = hq::DeleteAttributeDefinitionRequest { name: name.clone() };
        hq.call(request, async |c, m| AdminServiceClient::new(c).delete_attribute_definition(m).await)
            .await?;
    }
    let request = hq::ListAttributeDefinitionsRequest {};
    let list =
        hq.call(request, async |c, m| AdminServiceClient::new(c).list_attribute_definitions(m).await).await?;
    let line = |one: &common::AttributeDefinition| {
        let kind = format!("{:?}", one.r#type()).to_lowercase();
        let bounds = match (one.minimum.as_str(), one.maximum.as_str()) {
            ("", "") => one.options.join(", "),
            (minimum, maximum) => format!("{minimum} to {maximum}"),
        };
        row([&one.name, &kind, &bounds])
    };
    let rows: Vec<Vec<String>> = list.definitions.iter().map(line).collect();
    Ok(format!("{}version {}\n", columns(&rows), list.version))
}

pub(super) fn erasures(erasures: &[hq::Erasure]) -> String {
    let mut rows = vec![row(["customer", "erased at", "by", "asked for by", "done in", "not yet in"])];
    rows.extend(erasures.iter().map(|one| {
        let done: Vec<&str> = one.confirmations.iter().map(|c| c.channel_id.as_str()).collect();
        let (done, awaited) = (done.join(", "), one.awaited_channels.join(", "));
        let at = time_of_day(one.erase_time.as_ref());
        row([&one.customer_id, &at, &one.caller, &one.requested_by, &done, &awaited])
    }));
    columns(&rows)
}

pub(super) async fn recovery(hq: &Remote, without: Option<String>) -> Result<String, Error> {
    let awaited = match without {
        Some(channel) => {
            let channel_id = if channel == "all" { String::new() } else { channel };
            let request = hq::EndRecoveryRequest { channel_id };
            let end = async |c, m| AdminServiceClient::new(c).end_recovery(m).await;
            hq.call(request, end).await?.awaited_channels
        }
        None => {
            let request = hq::GetStatusRequest {};
            let status = async |c, m| AdminServiceClient::new(c).get_status(m).await;
            hq.call(request, status).await?.awaited_channels
        }
    };
    Ok(match awaited.as_slice() {
        [] => "Headquarters waits for nobody.\n".to_owned(),
        awaited => format!(
            "Nothing changes at headquarters until these have brought what was lost: {}\n",
            awaited.join(", ")
        ),
    })
}

pub(super) async fn duplicates(hq: &Remote, dismiss: &[String]) -> Result<String, Error> {
    if let [one, other] = dismiss {
        let (customer_id, other_customer_id) = (one.clone(), other.clone());
        let request = hq::DismissPossibleDuplicateRequest { customer_id, other_customer_id };
        hq.call(request, async |c, m| AdminServiceClient::new(c).dismiss_possible_duplicate(m).await).await?;
    }
    let request = hq::ListPossibleDuplicatesRequest::default();
    let list =
        hq.call(request, async |c, m| AdminServiceClient::new(c).list_possible_duplicates(m).await).await?;
    let mut rows = vec![row(["customer", "other customer", "the same", "noticed"])];
    rows.extend(list.pairs.iter().map(|pair| {
        let same = match pair.reason() {
            hq::DuplicateReason::Email => "e-mail",
            hq::DuplicateReason::PhoneAndName => "phone and name",
            hq::DuplicateReason::Unspecified => "?",
        };
        row([&pair.customer_id, &pair.other_customer_id, same, &time_of_day(pair.notice_time.as_ref())])
    }));
    let more = if list.next_page_token.is_empty() { "" } else { "There are more.\n" };
    Ok(format!("{}{more}", columns(&rows)))
}
