//! Moments as traces write them: seconds or parts of them by a clock of the trace's own, and calendar times such as
//! `2023-11-16 18:17:03.9799600`, with a `T` and an offset from UTC if they like.

use super::error::excerpt;
use super::row::{NS_PER_S, Problem, decimal, fraction_ns, unsigned};
use crate::workload::spec::Clock;

/// A moment in nanoseconds; `what` it is, for messages.
pub(in crate::workload) fn moment_ns(clock: Clock, what: &str, text: &str) -> Result<i64, Problem> {
    // What a Parquet file holds as a point in time.
    let point = text.strip_suffix('s').filter(|_| matches!(clock, Clock::Seconds | Clock::Calendar));
    if let Some(ns) = point.and_then(|seconds| decimal(seconds, 9)) {
        return Ok(ns);
    }
    let (ns, right) = match clock {
        Clock::Seconds => (decimal(text, 9).or_else(|| calendar(text)), "be a number of seconds"),
        Clock::Milliseconds => (decimal(text, 6), "be a number of milliseconds"),
        Clock::Microseconds => (decimal(text, 3), "be a number of microseconds"),
        Clock::Nanoseconds => (decimal(text, 0), "be a number of nanoseconds"),
        Clock::Calendar => (calendar(text), "look like 2023-11-16 18:17:03.9799600"),
    };
    ns.ok_or_else(|| format!("{what} is {}, but must {right}", excerpt(text.as_bytes())))
}

/// Nanoseconds from 1970 to a calendar time.
fn calendar(text: &str) -> Option<i64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-');
    let days = days_since_1970(
        number(date.next()?, 4, 1, 9999)?,
        number(date.next()?, 2, 1, 12)?,
        number(date.next()?, 2, 1, 31)?,
    )?;
    let (time, offset_s) = split_offset(time)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.splitn(3, ':');
    let hour = number(time.next()?, 2, 0, 23)?;
    let minute = number(time.next()?, 2, 0, 59)?;
    // 60 is a leap second.
    let second = number(time.next()?, 2, 0, 60)?;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    seconds.checked_mul(NS_PER_S)?.checked_add(fraction_ns(fraction)?)
}

/// Cuts `Z`, `+02:00` or `-05:00` off a time; its seconds ahead of UTC.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(sign) = time.find(['+', '-']) else {
        return Some((time, 0));
    };
    let (hours, minutes) = time[sign + 1..].split_once(':')?;
    let ahead = number(hours, 2, 0, 23)? * 3_600 + number(minutes, 2, 0, 59)? * 60;
    let west = time[sign..].starts_with('-');
    Some((&time[..sign], if west { -ahead } else { ahead }))
}

/// A number of exactly so many digits within a range.
fn number(text: &str, digits: usize, least: i64, most: i64) -> Option<i64> {
    let value = unsigned(text).filter(|_| text.len() == digits)?;
    (least..=most).contains(&value).then_some(value)
}

/// Days from 1970-01-01 in the Gregorian calendar (H. Hinnant, `days_from_civil`); `None` for the 30th of February.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // Years begin in March, so that the leap day is their last.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (day <= month_length).then_some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_times() {
        let second = NS_PER_S;
        for (text, ns) in [
            ("1970-01-01 00:00:00", 0),
            ("1970-01-01T00:00:00.0000001Z", 100),
            ("2000-03-01 00:00:00", 951_868_800 * second),
            ("2023-11-16 18:17:03.9799600", 1_700_158_623 * second + 979_960_000),
            ("2024-05-10 00:00:00.009930+00:00", 1_715_299_200 * second + 9_930_000),
            ("2024-05-10 02:00:00+02:00", 1_715_299_200 * second),
            ("2024-05-09 19:00:00-05:00", 1_715_299_200 * second),
            ("1969-12-31 23:59:59.5", -second / 2),
        ] {
            assert_eq!(calendar(text), Some(ns), "{text}");
        }
        for text in [
            "",
            " ",
            "2023-11-16",
            "2023-02-30 00:00:00",
            "2023-13-01 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16 18:17",
            "2023-11-16 18:17:03.x",
            "23-11-16 18:17:03",
            "9999-01-01 00:00:00",
            "2023-11-16 18:17:03+2",
            "12345.6",
        ] {
            assert_eq!(calendar(text), None, "{text}");
        }
    }
}
