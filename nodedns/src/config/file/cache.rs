//! How much is kept, and for how long, as the file says it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use daemon::config_file::text;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Mistake, mistake};
use crate::config;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Memory for answers, 1MiB to 64GiB. Default: `64MiB`, some 200,000 names.
    /// Too little costs hits, never correctness.
    pub size: Size,
    /// Of `size`, what answers of all zones but `.` have for themselves, in hundredths, 0
    /// to 90: no flood of the world's names pushes the cluster's out. Default: `25`. What
    /// either does not use the other may.
    pub inner_share: u8,
    /// The shortest that an answer with data is used, whatever its TTL says, 0s to 5m.
    /// Default: `0s`. Spares servers whose TTLs are too short for them, and is how much
    /// later than its owner meant a change is seen. Signed answers are used for no longer than
    /// their owner says.
    #[serde(with = "daemon::duration::serde")]
    pub min_ttl: Duration,
    /// The longest that an answer is used, whatever its TTL says, 1s to 168h.
    /// Default: `24h`.
    #[serde(with = "daemon::duration::serde")]
    pub max_ttl: Duration,
    /// The longest that "no such name" is used, 1s to 24h. Default: `1h`. In
    /// every zone but `.` it is 4 s at most: a Service that is made a moment
    /// after somebody asked for it must be seen.
    #[serde(with = "daemon::duration::serde")]
    pub max_negative_ttl: Duration,
    /// Whether an answer that is asked for again and again is asked for anew before its
    /// time is over, in the last tenth of it, so that nobody has to wait. Default:
    /// `true`; it costs servers a tenth more questions at most.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub prefetch: bool,
    /// What becomes of answers whose time is over while nobody gives newer ones.
    #[serde(skip_serializing_if = "Stale::is_default")]
    pub stale: Stale,
}

/// Answers after their time, when the servers that would give newer ones fail (RFC
/// 8767). They have extended error 3, or 19 for "no such name".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stale {
    /// For how long after its time an answer may be used, 0s to 168h. Default:
    /// `24h`; `0s`: never. More outlasts longer outages, and keeps sending people to
    /// where something was.
    #[serde(with = "daemon::duration::serde")]
    pub max: Duration,
    /// The same in every zone but `.`, 0s to 24h. Default: `30s`: the addresses of
    /// Pods are given to others soon.
    #[serde(with = "daemon::duration::serde")]
    pub inner_max: Duration,
    /// How long the first who asks waits for something newer, 0s to 4s. Default:
    /// `1.8s`, less than stub resolvers wait (RFC 8767 §5).
    #[serde(with = "daemon::duration::serde")]
    pub client_response: Duration,
    /// How long a name is not asked about again once that has failed, 1s to 5m.
    /// Default: `5s`. Longer spares servers, and is how late they are seen to be back.
    #[serde(with = "daemon::duration::serde")]
    pub failure_recheck: Duration,
    /// The TTL of such an answer, 1s to 5m. Default: `30s`.
    #[serde(with = "daemon::duration::serde")]
    pub ttl: Duration,
}

/// A number of bytes, written `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

impl Cache {
    /// What nodedns runs on.
    pub(super) const fn into_config(self) -> config::Cache {
        config::Cache {
            size: self.size.0,
            inner_share: self.inner_share,
            min_ttl: self.min_ttl,
            max_ttl: self.max_ttl,
            max_negative_ttl: self.max_negative_ttl,
            stale: self.stale.into_config(),
            prefetch: self.prefetch,
        }
    }

    /// Whether all of it is within its range.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        for (field, value, most) in [
            ("cache.max_ttl", self.max_ttl, WEEK),
            ("cache.max_negative_ttl", self.max_negative_ttl, DAY),
        ] {
            if !(Duration::from_secs(1)..=most).contains(&value) {
                let most = daemon::duration::format(most);
                return Err(mistake(field, format!("must be from 1s to {most}")));
            }
        }
        if !(Size(1 << 20)..=Size(64 << 30)).contains(&self.size) {
            return Err(mistake("cache.size", "must be from 1MiB to 64GiB"));
        }
        if self.inner_share > 90 {
            return Err(mistake("cache.inner_share", "must be from 0 to 90"));
        }
        if self.min_ttl > MOST_MIN_TTL || self.min_ttl > self.max_ttl {
            let most = daemon::duration::format(MOST_MIN_TTL.min(self.max_ttl));
            let message = format!("must be from 0s to {most}, and not more than max_ttl");
            return Err(mistake("cache.min_ttl", message));
        }
        self.stale.check()
    }
}

impl Stale {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    const fn into_config(self) -> config::Stale {
        config::Stale {
            max: self.max,
            inner_max: self.inner_max,
            client_response: self.client_response,
            failure_recheck: self.failure_recheck,
            ttl: self.ttl,
        }
    }

    fn check(&self) -> Result<(), Mistake> {
        let (second, minutes) = (Duration::from_secs(1), Duration::from_secs(300));
        for (field, value, least, most) in [
            ("max", self.max, Duration::ZERO, WEEK),
            ("inner_max", self.inner_max, Duration::ZERO, DAY),
            (
                "client_response",
                self.client_response,
                Duration::ZERO,
                4 * second,
            ),
            ("failure_recheck", self.failure_recheck, second, minutes),
            ("ttl", self.ttl, second, minutes),
        ] {
            if !(least..=most).contains(&value) {
                let [least, most] = [least, most].map(daemon::duration::format);
                let message = format!("must be from {least} to {most}");
                return Err(mistake(format!("cache.stale.{field}"), message));
            }
        }
        Ok(())
    }
}

impl Default for Stale {
    fn default() -> Self {
        Self {
            max: DAY,
            inner_max: Duration::from_secs(30),
            client_response: Duration::from_millis(1_800),
            failure_recheck: Duration::from_secs(5),
            ttl: Duration::from_secs(30),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            size: Size(64 << 20),
            inner_share: 25,
            min_ttl: Duration::ZERO,
            max_ttl: DAY,
            max_negative_ttl: Duration::from_secs(3_600),
            prefetch: true,
            stale: Stale::default(),
        }
    }
}

/// The largest binary unit that divides it: `64MiB`, `1000B`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = UNITS
            .into_iter()
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let (_, bytes) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(error)?;
        number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_mul(bytes))
            .map(Self)
            .ok_or_else(error)
    }
}

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; write a number and one of B, KiB, MiB, GiB, as in `64MiB`")]
pub struct SizeError(String);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, str::parse)
    }
}

/// Longer, and people look for what is wrong with DNS.
const MOST_MIN_TTL: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const UNITS: [(&str, usize); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
