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
    let error = Profile::preset("bussy").unwrap_err().to_string();
    assert!(error.starts_with("there is no preset bussy: use one of default, idle, "), "{error}");
    assert!(PRESETS.iter().all(|(name, text)| error.contains(name) && text.starts_with('#')));
    // Each says where its figures are from, but for the two that only pass through or stand for a formula.
    let sourced = PRESETS
        .iter()
        .filter(|(_, text)| text.contains("Where the figures are from") || text.contains("Kleinrock"));
    assert_eq!(sourced.count(), PRESETS.len() - 1);
}

#[test]
fn capacity_is_what_the_narrowest_part_lets_through() {
    let of = |profile: Profile| profile.capacity_per_s().round();
    assert_eq!(of(Profile::default()), 100.0);
    assert_eq!(Profile::preset("idle").unwrap().capacity_per_s(), f64::INFINITY);
    assert_eq!(of(Profile::preset("mm1").unwrap()), 50.0);
    assert_eq!(of(Profile::preset("throttled").unwrap()), 60.0, "the overall limit");
    let serial_section = Some(SerialSection { share: 0.5, block: 1 });
    assert_eq!(of(Profile { serial_section, ..Profile::default() }), 50.0, "20 ms each, one at a time");
    let serial_section = Some(SerialSection { share: 0.5, block: 10 });
    let (held_ms, workers) = (40.0 * (0.5 + 0.05), 4.0);
    assert_eq!(of(Profile { serial_section, ..Profile::default() }), (workers / held_ms * 1e3_f64).round());
    let scalability = Some(Scalability { contention: 0.0, coherency: 0.1 });
    // 1, 1.67, 1.875 and 1.82 times what one worker does: three together do most.
    assert_eq!(of(Profile { scalability, ..Profile::default() }), (1.875 * 25.0_f64).round());
}

#[test]
fn z3_a_profile_is_bounded() {
    let long = format!("#{}\n{}", "x".repeat(MAX_PROFILE_BYTES), PRESETS[0].1);
    assert!(matches!(Profile::parse(&long), Err(ProfileError::TooLong(_))));
    let outage = "[[outages]]\nstart_ms = 0\nduration_ms = 1\n";
    let many = format!("{}\n{}", PRESETS[0].1, outage.repeat(1_001));
    let error = Profile::parse(&many).unwrap_err().to_string();
    assert_eq!(error, "line 23: outages has 1001 entries, more than 1000");
}

#[test]
fn r2_a_histogram_file_becomes_part_of_the_profile() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "mine.toml",
        "workers = 4\nqueue_capacity = 64\nlongest_wait_ms = 2000\n\n[service]\ndistribution = \"empirical\"\nfile = \"times.csv\"\n",
    );
    write("times.csv", "upper_ms,count\n20,0\n40,3\n80,1\n");
    let path = folder.path().join("mine.toml");
    let profile = Profile::load(&path).unwrap();
    assert_eq!(profile.service.histogram, Some(vec![(20.0, 0.0), (40.0, 3.0), (80.0, 1.0)]));
    assert_eq!((profile.service.mean(), profile.capacity_per_s().round()), (37.5, 107.0));
    assert_eq!(Profile::parse(&profile.to_toml().unwrap()).unwrap(), profile, "whole, without the file");
    for (text, expected) in [
        ("ms\n1\n", "line 7: service.file names \"times.csv\": line 1 is not the head upper_ms,count"),
        (
            "upper_ms,count\n1,x\n",
            "line 7: service.file names \"times.csv\": line 2 is not a bound in milliseconds and a count",
        ),
        ("upper_ms,count\n1,0\n", "line 5: service.histogram has no counts"),
        (
            "upper_ms,count\n5,1\n4,1\n",
            "line 5: service.histogram[1] is 4, not more than the bound before it",
        ),
    ] {
        write("times.csv", text);
        assert_eq!(Profile::load(&path).unwrap_err().to_string(), expected);
    }
    fs::remove_file(folder.path().join("times.csv")).unwrap();
    let told = Profile::load(&path).unwrap_err().to_string();
    assert!(told.contains("which cannot be read: No such file"), "{told}");
}
