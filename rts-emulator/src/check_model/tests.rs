use super::*;

/// Short runs; the long ones are those of `rts-emulator check-model`.
#[test]
fn r5_short_runs_agree_with_theory() {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.load < 0.9 || case.places < 10).collect();
    assert!(cases.len() > 15);
    for case in cases {
        let mut simulation = Simulation::new(&case, 1).unwrap();
        simulation.batch(&case, 2_000);
        let batches: Vec<Vec<f64>> = (0..12).map(|_| simulation.batch(&case, 4_000)).collect();
        for (place, expected) in case.expected.iter().enumerate() {
            let series: Vec<f64> = batches.iter().map(|figures| figures[place]).collect();
            let measured = interval(&series);
            // Twice the interval: there are many figures, and few batches.
            let off = (measured.mean - expected.value).abs();
            assert!(
                off <= 2.0 * measured.half_width + expected.half_width + 1e-6,
                "{} {}: {measured:?}, {} expected",
                case.name,
                expected.figure,
                expected.value
            );
        }
    }
}

#[test]
fn r3_the_seed_decides_whatever_the_number_of_threads() {
    let few = || cases().into_iter().filter(|case| case.name == "M/M/4+D 0.5" || case.name == "M/M/4/12 1.2");
    let rows = |cases: Vec<Case>, seed| check(cases, seed, 2_000, |_| {}).unwrap();
    let both = rows(few().collect(), 1);
    let one_by_one: Vec<Row> = few().flat_map(|case| rows(vec![case], 1)).collect();
    assert_eq!(both, one_by_one);
    assert_ne!(both, rows(few().collect(), 2));
}

#[test]
fn r5_every_reference_is_used() {
    let found =
        cases().iter().flat_map(|case| case.expected.clone()).filter(|e| e.source == Source::Ciw).count();
    let rows = include_str!("../../reference/ciw_reference.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1);
    // Means that a formula gives exactly, and shares, are in the file too.
    let used = rows.filter(|row| {
        row.contains("p95")
            || row.starts_with("M/M/4/12") && row.contains(",mean,")
            || row.starts_with("M/M/4+D") && row.contains(",mean,")
    });
    assert_eq!(found, used.count());
}

#[test]
fn a_row_that_is_off_says_so() {
    let case = cases().swap_remove(0);
    let exact =
        case.expected.iter().map(|expected| Measured { mean: expected.value, half_width: 0.001 }).collect();
    let row = Row { case, calls: 1, measured: exact };
    assert!(row.is_good() && !row.to_string().contains("off"));
    let mut off = row.clone();
    off.measured[0].mean += 0.01;
    assert!(!off.is_good() && off.to_string().contains("<- off"), "{off}");
    let mut wide = row;
    wide.measured[0].half_width = 0.5;
    assert!(!wide.is_good(), "an interval that contains everything shows nothing");
}
