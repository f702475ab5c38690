//! Scenarios.
#[test]
fn placeholder() {}
