//! Where the files of a flow log are in a bucket.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html>

use crate::control::{Time, Utc};

/// Seconds of the records of one file, by their ends.
pub const WINDOW: u64 = 300;

/// How the files of a flow log are called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectNames {
    /// The folder of the destination, without slashes at its ends; may be empty.
    pub folder: String,
    /// The account.
    pub account: String,
    /// The Region.
    pub region: String,
    /// The flow log.
    pub flow_log_id: String,
    /// `year=2026/month=11/…` in place of `2026/11/…`.
    pub hive_compatible: bool,
    /// A folder for each hour.
    pub per_hour: bool,
    /// Columns in place of lines.
    pub parquet: bool,
}

impl ObjectNames {
    /// The window that a record is in, by its end (Unix seconds): when it begins.
    pub const fn window(end: u64) -> u64 {
        end - end % WINDOW
    }

    /// The key of a file of the window that begins at a moment (Unix seconds). `unique` tells
    /// it from others of that window.
    pub fn key(&self, window: u64, unique: u64) -> String {
        let Self {
            folder,
            account,
            region,
            flow_log_id,
            ..
        } = self;
        let utc = Time(window.saturating_mul(1_000)).utc();
        let Utc {
            year,
            month,
            day,
            hour,
            minute,
            ..
        } = utc;
        let mut key = folder.clone();
        if !key.is_empty() {
            key.push('/');
        }
        key += "AWSLogs/";
        key += &if self.hive_compatible {
            format!(
                "aws-account-id={account}/aws-service=vpcflowlogs/aws-region={region}/\
                 year={year:04}/month={month:02}/day={day:02}/"
            )
        } else {
            format!("{account}/vpcflowlogs/{region}/{year:04}/{month:02}/{day:02}/")
        };
        if self.per_hour {
            key += &match self.hive_compatible {
                true => format!("hour={hour:02}/"),
                false => format!("{hour:02}/"),
            };
        }
        let end = if self.parquet {
            "log.parquet"
        } else {
            "log.gz"
        };
        key + &format!(
            "{account}_vpcflowlogs_{region}_{flow_log_id}_{year:04}{month:02}{day:02}T\
             {hour:02}{minute:02}Z_{unique:08x}.{end}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hive_compatible: bool, per_hour: bool, parquet: bool) -> String {
        let names = ObjectNames {
            folder: if parquet { "flows/all" } else { "" }.to_owned(),
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            flow_log_id: "fl-1234abcd".to_owned(),
            hive_compatible,
            per_hour,
            parquet,
        };
        // 2018-06-20, 16:21:40.
        names.key(ObjectNames::window(1_529_511_700), 0xfe12_3456)
    }

    #[test]
    fn keys_are_awss() {
        let file = "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180620T1620Z_fe123456";
        let plain = "123456789012/vpcflowlogs/us-east-1/2018/06/20";
        let hive = "aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=us-east-1/\
                    year=2018/month=06/day=20";
        for ((hive_compatible, per_hour, parquet), key) in [
            (
                (false, false, false),
                format!("AWSLogs/{plain}/{file}.log.gz"),
            ),
            (
                (false, true, false),
                format!("AWSLogs/{plain}/16/{file}.log.gz"),
            ),
            (
                (true, false, false),
                format!("AWSLogs/{hive}/{file}.log.gz"),
            ),
            (
                (true, true, true),
                format!("flows/all/AWSLogs/{hive}/hour=16/{file}.log.parquet"),
            ),
        ] {
            assert_eq!(names(hive_compatible, per_hour, parquet), key);
        }
    }
}
