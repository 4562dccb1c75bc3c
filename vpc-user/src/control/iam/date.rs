//! Moments as policies and IAM's answers write them: ISO 8601, in UTC unless they say
//! otherwise.

use crate::control::Time;

const DAY: i64 = 86_400;

/// Seconds since the beginning of 1970: `2026-11-25`, `2026-11-25T22:45Z`,
/// `2026-11-25T22:45:14.5+01:00`, or the seconds themselves.
pub(super) fn parse(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds as f64);
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let last = days_of(year, month);
    let day = digits(parts.next()?, 2).filter(|day| (1..=last).contains(day))?;
    let midnight = days_before(year, month) + day - 1;
    let seconds = time.map_or(Some(0.0), seconds_of)?;
    Some((midnight * DAY) as f64 + seconds)
}

/// A moment as IAM's answers have it.
pub(super) fn iso(time: Time) -> String {
    let seconds = i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX);
    let (days, of_day) = (seconds / DAY, seconds % DAY);
    // Days of 400 years: the calendar repeats.
    const CYCLE: i64 = 146_097;
    let (mut year, mut day) = (1970 + 400 * (days / CYCLE), days % CYCLE);
    while day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while day >= days_of(year, month) {
        day -= days_of(year, month);
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let day = day + 1;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The seconds of a day from `22:45[:14[.5]]` and a zone.
fn seconds_of(text: &str) -> Option<f64> {
    let zone = text.find(['Z', '+', '-'])?;
    let (time, zone) = text.split_at_checked(zone)?;
    let mut parts = time.splitn(3, ':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let second = parts.next().map_or(Some(0.0), |second| {
        let (whole, fraction) = second.split_once('.').unwrap_or((second, "0"));
        let whole = digits(whole, 2).filter(|whole| *whole < 60)?;
        digits(fraction, fraction.len())?;
        let fraction: f64 = format!("0.{fraction}").parse().ok()?;
        Some(whole as f64 + fraction)
    })?;
    let since_midnight = (hour * 3_600 + minute * 60) as f64 + second;
    Some(since_midnight - offset_of(zone)? as f64)
}

/// The seconds that a zone is ahead: `Z`, `+01:00`, `-0530`.
fn offset_of(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let zone = zone.get(1..)?;
    let (hours, minutes) = match zone.split_once(':') {
        Some(parts) => parts,
        None => zone.split_at_checked(2)?,
    };
    let hours = digits(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
    Some(sign * (hours * 3_600 + minutes * 60))
}

/// A number of so many digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the beginning of 1970 to that of a month of a year of four digits.
fn days_before(year: i64, month: i64) -> i64 {
    let years = if year >= 1970 {
        (1970..year).map(days_of_year).sum::<i64>()
    } else {
        -(year..1970).map(days_of_year).sum::<i64>()
    };
    years + (1..month).map(|month| days_of(year, month)).sum::<i64>()
}
