use super::*;

#[test]
fn the_default_profile_is_the_file() {
    assert_eq!(Profile::preset("default").unwrap(), Profile::default());
}

#[test]
fn r8_every_preset_is_valid_and_survives_being_written() {
    for (name, text) in PRESETS {
        let profile = Profile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Profile::parse(&profile.to_toml().unwrap()).unwrap(), profile, "{name}");
    }
    let error = Profile::preset("busy").unwrap_err().to_string();
    assert_eq!(error, "there is no preset busy: use default, idle, mm1, outage or throttled");
    assert!(PRESETS.iter().all(|(name, _)| error.contains(name)));
}

#[test]
fn capacity_is_what_the_narrowest_part_lets_through() {
    let of = |profile: Profile| profile.capacity_per_s().round();
    assert_eq!(of(Profile::default()), 100.0);
    assert_eq!(Profile::preset("idle").unwrap().capacity_per_s(), f64::INFINITY);
    assert_eq!(of(Profile::preset("mm1").unwrap()), 50.0);
    assert_eq!(of(Profile::preset("throttled").unwrap()), 60.0, "the overall limit");
    let serial_section = Some(SerialSection { share: 0.5 });
    assert_eq!(of(Profile { serial_section, ..Profile::default() }), 50.0, "20 ms each, one at a time");
}

/// What stands in the default profile, what it is replaced by, and what is said about it.
const BAD: [(&str, &str, &str); 38] = [
    ("workers = 4", "workers = 0", "workers is 0, less than 1"),
    ("workers = 4", "workers = 100001", "workers is 100001, more than 100000"),
    ("workers = 4", "workers = -1", "line 5 (workers = -1): invalid value: integer `-1`, expected u32"),
    (
        "workers = 4",
        "workers = 1.5",
        "line 5 (workers = 1.5): invalid type: floating point `1.5`, expected u32",
    ),
    ("workers = 4", "workers = \"4\"", "line 5 (workers = \"4\"): invalid type: string \"4\", expected u32"),
    ("workers = 4", "", "missing field `workers`"),
    (
        "workers = 4",
        "workers = 4\nwokers = 4",
        "line 6 (wokers = 4): unknown field `wokers`, expected one of `workers`, `queue_capacity`, `longest_wait_ms`, `service`, `service_by_method`, `serial_section`, `link`, `errors`, `rate_limits`, `outages`",
    ),
    ("workers = 4", "workers = 4\nworkers = 5", "line 6 (workers = 5): duplicate key"),
    ("workers = 4", "workers =", "line 5 (workers =): string values must be quoted, expected literal string"),
    ("queue_capacity = 64", "queue_capacity = 1000001", "queue_capacity is 1000001, more than 1000000"),
    ("longest_wait_ms = 2000", "longest_wait_ms = 0", "longest_wait_ms is 0, not more than 0"),
    ("longest_wait_ms = 2000", "longest_wait_ms = -5", "longest_wait_ms is -5, not more than 0"),
    ("longest_wait_ms = 2000", "longest_wait_ms = inf", "longest_wait_ms is not a finite number"),
    (
        "longest_wait_ms = 2000",
        "longest_wait_ms = 1e11",
        "longest_wait_ms is 100000000000, more than 31622400000",
    ),
    ("mean_ms = 40", "mean_ms = nan", "service.mean_ms is not a finite number"),
    ("mean_ms = 40", "mean_ms = -1", "service.mean_ms is -1, less than 0"),
    ("mean_ms = 40", "mean_ms = 1e12", "service.mean_ms is 1000000000000, more than 31622400000"),
    ("cv = 0.5", "", "service.cv is missing: the distribution needs it"),
    ("cv = 0.5", "cv = 0", "service.cv is 0, less than 0.01"),
    ("cv = 0.5", "cv = 101", "service.cv is 101, more than 100"),
    ("cv = 0.5", "cv = 0.5\nhalf_width_ms = 1", "service.half_width_ms has no meaning for this distribution"),
    ("\"lognormal\"", "\"constant\"", "service.cv has no meaning for this distribution"),
    (
        "\"lognormal\"",
        "\"pareto\"",
        "line 14 (distribution = \"pareto\"): unknown variant `pareto`, expected one of `constant`, `uniform`, `exponential`, `lognormal`, `gamma`",
    ),
    (
        "\"lognormal\"\nmean_ms = 40",
        "\"uniform\"\nmean_ms = 40\nhalf_width_ms = 41\n#",
        "service.half_width_ms is 41, more than 40",
    ),
    (
        "[service]",
        "[service_by_method.search]\ndistribution = \"gamma\"\nmean_ms = 1\n[service]",
        "service_by_method.search.cv is missing: the distribution needs it",
    ),
    (
        "[service]",
        "[service_by_method.delete]\ndistribution = \"constant\"\nmean_ms = 1\n[service]",
        "line 12 ([service_by_method.delete]): unknown variant `delete`, expected one of `create`, `get`, `search`, `update`, `save_address`, `issue_loyalty_card`",
    ),
    (
        "[service]",
        "[errors]\nUNAVAILABLE = 0.6\nINTERNAL = 0.5\n[service]",
        "the sum of errors is 1.1, more than 1",
    ),
    ("[service]", "[errors]\nUNAVAILABLE = -0.1\n[service]", "errors.UNAVAILABLE is -0.1, less than 0"),
    (
        "[service]",
        "[errors]\nUNAVAIABLE = 0.1\n[service]",
        "line 13 (UNAVAIABLE = 0.1): unknown variant `UNAVAIABLE`, expected one of `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`, `UNAUTHENTICATED`",
    ),
    ("[service]", "[serial_section]\nshare = 0\n[service]", "serial_section.share is 0, not more than 0"),
    ("[service]", "[serial_section]\nshare = 1.1\n[service]", "serial_section.share is 1.1, more than 1"),
    ("[service]", "[link]\njitter_ms = -1\n[service]", "link.jitter_ms is -1, less than 0"),
    (
        "[service]",
        "[rate_limits.overall]\nper_s = 0\nburst = 1\n[service]",
        "rate_limits.overall.per_s is 0, less than 0.001",
    ),
    (
        "[service]",
        "[rate_limits.per_channel]\nper_s = -3\nburst = 1\n[service]",
        "rate_limits.per_channel.per_s is -3, less than 0.001",
    ),
    (
        "[service]",
        "[rate_limits.per_channel]\nper_s = 3\nburst = 0\n[service]",
        "rate_limits.per_channel.burst is 0, less than 1",
    ),
    (
        "[service]",
        "[[outages]]\nstart_ms = 0\n[service]",
        "line 12 ([[outages]]): missing field `duration_ms`",
    ),
    (
        "[service]",
        "[[outages]]\nstart_ms = 0\nduration_ms = 0\n[service]",
        "outages[0].duration_ms is 0, not more than 0",
    ),
    (
        "[service]",
        "[[outages]]\nstart_ms = 0\nduration_ms = 5\nrepeat_ms = 5\n[service]",
        "outages[0].repeat_ms is 5, not more than duration_ms (5)",
    ),
];

#[test]
fn z1_a_bad_profile_is_told_in_one_line_with_the_field_or_the_line() {
    let good = PRESETS[0].1;
    for (from, to, expected) in BAD {
        assert!(good.contains(from), "{from}");
        let told = Profile::parse(&good.replacen(from, to, 1)).map_err(|error| error.to_string());
        assert_eq!(told, Err(expected.to_owned()), "{to}");
    }
}

#[test]
fn z3_a_profile_is_bounded() {
    let long = format!("#{}\n{}", "x".repeat(MAX_PROFILE_BYTES), PRESETS[0].1);
    assert!(matches!(Profile::parse(&long), Err(ProfileError::TooLong(_))));
    let outage = "[[outages]]\nstart_ms = 0\nduration_ms = 1\n";
    let many = format!("{}\n{}", PRESETS[0].1, outage.repeat(1_001));
    let error = Profile::parse(&many).unwrap_err().to_string();
    assert_eq!(error, "the number of outages is 1001, more than 1000");
}
