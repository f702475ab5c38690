//! The five documented tables (rule X2), looked at with SQL.

use tillsync_proto::{
    Attribute, AttributeValue, Change, ContactKind, Content, Field, Micros, OperationTable, Party,
    ReceiptOption, Update,
};

use super::{TestStore, address, arrival, arrive, contact, id, on_both, person};
use crate::store::{Arrival, Payload};

on_both!(
    x2_the_five_tables_unfold_what_arrived,
    x2_an_update_appears_where_its_fields_are,
    x2_what_cannot_be_used_is_shown_and_breaks_no_view,
);

fn full() -> Content {
    let attribute = |name: &str, value| Attribute { name: name.to_owned(), value };
    Content {
        customer_group: "retail".to_owned(),
        credit_limit_minor: 1_250,
        blocked: true,
        receipt_option: Some(ReceiptOption::Both),
        contacts: vec![
            contact(1, ContactKind::Email, "ann@example.com"),
            contact(2, ContactKind::Phone, "+47 12345"),
        ],
        addresses: vec![address(3, "Oslo"), address(4, "Bergen")],
        affiliations: vec!["staff".to_owned(), "golf \"club\"".to_owned()],
        attributes: vec![
            attribute("text", AttributeValue::Text("a 'quoted' text".to_owned())),
            attribute("integer", AttributeValue::Integer(i64::MAX)),
            attribute("decimal", AttributeValue::Decimal("12.50".to_owned())),
            attribute("yes", AttributeValue::Boolean(true)),
            attribute("no", AttributeValue::Boolean(false)),
        ],
        ..person("Ann", "View")
    }
}

async fn x2_the_five_tables_unfold_what_arrived(store: impl TestStore) {
    let organization =
        Content { party: Party::Organization { name: "Øst AS".to_owned() }, ..person("", "") };
    let page = vec![
        arrival(1, id(1), Change::Create(full())),
        arrival(2, id(2), Change::Create(organization)),
        arrival(3, id(1), Change::SaveAddress(address(5, "Bodø"))),
    ];
    arrive(&store, "s1", page).await;
    let sql = "select channel_id || ' ' || counter || ' ' || operation || ' ' || coalesce(first_name, '-') || ' ' \
        || coalesce(organization_name, '-') || ' ' || credit_limit_minor || ' ' || blocked || ' ' \
        || coalesce(receipt_option, '-') || ' ' || logged_at || ' ' || arrived_at || ' ' \
        || online_operation_completed from retail_async_customer_v2 order by counter";
    assert_eq!(
        store.look(sql).await,
        ["s1 1 create Ann - 1250 1 both 5000000 6000000 0", "s1 2 create - Øst AS 0 0 - 5000000 6000000 0"]
    );
    let sql = "select counter || ' ' || customer_id || ' ' || operation || ' ' || city || ' ' || is_primary \
        from retail_async_address_v2 order by counter, city";
    let guid = id(1);
    let expected = [
        format!("1 {guid} create Bergen 0"),
        format!("1 {guid} create Oslo 0"),
        format!("3 {guid} save_address Bodø 0"),
    ];
    assert_eq!(store.look(sql).await, expected);
    let sql =
        "select kind || ' ' || value || ' ' || is_primary from retail_async_customer_contact order by kind";
    assert_eq!(store.look(sql).await, ["email ann@example.com 1", "phone +47 12345 1"]);
    let sql = "select affiliation from retail_async_customer_affiliation order by affiliation";
    assert_eq!(store.look(sql).await, ["golf \"club\"", "staff"]);
    let sql =
        "select name || ' ' || type || ' ' || value from retail_async_customer_attribute_v2 order by name";
    assert_eq!(
        store.look(sql).await,
        [
            "decimal decimal 12.50",
            "integer integer 9223372036854775807",
            "no boolean false",
            "text text a 'quoted' text",
            "yes boolean true",
        ]
    );
}

async fn x2_an_update_appears_where_its_fields_are(store: impl TestStore) {
    let update = |fields: &[Field]| Change::Update(Update { values: full(), fields: fields.to_vec() });
    let page = vec![
        arrival(1, id(1), update(&[Field::Contacts])),
        arrival(2, id(1), update(&[Field::Affiliations, Field::Blocked])),
        arrival(3, id(1), update(&[Field::Attributes])),
    ];
    let changes: Vec<Change> =
        [[Field::Contacts].as_slice(), &[Field::Affiliations, Field::Blocked], &[Field::Attributes]]
            .map(update)
            .into();
    arrive(&store, "s1", page).await;
    // The views agree with the shared table of what is shown where.
    for table in OperationTable::ALL {
        let sql = format!("select distinct 'n' || counter from {} order by 1", table.name());
        let shown = (1..=3).filter(|n| table.shows(&changes[n - 1])).map(|n| format!("n{n}"));
        assert_eq!(store.look(&sql).await, shown.collect::<Vec<_>>(), "{}", table.name());
    }
    let sql = "select replace(updated_fields, ' ', '') from retail_async_customer_v2 order by counter";
    assert_eq!(
        store.look(sql).await,
        ["[\"contacts\"]", "[\"affiliations\",\"blocked\"]", "[\"attributes\"]"]
    );
}

async fn x2_what_cannot_be_used_is_shown_and_breaks_no_view(store: impl TestStore) {
    let payload = Payload::Bad { raw: vec![0, 159, 146, 150], message: "is longer than 60".to_owned() };
    let bad = Arrival { counter: 1, customer: Some(id(1)), logged_at: Micros(0), payload };
    arrive(&store, "s1", vec![bad, arrival(2, id(2), Change::Create(full()))]).await;
    let sql = "select counter || ' ' || operation || ' ' || customer_id || ' ' || coalesce(reason, '-') || ' ' \
        || online_operation_completed from retail_async_customer_v2 order by counter";
    let expected = [format!("1 unusable {} INVALID_FIELD 0", id(1)), format!("2 create {} - 0", id(2))];
    assert_eq!(store.look(sql).await, expected);
    for table in OperationTable::ALL {
        assert!(!store.look(&format!("select 'row' from {}", table.name())).await.is_empty());
    }
    assert_eq!(store.arrival_counts().await.unwrap().set_aside, 1);
}
