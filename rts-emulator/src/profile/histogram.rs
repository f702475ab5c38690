//! Histogram files: CSV with the columns `upper_ms` and `count`, as [`super::ServiceTime::histogram`] has them.

/// Reads one. Whether the figures make sense, the check of the profile says.
///
/// # Errors
///
/// One line that names the line and what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<(f64, f64)>, String> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let head = lines.find(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match head {
        Some((_, "upper_ms,count")) => {}
        Some((number, _)) => return Err(format!("line {number} is not the head upper_ms,count")),
        None => return Err("has no head upper_ms,count".to_owned()),
    }
    let row = |(number, line): (usize, &str)| {
        let pair = line
            .split_once(',')
            .and_then(|(upper, count)| Some((upper.trim().parse().ok()?, count.trim().parse().ok()?)));
        pair.ok_or_else(|| format!("line {number} is not a bound in milliseconds and a count"))
    };
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_rows_of_bound_and_count() {
        let text = "# measured\nupper_ms,count\n10,0\n20.5, 7\n\n# tail\n40,1\n";
        assert_eq!(parse(text), Ok(vec![(10.0, 0.0), (20.5, 7.0), (40.0, 1.0)]));
        assert!(parse("").unwrap_err().contains("no head"));
        assert!(parse("ms,n\n1,2").unwrap_err().starts_with("line 1 "));
        assert!(parse("upper_ms,count\n1,2\n3;4").unwrap_err().starts_with("line 3 "));
    }
}
