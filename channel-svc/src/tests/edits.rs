//! Changes of real customers, and what a pending one may not do (rules L1 to L4).

use tillsync_proto::pb::{
    channel::*,
    common::{Address, Customer},
};
use tonic::{Code, Status};

use super::{
    headquarters::{FakeHq, Fault, profile},
    shop::{Place, Shop, fields, guid, metadata, person, reason},
};

fn update(customer: &str, values: Customer, paths: &[&str]) -> UpdateCustomerRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateCustomerRequest {
        customer: customer.to_owned(),
        values: Some(values),
        update_mask: Some(prost_types::FieldMask { paths }),
        validate_only: false,
    }
}

fn tax(etag: &str) -> Customer {
    Customer { tax_id: "DE1".to_owned(), etag: etag.to_owned(), ..Default::default() }
}

fn address(city: &str, id: &str) -> Option<Address> {
    Some(Address { city: city.to_owned(), address_id: id.to_owned(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_l2_a_pending_customer_is_refused_with_what_would_lift_it() {
    for place in Place::both("l1").await {
        let hq = FakeHq::start().await;
        let shop = Shop::in_async_mode(&place, &hq).await;
        let id = guid();
        shop.create(&id, person("ann")).await.unwrap();
        let mut tills = shop.tills.clone();
        let customer = || id.clone();
        let refusals: Vec<Status> = vec![
            tills.update_customer(update(&id, tax(""), &["tax_id"])).await.unwrap_err(),
            tills
                .create_address(CreateAddressRequest {
                    customer: customer(),
                    address: address("Berlin", ""),
                    validate_only: false,
                })
                .await
                .unwrap_err(),
            tills
                .update_address(UpdateAddressRequest {
                    customer: customer(),
                    address: address("Berlin", &guid()),
                    validate_only: false,
                })
                .await
                .unwrap_err(),
            tills
                .delete_address(DeleteAddressRequest { customer: customer(), address_id: guid() })
                .await
                .unwrap_err(),
            tills
                .issue_loyalty_card(IssueLoyaltyCardRequest { customer: customer(), ..Default::default() })
                .await
                .unwrap_err(),
        ];
        for refused in refusals {
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::FailedPrecondition, "CUSTOMER_PENDING")
            );
            assert_eq!(metadata(&refused, "customer"), id);
            assert_eq!(metadata(&refused, "missing"), "account number");
            assert!(metadata(&refused, "lifted_by").contains("1010"));
        }
        assert!(hq.state().calls.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_customer_is_changed_by_one_call_and_kept_here() {
    for place in Place::both("edits").await {
        let hq = FakeHq::start().await;
        let shop = Shop::at(&place, &hq).await;
        let created = shop.create("", person("ann")).await.unwrap().customer.unwrap();
        let (id, number) = (created.customer_id.clone(), created.account_number.clone());
        let mut tills = shop.tills.clone();

        let stale = tills.update_customer(update(&id, tax("stale"), &["tax_id"])).await.unwrap_err();
        assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
        assert_eq!(hq.state().calls.len(), 1);
        let changed = tills.update_customer(update(&number, tax(&created.etag), &["tax_id"])).await.unwrap();
        assert_eq!(changed.into_inner().customer.unwrap().tax_id, "DE1");
        assert_eq!(hq.state().calls.len(), 2);
        assert_eq!(shop.get(&id).await.unwrap().tax_id, "DE1");

        let address_id = guid();
        let create = CreateAddressRequest {
            customer: id.clone(),
            address: address("Berlin", &address_id),
            validate_only: false,
        };
        let answer = tills.create_address(create.clone()).await.unwrap().into_inner();
        assert_eq!(answer.address_id, address_id);
        // The same again is free of effect.
        tills.create_address(create).await.unwrap();
        assert_eq!(hq.state().calls.len(), 3);
        let moved = UpdateAddressRequest {
            customer: id.clone(),
            address: address("Bonn", &address_id),
            validate_only: false,
        };
        let moved = tills.update_address(moved).await.unwrap().into_inner().customer.unwrap();
        assert!(moved.addresses.iter().any(|a| a.city == "Bonn"));
        let delete = DeleteAddressRequest { customer: id.clone(), address_id: address_id.clone() };
        let deleted = tills.delete_address(delete).await.unwrap().into_inner().customer.unwrap();
        assert!(deleted.addresses.iter().any(|a| a.address_id == address_id && a.deactivated));

        let card = IssueLoyaltyCardRequest {
            customer: id.clone(),
            card_number: "CARD-1".to_owned(),
            ..Default::default()
        };
        let issued = tills.issue_loyalty_card(card).await.unwrap().into_inner();
        assert_eq!(issued.customer.unwrap().loyalty_cards, ["CARD-1"]);
        let found = shop.search(search_customers_request::Criterion::LoyaltyCard("card-1".to_owned())).await;
        assert_eq!(found[0].customer_id, id);
        // What was changed is there after a crash, too: it went through the log.
        shop.crash().await;
        let shop = Shop::at(&place, &hq).await;
        let known = shop.get(&number).await.unwrap();
        assert_eq!((known.loyalty_cards.len(), known.addresses.len(), known.tax_id.as_str()), (1, 2, "DE1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn z1_edits_that_cannot_be_are_refused_by_name() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    let id = shop.create("", person("ann")).await.unwrap().customer.unwrap().customer_id;
    let mut tills = shop.tills.clone();
    for address_id in [guid(), guid()] {
        let delete = DeleteAddressRequest { customer: id.clone(), address_id };
        assert_eq!(reason(&tills.delete_address(delete).await.unwrap_err()), "NOT_FOUND");
    }
    let unknown = UpdateAddressRequest {
        customer: id.clone(),
        address: address("Bonn", &guid()),
        validate_only: false,
    };
    assert_eq!(reason(&tills.update_address(unknown).await.unwrap_err()), "NOT_FOUND");
    let cases = [
        (tills.update_customer(update(&id, tax(""), &[])).await.unwrap_err(), "update_mask"),
        (
            tills.update_customer(update(&id, tax(""), &["tax_id", "addresses"])).await.unwrap_err(),
            "update_mask",
        ),
        (
            tills
                .update_customer(update(
                    &id,
                    Customer { currency: "euro".into(), ..Default::default() },
                    &["currency"],
                ))
                .await
                .unwrap_err(),
            "values.currency",
        ),
        (
            tills
                .issue_loyalty_card(IssueLoyaltyCardRequest {
                    customer: id.clone(),
                    card_number: "a b".into(),
                    ..Default::default()
                })
                .await
                .unwrap_err(),
            "card_number",
        ),
        (
            tills
                .issue_loyalty_card(IssueLoyaltyCardRequest {
                    customer: id.clone(),
                    request_id: "7".into(),
                    ..Default::default()
                })
                .await
                .unwrap_err(),
            "request_id",
        ),
    ];
    for (refused, field) in cases {
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(fields(&refused), [field]);
    }
    // A customer that only headquarters knows is asked for there.
    let nobody = tills.update_customer(update(&guid(), tax(""), &["tax_id"])).await.unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_without_headquarters_fails_as_it_is() {
    let hq = FakeHq::start().await;
    let place = Place::sqlite();
    let shop = Shop::at(&place, &hq).await;
    let id = shop.create("", person("ann")).await.unwrap().customer.unwrap().customer_id;
    hq.set_profile(profile(false, true)).await;
    hq.state().fault = Some(Fault::Answer(Status::unavailable("no")));
    let mut tills = shop.tills.clone();
    let failed = tills.update_customer(update(&id, tax(""), &["tax_id"])).await.unwrap_err();
    assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "HQ_UNREACHABLE"));
    assert_eq!(shop.get(&id).await.unwrap().tax_id, "");
}
