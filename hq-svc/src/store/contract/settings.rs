//! Channels, profiles, flags, definitions of attributes, schedules, number sequences.

use std::time::Duration;

use tillsync_proto::{
    AttributeDefinition, AttributeRule, DefaultCustomer, Feature, FunctionalityProfile, Job, Micros, Schedule,
};

use super::{TestStore, channel, id, on_both, person, real, said};
use crate::{
    numbers::{NumberSequence, SequenceKind},
    store::{MAX_CHANNELS, Reconfigure, Reconfigured},
};

on_both!(
    z3_channels_are_bounded,
    f2_a_profile_has_a_version_that_changes_with_it,
    f2_flags_have_a_version_that_changes_with_them,
    f1_a_flag_waits_for_those_it_needs,
    x8_schedules_are_there_from_the_start_and_can_be_changed,
    x6_sequences_are_kept_and_changed,
    s2_what_a_channel_says_of_itself_is_kept,
);

async fn z3_channels_are_bounded(store: impl TestStore) {
    assert!(store.register_channel(&channel("first")).await.unwrap());
    assert!(store.register_channel(&channel("first")).await.unwrap(), "it is known");
    let most = MAX_CHANNELS - 1;
    store
        .meddle(&format!(
            "with recursive n (i) as (select 1 union all select i + 1 from n where i < {most}) \
             insert into channels (id) select 'c' || i from n"
        ))
        .await;
    assert!(!store.register_channel(&channel("one-too-many")).await.unwrap());
    assert!(store.register_channel(&channel("first")).await.unwrap());
    assert_eq!(store.channels().await.unwrap().len(), MAX_CHANNELS);
}

async fn f2_a_profile_has_a_version_that_changes_with_it(store: impl TestStore) {
    let s1 = channel("s1");
    assert_eq!(store.profile(&s1).await.unwrap(), (FunctionalityProfile::default(), 1));
    store.register_channel(&s1).await.unwrap();
    assert_eq!(store.set_profile(&s1, &FunctionalityProfile::default(), 0).await.unwrap(), Some(1));
    let profile = FunctionalityProfile {
        create_customer_async: true,
        rts_timeout: Duration::from_millis(1_234),
        default_customer: Some(DefaultCustomer { currency: "EUR".to_owned(), ..DefaultCustomer::default() }),
        ..FunctionalityProfile::default()
    };
    assert_eq!(store.set_profile(&s1, &profile, 1).await.unwrap(), Some(2));
    assert_eq!(store.set_profile(&s1, &profile, 0).await.unwrap(), Some(2), "nothing changed");
    assert_eq!(store.set_profile(&s1, &profile, 1).await.unwrap(), None, "it was made from another version");
    assert_eq!(store.profile(&s1).await.unwrap(), (profile.clone(), 2));
    assert_eq!(store.profile(&channel("s2")).await.unwrap().1, 1);
    let many = store.profiles(&[channel("s2"), s1.clone(), s1]).await.unwrap();
    assert_eq!(many, [(FunctionalityProfile::default(), 1), (profile.clone(), 2), (profile, 2)]);
}

async fn f2_flags_have_a_version_that_changes_with_them(store: impl TestStore) {
    let before = store.configuration().await.unwrap();
    assert!(!before.features.has(Feature::E2) && before.version == 1);
    let e2 = Reconfigure::Flag(Feature::E2, true);
    assert_eq!(store.reconfigure(&e2).await.unwrap(), Reconfigured::Done(2));
    assert_eq!(store.reconfigure(&e2).await.unwrap(), Reconfigured::Done(2));
    let size = AttributeDefinition { name: "size".to_owned(), rule: AttributeRule::Boolean };
    assert_eq!(store.reconfigure(&Reconfigure::Define(size.clone())).await.unwrap(), Reconfigured::Done(3));
    let after = store.configuration().await.unwrap();
    assert!(after.features.has(Feature::E2) && after.version == 3);
    assert_eq!(after.attributes.iter().collect::<Vec<_>>(), [&size]);
    let undefine = Reconfigure::Undefine("size".to_owned());
    assert_eq!(store.reconfigure(&undefine).await.unwrap(), Reconfigured::Done(4));
    assert_eq!(store.reconfigure(&undefine).await.unwrap(), Reconfigured::Unknown);
}

async fn f1_a_flag_waits_for_those_it_needs(store: impl TestStore) {
    let switch =
        async |feature, enabled| store.reconfigure(&Reconfigure::Flag(feature, enabled)).await.unwrap();
    let refused = Reconfigured::InTheWay(vec![Feature::E0, Feature::E1, Feature::E2]);
    assert_eq!(switch(Feature::E3, true).await, refused);
    for (n, feature) in (2..).zip([Feature::E0, Feature::E1, Feature::E2, Feature::E3]) {
        assert_eq!(switch(feature, true).await, Reconfigured::Done(n));
    }
    assert_eq!(switch(Feature::E1, false).await, Reconfigured::InTheWay(vec![Feature::E3]));
    assert_eq!(store.configuration().await.unwrap().version, 5, "a refusal changes nothing");
}

async fn x6_sequences_are_kept_and_changed(store: impl TestStore) {
    let number =
        async |n| real(&store, id(n), person("Ann", "Numbered")).await.customer.account_number.unwrap();
    assert_eq!(number(1).await, "C-00000001");
    let blocks = NumberSequence::new("K###".parse().unwrap(), 10);
    store.set_sequence(SequenceKind::Accounts, blocks).await.unwrap();
    assert_eq!((number(2).await.as_str(), number(3).await.as_str()), ("K002", "K003"));
    let state = store.sequences().await.unwrap().remove(0);
    let told = (state.kind, state.format.to_string(), state.block_size, state.next, state.left);
    assert_eq!(told, (SequenceKind::Accounts, "K###".to_owned(), 10, 12, 8 + 988));
    // What a block had left when it was changed is not given out, as when headquarters stops.
    store
        .set_sequence(SequenceKind::Accounts, NumberSequence::new("K###".parse().unwrap(), 0))
        .await
        .unwrap();
    assert_eq!((number(4).await.as_str(), number(5).await.as_str()), ("K012", "K013"));
    assert_eq!(store.head().await.unwrap().customers, 5, "numbers are not customers");
}

async fn x8_schedules_are_there_from_the_start_and_can_be_changed(store: impl TestStore) {
    assert_eq!(store.schedules().await.unwrap().len(), Job::ALL.len());
    let held = Schedule { held: true, jitter: 0.5, ..Schedule::default_for(Job::Customers1010) };
    store.set_schedule(held).await.unwrap();
    let schedules = store.schedules().await.unwrap();
    assert_eq!(schedules.len(), Job::ALL.len());
    assert!(schedules.contains(&held));
}

async fn s2_what_a_channel_says_of_itself_is_kept(store: impl TestStore) {
    for name in ["s2", "s1"] {
        store.register_channel(&channel(name)).await.unwrap();
    }
    store.report(&[said("s1", vec![1, 0, 255], &[])], Micros(77)).await.unwrap();
    let rows = store.channels().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    assert_eq!((rows[0].last_contact_at, rows[0].status.as_deref()), (Some(77), Some(&[1, 0, 255][..])));
    assert_eq!((rows[1].last_contact_at, rows[1].status.as_deref()), (None, None));
    // Many at once; of a channel that says it twice the newest counts.
    let many =
        [("s1", 2), ("s2", 3), ("s1", 4), ("nobody", 5)].map(|(name, status)| said(name, vec![status], &[]));
    store.report(&many, Micros(78)).await.unwrap();
    let rows = store.channels().await.unwrap();
    let statuses: Vec<_> = rows.iter().map(|row| (row.last_contact_at, row.status.as_deref())).collect();
    assert_eq!(statuses, [(Some(78), Some(&[4][..])), (Some(78), Some(&[3][..]))]);
}
