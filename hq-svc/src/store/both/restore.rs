//! A database that was restored from a backup, and what its channels bring back.

use std::collections::HashMap;

use tillsync_proto::{ChannelId, Micros, search::card};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    Connection, Db, begin,
    dialect::{self, head, save_head},
    erasures, reads, writes,
};
use crate::{
    numbers::NumberSequences,
    store::{
        Asker, Recovered, Result,
        batch::{Batch, Known},
        rows, sql,
    },
};

pub(super) async fn mark(db: &Db, epoch: Uuid, expected: &[ChannelId]) -> Result<()> {
    let mut tx = begin(db).await?;
    let now = head(&mut tx).await?;
    sqlx::query(sql::ADD_LINEAGE).bind(now.epoch).bind(now.feed_version).execute(&mut *tx).await?;
    sqlx::query(sql::SET_EPOCH).bind(epoch).execute(&mut *tx).await?;
    sqlx::query(sql::FORGET_RECOVERED).execute(&mut *tx).await?;
    sqlx::query(sql::AWAIT_ALL).execute(&mut *tx).await?;
    for channel in expected {
        sqlx::query(sql::AWAIT).bind(channel.as_str()).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn lineage(db: &Db) -> Result<Vec<(Uuid, u64)>> {
    let found: Vec<(Uuid, i64)> = sqlx::query_as(sql::LINEAGE).fetch_all(reads(db)).await?;
    Ok(found.into_iter().map(|(epoch, version)| (epoch, rows::count(version))).collect())
}

pub(super) async fn arrived_through(db: &Db, channel: &ChannelId) -> Result<u64> {
    let newest: i64 =
        sqlx::query_scalar(sql::ARRIVED_THROUGH).bind(channel.as_str()).fetch_one(reads(db)).await?;
    Ok(rows::count(newest))
}

pub(super) async fn awaited(db: &Db) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(sql::AWAITED).fetch_all(reads(db)).await?)
}

pub(super) async fn await_no_longer(db: &Db, channel: Option<&ChannelId>) -> Result<()> {
    let query = sqlx::query(sql::AWAIT_NO_LONGER).bind(channel.map(ChannelId::as_str));
    query.execute(writes(db)).await?;
    Ok(())
}

pub(super) async fn recover(
    db: &Db,
    numbers: &Mutex<NumberSequences>,
    channel: &ChannelId,
    brought: &[Recovered],
    at: Micros,
) -> Result<()> {
    let mut numbers = numbers.lock().await;
    // What is reserved may be what somebody brings.
    numbers.forget();
    let mut tx = begin(db).await?;
    let mut now = head(&mut tx).await?;
    for Recovered { customer, .. } in brought {
        let account = customer.account_number.as_deref().and_then(|text| numbers.accounts.format.read(text));
        now.next_account = now.next_account.max(account.map_or(0, |number| number.saturating_add(1)));
        for card in customer.loyalty_cards.iter().filter_map(|text| numbers.cards.format.read(text)) {
            now.next_card = now.next_card.max(card.saturating_add(1));
        }
    }
    let (mut known, owners) = known(&mut tx, brought).await?;
    // What was erased after the backup is erased again.
    for Recovered { customer, .. } in brought.iter().filter(|one| one.customer.is_erased()) {
        let before = known.remove(&customer.id.0).map(|known| known.stored.record);
        if before.as_ref().is_none_or(|before| !before.customer.is_erased()) {
            let requested_by = "a channel, after a restore".to_owned();
            let asker = Asker { caller: String::new(), requested_by };
            erasures::one(&mut tx, &mut now, customer.id, before, Some(customer), &asker, at).await?;
        }
    }
    let brought: Vec<Recovered> = brought.iter().filter(|one| !one.customer.is_erased()).cloned().collect();
    let brought = brought.as_slice();
    let mut accounts = numbers.accounts.clone();
    let batch = Batch::recover(&mut now, channel.as_str(), brought, &known, &owners, &mut accounts);
    dialect::write_customers(&mut tx, &batch).await?;
    dialect::judge(&mut tx, &batch).await?;
    for (customer, known, version) in &batch.recovered {
        let query = sqlx::query(sql::NOTE_RECOVERED).bind(customer).bind(known).bind(version);
        query.execute(&mut *tx).await?;
    }
    for Recovered { customer, .. } in brought {
        for number in &customer.loyalty_cards {
            // What request had asked for it is lost.
            let (number, owner) = (card(number), customer.id.0);
            let request = Uuid::new_v5(&owner, number.as_bytes());
            let query = sqlx::query(sql::RECOVER_CARD).bind(&number).bind(owner).bind(request);
            query.execute(&mut *tx).await?;
        }
    }
    save_head(&mut tx, now).await?;
    Ok(tx.commit().await?)
}

/// What is here of customers that are brought, and whose their account numbers are.
async fn known(
    tx: &mut Connection,
    brought: &[Recovered],
) -> Result<(HashMap<Uuid, Known>, HashMap<String, Uuid>)> {
    let restored_at: i64 = sqlx::query_scalar(sql::RESTORED_AT).fetch_one(&mut *tx).await?;
    let restored_at = rows::count(restored_at);
    let ids: Vec<Uuid> = brought.iter().map(|one| one.customer.id.0).collect();
    let (mut known, mut owners) = (HashMap::new(), HashMap::new());
    for stored in dialect::stored(&mut *tx, &ids).await? {
        let id = stored.record.customer.id.0;
        let query = sqlx::query_as(sql::RECOVERED).bind(id);
        let brought: Option<(i64, i64)> = query.fetch_optional(&mut *tx).await?;
        let brought = brought.map(|(known, given)| (rows::count(known), rows::count(given)));
        known.insert(id, Known { stored, restored_at, brought });
    }
    for number in brought.iter().filter_map(|one| one.customer.account_number.as_ref()) {
        let query = sqlx::query_scalar(sql::OWNER_OF_ACCOUNT).bind(number);
        let owner: Option<Uuid> = query.fetch_optional(&mut *tx).await?;
        owners.extend(owner.map(|owner| (number.clone(), owner)));
    }
    Ok((known, owners))
}
