//! Numbers as people read them.

/// Bytes with one decimal and a binary unit: `512 B`, `1.5 KiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The unit in which the rounded number has at most four digits.
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds in the two greatest units: `0.4s`, `59s`, `3m 04s`, `2h 05m`, `3d 04h`.
pub fn duration(seconds: f64) -> String {
    // A negative or absent number reads as none: clocks of two CPUs may differ.
    if seconds.is_nan() || seconds < 9.95 {
        return format!("{:.1}s", seconds.max(0.0));
    }
    let seconds = seconds.round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

/// How full something is: ten cells and a percentage. Only empty shows no cell,
/// and only full shows ten and 100 %.
pub fn fill_bar(used: u64, limit: u64) -> String {
    const CELLS: u64 = 10;
    let part_of = |whole: u64| match (used, limit) {
        (0, _) => 0,
        (used, limit) if used >= limit => whole,
        (used, limit) => {
            let part = (u128::from(used) * u128::from(whole) / u128::from(limit)) as u64;
            part.clamp(1, whole - 1)
        }
    };
    let filled = part_of(CELLS) as usize;
    let bar = ["#".repeat(filled), "-".repeat(CELLS as usize - filled)].concat();
    format!("[{bar}] {:>3}%", part_of(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_keeps_them_short() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (104_857_600, "100.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_show_two_units() {
        let cases = [
            (-1.0, "0.0s"),
            (f64::NAN, "0.0s"),
            (0.44, "0.4s"),
            (9.96, "10s"),
            (59.4, "59s"),
            (59.6, "1m 00s"),
            (184.0, "3m 04s"),
            (7_500.0, "2h 05m"),
            (273_600.0, "3d 04h"),
        ];
        for (number, text) in cases {
            assert_eq!(duration(number), text);
        }
    }

    #[test]
    fn a_bar_is_full_only_when_nothing_is_left() {
        let cases = [
            (0, 65_000, "[----------]   0%"),
            (1, 65_000, "[#---------]   1%"),
            (32_500, 65_000, "[#####-----]  50%"),
            (64_999, 65_000, "[#########-]  99%"),
            (65_000, 65_000, "[##########] 100%"),
            (u64::MAX, 1, "[##########] 100%"),
            (0, 0, "[----------]   0%"),
        ];
        for (used, limit, text) in cases {
            assert_eq!(fill_bar(used, limit), text);
        }
    }
}
