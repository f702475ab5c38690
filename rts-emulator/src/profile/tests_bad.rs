//! What is said about profiles that make no sense.

use super::*;

const GOOD: &str = "\
workers = 4
queue_capacity = 64
longest_wait_ms = 2000

[service]
distribution = \"lognormal\"
mean_ms = 40
cv = 0.5
";

/// What stands in the good profile, what it is replaced by, and what is said about it.
const BAD: [(&str, &str, &str); 74] = [
    ("workers = 4", "workers = 0", "line 1: workers is 0, less than 1"),
    ("workers = 4", "workers = 100001", "line 1: workers is 100001, more than 100000"),
    ("workers = 4", "workers = -1", "line 1 (workers = -1): invalid value: integer `-1`, expected u32"),
    (
        "workers = 4",
        "workers = 1.5",
        "line 1 (workers = 1.5): invalid type: floating point `1.5`, expected u32",
    ),
    ("workers = 4", "workers = \"4\"", "line 1 (workers = \"4\"): invalid type: string \"4\", expected u32"),
    ("workers = 4", "", "missing field `workers`"),
    (
        "workers = 4",
        "workers = 4\nwokers = 4",
        "line 2 (wokers = 4): unknown field `wokers`, expected one of `workers`, `queue_capacity`, `longest_wait_ms`, `service`, `service_by_method`, `priority`, `scalability`, `serial_section`, `link`, `errors`, `rate_limits`, `throttle`, `slow_start`, `batches`, `outages`",
    ),
    ("workers = 4", "workers = 4\nworkers = 5", "line 2 (workers = 5): duplicate key"),
    ("workers = 4", "workers =", "line 1 (workers =): string values must be quoted, expected literal string"),
    (
        "queue_capacity = 64",
        "queue_capacity = 1000001",
        "line 2: queue_capacity is 1000001, more than 1000000",
    ),
    ("longest_wait_ms = 2000", "longest_wait_ms = 0", "line 3: longest_wait_ms is 0, not more than 0"),
    ("longest_wait_ms = 2000", "longest_wait_ms = -5", "line 3: longest_wait_ms is -5, not more than 0"),
    ("longest_wait_ms = 2000", "longest_wait_ms = inf", "line 3: longest_wait_ms is not a finite number"),
    (
        "longest_wait_ms = 2000",
        "longest_wait_ms = 1e11",
        "line 3: longest_wait_ms is 100000000000, more than 31622400000",
    ),
    ("mean_ms = 40", "mean_ms = nan", "line 7: service.mean_ms is not a finite number"),
    ("mean_ms = 40", "mean_ms = -1", "line 7: service.mean_ms is -1, less than 0"),
    ("mean_ms = 40", "mean_ms = 1e12", "line 7: service.mean_ms is 1000000000000, more than 31622400000"),
    ("cv = 0.5", "", "line 5: service.cv is missing: the distribution needs it"),
    ("cv = 0.5", "cv = 0", "line 8: service.cv is 0, less than 0.01"),
    ("cv = 0.5", "cv = 101", "line 8: service.cv is 101, more than 100"),
    (
        "cv = 0.5",
        "cv = 0.5\nhalf_width_ms = 1",
        "line 9: service.half_width_ms has no meaning for this distribution",
    ),
    ("\"lognormal\"", "\"constant\"", "line 8: service.cv has no meaning for this distribution"),
    (
        "\"lognormal\"",
        "\"pareto\"",
        "line 6 (distribution = \"pareto\"): unknown variant `pareto`, expected one of `constant`, `uniform`, `exponential`, `lognormal`, `gamma`, `empirical`",
    ),
    (
        "\"lognormal\"\nmean_ms = 40\ncv = 0.5",
        "\"uniform\"\nmean_ms = 40\nhalf_width_ms = 41",
        "line 8: service.half_width_ms is 41, more than 40",
    ),
    (
        "[service]",
        "[service_by_method.search]\ndistribution = \"gamma\"\nmean_ms = 1\n[service]",
        "line 5: service_by_method.search.cv is missing: the distribution needs it",
    ),
    (
        "[service]",
        "[service_by_method.delete]\ndistribution = \"constant\"\nmean_ms = 1\n[service]",
        "line 5 ([service_by_method.delete]): unknown variant `delete`, expected one of `create`, `get`, `search`, `update`, `save_address`, `issue_loyalty_card`",
    ),
    (
        "[service]",
        "[errors]\nUNAVAILABLE = 0.6\nINTERNAL = 0.5\n[service]",
        "line 5: errors add up to 1.1, more than 1",
    ),
    (
        "[service]",
        "[errors]\nUNAVAILABLE = -0.1\n[service]",
        "line 6: errors.UNAVAILABLE is -0.1, less than 0",
    ),
    (
        "[service]",
        "[errors]\nUNAVAIABLE = 0.1\n[service]",
        "line 6 (UNAVAIABLE = 0.1): unknown variant `UNAVAIABLE`, expected one of `CANCELLED`, `UNKNOWN`, `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`, `UNAUTHENTICATED`",
    ),
    (
        "[service]",
        "[serial_section]\nshare = 0\n[service]",
        "line 6: serial_section.share is 0, not more than 0",
    ),
    (
        "[service]",
        "[serial_section]\nshare = 1.1\n[service]",
        "line 6: serial_section.share is 1.1, more than 1",
    ),
    ("[service]", "[link]\njitter_ms = -1\n[service]", "line 6: link.jitter_ms is -1, less than 0"),
    (
        "[service]",
        "[rate_limits.overall]\nper_s = 0\nburst = 1\n[service]",
        "line 6: rate_limits.overall.per_s is 0, less than 0.001",
    ),
    (
        "[service]",
        "[rate_limits.per_channel]\nper_s = -3\nburst = 1\n[service]",
        "line 6: rate_limits.per_channel.per_s is -3, less than 0.001",
    ),
    (
        "[service]",
        "[rate_limits.per_channel]\nper_s = 3\nburst = 0\n[service]",
        "line 7: rate_limits.per_channel.burst is 0, less than 1",
    ),
    (
        "[service]",
        "[[outages]]\nstart_ms = 0\n[service]",
        "line 5 ([[outages]]): missing field `duration_ms`",
    ),
    (
        "[service]",
        "[[outages]]\nstart_ms = 0\nduration_ms = 0\n[service]",
        "line 7: outages[0].duration_ms is 0, not more than 0",
    ),
    (
        "[service]",
        "[[outages]]\nstart_ms = 0\nduration_ms = 5\nrepeat_ms = 5\n[service]",
        "line 8: outages[0].repeat_ms is 5, not more than duration_ms (5)",
    ),
    (
        "queue_capacity = 64",
        "queue_capacity = \"long\"",
        "line 2 (queue_capacity = \"long\"): invalid type: string \"long\", expected u32",
    ),
    ("longest_wait_ms = 2000", "", "missing field `longest_wait_ms`"),
    ("mean_ms = 40", "", "line 5: service.mean_ms is missing: the distribution needs it"),
    (
        "\"lognormal\"\nmean_ms = 40\ncv = 0.5",
        "\"empirical\"",
        "line 5: service.histogram is missing: the distribution needs it",
    ),
    (
        "\"lognormal\"\nmean_ms = 40\ncv = 0.5",
        "\"empirical\"\nhistogram = []",
        "line 7: service.histogram has no counts",
    ),
    (
        "cv = 0.5",
        "cv = 0.5\nhistogram = [[1, 1]]",
        "line 9: service.histogram has no meaning for this distribution",
    ),
    (
        "\"lognormal\"\nmean_ms = 40\ncv = 0.5",
        "\"empirical\"\nhistogram = [[5, 1], [5, 2]]",
        "line 7: service.histogram[1] is 5, not more than the bound before it",
    ),
    (
        "\"lognormal\"\nmean_ms = 40\ncv = 0.5",
        "\"empirical\"\nhistogram = [[5, 1], [6, -2]]",
        "line 7: service.histogram[1] is -2, less than 0",
    ),
    (
        "\"lognormal\"\nmean_ms = 40\ncv = 0.5",
        "\"empirical\"\nhistogram = [[5, 0]]",
        "line 7: service.histogram has no counts",
    ),
    (
        "\"lognormal\"\nmean_ms = 40\ncv = 0.5",
        "\"empirical\"\nfile = \"times.csv\"",
        "line 7: service.file names \"times.csv\", but this profile is not a file itself: write the histogram into it",
    ),
    ("[service]", "[priority]\ndefault = 10\n[service]", "line 6: priority.default is 10, more than 9"),
    (
        "[service]",
        "[priority.by_method]\nsearch = 12\n[service]",
        "line 6: priority.by_method.search is 12, more than 9",
    ),
    (
        "[service]",
        "[priority.by_method]\nbrowse = 1\n[service]",
        "line 6 (browse = 1): unknown variant `browse`, expected one of `create`, `get`, `search`, `update`, `save_address`, `issue_loyalty_card`",
    ),
    (
        "[service]",
        "[priority.by_channel]\nstore-1 = 300\n[service]",
        "line 6 (store-1 = 300): invalid value: integer `300`, expected u8",
    ),
    (
        "[service]",
        "[priority.by_channel]\n\"no name\" = 1\n[service]",
        "line 6: priority.by_channel.no name is not the name of a channel",
    ),
    (
        "[service]",
        "[scalability]\ncontention = -0.1\n[service]",
        "line 6: scalability.contention is -0.1, less than 0",
    ),
    (
        "[service]",
        "[scalability]\ncoherency = 2\n[service]",
        "line 6: scalability.coherency is 2, more than 1",
    ),
    (
        "[service]",
        "[scalability]\ncontension = 2\n[service]",
        "line 6 (contension = 2): unknown field `contension`, expected `contention` or `coherency`",
    ),
    (
        "[service]",
        "[serial_section]\nshare = 0.1\nblock = 0\n[service]",
        "line 7: serial_section.block is 0, less than 1",
    ),
    (
        "[service]",
        "[serial_section]\nblock = 10\n[service]",
        "line 5 ([serial_section]): missing field `share`",
    ),
    ("[service]", "[link]\nloss = 0.6\n[service]", "line 6: link.loss is 0.6, more than 0.5"),
    ("[service]", "[link]\nretransmit_ms = 0\n[service]", "line 6: link.retransmit_ms is 0, not more than 0"),
    (
        "[service]",
        "[throttle]\nwindow_s = 300\n[service]",
        "line 5: throttle says nothing: it needs at least one of requests, execution_s, concurrent and above_busy",
    ),
    ("[service]", "[throttle]\nrequests = 6000\n[service]", "line 5 ([throttle]): missing field `window_s`"),
    (
        "[service]",
        "[throttle]\nwindow_s = 0\nrequests = 6000\n[service]",
        "line 6: throttle.window_s is 0, less than 1",
    ),
    (
        "[service]",
        "[throttle]\nwindow_s = 300\nrequests = 0\n[service]",
        "line 7: throttle.requests is 0, less than 1",
    ),
    (
        "[service]",
        "[throttle]\nwindow_s = 300\nexecution_s = 0\n[service]",
        "line 7: throttle.execution_s is 0, not more than 0",
    ),
    (
        "[service]",
        "[throttle]\nwindow_s = 300\nconcurrent = 0\n[service]",
        "line 7: throttle.concurrent is 0, less than 1",
    ),
    (
        "[service]",
        "[throttle]\nwindow_s = 300\n[[throttle.above_busy]]\npriority = 1\nshare = 1.5\n[service]",
        "line 9: throttle.above_busy[0].share is 1.5, more than 1",
    ),
    (
        "[service]",
        "[throttle]\nwindow_s = 300\n[[throttle.above_busy]]\npriority = 1\nshare = 0.5\n[[throttle.above_busy]]\npriority = 1\nshare = 0.6\n[service]",
        "line 11: throttle.above_busy[1].priority names a class that is named before",
    ),
    (
        "[service]",
        "[slow_start]\nduration_ms = 0\nfactor = 2\n[service]",
        "line 6: slow_start.duration_ms is 0, not more than 0",
    ),
    (
        "[service]",
        "[slow_start]\nduration_ms = 5\nfactor = 0.5\n[service]",
        "line 7: slow_start.factor is 0.5, less than 1",
    ),
    (
        "[service]",
        "[slow_start]\nduration_ms = 5\n[service]",
        "line 5 ([slow_start]): missing field `factor`",
    ),
    (
        "[service]",
        "[[batches]]\nworkers = 0\nstart_ms = 0\nduration_ms = 5\n[service]",
        "line 6: batches[0].workers is 0, less than 1",
    ),
    (
        "[service]",
        "[[batches]]\nworkers = 1\nstart_ms = -1\nduration_ms = 5\n[service]",
        "line 7: batches[0].start_ms is -1, less than 0",
    ),
    (
        "[service]",
        "[[batches]]\nworkers = 1\nstart_ms = 0\nduration_ms = 5\n[[batches]]\nworkers = 1\nstart_ms = 0\nduration_ms = 5\nrepeat_ms = 4\n[service]",
        "line 13: batches[1].repeat_ms is 4, not more than duration_ms (5)",
    ),
];

#[test]
fn z1_a_bad_profile_is_told_in_one_line_with_the_field_and_the_line() {
    let mut wrong = Vec::new();
    for (from, to, expected) in BAD {
        assert!(GOOD.contains(from), "{from}");
        let told = Profile::parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
        if told != expected {
            wrong.push(format!("{to:?}\n  {told}\n  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
