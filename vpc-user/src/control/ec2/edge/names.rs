//! Names that follow from addresses, zones and services.

use std::net::Ipv4Addr;

/// The id of an availability zone, which is the same for every account: `use1-az1` for
/// `us-east-1a`. A zone whose name has not that form is its own id.
pub fn zone_id(zone: &str) -> String {
    derived_zone_id(zone).unwrap_or_else(|| zone.to_owned())
}

fn derived_zone_id(zone: &str) -> Option<String> {
    let letter = zone.chars().last().filter(char::is_ascii_lowercase)?;
    let mut words = region_of(zone).split('-');
    let mut id = words.next()?.to_owned();
    for word in words {
        id.push_str(match word {
            "southeast" => "se",
            "southwest" => "sw",
            "northeast" => "ne",
            "northwest" => "nw",
            _ => word.get(..1)?,
        });
    }
    let number = u32::from(letter) - u32::from('a') + 1;
    Some(format!("{id}-az{number}"))
}

/// The Region of an availability zone.
pub fn region_of(zone: &str) -> &str {
    zone.trim_end_matches(|c: char| c.is_ascii_lowercase())
}

/// The name of a private address.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-naming.html>
pub fn private_name(address: Ipv4Addr, region: &str) -> String {
    let digits = dashed(address);
    if region == "us-east-1" {
        format!("ip-{digits}.ec2.internal")
    } else {
        format!("ip-{digits}.{region}.compute.internal")
    }
}

/// The name of a public address.
pub fn public_name(address: Ipv4Addr, region: &str) -> String {
    let digits = dashed(address);
    if region == "us-east-1" {
        format!("ec2-{digits}.compute-1.amazonaws.com")
    } else {
        format!("ec2-{digits}.{region}.compute.amazonaws.com")
    }
}

fn dashed(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

/// Region and service of `com.amazonaws.<region>.<service>`.
pub fn service_parts(service_name: &str) -> Option<(&str, &str)> {
    let (region, service) = service_name
        .strip_prefix("com.amazonaws.")?
        .split_once('.')?;
    let is_label = |label: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        !label.is_empty() && label.len() <= 63 && label.chars().all(allowed)
    };
    let is_name = service_name.len() <= 128 && service_name.split('.').all(is_label);
    is_name.then_some((region, service))
}

/// The public name of a service, which leads to an endpoint with private DNS:
/// `com.amazonaws.us-east-1.ecr.dkr` is `dkr.ecr.us-east-1.amazonaws.com`.
pub fn private_dns_name(service_name: &str) -> Option<String> {
    let (region, service) = service_parts(service_name)?;
    Some(format!("{}.{region}.amazonaws.com", reversed(service)))
}

/// The public names of an endpoint: `infix` is what follows the id.
pub fn endpoint_name(id: &str, infix: &str, service_name: &str) -> Option<String> {
    let (region, service) = service_parts(service_name)?;
    let service = reversed(service);
    Some(format!(
        "{id}-{infix}.{service}.{region}.vpce.amazonaws.com"
    ))
}

fn reversed(service: &str) -> String {
    service.rsplit('.').collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_ids() {
        for (zone, id) in [
            ("us-east-1a", "use1-az1"),
            ("us-west-2d", "usw2-az4"),
            ("ap-southeast-2b", "apse2-az2"),
            ("eu-central-1c", "euc1-az3"),
            ("us-gov-west-1a", "usgw1-az1"),
            ("rack 7", "rack 7"),
            ("", ""),
        ] {
            assert_eq!(zone_id(zone), id);
        }
    }

    #[test]
    fn names_are_aws_s() {
        let address = Ipv4Addr::new(10, 24, 34, 0);
        assert_eq!(
            private_name(address, "us-east-1"),
            "ip-10-24-34-0.ec2.internal"
        );
        assert_eq!(
            private_name(address, "eu-west-1"),
            "ip-10-24-34-0.eu-west-1.compute.internal"
        );
        assert_eq!(
            private_dns_name("com.amazonaws.us-east-1.ecr.dkr").as_deref(),
            Some("dkr.ecr.us-east-1.amazonaws.com")
        );
        for refused in [
            "",
            "com.amazonaws.us-east-1",
            "com.amazonaws.us-east-1.",
            "s3",
            "com.amazonaws.us-east-1.S3",
        ] {
            assert_eq!(private_dns_name(refused), None, "{refused}");
        }
    }
}
