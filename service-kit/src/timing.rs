//! Where the time of a call went, as the `server-timing` metadata of its answer tells it (W3C Server Timing:
//! `name;dur=milliseconds`, separated by commas). Whoever has no use for it leaves it unread.

use std::{fmt::Write as _, time::Duration};

use tonic::metadata::MetadataMap;

/// The metadata's name.
const NAME: &str = "server-timing";
/// Most parts that are read; the rest is left out.
const MAX_PARTS: usize = 16;

/// Says how long each part of a call took; replaces what was said before.
pub fn tell(metadata: &mut MetadataMap, parts: &[(&'static str, Duration)]) {
    let mut text = String::new();
    for (name, took) in parts {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{name};dur={:.3}", took.as_secs_f64() * 1_000.0);
    }
    if let Ok(value) = text.parse() {
        metadata.insert(NAME, value);
    }
}

/// How long the part of this name took, if the answer says so in a way that can be understood.
#[must_use]
pub fn told(metadata: &MetadataMap, name: &str) -> Option<Duration> {
    let text = metadata.get(NAME)?.to_str().ok()?;
    let part =
        text.split(',').take(MAX_PARTS).find_map(|part| part.trim().strip_prefix(name)?.strip_prefix(';'))?;
    let dur = part.split(';').find_map(|value| value.trim().strip_prefix("dur="))?;
    Duration::try_from_secs_f64(dur.parse::<f64>().ok()? / 1_000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let mut metadata = MetadataMap::new();
        tell(
            &mut metadata,
            &[("queue", Duration::from_micros(1_500)), ("service", Duration::from_millis(40))],
        );
        assert_eq!(metadata.get(NAME).unwrap(), "queue;dur=1.500, service;dur=40.000");
        assert_eq!(told(&metadata, "queue"), Some(Duration::from_micros(1_500)));
        assert_eq!(told(&metadata, "service"), Some(Duration::from_millis(40)));
        assert_eq!(told(&metadata, "link"), None);
    }

    #[test]
    fn nonsense_is_no_time() {
        for nonsense in [
            "",
            "queue",
            "queue;dur=",
            "queue;dur=-1",
            "queue;dur=NaN",
            "queue;dur=1e999",
            "queues;dur=1",
            ";;,,",
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert(NAME, nonsense.parse().unwrap());
            assert_eq!(told(&metadata, "queue"), None, "{nonsense}");
        }
        let mut metadata = MetadataMap::new();
        metadata.insert(NAME, "cache;desc=\"hit\", queue;desc=x;dur=2".parse().unwrap());
        assert_eq!(told(&metadata, "queue"), Some(Duration::from_millis(2)));
    }
}
